package voicemail

import (
	"fmt"
	"time"

	"github.com/robfig/cron/v3"

	"github.com/dirpin/dirpin/config"
)

// hours are when pushes may begin.
type hours struct {
	schedule cron.Schedule // of their beginnings
	last     time.Duration
	zone     *time.Location
}

func newHours(cfg *config.Hours) (*hours, error) {
	if cfg == nil {
		return nil, nil
	}
	h := &hours{last: cfg.For, zone: time.Local}
	var err error
	if h.schedule, err = config.Cron(cfg.Cron); err != nil {
		return nil, fmt.Errorf("hours: cron: %w", err)
	}
	if cfg.Timezone != "" {
		if h.zone, err = config.Zone(cfg.Timezone); err != nil {
			return nil, fmt.Errorf("hours: timezone: %w", err)
		}
	}
	return h, nil
}

// opens returns when pushes may begin, if not now; else the zero time. It is the
// wall clock that counts: hours that begin at 20:00 do so through the change to
// summer time, and last as long as ever.
func (h *hours) opens(now time.Time) time.Time {
	if h == nil {
		return time.Time{}
	}
	// Of several that overlap the earliest that has not ended counts.
	begins := h.schedule.Next(now.In(h.zone).Add(-h.last))
	if !begins.After(now) {
		return time.Time{}
	}
	return begins
}

// HasHours tells whether the system is pushed to at certain hours only.
func (s *System) HasHours() bool { return s.hours != nil }

// Opens returns when the hours of the system begin; the zero time if they are
// now, or it has none. What has begun may be finished outside of them.
func (s *System) Opens(now time.Time) time.Time { return s.hours.opens(now) }
