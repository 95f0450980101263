package resetjob

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/dirpin/dirpin/config"
	"github.com/dirpin/dirpin/internal/credential"
	"github.com/dirpin/dirpin/internal/secret"
	"github.com/dirpin/dirpin/internal/store"
	"github.com/dirpin/dirpin/internal/user"
	"github.com/dirpin/dirpin/internal/voicemail"
)

// benchKit is a kit whose hook is a real http server that answers at once.
func benchKit(b *testing.B, params credential.Params, concurrency, users int) *kit {
	b.Helper()
	hook := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		io.Copy(io.Discard, r.Body)
		w.WriteHeader(http.StatusNoContent)
	}))
	b.Cleanup(hook.Close)
	k := newKit(b, func(c *config.Config) { c.Voicemail[0].URL, c.Voicemail[0].Concurrency = hook.URL, concurrency })
	s, err := voicemail.New(&k.env.Config.Voicemail[0], voicemail.Options{})
	k.must(err)
	k.env.Router = voicemail.NewRouter(s)
	k.env.Hasher = credential.NewHasher(k.env.Ring, params)
	for at := 0; at < users; at += 50_000 {
		k.must(k.env.Store.Write(context.Background(), func(tx *store.Tx) error {
			for i := at; i < min(users, at+50_000); i++ {
				u := user.User{UserID: fmt.Sprintf("u%07d", i), FirstName: "Anna", LastName: fmt.Sprint("Janssens ", i%5000), Departments: []string{fmt.Sprint(i % 100)},
					Mail: fmt.Sprintf("u%07d@example.org", i), Telephone: fmt.Sprintf("+32 2 555 %04d", i%10000), Status: user.Local}
				if err := tx.AddUser(&u); err != nil {
					return err
				}
			}
			return nil
		}))
	}
	return k
}

// A job with a hook that answers at once, against the time that hashing alone
// takes on all cores.
func BenchmarkRatioJobToHashing(b *testing.B) {
	const users = 1000
	for b.Loop() {
		k := benchKit(b, credential.DefaultParams(), 8, users)
		began := time.Now()
		var left atomic.Int64
		left.Store(users)
		var wg sync.WaitGroup
		for range runtime.GOMAXPROCS(0) {
			wg.Go(func() {
				for left.Add(-1) >= 0 {
					if _, err := k.env.Hasher.Hash(credential.PIN, secret.New("471108")); err != nil {
						b.Error(err)
					}
				}
			})
		}
		wg.Wait()
		alone := time.Since(began)
		began = time.Now()
		j := k.run(generated)
		job := time.Since(began)
		if j.Counts.Updated != users {
			b.Fatalf("%+v", j.Counts)
		}
		b.ReportMetric(float64(job)/float64(alone), "job/hashing")
		b.ReportMetric(users/alone.Seconds(), "hashes/s")
		b.ReportMetric(users/job.Seconds(), "users/s")
	}
}

// A job through an http hook and through a stream hook on this machine, with
// hashing made cheap, against the same job with a system that answers at once in
// the same process: what journal and commit alone reach at that concurrency.
func BenchmarkRatioHooks(b *testing.B) {
	const users = 100_000
	for _, concurrency := range []int{8, 256} {
		b.Run(fmt.Sprint("concurrency=", concurrency), func(b *testing.B) {
			rate := func(connect func(*config.Voicemail) *voicemail.System) float64 {
				k := benchKit(b, credential.Params{Memory: 8, Time: 1, Threads: 1}, concurrency, users)
				if connect != nil {
					s := connect(&k.env.Config.Voicemail[0])
					defer s.Close()
					k.env.Router = voicemail.NewRouter(s)
				}
				id := k.submit(generated).ID
				began := time.Now()
				j, err := k.env.Run(context.Background(), id, nil)
				k.must(err)
				if j.Counts.Updated != users {
					b.Fatalf("%+v", j.Counts)
				}
				return users / time.Since(began).Seconds()
			}
			for b.Loop() {
				alone := rate(func(cfg *config.Voicemail) *voicemail.System {
					return voicemail.NewWith(cfg, agreeable{}, voicemail.Options{})
				})
				stream := rate(func(cfg *config.Voicemail) *voicemail.System {
					cfg.Type, cfg.Command = "stream", []string{os.Args[0], streamHookArg}
					s, err := voicemail.New(cfg, voicemail.Options{})
					if err != nil {
						b.Fatal(err)
					}
					return s
				})
				http := rate(nil)
				b.ReportMetric(alone, "alone-users/s")
				b.ReportMetric(stream, "stream-users/s")
				b.ReportMetric(stream/alone, "stream-of-alone")
				b.ReportMetric(http, "http-users/s")
				b.ReportMetric(http/alone, "http-of-alone")
			}
		})
	}
}

// Planning and opening a job of a million users.
func BenchmarkRatioMillion(b *testing.B) {
	const users = 1_000_000
	for b.Loop() {
		k := benchKit(b, credential.Params{Memory: 8, Time: 1, Threads: 1}, 8, users)
		sub, err := Load(filepath.Join(k.dir, "job.yaml"), []byte(generated), k.env.Config.Watch[0].Lists, ParseOptions{Now: time.Now(), Foreground: true, Credentials: k.env.Config.Credentials})
		k.must(err)
		idle := heap()
		began := time.Now()
		plan, err := k.env.Plan(context.Background(), sub, nil)
		k.must(err)
		b.ReportMetric(time.Since(began).Seconds(), "s/plan")
		if plan.Todo != users {
			b.Fatalf("%+v", plan)
		}
		j, err := k.env.Submit(context.Background(), sub, "bench")
		k.must(err)
		l, err := k.env.load(context.Background(), j)
		k.must(err)
		began = time.Now()
		k.must(k.env.open(context.Background(), l, nil))
		b.ReportMetric(time.Since(began).Seconds(), "s/open")
		b.ReportMetric(float64(heap()-idle)/(1<<20), "MiB-more")
	}
}

// heap returns what Go has taken from the system.
func heap() int64 {
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.Sys)
}
