package resetjob

import (
	"context"
	"fmt"
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
// others: longer than any push takes.
const restoredRest = 5 * time.Minute

// Enter is called by every process before it works on jobs. Where the database
// was restored it holds everything that is unfinished; the error is a
// *RestoredError then, and at each later call until ReleaseRestored.
func (e *Env) Enter(ctx context.Context) error {
	var in store.Incarnation
	held := false
	err := e.Store.Write(ctx, func(tx *store.Tx) (err error) {
		held = false
		if err := tx.ForgetSettled(); err != nil {
			return err
		}
		if in, err = tx.Incarnation(); err != nil || in.Restored != "" {
			return err
		}
		if in.Restored, err = e.Marker.Suspect(state(in), in.Empty); err != nil {
			return err
		}
		if in.Restored != "" {
			held = true
			return tx.HoldRestored(in.Restored, tx.Now().Add(restoredRest))
		}
		last, err := e.Marker.Last()
		if err != nil {
			return err
		}
		if in.ID == "" {
			in.ID, in.LastJob = incarnation.NewID(), max(in.LastJob, last.LastJob)
		}
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
	return e.Marker.Write(state(in))
}

func state(in store.Incarnation) incarnation.State {
	return incarnation.State{ID: in.ID, Generation: in.Generation, LastJob: in.LastJob}
}

// advance raises the generation: a backup made before this moment is known as
// such. A kill between the two leaves the marker behind, which is no sign of
// anything.
func (e *Env) advance(ctx context.Context) error {
	if e.Marker == nil {
		return nil
	}
	var in store.Incarnation
	err := e.Store.Write(ctx, func(tx *store.Tx) (err error) {
		if in, err = tx.Incarnation(); err != nil || in.Restored != "" {
			return err
		}
		in.Generation++
		return tx.SetIncarnation(in)
	})
	if err != nil || in.Restored != "" {
		return err
	}
	return e.Marker.Write(state(in))
}

// ReleaseRestored makes the restored database this installation's and lets its
// jobs go on. It returns how many were held for that reason alone; false where
// the database was not restored.
func (e *Env) ReleaseRestored(ctx context.Context, by string) (int64, bool, error) {
	var in store.Incarnation
	var n int64
	err := e.Store.Write(ctx, func(tx *store.Tx) (err error) {
		if in, err = tx.Incarnation(); err != nil || in.Restored == "" {
			return err
		}
		last, err := e.Marker.Last()
		if err != nil {
			last = incarnation.State{} // it is written anew
		}
		in.ID, in.Generation, in.LastJob = incarnation.NewID(), max(in.Generation, last.Generation)+1, max(in.LastJob, last.LastJob)
		if n, err = tx.ReleaseRestored(); err != nil {
			return err
		}
		return tx.SetIncarnation(in)
	})
	if err != nil || in.Restored == "" {
		return 0, false, err
	}
	e.Log.Info("the restored database was released", "by", by, "jobs", n)
	return n, true, e.Marker.Write(state(in))
}
