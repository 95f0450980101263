package resetjob

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/dirpin/dirpin/config"
	"github.com/dirpin/dirpin/internal/labstore"
	"github.com/dirpin/dirpin/internal/outcome"
	"github.com/dirpin/dirpin/internal/store"
	"github.com/dirpin/dirpin/internal/user"
	"github.com/dirpin/dirpin/internal/voicemail"
)

// site is an installation of several systems with their own mailboxes.
type site struct {
	*kit
	at map[string]*mailboxes
}

func newSite(t *testing.T, mode voicemail.Mode, change func(*config.Config), names ...string) *site {
	t.Helper()
	k := newKit(t, func(c *config.Config) {
		base := c.Voicemail[0]
		base.Retries = 0
		c.Voicemail = nil
		for _, name := range names {
			base.Name = name
			c.Voicemail = append(c.Voicemail, base)
		}
		c.RetryWithin = 24 * time.Hour
		c.VoicemailMode = string(mode)
		if change != nil {
			change(c)
		}
	})
	s := &site{kit: k, at: map[string]*mailboxes{}}
	for _, name := range names {
		s.at[name] = &mailboxes{pins: map[string]string{}, asked: map[string][]string{}}
	}
	s.connect()
	return s
}

// connect makes the systems anew, as another process does.
func (s *site) connect() {
	var systems []*voicemail.System
	for i := range s.env.Config.Voicemail {
		v := &s.env.Config.Voicemail[i]
		systems = append(systems, voicemail.NewWith(v, s.at[v.Name], voicemail.Options{Fingerprint: []byte(v.Name), Jitter: func(time.Duration) time.Duration { return 0 }}))
	}
	s.env.Router = voicemail.NewRouter(systems...)
	s.env.Router.Mode = voicemail.Mode(s.env.Config.VoicemailMode)
}

// answers lets a system answer everybody with that; nil: it accepts.
func (s *site) answers(system string, a *voicemail.Answer) {
	s.at[system].answer = nil
	if a != nil {
		s.at[system].answer = func(string, int) voicemail.Answer { return *a }
	}
}

// row returns what the report says of a user.
func (s *site) row(job int64, id string) (row store.ReportRow) {
	s.Helper()
	s.must(s.env.Store.Read(context.Background(), func(tx *store.Tx) error {
		return tx.Report(job, func(r *store.ReportRow) error {
			if r.UserID == id {
				row = *r
			}
			return nil
		})
	}))
	return row
}

var (
	noMailbox = voicemail.Answer{Class: voicemail.Answered, Result: voicemail.NoMailbox}
	unsent    = voicemail.Answer{Class: voicemail.NotSent, Message: "connection refused"}
)

const given471108 = "select: {query: all}\nreset: {pin: \"471108\"}\n"

