//go:build unix

package credential

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

func TestLoadRefusesExposedFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "key")
	if err := CreateRing(path, newTestRing(t, 1)); err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		mode os.FileMode
		ok   bool
	}{{0o600, true}, {0o400, true}, {0o700, true}, {0o640, false}, {0o604, false}, {0o620, false}, {0o644, false}} {
		if err := os.Chmod(path, tt.mode); err != nil {
			t.Fatal(err)
		}
		_, err := LoadRing(path)
		if tt.ok != (err == nil) {
			t.Errorf("%04o: got %v", tt.mode, err)
		}
		if !tt.ok && (!errors.Is(err, ErrExposed) || !strings.Contains(err.Error(), "chmod 600 "+path)) {
			t.Errorf("%04o: got %v", tt.mode, err)
		}
	}
}

func TestLoadRefusesWhatIsNoFile(t *testing.T) {
	dir := t.TempDir()
	fifo := filepath.Join(dir, "fifo")
	if err := syscall.Mkfifo(fifo, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{fifo, dir, "/dev/zero"} {
		if _, err := LoadRing(path); err == nil || !strings.Contains(err.Error(), "not a regular file") {
			t.Errorf("%s: got %v", path, err)
		}
	}
}

// needRoot tells whether owners can be given away here. Elsewhere these tests
// check nothing, and say so.
func needRoot(t *testing.T) bool {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Log("not root: owners are not checked")
		return false
	}
	return true
}

func TestOwner(t *testing.T) {
	if !needRoot(t) {
		return
	}
	dir := t.TempDir()
	path := filepath.Join(dir, "key")
	ring := newTestRing(t, 1)
	if err := CreateRing(path, ring); err != nil {
		t.Fatal(err)
	}
	if err := os.Chown(path, 4711, 4712); err != nil {
		t.Fatal(err)
	}
	if _, err := LoadRing(path); !errors.Is(err, ErrExposed) || !strings.Contains(err.Error(), "user 4711") {
		t.Errorf("a stranger's file: got %v", err)
	}
	if err := os.Chown(dir, 4711, 4712); err != nil {
		t.Fatal(err)
	}
	if _, err := LoadRing(path); err != nil {
		t.Errorf("the service's file, read by root: %v", err)
	}
	if err := os.Chmod(path, 0o400); err != nil {
		t.Fatal(err)
	}
	if err := SaveRing(path, rotated(t, ring, 2)); err != nil {
		t.Fatal(err)
	}
	fresh := filepath.Join(dir, "fresh")
	if err := CreateRing(fresh, ring); err != nil {
		t.Fatal(err)
	}
	for path, mode := range map[string]os.FileMode{path: 0o400, fresh: 0o600} {
		info, err := os.Stat(path)
		if err != nil {
			t.Fatal(err)
		}
		if o, _ := ownerOf(info); o != (owner{4711, 4712}) || info.Mode().Perm() != mode {
			t.Errorf("%s: owner %v, mode %v", path, o, info.Mode())
		}
	}
}

// The test runs itself as nobody, who may not read root's key.
func TestDenied(t *testing.T) {
	if path := os.Getenv("DIRPIN_TEST_DENIED"); path != "" {
		_, err := LoadRing(path)
		if !errors.Is(err, ErrDenied) || !strings.Contains(err.Error(), "run as root or dirpin: sudo -u dirpin dirpin …") {
			t.Errorf("reading: got %v", err)
		}
		if err := SaveRing(path, newTestRing(t, 1)); !errors.Is(err, ErrDenied) {
			t.Errorf("writing: got %v", err)
		}
		return
	}
	if !needRoot(t) {
		return
	}
	dir, err := os.MkdirTemp("", "denied")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(dir, "key")
	if err := CreateRing(path, newTestRing(t, 1)); err != nil {
		t.Fatal(err)
	}
	self := filepath.Join(dir, "test")
	binary, err := os.ReadFile(os.Args[0])
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(self, binary, 0o755); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(self, "-test.run=^TestDenied$", "-test.v")
	cmd.Dir = "/"
	cmd.Env = []string{"DIRPIN_TEST_DENIED=" + path}
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 65534, Gid: 65534}}
	out, err := cmd.CombinedOutput()
	if err != nil || !strings.Contains(string(out), "--- PASS: TestDenied") {
		t.Errorf("as nobody: %v\n%s", err, out)
	}
}
