package resetjob

import (
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/robfig/cron/v3"

	"github.com/dirpin/dirpin/internal/strictyaml"
)

func runKeys() []string { return []string{"at", "cron", "timezone", "until"} }

func (jd *jobDecoder) run(n *strictyaml.Node) {
	run := &jd.job.Run
	switch {
	case n == nil:
		run.Now = true
		return
	case n.Kind != strictyaml.Mapping:
		switch word, _ := jd.d.Enum(n, "now", "held"); word {
		case "now":
			run.Now = true
		case "held":
			run.Held = true
		}
		return
	}
	m := jd.d.Mapping(n, runKeys()...)
	switch at, cron := m.Has("at"), m.Has("cron"); {
	case at && cron:
		jd.d.Fault(m.Key("cron"), "run: only one of at and cron can be said")
	case cron:
		jd.schedule(m)
		return
	case !at:
		jd.d.Fault(n, "run: now, held, {at: …} or {cron: …, timezone: …} is needed")
	}
	for _, key := range []string{"timezone", "until"} {
		if m.Has(key) && !m.Has("cron") {
			jd.d.Fault(m.Key(key), "run: %s goes with cron only", key)
		}
	}
	if t, ok := jd.d.Time(m.Get("at")); ok {
		jd.ahead(m.Get("at"), "at", t)
		run.At = t
	}
}

// ahead reports a time that has passed, of which a run in the foreground takes
// no notice.
func (jd *jobDecoder) ahead(n *strictyaml.Node, key string, t time.Time) bool {
	switch {
	case t.After(jd.opts.Now):
		return true
	case jd.opts.Foreground || jd.opts.Accepted:
		jd.d.Warn(n, "%s: this time has passed", key)
	default:
		jd.d.Fault(n, "%s: this time has passed", key)
	}
	return false
}

func (jd *jobDecoder) schedule(m *strictyaml.Keyed) {
	run := &jd.job.Run
	expr, exprOK := jd.d.String(m.Get("cron"))
	zone, zoneOK := jd.d.String(jd.d.Require(m, "timezone"))
	if t, ok := jd.d.Time(m.Get("until")); ok && jd.ahead(m.Get("until"), "until", t) {
		run.Until = t
	}
	if zoneOK {
		if _, err := loadZone(zone); err != nil {
			jd.d.Fault(m.Get("timezone"), "timezone: %v", err)
			zoneOK = false
		}
	}
	if exprOK {
		if err := checkCron(expr); err != nil {
			jd.d.Fault(m.Get("cron"), "cron: %v", err)
			exprOK = false
		}
	}
	if !exprOK || !zoneOK {
		return
	}
	run.Cron, run.Timezone = expr, zone
	schedule, err := ParseCron(expr, zone)
	if err != nil {
		jd.d.Fault(m.Get("cron"), "cron: %v", err)
		return
	}
	switch first := schedule.Next(jd.opts.Now); {
	case first.IsZero():
		jd.d.Fault(m.Get("cron"), "cron: no such day ever comes")
	case !run.Until.IsZero() && first.After(run.Until):
		jd.d.Fault(m.Get("until"), "until: the schedule's first run comes after it: the job would never run")
	}
}

func loadZone(zone string) (*time.Location, error) {
	// The zone of this machine may be another one tomorrow.
	if zone == "" || zone == "Local" || strings.ContainsFunc(zone, notOneLine) || strings.Contains(zone, " ") {
		return nil, errBadZone
	}
	loc, err := time.LoadLocation(zone)
	if err != nil {
		return nil, errBadZone
	}
	return loc, nil
}

var (
	errBadZone = errors.New("a zone of the IANA database is needed, such as Europe/Berlin or UTC")
	errBadCron = errors.New(`five fields are needed, minute, hour, day of the month, month and day of the week, such as "0 2 1 * *", or @hourly, @daily, @weekly, @monthly, @yearly`)
)

// checkCron says which field of an expression is wrong, which the library
// says by quoting it.
func checkCron(expr string) error {
	if strings.HasPrefix(expr, "@") {
		// @every counts from the start of the program and not by the clock.
		if _, err := cron.ParseStandard(expr); err != nil || strings.HasPrefix(expr, "@every") {
			return errBadCron
		}
		return nil
	}
	fields := strings.Fields(expr)
	// The library takes TZ= before the fields, and panics where that is all.
	if len(fields) != 5 || len(expr) > 1000 || strings.Contains(expr, "=") {
		return errBadCron
	}
	for i, option := range []cron.ParseOption{cron.Minute, cron.Hour, cron.Dom, cron.Month, cron.Dow} {
		if _, err := cron.NewParser(option).Parse(fields[i]); err != nil {
			name := []string{"minute, 0–59", "hour, 0–23", "day of the month, 1–31", "month, 1–12 or jan–dec", "day of the week, 0–6 or sun–sat"}[i]
			return fmt.Errorf("field %d is wrong (%s); *, lists 1,15, ranges 1-5 and steps */10 may stand there", i+1, name)
		}
	}
	return nil
}
