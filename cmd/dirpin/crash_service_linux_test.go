package main

import (
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/dirpin/dirpin/internal/lab"
	"github.com/dirpin/dirpin/internal/store"
)

// TestCrashService kills the service at every step and at any instant, with jobs
// added, held, cancelled and retried beside it, a directory that changes, hooks
// that lose answers and hang, and lets the independent checker compare. -crash
// 10m is the long form, in which the clock jumps too.
func TestCrashService(t *testing.T) {
	length := *crashFor
	if length == 0 {
		length = 12 * time.Second
	}
	seed := *crashSeed
	if seed == 0 {
		seed = rand.Uint64()
	}
	t.Run(fmt.Sprint(seed), func(t *testing.T) {
		t.Parallel()
		newCrashService(t, length, seed).live()
	})
}

// crashService is a crash that has a service, and a directory.
type crashService struct {
	*crash
	dir    *lab.Directory
	staff  map[string]string // people of the directory, with their DNs
	hired  int
	starts int
	slow   time.Duration // the longest from a start to ready

	dropped []string      // job files, by their names in the watch folder
	off     time.Duration // of the clock
}

func newCrashService(t *testing.T, length time.Duration, seed uint64) *crashService {
	d := lab.New(t, lab.OpenLDAP)
	watch := "watch: {settle: 0, owners: [root, " + me() + "]}\n"
	c := &crashService{crash: newCrashOn(t, length, seed, func(string) {}, watch), dir: d, staff: map[string]string{}}
	c.withDirectory(d, "    guard: {max_deactivate: 100%, max_blank: 100%}\n")
	for range 8 {
		c.hire()
	}
	c.setClock(0)
	c.home.env = append(c.home.env, clockEnv+"="+c.home.dir+"/clock")
	return c
}

func (c *crashService) hire() {
	c.hired++
	id := fmt.Sprintf("ldap-%c%c", 'a'+c.hired/26, 'a'+c.hired%26)
	c.staff[id] = c.dir.AddPerson(id, nil)
}

func (c *crashService) live() {
	c.faults(nil)
	for !c.over() && !c.Failed() {
		c.life()
	}
	if c.Failed() {
		return
	}
	c.settle()
	c.Logf("%v survived in %s: %d starts of the service (the slowest ready after %s), %d processes, %d jobs, %d of them dropped",
		c.kills, time.Since(c.began).Round(time.Second), c.starts, c.slow, c.runs, c.jobs, len(c.dropped))
}

// start starts the service, which may die before it is ready.
func (c *crashService) start(f fate) *service {
	var env []string
	if f.dieAt != "" {
		env = append(env, dieAtEnv+"="+f.dieAt)
	}
	began := time.Now()
	s := c.home.begin(env...)
	c.starts++
	for range 3000 {
		if slices.Contains(s.notified(), "READY=1") {
			c.slow = max(c.slow, time.Since(began))
			return s
		}
		select {
		case <-s.done:
			return s
		case <-time.After(10 * time.Millisecond):
		}
	}
	c.Errorf("the service is not ready after 30 s")
	return s
}

// life is one life of the service: it is started, things happen, and it ends.
func (c *crashService) life() {
	f := fate{}
	if c.rng.IntN(2) == 0 {
		f = c.stepFate()
	}
	s := c.start(f)
	until := time.Now().Add(time.Duration(300+c.rng.IntN(2500)) * time.Millisecond)
	for time.Now().Before(until) && c.alive(s) && !c.Failed() {
		c.happen(s)
	}
	c.endLife(s, f)
	c.mend()
	if c.rng.IntN(6) == 0 {
		c.checker("--open")
	}
}

func (c *crashService) alive(s *service) bool {
	select {
	case <-s.done:
		return false
	default:
		return true
	}
}

func (c *crashService) endLife(s *service, f fate) {
	sig, how := syscall.SIGKILL, "at any time"
	if c.alive(s) && c.rng.IntN(4) == 0 {
		sig = syscall.SIGTERM
	}
	s.cmd.Process.Signal(sig)
	select {
	case <-s.done:
	case <-time.After(mustEndIn + 15*time.Second):
		c.Errorf("the service does not end by %v:\n%s", sig, s.logged())
		s.cmd.Process.Kill()
		<-s.done
	}
	if killed := killedBy(s.err); killed == "" {
		if code := codeOf(s.err); code != "0" {
			c.Errorf("the service ended with exit %s\n%s", code, s.logged())
		}
		c.kills["SIGTERM, in order"]++
	} else {
		if f.dieAt != "" && sig == syscall.SIGKILL {
			how, _, _ = strings.Cut(f.dieAt, ":")
		}
		c.event(map[string]any{"event": "kill", "how": how})
		c.kills[how]++
	}
	c.mustNotSay(s, "database is locked", "working on the job")
}