// What two systems answer, what a user ends with, and what a retry does when
// both accept everything.
func TestWhatSeveralSystemsAnswer(t *testing.T) {
	yes, no, lost := &accepts, &rejects, &loses
	for _, tt := range []struct {
		name         string
		mode         voicemail.Mode
		hq, branch   *voicemail.Answer
		code         outcome.Code
		report       string // of the systems
		detail       string // part of it
		local        bool   // the PIN is committed
		hqN, branch2 int    // requests, with those of a retry
	}{
		{"first", voicemail.First, yes, no, outcome.OK, "hq", "", true, 1, 0},
		{"all accept", voicemail.All, yes, yes, outcome.OK, "hq ok; branch ok", "", true, 1, 1},
		{"all, the first rejects", voicemail.All, no, yes, outcome.VoicemailRejected, "hq voicemail-rejected; branch not-run", "branch was not asked", false, 2, 1},
		{"all, the second rejects", voicemail.All, yes, no, outcome.VoicemailPartial, "hq ok; branch voicemail-rejected", "hq has the new PIN; branch: voicemail-rejected", false, 1, 2},
		{"all, the second is lost", voicemail.All, yes, lost, outcome.VoicemailPartial, "hq ok; branch voicemail-timeout", "hq has the new PIN; branch: voicemail-timeout", false, 1, 2},
		{"all, the first is lost", voicemail.All, lost, yes, outcome.VoicemailTimeout, "hq voicemail-timeout; branch not-run", "branch was not asked", false, 2, 1},
		{"all, the second is out of reach", voicemail.All, yes, &unsent, outcome.VoicemailPartial, "hq ok; branch voicemail-unreachable", "hq has the new PIN", false, 1, 2},
		{"all, no mailbox at the first", voicemail.All, &noMailbox, yes, outcome.NoMailbox, "hq no-mailbox; branch not-run", "", false, 2, 1},
		{"any, both accept", voicemail.Any, yes, yes, outcome.OK, "hq ok; branch ok", "", true, 1, 1},
		{"any, the first rejects", voicemail.Any, no, yes, outcome.OK, "hq voicemail-rejected; branch ok", "hq: voicemail-rejected", true, 1, 1},
		{"any, the second rejects", voicemail.Any, yes, no, outcome.OK, "hq ok; branch voicemail-rejected", "branch: voicemail-rejected", true, 1, 1},
		{"any, the first is lost", voicemail.Any, lost, yes, outcome.OK, "hq voicemail-timeout; branch ok", "hq: voicemail-timeout", true, 1, 1},
		{"any, both reject", voicemail.Any, no, no, outcome.VoicemailRejected, "hq voicemail-rejected; branch voicemail-rejected", "", false, 2, 2},
		{"any, one is lost and one rejects", voicemail.Any, lost, no, outcome.VoicemailTimeout, "hq voicemail-timeout; branch voicemail-rejected", "", false, 2, 2},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := newSite(t, tt.mode, nil, "hq", "branch")
			s.addUsers(1, nil)
			s.answers("hq", tt.hq)
			s.answers("branch", tt.branch)
			j := s.run(given471108)
			row := s.row(j.ID, "user0")
			if row.Code != tt.code || row.PIN.System != tt.report || !strings.Contains(row.Detail, tt.detail) {
				t.Errorf("ended %s, %q, %q", row.Code, row.PIN.System, row.Detail)
			}
			if got := s.holds("user0", store.PIN, "471108"); got != tt.local {
				t.Errorf("committed: %v", got)
			}
			if got := j.Counts.Uncertain > 0; got != tt.code.Uncertain() {
				t.Errorf("%+v", j.Counts)
			}
			s.answers("hq", nil)
			s.answers("branch", nil)
			if !tt.local {
				s.ahead += 5 * time.Minute // what was lost has arrived or never will
				again := s.retry(j.ID)
				if row := s.row(again.ID, "user0"); row.Code != outcome.OK || !s.holds("user0", store.PIN, "471108") {
					t.Errorf("the retry ended %s %q", row.Code, row.Detail)
				}
			}
			hq, branch := s.at["hq"].asked["user0"], s.at["branch"].asked["user0"]
			if len(hq) != tt.hqN || len(branch) != tt.branch2 {
				t.Errorf("asked %d and %d times", len(hq), len(branch))
			}
			if tt.hq == lost && !tt.local && hq[0] != hq[1] || tt.branch == lost && branch[0] != branch[1] {
				t.Error("what was lost is sent again under another id")
			}
			if len(hq) > 0 && len(branch) > 0 && hq[0] == branch[0] {
				t.Error("two systems were sent the same id")
			}
			s.nothingLeft()
		})
	}
}

// nothingLeft: nobody is in flight, and nothing is kept of what ended well.
func (s *site) nothingLeft() {
	s.Helper()
	s.none("journal", "until = 0")
	s.none("sent_before", "EXISTS (SELECT 1 FROM items i WHERE i.job = sent_before.job AND i.seq = sent_before.seq AND i.result = 'updated') AND until <= 1")
}

// none: a table has no such rows.
func (s *site) none(table, where string) {
	s.Helper()
	if n := labstore.Count(s, s.place, "SELECT count(*) FROM "+table+" WHERE "+where); n > 0 {
		s.Errorf("%d rows of %s: %s", n, table, where)
	}
}

// A PIN that was drawn stays the same when a retry sends it to those who have
// not accepted it, however often.
func TestPartialIsRetriedWithTheSameValue(t *testing.T) {
	s := newSite(t, voicemail.All, nil, "a", "b", "c")
	s.addUsers(1, nil)
	s.answers("b", &rejects)
	j := s.run(generated)
	pin := s.at["a"].pins["user0"]
	if j = s.retry(j.ID); s.row(j.ID, "user0").Code != outcome.VoicemailPartial {
		t.Fatalf("the first retry: %+v", s.row(j.ID, "user0"))
	}
	s.answers("b", nil)
	s.answers("c", &loses)
	if j = s.retry(j.ID); s.row(j.ID, "user0").PIN.System != "a ok; b ok; c voicemail-timeout" {
		t.Fatalf("the second retry: %+v", s.row(j.ID, "user0"))
	}
	s.answers("c", nil)
	s.ahead += 5 * time.Minute
	j = s.retry(j.ID)
	if row := s.row(j.ID, "user0"); row.Code != outcome.OK || row.PIN.System != "a ok; b ok; c ok" || !s.holds("user0", store.PIN, pin) {
		t.Errorf("the last retry: %+v", row)
	}
	for system, want := range map[string]int{"a": 1, "b": 3, "c": 2} {
		if n := len(s.at[system].asked["user0"]); n != want || s.at[system].pins["user0"] != pin {
			t.Errorf("%s was asked %d times and has %s, not %s", system, n, s.at[system].pins["user0"], pin)
		}
	}
}

