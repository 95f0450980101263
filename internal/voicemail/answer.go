package voicemail

import (
	"time"
)

// Class says how much is known of an attempt.
type Class string

// The classes of an attempt.
const (
	NotSent  Class = "not-sent" // no byte of it left, or the system said that it did nothing and may be asked again
	Answered Class = "answered"
	Lost     Class = "lost" // it may have taken effect
)

// Result is what the system said of the PIN.
type Result string

// The results of an answer; "" where there was none.
const (
	Accepted  Result = "accepted"
	Rejected  Result = "rejected"
	NoMailbox Result = "no-mailbox"
	Retry     Result = "retry"
	Denied    Result = "denied" // it refused us, not the PIN
)

// InHistory is the one reason of a rejection that is acted upon.
const InHistory = "in-history"

// Answer is what one attempt came to. Class and Result are independent: a
// login page in place of an answer is Lost, since the request left, and Denied.
type Answer struct {
	Class      Class
	Result     Result
	Reason     string
	Message    string        // for people: one line, bounded, without the PIN
	RetryAfter time.Duration // nothing is wanted before; 0: not said
	Proof      string        // of Accepted: why it is certain although an answer was lost; "": the system said so
	Gone       bool          // the mailbox of the attempt's note is not there: it is to be looked for again
}

// unavailable tells whether the attempt speaks against the system rather than
// against the request.
func (a Answer) unavailable() bool {
	return a.Result == "" && (a.Class == NotSent || a.Class == Lost)
}

// lost makes an answer of one that cannot be relied upon. A denial stays one.
func (a Answer) lost(message string) Answer {
	a.Class, a.Reason, a.Message = Lost, "", message
	if a.Result != Denied {
		a.Result = ""
	}
	return a
}
