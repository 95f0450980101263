package main

import (
	"fmt"
	"math/rand/v2"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/dirpin/dirpin/internal/lab"
	"github.com/dirpin/dirpin/internal/store"
)

// TestCrashNodes kills two services that share a PostgreSQL server, which is
// stopped and killed as well: at every step and at any instant, and, in the long
// form, has them sleep for longer than their lease while the other takes their
// work over, with users on one voicemail system or on two. -crash 10m is that.
func TestCrashNodes(t *testing.T) {
	length := *crashFor
	if length == 0 {
		length = 12 * time.Second
	}
	seed := *crashSeed
	if seed == 0 {
		seed = rand.Uint64()
	}
	modes := []string{"", "all", "any"} // of those who are on both systems
	if *crashFor == 0 {
		modes = []string{modes[seed%3]}
	}
	for _, mode := range modes {
		t.Run(fmt.Sprint(seed, mode), func(t *testing.T) {
			t.Parallel()
			newCrashNodes(t, length, seed, mode).live()
		})
	}
}

// crashNodes is a crash that has two services.
type crashNodes struct {
	*crashService
	server *lab.Postgres
	nodes  [2]*service
	fates  [2]fate
	woken  [2]time.Time // when a sleeping one is to be woken; zero: it does not sleep
}

func newCrashNodes(t *testing.T, length time.Duration, seed uint64, mode string) *crashNodes {
	server := lab.NewPostgres(t)
	url := server.Schema(t)
	more := "store: '" + url + "'\n"
	c := &crashNodes{server: server, crashService: &crashService{crash: newCrashIn(t, length, seed, mode, func(string) {}, more)}}
	c.place = store.Options{URL: url}
	if err := os.MkdirAll(c.home.dir+"/other/jobs", 0o700); err != nil {
		t.Fatal(err)
	}
	one, err := os.ReadFile(c.home.dir + "/dirpin.yaml")
	if err != nil {
		t.Fatal(err)
	}
	// Both write into the same folder of reports.
	other := strings.Replace(string(one), c.home.dir+"/state\n", c.home.dir+"/other\nkey_file: "+c.home.dir+"/state/key\n", 1)
	c.write("other.yaml", other+"watch: {dir: "+c.home.dir+"/other/jobs, lists: "+c.home.dir+"/state/lists, reports: "+c.home.dir+"/state/reports}\n", 0o644)
	return c
}

func (c *crashNodes) live() {
	c.faults(nil)
	for !c.over() && !c.Failed() {
		for i := range c.nodes {
			c.keepAlive(i)
		}
		c.happen()
	}
	if c.Failed() {
		return
	}
	c.settle()
	c.Logf("%v survived in %s: %d starts, %d processes, %d jobs", c.kills, time.Since(c.began).Round(time.Second), c.starts, c.runs, c.jobs)
}

// keepAlive starts a node that has ended, and wakes one that sleeps.
func (c *crashNodes) keepAlive(i int) {
	s := c.nodes[i]
	switch {
	case s == nil:
	case !c.woken[i].IsZero() && time.Now().After(c.woken[i]):
		s.cmd.Process.Signal(syscall.SIGCONT)
		c.woken[i] = time.Time{}
	case c.alive(s):
		return
	default:
		c.ended(i)
	}
	if c.nodes[i] == nil {
		if c.rng.IntN(3) == 0 {
			c.fates[i] = c.stepFate()
		}
		c.nodes[i] = c.startNode(i, c.fates[i])
	}
}

func (c *crashNodes) startNode(i int, f fate) *service {
	env := []string{batchEnv + "=5"}
	if i == 1 {
		env = append(env, "DIRPIN_CONFIG="+c.home.dir+"/other.yaml")
	}
	if f.dieAt != "" {
		env = append(env, dieAtEnv+"="+f.dieAt)
	}
	c.starts++
	return c.home.begin(env...)
}

