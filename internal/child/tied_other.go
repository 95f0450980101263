//go:build !linux

package child

import "os/exec"

// startTied starts a process. The channel is closed when it has ended.
func startTied(cmd *exec.Cmd) (exited chan struct{}, err error) {
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	exited = make(chan struct{})
	go func() {
		cmd.Wait()
		close(exited)
	}()
	return exited, nil
}