// When another job has sent the user something since, what a system had
// accepted before counts no more.
func TestPartialThatWasOvertaken(t *testing.T) {
	for _, mode := range []voicemail.Mode{voicemail.All, voicemail.Any} {
		s := newSite(t, voicemail.All, nil, "hq", "branch")
		s.addUsers(1, nil)
		older := s.submit("select: {query: all}\nreset: {pin: \"264081\"}\n")
		s.answers("branch", &rejects)
		newer := s.run(given471108)
		s.env.Router.Mode = mode
		s.answers("branch", nil)
		if _, err := s.env.Run(context.Background(), older.ID, nil); err != nil {
			t.Fatal(err)
		}
		again := s.retry(newer.ID)
		row := s.row(again.ID, "user0")
		if s.holds("user0", store.PIN, "471108") && (s.at["hq"].pins["user0"] != "471108" && s.at["branch"].pins["user0"] != "471108") {
			t.Errorf("%s: a PIN is committed that no mailbox has: %+v", mode, row)
		}
		if mode == voicemail.All && (!row.Code.Uncertain() || !s.holds("user0", store.PIN, "264081")) {
			t.Errorf("ended %s %q", row.Code, row.Detail)
		}
	}
}

// An item that is cut between two systems goes on with the second, whatever
// became of its job meanwhile; its user is kept from others.
func TestCutBetweenTwoSystems(t *testing.T) {
	for _, mode := range []voicemail.Mode{voicemail.All, voicemail.Any} {
		for _, cancel := range []bool{false, true} {
			s := newSite(t, mode, nil, "hq", "branch")
			s.addUsers(1, nil)
			ctx, stop := context.WithCancel(context.Background())
			s.at["hq"].took = stop // Ctrl-C while hq answers
			j := s.submit(given471108)
			_, err := s.env.Run(ctx, j.ID, nil)
			if !errors.As(err, new(*InterruptedError)) {
				t.Fatal(err)
			}
			s.at["hq"].took = nil
			if got := s.holds("user0", store.PIN, "471108"); got != (mode == voicemail.Any) {
				t.Errorf("%s: committed between the two: %v", mode, got)
			}
			var claimed *store.ClaimedError
			s.must(s.env.Store.Read(context.Background(), func(tx *store.Tx) error {
				u, err := tx.User("user0")
				if err == nil && !errors.As(tx.Free(u.ID, ""), &claimed) {
					t.Errorf("%s: another job may change the user between the two", mode)
				}
				return err
			}))
			if cancel {
				s.must(s.env.Store.Write(context.Background(), func(tx *store.Tx) error {
					if _, err := tx.MoveJob(j.ID, []store.State{store.Queued}, store.Cancelled, ""); err != nil {
						return err
					}
					_, err := tx.EndPending(j.ID, outcome.Cancelled)
					return err
				}))
			}
			s.connect()
			if _, err := s.env.Run(context.Background(), j.ID, nil); err != nil {
				t.Fatal(err)
			}
			if row := s.row(j.ID, "user0"); row.Code != outcome.OK || len(s.at["hq"].asked["user0"]) != 1 || s.at["branch"].pins["user0"] != "471108" || !s.holds("user0", store.PIN, "471108") {
				t.Errorf("%s, cancelled %v: %s %q, hq was asked %d times", mode, cancel, row.Code, row.Detail, len(s.at["hq"].asked["user0"]))
			}
			s.nothingLeft()
		}
	}
}

// With all, a denial stops the job before anybody has two PINs; with any the
// others do.
func TestOneOfSeveralSystemsDenies(t *testing.T) {
	for _, mode := range []voicemail.Mode{voicemail.All, voicemail.Any} {
		s := newSite(t, mode, func(c *config.Config) { c.Voicemail[0].Concurrency, c.Voicemail[1].Concurrency = 1, 1 }, "hq", "branch")
		s.addUsers(20, nil)
		s.answers("branch", &denies)
		j := s.run(given471108)
		switch {
		case len(s.at["branch"].asked) > 1:
			t.Errorf("%s: branch was asked for %d users after it had denied", mode, len(s.at["branch"].asked))
		case mode == voicemail.Any && (j.State != store.Done || j.Counts.Updated != 20):
			t.Errorf("any: %s %+v", j.State, j.Counts)
		case mode == voicemail.All && (j.State != store.Stopped || j.Counts.Updated != 0 || j.Counts.Uncertain > 3):
			t.Errorf("all: %s %+v", j.State, j.Counts)
		}
		if mode == voicemail.All { // the next job stops at once, and hq hears of nobody
			before := len(s.at["hq"].asked)
			j = s.run("select: {query: all}\nreset: {pin: \"264081\"}\n")
			if j.State != store.Stopped || j.Counts.NotRun != 20 || len(s.at["hq"].asked) != before {
				t.Errorf("the next one: %s %+v", j.State, j.Counts)
			}
		}
		s.nothingLeft()
	}
}

