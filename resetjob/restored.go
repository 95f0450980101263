package resetjob

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/dirpin/dirpin/internal/incarnation"
	"github.com/dirpin/dirpin/internal/store"
)

// RestoredError says that the database is not the one that this installation
// used last: nothing is pushed until somebody has looked.
type RestoredError struct{ Reason string }

func (e *RestoredError) Error() string {
	return "the database was restored or copied (" + e.Reason + "): whoever it believes to be waiting may have been changed since, so every unfinished job is held. " +
		"Look at them with dirpin jobs list, cancel those that are done with, then run: dirpin jobs release --restored"
}

// restoredRest keeps users whose push a restored database had open from
// others: longer than most pushes take.
const restoredRest = 5 * time.Minute

// longestRest is for how long a request may still arrive, whatever the system
// that it was sent to.
func (e *Env) longestRest() time.Duration {
	longest := restoredRest
	for _, s := range e.Systems() {
		longest = max(longest, rest(s))
	}
	return longest
}

// longestPush is for how long a request may be under way.
func (e *Env) longestPush() (longest time.Duration) {
	for _, s := range e.Systems() {
		longest = max(longest, rest(s))
	}
	return longest
}

// Announce is called before what is configured changes: whoever takes work over
// waits for as long as a push may last from then on, and whoever helps asks what
// jobs run with.
func (e *Env) Announce(ctx context.Context) error {
	return e.Store.Write(ctx, e.announce)
}

func (e *Env) announce(tx *store.Tx) error {
	if e.Owner == nil {
		return nil
	}
	works, err := e.works()
	if err != nil {
		return err
	}
	if err := tx.SetWorks(e.Owner.ID, works); err != nil {
		return err
	}
	return tx.OwnerPushes(e.Owner.ID, e.longestPush())
}

// Enter is called by every process before it works on jobs. Where the database
// was restored it holds everything that is unfinished; the error is a
// *RestoredError then, and at each later call until ReleaseRestored.
func (e *Env) Enter(ctx context.Context) error {
	var in store.Incarnation
	held := false
	err := e.Store.Write(ctx, func(tx *store.Tx) (err error) {
		held = false
		if err := tx.ForgetSettled(e.longestRest()); err != nil {
			return err
		}
		if err := e.announce(tx); err != nil {
			return err
		}
		if in, err = tx.Incarnation(); err != nil || in.Restored != "" {
			return err
		}
		if in.Restored, err = e.suspect(tx, &in); err != nil {
			return err
		}
		if in.Restored != "" {
			held = true
			return tx.HoldRestored(in.Restored, tx.Now().Add(e.longestRest()))
		}
		last, err := e.Marker.Last()
		if err != nil {
			return err
		}
		if in.ID == "" {
			in.ID = incarnation.NewID()
		}
		in.LastJob = max(in.LastJob, last.LastJob)
		if last.ID != "" { // else it stays at 0 until there is a marker
			in.Generation++
		}
		return tx.SetIncarnation(in)
	})
	if err != nil {
		return fmt.Errorf("asking what the database is: %w", err)
	}
	if held {
		e.Log.Error("the database was restored: every unfinished job is held", "reason", in.Restored)
	}
	if in.Restored != "" {
		return &RestoredError{in.Restored}
	}
	return e.mark(in)
}

// suspect says why the database is not the one that it was; "" where it is. It
// notes which installation this is.
func (e *Env) suspect(tx *store.Tx, in *store.Incarnation) (string, error) {
	last, err := e.Marker.Last()
	if err != nil {
		return "", err
	}
	if in.Installation = last.Installation; in.Installation == "" {
		in.Installation = incarnation.NewID()
	}
	if why := in.Moved(); why != "" && !in.Empty {
		return why, nil
	}
	switch {
	case last.ID != "" && slices.Contains(in.Former, last.ID):
		return "", nil // another installation has noticed, and somebody has looked
	case last.ID == "" && in.Place != "":
		return "", nil // an installation that is new to a database on a server
	}
	db := state(*in)
	if generation, known, err := tx.InstallationAt(last.Installation); err != nil {
		return "", err
	} else if known {
		db.Generation = generation
	}
	return e.Marker.Suspect(db, in.Empty)
}

