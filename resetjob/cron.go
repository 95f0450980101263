package resetjob

import (
	"time"

	"github.com/robfig/cron/v3"
)

// Cron is a schedule: a cron expression and the zone in which it is read.
type Cron struct {
	fields *cron.SpecSchedule // read in UTC
	zone   *time.Location
	hourly bool // every hour of the day: it follows the time that passes, not the clock on the wall
}

// ParseCron returns the schedule of a cron expression of five fields, or of
// @hourly, @daily, @weekly, @monthly and @yearly, in a zone of the IANA
// database. Its errors quote neither.
func ParseCron(expr, zone string) (*Cron, error) {
	loc, err := loadZone(zone)
	if err != nil {
		return nil, err
	}
	if err := checkCron(expr); err != nil {
		return nil, err
	}
	schedule, err := cron.ParseStandard("CRON_TZ=UTC " + expr)
	fields, ok := schedule.(*cron.SpecSchedule)
	if err != nil || !ok {
		return nil, errBadCron
	}
	const everyHour = 1<<24 - 1
	return &Cron{fields: fields, zone: loc, hourly: fields.Hour&everyHour == everyHour}, nil
}

// widest is more than any clock was ever set by at once.
const widest = 26 * time.Hour

// Next returns the first time of the schedule after t; the zero time where none
// comes within five years.
//
// A time that a clock which is set forward leaves out comes when it has been
// set. A time that comes twice, when the clock is set back, comes once, the
// first time; but a schedule of every hour goes on every hour.
func (c *Cron) Next(t time.Time) time.Time {
	if c.hourly {
		in := *c.fields
		in.Location = c.zone
		next := in.Next(t.In(c.zone))
		return next
	}
	wall := onWall(t.In(c.zone)).Add(-widest)
	for {
		if wall = c.fields.Next(wall); wall.IsZero() {
			return wall
		}
		if at := c.instant(wall); at.After(t) {
			return at
		}
	}
}

// onWall returns what a clock on the wall shows, as if that were UTC.
func onWall(t time.Time) time.Time {
	return time.Date(t.Year(), t.Month(), t.Day(), t.Hour(), t.Minute(), t.Second(), 0, time.UTC)
}

// instant returns when the clock on the wall first shows that, or what it shows
// next where it never does.
func (c *Cron) instant(wall time.Time) time.Time {
	at := time.Date(wall.Year(), wall.Month(), wall.Day(), wall.Hour(), wall.Minute(), 0, 0, c.zone)
	start, end := at.ZoneBounds()
	switch shown := onWall(at); {
	case shown.After(wall): // read by the offset before the gap
		return start
	case shown.Before(wall):
		return end
	}
	if start.IsZero() {
		return at
	}
	_, now := at.Zone()
	_, before := start.Add(-time.Second).Zone()
	if earlier := at.Add(time.Duration(now-before) * time.Second); earlier.Before(start) && onWall(earlier).Equal(wall) {
		return earlier
	}
	return at
}

// Latest returns the last time of the schedule that is not after now, from
// first on, which is one of them; and how many there were.
func (c *Cron) Latest(first, now time.Time) (time.Time, int) {
	latest, n := first, 1
	for {
		next := c.Next(latest)
		if next.IsZero() || next.After(now) {
			return latest, n
		}
		latest = next
		n++
	}
}
