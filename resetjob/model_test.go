package resetjob

import (
	"flag"
	"fmt"
	"os"
	"runtime"
	"runtime/debug"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"

	"github.com/dirpin/dirpin/config"
)

// The promise, against everything that can happen at once: processes that are
// killed at every step, answers that are lost, late or doubled, jobs over the
// same users, synchronizations, restores, rotated keys, clocks that jump. The
// voicemail systems, the people and time are modelled; the jobs, the store and
// its database are the real ones.
//
// One run is rapid.checks stories of a seed that is always the same, so that it
// fails for what was changed and nothing else; DIRPIN_MODEL=10m goes on for that
// long with others. A failure prints the first story, the shortest, and the
// seed.
func TestModel(t *testing.T) {
	playModel(t, newModel(t))
}

// The same with systems that keep notes, as Unity Connection does.
func TestModelNotes(t *testing.T) {
	m := newModel(t)
	m.notes = true
	playModel(t, m)
}

func playModel(t *testing.T, m *model) {
	// One thing at a time, so that a seed tells the same story again.
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(1))
	d, err := time.ParseDuration(os.Getenv("DIRPIN_MODEL"))
	if err != nil {
		seed := flag.Lookup("rapid.seed")
		if seed.Value.String() == "0" {
			flag.Set("rapid.seed", "20261124")
			defer flag.Set("rapid.seed", "0")
		}
	}
	for until := time.Now().Add(d); ; {
		rapid.Check(t, m.play)
		if !time.Now().Before(until) {
			return
		}
	}
}

// play tells one story in a bubble. What fails in it fails outside, where rapid
// can see it.
func (m *model) play(rt *rapid.T) {
	var failure any
	synctest.Test(m.T, func(*testing.T) {
		w := m.newWorld()
		defer w.close()
		defer func() {
			failure = recover()
			if err, ok := failure.(runtime.Error); ok {
				failure = fmt.Sprintf("%v\n%s", err, debug.Stack())
			}
		}()
		defer w.bury()
		w.furnish(rt)
		rt.Repeat(w.actions())
		w.settleAll()
		w.judge(rt)
	})
	if failure != nil {
		panic(failure)
	}
}

// furnish draws what stays the same throughout a story.
func (w *world) furnish(rt *rapid.T) {
	timeout := rapid.SampledFrom([]time.Duration{10 * time.Second, 3 * time.Minute}).Draw(rt, "timeout")
	system := config.Voicemail{Name: "west", Type: "http", Timeout: timeout, Retries: rapid.IntRange(0, 2).Draw(rt, "retries"),
		Concurrency: rapid.IntRange(1, 2).Draw(rt, "concurrency"), PauseMax: 5 * time.Minute, NoMailbox: rapid.SampledFrom([]string{"fail", "commit"}).Draw(rt, "no_mailbox")}
	w.cfg = &config.Config{StateDir: w.dir, RecoverWithin: 20 * time.Minute, RetryWithin: 7 * 24 * time.Hour,
		Watch:      []config.Watch{{Reports: w.dir + "/reports", Lists: w.dir + "/lists"}},
		Agreements: []config.Agreement{{Name: "corp", Passwords: "directory"}},
		Voicemail:  []config.Voicemail{system},
		Credentials: config.Credentials{
			PIN:      config.Policy{MinLength: 4, MaxLength: 12, ForbidTrivial: true, History: 3},
			Password: config.Policy{MinLength: 8, History: 2}}}
	if mode := rapid.SampledFrom([]string{"", "first", "all", "any"}).Draw(rt, "two systems"); mode != "" {
		w.cfg.VoicemailMode = mode
		east := system
		east.Name, east.For = "east", inDepartment("1")
		if w.several() {
			east.For = inDepartment("1", "2")
		}
		w.cfg.Voicemail[0].For = inDepartment("2", "9")
		w.cfg.Voicemail = append(w.cfg.Voicemail, east)
	}
	w.batch = rapid.SampledFrom([]int64{1, BatchSize}).Draw(rt, "items a batch")
	w.boxes = boxes{notes: w.model.notes, idempotent: rapid.Bool().Draw(rt, "idempotent"), history: rapid.SampledFrom([]int{0, 1, 4, 1000}).Draw(rt, "history")}
	n := rapid.IntRange(1, 4).Draw(rt, "people")
	for i := range n {
		p := &person{alias: fmt.Sprintf("user%c", 'a'+i)}
		if i%2 == 1 {
			p.key = "key-" + p.alias
		}
		p.box = newMailbox(rapid.IntRange(0, 9).Draw(rt, "mailbox") > 0)
		if p.east = p.box; w.several() {
			p.east = newMailbox(rapid.IntRange(0, 9).Draw(rt, "mailbox in the east") > 0)
		}
		p.fates = rapid.SliceOfN(fateGen(timeout), 0, 6).Draw(rt, "fates of "+p.alias)
		w.insertPerson(p)
		w.people = append(w.people, p)
	}
	w.tell("timeout %s, %d items a batch, retries %d, concurrency %d, %d systems %s, boxes %+v", timeout, w.batch, system.Retries, system.Concurrency, len(w.cfg.Voicemail), w.cfg.VoicemailMode, w.boxes)
}

func newMailbox(exists bool) *mailbox {
	m := &mailbox{exists: exists, done: map[string]bool{}}
	for _, pin := range []string{givenPINs[0], "70000000"} { // one that a job may give once more
		m.held = append(m.held, held{pin: pin, at: epoch})
	}
	return m
}

func fateGen(timeout time.Duration) *rapid.Generator[fate] {
	return rapid.Custom(func(rt *rapid.T) fate {
		f := fate{kind: rapid.SampledFrom([]string{answered, answered, lateFate, lostAfter, silent, lostBefore, silentLate, twice, refused, tryAgain, rejectsIt, loginPage, deniesUs}).Draw(rt, "fate")}
		f.after = rapid.SampledFrom([]time.Duration{5 * time.Millisecond, 120 * time.Millisecond, 900 * time.Millisecond, timeout / 2, timeout + time.Second}).Draw(rt, "after")
		switch f.kind {
		case lateFate, silentLate:
			f.late = rapid.SampledFrom([]time.Duration{timeout / 20, timeout / 3, timeout, 2*timeout - 2*time.Second}).Draw(rt, "late")
		case tryAgain:
			f.late = rapid.SampledFrom([]time.Duration{0, 2 * time.Second, 30 * time.Second}).Draw(rt, "retry-after")
		}
		return f
	})
}
