//go:build unix

package config

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"syscall"

	"github.com/dirpin/dirpin/internal/secret"
)

// openNow opens a file to read it and does not wait where it is a pipe.
func openNow(path string) (*os.File, error) {
	return os.OpenFile(path, os.O_RDONLY|syscall.O_NONBLOCK|syscall.O_CLOEXEC, 0)
}

// checkSecretFile refuses a file that others can read or change. A file of root's
// may be readable by the group that dirpin runs in, as PostgreSQL has it for keys.
func checkSecretFile(f *os.File, fi os.FileInfo) error {
	st, ok := fi.Sys().(*syscall.Stat_t)
	if !ok {
		return errors.New("its owner cannot be found out")
	}
	forbidden := os.FileMode(0o077)
	if st.Uid == 0 && int(st.Gid) == os.Getegid() {
		forbidden = 0o037
	}
	if mode := fi.Mode().Perm(); mode&forbidden != 0 {
		return fmt.Errorf("its mode %04o lets others at it: %s", mode, give(f.Name()))
	}
	if st.Uid != 0 && int(st.Uid) != os.Geteuid() {
		return fmt.Errorf("it belongs to user %d: it must be root's or user %d's, which dirpin runs as: %s", st.Uid, os.Geteuid(), give(f.Name()))
	}
	return nil
}

// checkWriters refuses a configuration that anyone can change: it names
// commands to run.
func checkWriters(_ *os.File, fi os.FileInfo) error {
	if mode := fi.Mode().Perm(); mode&0o002 != 0 {
		return fmt.Errorf("its mode %04o lets anyone change it: chmod o-w", mode)
	}
	return nil
}

// readCredential reads what systemd's LoadCredential= has put there for the
// service alone.
func readCredential(name string) (secret.Value, error) {
	dir := os.Getenv("CREDENTIALS_DIRECTORY")
	if dir == "" {
		return secret.Value{}, errors.New("$CREDENTIALS_DIRECTORY is not set: only a service has credentials, by LoadCredential= in its systemd unit")
	}
	if !isBareName(name) {
		return secret.Value{}, errors.New("it is no bare name")
	}
	return secretFile(filepath.Join(dir, name), func(*os.File, os.FileInfo) error { return nil })
}