// mark makes the marker follow the database.
func (e *Env) mark(in store.Incarnation) error {
	e.step("mark")
	return e.Marker.Write(state(in))
}

func state(in store.Incarnation) incarnation.State {
	return incarnation.State{ID: in.ID, Generation: in.Generation, LastJob: in.LastJob, Installation: in.Installation}
}

// EnterToLook is Enter for commands that change nobody, and are wanted most
// where the database was restored: it is held then, and that is no error.
func (e *Env) EnterToLook(ctx context.Context) error {
	err := e.Enter(ctx)
	var restored *RestoredError
	if errors.As(err, &restored) {
		return nil
	}
	return err
}

// advance raises the generation: a backup made before this moment is known as
// such. A kill between the two leaves the marker behind, which is no sign of
// anything. A marker that is ahead stays: it is the sign of a restore.
//
// Many who ask at once, each at the end of a job, share one: it begins after
// all of them have asked.
func (e *Env) advance(ctx context.Context) error {
	if e.Marker == nil {
		return nil
	}
	return e.advances.join(func() error { return e.advanceOnce(ctx) })
}

func (e *Env) advanceOnce(ctx context.Context) error {
	var in store.Incarnation
	err := e.Store.Write(ctx, func(tx *store.Tx) (err error) {
		if in, err = tx.Incarnation(); err != nil || in.Restored != "" {
			return err
		}
		if in.Restored, err = e.suspect(tx, &in); err != nil || in.Restored != "" {
			return err
		}
		in.Generation++
		return tx.SetIncarnation(in)
	})
	if err != nil || in.Restored != "" {
		return err
	}
	return e.mark(in)
}

// RestingError says that requests which were sent before the database was
// replaced may still arrive: another to the same user could be overtaken.
type RestingError struct{ Until time.Time }

func (e *RestingError) Error() string {
	return "requests that were sent before the database was replaced may still arrive: release it after " + e.Until.UTC().Format(time.RFC3339)
}

// ReleaseRestored makes the restored database this installation's and lets its
// jobs go on. It returns how many were held for that reason alone; false where
// the database was not restored. Its error is a *RestingError for some minutes
// after that was noticed.
func (e *Env) ReleaseRestored(ctx context.Context, by string) (int64, bool, error) {
	var in store.Incarnation
	var n int64
	var resting *RestingError
	err := e.Store.Write(ctx, func(tx *store.Tx) (err error) {
		resting = nil
		if in, err = tx.Incarnation(); err != nil || in.Restored == "" {
			return err
		}
		if longest := tx.Now().Add(e.longestRest()); in.Rest.After(tx.Now()) {
			resting = &RestingError{in.Rest}
			if in.Rest.After(longest) { // the clock was set back
				resting.Until = longest
				return tx.RestUntil(longest)
			}
			return nil
		}
		last, err := e.Marker.Last()
		if err != nil {
			last = incarnation.State{} // it is written anew
		}
		for _, id := range []string{in.ID, last.ID} {
			if id != "" && !slices.Contains(in.Former, id) {
				in.Former = append(in.Former, id)
			}
		}
		if in.Installation = last.Installation; in.Installation == "" {
			in.Installation = incarnation.NewID()
		}
		in.ID, in.Generation, in.LastJob = incarnation.NewID(), max(in.Generation, last.Generation)+1, max(in.LastJob, last.LastJob)
		if n, err = tx.ReleaseRestored(); err != nil {
			return err
		}
		return tx.SetIncarnation(in)
	})
	if err == nil && resting != nil {
		return 0, true, resting
	}
	if err != nil || in.Restored == "" {
		return 0, false, err
	}
	e.Log.Info("the restored database was released", "by", by, "jobs", n)
	return n, true, e.mark(in)
}
