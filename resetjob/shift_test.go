package resetjob

import (
	"context"
	"errors"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/dirpin/dirpin/config"
	"github.com/dirpin/dirpin/internal/outcome"
	"github.com/dirpin/dirpin/internal/store"
	"github.com/dirpin/dirpin/internal/voicemail"
)

// A shift whose time is over leaves the job running, with nothing in hand; the
// next ones bring it to its end.
func TestShiftsOfABudget(t *testing.T) {
	k := newKit(t, nil)
	k.addUsers(200, nil)
	k.boxes.took = func() { time.Sleep(2 * time.Millisecond) }
	id := k.submit("select: {query: all}\nreset: {pin: \"471108\"}\n").ID
	var alive atomic.Int64
	s := Shift{Leave: true, Budget: 20 * time.Millisecond, Alive: func() { alive.Add(1) }}
	var shift *ShiftError
	n := 0
	_, err := k.env.Work(context.Background(), id, s)
	for ; errors.As(err, &shift); n++ {
		if j := k.job(id); j.State != store.Running || j.Owner != "" || j.Counts.Final() == 200 {
			t.Fatalf("between shifts the job is %s, owned by %q, %+v", j.State, j.Owner, j.Counts)
		}
		if p := k.pushing(); p != "0" {
			t.Fatalf("%s are in flight between shifts", p)
		}
		_, err = k.env.Work(context.Background(), id, s)
	}
	k.must(err)
	if j := k.job(id); j.State != store.Done || j.Counts.Updated != 200 || n < 2 {
		t.Errorf("after %d shifts the job is %s, %+v", n, j.State, j.Counts)
	}
	for u, ids := range k.boxes.asked {
		if len(ids) != 1 {
			t.Errorf("%s was asked %d times", u, len(ids))
		}
	}
	if alive.Load() == 0 {
		t.Error("no shift has said that it lives")
	}
}

// Ten users without a mailbox hold a job of which nobody was accepted yet, and
// no other: those of one department may come one after another.
func TestNoMailboxes(t *testing.T) {
	for _, test := range []struct {
		name     string
		accepted int // first, in a shift before
		state    store.State
	}{{"from the start", 0, store.Held}, {"in a later shift", 5, store.Incomplete}} {
		t.Run(test.name, func(t *testing.T) {
			k := newKit(t, nil)
			k.addUsers(60, nil)
			asked := 0
			k.boxes.answer = func(string, int) voicemail.Answer {
				if asked++; asked <= test.accepted {
					return voicemail.Answer{Class: voicemail.Answered, Result: voicemail.Accepted}
				}
				return voicemail.Answer{Class: voicemail.Answered, Result: voicemail.NoMailbox}
			}
			id := k.submit("select: {query: all}\nreset: {pin: \"471108\"}\n").ID
			s := Shift{Leave: true}
			if test.accepted > 0 { // the shift ends with them
				ctx, stop := context.WithCancel(context.Background())
				k.boxes.took = func() {
					if asked >= test.accepted {
						stop()
					}
				}
				var cut *InterruptedError
				if _, err := k.env.Work(ctx, id, s); !errors.As(err, &cut) {
					t.Fatalf("the first shift: %v", err)
				}
				k.boxes.took = nil
			}
			_, err := k.env.Work(context.Background(), id, s)
			var held *HeldError
			if j := k.job(id); j.State != test.state || errors.As(err, &held) != (test.state == store.Held) {
				t.Errorf("the job is %s, %+v: %v", j.State, j.Counts, err)
			}
		})
	}
}

// While the breaker is open a shift ends instead of waiting, the job stays
// paused, and its log is not filled by every try.
func TestShiftLeavesAPausedJob(t *testing.T) {
	k := newKit(t, func(c *config.Config) { c.Voicemail[0].Retries = 0 })
	k.addUsers(30, nil)
	k.boxes.answer = func(string, int) voicemail.Answer { return unreached }
	id := k.submit("select: {query: all}\nreset: {pin: \"471108\"}\n").ID
	var shift *ShiftError
	for range 3 {
		began := time.Now()
		if _, err := k.env.Work(context.Background(), id, Shift{Leave: true}); !errors.As(err, &shift) || time.Until(shift.Until) < 5*time.Second {
			t.Fatalf("the shift ended as %v", err)
		}
		if time.Since(began) > 5*time.Second {
			t.Errorf("the shift waited for %s", time.Since(began))
		}
		if j := k.job(id); j.State != store.Paused || !strings.Contains(j.Reason, "unity") || j.PausedAt.IsZero() {
			t.Errorf("the job is %s: %s", j.State, j.Reason)
		}
		if p := k.pushing(); p != "0" {
			t.Errorf("%s are in flight while it is paused", p)
		}
	}
	lines := 0
	k.must(k.env.Store.Read(context.Background(), func(tx *store.Tx) error {
		log, err := tx.JobLog(id)
		lines = len(log)
		return err
	}))
	if lines > 5 {
		t.Errorf("its log has %d lines", lines)
	}
	// It answers again: the breaker is a new one here, as after a restart.
	k.boxes.answer = nil
	sys := voicemail.NewWith(&k.env.Config.Voicemail[0], k.boxes, voicemail.Options{})
	k.env.Router = voicemail.NewRouter(sys)
	if j, err := k.env.Work(context.Background(), id, Shift{Leave: true}); err != nil || j.State != store.Incomplete || j.Counts.Updated+j.Counts.Failed != 30 {
		t.Errorf("%v: the job is %s, %+v", err, j.State, j.Counts)
	}
	for u, code := range k.codes(id) {
		if code != outcome.OK && code != outcome.VoicemailUnreachable {
			t.Errorf("%s ended %s", u, code)
		}
	}
}
