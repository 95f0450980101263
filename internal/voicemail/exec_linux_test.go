package voicemail

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/dirpin/dirpin/config"
)

// The thread on which a push began may end before its hook does; the hook must
// not be taken for an orphan then.
func TestExecHookOutlivesTheThreadThatAskedForIt(t *testing.T) {
	l := newLauncher()
	defer l.close()
	in := filepath.Join(t.TempDir(), "fifo")
	if err := exec.Command("mkfifo", in).Run(); err != nil {
		t.Fatal(err)
	}
	started := make(chan child)
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		runtime.LockOSThread() // and never unlocked: the thread ends with the goroutine
		c, err := l.start(exec.Command("/bin/sh", "-c", "read line <"+in+"; exit 65"))
		if err != nil {
			t.Error(err)
		}
		started <- c
	}()
	c := <-started
	<-ended
	for range 50 { // other threads come and go
		done := make(chan struct{})
		go func() { defer close(done); runtime.LockOSThread() }()
		<-done
	}
	if err := os.WriteFile(in, []byte("go on\n"), 0); err != nil {
		t.Fatal(err)
	}
	if got := c.wait(within(t, 20*time.Second)); got.code != 65 || got.signaled || got.killed {
		t.Errorf("got %+v", got)
	}
}

// Run by TestExecHookDiesWithUs in a process of its own.
func orphanmaker(list string) {
	cfg := config.Voicemail{Name: "pbx", Type: "exec", Timeout: time.Hour, Command: []string{"/bin/sh", "-c", "echo $$ >>" + list + "; exec sleep 600"}}
	conn, err := Connect(&cfg, Options{})
	if err != nil {
		panic(err)
	}
	a, err := NewAttempt(testRequest("4711").Body())
	if err != nil {
		panic(err)
	}
	conn.Send(context.Background(), a)
}

const orphanmakerEnv = "DIRPIN_TEST_ORPHANS"

func TestExecHookDiesWithUs(t *testing.T) {
	if list := os.Getenv(orphanmakerEnv); list != "" {
		orphanmaker(list)
		return
	}
	list := filepath.Join(t.TempDir(), "pids")
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	var out strings.Builder
	cmd := exec.Command(self, "-test.run=^TestExecHookDiesWithUs$")
	cmd.Env = append(os.Environ(), orphanmakerEnv+"="+list)
	cmd.Stdout, cmd.Stderr = &out, &out
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	pid := pids(t, list, 1)[0]
	cmd.Process.Kill()
	cmd.Wait()
	if !gone(pid) {
		t.Errorf("the hook outlived us: %s", out.String())
	}
}
