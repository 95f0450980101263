package voicemail

import (
	"time"

	"golang.org/x/time/rate"
)

// Part is one of several equal parts of what a system allows; of several
// nodes each has another one. The part of none is nothing.
type Part struct{ I, Of int }

// Whole is the part of a node that is alone.
var Whole = Part{0, 1}

// slots is how many of so many the part has. Where there are fewer than parts
// the first ones have one each.
func (p Part) slots(of int) int {
	switch {
	case p.Of == 0:
		return 0
	case of < p.Of && p.I < of:
		return 1
	}
	return of / p.Of
}

func (p Part) rate(of rate.Limit) rate.Limit {
	if of == rate.Inf || p.Of == 0 { // without a slot nothing leaves
		return of
	}
	return of / rate.Limit(p.Of)
}

// Share makes the system's rate and concurrency a part of what is configured.
func (s *System) Share(p Part) {
	if limit := p.rate(s.limit); s.rate.Limit() != limit {
		s.rate.SetLimit(limit)
	}
	s.slots.Resize(p.slots(s.concurrency))
}

// Shrink is Share where that is less than the system has, and tells whether no
// more is on the wire than the part allows.
func (s *System) Shrink(p Part) bool {
	if limit := p.rate(s.limit); s.rate.Limit() > limit {
		s.rate.SetLimit(limit)
	}
	return s.slots.Shrink(p.slots(s.concurrency))
}

// Tripped tells until when and why the system's own breaker keeps everybody
// from it; the zero time where it does not.
func (s *System) Tripped() (until time.Time, reason string) { return s.gate.tripped() }

// Follow keeps everybody from the system until then, because the breaker of
// another node is open; the zero time ends that, and a probe is let out.
func (s *System) Follow(until time.Time, reason string) { s.gate.follow(until, reason) }
