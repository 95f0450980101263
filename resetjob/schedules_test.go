package resetjob

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/dirpin/dirpin/config"
	"github.com/dirpin/dirpin/internal/clock"
	"github.com/dirpin/dirpin/internal/outcome"
	"github.com/dirpin/dirpin/internal/secret"
	"github.com/dirpin/dirpin/internal/store"
	"github.com/dirpin/dirpin/internal/user"
)

// timed is a kit whose clock stands where a test sets it.
type timed struct {
	*kit
	s   *Schedules
	ran time.Duration // time that passed
	was time.Time
}

func newTimed(t *testing.T, at string, change func(*config.Config)) *timed {
	k := &timed{kit: newKit(t, func(c *config.Config) {
		c.Late = time.Hour
		c.Watch[0].Name = "main"
		if change != nil {
			change(c)
		}
	})}
	k.addUsers(2, nil)
	k.was = moment(at)
	k.ahead = time.Until(k.was)
	var err error
	k.s, err = k.env.NewSchedules(context.Background())
	k.must(err)
	k.tick(at)
	return k
}

func moment(s string) time.Time {
	t, err := time.Parse(time.RFC3339, s)
	if err != nil {
		panic(err)
	}
	return t
}

// tick lets time pass until then, and looks.
func (k *timed) tick(at string) *Tick {
	k.Helper()
	k.ran += moment(at).Sub(k.was)
	return k.set(at)
}

// set sets the clock, and looks.
func (k *timed) set(at string) *Tick {
	k.Helper()
	k.was = moment(at)
	k.ahead = time.Until(k.was)
	t, err := k.s.Tick(context.Background(), clock.Reading{Wall: k.was, Elapsed: k.ran})
	k.must(err)
	return t
}

// drop accepts a job file.
func (k *timed) drop(name, text string) (*Accepted, error) {
	k.Helper()
	w := k.env.Config.Watch[0]
	s, err := Load(name, []byte(text), w.Lists, ParseOptions{Now: k.now(), PlainAllowed: true, Ceilings: Ceilings(k.env.Config, &w), Allow: w.Allow,
		Credentials: k.env.Config.Credentials, CheckGiven: CheckGivenBy(&k.env.Config.Credentials), OpenSealed: k.env.Ring.OpenSealed})
	if err != nil {
		return nil, err
	}
	s.Folder = w.Name
	return k.env.Accept(context.Background(), s, Origin{Submitter: "alice"})
}

func (k *timed) accept(name, text string) *store.Job {
	k.Helper()
	a, err := k.drop(name, text)
	k.must(err)
	return a.Job
}

func (k *timed) job(id int64) *store.Job {
	k.Helper()
	var j *store.Job
	k.must(k.env.Store.Read(context.Background(), func(tx *store.Tx) (err error) { j, err = tx.Job(id); return err }))
	return j
}

// finish runs a job to its end.
func (k *timed) finish(id int64) *store.Job {
	k.Helper()
	j, err := k.env.Run(context.Background(), id, nil)
	k.must(err)
	return j
}

// stands tells whether the job is in that state, and waits for that time.
func (k *timed) stands(what string, id int64, state store.State, due string) {
	k.Helper()
	j := k.job(id)
	if j.State != state || rfc3339(j.Due) != due {
		k.Errorf("%s: job %d is %s (%s) and due %s, want %s and %q", what, id, j.State, j.Reason, rfc3339(j.Due), state, due)
	}
}

const nightly = "select: {query: all}\nreset: {pin: {generate: {length: 6}}}\ndeliver: none\nrun: {cron: \"0 2 * * *\", timezone: Europe/Berlin}\n"

