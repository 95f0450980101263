package child

import (
	"os/exec"
	"runtime"
	"syscall"
)

// startTied starts a process that is killed when this one ends, however it
// ends; by another signal than SIGKILL where the command names one. The channel
// is closed when the process has ended.
func startTied(cmd *exec.Cmd) (exited chan struct{}, err error) {
	// A process group of its own, so that Ctrl-C is for us to handle.
	if cmd.SysProcAttr == nil {
		cmd.SysProcAttr = &syscall.SysProcAttr{}
	}
	if cmd.SysProcAttr.Pdeathsig == 0 {
		cmd.SysProcAttr.Pdeathsig = syscall.SIGKILL
	}
	cmd.SysProcAttr.Setpgid = true
	started := make(chan error)
	exited = make(chan struct{})
	go func() {
		// The signal comes when the thread that started the process ends, so
		// this one is kept for as long as the process lives.
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		err := cmd.Start()
		started <- err
		if err == nil {
			cmd.Wait()
		}
		close(exited)
	}()
	return exited, <-started
}
