package watch

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/dirpin/dirpin/config"
	"github.com/dirpin/dirpin/internal/store"
	"github.com/dirpin/dirpin/internal/strictyaml"
	"github.com/dirpin/dirpin/resetjob"
)

func TestAccepted(t *testing.T) {
	k := newKit(t, nil)
	k.drop("new pins.yaml", good)
	k.f.Look(context.Background())
	k.pass(settle - time.Millisecond)
	if jobs := k.all(); len(jobs) != 0 {
		t.Fatal("taken before it was complete")
	}
	k.pass(time.Millisecond)
	jobs := k.all()
	if len(jobs) != 1 || jobs[0].Name != "new_pins" || jobs[0].Folder != "main" || jobs[0].Submitter == "" {
		t.Fatalf("jobs: %+v", jobs)
	}
	if text := k.text(acceptedDir, "-1-new pins.yaml"); text != strings.Replace(good, "471108", "(removed)", 1) {
		t.Errorf("accepted is\n%s", text)
	}
	if text := k.text(acceptedDir, ".status.txt"); text != "job 1 queued\n" {
		t.Errorf("status is %q", text)
	}
	j, err := k.env.Run(context.Background(), 1, nil)
	k.must(err)
	k.pass(time.Second)
	want := "job 1 done\nUpdated 2, skipped 0, flagged 0, failed 0, not run 0 of 2 selected.\n" + j.Report + "\n"
	if text := k.text(acceptedDir, ".status.txt"); text != want {
		t.Errorf("at the end the status is %q, want %q", text, want)
	}
	if drops, err := k.env.Drops(context.Background(), "main"); err != nil || len(drops) != 0 {
		t.Errorf("still to be told: %v %v", drops, err)
	}
	k.clean("471108")
	if names := k.inside("."); len(names) != 0 {
		t.Errorf("left in the folder: %v", names)
	}
}

func TestRejected(t *testing.T) {
	for _, tt := range []struct{ name, file, text, reason, kept string }{
		{"every fault", "x.yaml", bad, "x.yaml:1:17: ", `pin: "(removed)", pasword: "(removed)"`},
		{"not understood", "x.yaml", "select: {query: all}\n\treset: {pin: 471108}\nname: swordfish\nrun: now\n", "x.yaml:2:1: ", "run: now"},
		{"cut", "x.yaml", "select: {query: all}\nreset: {pin: 471108", "x.yaml:2:8: the { is not closed", "(removed)"},
		{"binary", "x.yaml", "reset: {pin: 471108}\x00swordfish", "x.yaml:", "(removed: "},
		{"empty", "x.yaml", "", "x.yaml", ""},
		{"another suffix", "pins.csv", "user_id,pin\nalice,471108\n", "a job file's name ends in .yaml", `"(removed)"`},
		{"no suffix", "pins", "alice 471108\nswordfish\n", "a job file's name ends in .yaml", "(removed)"},
		{"a line break in its name", "x\n471\x1b.yaml", bad, "x_471_.yaml:2:6: run:", `"(removed)"`},
		{"not UTF-8 in its name", "x\xff\xfe.yaml", bad, "run:", `"(removed)"`},
		{"255 bytes", strings.Repeat("ü", 125) + ".yaml", bad, "run:", `"(removed)"`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			k := newKit(t, nil)
			k.drop(tt.file, tt.text)
			k.look()
			if reason := k.text(rejectedDir, ".reason.txt"); !strings.Contains(reason, tt.reason) {
				t.Errorf("the reason is\n%s", reason)
			}
			suffix := filepath.Ext(tt.file)
			if suffix == "" {
				suffix = "pins"
			}
			if text := k.text(rejectedDir, suffix); !strings.Contains(text, tt.kept) {
				t.Errorf("what is kept is\n%s", text)
			}
			for _, name := range k.inside(rejectedDir) {
				if len(name) > 255 {
					t.Errorf("%d bytes: %s", len(name), name)
				}
			}
			k.clean("471108", "swordfish")
			if jobs := k.all(); len(jobs) != 0 || len(k.inside(".")) != 0 {
				t.Errorf("%d jobs, left: %v", len(jobs), k.inside("."))
			}
		})
	}
}

func TestLeftAlone(t *testing.T) {
	k := newKit(t, nil)
	names := []string{".hidden.yaml", "x.yaml.tmp", "x.yaml.part", "x.yaml~", "~$x.yaml", "x.yaml.sig", "x.yaml.asc", "desktop.ini", "Thumbs.db"}
	for _, name := range names {
		k.drop(name, good)
	}
	k.must(os.Mkdir(filepath.Join(k.w.Dir, "folder.yaml"), 0o755))
	k.look()
	k.pass(time.Hour)
	if jobs := k.all(); len(jobs) != 0 || len(k.inside(rejectedDir)) != 0 {
		t.Errorf("%d jobs, refused %v", len(jobs), k.inside(rejectedDir))
	}
	for _, name := range append(names, "folder.yaml") {
		if _, err := os.Lstat(filepath.Join(k.w.Dir, name)); err != nil {
			t.Error(err)
		}
	}
}