func TestSchedule(t *testing.T) {
	k := newTimed(t, "2026-11-24T12:00:00Z", nil)
	first := k.accept("night.yaml", nightly)
	k.stands("accepted", first.ID, store.Scheduled, "2026-11-25T01:00:00Z")
	if next := k.tick("2026-11-25T00:59:30Z").Next; !next.Equal(moment("2026-11-25T01:00:00Z")) {
		t.Errorf("looks again at %s", next)
	}
	if started := k.tick("2026-11-25T01:00:00Z").Started; len(started) != 1 || started[0] != first.ID {
		t.Fatalf("started %v", started)
	}
	second := first.ID + 1
	k.stands("fired", first.ID, store.Queued, "2026-11-25T01:00:00Z")
	k.stands("the next", second, store.Scheduled, "2026-11-26T01:00:00Z")
	if j := k.finish(first.ID); j.State != store.Done || j.Counts.Updated != 2 {
		t.Errorf("the first run: %s %+v", j.State, j.Counts)
	}

	// Down for three days: once, and the values are drawn by the next job's own.
	tick := k.tick("2026-11-28T01:30:00Z")
	if len(tick.Started) != 1 || tick.Started[0] != second {
		t.Fatalf("after three days: %+v", tick)
	}
	k.stands("stands for the last", second, store.Queued, "2026-11-28T01:00:00Z")
	k.stands("the one after", second+1, store.Scheduled, "2026-11-29T01:00:00Z")

	// The run before has not ended.
	tick = k.tick("2026-11-29T01:00:00Z")
	if len(tick.Skipped) != 1 || len(tick.Started) != 0 {
		t.Errorf("while it is unfinished: %+v", tick)
	}
	k.stands("left out", second+1, store.Scheduled, "2026-11-30T01:00:00Z")
	if j := k.job(second + 1); !strings.Contains(j.Reason, "has not ended") {
		t.Errorf("it says: %q", j.Reason)
	}
	k.finish(second)

	// Too late: held, once; the schedule goes on.
	tick = k.tick("2026-11-30T02:00:01Z")
	if len(tick.Held) != 1 {
		t.Fatalf("late: %+v", tick)
	}
	k.stands("late", second+1, store.Held, "2026-11-30T01:00:00Z")
	k.stands("after the late one", second+2, store.Scheduled, "2026-12-01T01:00:00Z")
	if _, err := k.env.Release(context.Background(), second+1, "bob"); err != nil {
		t.Fatal(err)
	}
	if j := k.finish(second + 1); j.Counts.Updated != 2 {
		t.Errorf("released: %+v", j.Counts)
	}

	// Cancelled: the schedule has ended.
	if _, _, moved, err := k.env.Cancel(context.Background(), second+2, "bob"); err != nil || !moved {
		t.Fatal(moved, err)
	}
	k.finish(second + 2)
	if j := k.job(second + 2); j.State != store.Cancelled || j.Stage != store.StageClosed {
		t.Errorf("cancelled: %s %s", j.State, j.Stage)
	}
	if tick := k.tick("2026-12-05T01:00:00Z"); len(tick.Started)+len(tick.Held)+len(tick.Skipped) != 0 {
		t.Errorf("after its end: %+v", tick)
	}
}

func TestScheduleUntil(t *testing.T) {
	k := newTimed(t, "2026-11-24T12:00:00Z", nil)
	j := k.accept("night.yaml", strings.Replace(nightly, "Berlin}", "Berlin, until: 2026-11-25T23:00:00Z}", 1))
	k.tick("2026-11-25T01:00:00Z")
	k.finish(j.ID)
	if tick := k.tick("2026-11-26T01:00:00Z"); len(tick.Started) != 0 {
		t.Errorf("after until: %+v", tick)
	}
}

// A given value goes from run to run, sealed under each one's own key.
func TestScheduleKeepsGivenValues(t *testing.T) {
	k := newTimed(t, "2026-11-24T12:00:00Z", func(c *config.Config) { c.Credentials.PIN.History = 0 })
	j := k.accept("fixed.yaml", "select: {query: all}\nreset: {pin: \"471108\"}\nrun: {cron: \"0 2 * * *\", timezone: UTC}\n")
	k.tick("2026-11-25T02:00:00Z")
	k.finish(j.ID)
	k.tick("2026-11-26T02:00:00Z")
	if second := k.finish(j.ID + 1); second.Counts.Updated != 2 || !k.holds("user0", store.PIN, "471108") {
		t.Errorf("the second run: %+v", second.Counts)
	}
}

