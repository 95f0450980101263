package resetjob

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/dirpin/dirpin/config"
	"github.com/dirpin/dirpin/internal/incarnation"
	"github.com/dirpin/dirpin/internal/labstore"
	"github.com/dirpin/dirpin/internal/outcome"
	"github.com/dirpin/dirpin/internal/store"
	"github.com/dirpin/dirpin/internal/user"
	"github.com/dirpin/dirpin/internal/voicemail"
)

var (
	accepts   = voicemail.Answer{Class: voicemail.Answered, Result: voicemail.Accepted}
	rejects   = voicemail.Answer{Class: voicemail.Answered, Result: voicemail.Rejected}
	loses     = voicemail.Answer{Class: voicemail.Lost}
	denies    = voicemail.Answer{Class: voicemail.Answered, Result: voicemail.Denied, Message: "401"}
	unreached = voicemail.Answer{Class: voicemail.NotSent}
)

// oneOf is a job over one user with a fixed PIN.
func oneOf(id, pin string) string {
	return "select: {query: {where: [{field: user_id, op: is exactly, text: " + id + "}]}}\nreset: {pin: \"" + pin + "\"}\n"
}

func (k *kit) sql(query string, args ...any) {
	k.Helper()
	labstore.SQL(k, k.place, query, args...)
}

func (k *kit) job(id int64) *store.Job {
	var j *store.Job
	k.must(k.env.Store.Read(context.Background(), func(tx *store.Tx) (err error) { j, err = tx.Job(id); return err }))
	return j
}

func (k *kit) retry(of int64) *store.Job {
	k.Helper()
	j, err := k.env.Retry(context.Background(), of, "tester")
	k.must(err)
	j, err = k.env.Run(context.Background(), j.ID, nil)
	k.must(err)
	return j
}

// The same value under the same id goes to the uncertain, a new one to those
// whose system surely did nothing, and nothing to whom a later job has changed.
func TestRetry(t *testing.T) {
	k := newKit(t, func(c *config.Config) { c.Voicemail[0].Retries = 0; c.Voicemail[0].Timeout = time.Millisecond })
	k.addUsers(4, nil)
	k.boxes.answer = func(id string, attempt int) voicemail.Answer {
		switch id {
		case "user1":
			return loses
		case "user2", "user3":
			return rejects
		}
		return accepts
	}
	first := k.run(generated)
	lost := k.boxes.pins["user1"]
	ids := map[string]string{"user1": k.boxes.asked["user1"][0], "user2": k.boxes.asked["user2"][0]}
	k.boxes.answer = nil
	k.run(oneOf("user3", "264081"))
	again := k.retry(first.ID)
	if again.RetryOf != first.ID || again.Counts.Selected != 3 || again.Counts.Updated != 2 || again.Counts.Skipped != 1 {
		t.Fatalf("retry: %+v", again)
	}
	if k.codes(again.ID)["user3"] != outcome.Superseded || k.boxes.pins["user3"] != "264081" {
		t.Errorf("user3 was changed by a later job, and ended %s with %s", k.codes(again.ID)["user3"], k.boxes.pins["user3"])
	}
	if got := k.boxes.asked["user1"]; len(got) != 2 || got[1] != ids["user1"] || k.boxes.pins["user1"] != lost || !k.holds("user1", store.PIN, lost) {
		t.Errorf("user1 was asked %v with %s after %s", got, k.boxes.pins["user1"], lost)
	}
	if got := k.boxes.asked["user2"]; len(got) != 2 || got[1] == ids["user2"] {
		t.Errorf("user2 was asked %v", got)
	}
	var not *NotRetriableError
	if _, err := k.env.Retry(context.Background(), first.ID, "tester"); !errors.As(err, &not) {
		t.Errorf("a second retry: %v", err)
	}
	// All is settled: nobody needs the values any more.
	for _, id := range []int64{first.ID, again.ID} {
		if k.job(id).Key != nil {
			t.Errorf("the values of job %d are kept", id)
		}
	}
}

