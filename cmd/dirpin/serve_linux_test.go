package main

import (
	"bytes"
	"errors"
	"fmt"
	"net/http"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/dirpin/dirpin/internal/lab"
	"github.com/dirpin/dirpin/internal/store"
)

// The life of the process: ready, one alone, reloading all or nothing, stopping
// in order.
func TestServe(t *testing.T) {
	h := newHome(t, "")
	h.users(5)
	addr := freePort(t)
	config := "state_dir: " + h.dir + "/state\nvoicemail: {name: vm, type: exec, command: [" + h.dir + "/hook.sh]}\nhttp: {listen: '" + addr + "'}\nlog: {format: json, file: " + h.dir + "/log}\n"
	h.write("dirpin.yaml", config, 0o644)
	s := h.serve()

	out, err := h.dirpin("", "serve")
	if codeOf(err) != "5" || !strings.Contains(out, fmt.Sprintf("process %d on", s.cmd.Process.Pid)) {
		t.Errorf("a second one: exit %s, %s", codeOf(err), out)
	}
	// Nor beside the same database by another way.
	if err := errors.Join(os.Mkdir(h.dir+"/other", 0o700), os.Symlink(h.dir+"/state/dirpin.db", h.dir+"/other/dirpin.db")); err != nil {
		t.Fatal(err)
	}
	h.write("other.yaml", "state_dir: "+h.dir+"/other\nkey_file: "+h.dir+"/state/key\n", 0o644)
	if out, err := h.dirpin("", "--config", h.dir+"/other.yaml", "serve"); codeOf(err) != "5" {
		t.Errorf("a second one beside the same database: exit %s, %s", codeOf(err), out)
	}

	if code, body := h.get("http://"+addr+"/healthz", ""); code != 200 {
		t.Errorf("healthz: %d %s", code, body)
	}
	if code, body := h.get("http://"+addr+"/readyz", ""); code != 200 {
		t.Errorf("readyz: %d %s", code, body)
	}
	for _, wrong := range []string{"", "wrong"} {
		if code, body := h.get("http://"+addr+"/metrics", wrong); code != 401 || strings.Contains(body, "dirpin_") {
			t.Errorf("metrics with token %q: %d %s", wrong, code, body)
		}
	}
	token, err := os.ReadFile(h.dir + "/state/metrics.token")
	if err != nil {
		t.Fatal(err)
	}
	metrics := func() string {
		code, body := h.get("http://"+addr+"/metrics", strings.TrimSpace(string(token)))
		if code != 200 {
			t.Errorf("metrics: %d %s", code, body)
		}
		return body
	}
	if m := metrics(); !strings.Contains(m, `dirpin_users{agreement="",status="local"} 5`) || !strings.Contains(m, "dirpin_config_last_reload_successful 1\n") {
		t.Errorf("metrics: %s", m)
	}

	h.write("job.yaml", drawAll, 0o600)
	h.must("jobs", "add", "job.yaml")
	s.until("the job has ended", h.closed(1))
	if j := h.job(1); j.State != store.Done || j.Counts.Updated != 5 {
		t.Errorf("the job is %s, %+v", j.State, j.Counts)
	}
	s.until("the job is counted", func() bool { return strings.Contains(metrics(), `dirpin_jobs_ended_total{state="done"} 1`) })
	if m := metrics(); !strings.Contains(m, `dirpin_items_total{code="ok"} 5`) || !strings.Contains(m, `dirpin_hook_attempts_total{answer="accepted",system="vm"} 5`) ||
		!strings.Contains(m, `dirpin_hook_duration_seconds_count{system="vm"} 5`) {
		t.Errorf("metrics: %s", m)
	}

	// A faulty file is refused with all its faults, and the old one stays.
	h.write("dirpin.yaml", config+"nonsense: 1\nlate: never\n", 0o644)
	s.cmd.Process.Signal(syscall.SIGHUP)
	s.await("READY=1", 2)
	log, err := os.ReadFile(h.dir + "/log")
	if err != nil || !bytes.Contains(log, []byte("dirpin.yaml:5:1")) || !bytes.Contains(log, []byte("dirpin.yaml:6:7")) || !bytes.Contains(log, []byte("the old one stays")) {
		t.Errorf("the log has not every fault (%v): %s", err, log)
	}
	if m := metrics(); !strings.Contains(m, "dirpin_config_last_reload_successful 0\n") {
		t.Error("a refused reload is not shown")
	}
	h.write("dirpin.yaml", strings.Replace(config, h.dir+"/state", h.dir+"/other", 1), 0o644)
	s.cmd.Process.Signal(syscall.SIGHUP)
	s.await("READY=1", 3)

	// A good one is taken up: another port, and the log opened anew.
	if err := os.Rename(h.dir+"/log", h.dir+"/log.1"); err != nil {
		t.Fatal(err)
	}
	was := addr
	addr = freePort(t)
	h.write("dirpin.yaml", strings.Replace(config, was, addr, 1), 0o644)
	s.cmd.Process.Signal(syscall.SIGHUP)
	s.await("READY=1", 4)
	s.await("RELOADING=1", 3)
	if code, _ := h.get("http://"+addr+"/readyz", ""); code != 200 {
		t.Errorf("readyz after a reload: %d", code)
	}
	if _, err := http.Get("http://" + was + "/healthz"); err == nil {
		t.Error("the former address is still served")
	}
	if old, _ := os.ReadFile(h.dir + "/log.1"); !bytes.Contains(old, []byte("state_dir has changed")) {
		t.Errorf("the log does not say that a restart is needed: %s", old)
	}
	if code := s.end(syscall.SIGTERM); code != "0" {
		t.Errorf("SIGTERM: exit %s", code)
	}
	s.until("STOPPING=1 is notified", func() bool { return strings.Contains(strings.Join(s.notified(), "\n"), "STOPPING=1") })
	if log, _ := os.ReadFile(h.dir + "/log"); !bytes.Contains(log, []byte("stopped")) {
		t.Errorf("the new log: %s", log)
	}
	for _, l := range strings.Split(strings.TrimSpace(string(log)), "\n") {
		if strings.Contains(l, "the job has ended") && !strings.Contains(l, `"job":1`) {
			t.Errorf("a line without its job: %s", l)
		}
	}
}

