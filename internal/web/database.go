package web

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/dirpin/dirpin/internal/store"
	"github.com/dirpin/dirpin/internal/voicemail"
)

// usersFor is how long the number of users is believed: to count a million
// takes a moment, and Prometheus asks every few seconds.
const usersFor = 30 * time.Second

// database collects what stands in the database, and what the systems do.
type database struct {
	store   *store.Store
	systems func() []*voicemail.System

	mu      sync.Mutex
	users   []store.StatusCount
	counted time.Time

	usersDesc, jobs, queueAge, uncertain, openItems *prometheus.Desc
	syncAge, pending, latch, breaker, scrapeError   *prometheus.Desc
}

func newDatabase(s *store.Store, systems func() []*voicemail.System) *database {
	desc := func(name, help string, labels ...string) *prometheus.Desc {
		return prometheus.NewDesc("dirpin_"+name, help, labels, nil)
	}
	return &database{store: s, systems: systems,
		usersDesc:   desc("users", "Users in the local store, by agreement (empty: local) and status.", "agreement", "status"),
		jobs:        desc("jobs", "Jobs in the database, by state.", "state"),
		queueAge:    desc("queue_age_seconds", "How long the oldest job has waited that nobody has begun; 0 where none waits."),
		uncertain:   desc("uncertain_users", "Users of jobs that can be tried again of whom it is not known whether the voicemail system or directory was changed."),
		openItems:   desc("job_users_left", "Users without a result in jobs that run or are paused."),
		syncAge:     desc("sync_age_seconds", "How long ago the last complete answer of a directory came.", "agreement"),
		pending:     desc("sync_pending_losses", "Losses that wait for the guard, or for a job to let go of the user.", "agreement"),
		latch:       desc("voicemail_denied", "1 while a system has denied us and nothing is sent to it; dirpin doctor lifts it.", "system"),
		breaker:     desc("voicemail_paused", "1 while the breaker of a system is open.", "system"),
		scrapeError: desc("database_read_failed", "1 if the database could not be read for this scrape."),
	}
}

// Describe sends every description.
func (d *database) Describe(ch chan<- *prometheus.Desc) {
	for _, desc := range []*prometheus.Desc{d.usersDesc, d.jobs, d.queueAge, d.uncertain, d.openItems, d.syncAge, d.pending, d.latch, d.breaker, d.scrapeError} {
		ch <- desc
	}
}

// Collect reads what there is now.
func (d *database) Collect(ch chan<- prometheus.Metric) {
	gauge := func(desc *prometheus.Desc, v float64, labels ...string) {
		ch <- prometheus.MustNewConstMetric(desc, prometheus.GaugeValue, v, labels...)
	}
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	var f store.Figures
	err := d.store.Read(ctx, func(tx *store.Tx) (err error) { f, err = tx.Figures(); return err })
	users, err2 := d.countUsers(ctx)
	err = errors.Join(err, err2)
	gauge(d.scrapeError, number(err != nil))
	if err != nil {
		return
	}
	for _, u := range users {
		gauge(d.usersDesc, float64(u.N), u.Agreement, string(u.Status))
	}
	for state, n := range f.Jobs {
		gauge(d.jobs, float64(n), string(state))
	}
	gauge(d.queueAge, f.QueueAge.Seconds())
	gauge(d.uncertain, float64(f.Uncertain))
	gauge(d.openItems, float64(f.Left))
	for _, a := range f.Agreements {
		if !a.Completed.IsZero() {
			gauge(d.syncAge, d.store.Now().Sub(a.Completed).Seconds(), a.Name)
		}
		gauge(d.pending, float64(a.Pending), a.Name)
	}
	for _, s := range d.systems() {
		var denied *voicemail.DeniedError
		var paused *voicemail.PausedError
		closed := s.Closed()
		gauge(d.latch, number(errors.As(closed, &denied) || f.Latched[s.Name()]), s.Name())
		gauge(d.breaker, number(errors.As(closed, &paused)), s.Name())
	}
}

func (d *database) countUsers(ctx context.Context) ([]store.StatusCount, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if time.Since(d.counted) < usersFor {
		return d.users, nil
	}
	err := d.store.Read(ctx, func(tx *store.Tx) (err error) { d.users, err = tx.CountByStatus(); return err })
	if err == nil {
		d.counted = time.Now()
	}
	return d.users, err
}
