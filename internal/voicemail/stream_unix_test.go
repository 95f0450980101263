//go:build unix

package voicemail_test

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/dirpin/dirpin/config"
	"github.com/dirpin/dirpin/internal/voicemail"
	"github.com/dirpin/dirpin/internal/voicemail/voicemailtest"
)

// script connects to a stream hook that a shell runs.
func script(t *testing.T, text string, log *slog.Logger) voicemail.Connector {
	t.Helper()
	conn, err := voicemail.Connect(&config.Voicemail{Name: "test", Type: "stream", Timeout: 5 * time.Second, Concurrency: 8, Command: []string{"/bin/sh", "-c", text}},
		voicemail.Options{Log: log, Jitter: func(time.Duration) time.Duration { return 0 }})
	if err != nil {
		t.Fatal(err)
	}
	return conn
}

func attempt(t *testing.T, pin string) voicemail.Attempt {
	t.Helper()
	a, err := voicemail.NewAttempt(voicemailtest.NewBody("jdoe", pin))
	if err != nil {
		t.Fatal(err)
	}
	return a
}

func sendFor(t *testing.T, conn voicemail.Connector, a voicemail.Attempt, timeout time.Duration) voicemail.Answer {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), timeout)
	defer cancel()
	return conn.Send(ctx, a)
}

// answering is a line of shell that answers the request in $line.
const answering = `id=${line#*'"request_id":"'}; id=${id%%'"'*}; echo "{\"request_id\":\"$id\",\"result\":\"accepted\"}"`

// A hook that dies with each request loses it, is started again ever more
// slowly, and never takes one request's answer for another's.
func TestStreamRestartStorm(t *testing.T) {
	starts := filepath.Join(t.TempDir(), "starts")
	conn := script(t, "echo >>"+starts+"; read line; exit 3", nil)
	defer conn.Close()
	var lost, unsent int
	began := time.Now()
	for time.Since(began) < 2*time.Second {
		switch got := sendFor(t, conn, attempt(t, "593817"), 500*time.Millisecond); {
		case got.Class == voicemail.Lost && strings.Contains(got.Message, "exit 3"):
			lost++
		case got.Class == voicemail.NotSent && strings.Contains(got.Message, "in a row"):
			unsent++
		default:
			t.Fatalf("%+v", got)
		}
	}
	data, err := os.ReadFile(starts)
	if err != nil {
		t.Fatal(err)
	}
	if n := bytes.Count(data, []byte("\n")); n != lost || n > 8 || lost < 2 || unsent == 0 {
		t.Errorf("started %d times in 2 s, lost %d, not sent %d", n, lost, unsent)
	}
}

// An acceptance that comes when nobody waits any more is what the next attempt
// of the same request gets; any other late answer is not.
func TestStreamLateAnswer(t *testing.T) {
	gate := filepath.Join(t.TempDir(), "gate")
	if err := syscall.Mkfifo(gate, 0o600); err != nil {
		t.Fatal(err)
	}
	var log logged
	conn := script(t, `read line; cat `+gate+` >/dev/null; `+answering+`; while read line; do echo '{"request_id":"'unexpected'"}'; done`, slog.New(slog.NewTextHandler(&log, nil)))
	defer conn.Close()
	a := attempt(t, "593817")
	if got := sendFor(t, conn, a, 300*time.Millisecond); got.Class != voicemail.Lost {
		t.Fatalf("%+v", got)
	}
	if err := os.WriteFile(gate, []byte("go\n"), 0); err != nil {
		t.Fatal(err)
	}
	log.await(t, "nobody waits for")
	if got := sendFor(t, conn, a, 5*time.Second); got.Class != voicemail.Answered || got.Result != voicemail.Accepted || got.Proof == "" {
		t.Errorf("%+v", got)
	}
	if strings.Contains(log.String(), "593817") {
		t.Error("the log holds the PIN")
	}
}

// logged is a log that can be waited for.
type logged struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (l *logged) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(p)
}

func (l *logged) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}

func (l *logged) await(t *testing.T, text string) {
	t.Helper()
	for deadline := time.Now().Add(10 * time.Second); !strings.Contains(l.String(), text); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("never logged %q: %s", text, l)
		}
	}
}

// A hook that reads nothing is killed: the half line could never be ended. What
// was behind it was not sent.
func TestStreamHookThatDoesNotRead(t *testing.T) {
	conn := script(t, "exec sleep 600", nil)
	defer conn.Close()
	classes := make(chan voicemail.Class, 400)
	var wg sync.WaitGroup
	for range cap(classes) { // more than a pipe and a buffer hold
		wg.Go(func() { classes <- sendFor(t, conn, attempt(t, "593817"), time.Second).Class })
	}
	wg.Wait()
	count := map[voicemail.Class]int{}
	for range cap(classes) {
		count[<-classes]++
	}
	if count[voicemail.Lost] == 0 || count[voicemail.Answered] > 0 {
		t.Errorf("%v", count)
	}
}

// Its last words are shown, but no number of them: whose PIN they repeat is not
// known.
func TestStreamLastWords(t *testing.T) {
	conn := script(t, `read line; `+answering+`; first=$line; read line; echo "fatal: $first" >&2; exit 70`, nil)
	defer conn.Close()
	if got := sendFor(t, conn, attempt(t, "264081"), 5*time.Second); got.Result != voicemail.Accepted {
		t.Fatalf("%+v", got)
	}
	got := sendFor(t, conn, attempt(t, "593817"), 5*time.Second)
	if got.Class != voicemail.Lost || !strings.Contains(got.Message, "fatal") || strings.Contains(got.Message, "264081") || strings.Contains(got.Message, "593817") {
		t.Errorf("%+v", got)
	}
}

// Closing lets the hook end by itself, and its children with it.
func TestStreamClose(t *testing.T) {
	done := filepath.Join(t.TempDir(), "done")
	conn := script(t, `sleep 600 & while read line; do `+answering+`; done; echo bye >`+done, nil)
	if got := sendFor(t, conn, attempt(t, "593817"), 5*time.Second); got.Result != voicemail.Accepted {
		t.Fatalf("%+v", got)
	}
	if err := conn.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(done); err != nil {
		t.Error("it was not let end:", err)
	}
	if got := sendFor(t, conn, attempt(t, "593817"), time.Second); got.Class != voicemail.NotSent {
		t.Errorf("after Close: %+v", got)
	}
}

// 77, 126 and 127 deny, as they do for exec.
func TestStreamDenies(t *testing.T) {
	conn := script(t, "read line; exit 77", nil)
	defer conn.Close()
	if got := sendFor(t, conn, attempt(t, "593817"), 5*time.Second); got.Class != voicemail.Lost || got.Result != voicemail.Denied {
		t.Errorf("%+v", got)
	}
}

func BenchmarkStream(b *testing.B) {
	self, err := os.Executable()
	if err != nil {
		b.Fatal(err)
	}
	conn, err := voicemail.Connect(&config.Voicemail{Name: "test", Type: "stream", Timeout: time.Minute, Concurrency: 8,
		Command: []string{self, "hook", "streams", string(voicemailtest.AtOnce)}}, voicemail.Options{})
	if err != nil {
		b.Fatal(err)
	}
	defer conn.Close()
	b.SetParallelism(4)
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			a, err := voicemail.NewAttempt(voicemailtest.NewBody("user0", "593817"))
			if err != nil {
				b.Error(err)
				return
			}
			if got := conn.Send(context.Background(), a); got.Result != voicemail.Accepted {
				b.Error(fmt.Sprint(got))
				return
			}
		}
	})
}
