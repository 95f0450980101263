package resetjob

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/dirpin/dirpin/internal/outcome"
	"github.com/dirpin/dirpin/internal/store"
)

// CannotError says why a job cannot be held, released, cancelled or scheduled as
// it stands.
type CannotError struct {
	Job int64
	Why string
}

func (e *CannotError) Error() string { return fmt.Sprintf("job %d %s", e.Job, e.Why) }

func cannot(j *store.Job, why string, args ...any) error {
	return &CannotError{j.ID, fmt.Sprintf(why, args...)}
}

// Hold keeps a job from beginning, or from going on: the pushes in hand are
// settled. A schedule whose next run is held pauses.
func (e *Env) Hold(ctx context.Context, id int64, by string) (*store.Job, error) {
	return e.change(ctx, id, func(tx *store.Tx, j *store.Job) error {
		switch {
		case j.State == store.Held:
			return cannot(j, "is held already: %s", e.DescribeHold(j))
		case j.State.Ended():
			return cannot(j, "is %s: there is nothing left to hold", j.State)
		}
		if err := tx.HoldJob(id, reasonBy+by, 0); err != nil {
			return err
		}
		return tx.LogJob(id, reasonBy+by)
	})
}

// Release lets a held job go on, or wait for its time again. A schedule whose
// time has passed meanwhile waits for the next one.
func (e *Env) Release(ctx context.Context, id int64, by string) (*store.Job, error) {
	return e.change(ctx, id, func(tx *store.Tx, j *store.Job) error {
		switch {
		case j.State != store.Held:
			return cannot(j, "is not held but %s", j.State)
		case j.Reason == store.ReasonRestored:
			return cannot(j, "is held: %s", e.DescribeHold(j))
		case NeedsAnother(j) && by == j.Submitter:
			return cannot(j, "was submitted by %s and waits for someone else to release it", by)
		}
		if err := tx.LogJob(id, fmt.Sprintf("released by %s: %s", by, j.Reason)); err != nil {
			return err
		}
		if j.Series != 0 && j.Waits() && !j.Due.After(tx.Now()) {
			next, err := nextOf(j, tx.Now())
			if err != nil {
				return err
			}
			if next.IsZero() {
				return cannot(j, "has no further time: its schedule has ended (until); cancel it, or give it another time with: dirpin jobs schedule %d", id)
			}
			if err := tx.Postpone(id, next, ""); err != nil {
				return err
			}
		}
		return tx.ReleaseJob(j)
	})
}

// Cancel ends a job: whoever is not changed yet stays as they are. A schedule
// whose next run is cancelled ends. What was cut is settled, and the report
// written, by whoever works on the job, or by Run. It returns how many users
// stay as they are because of it, and false where the job had ended before.
func (e *Env) Cancel(ctx context.Context, id int64, by string) (j *store.Job, left int64, moved bool, err error) {
	j, err = e.change(ctx, id, func(tx *store.Tx, j *store.Job) error {
		from := []store.State{store.Held, store.Queued, store.Running, store.Paused, store.Scheduled}
		if moved, err = tx.MoveJob(id, from, store.Cancelled, "cancelled by "+by); err != nil {
			return err
		}
		if !moved {
			if j.Stage == store.StageClosed {
				return e.cannotCancel(tx, j)
			}
			return nil
		}
		if left, err = tx.EndPending(id, outcome.Cancelled); err != nil {
			return err
		}
		return tx.LogJob(id, "cancelled by "+by)
	})
	return j, left, moved, err
}

func (e *Env) cannotCancel(tx *store.Tx, j *store.Job) error {
	if j.Series != 0 {
		next, err := tx.NextRun(j.Series)
		if err != nil {
			return err
		}
		if next != nil {
			return cannot(j, "is %s: there is nothing left to cancel of this run; end its schedule with: dirpin jobs cancel %d", j.State, next.ID)
		}
	}
	return cannot(j, "is %s: there is nothing left to cancel", j.State)
}

// CancelNext leaves the next time of a schedule out. The job may be any run of
// the schedule.
func (e *Env) CancelNext(ctx context.Context, id int64, by string) (*store.Job, error) {
	return e.change(ctx, id, func(tx *store.Tx, j *store.Job) error {
		if j.Series == 0 {
			return cannot(j, "is no run of a schedule")
		}
		run, err := tx.NextRun(j.Series)
		if err != nil {
			return err
		}
		if run == nil {
			return cannot(j, "is of a schedule that has ended")
		}
		next, err := nextOf(run, run.Due)
		if err != nil {
			return err
		}
		if next.IsZero() {
			return cannot(j, "is of a schedule that has no time after the next one; end it with: dirpin jobs cancel %d", run.ID)
		}
		if err := tx.LogJob(run.ID, fmt.Sprintf("the run of %s was cancelled by %s", rfc3339(run.Due), by)); err != nil {
			return err
		}
		if err := tx.Postpone(run.ID, next, ""); err != nil {
			return err
		}
		*j = *run
		return nil
	})
}

