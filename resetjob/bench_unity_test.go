package resetjob

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/dirpin/dirpin/config"
	"github.com/dirpin/dirpin/internal/credential"
	"github.com/dirpin/dirpin/internal/fakeunity"
	"github.com/dirpin/dirpin/internal/lab"
	"github.com/dirpin/dirpin/internal/outcome"
	"github.com/dirpin/dirpin/internal/secret"
	"github.com/dirpin/dirpin/internal/user"
	"github.com/dirpin/dirpin/internal/voicemail"
)

// A job over TLS against a Unity Connection that takes 20 ms a request, at
// concurrency 8 and without a rate, against what eight requests at a time could
// do at best: first with search, read and PUT of each user, then with the
// mailboxes known, so that the search is left out; and against a shell loop of
// curl that searches and PUTs.
func BenchmarkRatioUnity(b *testing.B) {
	const users, takes, concurrency = 9600, 20 * time.Millisecond, 8
	for b.Loop() {
		k, srv := unityKit(b, users, func(c *config.Config) { c.Voicemail[0].Concurrency = concurrency })
		k.env.Hasher = credential.NewHasher(k.env.Ring, credential.Params{Memory: 8, Time: 1, Threads: 1})
		srv.Delay = takes
		var wrote time.Time
		var writing time.Duration
		groups := 0
		k.env.Step = func(name string) { // by one goroutine, these two
			switch name {
			case "write":
				wrote = time.Now()
			case "written":
				writing += time.Since(wrote)
				groups++
			}
		}
		best := func(requests int) float64 { return concurrency / (takes.Seconds() * float64(requests)) }
		rate := func() float64 {
			id := k.submit(generated).ID
			began := time.Now()
			j, err := k.env.Run(context.Background(), id, nil)
			k.must(err)
			if j.Counts.Updated != users {
				b.Fatalf("%+v", j.Counts)
			}
			return users / time.Since(began).Seconds()
		}
		alone := wireAlone(k, concurrency, users/16)
		first := rate()
		known := rate()
		b.ReportMetric(alone, "wire-users/s")
		b.ReportMetric(first/alone, "of-wire")
		b.ReportMetric(first, "users/s")
		b.ReportMetric(first/best(3), "of-best")
		b.ReportMetric(known, "known-users/s")
		b.ReportMetric(known/best(2), "known-of-best")
		b.ReportMetric(1000*writing.Seconds()/float64(groups), "ms/transaction")
		b.ReportMetric(2*users/float64(groups), "users/transaction")
		if curl := curlLoop(b, k, srv); curl > 0 {
			b.ReportMetric(curl, "curl-users/s")
			b.ReportMetric(first/curl, "times-curl")
		}
	}
}

// wireAlone is how many users a second get through the same three requests when
// nothing is journalled or committed: what the machine lets through just now.
func wireAlone(k *kit, concurrency, users int) float64 {
	k.Helper()
	s := k.env.Router.Systems()[0]
	var next atomic.Int64
	var wg sync.WaitGroup
	began := time.Now()
	for range concurrency {
		wg.Go(func() {
			for i := next.Add(1); i <= int64(users); i = next.Add(1) {
				r := voicemail.Request{ID: voicemail.NewRequestID(), User: user.User{UserID: fmt.Sprint("user", i)}, PIN: secret.New("593817")}
				leg := voicemail.Leg{Attempt: r.Attempt()}
				leg.Note.Unsent = true
				if out, err := s.Push(context.Background(), leg); err != nil || out.Code != outcome.OK {
					k.Errorf("%+v, %v", out, err)
				}
			}
		})
	}
	wg.Wait()
	return float64(users) / time.Since(began).Seconds()
}

// curlLoop is what administrators do today; 0 where there is no curl.
func curlLoop(b *testing.B, k *kit, srv *fakeunity.Server) float64 {
	b.Helper()
	if _, err := exec.LookPath("curl"); err != nil {
		b.Log("curl is not installed: not compared with it")
		return 0
	}
	const users = 20
	v := k.env.Config.Voicemail[0]
	began := time.Now()
	for i := range users {
		m, _ := srv.Mailbox(fmt.Sprintf("user%d", i))
		for _, args := range [][]string{
			{v.URL + "/vmrest/users?query=(alias%20is%20" + m.Alias + ")"},
			{"-X", "PUT", "-H", "Content-Type: application/json", "-d", `{"Credentials":"264081"}`, v.URL + "/vmrest/users/" + m.ObjectID + "/credential/pin"},
		} {
			if out, err := exec.Command("curl", append([]string{"-s", "--fail-with-body", "--globoff", "--cacert", v.CAFile, "-u", "api:hush-hush", "-H", "Accept: application/json"}, args...)...).CombinedOutput(); err != nil {
				b.Fatalf("curl: %v: %s", err, out)
			}
		}
	}
	return users / time.Since(began).Seconds()
}

const streamHookArg = "be-a-stream-hook"

// TestMain lets this test binary be a stream hook that accepts everything.
func TestMain(m *testing.M) {
	if len(os.Args) == 2 && os.Args[1] == streamHookArg {
		in := json.NewDecoder(os.Stdin)
		for {
			var q struct {
				RequestID string `json:"request_id"`
			}
			if in.Decode(&q) != nil {
				return
			}
			fmt.Printf(`{"request_id":%q,"result":"accepted"}`+"\n", q.RequestID)
		}
	}
	lab.Main(m)
}
