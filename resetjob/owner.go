package resetjob

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/gofrs/flock"

	"github.com/dirpin/dirpin/internal/credential"
	"github.com/dirpin/dirpin/internal/store"
)

const (
	beatEvery = 3 * time.Second
	// freshFor is how old the last beat that was written may be when a push
	// starts: whoever cannot write cannot record what is accepted either.
	freshFor = 10 * time.Second
)

// Owner is a process that works on jobs. It holds a lock on a file beside the
// database for as long as it lives: whoever can take that lock knows that the
// owner is dead, however it died, and that nobody else is. While it lives it
// says so in the database (its beat). On PostgreSQL that is all that other
// nodes can see: they take it for dead when its lease has run out, and the time
// of its longest push besides.
type Owner struct {
	ID string

	store *store.Store
	lock  *flock.Flock // nil: there are none
	stop  chan struct{}
	lost  chan struct{} // closed when somebody else took this process for dead
	done  sync.WaitGroup

	shares shares

	mu   sync.Mutex
	beat time.Time // monotonic
	err  error     // why it is lost
}

// NewOwner makes this process an owner.
func NewOwner(ctx context.Context, s *store.Store, ring *credential.Ring) (*Owner, error) {
	var b [8]byte
	rand.Read(b[:])
	o := &Owner{ID: hex.EncodeToString(b[:]), store: s, stop: make(chan struct{}), lost: make(chan struct{})}
	path, err := lockPath(s, o.ID)
	if err != nil {
		return nil, err
	}
	if path != "" {
		o.lock = flock.New(path)
		if ok, err := o.lock.TryLock(); err != nil || !ok {
			return nil, fmt.Errorf("locking %s: %w", path, errors.Join(err, errNotLocked))
		}
	}
	host, _ := os.Hostname() // for people
	before := time.Now()
	err = s.Write(ctx, func(tx *store.Tx) error {
		return tx.AddOwner(store.Owner{ID: o.ID, Host: host, PID: os.Getpid(), Keys: keyIDs(ring)})
	})
	if err != nil {
		return nil, errors.Join(err, o.unlock())
	}
	o.beat = before
	o.done.Go(o.live)
	return o, nil
}

// SetKeys tells others that this process has the keys of another ring now.
func (o *Owner) SetKeys(ctx context.Context, ring *credential.Ring) error {
	return o.store.Write(ctx, func(tx *store.Tx) error { return tx.SetOwnerKeys(o.ID, keyIDs(ring)) })
}

func keyIDs(ring *credential.Ring) string {
	var keys []string
	for _, k := range ring.Keys() {
		keys = append(keys, k.ID)
	}
	return strings.Join(keys, ",")
}

var errNotLocked = errors.New("the lock is taken")

// live beats until Close.
func (o *Owner) live() {
	t := time.NewTicker(beatEvery)
	defer t.Stop()
	for {
		select {
		case <-o.stop:
			return
		case <-t.C:
			o.beatOnce()
		}
	}
}

func (o *Owner) beatOnce() {
	before := time.Now() // the beat is as old as its beginning
	err := o.store.Beat(context.Background(), o.ID)
	o.mu.Lock()
	defer o.mu.Unlock()
	var newer *store.NewerError
	switch {
	case err == nil:
		o.beat = before
	case o.err == nil && (errors.Is(err, store.ErrFenced) || errors.As(err, &newer)):
		o.err = fmt.Errorf("%w: %w", errNotOurs, err)
		close(o.lost)
	}
}

// StaleError says that this process has not been able to write to the database
// for a while: it sends nothing that it might not be able to record.
type StaleError struct{ For time.Duration }

func (e *StaleError) Error() string {
	return fmt.Sprintf("nothing could be written to the database for %s", e.For.Round(time.Second))
}