// The list of a schedule is read again at each run, with what it says then.
func TestScheduleReadsItsListAgain(t *testing.T) {
	k := newTimed(t, "2026-11-24T12:00:00Z", nil)
	k.list("shift.txt", "user0\n")
	j := k.accept("shift.yaml", strings.Replace(nightly, "query: all", "file: {name: shift.txt, field: user_id}", 1))
	k.list("shift.txt", "user1\n")
	k.tick("2026-11-25T01:00:00Z")
	k.finish(j.ID)
	if codes := k.codes(j.ID); len(codes) != 1 || codes["user1"] != outcome.OK {
		t.Errorf("the first run changed %v", codes)
	}
	k.list("shift.txt", "user0;user1\n")
	k.tick("2026-11-26T01:00:00Z")
	if j := k.finish(j.ID + 1); j.State != store.Failed || !strings.Contains(j.Reason, "shift.txt") {
		t.Errorf("a list at fault: %s %s", j.State, j.Reason)
	}
}

func TestAtAndLate(t *testing.T) {
	k := newTimed(t, "2026-11-24T12:00:00Z", nil)
	text := "select: {query: all}\nreset: {pin: {generate: {length: 6}}}\ndeliver: none\nrun: {at: 2026-12-01T02:00:00+01:00}\n"
	j := k.accept("once.yaml", text)
	if tick := k.tick("2026-12-01T00:59:59Z"); len(tick.Started) != 0 {
		t.Error("too early")
	}
	if tick := k.tick("2026-12-01T01:59:59Z"); len(tick.Started) != 1 {
		t.Errorf("an hour late: %+v", tick)
	}
	k.finish(j.ID)
	late := k.accept("late.yaml", strings.Replace(text, "12-01", "12-02", 1))
	k.tick("2026-12-02T02:00:01Z")
	k.stands("missed", late.ID, store.Held, "2026-12-02T01:00:00Z")
	// Another time for it.
	if _, err := k.env.Schedule(context.Background(), late.ID, Run{At: moment("2026-12-03T01:00:00Z")}, "bob"); err != nil {
		t.Fatal(err)
	}
	if tick := k.tick("2026-12-03T01:00:00Z"); len(tick.Started) != 1 {
		t.Errorf("at its new time: %+v", tick)
	}
}

// A clock that jumps starts nothing until it is believed again; what it jumped
// over is late then.
func TestClockJumps(t *testing.T) {
	k := newTimed(t, "2026-11-24T12:00:00Z", nil)
	j := k.accept("night.yaml", nightly)
	if tick := k.set("2027-11-24T12:00:00Z"); tick.Doubt == "" || len(tick.Started)+len(tick.Held) != 0 {
		t.Errorf("a year ahead: %+v", tick)
	}
	k.stands("meanwhile", j.ID, store.Scheduled, "2026-11-25T01:00:00Z")
	if tick := k.tick("2027-11-24T12:01:00Z"); len(tick.Held) != 1 || len(tick.Started) != 0 {
		t.Errorf("believed: %+v", tick)
	}
	k.stands("its next", j.ID+1, store.Scheduled, "2027-11-25T01:00:00Z")
	k.env.Cancel(context.Background(), j.ID, "bob")
	k.finish(j.ID)
	// Back to where it was: the next run is not a year away.
	if tick := k.set("2026-11-24T12:02:00Z"); tick.Doubt == "" {
		t.Error("a year back is believed")
	}
	k.tick("2026-11-24T12:03:00Z")
	k.stands("the clock is right again", j.ID+1, store.Scheduled, "2026-11-25T01:00:00Z")
	k.tick("2026-11-25T01:00:00Z")
	k.finish(j.ID + 1)
	// Half an hour back over a run: it does not come again.
	k.set("2026-11-25T00:45:00Z")
	k.tick("2026-11-25T00:46:00Z")
	k.stands("back over a run", j.ID+2, store.Scheduled, "2026-11-26T01:00:00Z")
}