// A retry is a job like any other: it can be retried, and is superseded by what
// came after the first of the chain.
func TestRetryOfRetry(t *testing.T) {
	k := newKit(t, func(c *config.Config) { c.Voicemail[0].Retries = 0; c.Voicemail[0].Timeout = time.Millisecond })
	k.addUsers(2, nil)
	k.boxes.answer = func(string, int) voicemail.Answer { return loses }
	first := k.run("select: {query: all}\nreset: {pin: \"471108\"}\n")
	second := k.retry(first.ID)
	if second.Counts.Uncertain != 2 {
		t.Fatalf("%+v", second.Counts)
	}
	k.boxes.answer = nil
	k.run(oneOf("user1", "264081"))
	third := k.retry(second.ID)
	if got := k.codes(third.ID); got["user0"] != outcome.OK || got["user1"] != outcome.Superseded {
		t.Errorf("%v", got)
	}
	for id, asked := range k.boxes.asked {
		if asked[0] != asked[1] || id == "user0" && asked[2] != asked[0] {
			t.Errorf("%s was asked under %v", id, asked)
		}
	}
}

// Values of a csv and names of nobody are tried again too.
func TestRetryOfLists(t *testing.T) {
	k := newKit(t, nil)
	k.addUsers(3, nil)
	k.boxes.answer = func(id string, _ int) voicemail.Answer {
		if id == "user1" {
			return rejects
		}
		return accepts
	}
	k.list("new.csv", "user_id,pin\nuser0,471108\nuser1,264081\nnew,593817\n")
	first := k.run("select: {csv: {name: new.csv}}\n")
	if first.Counts.Updated != 1 || first.Counts.Failed != 2 {
		t.Fatalf("%+v", first.Counts)
	}
	k.boxes.answer = nil
	k.addUsers(1, func(_ int, u *user.User) { u.UserID = "new" })
	again := k.retry(first.ID)
	if again.Counts.Updated != 2 || !k.holds("user1", store.PIN, "264081") || !k.holds("new", store.PIN, "593817") {
		t.Errorf("%+v", again.Counts)
	}
}

// Until a lost request can't arrive any more, nobody else's is sent.
func TestQuarantine(t *testing.T) {
	k := newKit(t, func(c *config.Config) { c.Voicemail[0].Retries = 0; c.Voicemail[0].Timeout = 150 * time.Millisecond })
	k.addUsers(1, nil)
	var sent []time.Time
	k.boxes.answer = func(_ string, attempt int) voicemail.Answer {
		sent = append(sent, time.Now())
		if attempt == 1 {
			return loses
		}
		return accepts
	}
	k.run(oneOf("user0", "471108"))
	j := k.run(oneOf("user0", "264081"))
	if j.Counts.Updated != 1 || len(sent) != 2 {
		t.Fatalf("%+v after %d requests", j.Counts, len(sent))
	}
	if rest := sent[1].Sub(sent[0]); rest < 300*time.Millisecond {
		t.Errorf("the next request left %v after one that was lost, with a timeout of 150ms", rest)
	}
}

func TestLatchOutlivesTheJob(t *testing.T) {
	k := newKit(t, nil)
	k.addUsers(50, nil)
	k.boxes.answer = func(string, int) voicemail.Answer { return denies }
	k.run("select: {query: all}\nreset: {pin: \"471108\"}\n")
	asked := len(k.boxes.asked)
	k.boxes.answer = nil
	connect := func(fingerprint string) {
		k.env.Router = voicemail.NewRouter(voicemail.NewWith(&k.env.Config.Voicemail[0], k.boxes, voicemail.Options{Fingerprint: []byte(fingerprint)}))
	}
	connect("") // another process
	j := k.run("select: {query: all}\nreset: {pin: \"264081\"}\n")
	if j.State != store.Stopped || j.Counts.NotRun != 50 || len(k.boxes.asked) != asked {
		t.Errorf("a job of a denied system is %s with %+v and asked %d", j.State, j.Counts, len(k.boxes.asked)-asked)
	}
	if !strings.HasPrefix(j.Reason, DeniedReason) || !strings.Contains(j.Reason, "dirpin doctor") {
		t.Errorf("reason %q", j.Reason)
	}
	connect("mended")
	if j := k.run("select: {query: all}\nreset: {pin: \"264081\"}\n"); j.Counts.Updated != 50 {
		t.Errorf("another credential is not tried: %+v", j.Counts)
	}
	connect("")
	k.must(k.env.Store.Write(context.Background(), func(tx *store.Tx) error {
		lifted, err := tx.LiftLatch("unity")
		if !lifted {
			t.Error("there was no latch")
		}
		return err
	}))
	if j := k.run("select: {query: all}\nreset: {pin: \"593817\"}\n"); j.Counts.Updated != 50 {
		t.Errorf("after the latch was lifted: %+v", j.Counts)
	}
}

