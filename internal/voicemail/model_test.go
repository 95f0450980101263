package voicemail

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"

	"github.com/dirpin/dirpin/internal/outcome"
	"github.com/dirpin/dirpin/internal/secret"
)

// mailbox is a voicemail system of one user: it keeps a history, and may know a
// request again.
type mailbox struct {
	idempotent bool
	exists     bool
	pin        string
	history    map[string]bool
	done       map[string]bool
}

func (m *mailbox) set(a Attempt) Answer {
	pin := a.pin.Reveal()
	switch {
	case !m.exists:
		return noMailbox
	case m.idempotent && m.done[a.RequestID]:
		return accepted
	case m.history[pin]:
		return inHistory
	}
	m.pin, m.history[pin], m.done[a.RequestID] = pin, true, true
	return accepted
}

// line is the way to it, on which an attempt meets each kind of bad luck.
type line struct {
	*mailbox
	fates []string
	sent  int
}

var fates = []string{"answered", "answered", "refused", "lost before", "lost after", "busy", "locked", "login page", "denied"}

func (l *line) Close() error { return nil }

func (l *line) Send(_ context.Context, a Attempt) Answer {
	fate := l.fates[min(l.sent, len(l.fates)-1)]
	l.sent++
	switch fate {
	case "refused":
		return unreachable
	case "lost before":
		return lost
	case "lost after":
		l.set(a)
		return lost
	case "busy":
		return retryLater
	case "locked":
		return rejected
	case "login page":
		return lostDenied
	case "denied":
		return denied
	}
	return l.set(a)
}

// Through any luck, stops and crashes: a PIN is reported as set only if the
// mailbox has it, and as surely not set only if this leg did not set it.
func TestOutcomesAgreeWithTheMailbox(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		drawn := rapid.Bool().Draw(rt, "drawn")
		box := &mailbox{
			idempotent: rapid.Bool().Draw(rt, "idempotent"), exists: rapid.IntRange(0, 5).Draw(rt, "mailbox") > 0,
			pin: "1111", history: map[string]bool{"1111": true, "2222": true}, done: map[string]bool{},
		}
		pin := "593817"
		if !drawn { // an administrator may give one that was used before
			pin = rapid.SampledFrom([]string{"593817", "1111", "2222"}).Draw(rt, "pin")
		}
		conn := &line{box, rapid.SliceOfN(rapid.SampledFrom(fates), 1, 12).Draw(rt, "fates"), 0}
		crashes := rapid.SliceOfN(rapid.Bool(), 0, 3).Draw(rt, "crashes")
		r := testRequest(pin)
		r.ID = NewRequestID()
		var out Outcome
		var err error
		synctest.Test(t, func(*testing.T) { out, err = pushThrough(conn, Leg{Attempt: r.Attempt(), Drawn: drawn}, crashes) })
		if err != nil {
			rt.Fatal(err)
		}
		check(rt, out, box, pin)
	})
}

// pushThrough pushes until the leg is settled, over pauses, and over crashes
// after which only the journal is known.
func pushThrough(conn *line, leg Leg, crashes []bool) (Outcome, error) {
	var journal History
	leg.Begin = func(before History) error {
		journal = History{before.Attempts + 1, before.Lost + 1} // what a crash would leave
		return nil
	}
	a, err := NewAttempt(leg.Body) // as out of a journal
	if err != nil {
		return Outcome{}, err
	}
	leg.Attempt = a
	s := NewWith(testConfig(), conn, Options{})
	for i := 0; ; i++ {
		if i < len(crashes) && crashes[i] {
			leg.Begin(leg.Prior)
			conn.Send(context.Background(), a) // and nobody hears the answer
			leg.Prior = journal
			s = NewWith(testConfig(), conn, Options{})
			continue
		}
		out, err := s.Push(context.Background(), leg)
		var paused *PausedError
		if !errors.As(err, &paused) {
			return out, err
		}
		leg.Prior = out.History
		time.Sleep(time.Until(paused.Until))
	}
}

func check(t *rapid.T, out Outcome, box *mailbox, pin string) {
	mine := len(box.done) > 0 // set by this leg
	switch out.Code {
	case outcome.OK:
		if box.pin != pin {
			t.Fatalf("committed, and the mailbox has %s", box.pin)
		}
	case outcome.VoicemailTimeout:
		if out.Lost == 0 {
			t.Fatal("uncertain without a lost attempt")
		}
	case outcome.NoMailbox:
		if box.exists {
			t.Fatal("there is a mailbox")
		}
	case outcome.InHistory, outcome.VoicemailRejected, outcome.VoicemailUnreachable, outcome.VoicemailDenied:
		if mine {
			t.Fatalf("%s, surely unchanged, and the mailbox has %s", out.Code, box.pin)
		}
	default:
		t.Fatalf("code %q", out.Code)
	}
}

// The longest way round: a PIN given for everybody was this user's two changes
// ago, the first attempt is lost on its way, the second is in history (S1).
func TestGivenPINInHistoryAfterALostAttemptIsNotCommitted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		box := &mailbox{exists: true, pin: "9999", history: map[string]bool{"593817": true, "9999": true}, done: map[string]bool{}}
		out, err := NewWith(testConfig(), &line{box, []string{"lost before", "answered"}, 0}, Options{}).Push(t.Context(), newLeg())
		if err != nil || out.Code != outcome.VoicemailTimeout || box.pin != "9999" {
			t.Errorf("%+v, %v, the mailbox has %s", out, err, box.pin)
		}
	})
}

func TestNothingOfALegPrintsItsPIN(t *testing.T) {
	leg := newLeg()
	for _, text := range []string{secret.New("x").String(), leg.Body.String()} {
		if text != "(secret)" {
			t.Errorf("printed as %q", text)
		}
	}
}
