package resetjob

import (
	"context"
	"errors"
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"github.com/dirpin/dirpin/internal/credential"
	"github.com/dirpin/dirpin/internal/outcome"
	"github.com/dirpin/dirpin/internal/store"
	"github.com/dirpin/dirpin/internal/voicemail"
)

// runner works on the items of one job. One goroutine, loop, owns all of it
// and is the only one that writes; others hash and push for it:
//
//	fetch ─► hashing ─► ready ─► [claim, journal] ─► pushing ─► [commit, result]
//
// What stands in brackets happens in the transactions of loop, each of which
// takes along whatever has come together by then. A leg is journalled before
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
	inFlight int // items that are journalled and on the wire
	lanes    map[*voicemail.System]*lane
	begun    map[*work]bool  // whom one of several systems was sent, and others are to be asked
	pushes   context.Context // its end stops new attempts
	halted   atomic.Bool     // end is set: who waits for a slot is not pushed any more
	pushed   chan *work
	settled  []*work // have an outcome that is not written yet
	resting  []*work // journalled, to be pushed again later
	notes    chan *noting
	noting   []*noting     // notes that are not written yet
	ended    chan struct{} // closed when nothing is written any more

	settling bool // only what was cut is settled
	cutOnly  bool // and the job has not ended: the others wait
	end      ending
	shift    Shift
	began    time.Time
	counts   store.Counts
	firsts   map[int64]int64 // of jobs that have changed somebody: the first of their chain
	pause    string          // why nothing goes on; "": it does
	still    bool            // the pause is of the shift before, and nothing was answered since
	waiting  int             // users whom something else keeps at the moment
	roomAt   time.Time       // when to look again whether the disk has room; zero: it has
	checked  time.Time       // when the disk was looked at last
	advanced time.Time       // when the database was marked last
	awaySaid time.Time       // when it was said last that it is waited for
}

