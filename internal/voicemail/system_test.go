package voicemail

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/dirpin/dirpin/config"
	"github.com/dirpin/dirpin/internal/outcome"
	"github.com/dirpin/dirpin/internal/secret"
)

// scripted answers by a function, and remembers what it was sent.
type scripted struct {
	mu     sync.Mutex
	sent   []sending
	answer func(ctx context.Context, n int, a Attempt) Answer
}

type sending struct {
	at time.Time
	a  Attempt
}

func (c *scripted) Send(ctx context.Context, a Attempt) Answer {
	c.mu.Lock()
	n := len(c.sent)
	c.sent = append(c.sent, sending{time.Now(), a})
	c.mu.Unlock()
	return c.answer(ctx, n, a)
}

func (c *scripted) Close() error { return nil }

func (c *scripted) count() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return len(c.sent)
}

// answers gives one after the other, then the last for ever.
func answers(as ...Answer) *scripted {
	return &scripted{answer: func(_ context.Context, n int, _ Attempt) Answer { return as[min(n, len(as)-1)] }}
}

var (
	accepted    = Answer{Class: Answered, Result: Accepted, Message: "m accepted"}
	rejected    = Answer{Class: Answered, Result: Rejected, Message: "m rejected"}
	inHistory   = Answer{Class: Answered, Result: Rejected, Reason: InHistory, Message: "m in-history"}
	noMailbox   = Answer{Class: Answered, Result: NoMailbox, Message: "m no-mailbox"}
	denied      = Answer{Class: Answered, Result: Denied, Message: "m denied"}
	lostDenied  = Answer{Class: Lost, Result: Denied, Message: "m login page"}
	retryLater  = Answer{Class: NotSent, Result: Retry, Message: "m retry"}
	unreachable = Answer{Class: NotSent, Message: "m unreachable"}
	lost        = Answer{Class: Lost, Message: "m lost"}
)

func testConfig() *config.Voicemail {
	return &config.Voicemail{Name: "unity", Type: "http", NoMailbox: "fail", Timeout: 10 * time.Second, Retries: 2, Concurrency: 8}
}

// most is the jitter that waits longest, so that times are known.
func most(d time.Duration) time.Duration { return d }

func newLeg() Leg {
	r := testRequest("593817")
	r.ID = NewRequestID()
	return Leg{Attempt: r.Attempt()}
}

