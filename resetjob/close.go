package resetjob

import (
	"context"
	"fmt"

	"github.com/dirpin/dirpin/internal/outcome"
	"github.com/dirpin/dirpin/internal/store"
)

// close writes the report of a job that has ended, delivers what it drew, and
// forgets the values that nobody needs any more. Until the report is durable
// the values stay: a close that was cut is done over, whole. With disown the job
// is nobody's afterwards.
func (e *Env) close(ctx context.Context, l *loaded, disown bool) (*store.Job, error) {
	ctx = context.WithoutCancel(ctx) // a report is a matter of seconds, and of a job that is done
	err := e.sealValues(ctx, l)
	var w *reportWriter
	if err == nil {
		w, err = e.writeReport(ctx, l)
	}
	if err != nil {
		return l.job, fmt.Errorf("job %d is done, but writing its report in %s: %w; run it again when that is mended: nobody is changed twice", l.job.ID, e.reports(l.folder), err)
	}
	e.step("closing")
	err = e.write(ctx, func(tx *store.Tx) error {
		if err := tx.SetReport(l.job.ID, w.dir); err != nil {
			return err
		}
		if err := e.queue(tx, l); err != nil {
			return err
		}
		if err := tx.SetStage(l.job.ID, store.StageClosed); err != nil {
			return err
		}
		if disown {
			if err := tx.DisownJob(l.job.ID, e.Owner.ID); err != nil {
				return err
			}
		}
		return eraseSettled(tx, l.job)
	})
	e.step("closed")
	l.job.Report = w.dir
	return l.job, err
}

// eraseSettled forgets the values of a job of which nothing can be tried again:
// nobody failed, or those who did were changed by retries. So may those be of
// the jobs that it tried again.
func eraseSettled(tx *store.Tx, j *store.Job) error {
	for {
		left, last, err := tx.Retries(j.ID)
		if err != nil || left > 0 {
			return err
		}
		if d, err := tx.Deliveries(j.ID); err != nil || d.Open() > 0 {
			return err
		}
		if last != 0 {
			next, err := tx.Job(last)
			if err != nil || next.Stage != store.StageClosed || next.Key != nil {
				return err
			}
		}
		if err := tx.EraseValues(j.ID); err != nil || j.RetryOf == 0 {
			return err
		}
		if j, err = tx.Job(j.RetryOf); err != nil {
			return err
		}
	}
}

// Tidy forgets the values of jobs that ended longer ago than they may be
// retried, and cancels those that were held for as long.
func (e *Env) Tidy(ctx context.Context) error {
	within := e.Config.RetryWithin
	if within == 0 {
		return nil
	}
	var expired []int64
	err := e.write(ctx, func(tx *store.Tx) (err error) {
		before := tx.Now().Add(-within)
		if err := tx.EraseOld(before); err != nil {
			return err
		}
		if expired, err = tx.ExpiredHolds(before); err != nil {
			return err
		}
		for _, id := range expired {
			why := fmt.Sprintf("held for longer than retry_within (%s)", within)
			if _, err := tx.EndPending(id, outcome.Held); err != nil {
				return err
			}
			if _, err := tx.MoveJob(id, []store.State{store.Held}, store.Cancelled, why); err != nil {
				return err
			}
			if err := tx.LogJob(id, "cancelled: "+why); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("tidying up: %w", err)
	}
	for _, id := range expired {
		if _, err := e.Run(ctx, id, nil); err != nil { // writes its report
			return err
		}
	}
	return nil
}

func (e *Env) writeReport(ctx context.Context, l *loaded) (*reportWriter, error) {
	var w *reportWriter
	err := e.Store.Read(ctx, func(tx *store.Tx) error {
		var err error
		if l.job, err = tx.Job(l.job.ID); err != nil {
			return err
		}
		w, err = newReportWriter(e.reports(l.folder), l.job, l.def, l.people.csv)
		if w != nil {
			defer w.csv.stop()
		}
		if err != nil {
			return err
		}
		if err := tx.Report(l.job.ID, w.add); err != nil {
			return err
		}
		if err := w.addSealed(tx); err != nil {
			return err
		}
		if err := w.read(tx); err != nil {
			return err
		}
		return w.finish()
	})
	if err != nil && w != nil {
		w.abandon()
	}
	return w, err
}

// Summary returns report.json of a job that has ended.
func (e *Env) Summary(ctx context.Context, id int64) (*Summary, error) {
	var s Summary
	err := e.Store.Read(ctx, func(tx *store.Tx) error {
		j, err := tx.Job(id)
		if err != nil {
			return err
		}
		s, err = readSummary(tx, j)
		return err
	})
	return &s, err
}
