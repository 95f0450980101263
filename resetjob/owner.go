package resetjob

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"github.com/gofrs/flock"

	"github.com/dirpin/dirpin/internal/store"
)

// Owner is a process that works on jobs. It holds a lock on a file beside the
// database for as long as it lives: whoever can take that lock knows that the
// owner is dead, however it died, and that nobody else is.
type Owner struct {
	ID   string
	lock *flock.Flock
}

// NewOwner makes this process an owner. The folder is that of the real
// database file, links resolved, so that two configurations with one database
// meet.
func NewOwner(s *store.Store) (*Owner, error) {
	var b [8]byte
	rand.Read(b[:])
	o := &Owner{ID: hex.EncodeToString(b[:])}
	path, err := lockPath(s, o.ID)
	if err != nil {
		return nil, err
	}
	o.lock = flock.New(path)
	if ok, err := o.lock.TryLock(); err != nil || !ok {
		return nil, fmt.Errorf("locking %s: %w", path, errors.Join(err, errNotLocked))
	}
	return o, nil
}

var errNotLocked = errors.New("the lock is taken")

func lockPath(s *store.Store, owner string) (string, error) {
	real, err := filepath.EvalSymlinks(s.Path())
	if err != nil {
		return "", err
	}
	return real + ".run-" + owner, nil
}

// Close ends the ownership.
func (o *Owner) Close() error {
	// The file goes while it is locked: nobody can be waiting for it, since
	// nobody waits for these locks.
	return errors.Join(os.Remove(o.lock.Path()), o.lock.Close())
}

// alive tells whether the owner's process still runs.
func alive(s *store.Store, owner string) (bool, error) {
	path, err := lockPath(s, owner)
	if err != nil {
		return false, err
	}
	if _, err := os.Stat(path); errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	l := flock.New(path)
	free, err := l.TryLock()
	if err != nil {
		return false, fmt.Errorf("asking whether the owner of %s lives: %w", path, err)
	}
	if !free {
		return true, nil
	}
	return false, errors.Join(os.Remove(path), l.Close())
}

// cutReason is shown for a job whose process died.
const cutReason = "cut: the process that ran it ended before the job did"

// EraseOld forgets the values of jobs that ended longer ago than they may be
// retried.
func EraseOld(ctx context.Context, s *store.Store, retryWithin time.Duration) error {
	if retryWithin == 0 {
		return nil
	}
	return s.Write(ctx, func(tx *store.Tx) error { return tx.EraseOld(tx.Now().Add(-retryWithin)) })
}

// Recover takes the jobs of dead owners from them: they wait in the queue
// again, and whoever runs them next goes on where they were cut.
func Recover(ctx context.Context, s *store.Store) error {
	var owners []string
	err := s.Read(ctx, func(tx *store.Tx) (err error) {
		owners, err = tx.Owners()
		return err
	})
	if err != nil {
		return err
	}
	for _, o := range owners {
		lives, err := alive(s, o)
		if err != nil {
			return err
		}
		if lives {
			continue
		}
		if err := s.Write(ctx, func(tx *store.Tx) error { return tx.Orphan(o, cutReason) }); err != nil {
			return err
		}
	}
	return nil
}
