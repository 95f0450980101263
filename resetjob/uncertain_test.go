package resetjob

import (
	"context"
	"errors"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/dirpin/dirpin/config"
	"github.com/dirpin/dirpin/internal/incarnation"
	"github.com/dirpin/dirpin/internal/labstore"
	"github.com/dirpin/dirpin/internal/outcome"
	"github.com/dirpin/dirpin/internal/store"
	"github.com/dirpin/dirpin/internal/voicemail"
)

func noRetries(c *config.Config) {
	c.Voicemail[0].Retries, c.Voicemail[0].Timeout, c.Voicemail[0].Concurrency = 0, time.Millisecond, 1
}

// cancel cancels a job as `dirpin jobs cancel` does.
func (k *kit) cancel(id int64) {
	k.Helper()
	k.must(k.env.Store.Write(context.Background(), func(tx *store.Tx) error {
		if _, err := tx.MoveJob(id, []store.State{store.Queued, store.Running, store.Paused}, store.Cancelled, "cancelled"); err != nil {
			return err
		}
		_, err := tx.EndPending(id, outcome.Cancelled)
		return err
	}))
}

// A retry that ends before an uncertain user's turn leaves that user uncertain,
// and the next one still sends the same value under the same id: under another,
// a fixed value would be refused as used before, and called surely unchanged.
func TestUncertainSurvivesAStoppedRetry(t *testing.T) {
	k := newKit(t, noRetries)
	k.addUsers(4, nil)
	k.boxes.answer = func(string, int) voicemail.Answer { return loses }
	first := k.run("select: {query: all}\nreset: {pin: \"471108\"}\n")
	if first.Counts.Uncertain != 4 {
		t.Fatalf("%+v", first.Counts)
	}
	k.boxes.answer = func(string, int) voicemail.Answer {
		return voicemail.Answer{Class: voicemail.Answered, Result: voicemail.Denied, Message: "who are you"}
	}
	stopped := k.retry(first.ID)
	if c := stopped.Counts; c.Uncertain != 4 || c.Failed != 4 || c.NotRun != 0 {
		t.Fatalf("a retry that was denied: %+v", c)
	}
	k.must(k.env.Store.Write(context.Background(), func(tx *store.Tx) error { _, err := tx.LiftLatch("unity"); return err }))
	k.env.Router.Systems()[0].Allow()
	k.boxes.answer = nil
	if last := k.retry(stopped.ID); last.Counts.Updated != 4 {
		t.Errorf("the last retry: %+v", last.Counts)
	}
	for id, asked := range k.boxes.asked {
		if len(slices.Compact(asked)) != 1 {
			t.Errorf("%s was asked under %v", id, asked)
		}
	}
}

// A retry that is cancelled before it was opened has taken nothing.
func TestRetryCancelledBeforeItOpened(t *testing.T) {
	k := newKit(t, noRetries)
	k.addUsers(2, nil)
	k.boxes.answer = func(string, int) voicemail.Answer { return loses }
	first := k.run("select: {query: all}\nreset: {pin: \"471108\"}\n")
	j, err := k.env.Retry(context.Background(), first.ID, "tester")
	k.must(err)
	k.must(k.env.Store.Write(context.Background(), func(tx *store.Tx) error { return tx.DisownJob(j.ID, k.env.Owner.ID) })) // it was cut
	k.cancel(j.ID)
	if _, err := k.env.Run(context.Background(), j.ID, nil); err != nil {
		t.Fatal(err)
	}
	k.boxes.answer = nil
	if last := k.retry(first.ID); last.Counts.Updated != 2 {
		t.Errorf("%+v", last.Counts)
	}
}

// A retry whose values were erased before it opened fails, once, and nobody
// keeps it.
func TestRetryOfErasedValues(t *testing.T) {
	k := newKit(t, noRetries)
	k.addUsers(2, nil)
	k.boxes.answer = func(string, int) voicemail.Answer { return loses }
	first := k.run("select: {query: all}\nreset: {pin: \"471108\"}\n")
	j, err := k.env.Retry(context.Background(), first.ID, "tester")
	k.must(err)
	k.must(k.env.Store.Write(context.Background(), func(tx *store.Tx) error { return tx.EraseValues(first.ID) }))
	asked := len(k.boxes.asked)
	j, err = k.env.Run(context.Background(), j.ID, nil)
	k.must(err)
	if j = k.job(j.ID); j.State != store.Failed || j.Stage != store.StageClosed || j.Owner != "" || len(k.boxes.asked) != asked {
		t.Errorf("%s (%s) %s, owned by %q", j.State, j.Reason, j.Stage, j.Owner)
	}
}