func TestWhatAnswersAddUpTo(t *testing.T) {
	for _, tt := range []struct {
		name    string
		answers []Answer
		prior   History
		drawn   bool
		commit  bool
		want    string // result, code, attempts, lost
	}{
		{"accepted", []Answer{accepted}, History{}, false, false, "updated ok 1 0"},
		{"accepted after not sent", []Answer{unreachable, accepted}, History{}, false, false, "updated ok 2 0"},
		{"accepted after lost", []Answer{lost, accepted}, History{}, false, false, "updated ok 2 1"},
		{"accepted after a restart", []Answer{accepted}, History{3, 1}, false, false, "updated ok 4 1"},

		{"rejected", []Answer{rejected}, History{}, false, false, "failed voicemail-rejected 1 0"},
		{"rejected after not sent", []Answer{unreachable, rejected}, History{}, false, false, "failed voicemail-rejected 2 0"},
		{"rejected after lost", []Answer{lost, rejected}, History{}, true, false, "failed voicemail-timeout 3 1"},
		{"rejected after lost, then accepted", []Answer{lost, rejected, accepted}, History{}, false, false, "updated ok 3 1"},
		{"rejected after a restart", []Answer{rejected}, History{1, 1}, false, false, "failed voicemail-timeout 4 1"},

		{"in history", []Answer{inHistory}, History{}, true, false, "failed in-history 1 0"},
		{"in history after not sent", []Answer{unreachable, inHistory}, History{2, 0}, true, false, "failed in-history 4 0"},
		{"in history after lost, drawn", []Answer{lost, inHistory}, History{}, true, false, "updated ok 2 1"},
		{"in history after lost, given", []Answer{lost, inHistory}, History{}, false, false, "failed voicemail-timeout 2 1"},
		{"in history after a restart, drawn", []Answer{inHistory}, History{1, 1}, true, false, "updated ok 2 1"},
		{"in history after a restart, given", []Answer{inHistory}, History{1, 1}, false, false, "failed voicemail-timeout 2 1"},

		{"no mailbox", []Answer{noMailbox}, History{}, false, false, "failed no-mailbox 1 0"},
		{"no mailbox, committed", []Answer{noMailbox}, History{}, false, true, "updated no-mailbox-committed 1 0"},
		{"no mailbox after lost", []Answer{lost, noMailbox}, History{}, false, true, "updated no-mailbox-committed 2 1"},

		{"denied", []Answer{denied}, History{}, false, false, "failed voicemail-denied 1 0"},
		{"denied after lost", []Answer{lost, denied}, History{}, false, false, "failed voicemail-timeout 2 1"},
		{"a login page", []Answer{lostDenied}, History{}, true, true, "failed voicemail-timeout 1 1"},
		{"a certificate that is not trusted", []Answer{{Class: NotSent, Result: Denied}}, History{}, false, false, "failed voicemail-denied 1 0"},

		{"never reached", []Answer{unreachable}, History{}, false, false, "failed voicemail-unreachable 3 0"},
		{"always busy", []Answer{retryLater}, History{}, false, false, "failed voicemail-unreachable 3 0"},
		{"never reached, lost before", []Answer{unreachable}, History{1, 1}, false, false, "failed voicemail-timeout 4 1"},
		{"never answered", []Answer{lost}, History{}, false, false, "failed voicemail-timeout 3 3"},
		{"lost once, then not reached", []Answer{unreachable, lost, unreachable}, History{}, false, false, "failed voicemail-timeout 3 1"},
	} {
		synctest.Test(t, func(t *testing.T) {
			cfg := testConfig()
			if tt.commit {
				cfg.NoMailbox = "commit"
			}
			leg := newLeg()
			leg.Prior, leg.Drawn = tt.prior, tt.drawn
			got, err := NewWith(cfg, answers(tt.answers...), Options{}).Push(t.Context(), leg)
			if err != nil {
				t.Fatalf("%s: %v", tt.name, err)
			}
			if s := fmt.Sprintf("%s %s %d %d", got.Result, got.Code, got.Attempts, got.Lost); s != tt.want {
				t.Errorf("%s: got %s, want %s", tt.name, s, tt.want)
			}
			last := tt.answers[min(got.Attempts-tt.prior.Attempts, len(tt.answers))-1]
			if got.Code != outcome.OK && !strings.HasSuffix(got.Detail, last.Message) || got.Code == outcome.OK && last.Result == Accepted && got.Detail != "" {
				t.Errorf("%s: detail %q", tt.name, got.Detail)
			}
		})
	}
}

func TestEveryAttemptIsTheSameAndJournalledFirst(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		conn := answers(unreachable, lost, accepted)
		leg := newLeg()
		leg.Prior = History{Attempts: 5}
		var journal []History
		leg.Begin = func(before History) error {
			if conn.count() != len(journal) {
				t.Errorf("attempt %d left before it was journalled", conn.count())
			}
			journal = append(journal, before)
			return nil
		}
		if _, err := NewWith(testConfig(), conn, Options{}).Push(t.Context(), leg); err != nil {
			t.Fatal(err)
		}
		if want := fmt.Sprint([]History{{5, 0}, {6, 0}, {7, 1}}); fmt.Sprint(journal) != want {
			t.Errorf("journal %v, want %v", journal, want)
		}
		for _, s := range conn.sent {
			if s.a.Body.Reveal() != leg.Body.Reveal() || s.a.RequestID != conn.sent[0].a.RequestID {
				t.Error("the attempts differ")
			}
		}
	})
}