// Where all deny, the job stops, and nobody is said to be in doubt.
func TestAllOfSeveralSystemsDeny(t *testing.T) {
	for _, mode := range []voicemail.Mode{voicemail.All, voicemail.Any} {
		s := newSite(t, mode, nil, "hq", "branch")
		s.addUsers(20, nil)
		s.answers("hq", &denies)
		s.answers("branch", &denies)
		j := s.run(given471108)
		if j.State != store.Stopped || j.Counts.Updated != 0 || j.Counts.Uncertain != 0 || j.Counts.Final() != 20 {
			t.Errorf("%s: %s %+v %+v", mode, j.State, j.Counts, s.codes(j.ID))
		}
		s.answers("hq", nil)
		s.answers("branch", nil)
		s.sql("DELETE FROM latches")
		s.connect()
		if j = s.retry(j.ID); j.Counts.Updated != 20 {
			t.Errorf("%s: the retry: %s %+v", mode, j.State, j.Counts)
		}
		s.nothingLeft()
	}
}

// Ten users without a mailbox at one system hold the job, whatever the other
// accepts.
func TestNoMailboxIsCountedBySystem(t *testing.T) {
	s := newSite(t, voicemail.Any, nil, "hq", "branch")
	s.addUsers(40, nil)
	s.answers("branch", &noMailbox)
	j := s.submit(given471108)
	_, err := s.env.Run(context.Background(), j.ID, nil)
	if held := new(HeldError); !errors.As(err, &held) {
		t.Errorf("got %v", err)
	}
}

// Where a user has no mailbox at one system, and the configuration says that
// this does not matter there, the others decide.
func TestNoMailboxCommittedAtOneOfSeveral(t *testing.T) {
	for _, tt := range []struct {
		mode       voicemail.Mode
		hq, branch voicemail.Answer
		want       outcome.Code
	}{
		{voicemail.All, noMailbox, accepts, outcome.OK},
		{voicemail.All, noMailbox, rejects, outcome.VoicemailRejected},
		{voicemail.All, noMailbox, noMailbox, outcome.NoMailboxCommitted},
		{voicemail.Any, noMailbox, rejects, outcome.VoicemailRejected},
		{voicemail.Any, noMailbox, accepts, outcome.OK},
		{voicemail.Any, noMailbox, noMailbox, outcome.NoMailboxCommitted},
	} {
		s := newSite(t, tt.mode, func(c *config.Config) {
			for i := range c.Voicemail {
				c.Voicemail[i].NoMailbox = "commit"
			}
		}, "hq", "branch")
		s.addUsers(1, nil)
		s.answers("hq", &tt.hq)
		s.answers("branch", &tt.branch)
		j := s.run(given471108)
		row := s.row(j.ID, "user0")
		if row.Code != tt.want || s.holds("user0", store.PIN, "471108") != (row.Result == outcome.Updated) {
			t.Errorf("%s, %s and %s: %s %q", tt.mode, tt.hq.Result, tt.branch.Result, row.Code, row.Detail)
		}
	}
}

// Each user goes to those systems that match.
func TestSeveralSystemsByFor(t *testing.T) {
	s := newSite(t, voicemail.All, func(c *config.Config) {
		c.Voicemail[0].For, c.Voicemail[1].For = inDepartment("1"), inDepartment("2")
	}, "hq", "branch")
	s.addUsers(4, func(i int, u *user.User) {
		u.Departments = [][]string{{"1"}, {"2"}, {"1", "2"}, {"3"}}[i]
	})
	j := s.run(given471108)
	want := map[string]outcome.Code{"user0": outcome.OK, "user1": outcome.OK, "user2": outcome.OK, "user3": outcome.NoVoicemail}
	for id, code := range s.codes(j.ID) {
		if code != want[id] {
			t.Errorf("%s ended %s", id, code)
		}
	}
	for id, systems := range map[string]string{"user0": "hq", "user1": "branch", "user2": "hq ok; branch ok"} {
		if got := s.row(j.ID, id).PIN.System; got != systems {
			t.Errorf("%s: %q", id, got)
		}
	}
	s.none("parts", "seq <> 3") // only who has several systems has some
	log, err := os.ReadFile(filepath.Join(s.env.Config.Watch[0].Reports, "1-job", "report.json"))
	if err != nil || !strings.Contains(string(log), `"voicemail"`) {
		t.Errorf("report.json: %s, %v", log, err)
	}
}
