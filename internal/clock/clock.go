// Package clock tells whether the wall clock can be believed: a machine that
// wakes with its clock years ahead must not start every job that is due until
// then, nor one whose clock was set back do today's work twice.
package clock

import (
	"fmt"
	"time"
)

const (
	// jump is by how much the wall clock may leave the time that passes between
	// two readings.
	jump = 5 * time.Minute
	// apart is how far apart two readings must be that agree, and agree is by
	// how much they may differ.
	apart = time.Minute
	agree = 5 * time.Second
)

// Reading is what the clocks showed at one moment.
type Reading struct {
	Wall    time.Time
	Elapsed time.Duration // of a clock that nobody sets, from any beginning
}

// Reader returns a function that reads the clocks of this machine, or another
// wall clock instead of its own; nil: its own.
func Reader(wall func() time.Time) func() Reading {
	begun := time.Now()
	return func() Reading {
		r := Reading{Wall: time.Now().Round(0), Elapsed: time.Since(begun)}
		if wall != nil {
			r.Wall = wall().Round(0)
		}
		return r
	}
}

// Guard judges readings, which it is shown in order. It is not safe for
// concurrent use.
type Guard struct {
	last   time.Time // that anybody saw before this guard
	seen   bool
	before Reading
	doubt  string  // why the clock is not believed; "": it is
	from   Reading // the first of two readings that must agree
	back   bool    // it was set back since it was believed last
}

// NewGuard returns a guard; last is the latest time that an earlier process has
// seen, the zero time where none has.
func NewGuard(last time.Time) *Guard { return &Guard{last: last} }

// See judges a reading. With a doubt, which is for people, nothing may be done by
// the clock; again says when the next reading can end it.
func (g *Guard) See(r Reading) (doubt string, again time.Duration) {
	switch {
	case !g.seen:
		if r.Wall.Before(g.last) {
			g.suspect(r, fmt.Sprintf("the clock shows a time before that of the last run: it was %s then", g.last.UTC().Format(time.RFC3339)))
			g.back = true
		}
	case g.doubt == "" && gap(g.before, r).Abs() > jump:
		by := gap(g.before, r)
		g.back = by < 0
		g.suspect(r, fmt.Sprintf("the clock was set by %s", by.Round(time.Second)))
	case g.doubt != "" && r.Elapsed-g.from.Elapsed >= apart:
		if gap(g.from, r).Abs() <= agree {
			g.doubt = ""
		} else {
			g.from = r
		}
	}
	g.seen, g.before = true, r
	if g.doubt == "" {
		return "", 0
	}
	return g.doubt, max(apart-(r.Elapsed-g.from.Elapsed), time.Second)
}

func (g *Guard) suspect(r Reading, why string) {
	g.doubt = why + "; nothing is done by it until two readings a minute apart agree"
	g.from = r
}

// WentBack tells, once, whether the clock was set back and is believed again:
// what was to come next by the old clock may come too late.
func (g *Guard) WentBack() bool {
	if g.doubt != "" || !g.back {
		return false
	}
	g.back = false
	return true
}

// gap returns by how much more the wall clock went on than time passed.
func gap(a, b Reading) time.Duration { return b.Wall.Sub(a.Wall) - (b.Elapsed - a.Elapsed) }
