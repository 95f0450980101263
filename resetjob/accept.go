package resetjob

import (
	"context"
	"errors"
	"fmt"

	"github.com/dirpin/dirpin/internal/outcome"
	"github.com/dirpin/dirpin/internal/store"
)

// Origin says where a job file came from. Without a folder, it is the command
// line.
type Origin struct {
	Submitter string
	Claim     string // the name that the file was claimed under in its watch folder (A15)
}

// Accepted is what became of a job file.
type Accepted struct {
	Job        *store.Job
	Superseded []int64 // jobs that it replaced; each wants its report (Run)
}

// SameError says that a job of the same content waits or runs: another one would
// change the same people twice.
type SameError struct{ Job int64 }

func (e *SameError) Error() string { return fmt.Sprintf("the same as job %d", e.Job) }

// The reasons of jobs that are held before they begin.
const (
	reasonAsked  = "asked"    // its file says so
	reasonLate   = "late"     // its time was missed by more than `late`
	reasonBy     = "held by " // somebody
	reasonUnread = "it cannot be read: "
)

// Accept makes a job of a submission, which runs when its file says: it waits in
// the queue, for its time, or for its release. Values and list are sealed with
// it, in one transaction with everything else that depends on it. A job of the
// same name in the same watch folder that waits for its time or is held ends
// superseded.
//
// With a claim its number is to be noted (Note) before anybody is told of it.
//
// Its error is a *SameError, or wraps ErrIDUsed, where nothing is wrong with the
// file itself.
func (e *Env) Accept(ctx context.Context, s *Submission, from Origin) (*Accepted, error) {
	j, err := e.newJob(s, from.Submitter)
	if err != nil {
		return nil, err
	}
	j.Claim = from.Claim
	var schedule *Cron
	switch run := s.Job.Run; {
	case run.Held:
		j.State, j.Reason = store.Held, reasonAsked
	case !run.At.IsZero():
		j.State, j.Due = store.Scheduled, run.At
	case run.Cron != "":
		if schedule, err = ParseCron(run.Cron, run.Timezone); err != nil {
			return nil, err
		}
		j.State = store.Scheduled
	default:
		j.State = store.Queued
	}
	a := &Accepted{Job: j}
	err = e.addJob(ctx, j, func(tx *store.Tx) error {
		a.Superseded = nil
		if same, err := tx.SameContent(j.Fingerprint); err != nil || same != j.ID {
			return errors.Join(err, &SameError{same})
		}
		if err := e.sealInto(tx, j, s); err != nil {
			return err
		}
		if schedule != nil {
			j.Due, j.Series = schedule.Next(tx.Now()), j.ID
			if err := tx.Reschedule(j.ID, j.Definition, j.Due, j.Series); err != nil {
				return err
			}
		}
		a.Superseded, err = supersede(tx, j)
		return err
	})
	if err != nil {
		return nil, err
	}
	return a, nil
}

// ClaimedError says that the file was made a job already, by another process.
type ClaimedError struct{ Job int64 }

func (e *ClaimedError) Error() string { return fmt.Sprintf("the file is job %d already", e.Job) }

// supersede ends the jobs that a new one of the same name replaces in its
// folder.
func supersede(tx *store.Tx, j *store.Job) ([]int64, error) {
	if j.Folder == "" {
		return nil, nil
	}
	old, err := tx.Replaceable(j.Folder, j.Name)
	if err != nil {
		return nil, err
	}
	var ids []int64
	for _, o := range old {
		if o.ID == j.ID {
			continue
		}
		why := fmt.Sprintf("replaced by job %d", j.ID)
		if _, err := tx.MoveJob(o.ID, []store.State{store.Scheduled, store.Held}, store.Superseded, why); err != nil {
			return nil, err
		}
		if _, err := tx.EndPending(o.ID, outcome.Cancelled); err != nil {
			return nil, err
		}
		if err := errors.Join(tx.LogJob(o.ID, why), tx.LogJob(j.ID, fmt.Sprintf("replaces job %d", o.ID))); err != nil {
			return nil, err
		}
		ids = append(ids, o.ID)
	}
	return ids, nil
}
