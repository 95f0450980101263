package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// tells waits until the status file of a job file has a text.
func (s *service) tells(file, text string) {
	s.h.Helper()
	s.until(fmt.Sprintf("the status of %s says %q", file, text), func() bool {
		found, _ := filepath.Glob(s.h.dir + "/state/jobs/accepted/*-" + file + ".status.txt")
		if len(found) != 1 {
			return false
		}
		data, err := os.ReadFile(found[0])
		return err == nil && strings.Contains(string(data), text)
	})
}

// What is dropped into the folder is run, now and when it was dropped while the
// service was down; a reload watches the folder that is configured then; what a
// kill leaves claimed goes on.
func TestServeWatches(t *testing.T) {
	h := newHome(t, "")
	h.users(3)
	config := "state_dir: " + h.dir + "/state\nvoicemail: {name: vm, type: exec, command: [" + h.dir + "/hook.sh]}\nwatch: {settle: 1s%s}\n"
	h.write("dirpin.yaml", fmt.Sprintf(config, ""), 0o644)
	h.write("state/jobs/early.yaml", drawAll, 0o644)
	s := h.serve()
	s.tells("early.yaml", "job 1 done\nUpdated 3, ")
	h.write("state/jobs/bad.yaml", "reset: {pin: 471108}\n", 0o644)
	s.says("refused")
	h.write("state/jobs/held.yaml", drawAll+"run: held\n", 0o644)
	s.tells("held.yaml", "job 2 held")
	h.must("jobs", "release", "2")
	s.tells("held.yaml", "job 2 done")

	h.write("dirpin.yaml", fmt.Sprintf(config, ", allow: {max_users: 2}"), 0o644)
	s.cmd.Process.Signal(syscall.SIGHUP)
	s.says("the configuration is taken up")
	h.write("state/jobs/many.yaml", drawAll+"# more\n", 0o644)
	s.tells("many.yaml", "job 3 held: 0 of 3; it would change 3 users, and max_users is 2")
	if code := s.end(syscall.SIGTERM); code != "0" {
		t.Errorf("exit code %s", code)
	}

	for i, step := range []string{"claimed", "submitted", "kept"} {
		name := fmt.Sprintf("kill%d.yaml", i)
		h.write("state/jobs/"+name, drawAll+"run: held # "+step+"\n", 0o644)
		dying := h.begin(dieAtEnv + "=" + step + ":1")
		select {
		case <-dying.done:
		case <-time.After(20 * time.Second):
			t.Fatalf("step %s is not taken", step)
		}
		s = h.serve()
		s.tells(name, fmt.Sprintf("job %d held; its file says run: held", 4+i))
		if code := s.end(syscall.SIGTERM); code != "0" {
			t.Errorf("exit code %s", code)
		}
	}
	if left, _ := os.ReadDir(h.dir + "/state/jobs/.claims"); len(left) != 0 {
		t.Errorf("claims are left: %v", left)
	}
	if out := h.must("jobs", "list"); strings.Count(out, "\n") != 7 { // and the heading
		t.Errorf("jobs:\n%s", out)
	}
}