// Fresh returns nil if a push may start now: the last beat is young enough that
// nobody can have taken this process for dead. Else it is a *StaleError, or the
// reason of Lost.
func (o *Owner) Fresh() error {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.err != nil {
		return o.err
	}
	// A machine that slept has another opinion of its clock than of the time.
	if age := max(time.Since(o.beat), time.Now().Round(0).Sub(o.beat.Round(0))); age > freshFor {
		return &StaleError{For: age}
	}
	return nil
}

// Lost says why this process must not work on jobs any more; nil while it may.
func (o *Owner) Lost() error {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.err
}

// Close ends the ownership.
func (o *Owner) Close() error {
	close(o.stop)
	o.done.Wait()
	err := o.store.Write(context.Background(), func(tx *store.Tx) error { return tx.RemoveOwner(o.ID) })
	if err != nil && o.lock != nil { // the lock, which is free, tells others what the database does not
		return errors.Join(err, o.lock.Close())
	}
	return errors.Join(err, o.unlock())
}

// unlock takes the lock away.
func (o *Owner) unlock() error {
	if o.lock == nil {
		return nil
	}
	return removeLocked(o.lock)
}

// lockPath returns "" where there are no locks.
func lockPath(s *store.Store, owner string) (string, error) {
	base, err := s.LockBase()
	if err != nil || base == "" {
		return "", err
	}
	return base + ".run-" + owner, nil
}

// life is what a lock tells of its owner.
type life int

const (
	unknown life = iota // it is none of this installation's
	dead
	living
)

// locked tells whether the owner's process still runs, as far as locks do. Where
// only a lock tells at once that somebody is dead it is returned, held: it goes
// when the work of its owner is taken, which may fail.
func locked(s *store.Store, owner string) (life, *flock.Flock, error) {
	none := dead
	if s.Leases() {
		none = unknown
	}
	path, err := lockPath(s, owner)
	if err != nil || path == "" {
		return none, nil, err
	}
	if _, err := os.Stat(path); errors.Is(err, fs.ErrNotExist) {
		return none, nil, nil
	}
	l := flock.New(path)
	free, err := l.TryLock()
	if err != nil {
		return unknown, nil, fmt.Errorf("asking whether the owner of %s lives: %w", path, err)
	}
	if !free {
		return living, nil, nil
	}
	if !s.Leases() { // whose lock is gone is dead as well
		return dead, nil, removeLocked(l)
	}
	return dead, l, nil
}

// cutReason is shown for a job whose process died.
const cutReason = "cut: the process that ran it ended before the job did"

// Recover takes the jobs of dead owners from them: they wait in the queue
// again, and whoever runs them next goes on where they were cut. It returns the
// owners that live.
func Recover(ctx context.Context, s *store.Store) ([]store.Owner, error) {
	var owners, alive []store.Owner
	err := s.Read(ctx, func(tx *store.Tx) (err error) {
		owners, err = tx.Owners()
		return err
	})
	if err != nil {
		return nil, err
	}
	for _, o := range owners {
		died, err := orphan(ctx, s, o)
		if err != nil {
			return nil, err
		}
		if !died {
			alive = append(alive, o)
		}
	}
	return alive, nil
}

// orphan takes the work of an owner from it if it is dead.
func orphan(ctx context.Context, s *store.Store, o store.Owner) (died bool, err error) {
	life, lock, err := locked(s, o.ID)
	switch {
	case err != nil:
		return false, err
	case life == living && !s.Leases(), life != dead && s.Now().Sub(o.Beat) < store.Lease:
		return false, nil
	}
	err = s.Write(ctx, func(tx *store.Tx) (err error) {
		if died = life == dead; !died {
			if died, err = tx.LeaseOver(o.ID); err != nil || !died {
				return err
			}
		}
		return tx.Orphan(o.ID, cutReason)
	})
	switch {
	case lock == nil:
	case err == nil:
		err = removeLocked(lock)
	default:
		err = errors.Join(err, lock.Close())
	}
	return died, err
}
