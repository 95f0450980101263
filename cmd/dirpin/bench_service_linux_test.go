package main

import (
	"context"
	"crypto/rand"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/dirpin/dirpin/internal/credential"
	"github.com/dirpin/dirpin/internal/lab"
	"github.com/dirpin/dirpin/internal/secret"
	"github.com/dirpin/dirpin/internal/store"
	"github.com/dirpin/dirpin/internal/user"
)

// realHashing has the program hash as it does outside of tests.
const realHashing = hashingEnv + "=real"

// bench is a home for a benchmark, with an exec hook's place taken by a system
// that accepts at once.
func bench(b *testing.B, users int) *home {
	b.Helper()
	h := &home{TB: b, dir: b.TempDir()}
	h.write("dirpin.yaml", "state_dir: "+h.dir+"/state\nvoicemail: {name: vm, type: none}\nwatch: {dir: "+h.dir+"/state/jobs, lists: "+h.dir+"/state/lists, reports: "+h.dir+"/state/reports, settle: 0, owners: [root, "+me()+"]}\n", 0o644)
	if out, err := h.dirpin("", "--config", h.dir+"/init.yaml", "init", "--state-dir", h.dir+"/state"); err != nil {
		b.Fatal(err, out)
	}
	s, err := store.Open(context.Background(), store.Options{Path: h.dir + "/state/dirpin.db"})
	if err != nil {
		b.Fatal(err)
	}
	defer s.Close()
	for at := 0; at < users; at += 100_000 {
		err := s.Write(context.Background(), func(tx *store.Tx) error {
			for i := at; i < min(at+100_000, users); i++ {
				u := user.User{UserID: fmt.Sprintf("w%d", i), FirstName: fmt.Sprint("Anna", i%1000), LastName: fmt.Sprint("Meier ", i%7000), Departments: []string{fmt.Sprint("D", i%500)}, Status: user.Local}
				if err := tx.AddUser(&u); err != nil {
					return err
				}
			}
			return nil
		})
		if err != nil {
			b.Fatal(err)
		}
	}
	return h
}

func me() string { return submitter() }

// A thousand job files of one user each, dropped at once: all reported within
// twice the time of their hashing and two seconds.
func BenchmarkServiceRatioThousandFiles(b *testing.B) {
	const jobs = 1000
	for range b.N {
		hashing := hashAlone(b, jobs)
		h := bench(b, jobs)
		s := h.serve(realHashing)
		began := time.Now()
		for i := range jobs {
			h.write(fmt.Sprintf("state/jobs/%04d.yaml", i), fmt.Sprintf("select: {query: {match: all, where: [{field: user_id, op: is exactly, text: w%d}]}}\nreset: {pin: {generate: {length: 8}}}\ndeliver: none\n", i), 0o600)
		}
		h.awaitClosed(s, jobs, 10*time.Minute)
		took := time.Since(began)
		s.end(syscall.SIGTERM)
		b.ReportMetric(took.Seconds(), "s")
		b.ReportMetric(hashing.Seconds(), "s-hashing")
		b.ReportMetric(took.Seconds()/(2*hashing.Seconds()+2), "of-allowed")
	}
}

func (h *home) awaitClosed(s *service, jobs int, most time.Duration) {
	h.Helper()
	db, err := store.Open(context.Background(), store.Options{Path: h.dir + "/state/dirpin.db"})
	if err != nil {
		h.Fatal(err)
	}
	defer db.Close()
	s.untilWithin("every job is reported", most, func() bool {
		n := 0
		err := db.Read(context.Background(), func(tx *store.Tx) error {
			return tx.Jobs(func(j *store.Job) error {
				if j.Stage == store.StageClosed {
					n++
				}
				return nil
			})
		})
		if err != nil {
			h.Fatal(err)
		}
		time.Sleep(100 * time.Millisecond)
		return n >= jobs
	})
}

