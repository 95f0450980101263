package main

import (
	"context"
	"fmt"
	"os"
	"strings"
	"syscall"
	"testing"

	"github.com/dirpin/dirpin/internal/lab"
	"github.com/dirpin/dirpin/internal/store"
)

// Two services on one PostgreSQL: a job runs once, on whichever takes it, and
// goes on on the other where that one is stopped.
func TestServeOnPostgres(t *testing.T) {
	const users = 24
	url := lab.SharedPostgres(t).Schema(t)
	h := newHome(t, "echo s >>$0.ev; sleep 0.05; echo e >>$0.ev")
	base := "voicemail: {name: vm, type: exec, command: [" + h.dir + "/hook.sh], timeout: 2s}\nstore: '" + url + "'\n"
	h.write("dirpin.yaml", "state_dir: "+h.dir+"/state\n"+base, 0o644)
	// The other one, with the same key ring in a state folder of its own.
	if err := os.MkdirAll(h.dir+"/other/jobs", 0o700); err != nil {
		t.Fatal(err)
	}
	h.write("other.yaml", "state_dir: "+h.dir+"/other\nkey_file: "+h.dir+"/state/key\n"+base, 0o644)
	h.users(users)
	one := h.serve()
	two := h.serve("DIRPIN_CONFIG=" + h.dir + "/other.yaml")
	db, err := store.Open(context.Background(), store.Options{URL: url})
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	job := func(id int64) (j *store.Job) {
		t.Helper()
		if err := db.Read(context.Background(), func(tx *store.Tx) (err error) { j, err = tx.Job(id); return err }); err != nil {
			t.Fatal(err)
		}
		return j
	}
	for id := int64(1); id <= 3; id++ {
		h.write("job.yaml", fmt.Sprintf("name: job-%d\n", id)+drawAll, 0o600)
		h.must("jobs", "add", "job.yaml")
		s := one
		if id == 2 { // in its course the one that works on it is stopped
			s.until("somebody is changed", func() bool { return job(id).Counts.Updated > 0 })
			if code := one.end(syscall.SIGTERM); code != "0" {
				t.Errorf("exit %s", code)
			}
			one, s = two, two
		}
		s.until(fmt.Sprintf("job %d has ended", id), func() bool { return job(id).Stage == store.StageClosed })
		if j := job(id); j.State != store.Done || j.Counts.Updated != users {
			t.Errorf("job %d is %s, %+v", id, j.State, j.Counts)
		}
	}
	if n := h.countJournal(); n != 3*users {
		t.Errorf("%d pushes for %d users", n, 3*users)
	}
	if code := one.end(syscall.SIGTERM); code != "0" {
		t.Errorf("exit %s", code)
	}
	// Concurrency holds over both.
	events, err := os.ReadFile(h.dir + "/hook.sh.ev")
	if err != nil {
		t.Fatal(err)
	}
	now, most := 0, 0
	for line := range strings.Lines(string(events)) {
		if now++; line == "e\n" {
			now -= 2
		}
		most = max(most, now)
	}
	if most > 8 || most < 2 {
		t.Errorf("%d pushes at once", most)
	}
}