// One row that cannot be written holds up nobody else; before the push it ends
// as store, and after it nothing is forgotten.
func TestOneBadRow(t *testing.T) {
	k := newKit(t, nil)
	k.addUsers(100, nil)
	labstore.Refuse(k, k.place, "BEFORE INSERT", "journal", "NEW.user_ref = 40")
	j := k.run("select: {query: all}\nreset: {pin: \"471108\"}\n")
	if j.Counts.Updated != 99 || k.codes(j.ID)["user39"] != outcome.Store || len(k.boxes.asked["user39"]) != 0 {
		t.Errorf("%+v, %s", j.Counts, k.codes(j.ID)["user39"])
	}
}

func TestAcceptedIsNotForgotten(t *testing.T) {
	k := newKit(t, nil)
	k.addUsers(100, nil)
	labstore.Refuse(k, k.place, "BEFORE INSERT", "credentials", "NEW.user_ref = 40")
	mended := make(chan struct{})
	go func() {
		defer close(mended)
		for k.pushing() != "1 of which 40" { // the others that are accepted are not held up
			time.Sleep(10 * time.Millisecond)
		}
		labstore.RefuseNoMore(k, k.place, "credentials")
	}()
	j := k.run("select: {query: all}\nreset: {pin: \"471108\"}\n")
	<-mended
	if j.Counts.Updated != 100 || len(k.boxes.asked["user39"]) != 1 || !k.holds("user39", store.PIN, "471108") {
		t.Errorf("%+v, asked %d times", j.Counts, len(k.boxes.asked["user39"]))
	}
}

// pushing says how many pushes are open, and whether that of user 40 is.
func (k *kit) pushing() (text string) {
	k.must(k.env.Store.Read(context.Background(), func(tx *store.Tx) error {
		_, n, err := tx.CountOpen(1)
		job, err2 := tx.InFlight(40)
		text = fmt.Sprint(n)
		if job != 0 {
			text += " of which 40"
		}
		return errors.Join(err, err2)
	}))
	return text
}

// Whoever cannot write sends nothing.
func TestStaleOwnerSendsNothing(t *testing.T) {
	k := newKit(t, nil)
	k.addUsers(3, nil)
	owner := k.env.Owner
	owner.mu.Lock()
	owner.beat = time.Now().Add(-time.Minute)
	owner.mu.Unlock()
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	var cut *InterruptedError
	id := k.submit("select: {query: all}\nreset: {pin: \"471108\"}\n").ID
	if _, err := k.env.Run(ctx, id, nil); !errors.As(err, &cut) || len(k.boxes.asked) != 0 {
		t.Fatalf("got %v after %d requests", err, len(k.boxes.asked))
	}
	owner.beatOnce()
	if j, err := k.env.Run(context.Background(), id, nil); err != nil || j.Counts.Updated != 3 {
		t.Errorf("%+v, %v", j, err)
	}
	// Somebody took us for dead.
	k.must(k.env.Store.Write(context.Background(), func(tx *store.Tx) error { return tx.Orphan(owner.ID, "") }))
	owner.beatOnce()
	id = k.submit("select: {query: all}\nreset: {pin: \"264081\"}\n").ID
	if _, err := k.env.Run(context.Background(), id, nil); !errors.Is(err, errNotOurs) || k.boxes.pins["user0"] != "471108" {
		t.Errorf("got %v", err)
	}
}

