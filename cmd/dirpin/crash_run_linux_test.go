package main

import (
	"bytes"
	"fmt"
	"os/exec"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/dirpin/dirpin/internal/credential"
	"github.com/dirpin/dirpin/internal/outcome"
	"github.com/dirpin/dirpin/internal/secret"
	"github.com/dirpin/dirpin/internal/store"

	"github.com/dirpin/dirpin/config"
)

// fate is what is done to a process while it runs.
type fate struct {
	dieAt string // a step
	after time.Duration
	sig   syscall.Signal // after that; 0: none
	until time.Duration  // of SIGSTOP: SIGCONT comes then
	wait  bool           // it is not told to stop for a minute and as long as users rest
}

func (c *crash) fate() (f fate) {
	switch n := c.rng.IntN(20); {
	case n < 7:
		return c.stepFate()
	case n < 14:
		f.sig = syscall.SIGKILL
	case n < 15:
		f.sig = syscall.SIGINT
	case n < 16:
		f.sig = syscall.SIGTERM
	case n < 17:
		f.sig, f.until = syscall.SIGSTOP, time.Duration(200+c.rng.IntN(1500))*time.Millisecond
	}
	f.after = time.Duration(20+c.rng.IntN(500)) * time.Millisecond
	return f
}

func (c *crash) stepFate() fate {
	names := []string{"opening", "write", "written", "push", "pushed", "closing", "closed"}
	name := pick(c, names)
	return fate{dieAt: fmt.Sprintf("%s:%d", name, 1+c.rng.IntN(steps[name]))}
}

// patience is how long a process may take before it is told to stop: a breaker
// may be open, or a job that was cut has users in flight that others wait for.
// One that then takes longer than a push and its commit hangs.
const (
	patience    = 3 * time.Second
	mustEndIn   = hookTimeout + 15*time.Second
	maxCrashOut = 4 << 10
)

// run runs dirpin to its end or to its fate, and returns its exit code, -1 when
// it was killed.
func (c *crash) run(f fate, args ...string) (int, string) {
	cmd := c.command(args...)
	if f.dieAt != "" {
		cmd.Env = append(cmd.Env, dieAtEnv+"="+f.dieAt)
	}
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	if err := cmd.Start(); err != nil {
		c.Fatal(err)
	}
	done := make(chan struct{})
	var guard sync.WaitGroup
	guard.Go(func() { c.torment(cmd, f, done) })
	err := cmd.Wait()
	close(done)
	guard.Wait()
	c.mu.Lock()
	c.runs++
	c.mu.Unlock()
	if how := killedBy(err); how != "" {
		if f.dieAt != "" {
			how, _, _ = strings.Cut(f.dieAt, ":")
		}
		c.event(map[string]any{"event": "kill", "how": how})
		c.mu.Lock()
		c.kills[how]++
		c.mu.Unlock()
		return -1, out.String()
	}
	code := cmd.ProcessState.ExitCode()
	c.judge(code, args, out.String())
	return code, out.String()
}

func (c *crash) torment(cmd *exec.Cmd, f fate, done <-chan struct{}) {
	wait := func(d time.Duration) bool {
		select {
		case <-done:
			return false
		case <-time.After(d):
			return true
		}
	}
	if f.sig != 0 {
		if !wait(f.after) {
			return
		}
		cmd.Process.Signal(f.sig)
	}
	if f.sig == syscall.SIGSTOP {
		c.event(map[string]any{"event": "stop"})
		time.Sleep(f.until) // stopped, whatever it does
		cmd.Process.Signal(syscall.SIGCONT)
	}
	p := patience
	if f.wait {
		p = time.Minute + c.rests
	}
	if !wait(p) {
		return
	}
	cmd.Process.Signal(syscall.SIGINT)
	if !wait(mustEndIn) {
		return
	}
	c.Errorf("%v does not end", cmd.Args)
	cmd.Process.Signal(syscall.SIGABRT)
	if wait(5 * time.Second) {
		cmd.Process.Kill()
	}
}

