package watch

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// The disk of the folder is full: the file waits, and is one job when there is
// room again.
func TestFullDisk(t *testing.T) {
	for _, step := range []string{"", "claimed", "submitted"} {
		k := newKit(t, nil)
		if err := syscall.Mount("tmpfs", k.w.Dir, "tmpfs", 0, "size=256k,mode=755"); err != nil {
			t.Skipf("no file system can be mounted here: %v", err)
		}
		t.Cleanup(func() { syscall.Unmount(k.w.Dir, syscall.MNT_DETACH) })
		filler := filepath.Join(k.w.Dir, ".filler")
		fill := func() {
			f, err := os.Create(filler)
			k.must(err)
			for err == nil {
				_, err = f.Write(bytes.Repeat([]byte("x"), 512))
			}
			f.Close()
		}
		k.drop("x.yaml", good)
		k.drop("y.yaml", bad)
		k.f.Look(t.Context())
		if step == "" {
			fill()
		}
		k.f.o.Step = func(s string) {
			if s == step {
				k.f.o.Step = func(string) {}
				fill()
			}
		}
		k.pass(settle)
		k.pass(retryEvery)
		if !k.f.Trouble() {
			t.Errorf("%q: a full disk is no trouble", step)
		}
		k.must(os.Remove(filler))
		k.pass(retryEvery)
		k.pass(retryEvery)
		if names := k.inside(acceptedDir); len(k.all()) != 1 || len(names) != 2 || k.f.Trouble() {
			t.Errorf("%q: %d jobs, accepted %v, trouble %v", step, len(k.all()), names, k.f.trouble)
		}
		if text := k.text(acceptedDir, "x.yaml"); !strings.Contains(text, "(removed)") {
			t.Errorf("%q: accepted is\n%s", step, text)
		}
		k.text(rejectedDir, "y.yaml.reason.txt")
		k.clean("471108", "swordfish")
		syscall.Unmount(k.w.Dir, syscall.MNT_DETACH)
	}
}
