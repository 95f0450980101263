package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/dirpin/dirpin/internal/store"
	"github.com/dirpin/dirpin/resetjob"
)

var (
	crashFor  = flag.Duration("crash", 0, "how long TestCrash goes on; 0 is the short form")
	crashSeed = flag.Uint64("crash.seed", 0, "the seed of what TestCrash does; 0 draws one")
)

// steps are the points at which a process dies, and how often it may come
// there in a job of these tests.
var steps = map[string]int{"opening": 1, "write": 12, "written": 12, "push": 25, "pushed": 25, "closing": 1, "closed": 1}

// crash is an installation whose processes die all the time, and whose
// voicemail systems are mailbox.py's.
type crash struct {
	*home
	place  store.Options // of the database
	rng    *rand.Rand
	began  time.Time
	length time.Duration
	rests  time.Duration // for how long users may rest besides
	kills  map[string]int
	events *os.File
	jobs   int // that were written
	mu     sync.Mutex
	runs   int
	backup *backup
}

const hookTimeout = 1 * time.Second

// TestCrash kills the real program at every step and at any instant, with
// voicemail systems that lose answers, and lets an independent checker compare
// the database with what those systems saw. -crash 10m is the long form.
func TestCrash(t *testing.T) {
	length, installations := *crashFor, 4
	if length == 0 {
		length, installations = 6*time.Second, 2
	}
	seed := *crashSeed
	if seed == 0 {
		seed = rand.Uint64()
	}
	// They wait for most of the time: for users who rest after a lost answer.
	for i := range installations {
		t.Run(fmt.Sprint(seed+uint64(i)), func(t *testing.T) {
			t.Parallel()
			mode := ""
			if i%2 == 1 { // everybody is on both systems
				mode = []string{"all", "any"}[(seed+uint64(i))/2%2]
			}
			newCrashIn(t, length, seed+uint64(i), mode, func(string) {}, "").live(i == 0)
		})
	}
}

// live lets an installation live its life and holds it to its promises.
func (c *crash) live(everyStep bool) {
	c.faults(nil)
	if everyStep {
		c.everyStep()
	}
	for !c.over() && !c.Failed() {
		c.round()
	}
	c.settle()
	c.bury()
	if !c.Failed() {
		c.checker("--dirpin", c.program())
	}
	n := 0
	for _, k := range c.kills {
		n += k
	}
	c.Logf("%d kills survived in %s: %v; %d processes, %d jobs", n, time.Since(c.began).Round(time.Second), c.kills, c.runs, c.jobs)
}

// newCrashOn lets something be done to the folder before the state folder is
// made in it, and takes more lines for the configuration.
func newCrashOn(t *testing.T, length time.Duration, seed uint64, prepare func(dir string), more string) *crash {
	return newCrashIn(t, length, seed, "", prepare, more)
}

// newCrashIn has every user on both systems in that voicemail_mode; "": each on
// one.
func newCrashIn(t *testing.T, length time.Duration, seed uint64, mode string, prepare func(dir string), more string) *crash {
	dir, err := os.MkdirTemp("", "dirpin-crash-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("everything is left in %s", dir)
			return
		}
		os.RemoveAll(dir)
	})
	c := &crash{home: &home{TB: t, dir: dir}, place: store.Options{Path: dir + "/state/dirpin.db"}, rng: rand.New(rand.NewPCG(seed, 1)), began: time.Now(), length: length, kills: map[string]int{}}
	scripts, err := filepath.Abs("testdata/crash")
	if err != nil {
		t.Fatal(err)
	}
	prepare(dir)
	web, several := ", for: {match: all, where: [{field: last_name, op: is exactly, text: Web}]}", ""
	if mode != "" {
		web, several = "", "voicemail_mode: "+mode+"\n"
		c.write("several", mode, 0o644)
	}
	port := c.startWeb(scripts)
	c.write("dirpin.yaml", fmt.Sprintf(`%[4]sstate_dir: %[1]s/state
voicemail:
  - {name: web, type: http, url: "http://127.0.0.1:%[2]s/push", timeout: 1s, retries: 1, concurrency: 6%[5]s}
  - {name: cmd, type: exec, command: [/usr/bin/python3, -S, -E, -B, %[3]s/mailbox.py, %[1]s], timeout: 1s, retries: 1, concurrency: 3, no_mailbox: commit}
credentials:
  pin: {history: 1}
  password: {history: 1}
  lockout: {attempts: 0}
`, dir, port, scripts, several, web)+more, 0o644)
	if out, err := c.dirpin("", "--config", dir+"/init.yaml", "init", "--state-dir", dir+"/state"); err != nil {
		t.Fatal(err, out)
	}
	c.events, err = os.Create(filepath.Join(dir, "events"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.events.Close() })
	var b strings.Builder
	b.WriteString("user_id,last_name,department\n")
	for i, id := range people {
		last := "Web"
		if strings.Contains(id, "cmd") {
			last = "Exec"
		}
		fmt.Fprintf(&b, "%s,%s,%s\n", id, last, []string{"1", "2", "1;2"}[i%3])
	}
	c.write("users.csv", b.String(), 0o644)
	if out, err := c.dirpin("", "users", "import", "users.csv"); err != nil {
		t.Fatal(err, out)
	}
	return c
}

