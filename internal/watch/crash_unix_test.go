//go:build unix

package watch

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/dirpin/dirpin/config"
	"github.com/dirpin/dirpin/internal/credential"
	"github.com/dirpin/dirpin/internal/store"
	"github.com/dirpin/dirpin/internal/voicemail"
	"github.com/dirpin/dirpin/resetjob"
)

// The environment by which the test binary becomes a process that watches the
// folder of a state folder, and dies: "state folder|node|step|n".
const childEnv = "DIRPIN_TEST_WATCH"

func TestMain(m *testing.M) {
	if what := os.Getenv(childEnv); what != "" {
		parts := strings.Split(what, "|")
		n, _ := strconv.Atoi(parts[3])
		if err := child(parts[0], parts[1], parts[2], n); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	os.Exit(m.Run())
}

// child watches until nothing is left to do, or dies at the n-th time of a step.
func child(dir, node, dieAt string, n int) error {
	ctx := context.Background()
	cfg := crashConfig(dir)
	ring, err := credential.LoadRing(filepath.Join(dir, "key"))
	if err != nil {
		return err
	}
	s, err := store.Open(ctx, store.Options{Path: filepath.Join(dir, "dirpin.db")})
	if err != nil {
		return err
	}
	defer s.Close()
	env := &resetjob.Env{Config: cfg, Ring: ring, Store: s, Router: voicemail.NewRouter(), Log: slog.New(slog.DiscardHandler)}
	f := New(cfg.Watch[0], env, Options{Node: node, Log: slog.New(slog.NewTextHandler(os.Stderr, nil)), Step: func(step string) {
		if step == dieAt {
			if n--; n == 0 {
				syscall.Kill(os.Getpid(), syscall.SIGKILL)
				select {}
			}
		}
	}})
	for {
		f.Look(ctx)
		if len(f.claims)+len(f.seen) == 0 {
			return nil
		}
		if f.Trouble() {
			return fmt.Errorf("trouble: %v", f.trouble)
		}
	}
}

func crashConfig(dir string) *config.Config {
	cfg := config.Default(dir)
	w := &cfg.Watch[0]
	w.Settle, w.Owners = time.Nanosecond, []string{fmt.Sprint(os.Geteuid())}
	return cfg
}

// ground makes a state folder for children.
func ground(t *testing.T) *kit {
	k := &kit{TB: t, dir: t.TempDir()}
	cfg := crashConfig(k.dir)
	k.w = cfg.Watch[0]
	for _, d := range []string{k.w.Dir, k.w.Lists} {
		k.must(os.MkdirAll(d, 0o755))
	}
	ring, err := credential.NewRing(rand.Reader, time.Now())
	k.must(err)
	k.must(credential.CreateRing(filepath.Join(k.dir, "key"), ring))
	s, err := store.Open(context.Background(), store.Options{Path: filepath.Join(k.dir, "dirpin.db")})
	k.must(err)
	t.Cleanup(func() { s.Close() })
	k.env = &resetjob.Env{Config: cfg, Ring: ring, Store: s}
	return k
}

// watch runs a child, and tells whether it died as it should.
func (k *kit) watch(node, step string, n int) (died bool) {
	k.Helper()
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), fmt.Sprintf("%s=%s|%s|%s|%d", childEnv, k.dir, node, step, n))
	out, err := cmd.CombinedOutput()
	exit := new(exec.ExitError)
	switch {
	case err == nil:
		return false
	case errors.As(err, &exit) && exit.Sys().(syscall.WaitStatus).Signal() == syscall.SIGKILL:
		return true
	}
	k.Fatalf("the watching process: %v\n%s", err, out)
	return false
}

var steps = []string{"claim", "claimed", "submitted", "kept", "rejecting", "rejected", "unclaimed"}

// A process that watches is killed at each step, and the next one at the same;
// the third one ends it: every file is one job, or refused, and all are kept.
func TestKilledAtEachStep(t *testing.T) {
	for _, step := range steps {
		for n := 1; ; n++ {
			k := ground(t)
			k.drop("a.yaml", good)
			k.drop("b.yaml", strings.Replace(good, "471108", "280639", 1))
			k.drop("c.yaml", bad)
			if !k.watch("n1", step, n) {
				if n == 1 {
					t.Errorf("step %s is never taken", step)
				}
				break
			}
			k.watch("n1", step, 1)
			if k.watch("n1", "", 0) {
				t.Fatal("killed by somebody else")
			}
			k.settled(step)
		}
	}
}

// settled checks that each of a, b and c has its end.
func (k *kit) settled(when string) {
	k.Helper()
	names := map[string]int{}
	for _, j := range k.all() {
		names[j.Name]++
	}
	if len(names) != 2 || names["a"] != 1 || names["b"] != 1 {
		k.Errorf("%s: jobs %v", when, names)
	}
	accepted := strings.Join(k.inside(acceptedDir), " ")
	if strings.Count(accepted, "-a.yaml ") != 1 || strings.Count(accepted, "-b.yaml ") != 1 || strings.Count(accepted, ".status.txt") != 2 {
		k.Errorf("%s: accepted %s", when, accepted)
	}
	rejected := strings.Join(append(k.inside(rejectedDir), ""), " ")
	if !strings.Contains(rejected, "-c.yaml ") || !strings.Contains(rejected, "-c.yaml.reason.txt") {
		k.Errorf("%s: rejected %s", when, rejected)
	}
	if left := k.inside("."); len(left) != 0 {
		k.Errorf("%s: left %v", when, left)
	}
	k.clean("471108", "280639", "swordfish")
}

// What a node claimed and left is another's when it has shown no sign of life
// for as long as its lease; before that it is let alone.
func TestTakenOver(t *testing.T) {
	for _, step := range []string{"claimed", "submitted", "kept"} {
		k := ground(t)
		k.drop("a.yaml", good)
		k.drop("b.yaml", strings.Replace(good, "471108", "280639", 1))
		k.drop("c.yaml", bad)
		if !k.watch("n1", step, 1) {
			t.Fatal("not killed")
		}
		k.watch("n2", "", 0)
		boxes, _ := filepath.Glob(filepath.Join(k.w.Dir, claimsDir, "n1-*"))
		if len(boxes) != 1 {
			t.Fatalf("%s: node 2 took what node 1 has: %v", step, boxes)
		}
		old := time.Now().Add(-3 * time.Minute)
		k.must(os.Chtimes(boxes[0], old, old))
		k.watch("n2", "", 0)
		k.settled(step + ", taken over")
	}
}

// Of two processes that look at once, each file is one's.
func TestTwoAtOnce(t *testing.T) {
	k := ground(t)
	for i := range 60 {
		k.drop(fmt.Sprintf("f%02d.yaml", i), fmt.Sprintf("name: f%d\n%s", i, good))
	}
	done := make(chan struct{}, 2)
	for _, node := range []string{"n1", "n2"} {
		go func() { k.watch(node, "", 0); done <- struct{}{} }()
	}
	<-done
	<-done
	names := map[string]bool{}
	for _, j := range k.all() {
		names[j.Name] = true
	}
	if len(names) != 60 || len(k.all()) != 60 || len(k.inside(acceptedDir)) != 120 {
		t.Errorf("%d jobs of %d names, %d accepted", len(k.all()), len(names), len(k.inside(acceptedDir)))
	}
	k.clean("471108")
}
