package voicemail

import (
	"testing"

	"github.com/dirpin/dirpin/internal/outcome"
)

// TestSettle is the table in settle.go, row by row.
func TestSettle(t *testing.T) {
	answered := func(r Result, reason string) Answer { return Answer{Class: Answered, Result: r, Reason: reason} }
	const (
		ok          = outcome.OK
		committed   = outcome.NoMailboxCommitted
		noMailbox   = outcome.NoMailbox
		inHistory   = outcome.InHistory
		rejected    = outcome.VoicemailRejected
		denied      = outcome.VoicemailDenied
		unreachable = outcome.VoicemailUnreachable
		uncertain   = outcome.VoicemailTimeout
	)
	tests := []struct {
		name       string
		answer     Answer
		lostBefore int
		drawn      bool
		commits    bool
		code       outcome.Code
		again      bool
	}{
		{"accepted", answered(Accepted, ""), 0, false, false, ok, false},
		{"accepted after a loss", answered(Accepted, ""), 2, false, false, ok, false},
		{"no mailbox", answered(NoMailbox, ""), 0, false, false, noMailbox, false},
		{"no mailbox after a loss", answered(NoMailbox, ""), 1, true, false, noMailbox, false},
		{"no mailbox, to be committed", answered(NoMailbox, ""), 0, false, true, committed, false},
		{"no mailbox, to be committed, after a loss", answered(NoMailbox, ""), 1, false, true, committed, false},
		{"in history", answered(Rejected, InHistory), 0, false, false, inHistory, false},
		{"in history at once, although drawn", answered(Rejected, InHistory), 0, true, false, inHistory, false},
		{"in history after a loss, given by a person", answered(Rejected, InHistory), 1, false, false, uncertain, false},
		{"in history after a loss, drawn: proof", answered(Rejected, InHistory), 1, true, false, ok, false},
		{"rejected", answered(Rejected, ""), 0, true, false, rejected, false},
		{"rejected after a loss", answered(Rejected, ""), 1, true, false, uncertain, true},
		{"denied", answered(Denied, ""), 0, false, false, denied, false},
		{"denied after a loss", answered(Denied, ""), 1, true, false, uncertain, false},
		{"denied in place of an answer", Answer{Class: Lost, Result: Denied}, 0, true, false, uncertain, false},
		{"denied before anything left", Answer{Class: NotSent, Result: Denied}, 0, true, false, denied, false},
		{"asks to be asked again", Answer{Class: NotSent, Result: Retry}, 0, true, false, unreachable, true},
		{"asks again after a loss", Answer{Class: NotSent, Result: Retry}, 1, true, false, uncertain, true},
		{"not sent", Answer{Class: NotSent}, 0, true, false, unreachable, true},
		{"not sent after a loss", Answer{Class: NotSent}, 1, true, false, uncertain, true},
		{"lost", Answer{Class: Lost}, 0, true, false, uncertain, true},
		{"lost after a loss", Answer{Class: Lost}, 3, true, false, uncertain, true},
		{"lost, whatever it seemed to say", Answer{Class: Lost, Result: Accepted}, 0, true, true, uncertain, true},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			s := &System{commitsWithoutMailbox: tt.commits}
			got := s.settle(tt.answer, tt.lostBefore, tt.drawn)
			want := outcome.Failed
			if tt.code == ok || tt.code == committed {
				want = outcome.Updated
			}
			if got.code != tt.code || got.again != tt.again || got.result != want {
				t.Errorf("got %s %s again=%v, want %s %s again=%v", got.result, got.code, got.again, want, tt.code, tt.again)
			}
		})
	}
}

// TestSettleNeverCommitsInDoubt goes through every answer there can be: only
// three kinds may change the local PIN, and none of them is a lost one.
func TestSettleNeverCommitsInDoubt(t *testing.T) {
	for _, class := range []Class{NotSent, Answered, Lost} {
		for _, result := range []Result{"", Accepted, Rejected, NoMailbox, Retry, Denied} {
			for _, reason := range []string{"", InHistory} {
				for lostBefore := range 2 {
					for _, drawn := range []bool{false, true} {
						s := &System{}
						v := s.settle(Answer{Class: class, Result: result, Reason: reason}, lostBefore, drawn)
						proof := result == Rejected && reason == InHistory && lostBefore > 0 && drawn
						may := class != Lost && (result == Accepted || proof)
						if (v.result == outcome.Updated) != may {
							t.Errorf("%s %q %q lost=%d drawn=%v: %s %s", class, result, reason, lostBefore, drawn, v.result, v.code)
						}
						doubt := class == Lost || lostBefore > 0 && result != NoMailbox
						if !may && doubt && !v.code.Uncertain() {
							t.Errorf("%s %q %q lost=%d drawn=%v: %s hides that the mailbox may have changed", class, result, reason, lostBefore, drawn, v.code)
						}
					}
				}
			}
		}
	}
}

func TestTurnedAway(t *testing.T) {
	tests := []struct {
		history History
		result  outcome.Result
		code    outcome.Code
	}{
		{History{}, outcome.NotRun, outcome.VoicemailDenied},
		{History{Attempts: 1}, outcome.Failed, outcome.VoicemailDenied},
		{History{Attempts: 2, Lost: 1}, outcome.Failed, outcome.VoicemailTimeout},
	}
	for _, tt := range tests {
		if v := turnedAway(tt.history); v.result != tt.result || v.code != tt.code || v.again {
			t.Errorf("%+v: %+v, want %s %s", tt.history, v, tt.result, tt.code)
		}
	}
}