// A push that was cut is repeated for the same user only, at the same system,
// and not for long.
func TestWhatWasCut(t *testing.T) {
	for _, tt := range []struct {
		name   string
		change func(k *kit)
		want   outcome.Code
	}{
		{"nothing changed", func(*kit) {}, outcome.OK},
		{"renamed", func(k *kit) { k.sql("UPDATE users SET user_id = 'other', user_id_f = 'other' WHERE id = 1") }, outcome.VoicemailTimeout},
		{"another entry", func(k *kit) { k.sql("UPDATE users SET entry_key = 'k2' WHERE id = 1") }, outcome.VoicemailTimeout},
		{"removed", func(k *kit) { k.sql("DELETE FROM users WHERE id = 1") }, outcome.VoicemailTimeout},
		{"long ago", func(k *kit) { k.sql("UPDATE journal SET first_at = first_at - 7200000") }, outcome.VoicemailTimeout},
		{"from the future", func(k *kit) { k.sql("UPDATE journal SET first_at = first_at + 7200000") }, outcome.VoicemailTimeout},
		{"changed since", func(k *kit) {
			k.sql("INSERT INTO credentials (user_ref, kind, hash, job, version) VALUES (1, 'pin', 'x', 99, 1)")
		}, outcome.VoicemailTimeout},
		{"another system", func(k *kit) { k.sql("UPDATE journal SET system = 'other'") }, outcome.VoicemailTimeout},
		{"damaged", func(k *kit) { k.sql("UPDATE journal SET body = ?", []byte{0}) }, outcome.VoicemailTimeout},
	} {
		t.Run(tt.name, func(t *testing.T) {
			k := newKit(t, nil)
			k.addUsers(1, nil)
			ctx, cancel := context.WithCancel(context.Background())
			k.boxes.answer = func(string, int) voicemail.Answer { cancel(); return loses }
			id := k.submit("select: {query: all}\nreset: {pin: \"471108\", password: correct-horse}\n").ID
			var cut *InterruptedError
			if _, err := k.env.Run(ctx, id, nil); !errors.As(err, &cut) {
				t.Fatal(err)
			}
			k.boxes.answer = nil
			tt.change(k)
			j, err := k.env.Run(context.Background(), id, nil)
			k.must(err)
			if j.Counts.Selected != 1 || j.Counts.Final() != 1 {
				t.Fatalf("%+v", j.Counts)
			}
			for _, code := range k.codes(id) {
				if code != tt.want {
					t.Errorf("ended %s, want %s", code, tt.want)
				}
			}
			if tt.want == outcome.OK {
				if ids := k.boxes.asked["user0"]; len(ids) != 2 || ids[0] != ids[1] {
					t.Errorf("asked under %v", ids)
				}
			} else if len(k.boxes.asked["user0"]) != 1 || j.Counts.Uncertain != 1 {
				t.Errorf("asked %d times, %+v", len(k.boxes.asked["user0"]), j.Counts)
			}
		})
	}
}

// A PIN that ends uncertain undoes nothing of the password, and the other way
// round.
func TestLegsEndByThemselves(t *testing.T) {
	k := newKit(t, func(c *config.Config) { c.Voicemail[0].Retries = 0; c.Voicemail[0].Timeout = time.Millisecond })
	k.addUsers(1, nil)
	k.boxes.answer = func(string, int) voicemail.Answer { return loses }
	j := k.run("select: {query: all}\nreset: {pin: \"471108\", password: correct-horse}\n")
	if j.Counts.Uncertain != 1 || k.holds("user0", store.PIN, "471108") || !k.holds("user0", store.Password, "correct-horse") {
		t.Fatalf("%+v", j.Counts)
	}
	k.boxes.answer = nil
	again := k.retry(j.ID) // of the PIN alone: the password is in the history now
	if again.Counts.Updated != 1 || !k.holds("user0", store.PIN, "471108") {
		t.Errorf("%+v: %v", again.Counts, k.codes(again.ID))
	}
}