func TestWhatCannotBeJournalledIsNotSent(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		conn := answers(accepted)
		s := NewWith(testConfig(), conn, Options{})
		leg := newLeg()
		full := errors.New("disk full")
		leg.Begin = func(History) error { return full }
		got, err := s.Push(t.Context(), leg)
		if !errors.Is(err, full) || got.Code != "" || got.Attempts != 0 || conn.count() != 0 {
			t.Errorf("got %+v, %v after %d attempts", got, err, conn.count())
		}
		if got, err := s.Push(t.Context(), newLeg()); err != nil || got.Code != outcome.OK {
			t.Errorf("the next: %+v, %v", got, err)
		}
	})
}

func TestStopWhileAskedIsNoStop(t *testing.T) {
	ctx, stop := context.WithCancel(t.Context())
	leg := newLeg()
	leg.Begin = func(History) error { stop(); return nil }
	if out, err := NewWith(testConfig(), answers(accepted), Options{}).Push(ctx, leg); err != nil || out.Code != outcome.OK {
		t.Errorf("%+v, %v", out, err)
	}
}

func TestDamagedJournalIsNoAttempt(t *testing.T) {
	if a, err := NewAttempt(secret.New("{}")); err == nil {
		t.Errorf("%+v", a)
	}
}

func TestBackoffIsExponentialWithFullJitter(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		conn := answers(lost, lost, lost, Answer{Class: Lost, RetryAfter: 3 * time.Second}, lost, lost, lost)
		cfg := testConfig()
		cfg.Retries = 6
		var asked []time.Duration
		jitter := func(d time.Duration) time.Duration { asked = append(asked, d); return d / 2 }
		if _, err := NewWith(cfg, conn, Options{Jitter: jitter}).Push(t.Context(), newLeg()); err != nil {
			t.Fatal(err)
		}
		var waits []time.Duration
		for i := range conn.sent[1:] {
			waits = append(waits, conn.sent[i+1].at.Sub(conn.sent[i].at))
		}
		if want := "[500ms 1s 2s 4s 8s 10s]"; fmt.Sprint(asked) != want {
			t.Errorf("jitter of %v, want %v", asked, want)
		}
		if want := "[250ms 500ms 1s 5s 4s 5s]"; fmt.Sprint(waits) != want {
			t.Errorf("waits %v, want %v", waits, want)
		}
	})
}

func TestJitterStaysWithinItsBounds(t *testing.T) {
	var low, high bool
	for range 10000 {
		d := jitter(3)
		low, high = low || d == 0, high || d == 3
		if d < 0 || d > 3 {
			t.Fatalf("got %d", d)
		}
	}
	if !low || !high {
		t.Error("an end is never reached")
	}
}

// The end of the context stops retries, not the attempt on the wire.
func TestStopLeavesTheAttemptOnTheWireAlone(t *testing.T) {
	for _, tt := range []struct {
		answer Answer
		want   string
	}{{accepted, "ok <nil>"}, {rejected, "voicemail-rejected <nil>"}, {lost, " " + ErrStopped.Error()}, {unreachable, " " + ErrStopped.Error()}} {
		synctest.Test(t, func(t *testing.T) {
			ctx, stop := context.WithCancel(t.Context())
			conn := &scripted{answer: func(wire context.Context, _ int, _ Attempt) Answer {
				stop()
				select {
				case <-wire.Done():
					t.Error("the attempt was cut")
				case <-time.After(9 * time.Second):
				}
				return tt.answer
			}}
			got, err := NewWith(testConfig(), conn, Options{}).Push(ctx, newLeg())
			if s := fmt.Sprint(got.Code, " ", err); s != tt.want || conn.count() != 1 || got.Attempts != 1 {
				t.Errorf("got %s after %d attempts, want %s", s, conn.count(), tt.want)
			}
			if tt.answer.Class == Lost && got.Lost != 1 {
				t.Error("the lost attempt is forgotten")
			}
		})
	}
}

func TestStopBeforeTheFirstAttemptSendsNothing(t *testing.T) {
	ctx, stop := context.WithCancel(t.Context())
	stop()
	conn := answers(accepted)
	if _, err := NewWith(testConfig(), conn, Options{}).Push(ctx, newLeg()); !errors.Is(err, ErrStopped) || conn.count() != 0 {
		t.Errorf("%v after %d attempts", err, conn.count())
	}
}

