package store

import (
	"bytes"
	"context"
	"io"
	"slices"
	"testing"
	"time"

	"github.com/dirpin/dirpin/internal/outcome"
)

// A message waits until it is sent, is tried no sooner than it is due, and is
// there once however often the job is closed.
func TestMessages(t *testing.T) {
	each(t, func(t *testing.T, open opener) {
		c := &clock{time.Date(2026, 11, 24, 2, 0, 0, 0, time.UTC)}
		s := open(t, c)
		a, b, out := addUser(t, s, "a"), addUser(t, s, "b"), addUser(t, s, "c")
		job := addJob(t, s, a, b, out)
		r := NewResults(job)
		for seq, end := range []Leg{{Kind: PIN, Result: outcome.Updated, Code: outcome.OK}, {Kind: PIN, Result: outcome.Failed, Code: outcome.VoicemailTimeout}, {Kind: PIN, Result: outcome.Failed, Code: outcome.NoMailbox}} {
			r.Leg(int64(seq+1), &end)
			r.Item(&Item{Seq: int64(seq + 1), Result: end.Result, Code: end.Code})
		}
		write(t, s, func(tx *Tx) error { return tx.WriteResults(r) })
		for _, prefix := range []string{"x", "y"} {
			write(t, s, func(tx *Tx) error {
				if err := tx.AddValues(job, prefix, "@example.com"); err != nil {
					return err
				}
				return tx.AddNotices(job, []string{"admin@example.com"}, "https://hook", prefix, "@example.com")
			})
		}
		due := func(values bool) (ids []string) {
			t.Helper()
			err := s.Read(context.Background(), func(tx *Tx) error {
				for after, more := int64(0), true; more; {
					ms, err := tx.DueMessages(job, after, values, 1)
					if err != nil {
						return err
					}
					more = len(ms) > 0
					for _, m := range ms {
						after, ids = m.Seq, append(ids, m.ID)
					}
				}
				return nil
			})
			if err != nil {
				t.Fatal(err)
			}
			return ids
		}
		if got := due(true); !slices.Equal(got, []string{"x.1@example.com", "x.2@example.com"}) {
			t.Errorf("values %q", got)
		}
		if got := due(false); !slices.Equal(got, []string{"x.n1@example.com", "x.n2@example.com"}) {
			t.Errorf("notices %q", got)
		}
		write(t, s, func(tx *Tx) error {
			if err := tx.Delivered(&Message{Job: job, Seq: 1, State: MessageRefused, Recipient: "a@example.com", Error: "no"}); err != nil {
				return err
			}
			if err := tx.Delay(job, false, tx.Now().Add(time.Minute), "away"); err != nil {
				return err
			}
			return tx.Delivered(&Message{Job: job, Seq: 2, State: MessageWaiting, NextAt: tx.Now().Add(time.Hour)})
		})
		var d Deliveries
		var jobs []int64
		var next time.Time
		var unsent []string
		read := func() {
			t.Helper()
			unsent = nil
			err := s.Read(context.Background(), func(tx *Tx) (err error) {
				if d, err = tx.Deliveries(job); err != nil {
					return err
				}
				if jobs, next, err = tx.DueDeliveries(); err != nil {
					return err
				}
				if err := tx.UndeliveredJobs(func(j, n int64) error {
					if j != job || n != 4 {
						t.Errorf("%d messages of job %d", n, j)
					}
					return nil
				}); err != nil {
					return err
				}
				return tx.Undelivered(job, 10, func(m Message) error {
					unsent = append(unsent, string(m.State)+" "+m.Recipient+" "+m.Error)
					return nil
				})
			})
			if err != nil {
				t.Fatal(err)
			}
		}
		read()
		if d != (Deliveries{Waiting: 1, Refused: 1, Notices: 2}) || !slices.Equal(jobs, []int64{job}) || !next.Equal(c.now) ||
			!slices.Equal(unsent, []string{"refused a@example.com no", "waiting  ", "waiting admin@example.com away", "waiting https://hook "}) {
			t.Errorf("%+v, due %v, next %v, unsent %q", d, jobs, next, unsent)
		}
		if got := due(true); len(got) != 0 {
			t.Errorf("%q are due too soon", got)
		}
		write(t, s, func(tx *Tx) error { return tx.SendAgain(job) })
		if got := due(true); len(got) != 2 {
			t.Errorf("%q are due again", got)
		}
		write(t, s, func(tx *Tx) error { return tx.HoldRestored("test", tx.Now()) })
		if read(); d != (Deliveries{Refused: 2, Notices: 2}) || len(jobs) != 0 || !next.IsZero() {
			t.Errorf("of a restored database %+v wait, of jobs %v", d, jobs)
		}
	})
}

// What was sealed for others comes back as it was.
func TestSealedParts(t *testing.T) {
	each(t, func(t *testing.T, open opener) {
		s := open(t, nil)
		job := addJob(t, s)
		file := bytes.Repeat([]byte("0123456789abcdef"), sealedPart/16*2+1)
		r := bytes.NewReader(file)
		write(t, s, func(tx *Tx) error {
			return tx.AddSealed(job, func(buf []byte) (int, error) {
				n, err := io.ReadFull(r, buf)
				if err == io.EOF || err == io.ErrUnexpectedEOF {
					err = nil
				}
				return n, err
			})
		})
		var got []byte
		err := s.Read(context.Background(), func(tx *Tx) error {
			for n := 1; ; n++ {
				part, err := tx.Sealed(job, n)
				if err != nil || part == nil {
					return err
				}
				got = append(got, part...)
			}
		})
		if err != nil || !bytes.Equal(got, file) {
			t.Errorf("%d bytes came back, %v", len(got), err)
		}
	})
}