func TestPauseMax(t *testing.T) {
	k := newKit(t, func(c *config.Config) { c.Voicemail[0].PauseMax = time.Nanosecond; c.Voicemail[0].Concurrency = 1 })
	k.addUsers(30, nil)
	first := ""
	k.boxes.answer = func(id string, _ int) voicemail.Answer {
		if first == "" {
			first = id
		}
		if id == first {
			return loses
		}
		return unreached
	}
	j := k.run("select: {query: all}\nreset: {pin: \"471108\"}\n")
	for id, code := range k.codes(j.ID) {
		if want := map[bool]outcome.Code{true: outcome.VoicemailTimeout, false: outcome.VoicemailUnreachable}[id == first]; code != want {
			t.Errorf("%s ended %s, want %s", id, code, want)
		}
	}
	if j.State != store.Incomplete || j.Counts.Failed != 30 || j.Counts.Uncertain != 1 {
		t.Errorf("job is %s with %+v", j.State, j.Counts)
	}
	if len(k.boxes.asked) > 10 {
		t.Errorf("%d users were pushed to a system that is out of reach", len(k.boxes.asked))
	}
	k.must(k.env.Store.Read(context.Background(), func(tx *store.Tx) error {
		log, err := tx.JobLog(j.ID)
		if !slices.ContainsFunc(log, func(l store.LogLine) bool { return strings.Contains(l.Text, "unity is given up") }) {
			t.Errorf("its log does not say that the system was given up: %+v", log)
		}
		return err
	}))
}

func TestHeldJobsExpire(t *testing.T) {
	k := newKit(t, func(c *config.Config) { c.RetryWithin = time.Hour })
	k.addUsers(5, nil)
	j := k.submit("select: {query: all}\nreset: {pin: \"471108\"}\nlimits: {max_users: 3}\n")
	var held *HeldError
	if _, err := k.env.Run(context.Background(), j.ID, nil); !errors.As(err, &held) {
		t.Fatal(err)
	}
	k.must(k.env.Tidy(context.Background()))
	if s := k.job(j.ID).State; s != store.Held {
		t.Fatalf("too early: %s", s)
	}
	k.sql("UPDATE jobs SET held_at = held_at - 3600001")
	k.must(k.env.Tidy(context.Background()))
	after := k.job(j.ID)
	if after.State != store.Cancelled || after.Counts.NotRun != 5 || k.codes(j.ID)["user0"] != outcome.Held || after.Report == "" {
		t.Errorf("%s, %+v, report %q", after.State, after.Counts, after.Report)
	}
}

// A value that could not be delivered is not drawn: the user would be locked
// out.
func TestNoAddressNoPush(t *testing.T) {
	k := newKit(t, func(c *config.Config) { c.Mail = &config.Mail{} })
	k.addUsers(3, func(i int, u *user.User) {
		u.Mail = []string{"boss@example.com", "", "b@example.com"}[i]
		u.Manager = []string{"", "user0", "user1"}[i]
	})
	for to, want := range map[string]map[string]outcome.Code{
		"user":    {"user0": outcome.OK, "user1": outcome.NoAddress, "user2": outcome.OK},
		"manager": {"user0": outcome.NoAddress, "user1": outcome.OK, "user2": outcome.NoAddress},
	} {
		k.boxes.asked = map[string][]string{}
		j := k.run("select: {query: all}\nreset: {pin: {generate: {length: 6}}}\ndeliver: {mail: {to: " + to + "}}\n")
		got := k.codes(j.ID)
		for id, code := range want {
			if got[id] != code || (len(k.boxes.asked[id]) == 1) != (code == outcome.OK) {
				t.Errorf("to %s: %s ended %s after %d requests, want %s", to, id, got[id], len(k.boxes.asked[id]), code)
			}
		}
	}
}