func TestTimeoutOfAnAttempt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		conn := &scripted{answer: func(wire context.Context, n int, _ Attempt) Answer {
			if n == 0 {
				<-wire.Done()
				return lost
			}
			return accepted
		}}
		started := time.Now()
		got, err := NewWith(testConfig(), conn, Options{Jitter: most}).Push(t.Context(), newLeg())
		if took := time.Since(started); err != nil || got.Code != outcome.OK || took != 10500*time.Millisecond {
			t.Errorf("%+v, %v after %v", got, err, took)
		}
	})
}

func TestRateIsKept(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cfg := testConfig()
		cfg.Rate = 50
		conn := answers(accepted)
		s := NewWith(cfg, conn, Options{})
		var wg sync.WaitGroup
		for range 8 {
			wg.Go(func() {
				for range 25 {
					s.Push(t.Context(), newLeg())
				}
			})
		}
		started := time.Now()
		wg.Wait()
		if took := time.Since(started); conn.count() != 200 || took < 3900*time.Millisecond || took > 4100*time.Millisecond {
			t.Errorf("%d users in %v at 50/s", conn.count(), took)
		}
	})
}

func TestTypeNoneNeedsNoPush(t *testing.T) {
	s, err := New(&config.Voicemail{Name: "no-mailboxes", Type: "none"}, Options{})
	if err != nil {
		t.Fatal(err)
	}
	got, err := s.Push(t.Context(), Leg{})
	if err != nil || got.Result != outcome.Updated || got.Code != outcome.OK || got.Attempts != 0 || s.NeedsPush() {
		t.Errorf("%+v, %v", got, err)
	}
	if _, err := s.Check(t.Context()); err != nil || s.Close() != nil {
		t.Errorf("check: %v", err)
	}
}

func TestTypesThatAreNotThere(t *testing.T) {
	for kind, says := range map[string]string{"stream": "read its command", "unity": "read its url", "smtp": "stream or none", "": "stream or none"} {
		_, err := New(&config.Voicemail{Name: "x", Type: kind, Timeout: time.Second}, Options{})
		if err == nil || !strings.Contains(err.Error(), says) {
			t.Errorf("%q: %v", kind, err)
		}
	}
	if _, err := New(&config.Voicemail{Name: "x", Type: "exec", Command: []string{"/bin/true"}}, Options{}); err == nil || !strings.Contains(err.Error(), "timeout") {
		t.Errorf("no timeout: %v", err)
	}
}

func TestCheck(t *testing.T) {
	for _, tt := range []struct {
		answer Answer
		passes bool
	}{{accepted, true}, {rejected, true}, {noMailbox, false}, {denied, false}, {lostDenied, false}, {retryLater, false}, {unreachable, false}, {lost, false}} {
		conn := answers(tt.answer)
		s := NewWith(testConfig(), conn, Options{})
		s.Deny("from before")
		got, err := s.Check(t.Context())
		if passes := err == nil; passes != tt.passes || got != tt.answer {
			t.Errorf("%+v: %v", tt.answer, err)
		}
		if allowed := s.Denied() == nil; allowed != tt.passes {
			t.Errorf("%+v: allowed again %v", tt.answer, allowed)
		}
		if err != nil && !strings.Contains(err.Error(), tt.answer.Message) {
			t.Errorf("%+v: the error %v does not say why", tt.answer, err)
		}
	}
}

func TestAFailedAttemptSaysWhoseItIs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var log strings.Builder
		cfg := testConfig()
		cfg.Retries = 1
		s := NewWith(cfg, answers(lost, accepted), Options{Log: slog.New(slog.NewTextHandler(&log, nil))})
		if _, err := s.Push(t.Context(), Leg{Attempt: Attempt{RequestID: "r"}, Whose: []any{"job", int64(57), "user", "u12"}}); err != nil {
			t.Fatal(err)
		}
		if !strings.Contains(log.String(), "job=57 user=u12") {
			t.Errorf("the log says %s", log.String())
		}
	})
}