// A job that is cancelled while it opens ends everyone as not run.
func TestCancelledWhileItOpens(t *testing.T) {
	k := newKit(t, nil)
	k.addUsers(3, nil)
	j := k.submit(generated)
	k.env.Step = func(step string) {
		if step == "opening" {
			k.cancel(j.ID)
		}
	}
	j, err := k.env.Run(context.Background(), j.ID, nil)
	k.must(err)
	if j.State != store.Cancelled || j.Counts.Selected != 3 || j.Counts.NotRun != 3 || len(k.boxes.asked) != 0 {
		t.Errorf("%s %+v, %d users were pushed", j.State, j.Counts, len(k.boxes.asked))
	}
	if k.job(j.ID).Stage != store.StageClosed {
		t.Error("it is not closed")
	}
}

// No request that a restored database knows is sent again. An idempotent system
// has answered it since, and would accept it once more without setting the PIN.
func TestRestoredForgetsRequests(t *testing.T) {
	if labstore.Postgres() {
		t.Skip("a backup is a file of SQLite's; TestRestoredForAllInstallations has what is PostgreSQL's")
	}
	k := newKit(t, noRetries)
	k.addUsers(1, nil)
	k.env.Marker = incarnation.NewMarker(k.dir, k.env.Store.Path())
	k.must(k.env.Enter(context.Background()))
	k.boxes.answer = func(string, int) voicemail.Answer { return loses }
	first := k.run("select: {query: all}\nreset: {pin: \"471108\"}\n")
	backup := filepath.Join(k.dir, "backup.db")
	k.must(k.env.Store.Backup(context.Background(), backup))
	k.boxes.answer = nil
	k.retry(first.ID)
	k.run("select: {query: all}\nreset: {pin: \"264081\"}\n")

	k.must(k.env.Store.Close())
	s, err := store.Open(context.Background(), store.Options{Path: backup})
	k.must(err)
	t.Cleanup(func() { s.Close() })
	k.env.Store, k.env.Marker = s, incarnation.NewMarker(k.dir, backup)
	k.env.Owner, err = NewOwner(context.Background(), s, k.env.Ring)
	k.must(err)
	var restored *RestoredError
	if err := k.env.Enter(context.Background()); !errors.As(err, &restored) {
		t.Fatal(err)
	}
	k.must(s.Write(context.Background(), func(tx *store.Tx) error { return tx.RestUntil(time.Time{}) })) // minutes later
	if _, _, err := k.env.ReleaseRestored(context.Background(), "tester"); err != nil {
		t.Fatal(err)
	}
	k.env.Owner, err = NewOwner(context.Background(), s, k.env.Ring)
	k.must(err)
	if again := k.retry(first.ID); again.Counts.Updated != 1 {
		t.Errorf("%+v", again.Counts)
	}
	asked := k.boxes.asked["user0"]
	if len(asked) != 4 || asked[3] == asked[0] {
		t.Errorf("asked under %v", asked)
	}
}

// Whose request was forgotten by a restore stays uncertain until something is
// accepted: that the value was used before, says nothing.
func TestForgottenRequestStaysUncertain(t *testing.T) {
	k := newKit(t, noRetries)
	k.addUsers(2, nil)
	k.boxes.answer = func(string, int) voicemail.Answer { return loses }
	first := k.run("select: {query: all}\nreset: {pin: \"471108\"}\n")
	k.must(k.env.Store.Write(context.Background(), func(tx *store.Tx) error { return tx.HoldRestored("test", time.Time{}) }))
	var err error
	k.env.Owner, err = NewOwner(context.Background(), k.env.Store, k.env.Ring)
	k.must(err)
	k.boxes.answer = func(id string, _ int) voicemail.Answer {
		if id == "user0" {
			return accepts
		}
		return voicemail.Answer{Class: voicemail.Answered, Result: voicemail.Rejected, Reason: voicemail.InHistory}
	}
	again := k.retry(first.ID)
	if got := k.codes(again.ID); got["user0"] != outcome.OK || got["user1"] != outcome.VoicemailTimeout {
		t.Errorf("%v", got)
	}
	k.boxes.answer = nil
	if last := k.retry(again.ID); last.Counts.Updated != 1 {
		t.Errorf("%+v", last.Counts)
	}
	for id, asked := range k.boxes.asked {
		if asked[0] == asked[1] {
			t.Errorf("%s: the forgotten request was sent again", id)
		}
	}
}