// mustNotSay looks for words in the log of a service that no administrator should
// see.
func (c *crashService) mustNotSay(s *service, more ...string) {
	log := s.logged()
	for _, bad := range append([]string{"internal fault", "panic", "constraint failed"}, more...) {
		if i := strings.Index(log, bad); i >= 0 {
			c.Errorf("the service said %q:\n%s", bad, log[max(0, i-500):min(len(log), i+1500)])
		}
	}
}

// happen does one of the things that may happen beside the service.
func (c *crashService) happen(s *service) {
	switch n := c.rng.IntN(100); {
	case n < 15 && len(c.all(unclosed)) < 6:
		c.drop()
	case n < 66:
		c.command(n)
	case n < 72:
		s.cmd.Process.Signal(syscall.SIGHUP)
	case n < 75:
		c.run(fate{}, "keys", "rotate") // waits for the service to read the new key
		s.cmd.Process.Signal(syscall.SIGHUP)
	case n < 78:
		c.event(map[string]any{"event": "stop"})
		s.cmd.Process.Signal(syscall.SIGSTOP)
		most := 1500
		if c.length > time.Minute {
			most = 14000 // longer than a beat may be old
		}
		time.Sleep(time.Duration(200+c.rng.IntN(most)) * time.Millisecond)
		s.cmd.Process.Signal(syscall.SIGCONT)
	case n < 81:
		name := fmt.Sprintf("%s/copy-%d", c.home.dir, c.starts)
		os.Remove(name)
		c.run(fate{}, "backup", name)
		os.Remove(name)
	case n < 83 && c.length > time.Minute:
		c.setClock(pick(c.crash, []time.Duration{0, 0, 400 * 24 * time.Hour, -3 * time.Hour, 25 * time.Minute}))
	default:
		c.staffChanges()
		time.Sleep(time.Duration(c.rng.IntN(200)) * time.Millisecond)
	}
}

// setClock has the wall clock of dirpin be wrong by that much.
func (c *crashService) setClock(by time.Duration) {
	if by != c.off {
		c.kills["jumps of the clock"]++
		c.rests = 5 * time.Minute // of users whose push was in doubt, where the clock was set back
	}
	c.off = by
	c.event(map[string]any{"event": "clock", "off": by.Seconds()})
	c.write("clock.tmp", by.String(), 0o644)
	if err := os.Rename(c.home.dir+"/clock.tmp", c.home.dir+"/clock"); err != nil {
		c.Fatal(err)
	}
}

// command does, for a number below 66, one of the things that an administrator
// does by commands.
func (c *crashService) command(n int) {
	switch {
	case n < 30 && len(c.all(unclosed)) < 6:
		c.run(fate{}, "jobs", "add", c.newJob()+".yaml")
	case n < 36:
		c.newFaults()
	case n < 42:
		if j := pick(c.crash, c.all(unclosed)); j != nil {
			c.run(fate{}, "jobs", pick(c.crash, []string{"hold", "cancel", "show"}), fmt.Sprint(j.ID))
		}
	case n < 50:
		c.release()
	case n < 58:
		c.retry(c.fate())
	case n < 62:
		c.run(c.fate(), "users", "reset", pick(c.crash, people), "--pin", "--generate", "6")
	default:
		c.run(c.fate(), "run", c.newJob()+".yaml", "--yes")
	}
}

// drop puts a job file into the watch folder, whether the service lives or not.
func (c *crashService) drop() {
	name := c.newJob() + ".yaml"
	data, err := os.ReadFile(c.home.dir + "/" + name)
	if err != nil {
		c.Fatal(err)
	}
	c.write("state/jobs/"+name+".tmp", string(data), 0o600)
	if err := os.Rename(c.home.dir+"/state/jobs/"+name+".tmp", c.home.dir+"/state/jobs/"+name); err != nil {
		c.Fatal(err)
	}
	c.dropped = append(c.dropped, name)
}