// A process that starts before the last time that was seen waits too.
func TestStartedBeforeTheLastTime(t *testing.T) {
	k := newTimed(t, "2026-11-24T12:00:00Z", nil)
	k.accept("once.yaml", "select: {query: all}\nreset: {pin: {generate: {length: 6}}}\ndeliver: none\nrun: {at: 2026-11-24T12:30:00Z}\n")
	k.tick("2026-11-24T12:20:00Z")
	var err error
	k.s, err = k.env.NewSchedules(context.Background())
	k.must(err)
	if tick := k.set("2026-11-24T12:00:00Z"); tick.Doubt == "" {
		t.Error("the clock is believed")
	}
}

func TestHoldAndRelease(t *testing.T) {
	ctx := context.Background()
	k := newTimed(t, "2026-11-24T12:00:00Z", nil)
	j := k.accept("night.yaml", nightly)
	if _, err := k.env.Hold(ctx, j.ID, "bob"); err != nil {
		t.Fatal(err)
	}
	if tick := k.tick("2026-11-27T12:00:00Z"); len(tick.Started)+len(tick.Held) != 0 {
		t.Errorf("a held schedule: %+v", tick)
	}
	k.must(k.env.Tidy(ctx)) // is not what waits for its time
	if _, err := k.env.Release(ctx, j.ID, "bob"); err != nil {
		t.Fatal(err)
	}
	k.stands("released", j.ID, store.Scheduled, "2026-11-28T01:00:00Z")
	if _, err := k.env.CancelNext(ctx, j.ID, "bob"); err != nil {
		t.Fatal(err)
	}
	k.stands("without its next", j.ID, store.Scheduled, "2026-11-29T01:00:00Z")
	if _, err := k.env.Schedule(ctx, j.ID, Run{Now: true}, "bob"); err != nil {
		t.Fatal(err)
	}
	k.stands("now", j.ID, store.Queued, rfc3339(k.was))
	k.stands("and as it was", j.ID+1, store.Scheduled, "2026-11-29T01:00:00Z")

	asked := k.accept("asked.yaml", "select: {query: all}\nreset: {pin: {generate: {length: 6}}}\ndeliver: none\nrun: held\n")
	k.stands("run: held", asked.ID, store.Held, "")
	held := new(HeldError)
	if _, err := k.env.Run(ctx, asked.ID, nil); !errors.As(err, &held) {
		t.Errorf("running it: %v", err)
	}
	if _, err := k.env.Release(ctx, asked.ID, "alice"); err != nil {
		t.Fatal(err)
	}
	if j := k.finish(asked.ID); j.Counts.Updated != 2 {
		t.Errorf("%+v", j.Counts)
	}
	cannot := new(CannotError)
	for what, try := range map[string]func() error{
		"hold":     func() error { _, err := k.env.Hold(ctx, asked.ID, "bob"); return err },
		"release":  func() error { _, err := k.env.Release(ctx, asked.ID, "bob"); return err },
		"cancel":   func() error { _, _, _, err := k.env.Cancel(ctx, asked.ID, "bob"); return err },
		"next":     func() error { _, err := k.env.CancelNext(ctx, asked.ID, "bob"); return err },
		"schedule": func() error { _, err := k.env.Schedule(ctx, asked.ID, Run{Now: true}, "bob"); return err },
	} {
		if err := try(); !errors.As(err, &cannot) {
			t.Errorf("%s of a job that is done: %v", what, err)
		}
	}
}

