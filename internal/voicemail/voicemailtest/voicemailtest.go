// Package voicemailtest says what every kind of voicemail connector must make
// of a system that behaves well or badly. Each kind brings a peer that behaves
// as it is told; the table is the same for all of them.
package voicemailtest

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/dirpin/dirpin/internal/secret"
	"github.com/dirpin/dirpin/internal/user"
	"github.com/dirpin/dirpin/internal/voicemail"
)

// Behaviour is what the peer of a connector does with a request.
type Behaviour string

// The behaviours. A kind that cannot show one leaves it out.
const (
	Accepts          Behaviour = "accepts without a word"
	AcceptsInWords   Behaviour = "answers accepted"
	Rejects          Behaviour = "rejects"
	RejectsInWords   Behaviour = "answers rejected"
	InHistory        Behaviour = "rejects as in history"
	NoMailbox        Behaviour = "has no such mailbox"
	AsksAgain        Behaviour = "asks to be asked again"
	AsksAgainInWords Behaviour = "answers retry"
	Denies           Behaviour = "denies us"
	DeniesInWords    Behaviour = "answers denied"
	Absent           Behaviour = "is not there"
	Hangs            Behaviour = "never answers"
	Drips            Behaviour = "answers a byte at a time without end"
	Dies             Behaviour = "dies with the request in hand"
	Fails            Behaviour = "fails without an answer"
	Garbage          Behaviour = "answers half an object"
	UnknownResult    Behaviour = "answers a result of its own"
	SaysTwice        Behaviour = "answers rejected and accepted at once"
	Foreign          Behaviour = "answers the request of somebody else"
	Contradicts      Behaviour = "rejects and answers accepted"
	IgnoresRequest   Behaviour = "rejects without reading the request"
	Floods           Behaviour = "rejects after a megabyte of words"
	Repeats          Behaviour = "rejects and repeats the PIN in every form"
	Controls         Behaviour = "rejects with control characters"
	Slow             Behaviour = "accepts after a while"
	Page             Behaviour = "answers with an HTML page"
	BreaksOff        Behaviour = "breaks off within the answer"
	Redirects        Behaviour = "sends us elsewhere"
	Noisy            Behaviour = "writes other things before and after it accepts"
	Missing          Behaviour = "cannot be started"
)

// Case is what must come of a behaviour.
type Case struct {
	Does   Behaviour
	Class  voicemail.Class
	Result voicemail.Result
	Reason string
}

// Cases returns the table.
func Cases() []Case {
	return []Case{
		{Accepts, voicemail.Answered, voicemail.Accepted, ""},
		{AcceptsInWords, voicemail.Answered, voicemail.Accepted, ""},
		{Rejects, voicemail.Answered, voicemail.Rejected, ""},
		{RejectsInWords, voicemail.Answered, voicemail.Rejected, ""},
		{InHistory, voicemail.Answered, voicemail.Rejected, voicemail.InHistory},
		{NoMailbox, voicemail.Answered, voicemail.NoMailbox, ""},
		{AsksAgain, voicemail.NotSent, voicemail.Retry, ""},
		{AsksAgainInWords, voicemail.NotSent, voicemail.Retry, ""},
		{Denies, voicemail.Answered, voicemail.Denied, ""},
		{DeniesInWords, voicemail.Answered, voicemail.Denied, ""},
		{Absent, voicemail.NotSent, "", ""},
		{Hangs, voicemail.Lost, "", ""},
		{Drips, voicemail.Lost, "", ""},
		{Dies, voicemail.Lost, "", ""},
		{Fails, voicemail.Lost, "", ""},
		{Garbage, voicemail.Lost, "", ""},
		{UnknownResult, voicemail.Lost, "", ""},
		{SaysTwice, voicemail.Lost, "", ""},
		{Foreign, voicemail.Lost, "", ""},
		{Contradicts, voicemail.Lost, "", ""},
		{IgnoresRequest, voicemail.Answered, voicemail.Rejected, ""},
		{Floods, voicemail.Answered, voicemail.Rejected, ""},
		{Repeats, voicemail.Answered, voicemail.Rejected, ""},
		{Controls, voicemail.Answered, voicemail.Rejected, ""},
		{Slow, voicemail.Answered, voicemail.Accepted, ""},
		{Page, voicemail.Lost, voicemail.Denied, ""},
		{BreaksOff, voicemail.Lost, "", ""},
		{Redirects, voicemail.Answered, voicemail.Denied, ""},
		{Noisy, voicemail.Answered, voicemail.Accepted, ""},
		{Missing, voicemail.NotSent, voicemail.Denied, ""},
	}
}

const (
	patience = 700 * time.Millisecond // for those that never answer
	plenty   = 30 * time.Second       // for all others
	slack    = 5 * time.Second        // beyond the timeout, on a busy machine
)

// PIN is the one that Run sends.
const PIN = "593817"

