package resetjob

import (
	"errors"
	"io/fs"
	"os"

	"github.com/gofrs/flock"
	"golang.org/x/sys/windows"
)

// removeLocked removes the file of a lock that is held. Windows removes nothing
// that is open; who finds the file unlocked in between takes its owner for dead,
// which it is, and one that somebody looks at stays until Recover finds it.
func removeLocked(l *flock.Flock) error {
	if err := l.Close(); err != nil {
		return err
	}
	err := os.Remove(l.Path())
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, windows.ERROR_SHARING_VIOLATION) {
		return nil
	}
	return err
}
