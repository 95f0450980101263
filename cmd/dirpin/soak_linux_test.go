package main

import (
	"bytes"
	"fmt"
	"os"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/dirpin/dirpin/internal/lab"
	"github.com/dirpin/dirpin/internal/store"
)

// TestSoak runs 200 jobs over 20,000 users, with a directory that is synchronized
// in between: memory, files and goroutines stay flat, and the database does not
// grow without end. It is `make soak`; without DIRPIN_SOAK it runs a small form.
func TestSoak(t *testing.T) {
	users, jobs := 500, 8
	long := os.Getenv("DIRPIN_SOAK") != ""
	if long {
		users, jobs = 20_000, 200
	}
	d := lab.NewSlapd(t, lab.Config{Users: users})
	h := newHome(t, "")
	addr := freePort(t)
	h.withDirectory(d, "")
	h.replace("dirpin.yaml", "voicemail: {name: vm, type: exec, command: ["+h.dir+"/hook.sh]}\n", "voicemail: {name: vm, type: none}\nhttp: {listen: '"+addr+"'}\n")
	s := h.serve()
	s.until("everybody is here", func() bool { return strings.Contains(s.logged(), fmt.Sprintf("added=%d", users)) })
	token, err := os.ReadFile(h.dir + "/state/metrics.token")
	if err != nil {
		t.Fatal(err)
	}
	look := func() reading {
		_, text := h.get("http://"+addr+"/metrics", strings.TrimSpace(string(token)))
		r := reading{rss: metric(t, text, "process_resident_memory_bytes"), fds: metric(t, text, "process_open_fds"), goroutines: metric(t, text, "go_goroutines")}
		for _, name := range []string{"dirpin.db", "dirpin.db-wal"} {
			if fi, err := os.Stat(h.dir + "/state/" + name); err == nil {
				r.size += float64(fi.Size())
			}
		}
		return r
	}
	var first, quarter reading
	for n := 1; n <= jobs; n++ {
		// A tenth of the people a job, so that the whole is bounded; each job
		// other values.
		h.write("job.yaml", fmt.Sprintf("name: soak-%d\nselect: {query: {match: all, where: [{field: user_id, op: ends with, text: %q}]}}\nreset: {pin: {generate: {length: 8}}}\ndeliver: none\n", n, strconv.Itoa(n%10)), 0o600)
		h.must("jobs", "add", "job.yaml")
		if n%5 == 0 {
			d.Set(d.AddPerson(fmt.Sprintf("soak%d", n), nil), "telephoneNumber", "+32 1")
		}
		s.untilWithin(fmt.Sprintf("job %d has ended", n), 5*time.Minute, h.closed(int64(n)))
		switch n {
		case 1:
			first = look()
		case jobs / 4:
			quarter = look()
		}
	}
	last := look()
	for range 100 { // what the last job and this asking have begun ends in a moment
		if last.goroutines <= quarter.goroutines+10 {
			break
		}
		time.Sleep(100 * time.Millisecond)
		last = look()
	}
	t.Logf("after one job %v, after a quarter %v, after %d %v", first, quarter, jobs, last)
	if last.goroutines > quarter.goroutines+10 || last.fds > quarter.fds+10 {
		t.Errorf("goroutines or files grow: %v, then %v", quarter, last)
	}
	if last.rss > 1.3*quarter.rss+16<<20 {
		t.Errorf("memory grows: %v, then %v", quarter, last)
	}
	// An item and its leg are a few hundred bytes, and each user has a history of
	// three.
	if most := first.size + float64(jobs)*float64(users)/10*800 + 64<<20; last.size > most {
		t.Errorf("the database grows: %v, then %v", first, last)
	}
	for n := 1; n <= jobs; n++ {
		if j := h.job(int64(n)); j.State != store.Done || j.Counts.Updated == 0 || j.Counts.Updated != j.Counts.Selected {
			t.Errorf("job %d is %s, %+v", n, j.State, j.Counts)
		}
	}
	if code := s.end(syscall.SIGTERM); code != "0" {
		t.Errorf("exit %s", code)
	}
}

// reading is what the service takes up.
type reading struct{ rss, fds, goroutines, size float64 }

func (r reading) String() string {
	return fmt.Sprintf("%.0f MiB, %.0f files, %.0f goroutines, database %.1f MiB", r.rss/(1<<20), r.fds, r.goroutines, r.size/(1<<20))
}

func metric(t *testing.T, text, name string) float64 {
	t.Helper()
	for _, line := range bytes.Split([]byte(text), []byte("\n")) {
		if value, ok := bytes.CutPrefix(line, []byte(name+" ")); ok {
			f, err := strconv.ParseFloat(string(value), 64)
			if err != nil {
				t.Fatal(err)
			}
			return f
		}
	}
	t.Fatalf("there is no %s", name)
	return 0
}
