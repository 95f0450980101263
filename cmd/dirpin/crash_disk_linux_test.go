package main

import (
	"errors"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/dirpin/dirpin/internal/store"
)

// A disk that is nearly full pauses a job before anybody is pushed; one that
// fills up in its course loses nothing of what was accepted, through kills as
// well.
func TestCrashFullDisk(t *testing.T) {
	t.Parallel()
	if os.Geteuid() != 0 {
		t.Skip("only root can mount a file system that may be filled")
	}
	c := newCrashOn(t, time.Minute, rand.Uint64(), func(dir string) {
		state := filepath.Join(dir, "state")
		if err := os.Mkdir(state, 0o700); err != nil {
			t.Fatal(err)
		}
		if err := syscall.Mount("tmpfs", state, "tmpfs", 0, "size=128m,mode=0700"); err != nil {
			t.Skip("no file system can be mounted here: ", err)
		}
		t.Cleanup(func() {
			if err := syscall.Unmount(state, syscall.MNT_DETACH); err != nil {
				t.Error(err)
			}
		})
	}, "")
	c.faults(map[string]any{"slow": 0.5})

	c.fill(40 << 20)
	paused := c.newJobOf(drawnPIN)
	var all sync.WaitGroup
	all.Go(func() {
		if code, out := c.run(fate{wait: true}, "run", paused+".yaml", "--yes"); code > exitSomeFailed {
			t.Errorf("a disk that had room again: exit %d\n%s", code, out)
		}
	})
	c.wait("the job pauses", func() bool {
		jobs := c.all(unclosed)
		return len(jobs) == 1 && jobs[0].State == store.Paused && strings.Contains(jobs[0].Reason, "MiB are free")
	})
	if mails, err := os.ReadDir(filepath.Join(c.dir, "mail")); len(mails) > 0 {
		t.Errorf("%d users were pushed without room for their results: %v", len(mails), err)
	}
	c.empty()
	all.Wait()

	full := false
	for _, f := range []fate{{wait: true}, {sig: syscall.SIGKILL, after: 1200 * time.Millisecond}} {
		name := c.newJobOf(drawnAndPassword)
		all.Go(func() {
			_, out := c.run(f, "run", name+".yaml", "--yes")
			full = full || strings.Contains(out, "writing results: trying again")
		})
		c.wait("the job runs", func() bool {
			jobs := c.all(func(j *store.Job) bool { return j.Name == name })
			return len(jobs) == 1 && jobs[0].Counts.Updated > 0
		})
		c.fill(0)
		time.Sleep(time.Second) // in which answers come and cannot be written
		c.empty()
		all.Wait()
	}
	if !full {
		t.Error("no result met a full disk")
	}
	c.settle()
	c.checker("--dirpin", c.program())
}

func (c *crash) wait(what string, done func() bool) {
	c.Helper()
	for range 500 {
		if done() {
			return
		}
		time.Sleep(10 * time.Millisecond)
	}
	c.Errorf("not within 5 s: %s", what)
}

func (c *crash) filler() string { return filepath.Join(c.dir, "state", "filler") }

// fill takes the free space but for some bytes.
func (c *crash) fill(leave uint64) {
	c.Helper()
	var st syscall.Statfs_t
	if err := syscall.Statfs(filepath.Join(c.dir, "state"), &st); err != nil {
		c.Fatal(err)
	}
	f, err := os.Create(c.filler())
	if err != nil {
		c.Fatal(err)
	}
	defer f.Close()
	free := st.Bavail * uint64(st.Bsize)
	if free <= leave {
		c.Fatalf("only %d bytes are free", free)
	}
	if err := syscall.Fallocate(int(f.Fd()), 0, 0, int64(free-leave)); err != nil && !errors.Is(err, syscall.ENOSPC) {
		c.Fatal(err)
	}
	if leave > 0 {
		return
	}
	for err == nil {
		_, err = f.Write(make([]byte, 4096))
	}
}

func (c *crash) empty() {
	c.Helper()
	if err := os.Remove(c.filler()); err != nil {
		c.Fatal(err)
	}
}
