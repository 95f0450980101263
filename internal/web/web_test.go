package web

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"go.yaml.in/yaml/v4"

	"github.com/dirpin/dirpin/config"
	"github.com/dirpin/dirpin/internal/outcome"
	"github.com/dirpin/dirpin/internal/secret"
	"github.com/dirpin/dirpin/internal/store"
	"github.com/dirpin/dirpin/internal/voicemail"
	"github.com/dirpin/dirpin/ldapsync"
)

func open(t *testing.T) *store.Store {
	t.Helper()
	s, err := store.Open(t.Context(), store.Options{Path: filepath.Join(t.TempDir(), "db")})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s
}

// full returns metrics of which each has a value.
func full(t *testing.T) *Metrics {
	s := open(t)
	sys := voicemail.NewWith(&config.Voicemail{Name: "vm", Type: "http", Concurrency: 1, Timeout: time.Second}, nil, voicemail.Options{})
	m := NewMetrics("v1", s, func() []*voicemail.System { return []*voicemail.System{sys} })
	m.Agreements([]string{"corp"})
	m.Synchronized("corp", ldapsync.Result{Added: 2, Duration: time.Second}, nil)
	m.Following("corp", true)
	m.Attempt("vm", voicemail.Answer{Class: voicemail.Lost}, time.Second)
	m.Items(outcome.OK, 3)
	m.JobEnded(store.Done)
	m.Reloaded(true)
	err := s.Write(t.Context(), func(tx *store.Tx) error { return tx.SyncAdvance("corp", 0) })
	if err != nil {
		t.Fatal(err)
	}
	return m
}

func names(t *testing.T, m *Metrics) map[string]bool {
	t.Helper()
	families, err := m.registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	all := map[string]bool{"dirpin_sync_age_seconds": true, "dirpin_users": true} // of no agreement that was never read, and of nobody
	for _, f := range families {
		all[f.GetName()] = true
		if f.GetType().String() == "HISTOGRAM" {
			for _, end := range []string{"_bucket", "_sum", "_count"} {
				all[f.GetName()+end] = true
			}
		}
	}
	return all
}

// Every expression of the example alerts and of the dashboard names metrics that
// there are.
func TestExamplesNameMetricsThatExist(t *testing.T) {
	known := names(t, full(t))
	word := regexp.MustCompile(`\b(dirpin|process|go)_[a-z_]+\b`)
	used := map[string]bool{}
	check := func(where, expr string) {
		found := word.FindAllString(expr, -1)
		if len(found) == 0 {
			t.Errorf("%s asks for no metric: %s", where, expr)
		}
		for _, name := range found {
			used[name] = true
			if !known[name] {
				t.Errorf("%s asks for %s, which does not exist", where, name)
			}
		}
	}
	var alerts struct {
		Groups []struct {
			Rules []struct {
				Alert, Expr, For string
				Labels           map[string]string
				Annotations      map[string]string
			}
		}
	}
	data, err := os.ReadFile("../../packaging/monitoring/alerts.yml")
	if err != nil {
		t.Fatal(err)
	}
	if err := yaml.Unmarshal(data, &alerts); err != nil || len(alerts.Groups) == 0 {
		t.Fatal(err)
	}
	for _, g := range alerts.Groups {
		for _, r := range g.Rules {
			check(r.Alert, r.Expr)
			if r.Labels["severity"] == "" || r.Annotations["summary"] == "" || r.Annotations["description"] == "" {
				t.Errorf("%s says too little", r.Alert)
			}
		}
	}
	var dashboard struct {
		Panels []struct {
			Title   string
			Targets []struct{ Expr string }
		}
	}
	data, err = os.ReadFile("../../packaging/monitoring/dashboard.json")
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(data, &dashboard); err != nil || len(dashboard.Panels) < 10 {
		t.Fatal(err)
	}
	for _, p := range dashboard.Panels {
		for _, target := range p.Targets {
			check(p.Title, target.Expr)
		}
	}
	for _, name := range []string{"dirpin_sync_age_seconds", "dirpin_uncertain_users", "dirpin_voicemail_denied", "dirpin_config_last_reload_successful"} {
		if !used[name] {
			t.Errorf("nothing asks for %s", name)
		}
	}
}

// What is configured no more is forgotten.
func TestForgottenAgreements(t *testing.T) {
	m := full(t)
	m.Synchronized("corp", ldapsync.Result{}, errors.New("out of reach"))
	m.Agreements([]string{"other"})
	families, err := m.registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range families {
		for _, x := range f.GetMetric() {
			for _, l := range x.GetLabel() {
				if l.GetValue() == "corp" && f.GetName() != "dirpin_sync_pending_losses" {
					t.Errorf("%s still has corp", f.GetName())
				}
			}
		}
	}
}

func TestServer(t *testing.T) {
	alive, ready := error(nil), error(nil)
	s, err := Listen(Options{Listen: "127.0.0.1:0", Metrics: full(t), Log: slog.New(slog.DiscardHandler),
		Alive: func() error { return alive }, Ready: func(context.Context) error { return ready }}, secret.New("tok"))
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	get := func(method, path, authorization string) (int, string) {
		t.Helper()
		req, err := http.NewRequest(method, "http://"+s.Addr()+path, nil)
		if err != nil {
			t.Fatal(err)
		}
		if authorization != "" {
			req.Header.Set("Authorization", authorization)
		}
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		body, _ := io.ReadAll(resp.Body)
		return resp.StatusCode, string(body)
	}
	expect := func(code int, text, method, path, authorization string) {
		t.Helper()
		if got, body := get(method, path, authorization); got != code || !strings.Contains(body, text) {
			t.Errorf("%s %s %q: %d %s", method, path, authorization, got, body)
		}
	}
	expect(200, "ok", "GET", "/healthz", "")
	expect(200, "ok", "GET", "/readyz", "")
	ready = errors.New("the disk is full")
	expect(503, "the disk is full", "GET", "/readyz", "")
	expect(200, "ok", "GET", "/healthz", "")
	alive = errors.New("a loop hangs")
	expect(503, "a loop hangs", "GET", "/healthz", "")
	for _, wrong := range []string{"", "Bearer ", "Bearer to", "Bearer tokk", "tok", "Basic dG9rOg=="} {
		expect(401, "token", "GET", "/metrics", wrong)
	}
	expect(200, "dirpin_build_info", "GET", "/metrics", "Bearer tok")
	s.SetToken(secret.New("new"))
	expect(401, "token", "GET", "/metrics", "Bearer tok")
	expect(200, "dirpin_build_info", "GET", "/metrics", "Bearer new")
	s.SetToken(secret.Value{})
	expect(401, "token", "GET", "/metrics", "Bearer ")
	expect(404, "", "GET", "/", "")
	expect(405, "", "POST", "/metrics", "Bearer new")
}
