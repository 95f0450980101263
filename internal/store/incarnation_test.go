package store

import (
	"context"
	"errors"
	"io/fs"
	"path/filepath"
	"testing"
	"time"

	"github.com/dirpin/dirpin/internal/outcome"
)

func mustSub(t testing.TB) fs.FS {
	t.Helper()
	sub, err := fs.Sub(migrations, "migrations")
	if err != nil {
		t.Fatal(err)
	}
	return sub
}

func glob(t testing.TB, pattern string) []string {
	t.Helper()
	found, err := filepath.Glob(pattern)
	if err != nil {
		t.Fatal(err)
	}
	return found
}

// What a restored database believes to be open ends uncertain, and what was
// sent is forgotten.
func TestHoldRestored(t *testing.T) {
	each(t, func(t *testing.T, open opener) {
		c := &clock{time.Date(2026, 11, 24, 2, 0, 0, 0, time.UTC)}
		s := open(t, c)
		a, b, d := addUser(t, s, "a"), addUser(t, s, "b"), addUser(t, s, "d")
		job := addJob(t, s, a, b)
		held := addJob(t, s, d)
		done := addJob(t, s)
		write(t, s, func(tx *Tx) error {
			return errors.Join(
				tx.Journal(&Journalled{UserRef: a, Job: job, Seq: 1, Kind: PIN, RequestID: "r", System: "vm", Body: []byte("sealed")}),
				tx.HoldJob(held, "max_users", 5),
				func() error { _, err := tx.MoveJob(done, []State{Running}, Done, ""); return err }(),
				tx.HoldRestored("because", tx.Now().Add(time.Minute)))
		})
		write(t, s, func(tx *Tx) error {
			for id, want := range map[int64]string{job: "held restored", held: "held max_users", done: "done "} {
				j, err := tx.Job(id)
				if err != nil {
					return err
				}
				if got := string(j.State) + " " + j.Reason; got != want {
					t.Errorf("job %d is %s, want %s", id, got, want)
				}
				if id == job && (j.Counts.Failed != 1 || j.Counts.Uncertain != 1 || j.Counts.Selected != 2) {
					t.Errorf("counts %+v", j.Counts)
				}
			}
			codes, err := tx.CodeCounts(job)
			if codes[outcome.VoicemailTimeout] != 1 {
				t.Errorf("codes %v", codes)
			}
			if pending, pushing, err := tx.CountOpen(job); pending != 1 || pushing != 0 || err != nil {
				t.Errorf("%d pending, %d pushing, %v", pending, pushing, err)
			}
			if todo, err := tx.ToDo(job, 0, 2, 10); err != nil || len(todo) != 1 || todo[0].Legs[0].Lost != 1 || todo[0].Legs[0].Body != nil {
				t.Errorf("whoever waits is not in doubt: %+v, %v", todo, err)
			}
			var e *ClaimedError
			if err := tx.Free(a, "r2"); !errors.As(err, &e) {
				t.Errorf("the user whose push is in doubt is free: %v", err)
			}
			in, err2 := tx.Incarnation()
			if in.Restored != "because" {
				t.Errorf("incarnation %+v", in)
			}
			by := addJobIn(t, tx)
			if _, err := tx.MarkRetried(job, by); err != nil {
				return err
			}
			err3 := tx.RetriedItems(job, by, func(it *Retried) error {
				if l := it.Legs[0]; l.RequestID != "" || l.Body != nil {
					t.Errorf("the request of a restored database can be sent again: %+v", l)
				}
				return nil
			})
			n, err4 := tx.ReleaseRestored()
			if n != 1 {
				t.Errorf("%d jobs were released", n)
			}
			return errors.Join(err, err2, err3, err4)
		})
		write(t, s, func(tx *Tx) error {
			j, err := tx.Job(job)
			if err == nil && (j.State != Queued || j.Reason != "") {
				t.Errorf("after the release job %d is %s %s", job, j.State, j.Reason)
			}
			return err
		})
	})
}

func addJobIn(t testing.TB, tx *Tx) int64 {
	t.Helper()
	j := &Job{Name: "retry", Fingerprint: []byte{1}, Definition: []byte("{}"), State: Queued, Stage: StageOpening}
	if err := tx.AddJob(j, 0); err != nil {
		t.Fatal(err)
	}
	return j.ID
}

func TestJobNumbersGoOn(t *testing.T) {
	each(t, func(t *testing.T, open opener) {
		s := open(t, nil)
		write(t, s, func(tx *Tx) error { return tx.SetIncarnation(Incarnation{ID: "x", Generation: 4, LastJob: 57}) })
		first := addJob(t, s)
		write(t, s, func(tx *Tx) error {
			in, err := tx.Incarnation()
			if in.ID != "x" || in.Generation != 4 || first != 58 || in.LastJob != first || in.Empty {
				t.Errorf("%+v after job %d", in, first)
			}
			return err
		})
	})
}

func TestCloseTwiceAndWhileWaiting(t *testing.T) {
	each(t, func(t *testing.T, open opener) {
		s := open(t, nil)
		inside, leave := make(chan struct{}), make(chan struct{})
		go s.Write(context.Background(), func(*Tx) error { close(inside); <-leave; return nil })
		<-inside
		ctx, cancel := context.WithCancel(context.Background())
		waited := make(chan error)
		go func() { waited <- s.Write(ctx, func(*Tx) error { return nil }) }()
		cancel()
		if err := <-waited; !errors.Is(err, context.Canceled) {
			t.Errorf("waiting for the turn ended with %v", err)
		}
		close(leave)
		if err := s.Close(); err != nil {
			t.Error(err)
		}
		if err := s.Close(); err != nil {
			t.Error(err)
		}
		if err := s.Write(context.Background(), func(*Tx) error { return nil }); err == nil {
			t.Error("a closed store can be written to")
		}
	})
}
