package main

import (
	"testing"

	"github.com/dirpin/dirpin/internal/lab"
)

// Yesterday's database is put back. What the directory and jobs did today is not in
// it: the next synchronization brings back whom the directory has now, and the next
// job gives everyone one PIN, here and in the mailbox.
func TestRestoreYesterday(t *testing.T) {
	d := lab.New(t, lab.OpenLDAP)
	h := newHome(t, "")
	h.withDirectory(d, "    guard: {max_deactivate: 5}\n")
	for _, id := range []string{"stays", "moves", "leaves"} {
		d.AddPerson(id, map[string][]string{"departmentNumber": {"12"}})
	}
	job := func(name, pin string) {
		h.write(name, "select: {query: all}\nreset: {pin: \""+pin+"\"}\n", 0o600)
	}
	right := func(id, pin, code string) {
		t.Helper()
		if out, err := h.dirpin(pin, "verify", id, "--pin"); codeOf(err) != code {
			t.Errorf("verify %s: exit %s, want %s: %s", id, codeOf(err), code, out)
		}
	}
	h.expect("0", "added 3", "sync")
	job("monday.yaml", "284519")
	h.expect("0", "Updated 3,", "run", "monday.yaml", "--yes")
	h.must("backup", "yesterday")

	d.Delete("uid=leaves," + d.Base)
	d.Set("uid=moves,"+d.Base, "departmentNumber", "99")
	d.AddPerson("new", map[string][]string{"departmentNumber": {"12"}})
	h.expect("0", "added 1, updated 1, unchanged 0, deactivated 1", "sync")
	job("tuesday.yaml", "730816")
	h.expect("0", "Updated 3, skipped 1,", "run", "tuesday.yaml", "--yes")
	right("stays", "730816", "0")

	h.must("restore", "yesterday")
	// The mailboxes have today's PINs, the database yesterday's: nothing is pushed
	// before somebody has looked.
	right("stays", "284519", "0")
	job("wednesday.yaml", "605927")
	n := h.countJournal()
	h.expect("3", "jobs release --restored", "run", "wednesday.yaml", "--yes")
	h.expect("0", "added 1", "sync", "--full")
	if got := h.user("moves")["department"]; got != "99" {
		t.Errorf("moves is in %v", got)
	}
	if got := h.user("leaves")["status"]; got != "ldap-inactive" {
		t.Errorf("leaves is %v", got)
	}
	if h.countJournal() != n {
		t.Error("a restored database has pushed")
	}
	h.expect("4", "the database was restored", "doctor")

	h.unrest()
	h.must("jobs", "release", "--restored")
	h.expect("0", "Updated 3, skipped 1,", "run", "wednesday.yaml", "--yes")
	for _, id := range []string{"stays", "moves", "new"} {
		right(id, "605927", "0")
	}
	right("leaves", "605927", "10")
	pins, _ := h.accepted()
	for _, id := range []string{"stays", "moves", "new"} {
		if all := pins[id]; len(all) == 0 || all[len(all)-1] != "605927" {
			t.Errorf("%s's mailbox has %v", id, all)
		}
	}
	h.expect("0", "0 jobs have not ended", "doctor")
}

// unrest has nobody wait for the minutes that pass before a release.
func (h *home) unrest() {
	h.Helper()
	h.exec("DELETE FROM meta WHERE name = 'restored_rest'", "UPDATE journal SET until = 1 WHERE until <> 0")
}