// checkDropped: what was dropped was run once, or refused once.
func (c *crashService) checkDropped() {
	jobs := make(map[string]int)
	for _, j := range c.all(func(j *store.Job) bool { return j.RetryOf == 0 }) {
		jobs[j.Name]++
	}
	kept := make(map[string][]string)
	for _, folder := range []string{"", "accepted", "rejected", ".claims"} {
		entries, err := os.ReadDir(c.home.dir + "/state/jobs/" + folder)
		if err != nil && !os.IsNotExist(err) {
			c.Fatal(err)
		}
		for _, e := range entries {
			if i := strings.LastIndex(e.Name(), "job"); i >= 0 && strings.HasSuffix(e.Name(), ".yaml") {
				kept[e.Name()[i:]] = append(kept[e.Name()[i:]], folder)
			}
		}
	}
	for _, name := range c.dropped {
		want := 0
		if slices.Equal(kept[name], []string{"accepted"}) {
			want = 1
		} else if !slices.Equal(kept[name], []string{"rejected"}) {
			c.Errorf("%s, which was dropped, is now in %q", name, kept[name])
		}
		if got := jobs[strings.TrimSuffix(name, ".yaml")]; got != want {
			c.Errorf("%s, which was dropped, is %d jobs, and in %q", name, got, kept[name])
		}
	}
}

// staffChanges changes the directory.
func (c *crashService) staffChanges() {
	ids := make([]string, 0, len(c.staff))
	for id := range c.staff {
		ids = append(ids, id)
	}
	slices.Sort(ids)
	id := pick(c.crash, ids)
	switch n := c.rng.IntN(4); {
	case n == 0 && len(ids) < 20:
		c.hire()
	case n == 1 && len(ids) > 4:
		c.dir.Delete(c.staff[id])
		delete(c.staff, id)
	default:
		c.dir.Set(c.staff[id], "telephoneNumber", fmt.Sprintf("+32 %d", c.rng.IntN(1_000_000)))
	}
}

// release lets what is held go on.
func (c *crashService) release() {
	for _, j := range c.all(unclosed) {
		if j.State == store.Held {
			c.run(fate{}, "jobs", "release", fmt.Sprint(j.ID))
		}
	}
}

// settle lets the service bring everything to its end, and holds it to its
// promises.
func (c *crashService) settle() {
	c.faults(nil)
	c.setClock(0)
	c.mendAll()
	s := c.start(fate{})
	c.finish(s)
	for _, j := range c.all(func(j *store.Job) bool { return j.Key != nil && j.Counts.Uncertain > 0 }) {
		c.run(fate{wait: true}, "jobs", "retry", fmt.Sprint(j.ID), "--yes")
	}
	c.finish(s)
	if out, err := c.dirpin("", "sync", "--full"); err != nil {
		c.Errorf("sync --full: %v\n%s", err, out)
	}
	if out := c.must("find", "status is exactly ldap-active", "--csv"); strings.Count(out, "ldap-") != 2*len(c.staff) {
		c.Errorf("%d people are in the directory, and here are\n%s", len(c.staff), out)
	}
	if code := s.end(syscall.SIGTERM); code != "0" {
		c.Errorf("the service ends with exit %s\n%s", code, s.logged())
	}
	c.checkDropped()
	if !c.Failed() {
		c.checker("--dirpin", c.program())
	}
}

// finish waits until no job is left.
func (c *crashService) finish(s *service) {
	c.Helper()
	until := time.Now().Add(2*time.Minute + c.rests)
	for {
		left := c.all(func(j *store.Job) bool { return unclosed(j) && j.Reason != store.ReasonInterrupted })
		waiting, err := filepath.Glob(c.home.dir + "/state/jobs/*.yaml")
		if err != nil {
			c.Fatal(err)
		}
		if len(left) == 0 && len(waiting) == 0 {
			break
		}
		if time.Now().After(until) && len(left) == 0 {
			c.Fatalf("%v are not taken\n%s", waiting, s.logged())
		}
		if time.Now().After(until) || !c.alive(s) {
			c.Fatalf("job %d does not end: %s %s %q, owner %q\n%s", left[0].ID, left[0].State, left[0].Stage, left[0].Reason, left[0].Owner, s.logged())
		}
		c.release()
		c.mend()
		time.Sleep(100 * time.Millisecond)
	}
	// What its command was told to stop is left to whoever gives it again.
	for _, j := range c.all(unclosed) {
		c.goOnWith(j, fate{wait: true})
	}
}
