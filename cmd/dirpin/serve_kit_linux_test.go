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

func (h *home) countJournal() int {
	data, err := os.ReadFile(h.dir + "/journal")
	if err != nil && !os.IsNotExist(err) {
		h.Fatal(err)
	}
	return bytes.Count(data, []byte("\n"))
}