// One gigabyte, of which nothing is written, costs no memory and no time.
func TestHuge(t *testing.T) {
	k := newKit(t, nil)
	k.drop("huge.yaml", "")
	k.must(os.Truncate(filepath.Join(k.w.Dir, "huge.yaml"), 1<<30))
	k.look()
	if text := k.text(rejectedDir, ".reason.txt"); !strings.Contains(text, "larger than 4 MiB") {
		t.Error(text)
	}
	k.clean()
	k.drop("edge.yaml", good+"#"+strings.Repeat("x", strictyaml.MaxSize-len(good)-1))
	k.look()
	if len(k.all()) != 1 {
		t.Errorf("a file of the largest size: %s", k.text(rejectedDir, "edge.yaml.reason.txt"))
	}
}

// A file that grows is not taken, nor one that was written to when it was claimed.
func TestGrowing(t *testing.T) {
	k := newKit(t, nil)
	k.drop("slow.yaml", good[:20])
	for n := 20; n < len(good); n++ {
		k.f.Look(context.Background())
		k.now = k.now.Add(settle - time.Millisecond)
		k.drop("slow.yaml", good[:n+1])
	}
	k.look()
	if len(k.all()) != 1 {
		t.Fatalf("refused: %v", k.inside(rejectedDir))
	}
	// Somebody writes on when it is claimed, and being read.
	for i, step := range []string{"claimed", "opened"} {
		k.drop("late.yaml", "name: late\n")
		k.f.Look(context.Background())
		k.f.o.Step = func(s string) {
			if s != step {
				return
			}
			k.f.o.Step = func(string) {}
			found, _ := filepath.Glob(filepath.Join(k.w.Dir, claimsDir, "*", "late.yaml"))
			f, err := os.OpenFile(found[0], os.O_APPEND|os.O_WRONLY, 0)
			k.must(err)
			f.WriteString(good + "#" + step)
			f.Close()
		}
		k.pass(settle)
		if _, err := os.Lstat(filepath.Join(k.w.Dir, "late.yaml")); (err == nil) != (step == "opened") {
			t.Errorf("%s: given back: %v", step, err)
		}
		k.look()
		if len(k.all()) != 2+i {
			t.Errorf("%s: %d jobs, refused %v", step, len(k.all()), k.inside(rejectedDir))
		}
	}
}

// between is Jobs with something between.
type between struct {
	Jobs
	claimed func()
	accept  func() error
}

func (b *between) Claimed(ctx context.Context, folder, claim string) (*store.Job, error) {
	if b.claimed != nil {
		b.claimed()
	}
	return b.Jobs.Claimed(ctx, folder, claim)
}

func (b *between) Accept(ctx context.Context, s *resetjob.Submission, from resetjob.Origin) (*resetjob.Accepted, error) {
	if b.accept != nil {
		if err := b.accept(); err != nil {
			return nil, err
		}
	}
	return b.Jobs.Accept(ctx, s, from)
}

// A file that vanishes while it is looked at, or was claimed, is nobody's loss.
func TestVanishes(t *testing.T) {
	k := newKit(t, nil)
	k.drop("x.yaml", good)
	k.f.Look(context.Background())
	k.must(os.Remove(filepath.Join(k.w.Dir, "x.yaml")))
	k.pass(settle)
	k.drop("y.yaml", good)
	k.jobs = &between{Jobs: k.env, claimed: func() {
		found, _ := filepath.Glob(filepath.Join(k.w.Dir, claimsDir, "*", "y.yaml"))
		os.Remove(found[0])
	}}
	k.restart()
	k.look()
	k.pass(time.Minute)
	if len(k.all()) != 0 || len(k.inside(rejectedDir)) != 0 {
		t.Errorf("%d jobs, %v", len(k.all()), k.inside(rejectedDir))
	}
	k.clean()
}

// While the database cannot take the job the claim waits, and nothing is lost.
func TestDatabaseInTrouble(t *testing.T) {
	k := newKit(t, nil)
	full := errors.New("disk full")
	k.jobs = &between{Jobs: k.env, accept: func() error { return full }}
	k.restart()
	k.drop("x.yaml", good)
	k.look()
	if !k.f.Trouble() || len(k.all()) != 0 {
		t.Error("no trouble")
	}
	full = nil
	k.pass(retryEvery)
	if k.f.Trouble() || len(k.all()) != 1 {
		t.Errorf("trouble %v, %d jobs", k.f.Trouble(), len(k.all()))
	}
	k.clean("471108")
}