// Schedule gives a job that has not begun another time: now, at a time, or by a
// schedule. A run of a schedule that is to run now leaves the schedule as it is.
func (e *Env) Schedule(ctx context.Context, id int64, run Run, by string) (*store.Job, error) {
	return e.change(ctx, id, func(tx *store.Tx, j *store.Job) error {
		switch {
		case j.State.Ended() || j.Stage != store.StageOpening || !j.Started.IsZero() || j.Owner != "":
			return cannot(j, "is %s and has begun: it cannot get another time", j.State)
		case j.Reason == store.ReasonRestored:
			return cannot(j, "is held: %s", e.DescribeHold(j))
		case j.State == store.Held && NeedsAnother(j):
			return cannot(j, "is held: %s", e.DescribeHold(j))
		}
		if run.Now && j.Series != 0 && j.Waits() {
			return e.runNow(tx, j, by)
		}
		def, err := DecodeJob(j.Definition)
		if err != nil {
			return err
		}
		due, series, err := e.timeOf(tx, j, def, run)
		if err != nil {
			return err
		}
		def.Run = run
		definition, err := EncodeJob(def)
		if err != nil {
			return err
		}
		if err := tx.LogJob(id, fmt.Sprintf("scheduled by %s: %s", by, describeRun(run))); err != nil {
			return err
		}
		return tx.Reschedule(id, definition, due, series)
	})
}

func (e *Env) timeOf(tx *store.Tx, j *store.Job, def *Job, run Run) (due time.Time, series int64, err error) {
	switch {
	case run.Now:
		return time.Time{}, 0, nil
	case run.Cron == "":
		if !run.At.After(tx.Now()) {
			return due, 0, cannot(j, "cannot start at %s: this time has passed", rfc3339(run.At))
		}
		return run.At, 0, nil
	case def.Select.CSV != nil:
		return due, 0, cannot(j, "has a csv, whose values would be set again and again: no csv under cron")
	}
	c, err := ParseCron(run.Cron, run.Timezone)
	if err != nil {
		return due, 0, cannot(j, "cannot be scheduled so: %v", err)
	}
	due = c.Next(tx.Now())
	if due.IsZero() || !run.Until.IsZero() && due.After(run.Until) {
		return due, 0, cannot(j, "would never run by this schedule")
	}
	series = j.ID
	if j.Series != 0 {
		series = j.Series
	}
	return due, series, nil
}

// runNow lets the next run of a schedule run at once, beside the schedule.
func (e *Env) runNow(tx *store.Tx, j *store.Job, by string) error {
	if j.State == store.Held {
		return cannot(j, "is held, and its schedule with it: release it first")
	}
	if other, err := tx.UnfinishedRun(j.Series); err != nil || other != 0 {
		return errors.Join(err, cannot(j, "cannot run now: job %d, the run before it, has not ended", other))
	}
	l, err := e.unseal(j)
	if err != nil {
		return err
	}
	next := j.Due
	if err := tx.Fire(j.ID, tx.Now(), store.Queued, ""); err != nil {
		return err
	}
	if err := tx.LogJob(j.ID, "started by "+by); err != nil {
		return err
	}
	return e.nextRun(tx, l, next)
}

// nextOf returns the next time of a job's schedule; the zero time where none
// comes.
func nextOf(j *store.Job, after time.Time) (time.Time, error) {
	def, err := DecodeJob(j.Definition)
	if err != nil {
		return time.Time{}, err
	}
	c, err := ParseCron(def.Run.Cron, def.Run.Timezone)
	if err != nil {
		return time.Time{}, err
	}
	next := c.Next(after)
	if !def.Run.Until.IsZero() && next.After(def.Run.Until) {
		next = time.Time{}
	}
	return next, nil
}

// describeRun says when a job runs.
func describeRun(r Run) string {
	switch {
	case r.Now:
		return "now"
	case r.Held:
		return "held"
	case r.Cron == "":
		return "at " + rfc3339(r.At)
	case r.Until.IsZero():
		return fmt.Sprintf("by %s in %s", r.Cron, r.Timezone)
	}
	return fmt.Sprintf("by %s in %s, until %s", r.Cron, r.Timezone, rfc3339(r.Until))
}

// DescribeTime says when the job of a row runs, or ran.
func DescribeTime(j *store.Job) string {
	def, err := DecodeJob(j.Definition)
	if err != nil || j.Due.IsZero() {
		return ""
	}
	return fmt.Sprintf("%s (%s)", rfc3339(j.Due), describeRun(def.Run))
}

// change changes a job in one transaction and returns it as it is then.
func (e *Env) change(ctx context.Context, id int64, fn func(*store.Tx, *store.Job) error) (*store.Job, error) {
	var j *store.Job
	err := e.Store.Write(ctx, func(tx *store.Tx) (err error) {
		if j, err = tx.Job(id); err != nil {
			return err
		}
		if err := fn(tx, j); err != nil {
			return err
		}
		j, err = tx.Job(j.ID)
		return err
	})
	if err == nil {
		err = e.advance(ctx)
	}
	return j, err
}
