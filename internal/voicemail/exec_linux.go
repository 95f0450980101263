package voicemail

import (
	"context"
	"errors"
	"os/exec"
	"runtime"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// launcher starts hooks that die with us. The kernel sends the signal when the
// thread that forked ends, not the process; so one goroutine that keeps its
// thread starts them all.
type launcher struct {
	starts chan func()
	quit   chan struct{}
	once   sync.Once
}

func newLauncher() *launcher {
	l := &launcher{starts: make(chan func()), quit: make(chan struct{})}
	go func() {
		runtime.LockOSThread()
		// Unlocked, the thread outlives the goroutine.
		defer runtime.UnlockOSThread()
		for {
			select {
			case start := <-l.starts:
				start()
			case <-l.quit:
				return
			}
		}
	}()
	return l
}

func (l *launcher) close() { l.once.Do(func() { close(l.quit) }) }

// child is a hook that runs.
type child struct{ cmd *exec.Cmd }

func (l *launcher) start(cmd *exec.Cmd) (child, error) {
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	done := make(chan error, 1)
	select {
	case l.starts <- func() { done <- cmd.Start() }:
		return child{cmd}, <-done
	case <-l.quit:
		return child{}, errors.New("the hook is closed")
	}
}

// wait returns when the hook has ended or was killed at the end of ctx; its
// whole group is gone then. The group is killed before its leader is reaped, so
// that its number cannot belong to anybody else.
func (c child) wait(ctx context.Context) exit {
	pid := c.cmd.Process.Pid
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		awaitExit(pid)
	}()
	killed := false
	select {
	case <-ended:
	case <-ctx.Done():
		killed = true
	}
	unix.Kill(-pid, unix.SIGKILL) // ESRCH: nobody is left
	select {
	case <-ended:
	case <-time.After(dyingTime):
		go c.cmd.Wait()
		return exit{killed: killed, stuck: true}
	}
	c.cmd.Wait() // the state says more than its error
	return exitOf(c.cmd.ProcessState, killed)
}

// awaitExit waits without reaping.
func awaitExit(pid int) {
	for {
		var info unix.Siginfo
		err := unix.Waitid(unix.P_PID, pid, &info, unix.WEXITED|unix.WNOWAIT, nil)
		if !errors.Is(err, unix.EINTR) {
			return
		}
	}
}