// What cannot be written into accepted waits, under the job's number.
func TestAcceptedCannotBeWritten(t *testing.T) {
	if os.Geteuid() == 0 {
		// Root writes everywhere: a folder in the place of the file stops it too.
		k := newKit(t, nil)
		k.drop("x.yaml", good)
		k.f.Look(context.Background())
		k.f.o.Step = func(step string) {
			if step == "submitted" {
				base := keptName(acceptedDir, k.all()[0].Created, "1", "x.yaml")
				k.must(os.MkdirAll(filepath.Join(k.w.Dir, base, "full"), 0o755))
			}
		}
		k.pass(settle)
		if !k.f.Trouble() || len(k.all()) != 1 {
			t.Fatalf("trouble %v, %d jobs", k.f.Trouble(), len(k.all()))
		}
		k.must(os.RemoveAll(filepath.Join(k.w.Dir, keptName(acceptedDir, k.all()[0].Created, "1", "x.yaml"))))
		k.f.o.Step = func(string) {}
		k.pass(retryEvery)
		if text := k.text(acceptedDir, "x.yaml"); len(k.all()) != 1 || !strings.Contains(text, "(removed)") {
			t.Errorf("%d jobs, %s", len(k.all()), text)
		}
		k.clean("471108")
	}
}

func TestFolderVanishesAndReturns(t *testing.T) {
	k := newKit(t, nil)
	k.drop("x.yaml", good)
	k.f.Look(context.Background())
	aside := k.w.Dir + ".aside"
	k.must(os.Rename(k.w.Dir, aside))
	k.pass(settle)
	if !k.f.Trouble() {
		t.Error("no trouble without a folder")
	}
	k.must(os.Rename(aside, k.w.Dir))
	k.look()
	if k.f.Trouble() || len(k.all()) != 1 {
		t.Errorf("trouble %v, %d jobs", k.f.Trouble(), len(k.all()))
	}
}

func TestReplacedAndTheSame(t *testing.T) {
	k := newKit(t, nil)
	held := good + "run: held\n"
	k.drop("x.yaml", held)
	k.look()
	k.drop("x.yaml", strings.Replace(held, "471108", "471109", 1))
	k.look()
	jobs := k.all()
	if len(jobs) != 2 || jobs[0].State != store.Superseded || jobs[1].State != store.Held {
		t.Fatalf("%+v", jobs)
	}
	k.drop("y.yaml", strings.Replace(held, "471108", "471109", 1))
	k.look()
	if reason := k.text(rejectedDir, ".reason.txt"); reason != "the same as job 2\n" {
		t.Errorf("%q", reason)
	}
	k.drop("z.yaml", "id: one\n"+good)
	k.look()
	k.drop("z.yaml", "id: one\n"+strings.Replace(good, "471108", "280639", 1))
	k.look()
	if reason := k.text(rejectedDir, "z.yaml.reason.txt"); !strings.Contains(reason, "accepted before, and is never accepted again (job 3)") {
		t.Errorf("%q", reason)
	}
	k.clean("471108", "471109", "280639")
}

func TestListIsAwaited(t *testing.T) {
	k := newKit(t, nil)
	text := "select: {file: {name: shift.txt, field: user_id}}\nreset: {pin: \"471108\"}\n"
	k.drop("a.yaml", text)
	k.look()
	k.pass(20 * time.Second)
	if len(k.all()) != 0 || len(k.inside(rejectedDir)) != 0 {
		t.Fatal("not awaited")
	}
	k.must(os.WriteFile(filepath.Join(k.w.Lists, "shift.txt"), []byte("alice\n"), 0o644))
	k.pass(awaitEvery)
	if len(k.all()) != 1 {
		t.Fatal("not taken when its list was there")
	}
	k.drop("b.yaml", strings.Replace(text, "shift.txt", "other.txt", 1))
	k.look()
	k.pass(k.f.o.Await)
	if reason := k.text(rejectedDir, ".reason.txt"); !strings.Contains(reason, "other.txt") {
		t.Errorf("%q", reason)
	}
}

// The secrets of a csv go from the folder of lists; another csv under its name
// stays.
func TestCSVIsCleared(t *testing.T) {
	k := newKit(t, nil)
	path := filepath.Join(k.w.Lists, "pins.csv")
	k.must(os.WriteFile(path, []byte("user_id;pin;department\nalice;926531;\"x;y\"\nbob;586243;\n"), 0o640))
	k.drop("x.yaml", "select: {csv: {name: pins.csv}}\n")
	k.look()
	if len(k.all()) != 1 {
		t.Fatal(k.text(rejectedDir, ".reason.txt"))
	}
	got, err := os.ReadFile(path)
	k.must(err)
	if want := "user_id;pin;department\nalice;(removed);\"x;y\"\nbob;(removed);\n"; string(got) != want {
		t.Errorf("the csv is\n%s", got)
	}
	if j, err := k.env.Run(context.Background(), 1, nil); err != nil || j.Counts.Updated != 2 {
		t.Errorf("%+v %v", j, err)
	}
}

