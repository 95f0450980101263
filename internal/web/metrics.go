package web

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"

	"github.com/dirpin/dirpin/internal/outcome"
	"github.com/dirpin/dirpin/internal/store"
	"github.com/dirpin/dirpin/internal/voicemail"
	"github.com/dirpin/dirpin/ldapsync"
)

// Metrics are what Prometheus is shown. What stands in the database is read
// when it asks; the rest is counted here as it happens.
type Metrics struct {
	registry *prometheus.Registry

	syncRuns     *prometheus.CounterVec
	syncOK       *prometheus.GaugeVec
	syncFailures *prometheus.GaugeVec
	syncSeconds  *prometheus.GaugeVec
	syncChanges  *prometheus.CounterVec
	syncHeld     *prometheus.GaugeVec
	following    *prometheus.GaugeVec
	jobsEnded    *prometheus.CounterVec
	items        *prometheus.CounterVec
	attempts     *prometheus.CounterVec
	hookSeconds  *prometheus.HistogramVec
	reloadOK     prometheus.Gauge
	reloadTime   prometheus.Gauge
	known        map[string]bool // agreements
}

// NewMetrics returns the metrics of a daemon of that version, and of its
// database.
func NewMetrics(version string, s *store.Store, systems func() []*voicemail.System) *Metrics {
	gauge := func(name, help string, labels ...string) *prometheus.GaugeVec {
		return prometheus.NewGaugeVec(prometheus.GaugeOpts{Name: "dirpin_" + name, Help: help}, labels)
	}
	counter := func(name, help string, labels ...string) *prometheus.CounterVec {
		return prometheus.NewCounterVec(prometheus.CounterOpts{Name: "dirpin_" + name, Help: help}, labels)
	}
	m := &Metrics{
		registry:     prometheus.NewRegistry(),
		syncRuns:     counter("sync_runs_total", "Synchronizations, by how they ended: ok, held (the guard keeps losses back) or failed.", "agreement", "result"),
		syncOK:       gauge("sync_last_ok", "1 if the last synchronization went well, 0 if it failed.", "agreement"),
		syncFailures: gauge("sync_failures", "Synchronizations that failed in a row.", "agreement"),
		syncSeconds:  gauge("sync_last_duration_seconds", "How long the last synchronization took.", "agreement"),
		syncChanges:  counter("sync_changes_total", "Users that synchronizations changed.", "agreement", "change"),
		syncHeld:     gauge("sync_guard_holds", "Kinds of losses that the guard held back at the last synchronization.", "agreement"),
		following:    gauge("sync_following", "1 while changes arrive as they happen.", "agreement"),
		jobsEnded:    counter("jobs_ended_total", "Jobs that ended while this process ran, by state.", "state"),
		items:        counter("items_total", "Users that jobs of this process are done with, by code.", "code"),
		attempts:     counter("hook_attempts_total", "Requests to voicemail systems and directories, by what their answer was.", "system", "answer"),
		hookSeconds: prometheus.NewHistogramVec(prometheus.HistogramOpts{Name: "dirpin_hook_duration_seconds", Help: "How long requests to voicemail systems and directories took.",
			Buckets: []float64{.005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 30}}, []string{"system"}),
		reloadOK:   prometheus.NewGauge(prometheus.GaugeOpts{Name: "dirpin_config_last_reload_successful", Help: "1 if the configuration was taken up at the last start or reload."}),
		reloadTime: prometheus.NewGauge(prometheus.GaugeOpts{Name: "dirpin_config_last_reload_success_timestamp_seconds", Help: "When a configuration was taken up last."}),
		known:      make(map[string]bool),
	}
	build := prometheus.NewGauge(prometheus.GaugeOpts{Name: "dirpin_build_info", Help: "Always 1; the version is a label.", ConstLabels: prometheus.Labels{"version": version}})
	build.Set(1)
	m.registry.MustRegister(m.syncRuns, m.syncOK, m.syncFailures, m.syncSeconds, m.syncChanges, m.syncHeld, m.following, m.jobsEnded, m.items, m.attempts, m.hookSeconds,
		m.reloadOK, m.reloadTime, build, newDatabase(s, systems),
		collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	return m
}

// Agreements forgets what is configured no more.
func (m *Metrics) Agreements(names []string) {
	now := make(map[string]bool, len(names))
	for _, n := range names {
		now[n] = true
		m.following.WithLabelValues(n)
		m.syncFailures.WithLabelValues(n)
		for _, result := range []string{"ok", "held", "failed"} {
			m.syncRuns.WithLabelValues(n, result)
		}
	}
	for n := range m.known {
		if !now[n] {
			l := prometheus.Labels{"agreement": n}
			for _, v := range []*prometheus.MetricVec{m.syncRuns.MetricVec, m.syncOK.MetricVec, m.syncFailures.MetricVec, m.syncSeconds.MetricVec,
				m.syncChanges.MetricVec, m.syncHeld.MetricVec, m.following.MetricVec} {
				v.DeletePartialMatch(l)
			}
		}
	}
	m.known = now
}

// Synchronized counts a synchronization.
func (m *Metrics) Synchronized(agreement string, r ldapsync.Result, err error) {
	if err != nil {
		m.syncRuns.WithLabelValues(agreement, "failed").Inc()
		m.syncOK.WithLabelValues(agreement).Set(0)
		m.syncFailures.WithLabelValues(agreement).Inc()
		return
	}
	result := "ok"
	if len(r.Held) > 0 {
		result = "held"
	}
	m.syncRuns.WithLabelValues(agreement, result).Inc()
	m.syncOK.WithLabelValues(agreement).Set(1)
	m.syncFailures.WithLabelValues(agreement).Set(0)
	m.syncSeconds.WithLabelValues(agreement).Set(r.Duration.Seconds())
	m.syncHeld.WithLabelValues(agreement).Set(float64(len(r.Held)))
	for change, n := range map[string]int{"added": r.Added, "updated": r.Updated, "deactivated": r.Deactivated, "returned": r.Returned, "removed": r.Removed} {
		m.syncChanges.WithLabelValues(agreement, change).Add(float64(n))
	}
}

// Following tells whether changes of an agreement arrive as they happen.
func (m *Metrics) Following(agreement string, on bool) {
	m.following.WithLabelValues(agreement).Set(number(on))
}

// Attempt counts a request to a voicemail system or directory.
func (m *Metrics) Attempt(system string, a voicemail.Answer, took time.Duration) {
	what := string(a.Class)
	if a.Class == voicemail.Answered {
		what = string(a.Result)
	}
	m.attempts.WithLabelValues(system, what).Inc()
	m.hookSeconds.WithLabelValues(system).Observe(took.Seconds())
}

// Items counts users that a job is done with.
func (m *Metrics) Items(code outcome.Code, n int64) {
	m.items.WithLabelValues(string(code)).Add(float64(n))
}

// JobEnded counts a job.
func (m *Metrics) JobEnded(s store.State) { m.jobsEnded.WithLabelValues(string(s)).Inc() }

// Reloaded notes that a configuration was taken up, or refused.
func (m *Metrics) Reloaded(ok bool) {
	m.reloadOK.Set(number(ok))
	if ok {
		m.reloadTime.SetToCurrentTime()
	}
}

func number(b bool) float64 {
	if b {
		return 1
	}
	return 0
}