// judge refuses exit codes and words that no administrator should see.
func (c *crash) judge(code int, args []string, out string) {
	bad := strings.Contains(out, "internal fault") || strings.Contains(out, "panic") || strings.Contains(out, "constraint failed")
	switch code {
	case 0, 1, 3, 5, 130, 143:
	case 2:
		bad = bad || !strings.Contains(out, "cannot be retried") && !strings.Contains(out, "there is nothing left to") && !strings.Contains(out, "is not held but") && !strings.Contains(out, "is held already") && !strings.Contains(out, "the same as job")
	case 4:
		bad = bad || !strings.Contains(out, "denied") && !strings.Contains(out, "began before the key was there") && !strings.Contains(out, "write lock") &&
			!strings.Contains(out, "is in the way") && !strings.Contains(out, "rotated at this moment") && !strings.Contains(out, "changed the key ring meanwhile") &&
			args[0] != "doctor" // a hook on a busy machine may not answer in time
	default:
		bad = true
	}
	if bad {
		c.Errorf("dirpin %s: exit %d\n%s", strings.Join(args, " "), code, out[max(0, len(out)-maxCrashOut):])
	}
}

// newJob writes a job file and returns its name. The checker is told what
// values it gives.
func (c *crash) newJob() string { return c.newJobOf(c.rng.IntN(4)) }

// The kinds of jobs.
const (
	givenPIN = iota
	fromCSV
	drawnAndPassword
	drawnPIN
)

func (c *crash) newJobOf(kind int) string {
	c.jobs++
	name := fmt.Sprintf("job%d", c.jobs)
	who := pick(c, []string{"{query: all}", `{query: {match: all, where: [{field: department, op: is exactly, text: "1"}]}}`, `{query: {match: all, where: [{field: department, op: is exactly, text: "2"}]}}`})
	e := map[string]any{"event": "job", "name": name}
	var text string
	switch kind {
	case givenPIN:
		pin := pick(c, []string{"284071", "937150", "460827", "715394", "528603", "6174"})
		e["pin"] = pin
		text = fmt.Sprintf("select: %s\nreset: {pin: %q}\n", who, pin)
	case fromCSV:
		pins, passwords := map[string]string{}, map[string]string{}
		var b strings.Builder
		b.WriteString("user_id,pin,password\n")
		for _, id := range people {
			if c.rng.IntN(3) > 0 {
				pins[id], passwords[id] = c.drawPIN(), "Qx-"+c.drawPIN()+"-zW"
				fmt.Fprintf(&b, "%s,%s,%s\n", id, pins[id], passwords[id])
			}
		}
		b.WriteString("nobody," + c.drawPIN() + ",Nobody-19-x\n")
		c.write("state/lists/"+name+".csv", b.String(), 0o600)
		e["pin"], e["password"] = pins, passwords
		text = fmt.Sprintf("select: {csv: {name: %s.csv}}\n", name)
	case drawnAndPassword:
		password := "Zk-" + c.drawPIN() + "-qV"
		e["password"] = password
		text = fmt.Sprintf("select: %s\nreset: {pin: {generate: {length: 6}}, password: %s}\ndeliver: none\n", who, password)
	default:
		text = fmt.Sprintf("select: %s\nreset: {pin: {generate: {length: 6}}}\ndeliver: none\n", who)
	}
	if c.rng.IntN(8) == 0 {
		text += "limits: {max_failures: 3}\n"
	}
	c.event(e)
	c.write(name+".yaml", text, 0o600)
	return name
}

func (c *crash) drawPIN() string {
	policy := config.Policy{MinLength: 4, MaxLength: 8, ForbidTrivial: true}
	for {
		pin := fmt.Sprintf("%06d", c.rng.IntN(1_000_000))
		if credential.CheckGiven(credential.PIN, secret.New(pin), policy) == outcome.OK {
			return pin
		}
	}
}

// everyStep kills one job at each step by itself.
func (c *crash) everyStep() {
	for _, name := range []string{"opening", "write", "written", "push", "pushed", "closing", "closed"} {
		job := c.newJobOf(drawnAndPassword)
		for n := 1; n <= steps[name]; n += max(1, 3*steps[name]/4) {
			if code, out := c.run(fate{dieAt: fmt.Sprintf("%s:%d", name, n), wait: true}, "run", job+".yaml", "--yes"); code != -1 && name != "closed" && n == 1 {
				c.Errorf("the job did not die at %s: exit %d\n%s", name, code, out)
			}
		}
		c.run(fate{wait: true}, "run", job+".yaml", "--yes")
	}
	c.checker("--open")
}

// goOnArgs are the arguments by which an unfinished job goes on.
func goOnArgs(j *store.Job) []string {
	if j.RetryOf != 0 {
		return []string{"jobs", "retry", fmt.Sprint(j.RetryOf), "--yes"}
	}
	return []string{"run", j.File, "--yes"}
}