// The status of a schedule's file follows its runs.
func TestStatusOfASchedule(t *testing.T) {
	k := newKit(t, nil)
	k.drop("night.yaml", "select: {query: all}\nreset: {pin: {generate: {length: 6}}}\ndeliver: none\nrun: {cron: \"0 2 * * *\", timezone: UTC}\n")
	k.look()
	if text := k.text(acceptedDir, ".status.txt"); !strings.HasPrefix(text, "job 1 scheduled for 2") {
		t.Errorf("%q", text)
	}
	ctx := context.Background()
	_, err := k.env.Schedule(ctx, 1, resetjob.Run{Now: true}, "bob")
	k.must(err)
	both := func(first string) {
		t.Helper()
		for range 3 { // it says so each time, not the one and then the other
			k.pass(time.Second)
			if text := k.text(acceptedDir, ".status.txt"); !strings.HasPrefix(text, first) || strings.Count(text, "job 2 scheduled for") != 1 || strings.Count(text, "job 1") != 1 {
				t.Errorf("%q", text)
			}
		}
	}
	both("job 1 queued\n")
	_, err = k.env.Run(ctx, 1, nil)
	k.must(err)
	both("job 1 done\nUpdated 2")
}

func TestOwners(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("needs root, to make files of other accounts")
	}
	for _, tt := range []struct {
		name, reason string
		owners       []string
		do           func(path string) error
	}{
		{"another account", "belongs to nobody", []string{"root"}, func(p string) error { return os.Chown(p, 65534, 65534) }},
		{"an account that may", "", []string{"nobody"}, func(p string) error { return os.Chown(p, 65534, 65534) }},
		{"a group that may", "", []string{"%nogroup"}, func(p string) error { return os.Chown(p, 65534, 65534) }},
		{"a group can write it", "others than its owner can write it", []string{"root"}, func(p string) error { return os.Chmod(p, 0o664) }},
		{"everybody can write it", "others than its owner can write it", []string{"root"}, func(p string) error { return os.Chmod(p, 0o646) }},
	} {
		k := newKit(t, func(c *config.Config) { c.Watch[0].Owners = tt.owners })
		k.drop("x.yaml", good)
		k.must(tt.do(filepath.Join(k.w.Dir, "x.yaml")))
		k.look()
		reason := ""
		if len(k.all()) == 0 {
			reason = k.text(rejectedDir, ".reason.txt")
		}
		if (reason == "") != (tt.reason == "") || !strings.Contains(reason, tt.reason) {
			t.Errorf("%s: %q", tt.name, reason)
		}
		k.clean("471108")
	}
}

func TestFolderModes(t *testing.T) {
	for _, tt := range []struct {
		mode os.FileMode
		good bool
	}{{0o755, true}, {0o775, false}, {0o775 | os.ModeSetgid, true}, {0o775 | os.ModeSticky, true}, {0o777 | os.ModeSticky, true}, {0o777 | os.ModeSetgid, false}, {0o777, false}} {
		k := newKit(t, nil)
		k.must(os.Chmod(k.w.Dir, tt.mode))
		k.drop("x.yaml", good)
		k.look()
		if taken := len(k.all()) == 1; taken != tt.good || k.f.Trouble() == tt.good {
			t.Errorf("%s: taken %v, trouble %v", tt.mode, taken, k.f.Trouble())
		}
	}
	// What others may have put in the place of our own folders.
	k := newKit(t, nil)
	k.must(os.Symlink(k.dir, filepath.Join(k.w.Dir, claimsDir)))
	k.drop("x.yaml", good)
	k.look()
	if !k.f.Trouble() || len(k.all()) != 0 {
		t.Error("a link in the place of .claims is used")
	}
}

// Run takes what comes, without being asked, and ends when it is told to.
func TestRun(t *testing.T) {
	k := newKit(t, func(c *config.Config) { c.Watch[0].Settle = 10 * time.Millisecond })
	accepted := make(chan struct{}, 10)
	k.o.Now, k.o.Rescan = time.Now, time.Hour // only by being told of changes
	k.o.Step = func(step string) {
		if step == "unclaimed" {
			accepted <- struct{}{}
		}
	}
	k.restart()
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error)
	k.drop("before.yaml", good)
	go func() { done <- k.f.Run(ctx) }()
	<-accepted
	k.drop("after.yaml", strings.Replace(good, "471108", "471109", 1))
	<-accepted
	cancel()
	if err := <-done; !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
	k.clean("471108", "471109")
}
