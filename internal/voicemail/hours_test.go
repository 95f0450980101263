package voicemail

import (
	"testing"
	"time"

	"github.com/dirpin/dirpin/config"
)

func TestHours(t *testing.T) {
	t.Parallel()
	for _, x := range []struct {
		cron     string
		last     time.Duration
		zone     string
		now      string
		want     string // "": now
		whatever string
	}{
		{"0 20 * * 1-5", 8 * time.Hour, "Europe/Berlin", "2026-11-24T18:59:59Z", "2026-11-24T19:00:00Z", "a second before"},
		{"0 20 * * 1-5", 8 * time.Hour, "Europe/Berlin", "2026-11-24T19:00:00Z", "", "at the beginning"},
		{"0 20 * * 1-5", 8 * time.Hour, "Europe/Berlin", "2026-11-25T02:59:59Z", "", "in the night"},
		{"0 20 * * 1-5", 8 * time.Hour, "Europe/Berlin", "2026-11-25T03:00:00Z", "2026-11-25T19:00:00Z", "at the end"},
		{"0 20 * * 1-5", 8 * time.Hour, "Europe/Berlin", "2026-11-28T12:00:00Z", "2026-11-30T19:00:00Z", "on Saturday"},
		{"0 20 * * *", 8 * time.Hour, "Europe/Berlin", "2026-07-01T17:59:00Z", "2026-07-01T18:00:00Z", "in summer"},
		{"0 20 * * *", 8 * time.Hour, "Europe/Berlin", "2026-10-25T01:59:59Z", "", "the clock was set back in that night: still eight hours"},
		{"0 20 * * *", 8 * time.Hour, "Europe/Berlin", "2026-10-25T02:00:00Z", "2026-10-25T19:00:00Z", "and no more"},
		{"30 2 * * *", time.Hour, "Europe/Berlin", "2026-03-29T00:30:00Z", "2026-03-30T00:30:00Z", "an hour that there is not is left out"},
		{"0 */2 * * *", 3 * time.Hour, "UTC", "2026-11-24T03:30:00Z", "", "hours that overlap"},
		{"0 0 * * *", 24 * time.Hour, "UTC", "2026-11-24T00:00:00Z", "", "all day"},
	} {
		h, err := newHours(&config.Hours{Cron: x.cron, For: x.last, Timezone: x.zone})
		if err != nil {
			t.Fatal(err)
		}
		now, err := time.Parse(time.RFC3339, x.now)
		if err != nil {
			t.Fatal(err)
		}
		got := ""
		if opens := h.opens(now); !opens.IsZero() {
			got = opens.UTC().Format(time.RFC3339)
		}
		if got != x.want {
			t.Errorf("%s: %s opens %q, want %q", x.whatever, x.now, got, x.want)
		}
	}
	if _, err := New(&config.Voicemail{Type: "none", Hours: &config.Hours{Cron: "never", For: 1}}, Options{}); err == nil {
		t.Error("hours that cannot be read are taken")
	}
	var none *hours
	if !none.opens(time.Now()).IsZero() {
		t.Error("no hours are shut")
	}
}
