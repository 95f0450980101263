package resetjob

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"

	"github.com/dirpin/dirpin/internal/outcome"
	"github.com/dirpin/dirpin/internal/store"
)

// actions are what can happen, by name. After each some time passes.
func (w *world) actions() map[string]func(*rapid.T) {
	all := map[string]func(*rapid.T){
		"run": w.runFile, "run 2": w.runFile, "run 3": w.runFile, "go on": w.goOn, "go on 2": w.goOn, "retry": w.retry, "retry 2": w.retry,
		"cancel": w.cancelJob, "release": w.release, "kill": w.killOne, "kill 2": w.killOne, "interrupt": w.interrupt,
		"phone": w.phone, "sync": w.sync, "sync 2": w.sync, "reckless sync": w.recklessSync, "protect": w.protect,
		"copy": w.copyAside, "restore": w.restore, "release restored": w.releaseRestored, "drill": w.drill,
		"break": w.breakDatabase, "mend": w.mend, "bad row": w.badRow, "take over": w.unlock,
		"clock": w.moveClock, "keys": w.rotateKeys, "doctor": w.doctor, "wait": func(*rapid.T) {}, "misfortune": w.misfortune,
		"leave and return": w.leaveAndReturn, "refusals": w.refusals,
	}
	actions := map[string]func(*rapid.T){"": func(*rapid.T) {}}
	for name, act := range all {
		actions[name] = func(rt *rapid.T) {
			act(rt)
			time.Sleep(rapid.SampledFrom(rests).Draw(rt, "rest"))
			w.pause(rt)
		}
	}
	return actions
}

var rests = []time.Duration{0, time.Millisecond, 100 * time.Millisecond, time.Second, 4 * time.Second, 12 * time.Second, 25 * time.Second, time.Minute, 7 * time.Minute, 0, time.Millisecond, 30 * time.Millisecond, 2 * time.Second, 30 * time.Minute}

// pause waits until nothing moves, and looks.
func (w *world) pause(rt *rapid.T) {
	synctest.Wait()
	w.check()
	w.judge(rt)
}

var (
	givenPINs      = []string{"58203946", "70415298", "60293817"}
	givenPasswords = []string{"correct-horse-1", "correct-horse-2"}
)

// doom draws at which step a process is killed.
func doom(rt *rapid.T) (string, int) {
	at := rapid.SampledFrom([]string{"", "", "", "opening", "write", "written", "push", "pushed", "closing", "closed", "mark"}).Draw(rt, "dies at")
	if at == "" {
		return "", 0
	}
	return at, rapid.IntRange(1, 4).Draw(rt, "time")
}

// jobFile draws a job.
func (w *world) jobFile(rt *rapid.T) string {
	var b strings.Builder
	w.jobs++
	kind := rapid.SampledFrom([]string{"all", "all", "department", "file", "csv"}).Draw(rt, "select")
	password := rapid.SampledFrom([]string{"", "", givenPasswords[0], givenPasswords[1]}).Draw(rt, "password")
	switch kind {
	case "all":
		b.WriteString("select: {query: all}\n")
	case "department":
		b.WriteString("select: {query: {where: [{field: department, op: is exactly, text: \"2, 9\"}]}}\n")
	case "file":
		name := fmt.Sprintf("list%d.txt", w.jobs)
		w.must(os.WriteFile(filepath.Join(w.dir, "lists", name), []byte(w.people[0].alias+"\nnobody\n"), 0o600))
		b.WriteString("select: {file: {name: " + name + ", field: user_id}}\n")
	case "csv":
		return w.csvFile(rt)
	}
	pin := rapid.SampledFrom(append([]string{"generate", "generate", "generate", "none"}, givenPINs...)).Draw(rt, "pin")
	var reset []string
	switch pin {
	case "generate":
		reset = append(reset, "pin: {generate: {length: 8}}")
		b.WriteString("deliver: none\n")
	case "none":
		if password == "" {
			password = givenPasswords[0]
		}
	default:
		reset = append(reset, "pin: \""+pin+"\"")
		w.values[pin] = true
	}
	if password != "" {
		reset = append(reset, "password: "+password)
		w.values[password] = true
	}
	b.WriteString("reset: {" + strings.Join(reset, ", ") + "}\n")
	w.limits(rt, &b)
	return b.String()
}

func (w *world) limits(rt *rapid.T, b *strings.Builder) {
	switch rapid.IntRange(0, 7).Draw(rt, "limits") {
	case 0:
		b.WriteString("limits: {max_failures: 1}\n")
	case 1:
		b.WriteString("limits: {all_valid: true}\n")
	case 2:
		b.WriteString("limits: {max_users: 2}\n")
	}
	b.WriteString("ldap_inactive: {pin: flag, password: skip}\n")
}