// A database that was restored repeats nothing until somebody has looked.
func TestRestored(t *testing.T) {
	if labstore.Postgres() {
		t.Skip("a backup is a file of SQLite's; TestRestoredForAllInstallations has what is PostgreSQL's")
	}
	k := newKit(t, nil)
	k.addUsers(3, nil)
	k.env.Marker = incarnation.NewMarker(k.dir, k.env.Store.Path())
	k.must(k.env.Enter(context.Background()))
	waiting := k.submit("select: {query: all}\nreset: {pin: \"471108\"}\n")
	backup := filepath.Join(k.dir, "backup.db")
	k.must(k.env.Store.Backup(context.Background(), backup))
	later := k.run("select: {query: all}\nreset: {pin: \"264081\"}\n")

	k.must(k.env.Store.Close())
	s, err := store.Open(context.Background(), store.Options{Path: backup})
	k.must(err)
	t.Cleanup(func() { s.Close() })
	k.env.Store, k.env.Marker = s, incarnation.NewMarker(k.dir, backup)
	if k.env.Owner, err = NewOwner(context.Background(), s, k.env.Ring); err != nil {
		t.Fatal(err)
	}
	var restored *RestoredError
	for range 2 {
		if err := k.env.Enter(context.Background()); !errors.As(err, &restored) {
			t.Fatalf("got %v", err)
		}
	}
	if j := k.job(waiting.ID); j.State != store.Held || j.Reason != store.ReasonRestored {
		t.Errorf("the waiting job is %s %s", j.State, j.Reason)
	}
	k.must(s.Write(context.Background(), func(tx *store.Tx) error { return tx.RestUntil(time.Time{}) })) // minutes later
	if n, was, err := k.env.ReleaseRestored(context.Background(), "tester"); n != 1 || !was || err != nil {
		t.Fatalf("%d jobs released, %v, %v", n, was, err)
	}
	if k.env.Owner, err = NewOwner(context.Background(), s, k.env.Ring); err != nil {
		t.Fatal(err)
	}
	k.must(k.env.Enter(context.Background()))
	if j := k.submit("select: {query: all}\nreset: {pin: \"593817\"}\n"); j.ID <= later.ID {
		t.Errorf("job number %d was given twice", j.ID)
	}
}

// A first start that is cut before its marker is written is no restore, and
// neither are those after it; a marker that is lost later is a sign of one.
func TestFirstStartCut(t *testing.T) {
	k := newKit(t, nil)
	k.addUsers(1, nil)
	k.env.Marker = incarnation.NewMarker(k.dir, k.env.Store.Path())
	marker := filepath.Join(k.dir, "incarnation")
	for range 2 {
		k.must(k.env.Enter(context.Background()))
		k.must(os.Remove(marker))
	}
	k.must(k.env.Enter(context.Background()))
	k.must(k.env.Enter(context.Background()))
	k.must(os.Remove(marker))
	var restored *RestoredError
	// On a server one without a marker is an installation that is new to it.
	if err := k.env.Enter(context.Background()); errors.As(err, &restored) == labstore.Postgres() {
		t.Errorf("without its marker the database is used: %v", err)
	}
}

// What a restored database draws up as waiting may have been pushed in the time
// that is forgotten: that the value is in the history proves nothing then.
func TestRestoredValueProvesNothing(t *testing.T) {
	k := newKit(t, func(c *config.Config) { c.Voicemail[0].Timeout = time.Millisecond })
	k.addUsers(1, nil)
	id := k.submit(generated).ID
	l, err := k.env.load(context.Background(), k.job(id))
	k.must(err)
	k.must(k.env.open(context.Background(), l, nil))
	k.must(k.env.Store.Write(context.Background(), func(tx *store.Tx) error {
		if err := tx.HoldRestored("test", tx.Now()); err != nil {
			return err
		}
		_, err := tx.ReleaseRestored()
		return err
	}))
	k.boxes.answer = func(_ string, attempt int) voicemail.Answer {
		if attempt == 1 {
			return loses
		}
		return voicemail.Answer{Class: voicemail.Answered, Result: voicemail.Rejected, Reason: voicemail.InHistory}
	}
	j, err := k.env.Run(context.Background(), id, nil)
	k.must(err)
	if j.Counts.Uncertain != 1 || k.holds("user0", store.PIN, k.boxes.pins["user0"]) {
		t.Errorf("%+v: %v", j.Counts, k.codes(id))
	}
}
