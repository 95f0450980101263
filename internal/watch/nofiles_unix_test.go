//go:build unix

package watch

import (
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// Links are not followed, and nothing hangs on what is no file.
func TestNoFiles(t *testing.T) {
	k := newKit(t, nil)
	outside := filepath.Join(k.dir, "outside.yaml")
	k.must(os.WriteFile(outside, []byte(good), 0o644))
	k.must(os.Symlink(outside, filepath.Join(k.w.Dir, "link.yaml")))
	k.must(os.Symlink("nowhere", filepath.Join(k.w.Dir, "dangling.yaml")))
	k.must(os.Link(outside, filepath.Join(k.w.Dir, "hard.yaml")))
	k.must(syscall.Mkfifo(filepath.Join(k.w.Dir, "fifo.yaml"), 0o644))
	k.must(syscall.Mknod(filepath.Join(k.w.Dir, "socket.yaml"), syscall.S_IFSOCK|0o644, 0))
	k.look()
	for name, reason := range map[string]string{"link": "links are not followed", "dangling": "links are not followed", "hard": "hard link", "fifo": "no regular file", "socket": "no regular file"} {
		if text := k.text(rejectedDir, name+".yaml.reason.txt"); !strings.Contains(text, reason) {
			t.Errorf("%s: %s", name, text)
		}
	}
	if text, err := os.ReadFile(outside); err != nil || string(text) != good {
		t.Errorf("outside: %s %v", text, err)
	}
	if jobs := k.all(); len(jobs) != 0 {
		t.Errorf("jobs: %v", jobs)
	}
}
