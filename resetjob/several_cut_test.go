package resetjob

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/dirpin/dirpin/internal/outcome"
	"github.com/dirpin/dirpin/internal/store"
	"github.com/dirpin/dirpin/internal/user"
	"github.com/dirpin/dirpin/internal/voicemail"
)

// cutAt runs a job that is stopped, as by a kill, while a system answers.
func (s *site) cutAt(system string, id int64) {
	s.Helper()
	ctx, stop := context.WithCancel(context.Background())
	s.at[system].took = stop
	_, err := s.env.Run(ctx, id, nil)
	if !errors.As(err, new(*InterruptedError)) {
		s.Fatalf("got %v", err)
	}
	s.at[system].took = nil
	s.connect()
}

// A request that another one has overtaken at its system is not sent again, by
// whatever process: an idempotent system would accept it, and have the PIN of the
// other one.
func TestWhatWasOvertakenIsNotSentAgainAfterACut(t *testing.T) {
	for _, cut := range []string{"between the two", "while it answers"} {
		s := newSite(t, voicemail.Any, nil, "hq", "branch", "lab")
		s.addUsers(1, nil)
		s.answers("hq", &loses)
		s.answers("branch", &rejects)
		s.answers("lab", &rejects)
		older := s.run(given471108)
		s.ahead += 5 * time.Minute
		s.run("select: {query: all}\nreset: {pin: \"264081\"}\n")
		s.ahead += 5 * time.Minute
		s.answers("hq", nil)
		again, err := s.env.Retry(context.Background(), older.ID, "tester")
		s.must(err)
		if cut == "while it answers" {
			s.env.Config.Voicemail[1].Retries = 1
			s.connect()
			s.answers("branch", &loses)
		}
		s.cutAt("branch", again.ID)
		s.answers("branch", &rejects)
		_, err = s.env.Run(context.Background(), again.ID, nil)
		s.must(err)
		if row := s.row(again.ID, "user0"); row.Code != outcome.VoicemailTimeout || len(s.at["hq"].asked["user0"]) != 2 || s.holds("user0", store.PIN, "471108") {
			t.Errorf("%s: %s %q, hq was asked %d times", cut, row.Code, row.Detail, len(s.at["hq"].asked["user0"]))
		}
		s.nothingLeft()
	}
}

// What a system had accepted before another job sent it something counts no more,
// however often the retry is cut.
func TestWhatWasAcceptedAndOvertakenDoesNotCountAfterACut(t *testing.T) {
	s := newSite(t, voicemail.All, nil, "hq", "branch", "lab")
	s.addUsers(1, nil)
	older := s.submit("select: {query: all}\nreset: {pin: \"264081\"}\n")
	s.answers("branch", &rejects)
	newer := s.run(given471108)
	_, err := s.env.Run(context.Background(), older.ID, nil) // hq has its PIN now, and nothing is committed
	s.must(err)
	s.answers("lab", &rejects)
	s.env.Config.VoicemailMode = "any"
	s.connect()
	again, err := s.env.Retry(context.Background(), newer.ID, "tester")
	s.must(err)
	s.cutAt("branch", again.ID)
	_, err = s.env.Run(context.Background(), again.ID, nil)
	s.must(err)
	if row := s.row(again.ID, "user0"); !row.Code.Uncertain() || s.holds("user0", store.PIN, "471108") {
		t.Errorf("ended %s %q, and hq has %s", row.Code, row.Detail, s.at["hq"].pins["user0"])
	}
}

// A restore makes a leg forget its requests, and nothing but an acceptance ends
// the doubt, however often it is retried.
func TestDoubtOfARestoreIsCarriedAlongByEveryRetry(t *testing.T) {
	s := newSite(t, voicemail.All, nil, "hq", "branch")
	s.addUsers(1, nil)
	s.answers("branch", &loses)
	j := s.run(given471108)
	s.sql("UPDATE parts SET request_id = '', body = NULL") // as a restore does
	s.answers("hq", &noMailbox)
	for range 3 {
		s.ahead += 5 * time.Minute
		if j = s.retry(j.ID); s.row(j.ID, "user0").Code != outcome.VoicemailTimeout {
			t.Fatalf("job %d: %+v", j.ID, s.row(j.ID, "user0"))
		}
	}
}

// What one of several systems has accepted, or may have, is for the one whom the
// request named, however often it is retried and whoever bears that user id by
// then.
func TestARetriedRetryOfSeveralGoesToNobodyElse(t *testing.T) {
	for _, tt := range []struct {
		mode voicemail.Mode
		hq   *voicemail.Answer
		want outcome.Code
	}{
		{voicemail.All, &accepts, outcome.VoicemailPartial},
		{voicemail.All, &loses, outcome.VoicemailTimeout},
		{voicemail.Any, &loses, outcome.VoicemailTimeout},
	} {
		s := newSite(t, tt.mode, nil, "hq", "branch")
		s.addUsers(1, nil)
		s.answers("hq", tt.hq)
		s.answers("branch", &rejects)
		j := s.run(given471108)
		s.sql("UPDATE users SET user_id = 'other', user_id_f = 'other' WHERE user_id = 'user0'")
		s.addUsers(1, nil) // somebody new is called user0
		for system, m := range s.at {
			s.answers(system, nil)
			m.asked = map[string][]string{}
		}
		for range 3 {
			s.ahead += 5 * time.Minute
			j = s.retry(j.ID)
			for _, code := range s.codes(j.ID) {
				if !code.Uncertain() {
					t.Errorf("%s, hq %s: job %d ended %s", tt.mode, tt.hq.Class, j.ID, code)
				}
			}
		}
		for system, m := range s.at {
			if len(m.asked) > 0 {
				t.Errorf("%s, hq %s: %s was sent %v", tt.mode, tt.hq.Class, system, m.asked)
			}
		}
	}
}

// Who may not be changed any more when an item goes on that was cut between two
// systems ends there, and is nobody's any more.
func TestWhoIsProtectedBetweenTwoSystems(t *testing.T) {
	for mode, want := range map[voicemail.Mode]outcome.Code{voicemail.All: outcome.VoicemailPartial, voicemail.Any: outcome.OK} {
		s := newSite(t, mode, nil, "hq", "branch")
		s.addUsers(1, nil)
		j := s.submit(given471108)
		s.cutAt("hq", j.ID)
		s.env.Config.Protect = user.All()
		ctx, stop := context.WithTimeout(context.Background(), 10*time.Second)
		defer stop()
		if _, err := s.env.Run(ctx, j.ID, nil); err != nil {
			t.Fatal(err)
		}
		if row := s.row(j.ID, "user0"); row.Code != want || len(s.at["branch"].asked) > 0 {
			t.Errorf("%s: ended %s %q", mode, row.Code, row.Detail)
		}
		s.nothingLeft()
	}
}
