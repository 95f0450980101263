//go:build unix

package credential

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
)

// openRing does not wait for the other end of a named pipe.
func openRing(path string) (*os.File, error) {
	return os.OpenFile(path, os.O_RDONLY|syscall.O_NONBLOCK, 0)
}

// checkPrivate wants the file closed to group and others, and owned by whoever
// runs, by root, or by the owner of the folder: root may look at the file of
// the service's user.
func checkPrivate(path string, _ *os.File, info fs.FileInfo) error {
	if mode := info.Mode().Perm(); mode&0o077 != 0 {
		return fmt.Errorf("%w: its mode is %04o: chmod 600 %s", ErrExposed, mode, path)
	}
	owner, ok := ownerOf(info)
	if !ok || owner.uid == 0 || owner.uid == os.Geteuid() {
		return nil
	}
	if dir, err := os.Stat(filepath.Dir(path)); err == nil {
		if d, ok := ownerOf(dir); ok && d.uid == owner.uid {
			return nil
		}
	}
	return fmt.Errorf("%w: it belongs to user %d, who is neither root nor the one that runs dirpin: chown dirpin %s", ErrExposed, owner.uid, path)
}

type owner struct{ uid, gid int }

func ownerOf(info fs.FileInfo) (owner, bool) {
	st, ok := info.Sys().(*syscall.Stat_t)
	if !ok {
		return owner{}, false
	}
	return owner{int(st.Uid), int(st.Gid)}, true
}

// createPrivate makes the file that will replace another with the other's owner
// and mode; where there is none and root writes, with the owner of the folder, so
// that the service can read it.
func createPrivate(target, aside string) (*os.File, error) {
	f, err := os.OpenFile(aside, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return nil, err
	}
	if err := makePrivate(target, f); err != nil {
		return nil, errors.Join(err, f.Close(), os.Remove(aside))
	}
	return f, nil
}

func makePrivate(target string, f *os.File) error {
	mode := fs.FileMode(0o600)
	model, err := os.Stat(target)
	if err == nil {
		mode = model.Mode().Perm()
	} else if model, err = os.Stat(filepath.Dir(target)); err != nil {
		return err
	}
	want, ok := ownerOf(model)
	mine, err := f.Stat()
	if err != nil {
		return err
	}
	if have, _ := ownerOf(mine); ok && have.uid != want.uid && os.Geteuid() == 0 {
		if err := f.Chown(want.uid, want.gid); err != nil {
			return err
		}
	}
	return f.Chmod(mode & 0o700)
}

// syncDir makes the rename durable.
func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	defer d.Close()
	return d.Sync()
}

const runAs = "run as root or dirpin: sudo -u dirpin dirpin …"
