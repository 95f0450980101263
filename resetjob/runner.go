package resetjob

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"sync"
	"time"

	"github.com/dirpin/dirpin/internal/credential"
	"github.com/dirpin/dirpin/internal/outcome"
	"github.com/dirpin/dirpin/internal/store"
	"github.com/dirpin/dirpin/internal/voicemail"
)

// runner works on the items of one job. One goroutine, loop, owns all of it
// and is the only one that writes; others hash and push for it:
//
//	fetch ─► hashing ─► ready ─► [claim, journal] ─► pushing ─► [finish]
//
// What stands in brackets happens in the transactions of loop, each of which
// takes along whatever has come together by then. An item is journalled before
// it is pushed and its result is written after; DESIGN.md tells what each kill
// in between leaves behind.
type runner struct {
	env   *Env
	job   *store.Job
	def   *Job
	judge *judge
	key   *credential.JobKey
	given values
	limit int64 // of failures; 0: none

	batches map[int64]*hand // that are ours, by number
	cursor  *hand           // the one that is being fetched from
	drained bool            // no batch is left to be claimed

	hashing  int // items between fetch and ready
	hash     chan *work
	hashed   chan *work
	ready    []*work
	inFlight int // items that are journalled and not settled
	ahead    map[*voicemail.System]int
	slots    map[*voicemail.System]chan struct{}
	pushed   chan *work
	settled  []*work // have an outcome that is not written yet
	resting  []*work // journalled, to be pushed again later

	settling bool // the job has ended: only what was cut is settled
	end      ending
	progress func(Progress)
	counts   store.Counts
	accepted int64 // by a voicemail system, since this run began
	noBox    int64
	paused   map[*voicemail.System]time.Time
	pause    string // why the job is paused; "": it is not
	waiting  int    // users whom another job has in flight
	failing  int    // transactions that failed in a row
}

// hand is a batch in hand.
type hand struct {
	store.Batch
	after int64 // the last seq that was fetched
	open  int   // fetched items that are not finished
}

// ending says why no more is claimed.
type ending struct {
	why   error        // of the caller; nil: go on
	code  outcome.Code // of what was not run
	state store.State
	text  string
}

// Progress is how far a run has come.
type Progress struct {
	Counts store.Counts
	Paused string // why nothing is pushed at the moment; "": it is
}

// hashAhead is how many items are hashed ahead of those that are journalled.
const hashAhead = 64

func (e *Env) newRunner(l *loaded, progress func(Progress)) *runner {
	r := &runner{env: e, job: l.job, def: l.def, key: l.key, given: l.given,
		judge:   newJudge(l.def, l.people.csv, e.Config, e.Router, e.Ring),
		limit:   int64(l.def.Limits.Under(e.Config.Limits).MaxFailures),
		batches: make(map[int64]*hand), ahead: make(map[*voicemail.System]int), slots: make(map[*voicemail.System]chan struct{}),
		paused: make(map[*voicemail.System]time.Time), progress: progress, counts: l.job.Counts}
	buffer := hashAhead
	for i, s := range e.Router.Systems() {
		n := max(1, e.Config.Voicemail[i].Concurrency)
		r.slots[s] = make(chan struct{}, n)
		buffer += 2 * n
	}
	r.hash, r.hashed, r.pushed = make(chan *work, buffer), make(chan *work, buffer), make(chan *work, buffer)
	return r
}

// run works until nothing is left that it may do. When ctx ends it starts
// nothing more, and settles what is on the wire.
func (r *runner) run(ctx context.Context) error {
	var workers sync.WaitGroup
	for range runtime.GOMAXPROCS(0) {
		workers.Go(func() {
			for w := range r.hash {
				r.prepare(w)
				r.hashed <- w
			}
		})
	}
	err := r.loop(ctx)
	close(r.hash)
	workers.Wait()
	if err != nil {
		return err
	}
	return r.giveBack()
}

func (r *runner) loop(ctx context.Context) error {
	for {
		if ctx.Err() != nil && r.end.why == nil {
			r.end = ending{why: context.Cause(ctx)}
		}
		if err := r.fetch(); err != nil {
			return err
		}
		if r.idle() {
			return nil
		}
		r.await(ctx)
		if r.pause != "" {
			r.report()
		}
		r.collect()
		if err := r.group(ctx); err != nil {
			return err
		}
		r.again(ctx)
	}
}

// stopping tells whether nothing more is claimed.
func (r *runner) stopping() bool { return r.end.why != nil || r.end.state != "" }

// idle tells whether nothing is left to wait for.
func (r *runner) idle() bool {
	if r.inFlight > 0 || len(r.settled) > 0 {
		return false
	}
	return r.stopping() || r.drained && r.hashing == 0 && len(r.ready) == 0 && len(r.resting) == 0
}

