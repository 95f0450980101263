package config

import (
	"errors"
	"strings"
	"time"

	"github.com/robfig/cron/v3"
)

// Errors of Cron and Zone, which never quote what they were given.
var (
	errCron      = errors.New("a cron expression of five fields is needed (minute, hour, day of month, month, day of week), or @daily and the like")
	errCronZone  = errors.New("the time zone stands in its own key, timezone")
	errCronEvery = errors.New("@every is counted from no fixed time: write the times out, such as */15 * * * *")
	errCronNever = errors.New("this time never comes")
	errZone      = errors.New("no such time zone; use a name such as Europe/Berlin")
)

// Cron reads a cron expression of five fields, or a descriptor such as @daily.
func Cron(expression string) (cron.Schedule, error) {
	switch {
	case strings.Contains(expression, "TZ="):
		return nil, errCronZone
	case strings.HasPrefix(expression, "@every"):
		return nil, errCronEvery
	case len(expression) > 256:
		return nil, errCron
	}
	schedule, err := cron.ParseStandard(expression)
	if err != nil {
		return nil, errCron
	}
	if schedule.Next(time.Date(2024, 1, 1, 0, 0, 0, 0, time.UTC)).IsZero() {
		return nil, errCronNever
	}
	return schedule, nil
}

// Zone returns the named zone of the IANA database.
func Zone(name string) (*time.Location, error) {
	loc, err := time.LoadLocation(name)
	if err != nil || name == "" {
		return nil, errZone
	}
	return loc, nil
}
