package watch

import (
	"context"
	"crypto/rand"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/dirpin/dirpin/config"
	"github.com/dirpin/dirpin/internal/credential"
	"github.com/dirpin/dirpin/internal/labstore"
	"github.com/dirpin/dirpin/internal/store"
	"github.com/dirpin/dirpin/internal/user"
	"github.com/dirpin/dirpin/internal/voicemail"
	"github.com/dirpin/dirpin/resetjob"
)

// kit is an installation with one watch folder, and a clock that a test sets.
type kit struct {
	testing.TB
	w    config.Watch
	env  *resetjob.Env
	f    *Folder
	o    Options
	jobs Jobs // the Env unless a test puts itself between
	dir  string
	now  time.Time
}

const settle = time.Second

func newKit(t testing.TB, change func(*config.Config)) *kit {
	t.Helper()
	k := &kit{TB: t, dir: t.TempDir(), now: time.Now()}
	cfg := config.Default(k.dir)
	cfg.Credentials.PIN.ForbidTrivial = true
	w := &cfg.Watch[0]
	w.Settle, w.Owners = settle, []string{"root", fmt.Sprint(os.Geteuid())}
	if change != nil {
		change(cfg)
	}
	k.w = *w
	for _, d := range []string{w.Dir, w.Lists} {
		k.must(os.MkdirAll(d, 0o755))
	}
	ring, err := credential.NewRing(rand.Reader, time.Now())
	k.must(err)
	s := labstore.At(t, labstore.Place(t, k.dir))
	owner, err := resetjob.NewOwner(context.Background(), s, ring)
	k.must(err)
	t.Cleanup(func() { owner.Close() })
	k.env = &resetjob.Env{Config: cfg, Ring: ring, Store: s, Owner: owner, Router: voicemail.NewRouter(), Log: slog.New(slog.DiscardHandler),
		Hasher: credential.NewHasher(ring, credential.Params{Memory: 64, Time: 1, Threads: 1})}
	k.must(s.Write(context.Background(), func(tx *store.Tx) error {
		for _, id := range []string{"alice", "bob"} {
			if err := tx.AddUser(&user.User{UserID: id, LastName: "Smith", Status: user.Local}); err != nil {
				return err
			}
		}
		return nil
	}))
	k.jobs = k.env
	k.o = Options{Node: "n1", Log: slog.New(slog.NewTextHandler(testLog{t}, nil)), Now: func() time.Time { return k.now }}
	k.restart()
	return k
}

// discard is the log of a test of many processes.
var discard = slog.New(slog.DiscardHandler)

type testLog struct{ testing.TB }

func (l testLog) Write(b []byte) (int, error) { l.Logf("%s", b); return len(b), nil }

func (k *kit) must(err error) {
	k.Helper()
	if err != nil {
		k.Fatal(err)
	}
}

// restart is a process that died, and another one.
func (k *kit) restart() { k.f = New(k.w, k.jobs, k.o) }

// drop writes a file into the folder.
func (k *kit) drop(name, text string) {
	k.Helper()
	k.must(os.WriteFile(filepath.Join(k.w.Dir, name), []byte(text), 0o644))
}

// look looks now, and once more when files are complete.
func (k *kit) look() {
	k.Helper()
	k.f.Look(context.Background())
	k.pass(settle)
}

// pass lets time pass and looks.
func (k *kit) pass(d time.Duration) {
	k.Helper()
	k.now = k.now.Add(d)
	k.f.Look(context.Background())
}

// inside returns the names in a folder within, but for what is hidden.
func (k *kit) inside(name string) []string {
	k.Helper()
	entries, err := os.ReadDir(filepath.Join(k.w.Dir, name))
	k.must(err)
	var names []string
	for _, e := range entries {
		if !strings.HasPrefix(e.Name(), ".") && !(name == "." && e.IsDir()) {
			names = append(names, e.Name())
		}
	}
	return names
}

// text returns the content of the only file in a folder that ends so.
func (k *kit) text(folder, suffix string) string {
	k.Helper()
	found := ""
	for _, name := range k.inside(folder) {
		if strings.HasSuffix(name, suffix) {
			if found != "" {
				k.Fatalf("%s has two files that end in %s: %v", folder, suffix, k.inside(folder))
			}
			found = name
		}
	}
	if found == "" {
		k.Fatalf("%s has no file that ends in %s: %v", folder, suffix, k.inside(folder))
	}
	b, err := os.ReadFile(filepath.Join(k.w.Dir, folder, found))
	k.must(err)
	return string(b)
}

// all returns every job.
func (k *kit) all() (jobs []*store.Job) {
	k.Helper()
	k.must(k.env.Store.Read(context.Background(), func(tx *store.Tx) error {
		return tx.Jobs(func(j *store.Job) error { jobs = append([]*store.Job{j}, jobs...); return nil })
	}))
	return jobs
}

// clean fails where a claim is left, or a text stands in any file of the folder.
func (k *kit) clean(secrets ...string) {
	k.Helper()
	if left, _ := filepath.Glob(filepath.Join(k.w.Dir, claimsDir, "*")); len(left) > 0 {
		k.Errorf("claims are left: %v", left)
	}
	filepath.Walk(k.w.Dir, func(path string, fi os.FileInfo, err error) error {
		if err != nil || !fi.Mode().IsRegular() {
			return err
		}
		data, err := os.ReadFile(path)
		for _, s := range secrets {
			if strings.Contains(string(data), s) {
				k.Errorf("%s holds %s:\n%s", path, s, data)
			}
		}
		return err
	})
}

const (
	good = "select: {query: all}\nreset: {pin: \"471108\"}\n"
	bad  = "select: {query: {}}\nrun: tomorrow\nreset: {pin: \"471108\", pasword: swordfish}\n"
)
