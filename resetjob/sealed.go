package resetjob

import (
	"context"
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/dirpin/dirpin/internal/credential"
	"github.com/dirpin/dirpin/internal/outcome"
	"github.com/dirpin/dirpin/internal/secret"
	"github.com/dirpin/dirpin/internal/store"
)

const sealedName = "secrets.csv.age"

// sealValues makes secrets.csv.age of a job: the values that were set, for those
// who hold the keys of the recipients; updated users first, then uncertain ones,
// whose mailbox may have the value. It is made once and kept in the database, so
// that a report can be written anew when the values are forgotten.
func (e *Env) sealValues(ctx context.Context, l *loaded) error {
	if len(l.def.Deliver.SealedCSV) == 0 || l.key == nil {
		return nil
	}
	recipients, err := credential.ParseRecipients(l.def.Deliver.SealedCSV)
	if err != nil {
		return err
	}
	f, err := os.CreateTemp("", "dirpin-sealed-*") // ciphertext; a million users have a hundred megabytes
	if err != nil {
		return err
	}
	defer os.Remove(f.Name())
	defer f.Close()
	there := false
	err = e.Store.Read(ctx, func(tx *store.Tx) error {
		part, err := tx.Sealed(l.job.ID, 1)
		if there = part != nil; there || err != nil {
			return err
		}
		age, err := credential.EncryptTo(f, recipients)
		if err != nil {
			return err
		}
		if err := l.writeSealed(tx, csv.NewWriter(age)); err != nil {
			return err
		}
		return age.Close()
	})
	if err != nil || there {
		return err
	}
	return e.Store.Write(ctx, func(tx *store.Tx) error {
		if _, err := f.Seek(0, io.SeekStart); err != nil {
			return err
		}
		return tx.AddSealed(l.job.ID, func(buf []byte) (int, error) {
			n, err := io.ReadFull(f, buf)
			if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
				err = nil
			}
			return n, err
		})
	})
}

func (l *loaded) writeSealed(tx *store.Tx, to *csv.Writer) error {
	if err := to.Write([]string{"user_id", "first_name", "last_name", "mail", "password", "pin", "result", "code"}); err != nil {
		return err
	}
	some := false
	for _, uncertain := range []bool{false, true} {
		if uncertain && !some {
			break
		}
		err := tx.Report(l.job.ID, func(r *store.ReportRow) error {
			doubt := r.PIN.Code.Uncertain() || r.Password.Code.Uncertain()
			some = some || doubt
			if doubt != uncertain || !doubt && r.PIN.Result != outcome.Updated && r.Password.Result != outcome.Updated {
				return nil
			}
			return l.sealRow(to, r)
		})
		if err != nil {
			return err
		}
	}
	to.Flush()
	return to.Error()
}

func (l *loaded) sealRow(to *csv.Writer, r *store.ReportRow) error {
	var values [2]secret.Value
	for i, leg := range []*store.Leg{&r.Password, &r.PIN} {
		if leg.Result != outcome.Updated && !leg.Code.Uncertain() {
			continue // it surely was not set
		}
		var err error
		if values[i], err = l.valueOf([]string{store.Password, store.PIN}[i], r.Seq, leg); err != nil {
			return err
		}
	}
	return to.Write([]string{r.UserID, r.FirstName, r.LastName, r.Mail, values[0].Reveal(), values[1].Reveal(), string(r.Result), string(r.Code)})
}

// valueOf returns the value of a leg.
func (l *loaded) valueOf(kind string, seq int64, leg *store.Leg) (secret.Value, error) {
	if leg.Value == nil {
		return l.given[kind], nil
	}
	v, err := l.key.OpenValue(legContext(kind, l.job.ID, seq), leg.Value)
	if err != nil {
		return v, fmt.Errorf("opening the %s of item %d: %w", kind, seq, err)
	}
	return v, nil
}

// addSealed writes secrets.csv.age as it was made.
func (w *reportWriter) addSealed(tx *store.Tx) error {
	f := w.file(sealedName)
	for n := 1; ; n++ {
		part, err := tx.Sealed(w.job.ID, n)
		if err != nil || part == nil {
			return err
		}
		if err := f.line(string(part)); err != nil {
			return err
		}
	}
}