// ended says how a node ended. One that slept for too long ends by itself.
func (c *crashNodes) ended(i int) {
	s, f := c.nodes[i], c.fates[i]
	c.nodes[i], c.fates[i], c.woken[i] = nil, fate{}, time.Time{}
	log := s.logged()
	how := killedBy(s.err)
	switch code := codeOf(s.err); {
	case how != "":
		if f.dieAt != "" {
			how, _, _ = strings.Cut(f.dieAt, ":")
		}
		c.event(map[string]any{"event": "kill", "how": how})
	case code == "0":
		how = "SIGTERM, in order"
	case strings.Contains(log, "was taken for dead"):
		how = "taken for dead"
		c.event(map[string]any{"event": "kill", "how": how})
	case strings.Contains(log, "out of reach"), strings.Contains(log, "PostgreSQL"):
		how = "no server at its start"
	default:
		c.Errorf("node %d ended with exit %s\n%s", i, code, log)
	}
	c.kills[how]++
	c.mustNotSay(s)
}

// happen does one of the things that may happen.
func (c *crashNodes) happen() {
	i := c.rng.IntN(2)
	s := c.nodes[i]
	awake := c.woken[i].IsZero()
	switch n := c.rng.IntN(100); {
	case n < 66:
		c.command(n)
	case n < 78:
		s.cmd.Process.Signal(syscall.SIGKILL)
		<-s.done
	case n < 81 && awake:
		s.cmd.Process.Signal(syscall.SIGTERM)
	case n < 84 && awake:
		c.event(map[string]any{"event": "stop"})
		s.cmd.Process.Signal(syscall.SIGSTOP)
		c.woken[i] = time.Now().Add(time.Duration(200+c.rng.IntN(1500)) * time.Millisecond)
		if c.length > time.Minute && c.rng.IntN(2) == 0 {
			c.woken[i] = time.Now().Add(store.Lease + 2*hookTimeout + 5*time.Second) // it is taken for dead meanwhile
		}
	case n < 87:
		end := pick(c.crash, []func() error{c.server.Stop, c.server.Crash})
		c.event(map[string]any{"event": "stop"})
		if err := end(); err != nil {
			c.Error(err)
		}
		time.Sleep(time.Duration(c.rng.IntN(1500)) * time.Millisecond)
		if err := c.server.Start(); err != nil {
			c.Fatal(err)
		}
		c.kills["of the server"]++
	default:
		time.Sleep(time.Duration(c.rng.IntN(400)) * time.Millisecond)
	}
	if c.rng.IntN(5) == 0 {
		c.mend()
	}
}

// settle lets one node bring everything to its end, and holds both to their
// promises, in a copy of the database that the checker can read.
func (c *crashNodes) settle() {
	c.faults(nil)
	for i, s := range c.nodes {
		if s != nil {
			s.cmd.Process.Signal(syscall.SIGCONT)
			s.cmd.Process.Kill()
			<-s.done
			c.ended(i)
		}
	}
	c.mendAll()
	one, other := c.startNode(0, fate{}), c.startNode(1, fate{})
	c.finish(one)
	for _, j := range c.all(func(j *store.Job) bool { return j.Key != nil && j.Counts.Uncertain > 0 }) {
		c.run(fate{wait: true}, "jobs", "retry", fmt.Sprint(j.ID), "--yes")
	}
	c.finish(other)
	for _, s := range []*service{one, other} {
		if code := s.end(syscall.SIGTERM); code != "0" {
			c.Errorf("a node ends with exit %s\n%s", code, s.logged())
		}
	}
	if c.Failed() {
		return
	}
	c.must("store", "copy", "sqlite")
	text, err := os.ReadFile(c.home.dir + "/dirpin.yaml")
	if err != nil {
		c.Fatal(err)
	}
	c.write("dirpin.yaml", strings.Replace(string(text), "\nstore: '"+c.place.URL+"'\n", "\n", 1), 0o644)
	c.checker("--dirpin", c.program())
}
