package main

import (
	"bytes"
	"database/sql"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/dirpin/dirpin/internal/lab"
	"github.com/dirpin/dirpin/internal/store"
)

// service is a running `dirpin serve`, with this test for its service manager.
type service struct {
	h     *home
	cmd   *exec.Cmd
	conn  *net.UnixConn
	mu    sync.Mutex
	heard []string // notifications, in order
	log   bytes.Buffer
	done  chan struct{}
	err   error
}

// serve starts the service and waits until it is ready.
func (h *home) serve(env ...string) *service {
	h.Helper()
	s := h.begin(env...)
	s.await("READY=1")
	return s
}

func (h *home) begin(env ...string) *service {
	h.Helper()
	dir, err := os.MkdirTemp("", "dirpin-notify-") // short: the path of a socket is
	if err != nil {
		h.Fatal(err)
	}
	h.Cleanup(func() { os.RemoveAll(dir) })
	conn, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: filepath.Join(dir, "s"), Net: "unixgram"})
	if err != nil {
		h.Fatal(err)
	}
	s := &service{h: h, conn: conn, cmd: h.command("serve"), done: make(chan struct{})}
	s.cmd.Env = append(append(s.cmd.Env, "NOTIFY_SOCKET="+filepath.Join(dir, "s")), env...)
	s.cmd.Stderr = lockedWriter{&s.mu, &s.log}
	s.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	go s.listen()
	if err := s.cmd.Start(); err != nil {
		h.Fatal(err)
	}
	go func() {
		s.err = s.cmd.Wait()
		close(s.done)
	}()
	h.Cleanup(func() {
		s.cmd.Process.Kill()
		<-s.done
		conn.Close()
		if h.Failed() {
			h.Logf("the service said:\n%s\nand notified %q", s.logged(), s.notified())
		}
	})
	return s
}

type lockedWriter struct {
	mu *sync.Mutex
	w  io.Writer
}

func (w lockedWriter) Write(p []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.w.Write(p)
}

func (s *service) listen() {
	buf := make([]byte, 4096)
	for {
		n, err := s.conn.Read(buf)
		if err != nil {
			return
		}
		s.mu.Lock()
		s.heard = append(s.heard, strings.Split(string(buf[:n]), "\n")[0])
		s.mu.Unlock()
	}
}

func (s *service) logged() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.log.String()
}

func (s *service) notified() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]string(nil), s.heard...)
}

// await waits until that was notified, for the n-th time where one is given.
func (s *service) await(what string, n ...int) {
	s.h.Helper()
	want := 1
	if len(n) > 0 {
		want = n[0]
	}
	s.until(what+" is notified", func() bool {
		got := 0
		for _, h := range s.notified() {
			if h == what {
				got++
			}
		}
		return got >= want
	})
}

// says waits until the log has a text.
func (s *service) says(text string) {
	s.h.Helper()
	s.until(fmt.Sprintf("%q is logged", text), func() bool { return strings.Contains(s.logged(), text) })
}

func (s *service) until(what string, done func() bool) {
	s.h.Helper()
	s.untilWithin(what, 20*time.Second, done)
}

func (s *service) untilWithin(what string, most time.Duration, done func() bool) {
	s.h.Helper()
	for began := time.Now(); time.Since(began) < most; {
		if done() {
			return
		}
		select {
		case <-s.done:
			s.h.Fatalf("the service ended (%v) before %s", s.err, what)
		case <-time.After(10 * time.Millisecond):
		}
	}
	s.h.Fatalf("not within %s: %s", most, what)
}

// end tells the service to stop and returns its exit code.
func (s *service) end(sig syscall.Signal) string {
	s.h.Helper()
	s.cmd.Process.Signal(sig)
	select {
	case <-s.done:
	case <-time.After(60 * time.Second):
		s.h.Fatalf("the service does not end by %v", sig)
	}
	return codeOf(s.err)
}

// exec changes what no command does.
func (h *home) exec(queries ...string) {
	h.Helper()
	db, err := sql.Open("sqlite3", "file:"+h.dir+"/state/dirpin.db?_busy_timeout=10000")
	if err != nil {
		h.Fatal(err)
	}
	defer db.Close()
	for _, q := range queries {
		if _, err := db.Exec(q); err != nil {
			h.Fatal(err)
		}
	}
}

// job returns a job as it stands.
func (h *home) job(id int64) *store.Job {
	h.Helper()
	j := h.jobOrNil(id)
	if j == nil {
		h.Fatalf("there is no job %d", id)
	}
	return j
}

