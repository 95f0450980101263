package ldapsync

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/dirpin/dirpin/config"
	"github.com/dirpin/dirpin/internal/roster"
)

// Hold is a refusal of the guard: so many losses of one kind are pending, and
// stay so.
type Hold struct {
	Measure roster.Measure // Kind is LossAbsent for leaving and disabling together
	Pending int            // losses of this kind that wait
	Applied int            // losses of this kind within the window
	Limit   int
	Base    int  // active users when the window began
	Nobody  bool // held because nobody active would be left
	Changed bool // base, filter, bind account or mapping changed since the last sync
	Window  time.Duration
}

// String says what is held and why, for people.
func (h Hold) String() string {
	what := map[roster.Kind]string{
		roster.LossAbsent: "users would leave", roster.LossUserID: "user ids would change",
		roster.LossReplaced: "users would be replaced by others with the same user id",
		roster.LossRemoved:  "users would be removed", roster.LossBlank: "users would lose their " + strings.ReplaceAll(string(h.Measure.Field), "_", " "),
	}[h.Measure.Kind]
	text := fmt.Sprintf("%d of %d %s", h.Pending, h.Base, what)
	if h.Applied > 0 {
		text += fmt.Sprintf(", after %d within %v", h.Applied, h.Window)
	}
	if h.Nobody {
		text += "; no active user would be left"
	} else {
		text += fmt.Sprintf("; the guard lets %d through", h.Limit)
	}
	if h.Changed {
		text += "; base, filter, bind account or attributes were changed since the last sync"
	}
	return text
}

// measureOf returns what a loss counts as.
func measureOf(l roster.Loss) roster.Measure {
	return judged(roster.Measure{Kind: l.Kind, Field: l.Field})
}

// judged returns the measure under which the guard counts: leaving and
// disabling are one.
func judged(m roster.Measure) roster.Measure {
	if m.Kind == roster.LossDisabled || m.Kind == roster.LossExpired {
		m.Kind = roster.LossAbsent
	}
	if m.Kind != roster.LossBlank {
		m.Field = ""
	}
	return m
}

// judge returns what the guard holds. Whatever is pending and not held may be
// applied.
func judge(g config.Guard, t roster.Tally) []Hold {
	pending, applied := sum(t.Pending), sum(t.Applied)
	leave := roster.Measure{Kind: roster.LossAbsent}
	// Who left within the window was active when it began, or came later and
	// makes the base no larger than it is now.
	base := t.Active + applied[leave]
	var holds []Hold
	for m, n := range pending {
		if n == 0 {
			continue
		}
		limit := g.MaxDeactivate
		if m.Kind == roster.LossBlank {
			limit = g.MaxBlank
		}
		h := Hold{Measure: m, Pending: n, Applied: applied[m], Limit: limit.Of(base), Base: base, Window: g.Window}
		everyone := limit.Percent && limit.N >= 100
		h.Nobody = m == leave && n >= t.Active && !everyone
		if h.Nobody || h.Pending+h.Applied > h.Limit {
			holds = append(holds, h)
		}
	}
	slices.SortFunc(holds, func(a, b Hold) int { return strings.Compare(a.String(), b.String()) })
	return holds
}

func sum(counts map[roster.Measure]int) map[roster.Measure]int {
	sums := make(map[roster.Measure]int)
	for m, n := range counts {
		sums[judged(m)] += n
	}
	return sums
}

// held tells whether a loss is among what the guard holds.
func held(holds []Hold, l roster.Loss) bool {
	m := measureOf(l)
	return slices.ContainsFunc(holds, func(h Hold) bool { return h.Measure == m })
}