// hand is a batch in hand.
type hand struct {
	store.Batch
	after int64 // the last seq that was fetched
	open  int   // fetched items that are not finished
	parts bool  // some of its items have been at some of several systems
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

const (
	hashAhead  = 64 // items are hashed ahead of those that are journalled
	probeAhead = 2  // while the job is paused
)

func (e *Env) newRunner(l *loaded, shift Shift) *runner {
	r := &runner{env: e, job: l.job, def: l.def, key: l.key, given: l.given,
		notes: make(chan *noting), ended: make(chan struct{}),
		judge:   e.newJudge(l),
		limit:   int64(e.limits(l.def, l.folder).MaxFailures),
		batches: make(map[int64]*hand), lanes: make(map[*voicemail.System]*lane), begun: make(map[*work]bool), shift: shift, began: time.Now(), counts: l.job.Counts}
	if l.job.State == store.Paused {
		r.pause, r.still = l.job.Reason, true
	}
	buffer := hashAhead
	for _, s := range e.Systems() {
		r.lanes[s] = newLane(s)
		buffer += 2 * s.Concurrency()
	}
	r.hash, r.hashed, r.pushed = make(chan *work, buffer), make(chan *work, buffer), make(chan *work, buffer)
	return r
}

// run works until nothing is left that it may do. When ctx ends it starts
// nothing more, and settles what is on the wire.
func (r *runner) run(ctx context.Context) error {
	if err := r.readLatches(ctx); err != nil {
		return err
	}
	var workers sync.WaitGroup
	for range runtime.GOMAXPROCS(0) {
		workers.Go(func() {
			for w := range r.hash {
				r.prepare(w)
				r.hashed <- w
			}
		})
	}
	for _, l := range r.lanes {
		l.slots.Join()
		defer l.slots.Leave()
	}
	pushes, stop := context.WithCancel(ctx)
	defer stop()
	r.pushes = pushes
	err := r.loop(ctx)
	close(r.hash)
	close(r.ended)
	workers.Wait()
	if err != nil {
		stop()
		r.abandon()
		return err
	}
	return r.giveBack()
}

// abandon waits for what is on the wire, of which nothing can be written: the
// next run takes it for lost, and must be the only one to send it then.
func (r *runner) abandon() {
	for ; r.inFlight > 0; r.inFlight-- {
		<-r.pushed
	}
}

func (r *runner) loop(ctx context.Context) error {
	for {
		if ctx.Err() != nil && r.end.why == nil {
			r.end = ending{why: context.Cause(ctx)}
		}
		if err := r.env.Owner.Lost(); err != nil && r.end.why == nil {
			r.end = ending{why: err}
		}
		if r.stopping() {
			r.halted.Store(true)
		}
		if err := r.fetch(); err != nil {
			return err
		}
		if r.idle() {
			return r.env.Owner.Lost()
		}
		r.await(ctx)
		if r.pause != "" {
			r.report()
		}
		r.collect()
		if err := r.group(); err != nil {
			return err
		}
		r.again()
		r.endShift()
		r.advance(ctx)
		r.share(ctx)
		r.alive()
	}
}

// advanceEvery is how often a run makes copies of the database that were made
// before known as such.
const advanceEvery = 5 * time.Second

// advance makes a copy of the database that is put back later known: what has
// been pushed since would be pushed again, or is forgotten.
func (r *runner) advance(ctx context.Context) {
	now := time.Now()
	if now.Sub(r.advanced) < advanceEvery {
		return
	}
	r.advanced = now
	if err := r.env.advance(context.WithoutCancel(ctx)); err != nil {
		r.env.Log.Warn("marking the database", "job", r.job.ID, "error", err)
	}
}

// share takes this process's part of the rates and concurrencies, and says how
// far all have come who work on the job.
func (r *runner) share(ctx context.Context) {
	ctx = context.WithoutCancel(ctx)
	if len(r.lanes) == 0 || time.Now().Before(r.env.Owner.shares.next()) {
		return
	}
	others, err := r.env.look(ctx)
	if err == nil && others > 0 {
		err = r.env.Store.Read(ctx, func(tx *store.Tx) error {
			j, err := tx.Job(r.job.ID)
			if err == nil {
				r.counts = j.Counts
			}
			return err
		})
	}
	if err != nil && !store.IsAway(err) {
		r.env.Log.Warn("asking who else pushes", "job", r.job.ID, "error", err)
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
	for !r.stopping() && !r.drained {
		most := cap(r.hash)
		if r.still {
			most = probeAhead // who is asked whether it goes on
		}
		if r.hashing+len(r.ready) > most/2 {
			return nil
		}
		if r.cursor == nil {
			if err := r.claimBatch(); err != nil || r.drained {
				return err
			}
		}
		var todo []store.ToDo
		want := most - r.hashing - len(r.ready)
		err := r.env.lasting(r.pushes, func() error {
			return r.env.Store.Read(context.Background(), func(tx *store.Tx) (err error) {
				todo, err = tx.ToDo(r.job.ID, r.cursor.after, r.cursor.Last, want)
				if err == nil && r.cursor.parts {
					err = tx.AddParts(r.job.ID, todo)
				}
				return err
			})
		})
		if err != nil {
			return err
		}
		for _, it := range todo {
			r.cursor.after = it.Seq
			if r.cutOnly && it.Sent == nil {
				continue
			}
			r.cursor.open++
			r.hashing++
			r.hash <- newWork(it, r.cursor.Batch)
		}
		if len(todo) < want {
			r.cursor.after = r.cursor.Last
			r.cursor = nil
		}
	}
	return nil
}

func (r *runner) claimBatch() error {
	var b store.Batch
	var ok, parts bool
	err := r.env.lasting(r.pushes, func() error {
		return r.env.Owner.claim(r.env, func(tx *store.Tx) (_ bool, err error) {
			if b, ok, err = tx.ClaimBatch(r.job.ID, r.env.Owner.ID); err == nil && ok {
				parts, err = tx.HasParts(r.job.ID, b.First, b.Last)
			}
			return ok, err
		})
	})
	switch {
	case err != nil:
		return err
	case !ok:
		r.drained = true
		return nil
	}
	r.cursor = &hand{Batch: b, after: b.First - 1, parts: parts}
	r.batches[b.N] = r.cursor
	return nil
}

// await waits until something has come back.
func (r *runner) await(ctx context.Context) {
	if r.writable() || r.claimable() {
		return
	}
	var done, lost <-chan struct{}
	if !r.stopping() {
		done, lost = ctx.Done(), r.env.Owner.lost
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
	case n := <-r.notes:
		r.noting = append(r.noting, n)
	case <-timer:
	case <-done:
	case <-lost:
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
		case n := <-r.notes:
			r.noting = append(r.noting, n)
		default:
			return
		}
	}
}

func (r *runner) gotHashed(w *work) {
	r.hashing--
	r.ready = append(r.ready, w)
}

// writable tells whether a result may be written now.
func (r *runner) writable() bool {
	now := time.Now()
	for _, w := range r.settled {
		if !w.ready.After(now) {
			return true
		}
	}
	for _, n := range r.noting {
		if !n.ready.After(now) {
			return true
		}
	}
	return false
}

// claimable tells whether a ready item may be claimed now.
func (r *runner) claimable() bool {
	now := time.Now()
	if r.stopping() || r.owes(now) || r.starved() {
		return false
	}
	for _, w := range r.ready {
		if !w.ready.After(now) && (w.system == nil || w.way(func(s *voicemail.System) bool { return r.room(s) && r.mayBegin(w, s) }) != nil) {
			return true
		}
	}
	return false
}

// nextTime returns when to look again, whatever has come back until then.
func (r *runner) nextTime() (time.Time, bool) {
	next, ok := r.wakes()
	sooner := func(d time.Duration) {
		if t := time.Now().Add(d); !ok || t.Before(next) {
			next, ok = t, true
		}
	}
	if r.pause != "" { // said again and again, so that nobody thinks it hangs
		sooner(time.Second)
	}
	if r.shift.Alive != nil {
		sooner(aliveEvery)
	}
	if len(r.lanes) > 0 {
		sooner(time.Until(r.env.Owner.shares.next()))
	}
	return next, ok
}

// wakes returns when something that rests is to be tried again.
func (r *runner) wakes() (time.Time, bool) {
	var next time.Time
	sooner := func(t time.Time) {
		if next.IsZero() || t.Before(next) {
			next = t
		}
	}
	if r.inFlight > 0 && r.env.Marker != nil { // requests leave while the loop waits
		sooner(r.advanced.Add(advanceEvery))
	}
	now := time.Now()
	later := func(ws []*work) {
		for _, w := range ws {
			if w.ready.After(now) {
				sooner(w.ready)
			}
		}
	}
	later(r.settled)
	for _, w := range r.resting {
		sooner(w.ready)
	}
	for _, n := range r.noting {
		sooner(n.ready)
	}
	if !r.stopping() {
		later(r.ready)
		for _, l := range r.lanes {
			if l.paused.After(now) {
				sooner(l.paused)
			}
			if l.wanted && l.shut(now) {
				sooner(l.opens)
			}
		}
		if !r.roomAt.IsZero() {
			sooner(r.roomAt)
		}
	}
	return next, !next.IsZero()
}

// giveBack ends the batches in hand: those with items left wait for the next
// run.
func (r *runner) giveBack() error {
	if len(r.batches) == 0 {
		return nil
	}
	return r.env.write(context.Background(), func(tx *store.Tx) error {
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
