package resetjob

import (
	"context"
	"errors"
	"path/filepath"
	"testing"
	"time"

	"github.com/dirpin/dirpin/config"
	"github.com/dirpin/dirpin/internal/outcome"
	"github.com/dirpin/dirpin/internal/store"
	"github.com/dirpin/dirpin/internal/voicemail"
)

// A request of which an answer was lost is not sent again after another one to
// the same user, were it of an older job: an idempotent system accepts the old
// one without carrying it out, and the mailbox has what the other one set.
func TestOvertakenRequestIsNotSentAgain(t *testing.T) {
	for _, other := range []voicemail.Answer{accepts, loses} {
		k := newKit(t, noRetries)
		k.addUsers(1, nil)
		older := k.submit("select: {query: all}\nreset: {pin: \"264081\"}\n")
		k.boxes.answer = func(string, int) voicemail.Answer { return loses }
		newer := k.run("select: {query: all}\nreset: {pin: \"471108\"}\n")
		k.boxes.answer = func(string, int) voicemail.Answer { return other }
		if _, err := k.env.Run(context.Background(), older.ID, nil); err != nil {
			t.Fatal(err)
		}
		k.boxes.answer = nil
		again := k.retry(newer.ID)
		if code := k.codes(again.ID)["user0"]; code != outcome.VoicemailTimeout || len(k.boxes.asked["user0"]) != 2 {
			t.Errorf("after another one (%s) it ended %s; asked %d times", other.Class, code, len(k.boxes.asked["user0"]))
		}
		if other.Class == voicemail.Answered && !k.holds("user0", store.PIN, "264081") {
			t.Error("the local PIN is not the mailbox's")
		}
	}
}

// Of the retries of two jobs the values of the later job stand, whichever is
// retried first.
func TestRetriesKeepTheOrderOfTheirJobs(t *testing.T) {
	for _, laterFirst := range []bool{false, true} {
		k := newKit(t, noRetries)
		k.addUsers(1, nil)
		k.boxes.answer = func(string, int) voicemail.Answer { return rejects }
		first := k.run("select: {query: all}\nreset: {pin: \"264081\"}\n")
		second := k.run("select: {query: all}\nreset: {pin: \"471108\"}\n")
		k.boxes.answer = nil
		if laterFirst {
			k.retry(second.ID)
		}
		k.retry(first.ID)
		if !laterFirst {
			k.retry(second.ID)
		}
		if k.boxes.pins["user0"] != "471108" || !k.holds("user0", store.PIN, "471108") {
			t.Errorf("the later one first: %v: the mailbox has %s", laterFirst, k.boxes.pins["user0"])
		}
	}
}

// max_failures is overshot by no more than the concurrency: who is journalled
// and waits for a slot is given back.
func TestMaxFailuresOvershoot(t *testing.T) {
	k := newKit(t, func(c *config.Config) { noRetries(c) })
	k.addUsers(12, nil)
	k.boxes.answer = func(string, int) voicemail.Answer { return rejects }
	j := k.run(generated + "limits: {max_failures: 2}\n")
	if j.State != store.Stopped || j.Counts.Failed > 3 || j.Counts.Failed+j.Counts.NotRun != 12 {
		t.Errorf("%s %+v", j.State, j.Counts)
	}
}

// Of two who submit a file at once one is told that the other has it, and the
// oldest job that is left goes on first: a later one would wait for its users.
func TestOneJobAFileAtATime(t *testing.T) {
	k := newKit(t, nil)
	k.addUsers(2, nil)
	text := "select: {query: all}\nreset: {pin: \"471108\"}\n"
	j := k.submit(text)
	s, err := Load(filepath.Join(k.dir, "job.yaml"), []byte(text), k.env.Config.Watch[0].Lists, ParseOptions{
		Now: time.Now(), Foreground: true, PlainAllowed: true, Credentials: k.env.Config.Credentials})
	k.must(err)
	if _, err := k.env.Submit(context.Background(), s, "tester"); !errors.Is(err, ErrBusy) {
		t.Errorf("a second one: %v", err)
	}
	if cut, err := k.env.Unfinished(context.Background(), s.Fingerprint); err != nil || cut == nil || cut.ID != j.ID {
		t.Errorf("to go on with: %v, %v", cut, err)
	}
	if _, err := k.env.Run(context.Background(), j.ID, nil); err != nil {
		t.Fatal(err)
	}
	if _, err := k.env.Submit(context.Background(), s, "tester"); err != nil {
		t.Errorf("when it has ended: %v", err)
	}
}
