package voicemail

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/dirpin/dirpin/config"
)

// The thread on which a push began may end before its hook does; the hook must
// not be taken for an orphan then. Of three threads at once, two at least are
// not the first one of the process, which never ends.
func TestExecHookOutlivesTheThreadThatAskedForIt(t *testing.T) {
	l := newLauncher()
	defer l.close()
	const threads = 3
	children := make(chan child, threads)
	release := make(chan struct{})
	var ended sync.WaitGroup
	for range threads {
		ended.Go(func() {
			runtime.LockOSThread() // and never unlocked: the thread ends with the goroutine
			cmd := exec.Command("/bin/sh", "-c", "read line; exit 65")
			in, err := cmd.StdinPipe()
			if err != nil {
				t.Error(err)
			}
			c, err := l.start(cmd)
			if err != nil {
				t.Error(err)
			}
			t.Cleanup(func() { in.Close() })
			children <- c
			<-release
		})
	}
	var all []child
	for range threads {
		all = append(all, <-children)
	}
	close(release)
	ended.Wait()
	for _, c := range all {
		if got := c.wait(within(t, 300*time.Millisecond)); got.signaled && !got.killed {
			t.Errorf("process %d died with the thread: %+v", c.cmd.Process.Pid, got)
		}
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