// Kind is a kind of connector, with a peer for each behaviour.
type Kind struct {
	// Connect connects to a peer that shows the behaviour; ok is false where the
	// kind cannot show it.
	Connect func(t *testing.T, does Behaviour) (conn voicemail.Connector, ok bool)
	// Silent are behaviours that this kind can only know by waiting.
	Silent []Behaviour
}

// Run runs the table.
func Run(t *testing.T, kind Kind) {
	for _, c := range Cases() {
		conn, ok := kind.Connect(t, c.Does)
		if !ok {
			continue
		}
		t.Run(string(c.Does), func(t *testing.T) {
			defer conn.Close()
			timeout := plenty
			if c.Does == Hangs || c.Does == Drips || slices.Contains(kind.Silent, c.Does) {
				timeout = patience
			}
			started := time.Now()
			got := send(t, conn, timeout, NewBody("jdoe", PIN))
			if took := time.Since(started); took > timeout+slack {
				t.Errorf("took %v with a timeout of %v", took, timeout)
			}
			if got.Class != c.Class || got.Result != c.Result || got.Reason != c.Reason {
				t.Errorf("got %s %q %q, want %s %q %q: %s", got.Class, got.Result, got.Reason, c.Class, c.Result, c.Reason, got.Message)
			}
			if fault := Fault(got.Message, PIN); fault != "" {
				t.Errorf("message %q %s", got.Message, fault)
			}
		})
	}
}

// Manner is how a peer answers several requests that it has at once.
type Manner string

// The manners. Each peer accepts the users with an even number and rejects the
// others.
const (
	AtOnce      Manner = "each at once"
	Backwards   Manner = "the last one first"
	Twice       Manner = "each twice, the second time the other way round"
	Unasked     Manner = "what nobody asked before each"
	DiesBetween Manner = "dying after each answer"
)

// Together is how many requests RunMany has under way.
const Together = 8

// RunMany sends several requests at once and demands for each its own answer,
// whatever else is said.
func RunMany(t *testing.T, connect func(t *testing.T, how Manner) (conn voicemail.Connector, ok bool)) {
	for _, how := range []Manner{AtOnce, Backwards, Twice, Unasked, DiesBetween} {
		conn, ok := connect(t, how)
		if !ok {
			continue
		}
		t.Run(string(how), func(t *testing.T) {
			defer conn.Close()
			for round := range 3 {
				ask(t, conn, how, round)
			}
		})
	}
}

func ask(t *testing.T, conn voicemail.Connector, how Manner, round int) {
	t.Helper()
	var wg sync.WaitGroup
	for n := range Together {
		one := func() {
			got := send(t, conn, plenty, NewBody(fmt.Sprintf("user%d", n), fmt.Sprint(402_718+1_117*n+31*round)))
			want := voicemail.Accepted
			if n%2 == 1 {
				want = voicemail.Rejected
			}
			if got.Class != voicemail.Answered || got.Result != want {
				t.Errorf("user%d: got %s %q: %s", n, got.Class, got.Result, got.Message)
			}
		}
		if how == DiesBetween {
			one()
			continue
		}
		wg.Go(one)
	}
	wg.Wait()
}

// send makes one attempt as a System does: where notes are kept with a look
// before.
func send(t *testing.T, conn voicemail.Connector, timeout time.Duration, body secret.Value) voicemail.Answer {
	t.Helper()
	a, err := voicemail.NewAttempt(body)
	if err != nil {
		t.Error(err)
		return voicemail.Answer{}
	}
	ctx, cancel := context.WithTimeout(t.Context(), timeout)
	defer cancel()
	if l, ok := conn.(voicemail.Looker); ok {
		note, answer := l.Look(ctx, a)
		if answer != nil {
			return *answer
		}
		a.Note = note
	}
	return conn.Send(ctx, a)
}

// NewBody returns a journalled request for that user.
func NewBody(userID, pin string) secret.Value {
	yes := true
	r := voicemail.Request{
		ID: voicemail.NewRequestID(), Job: 57, Item: 12, Voicemail: "test",
		User:     user.User{UserID: userID, FirstName: "Jörg", LastName: "Doe", Departments: []string{"12", "Sales, EMEA"}},
		PIN:      secret.New(pin),
		Settings: voicemail.Settings{MustChange: &yes, ClearFailedAttempts: &yes},
	}
	return r.Body()
}

// Fault says why a message must not be shown; "" where it may.
func Fault(message, pin string) string {
	switch {
	case strings.Contains(message, pin):
		return "holds the PIN"
	case len(message) > 600:
		return fmt.Sprintf("is %d bytes long", len(message))
	case !utf8.ValidString(message):
		return "is not UTF-8"
	case strings.ContainsFunc(message, func(r rune) bool { return r < ' ' || r == 0x7f || r == 0x202e || r == 0x200b }):
		return "has control characters"
	}
	return ""
}
