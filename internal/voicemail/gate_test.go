package voicemail

import (
	"context"
	"errors"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/dirpin/dirpin/internal/outcome"
)

// pushes runs n legs at once and counts how they ended.
type ends struct {
	mu     sync.Mutex
	codes  map[outcome.Code]int
	paused int
	until  time.Time
	other  []error
}

func pushes(t *testing.T, s *System, n int) *ends {
	e := &ends{codes: make(map[outcome.Code]int)}
	var wg sync.WaitGroup
	for range n {
		wg.Go(func() { e.add(s.Push(t.Context(), newLeg())) })
	}
	wg.Wait()
	return e
}

func (e *ends) add(out Outcome, err error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	var paused *PausedError
	switch {
	case errors.As(err, &paused):
		e.paused++
		e.until = paused.Until
	case err != nil:
		e.other = append(e.other, err)
	default:
		e.codes[out.Code]++
	}
}

// slowly answers after a second.
func slowly(answer func(n int) Answer) *scripted {
	return &scripted{answer: func(_ context.Context, n int, _ Attempt) Answer {
		time.Sleep(time.Second)
		return answer(n)
	}}
}

func TestCanaryGoesFirst(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		conn := slowly(func(int) Answer { return accepted })
		s := NewWith(testConfig(), conn, Options{})
		go pushes(t, s, 8)
		synctest.Wait()
		if n := conn.count(); n != 1 {
			t.Fatalf("%d left before the canary was back", n)
		}
		time.Sleep(1500 * time.Millisecond)
		if n := conn.count(); n != 8 {
			t.Fatalf("%d left after it", n)
		}
		time.Sleep(59 * time.Second) // busy until 2 s
		before := conn.count()
		pushes(t, s, 3)
		if started := conn.sent[before].at; conn.sent[before+2].at != started {
			t.Error("a canary within a minute")
		}
		time.Sleep(61 * time.Second)
		before = conn.count()
		pushes(t, s, 3)
		if conn.sent[before+1].at == conn.sent[before].at || conn.sent[before+2].at != conn.sent[before+1].at {
			t.Error("no canary after a minute")
		}
	})
}

func TestCanaryThatIsNotAnsweredKeepsTheOthersWaiting(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		most, now := 0, 0
		var mu sync.Mutex
		conn := &scripted{answer: func(_ context.Context, n int, _ Attempt) Answer {
			mu.Lock()
			now++
			most = max(most, now)
			mu.Unlock()
			time.Sleep(time.Second)
			mu.Lock()
			now--
			mu.Unlock()
			if n < 3 {
				return retryLater
			}
			return rejected
		}}
		cfg := testConfig()
		cfg.Retries = 9
		s := NewWith(cfg, conn, Options{})
		got := make(chan int, 1)
		go func() {
			e := pushes(t, s, 8)
			got <- e.codes[outcome.VoicemailRejected]
		}()
		time.Sleep(3900 * time.Millisecond)
		mu.Lock()
		if most != 1 || conn.count() != 4 {
			t.Errorf("%d at once, %d in all before one was answered", most, conn.count())
		}
		mu.Unlock()
		if n := <-got; n != 8 || most < 2 {
			t.Errorf("%d of 8 ended, %d at once", n, most)
		}
	})
}

func TestDenialStopsEverything(t *testing.T) {
	for _, answer := range []Answer{denied, lostDenied, {Class: NotSent, Result: Denied, Message: "m certificate"}} {
		synctest.Test(t, func(t *testing.T) {
			conn := slowly(func(int) Answer { return answer })
			s := NewWith(testConfig(), conn, Options{})
			e := pushes(t, s, 8)
			var kept int
			if conn.count() != 1 || e.paused+len(e.other) != 0 {
				t.Fatalf("%d left; %+v", conn.count(), e)
			}
			out, err := s.Push(t.Context(), newLeg())
			if err != nil || out.Result != outcome.NotRun || out.Code != outcome.VoicemailDenied || out.Attempts != 0 {
				t.Errorf("later: %+v, %v", out, err)
			}
			uncertain := newLeg()
			uncertain.Prior = History{1, 1}
			if out, _ := s.Push(t.Context(), uncertain); out.Result != outcome.Failed || out.Code != outcome.VoicemailTimeout {
				t.Errorf("later, with a lost attempt: %+v", out)
			}
			if kept = conn.count(); kept != 1 || s.Denied() == nil {
				t.Errorf("%d left, %v", kept, s.Denied())
			}
			answer = accepted
			s.Allow()
			if e := pushes(t, s, 4); e.codes[outcome.OK] != 4 || conn.sent[1].at == conn.sent[2].at {
				t.Errorf("after Allow: %+v, without a canary %v", e, conn.sent[1].at == conn.sent[2].at)
			}
		})
	}
}

// A leg that holds a pass and waits for the rate does not leave after a denial.
func TestDenialStopsThoseThatWaitForTheRate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cfg := testConfig()
		cfg.Rate = 1
		conn := answers(accepted, denied)
		s := NewWith(cfg, conn, Options{})
		pushes(t, s, 1)
		e := pushes(t, s, 6)
		if conn.count() != 2 || e.codes[outcome.VoicemailDenied] != 6 {
			t.Errorf("%d left; %+v", conn.count(), e)
		}
	})
}

