//go:build unix && !linux

package voicemail

import (
	"context"
	"os/exec"
	"syscall"
)

// launcher starts hooks. Here nothing kills them when we die.
type launcher struct{}

func newLauncher() *launcher { return &launcher{} }

func (l *launcher) close() {}

type child struct{ cmd *exec.Cmd }

func (l *launcher) start(cmd *exec.Cmd) (child, error) {
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	return child{cmd}, cmd.Start()
}

// wait returns when the hook has ended or was killed with its group at the end
// of ctx.
func (c child) wait(ctx context.Context) exit {
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		c.cmd.Wait()
	}()
	killed := false
	select {
	case <-ended:
	case <-ctx.Done():
		killed = true
		syscall.Kill(-c.cmd.Process.Pid, syscall.SIGKILL)
		<-ended
	}
	return exitOf(c.cmd.ProcessState, killed)
}