func (h *home) jobOrNil(id int64) *store.Job {
	h.Helper()
	s, err := store.Open(h.Context(), store.Options{Path: h.dir + "/state/dirpin.db"})
	if err != nil {
		h.Fatal(err)
	}
	defer s.Close()
	var j *store.Job
	err = s.Read(h.Context(), func(tx *store.Tx) (err error) { j, err = tx.Job(id); return err })
	if err != nil && !errors.Is(err, store.ErrNotFound) {
		h.Fatal(err)
	}
	return j
}

func (h *home) closed(id int64) func() bool {
	return func() bool { return h.job(id).Stage == store.StageClosed }
}

const drawAll = "select: {query: all}\nreset: {pin: {generate: {length: 6}}}\ndeliver: none\n"

func (h *home) must(args ...string) string {
	h.Helper()
	out, err := h.dirpin("", args...)
	if err != nil {
		h.Fatalf("dirpin %v: %v\n%s", args, err, out)
	}
	return out
}

// get asks the service over HTTP.
func (h *home) get(url, token string) (int, string) {
	h.Helper()
	req, err := http.NewRequest("GET", url, nil)
	if err != nil {
		h.Fatal(err)
	}
	if token != "" {
		req.Header.Set("Authorization", "Bearer "+token)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		h.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		h.Fatal(err)
	}
	return resp.StatusCode, string(body)
}

func freePort(t *testing.T) string {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

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

func (h *home) countJournal() int {
	data, err := os.ReadFile(h.dir + "/journal")
	if err != nil && !os.IsNotExist(err) {
		h.Fatal(err)
	}
	return bytes.Count(data, []byte("\n"))
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

// A backup taken beside the running service is restored when that has stopped;
// the next start holds what is unfinished, pushes nothing, and goes on when it is
// told to.
func TestBackupAndRestore(t *testing.T) {
	h := newHome(t, "sleep 0.05")
	h.users(40)
	h.write("first.yaml", "name: first\n"+drawAll, 0o600)
	h.write("second.yaml", "name: second\n"+drawAll, 0o600)
	s := h.serve()
	h.must("jobs", "add", "first.yaml")
	s.until("somebody is changed", func() bool { return h.job(1).Counts.Updated > 0 })
	h.must("backup", "copy")
	if out, err := h.dirpin("", "backup", "copy"); codeOf(err) != "2" || !strings.Contains(out, "exists already") {
		t.Errorf("over another file: exit %s, %s", codeOf(err), out)
	}
	if fi, err := os.Stat(h.dir + "/copy"); err != nil || fi.Mode().Perm() != 0o600 {
		t.Errorf("%v, %v", fi, err)
	}
	if out, err := h.dirpin("", "restore", "copy"); codeOf(err) != "5" || !strings.Contains(out, "stop the service first") {
		t.Errorf("beside the service: exit %s, %s", codeOf(err), out)
	}
	s.until("the job has ended", h.closed(1))
	h.must("jobs", "add", "second.yaml")
	s.until("the next job has ended", h.closed(2))
	n := h.countJournal()
	if s.end(syscall.SIGTERM) != "0" {
		t.Error("it does not end in order")
	}
	h.write("junk", "user_id\nanna\n", 0o600)
	if out, err := h.dirpin("", "restore", "junk"); codeOf(err) != "2" {
		t.Errorf("of no database: exit %s, %s", codeOf(err), out)
	}
	h.must("restore", "copy")
	if kept, _ := filepath.Glob(h.dir + "/state/dirpin.db.before-restore-*"); len(kept) != 1 {
		t.Errorf("the former database: %q", kept)
	}
	s = h.serve()
	s.says("the database was restored")
	if j := h.job(1); j.State != store.Held || j.Reason != store.ReasonRestored {
		t.Errorf("the job is %s: %s", j.State, j.Reason)
	}
	if h.countJournal() != n {
		t.Error("a restored database has pushed")
	}
	h.write("third.yaml", "name: third\n"+drawAll, 0o600)
	if out, err := h.dirpin("", "jobs", "add", "third.yaml"); codeOf(err) != "3" {
		t.Errorf("a job for a restored database: exit %s, %s", codeOf(err), out)
	}
	// Nobody waits for the minutes of the rest here.
	h.exec("DELETE FROM meta WHERE name = 'restored_rest'", "UPDATE journal SET until = 1 WHERE until <> 0")
	h.must("jobs", "release", "--restored")
	s.says("was released")
	h.must("jobs", "add", "third.yaml")
	last := int64(3)
	for id := range int64(10) {
		if j := h.jobOrNil(id); j != nil && j.Name == "third" {
			last = id
		}
	}
	s.until("the third job has ended", h.closed(last))
	if j := h.job(last); j.Counts.Updated != 40 {
		t.Errorf("%+v", j.Counts)
	}
	s.until("the first job has ended", h.closed(1))
	if j := h.job(1); j.Counts.Final() != 40 {
		t.Errorf("%+v", j.Counts)
	}
}