// hashAlone is how long that many hashes take on all cores, and nothing else.
func hashAlone(b *testing.B, n int) time.Duration {
	ring, err := credential.NewRing(rand.Reader, time.Now())
	if err != nil {
		b.Fatal(err)
	}
	h := credential.NewHasher(ring, credential.DefaultParams())
	began := time.Now()
	var all sync.WaitGroup
	todo := make(chan int, n)
	for i := range n {
		todo <- i
	}
	close(todo)
	for range runtime.GOMAXPROCS(0) {
		all.Go(func() {
			for i := range todo {
				h.Hash(credential.PIN, secret.New(fmt.Sprintf("%08d", i)))
			}
		})
	}
	all.Wait()
	return time.Since(began)
}

// A long job in the service against the same one by `dirpin run`: with hashing as
// it is, and with hashing that costs nothing, where the rest shows.
func BenchmarkServiceRatioLongJob(b *testing.B) {
	for _, c := range []struct {
		name  string
		users int
		env   []string
	}{{"argon2id", 2000, []string{realHashing}}, {"cheap", 100_000, nil}} {
		b.Run(c.name, func(b *testing.B) {
			for range b.N {
				h := bench(b, c.users)
				h.write("a.yaml", "name: a\n"+drawAll, 0o600)
				h.write("b.yaml", "name: b\n"+drawAll, 0o600)
				cmd := h.command("run", "a.yaml", "--yes", "--quiet")
				cmd.Env = append(cmd.Env, c.env...)
				if out, err := cmd.CombinedOutput(); err != nil {
					b.Fatal(err, string(out))
				}
				s := h.serve(c.env...)
				h.must("jobs", "add", "b.yaml")
				h.awaitClosed(s, 2, 20*time.Minute)
				run, served := h.span(1), h.span(2)
				s.end(syscall.SIGTERM)
				b.ReportMetric(float64(c.users)/run.Seconds(), "users/s-run")
				b.ReportMetric(float64(c.users)/served.Seconds(), "users/s-serve")
				b.ReportMetric(run.Seconds()/served.Seconds(), "of-run")
			}
		})
	}
}

// Two nodes on one PostgreSQL against one of them, with a hook that takes 20 ms:
// at the same concurrency they are as fast as one, at twice that nearly twice.
func BenchmarkServiceRatioTwoNodes(b *testing.B) {
	const users = 12_000
	for range b.N {
		rate := func(nodes, concurrency int) float64 {
			h, s, hook := benchNodes(b, users, nodes, concurrency)
			defer h.db.Close()
			h.must("jobs", "add", "job.yaml")
			var j *store.Job
			s[0].untilWithin("the job is reported", 10*time.Minute, func() bool {
				if err := h.db.Read(context.Background(), func(tx *store.Tx) (err error) { j, err = tx.Job(1); return err }); err != nil {
					b.Fatal(err)
				}
				time.Sleep(20 * time.Millisecond)
				return j.Stage == store.StageClosed
			})
			for _, one := range s {
				one.end(syscall.SIGTERM)
			}
			if j.Counts.Updated != users || hook.most.Load() > int64(concurrency) {
				b.Errorf("%+v, %d at once", j.Counts, hook.most.Load())
			}
			return users / j.Ended.Sub(j.Started).Seconds()
		}
		one, two, wide := rate(1, 8), rate(2, 8), rate(2, 16)
		b.ReportMetric(one, "users/s-one")
		b.ReportMetric(two, "users/s-two")
		b.ReportMetric(wide, "users/s-two-at-16")
		b.ReportMetric(two/one, "of-one")
		b.ReportMetric(wide/one, "of-one-at-16")
	}
}

// slowHook accepts after 20 ms.
type slowHook struct{ now, most atomic.Int64 }

func (s *slowHook) ServeHTTP(http.ResponseWriter, *http.Request) {
	n := s.now.Add(1)
	defer s.now.Add(-1)
	for most := s.most.Load(); n > most && !s.most.CompareAndSwap(most, n); most = s.most.Load() {
	}
	time.Sleep(20 * time.Millisecond)
}

type nodesHome struct {
	*home
	db *store.Store
}

