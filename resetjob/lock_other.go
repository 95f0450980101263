//go:build !windows

package resetjob

import (
	"errors"
	"io/fs"
	"os"

	"github.com/gofrs/flock"
)

// removeLocked removes the file of a lock that is held, while it is: nobody can be
// waiting for it, since nobody waits for these locks.
func removeLocked(l *flock.Flock) error {
	err := os.Remove(l.Path())
	if errors.Is(err, fs.ErrNotExist) { // somebody else has found out at the same moment
		err = nil
	}
	return errors.Join(err, l.Close())
}