// people are the users: most belong to the http hook, a few to the exec hook,
// and some of either have no mailbox.
var people = func() (ids []string) {
	for i := range 30 {
		ids = append(ids, fmt.Sprintf("web-%c%c", 'a'+i/5, 'a'+i%5))
	}
	for i := range 10 {
		ids = append(ids, fmt.Sprintf("cmd-%c", 'a'+i))
	}
	return append(ids, "nobox-web", "nobox-cmd")
}()

// startWeb starts the http hook and returns its port.
func (c *crash) startWeb(scripts string) string {
	cmd := exec.Command("/usr/bin/python3", "-S", "-E", "-B", scripts+"/web.py", c.dir)
	log, err := os.Create(filepath.Join(c.dir, "web.log"))
	if err != nil {
		c.Fatal(err)
	}
	cmd.Stderr = log
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := cmd.Start(); err != nil {
		c.Fatal("starting the http hook (make deps): ", err)
	}
	c.Cleanup(func() {
		cmd.Process.Kill()
		cmd.Wait()
		log.Close()
		if text, _ := os.ReadFile(log.Name()); len(text) > 0 {
			c.Errorf("the http hook said:\n%s", text)
		}
	})
	for range 1000 {
		if port, err := os.ReadFile(filepath.Join(c.dir, "port")); err == nil {
			return string(port)
		}
		time.Sleep(10 * time.Millisecond)
	}
	c.Fatal("the http hook did not come up")
	return ""
}

func (c *crash) over() bool { return time.Since(c.began) > c.length }

// event tells the checker what was done to dirpin.
func (c *crash) event(e map[string]any) {
	e["t"] = float64(time.Now().UnixMicro()) / 1e6
	line, err := json.Marshal(e)
	if err != nil {
		c.Fatal(err)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if _, err := c.events.Write(append(line, '\n')); err != nil {
		c.Error(err)
	}
}

// faults makes the hooks misbehave from now on; nil: they behave.
func (c *crash) faults(mix map[string]any) {
	all := map[string]any{"timeout": hookTimeout.Seconds(), "idempotent": true}
	for name, p := range mix {
		all[name] = p
	}
	data, err := json.Marshal(all)
	if err != nil {
		c.Fatal(err)
	}
	c.write("faults.tmp", string(data), 0o644)
	if err := os.Rename(filepath.Join(c.dir, "faults.tmp"), filepath.Join(c.dir, "faults")); err != nil {
		c.Fatal(err)
	}
}

// checker runs checker.py, which must find nothing.
func (c *crash) checker(args ...string) {
	c.Helper()
	cmd := exec.Command("/usr/bin/python3", append([]string{"-B", "testdata/crash/checker.py", c.dir}, args...)...)
	cmd.Env = append(os.Environ(), "DIRPIN_CONFIG="+c.dir+"/dirpin.yaml")
	out, err := cmd.CombinedOutput()
	if err != nil {
		c.Errorf("the checker: %v\n%s", err, out)
		return
	}
	c.Logf("the checker: %s", bytes.TrimSpace(out))
}

// read reads the database as it stands.
func (c *crash) read(fn func(*store.Tx) error) {
	c.Helper()
	s, err := store.Open(context.Background(), c.place)
	if err != nil {
		c.Fatal(err)
	}
	defer s.Close()
	if err := s.Read(context.Background(), fn); err != nil {
		c.Fatal(err)
	}
}

// bury takes what a process has left that was killed when its job was closed, as
// the next command does.
func (c *crash) bury() {
	s, err := store.Open(context.Background(), c.place)
	if err != nil {
		c.Fatal(err)
	}
	defer s.Close()
	if _, err := resetjob.Recover(context.Background(), s); err != nil {
		c.Error(err)
	}
}

// all returns every job, the newest first.
func (c *crash) all(keep func(*store.Job) bool) (jobs []*store.Job) {
	c.Helper()
	c.read(func(tx *store.Tx) error {
		return tx.Jobs(func(j *store.Job) error {
			if keep(j) {
				jobs = append(jobs, j)
			}
			return nil
		})
	})
	return jobs
}

func unclosed(j *store.Job) bool { return j.Stage != store.StageClosed }

// pick draws one of several.
func pick[T any](c *crash, from []T) (one T) {
	if len(from) > 0 {
		one = from[c.rng.IntN(len(from))]
	}
	return one
}

// killedBy tells by what a process was ended that could not end in order; "":
// it did. SIGINT and SIGTERM kill before they are listened to, and the second
// one does.
func killedBy(err error) string {
	var e *exec.ExitError
	if !errors.As(err, &e) {
		return ""
	}
	w, ok := e.Sys().(syscall.WaitStatus)
	switch {
	case !ok || !w.Signaled():
		return ""
	case w.Signal() == syscall.SIGKILL:
		return "at any time"
	case w.Signal() == syscall.SIGINT || w.Signal() == syscall.SIGTERM:
		return w.Signal().String()
	}
	return ""
}
