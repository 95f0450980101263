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
		return l.job, fmt.Errorf("job %d is done, but writing its report in %s: %w; run it again when that is mended: nobody is changed twice", l.job.ID, e.reports(), err)
	}
	err = e.Store.Write(ctx, func(tx *store.Tx) error {
		if err := tx.SetReport(l.job.ID, w.dir); err != nil {
			return err
		}
		// What failed may be tried again with the same values.
		if c := l.job.Counts; c.Failed == 0 && c.NotRun == 0 {
			if err := tx.EraseValues(l.job.ID); err != nil {
				return err
			}
		}
		return tx.SetStage(l.job.ID, store.StageClosed)
	})
	l.job.Report = w.dir
	return l.job, err
}

func (e *Env) writeReport(ctx context.Context, l *loaded) (*reportWriter, error) {
	var w *reportWriter
	err := e.Store.Read(ctx, func(tx *store.Tx) error {
		var err error
		if l.job, err = tx.Job(l.job.ID); err != nil {
			return err
		}
		if w, err = newReportWriter(e.reports(), l.job, l.def, l.people.csv); err != nil {
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