func (w *world) csvFile(rt *rapid.T) string {
	name := fmt.Sprintf("pins%d.csv", w.jobs)
	rows := []string{"user_id,pin"}
	for _, p := range w.people {
		pin := rapid.SampledFrom(givenPINs).Draw(rt, "pin")
		w.values[pin] = true
		if rapid.Bool().Draw(rt, "in the csv") || len(rows) == 1 {
			rows = append(rows, p.alias+","+pin)
		}
	}
	w.must(os.WriteFile(filepath.Join(w.dir, "lists", name), []byte(strings.Join(rows, "\n")+"\n"), 0o600))
	var b strings.Builder
	b.WriteString("select: {csv: {name: " + name + "}}\n")
	w.limits(rt, &b)
	return b.String()
}

// runFile is dirpin run.
func (w *world) runFile(rt *rapid.T) {
	if w.jobs >= 5 || len(w.living()) >= 2 || !w.broken.IsZero() {
		rt.Skip()
	}
	at, nth := doom(rt)
	w.startFile(w.jobFile(rt), at, nth)
}

func (w *world) startFile(file, at string, nth int) *process {
	return w.start("run "+strings.ReplaceAll(strings.TrimSpace(file), "\n", "; "), at, nth, true, func(ctx context.Context, p *process) error {
		s, err := Load(filepath.Join(w.dir, fmt.Sprintf("job%d.yaml", w.jobs)), []byte(file), w.cfg.Watch[0].Lists, ParseOptions{
			Now: w.now(), Foreground: true, PlainAllowed: true, Credentials: p.cfg.Credentials, Agreements: p.cfg.Agreements,
			CheckGiven: CheckGivenBy(&p.cfg.Credentials), OpenSealed: p.ring.OpenSealed})
		if err != nil {
			return err
		}
		j, err := p.env.Submit(ctx, s, "tester")
		if err != nil {
			return err
		}
		return p.runJob(ctx, j.ID)
	})
}

func (p *process) runJob(ctx context.Context, id int64) error {
	var s Shift
	if p.shifts {
		s = Shift{Leave: true, Help: true, Budget: 3 * time.Second, Alive: func() {}}
	}
	j, err := p.env.Work(ctx, id, s)
	for later := new(ShiftError); errors.As(err, &later) && ctx.Err() == nil && !p.isDead(); {
		p.w.say("%s has ended a shift: %v", p.name, err)
		select {
		case <-ctx.Done():
		case <-p.dead:
		case <-time.After(time.Until(later.Until)):
		}
		j, err = p.env.Work(ctx, id, s)
	}
	if err == nil && j == nil {
		p.w.say("%s has helped with job %d", p.name, id)
	} else if err == nil && !p.isDead() {
		p.w.say("job %d is %s: %+v", j.ID, j.State, j.Counts)
	}
	return err
}

// pick draws one of the jobs for which ok holds.
func (w *world) pick(rt *rapid.T, ok func(*seenJob) bool) *seenJob {
	w.mu.Lock()
	s := w.look()
	w.mu.Unlock()
	var ids []int64
	for id, j := range s.jobs {
		if ok(j) {
			ids = append(ids, id)
		}
	}
	if len(ids) == 0 {
		rt.Skip()
	}
	slices.Sort(ids)
	return s.jobs[rapid.SampledFrom(ids).Draw(rt, "job")]
}

// goOn runs a job that is not closed, again or at the same time.
func (w *world) goOn(rt *rapid.T) {
	if len(w.living()) >= 2 || !w.broken.IsZero() {
		rt.Skip()
	}
	j := w.pick(rt, func(j *seenJob) bool { return j.stage != store.StageClosed })
	at, nth := doom(rt)
	w.startGoOn(j.id, at, nth)
}

func (w *world) startGoOn(job int64, at string, nth int) *process {
	return w.start(fmt.Sprintf("go on with job %d", job), at, nth, true, func(ctx context.Context, p *process) error { return p.runJob(ctx, job) })
}

func (w *world) retry(rt *rapid.T) {
	if len(w.living()) >= 2 || !w.broken.IsZero() {
		rt.Skip()
	}
	j := w.pick(rt, func(j *seenJob) bool { return j.stage == store.StageClosed && j.counts.Failed+j.counts.NotRun > 0 })
	at, nth := doom(rt)
	w.start(fmt.Sprintf("retry job %d", j.id), at, nth, true, func(ctx context.Context, p *process) error {
		next, err := p.env.Retry(ctx, j.id, "tester")
		if err != nil {
			return err
		}
		return p.runJob(ctx, next.ID)
	})
}

