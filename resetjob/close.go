package resetjob

import (
	"context"
	"encoding/csv"
	"fmt"
	"io"
	"path/filepath"

	"github.com/dirpin/dirpin/internal/credential"
	"github.com/dirpin/dirpin/internal/outcome"
	"github.com/dirpin/dirpin/internal/secret"
	"github.com/dirpin/dirpin/internal/store"
)

// close writes the report of a job that has ended, delivers what it drew, and
// forgets the values that nobody needs any more. Until the report is durable
// the values stay: a close that was cut is done over, whole.
func (e *Env) close(ctx context.Context, l *loaded) (*store.Job, error) {
	ctx = context.WithoutCancel(ctx) // a report is a matter of seconds, and of a job that is done
	w, err := e.writeReport(ctx, l)
	if err != nil {
		return l.job, fmt.Errorf("job %d is done, but writing its report in %s: %w; run it again when that is mended: nobody is changed twice", l.job.ID, e.reports(l.folder), err)
	}
	e.step("closing")
	err = e.Store.Write(ctx, func(tx *store.Tx) error {
		if err := tx.SetReport(l.job.ID, w.dir); err != nil {
			return err
		}
		if err := tx.SetStage(l.job.ID, store.StageClosed); err != nil {
			return err
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
	err := e.Store.Write(ctx, func(tx *store.Tx) (err error) {
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
		secrets, err := newSealedCSV(w, l)
		if err != nil {
			return err
		}
		if err := tx.Report(l.job.ID, func(r *store.ReportRow) error {
			if err := secrets.updated(r); err != nil {
				return err
			}
			return w.add(r)
		}); err != nil {
			return err
		}
		if err := secrets.uncertain(tx); err != nil {
			return err
		}
		codes, err := tx.CodeCounts(l.job.ID)
		if err != nil {
			return err
		}
		log, err := tx.JobLog(l.job.ID)
		if err != nil {
			return err
		}
		return w.finish(codes, log)
	})
	if err != nil && w != nil {
		w.abandon()
	}
	return w, err
}

// sealedCSV is secrets.csv.age: the values that were drawn, for those who hold
// the keys of the recipients. Updated users come first, then uncertain ones,
// whose mailbox may have the value.
type sealedCSV struct {
	l    *loaded
	file *reportFile
	age  io.WriteCloser
	csv  *csv.Writer
	some bool // some users are uncertain
}

const sealedName = "secrets.csv.age"

// newSealedCSV returns nil where nothing is delivered so.
func newSealedCSV(w *reportWriter, l *loaded) (*sealedCSV, error) {
	if len(l.def.Deliver.SealedCSV) == 0 || l.key == nil {
		return nil, nil
	}
	recipients, err := credential.ParseRecipients(l.def.Deliver.SealedCSV)
	if err != nil {
		return nil, err
	}
	s := &sealedCSV{l: l, file: &reportFile{path: filepath.Join(w.tmp, sealedName)}}
	w.files = append(w.files, s.file)
	if err := s.file.open(); err != nil {
		return nil, err
	}
	if s.age, err = credential.EncryptTo(s.file.w, recipients); err != nil {
		return nil, err
	}
	s.csv = csv.NewWriter(s.age)
	return s, s.csv.Write([]string{"user_id", "first_name", "last_name", "mail", "password", "pin", "result", "code"})
}

func (s *sealedCSV) updated(r *store.ReportRow) error {
	if s == nil {
		return nil
	}
	if r.PIN.Code.Uncertain() || r.Password.Code.Uncertain() {
		s.some = true
	}
	if r.PIN.Result != outcome.Updated && r.Password.Result != outcome.Updated || r.PIN.Code.Uncertain() {
		return nil
	}
	return s.write(r)
}

// uncertain adds the uncertain users and ends the file.
func (s *sealedCSV) uncertain(tx *store.Tx) error {
	if s == nil {
		return nil
	}
	if s.some {
		err := tx.Report(s.l.job.ID, func(r *store.ReportRow) error {
			if !r.PIN.Code.Uncertain() {
				return nil
			}
			return s.write(r)
		})
		if err != nil {
			return err
		}
	}
	s.csv.Flush()
	if err := s.csv.Error(); err != nil {
		return err
	}
	return s.age.Close()
}

func (s *sealedCSV) write(r *store.ReportRow) error {
	password, err := s.value(store.Password, r.Seq, &r.Password)
	if err != nil {
		return err
	}
	pin, err := s.value(store.PIN, r.Seq, &r.PIN)
	if err != nil {
		return err
	}
	return s.csv.Write([]string{r.UserID, r.FirstName, r.LastName, r.Mail, password.Reveal(), pin.Reveal(), string(r.Result), string(r.Code)})
}

// value returns what a leg was set to, or may have been; nothing of one that
// surely was not.
func (s *sealedCSV) value(kind string, seq int64, l *store.Leg) (secret.Value, error) {
	if l.Result != outcome.Updated && !l.Code.Uncertain() {
		return secret.Value{}, nil
	}
	if l.Value == nil {
		return s.l.given[kind], nil
	}
	v, err := s.l.key.OpenValue(legContext(kind, s.l.job.ID, seq), l.Value)
	if err != nil {
		return v, fmt.Errorf("opening the %s of item %d: %w", kind, seq, err)
	}
	return v, nil
}

// Summary returns report.json of a job that has ended.
func (e *Env) Summary(ctx context.Context, id int64) (*Summary, error) {
	var s Summary
	err := e.Store.Read(ctx, func(tx *store.Tx) error {
		j, err := tx.Job(id)
		if err != nil {
			return err
		}
		codes, err := tx.CodeCounts(id)
		s = summaryOf(j, codes)
		return err
	})
	return &s, err
}