// fetch keeps the hashing workers busy.
func (r *runner) fetch() error {
	for !r.stopping() && !r.drained && r.hashing+len(r.ready) <= cap(r.hash)/2 {
		if r.cursor == nil {
			if err := r.claimBatch(); err != nil || r.drained {
				return err
			}
		}
		var todo []store.ToDo
		want := cap(r.hash) - r.hashing - len(r.ready)
		err := r.env.Store.Read(context.Background(), func(tx *store.Tx) (err error) {
			todo, err = tx.ToDo(r.job.ID, r.cursor.after, r.cursor.Last, want)
			return err
		})
		if err != nil {
			return err
		}
		for _, it := range todo {
			w := &work{item: it, batch: r.cursor.Batch, sent: it.State == store.Pushing}
			for _, l := range it.Legs {
				w.legs = append(w.legs, leg{Leg: l})
			}
			r.cursor.after = it.Seq
			r.cursor.open++
			r.hashing++
			r.hash <- w
		}
		if len(todo) < want {
			r.cursor.after = r.cursor.Last
			r.cursor = nil
		}
	}
	return nil
}

func (r *runner) claimBatch() error {
	return r.env.Store.Write(context.Background(), func(tx *store.Tx) error {
		b, ok, err := tx.ClaimBatch(r.job.ID, r.env.Owner.ID)
		if err != nil {
			return err
		}
		if !ok {
			r.drained = true
			return nil
		}
		r.cursor = &hand{Batch: b, after: b.First - 1}
		r.batches[b.N] = r.cursor
		return nil
	})
}

// await waits until something has come back.
func (r *runner) await(ctx context.Context) {
	if len(r.settled) > 0 || r.claimable() {
		return
	}
	var done <-chan struct{}
	if !r.stopping() {
		done = ctx.Done()
	}
	var timer <-chan time.Time
	if at, ok := r.nextTime(); ok {
		t := time.NewTimer(time.Until(at))
		defer t.Stop()
		timer = t.C
	}
	select {
	case w := <-r.hashed:
		r.gotHashed(w)
	case w := <-r.pushed:
		r.gotPushed(w)
	case <-timer:
	case <-done:
	}
}

// collect takes along what else has come back meanwhile.
func (r *runner) collect() {
	for {
		select {
		case w := <-r.hashed:
			r.gotHashed(w)
		case w := <-r.pushed:
			r.gotPushed(w)
		default:
			return
		}
	}
}

func (r *runner) gotHashed(w *work) {
	r.hashing--
	r.ready = append(r.ready, w)
}

// claimable tells whether a ready item may be claimed now.
func (r *runner) claimable() bool {
	if r.stopping() {
		return false
	}
	now := time.Now()
	for _, w := range r.ready {
		if w.ready.After(now) {
			continue
		}
		if w.system == nil || r.room(w.system) {
			return true
		}
	}
	return false
}

// room tells whether one more may be journalled ahead of the wire: twice the
// concurrency, so that few are in doubt after a kill.
func (r *runner) room(s *voicemail.System) bool {
	return r.ahead[s] < 2*cap(r.slots[s]) && !r.paused[s].After(time.Now())
}

// nextTime returns when something that rests is to be tried again.
func (r *runner) nextTime() (time.Time, bool) {
	var next time.Time
	sooner := func(t time.Time) {
		if next.IsZero() || t.Before(next) {
			next = t
		}
	}
	for _, w := range r.resting {
		sooner(w.ready)
	}
	now := time.Now()
	if !r.stopping() {
		for _, w := range r.ready {
			if w.ready.After(now) {
				sooner(w.ready)
			}
		}
		for _, t := range r.paused {
			if t.After(now) {
				sooner(t)
			}
		}
	}
	if r.pause != "" { // said again and again, so that nobody thinks it hangs
		sooner(now.Add(time.Second))
	}
	return next, !next.IsZero()
}

// giveBack ends the batches in hand: those with items left wait for the next
// run.
func (r *runner) giveBack() error {
	return r.env.Store.Write(context.Background(), func(tx *store.Tx) error {
		for _, b := range r.batches {
			if err := tx.EndBatch(b.Batch); err != nil {
				return err
			}
		}
		return nil
	})
}

// errNotOurs says that the job was taken out of our hands.
var errNotOurs = errors.New("the job was taken over by another process")

func (r *runner) report() {
	if r.progress == nil {
		return
	}
	p := Progress{Counts: r.counts, Paused: r.pause}
	if p.Paused == "" && r.waiting > 0 && r.inFlight == 0 {
		p.Paused = fmt.Sprintf("%d users are being changed by another job (dirpin jobs list): waiting; if that job was cut, run its file or cancel it", r.waiting)
	}
	r.progress(p)
}
