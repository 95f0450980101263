package main

import (
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/dirpin/dirpin/internal/store"
)

// A backup taken beside the running service is restored when that has stopped;
// the next start holds what is unfinished, pushes nothing, and goes on when it is
// told to.
func TestBackupAndRestore(t *testing.T) {
	h := newHome(t, "sleep 0.05")
	h.users(40)
	h.write("first.yaml", "name: first\n"+drawAll, 0o600)
	h.write("second.yaml", "name: second\n"+drawAll, 0o600)
	s := h.serve()
	h.must("jobs", "add", "first.yaml")
	s.until("somebody is changed", func() bool { return h.job(1).Counts.Updated > 0 })
	h.must("backup", "copy")
	if out, err := h.dirpin("", "backup", "copy"); codeOf(err) != "2" || !strings.Contains(out, "exists already") {
		t.Errorf("over another file: exit %s, %s", codeOf(err), out)
	}
	if fi, err := os.Stat(h.dir + "/copy"); err != nil || fi.Mode().Perm() != 0o600 {
		t.Errorf("%v, %v", fi, err)
	}
	if out, err := h.dirpin("", "restore", "copy"); codeOf(err) != "5" || !strings.Contains(out, "stop the service first") {
		t.Errorf("beside the service: exit %s, %s", codeOf(err), out)
	}
	s.until("the job has ended", h.closed(1))
	h.must("jobs", "add", "second.yaml")
	s.until("the next job has ended", h.closed(2))
	n := h.countJournal()
	if s.end(syscall.SIGTERM) != "0" {
		t.Error("it does not end in order")
	}
	h.write("junk", "user_id\nanna\n", 0o600)
	if out, err := h.dirpin("", "restore", "junk"); codeOf(err) != "2" {
		t.Errorf("of no database: exit %s, %s", codeOf(err), out)
	}
	h.must("restore", "copy")
	if kept, _ := filepath.Glob(h.dir + "/state/dirpin.db.before-restore-*"); len(kept) != 1 {
		t.Errorf("the former database: %q", kept)
	}
	s = h.serve()
	s.says("the database was restored")
	if j := h.job(1); j.State != store.Held || j.Reason != store.ReasonRestored {
		t.Errorf("the job is %s: %s", j.State, j.Reason)
	}
	if h.countJournal() != n {
		t.Error("a restored database has pushed")
	}
	h.write("third.yaml", "name: third\n"+drawAll, 0o600)
	if out, err := h.dirpin("", "jobs", "add", "third.yaml"); codeOf(err) != "3" {
		t.Errorf("a job for a restored database: exit %s, %s", codeOf(err), out)
	}
	// Nobody waits for the minutes of the rest here.
	h.exec("DELETE FROM meta WHERE name = 'restored_rest'", "UPDATE journal SET until = 1 WHERE until <> 0")
	h.must("jobs", "release", "--restored")
	s.says("was released")
	h.must("jobs", "add", "third.yaml")
	last := int64(3)
	for id := range int64(10) {
		if j := h.jobOrNil(id); j != nil && j.Name == "third" {
			last = id
		}
	}
	s.until("the third job has ended", h.closed(last))
	if j := h.job(last); j.Counts.Updated != 40 {
		t.Errorf("%+v", j.Counts)
	}
	s.until("the first job has ended", h.closed(1))
	if j := h.job(1); j.Counts.Final() != 40 {
		t.Errorf("%+v", j.Counts)
	}
}