// cancelJob is dirpin jobs cancel.
func (w *world) cancelJob(rt *rapid.T) {
	if !w.broken.IsZero() {
		rt.Skip()
	}
	j := w.pick(rt, func(j *seenJob) bool { return !j.state.Ended() })
	w.start(fmt.Sprintf("cancel job %d", j.id), "", 0, false, func(ctx context.Context, p *process) error {
		owner := ""
		if err := p.env.EnterToLook(ctx); err != nil {
			return err
		}
		err := p.store.Write(ctx, func(tx *store.Tx) error {
			from := []store.State{store.Held, store.Queued, store.Running, store.Paused, store.Scheduled}
			if moved, err := tx.MoveJob(j.id, from, store.Cancelled, "cancelled"); err != nil || !moved {
				return errors.Join(err, errors.New("there is nothing left to cancel"))
			}
			if _, err := tx.EndPending(j.id, outcome.Cancelled); err != nil {
				return err
			}
			job, err := tx.Job(j.id)
			if err == nil {
				owner = job.Owner
			}
			return err
		})
		if err != nil || owner != "" {
			return err
		}
		return p.runJob(ctx, j.id)
	})
}

func (w *world) release(rt *rapid.T) {
	if !w.broken.IsZero() {
		rt.Skip()
	}
	j := w.pick(rt, func(j *seenJob) bool { return j.state == store.Held && j.reason != store.ReasonRestored })
	w.start(fmt.Sprintf("release job %d", j.id), "", 0, false, func(ctx context.Context, p *process) error {
		return p.release(ctx, j.id)
	})
}

func (w *world) one(rt *rapid.T) *process {
	ps := w.living()
	if len(ps) == 0 {
		rt.Skip()
	}
	return ps[rapid.IntRange(0, len(ps)-1).Draw(rt, "process")]
}

func (w *world) killOne(rt *rapid.T) { w.one(rt).kill("from outside") }

func (w *world) interrupt(rt *rapid.T) {
	p := w.one(rt)
	w.say("%s is interrupted", p.name)
	p.cancel()
}

// misfortune waits for somebody.
func (w *world) misfortune(rt *rapid.T) {
	p := w.people[rapid.IntRange(0, len(w.people)-1).Draw(rt, "person")]
	more := rapid.SliceOfN(fateGen(w.cfg.Voicemail[0].Timeout), 1, 4).Draw(rt, "fates")
	w.mu.Lock()
	defer w.mu.Unlock()
	p.fates = append(p.fates[:p.turn:p.turn], more...)
}

// refusals runs a job that may fail once, while everybody is refused.
func (w *world) refusals(rt *rapid.T) {
	if w.jobs >= 5 || len(w.living()) >= 2 || !w.broken.IsZero() {
		rt.Skip()
	}
	var hired []*person // more than the concurrency may overshoot
	for c := 'a'; c <= 'h' && len(w.people)+len(hired) < 5; c++ {
		p := w.hire(&person{alias: "user" + string(c)})
		if !slices.ContainsFunc(w.people, func(q *person) bool { return q.alias == p.alias || q.born == p.alias }) {
			w.insertPerson(p)
			hired = append(hired, p)
		}
	}
	w.mu.Lock()
	w.people = append(w.people, hired...)
	for _, p := range w.people {
		p.fates = append(p.fates[:p.turn:p.turn], fate{kind: rejectsIt, after: 5 * time.Millisecond})
	}
	w.mu.Unlock()
	w.jobs++
	w.startFile("select: {query: all}\ndeliver: none\nreset: {pin: {generate: {length: 8}}}\nlimits: {max_failures: 1}\n", "", 0)
}

// doctor lifts what keeps everybody from the systems.
func (w *world) doctor(rt *rapid.T) {
	if !w.broken.IsZero() {
		rt.Skip()
	}
	if w.lift() == 0 {
		rt.Skip()
	}
	w.say("doctor passes")
}

func (w *world) lift() int64 {
	n := w.exec("DELETE FROM latches")
	w.mu.Lock()
	defer w.mu.Unlock()
	n += int64(len(w.denied))
	clear(w.denied)
	return n
}

// rotateKeys adds a key and makes it the primary one, when no process lives
// that has not got it.
func (w *world) rotateKeys(rt *rapid.T) {
	if len(w.living()) > 0 || !w.broken.IsZero() || len(w.ring.Keys()) > 2 {
		rt.Skip()
	}
	ring, err := w.ring.Rotate(rand.Reader, w.now())
	w.must(err)
	s, err := store.Open(context.Background(), store.Options{Path: w.db, Now: w.now})
	w.must(err)
	w.must(s.Write(context.Background(), func(tx *store.Tx) error {
		return tx.ResealJobs(func(id int64, sealed []byte) ([]byte, error) {
			again, _, err := ring.ResealJobKey(id, sealed)
			return again, err
		})
	}))
	w.must(s.Close())
	w.ring = ring
	w.say("the key is rotated")
}