// benchNodes starts so many services over one PostgreSQL.
func benchNodes(b *testing.B, users, nodes, concurrency int) (h nodesHome, services []*service, hook *slowHook) {
	b.Helper()
	url := lab.SharedPostgres(b).Schema(b)
	hook = new(slowHook)
	server := httptest.NewServer(hook)
	b.Cleanup(server.Close)
	h.home = &home{TB: b, dir: b.TempDir()}
	if out, err := h.dirpin("", "--config", h.dir+"/init.yaml", "init", "--state-dir", h.dir+"/state"); err != nil {
		b.Fatal(err, out)
	}
	for i := range nodes {
		name, state := "dirpin.yaml", h.dir+"/state"
		if i > 0 {
			name, state = fmt.Sprintf("node%d.yaml", i), fmt.Sprintf("%s/state%d", h.dir, i)
			if err := os.MkdirAll(state+"/jobs", 0o700); err != nil {
				b.Fatal(err)
			}
		}
		h.write(name, fmt.Sprintf("state_dir: %s\nkey_file: %s/state/key\nstore: '%s'\nvoicemail: {name: vm, type: http, url: '%s', concurrency: %d}\n", state, h.dir, url, server.URL, concurrency), 0o644)
	}
	var err error
	if h.db, err = store.Open(context.Background(), store.Options{URL: url}); err != nil {
		b.Fatal(err)
	}
	err = h.db.Write(context.Background(), func(tx *store.Tx) error {
		for i := range users {
			if err := tx.AddUser(&user.User{UserID: fmt.Sprintf("w%d", i), LastName: "Meier", Status: user.Local}); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		b.Fatal(err)
	}
	h.write("job.yaml", drawAll, 0o600)
	for i := range nodes {
		if i == 0 {
			services = append(services, h.serve())
		} else {
			services = append(services, h.serve(fmt.Sprintf("DIRPIN_CONFIG=%s/node%d.yaml", h.dir, i)))
		}
	}
	return h, services, hook
}

// span is how long a job ran.
func (h *home) span(id int64) time.Duration {
	j := h.job(id)
	return j.Ended.Sub(j.Started)
}

// What the service costs while nothing happens, with 100,000 users.
func BenchmarkServiceRatioIdle(b *testing.B) {
	for range b.N {
		h := bench(b, 100_000)
		s := h.serve()
		time.Sleep(5 * time.Second) // until what a start leaves behind is over
		before := cpu(b, s.cmd.Process.Pid)
		const watched = 30 * time.Second
		time.Sleep(watched)
		used := cpu(b, s.cmd.Process.Pid) - before
		b.ReportMetric(100*used.Seconds()/watched.Seconds(), "%-of-a-core")
		b.ReportMetric(rss(b, s.cmd.Process.Pid), "MiB")
		s.end(syscall.SIGTERM)
	}
}

// From the start to ready, with a million users, and with none.
func BenchmarkServiceRatioStartMillion(b *testing.B) {
	for range b.N {
		ready := func(users int) float64 {
			h := bench(b, users)
			h.serve().end(syscall.SIGTERM) // the first start makes River's tables
			began := time.Now()
			s := h.serve()
			took := time.Since(began)
			s.end(syscall.SIGTERM)
			return float64(took.Milliseconds())
		}
		empty, million := ready(0), ready(1_000_000)
		b.ReportMetric(empty, "ms-empty")
		b.ReportMetric(million, "ms-million")
		b.ReportMetric(million/empty, "of-empty")
	}
}

func cpu(b *testing.B, pid int) time.Duration {
	text, err := os.ReadFile(filepath.Join("/proc", strconv.Itoa(pid), "stat"))
	if err != nil {
		b.Fatal(err)
	}
	fields := strings.Fields(string(text[strings.LastIndexByte(string(text), ')')+1:]))
	user, _ := strconv.Atoi(fields[11])
	system, _ := strconv.Atoi(fields[12])
	return time.Duration(user+system) * 10 * time.Millisecond // USER_HZ is 100
}

func rss(b *testing.B, pid int) float64 {
	text, err := os.ReadFile(filepath.Join("/proc", strconv.Itoa(pid), "status"))
	if err != nil {
		b.Fatal(err)
	}
	for line := range strings.Lines(string(text)) {
		if rest, ok := strings.CutPrefix(line, "VmRSS:"); ok {
			kb, _ := strconv.Atoi(strings.Fields(rest)[0])
			return float64(kb) / 1024
		}
	}
	b.Fatal("no VmRSS")
	return 0
}