// A job that is held while it runs settles what is on the wire and goes on
// after its release.
func TestHoldWhileRunning(t *testing.T) {
	ctx := context.Background()
	k := newTimed(t, "2026-11-24T12:00:00Z", nil)
	k.kit.must(k.env.Store.Write(ctx, func(tx *store.Tx) error {
		for _, id := range strings.Fields("a b c d e f g h i j k l m n o p q r s t u v w x y z") {
			if err := tx.AddUser(&user.User{UserID: id, LastName: "Smith", Status: user.Local}); err != nil {
				return err
			}
		}
		return nil
	}))
	j := k.accept("all.yaml", "select: {query: all}\nreset: {pin: {generate: {length: 6}}}\ndeliver: none\n")
	once := make(chan struct{}, 1)
	k.boxes.took = func() {
		select {
		case once <- struct{}{}:
			if _, err := k.env.Hold(ctx, j.ID, "bob"); err != nil {
				t.Error(err)
			}
		default:
		}
	}
	held := new(HeldError)
	if _, err := k.env.Run(ctx, j.ID, nil); !errors.As(err, &held) || !strings.Contains(held.Reason, "held by bob") {
		t.Fatalf("held while it runs: %v", err)
	}
	if c := k.job(j.ID).Counts; c.Final() == 0 || c.Final() == c.Selected {
		t.Errorf("held at %+v", c)
	}
	if _, err := k.env.Release(ctx, j.ID, "bob"); err != nil {
		t.Fatal(err)
	}
	if j := k.finish(j.ID); j.Counts.Updated != 28 {
		t.Errorf("%+v", j.Counts)
	}
}

func TestAccept(t *testing.T) {
	k := newTimed(t, "2026-11-24T12:00:00Z", nil)
	now := "id: once\nselect: {query: all}\nreset: {pin: {generate: {length: 6}}}\ndeliver: none\n"
	j := k.accept("now.yaml", now)
	same := new(SameError)
	if _, err := k.drop("other.yaml", strings.Replace(now, "id: once\n", "", 1)); err != nil {
		t.Errorf("another one: %v", err)
	}
	if _, err := k.drop("again.yaml", now); !errors.Is(err, ErrIDUsed) {
		t.Errorf("the same id: %v", err)
	}
	if _, err := k.drop("again.yaml", strings.Replace(now, "id: once\n", "", 1)); !errors.As(err, &same) || same.Job != j.ID+1 {
		t.Errorf("the same content: %v", err)
	}
	// By name.
	old := k.accept("night.yaml", nightly)
	new, err := k.drop("night.yaml", strings.Replace(nightly, "0 2", "0 3", 1))
	if err != nil || len(new.Superseded) != 1 || new.Superseded[0] != old.ID {
		t.Fatalf("replaced: %+v %v", new, err)
	}
	if j := k.finish(old.ID); j.State != store.Superseded {
		t.Errorf("the old one is %s", j.State)
	}
}

// What a folder does not allow is a fault with its place; whom it does not
// cover is left alone.
func TestAllow(t *testing.T) {
	no := false
	k := newTimed(t, "2026-11-24T12:00:00Z", func(c *config.Config) {
		c.Watch[0].Allow = config.Allow{Reset: []string{"pin"}, Run: []string{"now"}, WriteBack: &no, Deliver: []string{"sealed_csv"}, MaxUsers: 1,
			Users: &user.Query{Match: user.MatchAll, Where: []user.Term{{Cond: &user.Condition{Field: user.FieldUserID, Op: user.IsExactly, Text: []string{"user0"}}}}}}
	})
	_, err := k.drop("x.yaml", "select: {query: all}\nreset:\n  pin: {generate: {length: 6}}\n  password: {generate: {length: 12}}\nrun: held\nldap_synced: {password: write_back}\ndeliver: none\nlimits: {max_users: 2}\n")
	for _, want := range []string{":4:3: password: jobs of this folder", ":5:6: run:", ":6:25: password: jobs", ":7:10: deliver:", ":8:21: max_users:"} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("no fault %q in\n%v", want, err)
		}
	}
	k.list("pins.csv", "user_id,password\nuser0,longenough1\n")
	if _, err := k.drop("csv.yaml", "select: {csv: {name: pins.csv}}\n"); err == nil || !strings.Contains(err.Error(), "pins.csv:1:1: the column password") {
		t.Errorf("a csv with passwords: %v", err)
	}
	j := k.accept("y.yaml", "select: {query: all}\nreset: {pin: \"471108\"}\n")
	k.finish(j.ID)
	if codes := k.codes(j.ID); codes["user0"] != outcome.OK || codes["user1"] != outcome.OutsideScope {
		t.Errorf("%v", codes)
	}
	gone := k.accept("z.yaml", "select: {query: all}\nreset: {pin: \"471109\"}\n")
	k.env.Config.Watch[0].Name = "renamed"
	if j := k.finish(gone.ID); j.State != store.Failed || !strings.Contains(j.Reason, "no watch folder main") {
		t.Errorf("of a folder that is gone: %s %s", j.State, j.Reason)
	}
}