// SIGTERM settles the pushes in hand and leaves the rest; the next start goes on
// with the job by itself.
func TestServeStops(t *testing.T) {
	h := newHome(t, "sleep 0.2")
	h.users(60)
	s := h.serve()
	h.write("job.yaml", drawAll, 0o600)
	h.must("jobs", "add", "job.yaml")
	s.until("somebody is changed", func() bool { return h.job(1).Counts.Updated > 0 })
	if code := s.end(syscall.SIGTERM); code != "0" {
		t.Errorf("SIGTERM: exit %s", code)
	}
	j := h.job(1)
	if j.State != store.Queued || j.Counts.Uncertain+j.Counts.Failed > 0 || j.Counts.Updated == 60 {
		t.Errorf("the job is %s, %+v", j.State, j.Counts)
	}
	if pins, _ := h.accepted(); int64(len(pins)) != j.Counts.Updated {
		t.Errorf("%d were accepted, and %d settled", len(pins), j.Counts.Updated)
	}
	s = h.serve()
	s.until("the job has ended", h.closed(1))
	if j := h.job(1); j.State != store.Done || j.Counts.Updated != 60 {
		t.Errorf("the job is %s, %+v", j.State, j.Counts)
	}
	h.check(60)
}

// What was killed goes on at once when it is started again, as what a killed
// foreground command has left.
func TestServeGoesOnAfterAKill(t *testing.T) {
	h := newHome(t, "sleep 0.05")
	h.users(60)
	h.write("job.yaml", drawAll, 0o600)
	run := h.command("run", "job.yaml", "--yes")
	if err := run.Start(); err != nil {
		t.Fatal(err)
	}
	for h.countJournal() < 3 {
		time.Sleep(5 * time.Millisecond)
	}
	run.Process.Kill()
	run.Wait()
	for range 3 {
		s := h.serve()
		n := h.countJournal()
		s.until("the job goes on", func() bool { return h.countJournal() > n+3 })
		s.end(syscall.SIGKILL)
	}
	s := h.serve()
	s.until("the job has ended", h.closed(1))
	h.check(60)
	if s.end(syscall.SIGTERM) != "0" {
		t.Error("it does not end in order")
	}
}

// The watchdog is fed while the loops turn, and not while one hangs.
func TestServeFeedsTheWatchdog(t *testing.T) {
	h := newHome(t, "")
	s := h.serve("WATCHDOG_USEC=300000")
	s.await("WATCHDOG=1", 3)
	if s.end(syscall.SIGTERM) != "0" {
		t.Error("it does not end in order")
	}
}

// Agreements are followed, what is wrong with one is shown, and a reload takes
// up new ones and lets go of old ones.
func TestServeAgreements(t *testing.T) {
	d := lab.New(t, lab.OpenLDAP)
	h := newHome(t, "")
	h.withDirectory(d, "")
	d.AddPerson("anna", nil)
	s := h.serve()
	s.says("changes arrive as they happen")
	if u := h.user("anna"); u["status"] != "ldap-active" {
		t.Errorf("%v", u)
	}
	d.AddPerson("berta", nil)
	s.until("berta is here", func() bool {
		_, err := h.command("users", "show", "berta").Output()
		return err == nil
	})
	// While it is followed the command asks the service.
	if out := h.must("sync", "--full"); !strings.Contains(out, "corp: added 0") {
		t.Error(out)
	}
	good, err := os.ReadFile(h.dir + "/dirpin.yaml")
	if err != nil {
		t.Fatal(err)
	}
	// Another one, that nobody answers.
	dead := freePort(t)
	h.write("dirpin.yaml", string(good)+"  - name: dead\n    servers: [ldap://"+dead+"]\n    insecure_plaintext: true\n    base: dc=dead\n    bind: {dn: 'cn=x', password: y}\n    passwords: local\n", 0o644)
	s.cmd.Process.Signal(syscall.SIGHUP)
	s.await("READY=1", 2)
	s.until("the trouble is shown", func() bool {
		out := h.must("agreements", "list")
		return strings.Contains(out, "tries failed since") && strings.Contains(out, "refused")
	})
	h.write("dirpin.yaml", string(good), 0o644)
	s.cmd.Process.Signal(syscall.SIGHUP)
	s.await("READY=1", 3)
	if out := h.must("agreements", "list"); strings.Contains(out, "failed since") {
		t.Errorf("what is configured no more is still in trouble: %s", out)
	}
	for line := range strings.Lines(s.logged()) {
		if strings.Contains(line, "trying again") && !strings.Contains(line, "agreement=dead") {
			t.Errorf("a line without its agreement: %s", line)
		}
	}
	if s.end(syscall.SIGTERM) != "0" {
		t.Error("it does not end in order")
	}
}
