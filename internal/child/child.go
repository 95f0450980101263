// Package child starts servers of ours that die with us: on Linux however we
// end, elsewhere when we end in order.
package child

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"strings"
	"sync"
	"time"
)

// Process is a server that was started. A nil one is a server that does not
// run.
type Process struct {
	name   string
	cmd    *exec.Cmd
	exited chan struct{} // closed when the process has ended
	output *tail
}

// Start starts a server that stays in the foreground. The name is for errors.
func Start(name string, cmd *exec.Cmd) (*Process, error) {
	p := &Process{name: name, cmd: cmd, output: new(tail)}
	cmd.Stdout, cmd.Stderr = p.output, p.output
	cmd.WaitDelay = time.Second
	var err error
	if p.exited, err = startTied(cmd); err != nil {
		return nil, fmt.Errorf("starting %s: %w", name, err)
	}
	return p, nil
}

// Await returns once all of these addresses take connections. When the server
// ends instead, or 30 s pass, the error has the last lines that it printed.
func (p *Process) Await(ctx context.Context, addrs ...string) error {
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	tick := time.NewTicker(3 * time.Millisecond)
	defer tick.Stop()
	for _, addr := range addrs {
		for {
			var d net.Dialer
			c, err := d.DialContext(ctx, "tcp", addr)
			if err == nil {
				c.Close()
				break
			}
			select {
			case <-p.exited:
				return fmt.Errorf("starting %s: it ended at once: %s", p.name, p.output)
			case <-ctx.Done():
				return fmt.Errorf("starting %s: no answer on %s: %w: %s", p.name, addr, err, p.output)
			case <-tick.C:
			}
		}
	}
	return nil
}

// Running tells whether the process lives.
func (p *Process) Running() bool {
	if p == nil {
		return false
	}
	select {
	case <-p.exited:
		return false
	default:
		return true
	}
}

// PID returns the process, or 0.
func (p *Process) PID() int {
	if !p.Running() {
		return 0
	}
	return p.cmd.Process.Pid
}

// Stop has the server end by a signal, and kills it after 10 s.
func (p *Process) Stop(signal os.Signal) error {
	if !p.Running() {
		return nil
	}
	if err := p.cmd.Process.Signal(signal); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return fmt.Errorf("stopping %s (process %d): %w", p.name, p.cmd.Process.Pid, err)
	}
	select {
	case <-p.exited:
	case <-time.After(10 * time.Second):
		p.Kill()
	}
	return nil
}

// Kill ends the server at once, as a crash would.
func (p *Process) Kill() {
	if p.Running() {
		p.cmd.Process.Kill()
		<-p.exited
	}
}

// FreePorts returns so many ports of an address of loopback on which nobody
// listens.
func FreePorts(host string, n int) ([]int, error) {
	var ports []int
	for range n {
		l, err := net.Listen("tcp", net.JoinHostPort(host, "0"))
		if err != nil {
			return nil, err
		}
		defer l.Close()
		ports = append(ports, l.Addr().(*net.TCPAddr).Port)
	}
	return ports, nil
}

// tail keeps the end of what a process prints.
type tail struct {
	mu  sync.Mutex
	buf []byte
}

func (t *tail) Write(p []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.buf = append(t.buf, p...)
	if len(t.buf) > 4096 {
		t.buf = append(t.buf[:0], t.buf[len(t.buf)-2048:]...)
	}
	return len(p), nil
}

func (t *tail) String() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return LastLines(t.buf)
}

// LastLines makes one line of the last few of a program's output.
func LastLines(out []byte) string {
	lines := strings.Split(string(bytes.TrimSpace(out)), "\n")
	if len(lines) > 4 {
		lines = lines[len(lines)-4:]
	}
	return strings.Join(lines, "; ")
}

// State returns what the process has used, once it has ended; else nil.
func (p *Process) State() *os.ProcessState {
	if p == nil || p.Running() {
		return nil
	}
	return p.cmd.ProcessState
}