func TestBreaker(t *testing.T) {
	for _, failure := range []Answer{unreachable, lost} {
		synctest.Test(t, func(t *testing.T) {
			broken := false
			conn := &scripted{}
			conn.answer = func(context.Context, int, Attempt) Answer {
				time.Sleep(100 * time.Millisecond) // so that they overlap
				if broken {
					return failure
				}
				return accepted
			}
			s := NewWith(testConfig(), conn, Options{})
			pushes(t, s, 8)
			broken = true
			e := pushes(t, s, 8)
			if e.paused != 8 || time.Until(e.until) > probeEvery || time.Until(e.until) < probeEvery/2 {
				t.Fatalf("%+v", e)
			}
			before := conn.count()
			if e := pushes(t, s, 8); e.paused != 8 || conn.count() != before {
				t.Fatalf("open, and %d left: %+v", conn.count()-before, e)
			}
			for range 3 {
				time.Sleep(time.Until(e.until))
				before = conn.count()
				if e = pushes(t, s, 8); e.paused != 8 || conn.count() != before+1 {
					t.Fatalf("%d probes: %+v", conn.count()-before, e)
				}
			}
			time.Sleep(time.Until(e.until))
			broken = false
			if e := pushes(t, s, 8); e.codes[outcome.OK] != 8 {
				t.Fatalf("mended: %+v", e)
			}
		})
	}
}

// One user's fault is no reason to keep everyone else waiting, nor to wait for
// a day with that one.
func TestBreakerIsNotOpenedByOneLeg(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cfg := testConfig()
		cfg.Retries = 20
		poison := newLeg()
		conn := &scripted{answer: func(_ context.Context, _ int, a Attempt) Answer {
			if a.Body == poison.Body {
				return lost
			}
			return accepted
		}}
		s := NewWith(cfg, conn, Options{})
		out, err := s.Push(t.Context(), poison)
		if err != nil || out.Code != outcome.VoicemailTimeout || out.Attempts != 21 {
			t.Errorf("%+v, %v", out, err)
		}
		if e := pushes(t, s, 8); e.codes[outcome.OK] != 8 {
			t.Errorf("the others: %+v", e)
		}
	})
}

func TestBreakerNeedsFailuresInARow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cfg := testConfig()
		cfg.Retries = 0
		conn := &scripted{answer: func(_ context.Context, n int, _ Attempt) Answer {
			if n%5 == 4 {
				return retryLater // which shows that it is there
			}
			return unreachable
		}}
		s := NewWith(cfg, conn, Options{})
		for range 50 {
			if e := pushes(t, s, 1); e.paused != 0 {
				t.Fatalf("paused after %d", conn.count())
			}
		}
	})
}

func TestRetryAfterHoldsEverybody(t *testing.T) {
	for _, tt := range []struct {
		after  time.Duration
		paused int
	}{{3 * time.Second, 0}, {time.Minute, 5}} {
		synctest.Test(t, func(t *testing.T) {
			conn := answers(accepted, Answer{Class: NotSent, Result: Retry, RetryAfter: tt.after}, accepted)
			cfg := testConfig()
			s := NewWith(cfg, conn, Options{})
			pushes(t, s, 1)
			e := &ends{codes: make(map[outcome.Code]int)}
			first := make(chan struct{})
			go func() { defer close(first); e.add(s.Push(t.Context(), newLeg())) }()
			synctest.Wait()
			asked := time.Now()
			rest := pushes(t, s, 4)
			<-first
			if e.paused+rest.paused != tt.paused {
				t.Errorf("%v: %d paused, want %d", tt.after, e.paused+rest.paused, tt.paused)
			}
			for _, sent := range conn.sent[2:] {
				if wait := sent.at.Sub(asked); wait < tt.after {
					t.Errorf("%v: an attempt left after %v", tt.after, wait)
				}
			}
			if tt.paused > 0 && rest.until.Sub(asked) != tt.after {
				t.Errorf("paused for %v", rest.until.Sub(asked))
			}
		})
	}
}

func TestStopFreesThoseWhoWait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, stop := context.WithCancel(t.Context())
		conn := slowly(func(int) Answer { return Answer{Class: NotSent, Result: Retry, RetryAfter: 4 * time.Second} })
		s := NewWith(testConfig(), conn, Options{})
		var wg sync.WaitGroup
		for range 8 { // one in its backoff, the others before the gate
			wg.Go(func() {
				if _, err := s.Push(ctx, newLeg()); !errors.Is(err, ErrStopped) {
					t.Errorf("got %v", err)
				}
			})
		}
		time.Sleep(2 * time.Second)
		stopped := time.Now()
		stop()
		wg.Wait()
		if took := time.Since(stopped); took != 0 || conn.count() != 1 {
			t.Errorf("after %v, with %d attempts", took, conn.count())
		}
	})
}

// A pass that is given back unused lets the next canary go.
func TestAbandonedCanary(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		conn := answers(accepted)
		s := NewWith(testConfig(), conn, Options{})
		leg := newLeg()
		leg.Begin = func(History) error { time.Sleep(time.Second); return errors.New("no") }
		go s.Push(t.Context(), leg)
		synctest.Wait()
		if e := pushes(t, s, 3); e.codes[outcome.OK] != 3 {
			t.Errorf("%+v", e)
		}
	})
}

func TestCanaryAfterADenialFromOutside(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		conn := slowly(func(int) Answer { return accepted })
		s := NewWith(testConfig(), conn, Options{})
		pushes(t, s, 2)
		s.Deny("another node was denied")
		if e := pushes(t, s, 2); e.codes[outcome.VoicemailDenied] != 2 || conn.count() != 2 {
			t.Errorf("%+v", e)
		}
		s.Allow()
		pushes(t, s, 2)
		if conn.sent[2].at == conn.sent[3].at {
			t.Error("no canary")
		}
	})
}
