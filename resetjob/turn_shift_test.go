package resetjob

import (
	"context"
	"errors"
	"testing"

	"github.com/dirpin/dirpin/internal/outcome"
	"github.com/dirpin/dirpin/internal/store"
	"github.com/dirpin/dirpin/internal/voicemail"
)

// A job that was cut with users in flight goes on though an earlier one has the
// same users: that one waits for them. (The service was killed with both of them
// at work.)
func TestCutJobDoesNotWaitForItsTurn(t *testing.T) {
	k := newKit(t, nil)
	k.addUsers(3, nil)
	k.env.TakeTurns = true
	first := k.submit("name: first\nselect: {query: all}\nreset: {pin: \"471108\"}\n").ID
	second := k.submit("name: second\nselect: {query: all}\nreset: {pin: \"264081\"}\n").ID
	ctx, cancel := context.WithCancel(context.Background())
	k.boxes.answer = func(string, int) voicemail.Answer { cancel(); return loses }
	k.env.TakeTurns = false
	var cut *InterruptedError
	if _, err := k.env.Work(ctx, second, Shift{Leave: true}); !errors.As(err, &cut) {
		t.Fatal(err)
	}
	if k.pushing() == "" || k.job(second).Started.IsZero() {
		t.Fatal("it was not cut with somebody in flight")
	}
	k.boxes.answer = nil
	k.env.TakeTurns = true
	k.sql("UPDATE jobs SET state = 'running', started = 1 WHERE id = ?", first) // it has begun
	if j, err := k.env.Work(context.Background(), second, Shift{Leave: true}); err != nil || j.Counts.Final() != 3 {
		t.Errorf("%v", err)
	}
}

// Of a job whose command was told to stop, the service settles who is in flight
// and changes nobody else.
func TestShiftSettlesWhatWasStopped(t *testing.T) {
	k := newKit(t, nil)
	k.addUsers(20, nil)
	id := k.submit("select: {query: all}\nreset: {pin: \"471108\"}\n").ID
	ctx, cancel := context.WithCancel(context.Background())
	k.boxes.answer = func(string, int) voicemail.Answer { cancel(); return loses }
	var cut *InterruptedError
	if _, err := k.env.Run(ctx, id, nil); !errors.As(err, &cut) {
		t.Fatal(err)
	}
	before := k.job(id)
	asked := len(k.boxes.asked)
	if before.Reason != store.ReasonInterrupted || before.Counts.Final() > 0 {
		t.Fatalf("%s, %+v", before.Reason, before.Counts)
	}
	k.boxes.answer = nil
	if _, err := k.env.Work(context.Background(), id, Shift{Leave: true}); !errors.As(err, &cut) {
		t.Fatal(err)
	}
	after := k.job(id)
	if after.State != store.Queued || after.Reason != store.ReasonInterrupted || after.Counts.Updated != int64(asked) || len(k.boxes.asked) != asked {
		t.Errorf("%s (%s), %+v: %d were asked before, %d after", after.State, after.Reason, after.Counts, asked, len(k.boxes.asked))
	}
	for u, ids := range k.boxes.asked {
		for _, again := range ids {
			if again != ids[0] {
				t.Errorf("%s was asked under %v", u, ids)
			}
		}
	}
	k.must(k.env.Store.Read(context.Background(), func(tx *store.Tx) error {
		pending, pushing, err := tx.CountOpen(id)
		if pending != int64(20-asked) || pushing != 0 {
			t.Errorf("%d wait, %d are in flight", pending, pushing)
		}
		return err
	}))
	// The command is given again.
	if j, err := k.env.Run(context.Background(), id, nil); err != nil || j.Counts.Updated != 20 {
		t.Errorf("%v", err)
	}
	for u, code := range k.codes(id) {
		if code != outcome.OK {
			t.Errorf("%s ended %s", u, code)
		}
	}
}
