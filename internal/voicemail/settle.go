package voicemail

import "github.com/dirpin/dirpin/internal/outcome"

// History is what became of a leg's attempts so far.
type History struct {
	Attempts int // that were begun
	Lost     int // of these, how many may have taken effect unseen
}

// Outcome is how a leg ended.
type Outcome struct {
	History
	Result outcome.Result
	Code   outcome.Code
	Detail string // for people: the last words of the system
	Denied bool   // the last attempt of this call met a denial: nobody else is to be sent
}

// verdict is what an answer means for a leg.
type verdict struct {
	result outcome.Result
	code   outcome.Code
	again  bool // not final while retries are left
}

func failed(code outcome.Code) verdict { return verdict{result: outcome.Failed, code: code} }

func again(code outcome.Code) verdict {
	return verdict{result: outcome.Failed, code: code, again: true}
}

// settle is the table of what a leg's answers add up to:
//
//	the answer              nothing lost before      an attempt was lost
//	accepted                ok                       ok
//	no-mailbox              no-mailbox, or committed as the configuration says
//	rejected, in-history    in-history               ok if proven, else uncertain
//	rejected                voicemail-rejected       again, then uncertain
//	denied                  voicemail-denied         uncertain
//	retry, not sent         again, then unreachable  again, then uncertain
//	lost                    again, then uncertain    again, then uncertain
//
// Once an attempt is lost the mailbox may hold the new PIN, and a rejection says
// nothing of that: only an acceptance, the proof that there is no mailbox, or
// in-history with a value that was drawn for this leg alone settles it. Where
// the mailbox itself tells whether the attempt took effect (unity.go) its
// connector answers accepted, or leaves out that it is in-history.
func (s *System) settle(a Answer, lostBefore int, drawn bool) verdict {
	lost := lostBefore > 0
	switch {
	case a.Class == Lost && a.Result == Denied:
		return failed(outcome.VoicemailTimeout)
	case a.Class == Lost:
		return again(outcome.VoicemailTimeout)
	case a.Result == Accepted:
		return verdict{result: outcome.Updated, code: outcome.OK}
	case a.Result == NoMailbox && s.commitsWithoutMailbox:
		return verdict{result: outcome.Updated, code: outcome.NoMailboxCommitted}
	case a.Result == NoMailbox:
		return failed(outcome.NoMailbox)
	case a.Result == Rejected && a.Reason == InHistory && lost && drawn:
		return verdict{result: outcome.Updated, code: outcome.OK}
	case a.Result == Rejected && a.Reason == InHistory && lost:
		return failed(outcome.VoicemailTimeout)
	case a.Result == Rejected && a.Reason == InHistory:
		return failed(outcome.InHistory)
	case a.Result == Rejected && lost:
		return again(outcome.VoicemailTimeout)
	case a.Result == Rejected:
		return failed(outcome.VoicemailRejected)
	case a.Result == Denied && lost:
		return failed(outcome.VoicemailTimeout)
	case a.Result == Denied:
		return failed(outcome.VoicemailDenied)
	case lost:
		return again(outcome.VoicemailTimeout)
	}
	return again(outcome.VoicemailUnreachable)
}

// turnedAway is the verdict on a leg that was kept back by a denial of others.
func turnedAway(h History) verdict {
	switch {
	case h.Lost > 0:
		return failed(outcome.VoicemailTimeout)
	case h.Attempts > 0:
		return failed(outcome.VoicemailDenied)
	}
	return verdict{result: outcome.NotRun, code: outcome.VoicemailDenied}
}
