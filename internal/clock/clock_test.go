package clock

import (
	"testing"
	"time"
)

func TestGuard(t *testing.T) {
	t.Parallel()
	start := time.Date(2026, 12, 1, 2, 0, 0, 0, time.UTC)
	type step struct {
		elapsed, wall time.Duration
		believed      bool
		back          bool
	}
	for _, tt := range []struct {
		name  string
		last  time.Time
		steps []step
	}{
		{"a clock that goes on", time.Time{}, []step{{0, 0, true, false}, {time.Hour, time.Hour, true, false}, {2 * time.Hour, 2*time.Hour + 4*time.Minute, true, false}}},
		{"slowly wrong", time.Time{}, []step{{0, 0, true, false}, {time.Hour, time.Hour + 4*time.Minute, true, false}, {2 * time.Hour, 2*time.Hour + 8*time.Minute, true, false}}},
		{"forward", time.Time{}, []step{{0, 0, true, false}, {time.Minute, 9000 * time.Hour, false, false}, {90 * time.Second, 9000*time.Hour + 30*time.Second, false, false}, {2 * time.Minute, 9000*time.Hour + time.Minute, true, false}}},
		{"forward and back", time.Time{}, []step{{0, 0, true, false}, {time.Minute, 9000 * time.Hour, false, false}, {2 * time.Minute, 2 * time.Minute, false, false}, {3 * time.Minute, 3 * time.Minute, true, false}}},
		{"back", time.Time{}, []step{{0, 0, true, false}, {time.Minute, -time.Hour, false, false}, {2 * time.Minute, -59 * time.Minute, true, true}, {3 * time.Minute, -58 * time.Minute, true, false}}},
		{"started before the last time", start.Add(time.Hour), []step{{0, 0, false, false}, {time.Minute, time.Minute, true, true}}},
		{"started after the last time", start.Add(-time.Hour), []step{{0, 0, true, false}}},
		{"a clock that does not come to rest", time.Time{}, []step{{0, 0, true, false}, {time.Minute, time.Hour, false, false}, {2 * time.Minute, 2 * time.Hour, false, false}, {3 * time.Minute, 3 * time.Hour, false, false}}},
	} {
		g := NewGuard(tt.last)
		for i, s := range tt.steps {
			doubt, again := g.See(Reading{Wall: start.Add(s.wall), Elapsed: s.elapsed})
			if (doubt == "") != s.believed || (again > 0) == s.believed {
				t.Errorf("%s, reading %d: %q, again in %s", tt.name, i, doubt, again)
			}
			if back := g.WentBack(); back != s.back {
				t.Errorf("%s, reading %d: went back: %v", tt.name, i, back)
			}
		}
	}
}
