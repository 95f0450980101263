package voicemail

import (
	"context"
	"sync"
	"time"
)

const (
	failuresToOpen = 5                // in a row, of two legs at least, open the breaker
	probeEvery     = 15 * time.Second // while it is open
	idleFresh      = 60 * time.Second // without a request, before a canary is sent again
	patience       = 5 * time.Second  // of a Retry-After that is waited for here
)

// gate lets attempts out to one system. It has four states:
//
//	unproven  nothing was answered since the start, a pause or idleFresh: one
//	          attempt, the canary, is let out at a time, the others wait for it
//	open      everything is let out
//	paused    nothing leaves before a time, because the breaker tripped or a
//	          Retry-After asks for it; then it is unproven, or open again
//	denied    nothing leaves until Allow
type gate struct {
	mu     sync.Mutex
	denied string        // what was said; "": not denied
	onFile bool          // that is on record
	before time.Time     // paused until
	reason string        // of the pause
	trip   bool          // the breaker is open: the canary is its probe
	others bool          // only because another node's is
	proven bool          // open
	canary chan struct{} // closed when the canary is back; nil: none is out

	out   int       // attempts let out
	quiet time.Time // since when there are none

	failed     int    // attempts in a row
	failedLeg  string // the leg of the last one
	failedMany bool   // they were of several legs
}

// pass lets one attempt out. It is given back by leave or abandon.
type pass struct{ canary bool }

// enter waits until the attempt may leave. It returns ErrStopped, a
// *PausedError or a *DeniedError where it may not.
func (g *gate) enter(ctx context.Context) (pass, error) {
	for {
		if ctx.Err() != nil {
			return pass{}, ErrStopped
		}
		p, wait, err := g.try(time.Now())
		if err != nil || wait == nil {
			return p, err
		}
		if err := wait(ctx); err != nil {
			return pass{}, err
		}
	}
}

// try gives a pass, or what to wait for before the next try, or why there will
// be none.
func (g *gate) try(now time.Time) (p pass, wait func(context.Context) error, err error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if err := g.shut(now); err != nil {
		return pass{}, nil, err
	}
	if d := g.before.Sub(now); d > 0 {
		return pass{}, func(ctx context.Context) error { return sleep(ctx, d) }, nil
	}
	if g.out == 0 && now.Sub(g.quiet) > idleFresh {
		g.proven = false
	}
	if !g.proven {
		if back := g.canary; back != nil {
			return pass{}, func(ctx context.Context) error { return await(ctx, back) }, nil
		}
		g.canary, p.canary = make(chan struct{}), true
	}
	g.out++
	return p, nil, nil
}

// shut says why nothing may leave for longer than is waited for here.
func (g *gate) shut(now time.Time) error {
	if g.denied != "" {
		return &DeniedError{Message: g.denied}
	}
	if wait := g.before.Sub(now); wait > patience || wait > 0 && g.trip {
		return &PausedError{Until: g.before, Reason: g.reason}
	}
	return nil
}

// closed is shut for those who are not about to enter.
func (g *gate) closed() error {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.shut(time.Now())
}

// abandon gives back the pass of an attempt that was not made.
func (g *gate) abandon(p pass) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.back(p)
}

func (g *gate) back(p pass) {
	g.out--
	if p.canary {
		close(g.canary)
		g.canary = nil
	}
}

// leave gives back the pass of an attempt and learns from its answer. It
// returns what changed by it.
func (g *gate) leave(p pass, leg string, a Answer) (change string) {
	g.mu.Lock()
	defer g.mu.Unlock()
	now := time.Now()
	g.back(p)
	g.quiet = now
	g.pause(now.Add(a.RetryAfter), "it asks for time (Retry-After)")
	switch {
	case a.Result == Denied:
		return g.deny(a.Message)
	case a.unavailable():
		return g.count(leg, now, a.Message)
	}
	g.failed, g.failedLeg, g.failedMany = 0, "", false
	g.proven = g.proven || a.Class == Answered
	if g.trip {
		g.trip, g.others = false, false
		return "it answers again"
	}
	return ""
}

// count adds a failure and opens the breaker when there are enough; while it is
// open each more, of a probe, keeps it so. The failures of one leg alone never open it: the fault
// may be with that user, who would hold up everyone else for ever.
func (g *gate) count(leg string, now time.Time, message string) (change string) {
	g.failed++
	g.failedMany = g.failedMany || g.failedLeg != "" && g.failedLeg != leg
	g.failedLeg = leg
	if g.failed < failuresToOpen || !g.failedMany {
		return ""
	}
	if !g.trip {
		change = "it keeps failing: paused"
	}
	g.trip, g.others, g.proven = true, false, false
	g.pause(now.Add(probeEvery), message)
	return change
}

func (g *gate) pause(until time.Time, reason string) {
	if until.After(g.before) {
		g.before, g.reason = until, reason
	}
}

// tripped returns until when the breaker is open by what was found out here.
func (g *gate) tripped() (until time.Time, reason string) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if !g.trip || g.others {
		return time.Time{}, ""
	}
	return g.before, g.reason
}

// follow opens the breaker because another node's is, or lets a probe out when
// it is not any more.
func (g *gate) follow(until time.Time, reason string) {
	g.mu.Lock()
	defer g.mu.Unlock()
	switch {
	case until.IsZero() && g.others:
		g.before, g.others = time.Time{}, false
	case !until.IsZero() && (!g.trip || g.others):
		g.trip, g.others, g.proven = true, true, false
		g.pause(until, reason)
	}
}

func (g *gate) deny(message string) (change string) {
	if g.denied != "" {
		return ""
	}
	g.denied, g.onFile, g.proven = message, false, false
	return "it denies us: stopped"
}

// refuse is deny for who does not hold the gate.
func (g *gate) refuse(message string) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.deny(message)
}

// set denies, or allows where denied is "".
func (g *gate) set(denied string, onFile bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.denied, g.onFile, g.proven = denied, onFile, false
}

func (g *gate) record() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.onFile = true
}

func (g *gate) unrecorded() string {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.onFile {
		return ""
	}
	return g.denied
}

func (g *gate) lift() {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.denied != "" && g.onFile {
		g.denied, g.proven = "", false
	}
}

// await waits for the canary, or returns ErrStopped at the end of ctx.
func await(ctx context.Context, canary <-chan struct{}) error {
	select {
	case <-canary:
		return nil
	case <-ctx.Done():
		return ErrStopped
	}
}

// sleep waits, or returns ErrStopped at the end of ctx.
func sleep(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return ErrStopped
	}
}
