package resetjob

import (
	"fmt"
	"testing"
	"time"

	"pgregory.net/rapid"
)

func TestCronNext(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct{ name, expr, zone, after, want string }{
		{"plain", "0 2 1 * *", "UTC", "2026-11-24T12:00:00Z", "2026-12-01T02:00:00Z"},
		{"in its zone", "0 2 1 * *", "Europe/Berlin", "2026-11-24T12:00:00Z", "2026-12-01T01:00:00Z"},
		{"strictly after", "0 2 * * *", "UTC", "2026-11-24T02:00:00Z", "2026-11-25T02:00:00Z"},
		{"gap: when the clock has been set", "30 2 * * *", "Europe/Berlin", "2026-03-28T02:00:00Z", "2026-03-29T01:00:00Z"},
		{"gap: the day after as ever", "30 2 * * *", "Europe/Berlin", "2026-03-29T01:00:00Z", "2026-03-30T00:30:00Z"},
		{"gap: two times in it are one", "0,30 2 * * *", "Europe/Berlin", "2026-03-29T01:00:00Z", "2026-03-30T00:00:00Z"},
		{"gap in the west", "30 2 * * *", "America/New_York", "2026-03-08T05:00:00Z", "2026-03-08T07:00:00Z"},
		{"gap at midnight", "0 0 * * *", "America/Santiago", "2026-09-05T12:00:00Z", "2026-09-06T04:00:00Z"},
		{"overlap: the first", "30 2 * * *", "Europe/Berlin", "2026-10-24T12:00:00Z", "2026-10-25T00:30:00Z"},
		{"overlap: not the second", "30 2 * * *", "Europe/Berlin", "2026-10-25T00:30:00Z", "2026-10-26T01:30:00Z"},
		{"overlap in the west", "30 1 * * *", "America/New_York", "2026-11-01T05:30:00Z", "2026-11-02T06:30:00Z"},
		{"overlap: every hour goes on", "0 * * * *", "Europe/Berlin", "2026-10-25T00:00:00Z", "2026-10-25T01:00:00Z"},
		{"gap: every hour goes on", "0 * * * *", "Europe/Berlin", "2026-03-29T00:00:00Z", "2026-03-29T01:00:00Z"},
		{"half an hour's gap", "15 2 * * *", "Australia/Lord_Howe", "2026-10-03T12:00:00Z", "2026-10-03T15:30:00Z"},
		{"a day that was left out", "0 12 * * *", "Pacific/Apia", "2011-12-29T22:00:00Z", "2011-12-30T10:00:00Z"},
		{"leap day", "0 0 29 2 *", "UTC", "2026-11-24T00:00:00Z", "2028-02-29T00:00:00Z"},
		{"weekday or day", "0 0 13 * 5", "UTC", "2026-11-24T00:00:00Z", "2026-11-27T00:00:00Z"},
		{"@monthly", "@monthly", "Asia/Tokyo", "2026-11-24T00:00:00Z", "2026-11-30T15:00:00Z"},
	} {
		c, err := ParseCron(tt.expr, tt.zone)
		if err != nil {
			t.Fatal(err)
		}
		after, _ := time.Parse(time.RFC3339, tt.after)
		if got := c.Next(after).UTC().Format(time.RFC3339); got != tt.want {
			t.Errorf("%s: after %s comes %s, want %s", tt.name, tt.after, got, tt.want)
		}
	}
}

// Whatever the zone does, times come in order, none twice, and a daily one on
// every day that there is.
func TestCronOnceADay(t *testing.T) {
	t.Parallel()
	zones := []string{"Europe/Berlin", "America/New_York", "America/Santiago", "Australia/Lord_Howe", "Pacific/Chatham", "Africa/Casablanca", "Asia/Tehran", "UTC"}
	rapid.Check(t, func(t *rapid.T) {
		zone := rapid.SampledFrom(zones).Draw(t, "zone")
		hour, minute := rapid.IntRange(0, 23).Draw(t, "hour"), rapid.IntRange(0, 59).Draw(t, "minute")
		c, err := ParseCron(fmt.Sprintf("%d %d * * *", minute, hour), zone)
		if err != nil {
			t.Fatal(err)
		}
		at := time.Date(rapid.IntRange(2000, 2035).Draw(t, "year"), 1, 1, 12, 0, 0, 0, time.UTC)
		days := make(map[string]bool)
		for range 366 {
			next := c.Next(at)
			if !next.After(at) || next.Sub(at) > 26*time.Hour && len(days) > 0 {
				t.Fatalf("%s, %d:%02d: after %s comes %s", zone, hour, minute, at, next)
			}
			day := next.In(c.zone).Format(time.DateOnly)
			if days[day] {
				t.Fatalf("%s, %d:%02d: twice on %s", zone, hour, minute, day)
			}
			days[day] = true
			at = next
		}
	})
}