// Jobs over the same users take turns by their numbers; others do not wait.
func TestTurns(t *testing.T) {
	ctx := context.Background()
	k := newTimed(t, "2026-11-24T12:00:00Z", nil)
	k.env.TakeTurns = true
	first := k.accept("first.yaml", "select: {query: all}\nreset: {pin: \"471108\"}\n")
	second := k.accept("second.yaml", "select: {query: all}\nreset: {pin: \"471109\"}\n")
	var mid error
	k.boxes.took = func() {
		if mid == nil {
			_, mid = k.env.Run(ctx, second.ID, nil)
		}
	}
	k.finish(first.ID)
	k.boxes.took = nil
	turn := new(TurnError)
	if !errors.As(mid, &turn) || turn.For != first.ID {
		t.Fatalf("the second while the first runs: %v", mid)
	}
	if j := k.finish(second.ID); j.Counts.Updated != 2 || !k.holds("user1", store.PIN, "471109") {
		t.Errorf("%+v", j.Counts)
	}
}

// Nothing of a waiting job's values can be read in the database.
func TestWaitingJobsAreSealed(t *testing.T) {
	k := newTimed(t, "2026-11-24T12:00:00Z", nil)
	k.list("pins.csv", "user_id,pin\nuser0,926531\n")
	k.accept("one.yaml", "select: {query: all}\nreset: {pin: \"586243\", password: SwordFish-86}\nrun: {cron: \"0 2 * * *\", timezone: UTC}\n")
	k.accept("two.yaml", "select: {csv: {name: pins.csv}}\nrun: held\n")
	k.tick("2026-11-25T02:00:00Z")
	files, _ := filepath.Glob(filepath.Join(k.dir, "dirpin.db*"))
	for _, f := range files {
		data, err := os.ReadFile(f)
		k.must(err)
		for _, v := range []secret.Value{secret.New("586243"), secret.New("SwordFish-86"), secret.New("926531")} {
			if strings.Contains(string(data), v.Reveal()) {
				t.Errorf("%s holds a value", filepath.Base(f))
			}
		}
	}
}

// One job that cannot be read keeps no other from starting.
func TestUnreadableJobIsHeldAlone(t *testing.T) {
	k := newTimed(t, "2026-11-24T12:00:00Z", nil)
	bad, good := k.accept("bad.yaml", nightly), k.accept("good.yaml", strings.Replace(nightly, "length: 6", "length: 8", 1))
	k.sql(fmt.Sprintf("UPDATE jobs SET job_key = (SELECT job_key FROM jobs WHERE id = %d) WHERE id = %d", good.ID, bad.ID))
	tick := k.tick("2026-11-25T01:00:00Z")
	if !slices.Equal(tick.Held, []int64{bad.ID}) || !slices.Equal(tick.Started, []int64{good.ID}) {
		t.Errorf("got %+v", tick)
	}
	if j := k.job(bad.ID); j.State != store.Held || !strings.Contains(k.env.DescribeHold(j), "cannot be read") {
		t.Errorf("it is %s: %s", j.State, k.env.DescribeHold(j))
	}
}
