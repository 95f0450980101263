// Package voicemailtest says what every kind of voicemail connector must make
// of a system that behaves well or badly. Each kind brings a peer that behaves
// as it is told; the table is the same for all of them.
package voicemailtest

import (
	"context"
	"fmt"
	"strings"
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
	}
}

const (
	patience = 700 * time.Millisecond // for those that never answer
	plenty   = 30 * time.Second       // for all others
	slack    = 5 * time.Second        // beyond the timeout, on a busy machine
)

// Run runs the table. The function connects to a peer that shows the
// behaviour; ok is false where the kind cannot show it.
func Run(t *testing.T, connect func(t *testing.T, does Behaviour) (conn voicemail.Connector, ok bool)) {
	for _, c := range Cases() {
		conn, ok := connect(t, c.Does)
		if !ok {
			continue
		}
		t.Run(string(c.Does), func(t *testing.T) {
			defer conn.Close()
			timeout := plenty
			if c.Does == Hangs || c.Does == Drips {
				timeout = patience
			}
			const pin = "593817"
			started := time.Now()
			got := send(t, conn, timeout, pin)
			if took := time.Since(started); took > timeout+slack {
				t.Errorf("took %v with a timeout of %v", took, timeout)
			}
			if got.Class != c.Class || got.Result != c.Result || got.Reason != c.Reason {
				t.Errorf("got %s %q %q, want %s %q %q: %s", got.Class, got.Result, got.Reason, c.Class, c.Result, c.Reason, got.Message)
			}
			if fault := Fault(got.Message, pin); fault != "" {
				t.Errorf("message %q %s", got.Message, fault)
			}
		})
	}
}

func send(t *testing.T, conn voicemail.Connector, timeout time.Duration, pin string) voicemail.Answer {
	t.Helper()
	a, err := voicemail.NewAttempt(Body(pin))
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), timeout)
	defer cancel()
	return conn.Send(ctx, a)
}

// Body returns a journalled request with the PIN.
func Body(pin string) secret.Value {
	yes := true
	r := voicemail.Request{
		ID: voicemail.NewRequestID(), Job: 57, Item: 12, Voicemail: "test",
		User:     user.User{UserID: "jdoe", FirstName: "Jörg", LastName: "Doe", Departments: []string{"12", "Sales, EMEA"}},
		PIN:      secret.New(pin),
		Settings: voicemail.Settings{MustChange: &yes},
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
