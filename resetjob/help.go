package resetjob

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/dirpin/dirpin/internal/outcome"
	"github.com/dirpin/dirpin/internal/store"
)

// A job belongs to one process, which opens, runs and closes it. Others may
// help: they take batches of it in hand as the owner does, each with an epoch of
// its own, and leave everything else to the owner.

// DiffersError says that a job is not helped with because here it might be run
// in another way.
type DiffersError struct{ Job int64 }

func (e *DiffersError) Error() string {
	return fmt.Sprintf("job %d is not helped with: the node that runs it has another configuration (voicemail, credentials, protect, watch) or other keys", e.Job)
}

// help works on batches of a job that another process owns until there are none
// left. Its error is ErrBusy where there is nothing to help with.
func (e *Env) help(ctx context.Context, id int64, shift Shift) error {
	var j *store.Job
	var differs bool
	err := e.Store.Read(ctx, func(tx *store.Tx) (err error) {
		if j, err = tx.Job(id); err != nil || j.Owner == "" {
			return err
		}
		theirs, err := tx.Works(j.Owner)
		if err != nil {
			return err
		}
		ours, err := e.works()
		differs = theirs != ours
		return err
	})
	switch {
	case err != nil:
		return err
	case j.Owner == "" || j.Stage != store.StageOpen || j.Started.IsZero() || j.State != store.Running && j.State != store.Paused:
		return ErrBusy
	case differs:
		return &DiffersError{id}
	}
	l, err := e.load(ctx, j)
	if err != nil {
		return err
	}
	r := e.newRunner(l, shift)
	if err := r.run(ctx); err != nil {
		return fmt.Errorf("helping with job %d: %w", id, err)
	}
	if r.end.state == store.Stopped || r.end.state == store.Held {
		// What has been found out here holds for all of it.
		err = e.conclude(ctx, l, r.end, shift)
	}
	return errors.Join(err, e.advance(context.WithoutCancel(ctx)), e.endLate(ctx, id))
}

// endLate ends those whom a process has given back, unsent, after another one
// had ended the job.
func (e *Env) endLate(ctx context.Context, id int64) error {
	var j *store.Job
	var pending int64
	err := e.read(ctx, func(tx *store.Tx) (err error) {
		if j, err = tx.Job(id); err == nil && j.State.Ended() {
			pending, _, err = tx.CountOpen(id)
		}
		return err
	})
	if err != nil || pending == 0 {
		return err
	}
	var code outcome.Code
	switch {
	case j.State == store.Cancelled, j.State == store.Superseded:
		code = outcome.Cancelled
	case j.State == store.Stopped && strings.HasPrefix(j.Reason, DeniedReason):
		code = outcome.VoicemailDenied
	case j.State == store.Stopped:
		code = outcome.MaxFailures
	default:
		return nil
	}
	return e.write(context.WithoutCancel(ctx), func(tx *store.Tx) error {
		_, err := tx.EndPending(id, code)
		return err
	})
}

// othersError is a *ShiftError: the job waits for what others have in hand of it.
func (e *Env) othersError(id int64) error {
	return &ShiftError{Job: id, Until: time.Now().Add(othersEvery), Why: "another process settles what it has in hand of the job", Others: true}
}

// othersEvery is how often it is asked whether they still have.
const othersEvery = 250 * time.Millisecond

// awaitOthers waits until another process has no batch of the job in hand, or
// there is one to be taken.
func (e *Env) awaitOthers(ctx context.Context, id int64, shift Shift) error {
	began := time.Now()
	for {
		var free, others int
		var j *store.Job
		err := e.read(ctx, func(tx *store.Tx) (err error) {
			if j, err = tx.Job(id); err == nil {
				free, others, err = tx.BatchesLeft(id, e.Owner.ID)
			}
			return err
		})
		if err != nil || others == 0 || free > 0 && !j.State.Ended() || ctx.Err() != nil {
			return err
		}
		if shift.Progress != nil {
			shift.Progress(Progress{Counts: j.Counts})
		}
		if time.Since(began) > askAlive {
			began = time.Now()
			if _, err := Recover(ctx, e.Store); err != nil {
				return err
			}
		}
		select {
		case <-ctx.Done():
		case <-time.After(othersEvery):
		}
	}
}
