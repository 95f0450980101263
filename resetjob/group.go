package resetjob

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/dirpin/dirpin/internal/outcome"
	"github.com/dirpin/dirpin/internal/store"
	"github.com/dirpin/dirpin/internal/voicemail"
)

const (
	maxGroup     = 500                    // items a transaction
	claimedRest  = 250 * time.Millisecond // before an item whose user another job has is tried again
	commitRest   = time.Second            // before a transaction that failed is tried again
	commitTries  = 60
	noBoxAllowed = 10 // users without a mailbox, before anyone had one, that hold a job
)

// group is one transaction: what was pushed gets its results, and as much as
// there is room for is claimed and journalled. Then the journalled is pushed.
//
// When it fails nothing was written. What the voicemail system accepted is
// never forgotten: its commit is tried again, and nothing new is pushed until
// it is done.
func (r *runner) group(ctx context.Context) error {
	for {
		g := r.gather()
		if g.empty() {
			return nil
		}
		err := r.env.Store.Write(context.Background(), func(tx *store.Tx) error { return g.write(tx) })
		if err == nil {
			r.failing = 0
			r.apply(ctx, g)
			return nil
		}
		if errors.Is(err, store.ErrFenced) || errors.Is(err, store.ErrStale) {
			return fmt.Errorf("%w: %w", errNotOurs, err)
		}
		if r.failing++; r.failing == commitTries {
			return err
		}
		r.env.Log.Error("writing results: trying again in a second", "job", r.job.ID, "error", err)
		time.Sleep(commitRest)
		r.collect()
	}
}

// group is what one transaction does, and what it found out.
type group struct {
	r       *runner
	settled []*work // to be finished, or given back
	claims  []*work

	counts   store.Counts
	failures int64
	launch   []*work // journalled now, to be pushed
	finished []*work
	waiting  []*work // another job has the user
	unsent   []*work // given back
	full     []*work
	state    store.State // of the job
	total    int64       // failures of the whole job
}

func (r *runner) gather() *group {
	g := &group{r: r, settled: r.settled[:min(len(r.settled), maxGroup)]}
	if r.stopping() || r.failing > 0 && len(g.settled) > 0 {
		return g
	}
	now := time.Now()
	for _, w := range r.ready {
		if len(g.claims) == maxGroup {
			break
		}
		if !w.ready.After(now) && (w.system == nil || r.room(w.system)) {
			g.claims = append(g.claims, w)
		}
	}
	return g
}

func (g *group) empty() bool { return len(g.settled) == 0 && len(g.claims) == 0 }

// write may be called again after it failed: it keeps nothing of before.
func (g *group) write(tx *store.Tx) error {
	g.counts, g.failures = store.Counts{}, 0
	g.launch, g.finished, g.waiting, g.unsent, g.full = nil, nil, nil, nil, nil
	if err := g.fence(tx); err != nil {
		return err
	}
	for _, w := range g.settled {
		if err := g.settle(tx, w); err != nil {
			return err
		}
	}
	ahead := make(map[*voicemail.System]int)
	for _, w := range g.claims {
		if !g.r.active(g.state) {
			break
		}
		if err := g.claim(tx, w, ahead); err != nil {
			return err
		}
	}
	for _, w := range g.finished {
		result, code, _ := combine(w.finished)
		g.counts.Add(result, code)
		if result == outcome.Failed && countsAsFailure(code) {
			g.failures++
		}
	}
	var err error
	g.total, err = tx.Count(g.r.job.ID, g.counts, g.failures)
	return err
}

// active tells whether the job may go on in that state.
func (r *runner) active(s store.State) bool {
	return r.settling || s == store.Running || s == store.Paused
}

// countsAsFailure tells whether a failure counts towards max_failures: what is
// wrong with the other side does, what is wrong with one value or name does
// not.
func countsAsFailure(c outcome.Code) bool {
	v := verdict{code: c}
	return !v.fault() && c != outcome.NotFound && c != outcome.UnknownUser
}

func (g *group) fence(tx *store.Tx) error {
	seen := make(map[int64]bool)
	for _, ws := range [][]*work{g.settled, g.claims} {
		for _, w := range ws {
			if seen[w.batch.N] {
				continue
			}
			seen[w.batch.N] = true
			if err := tx.Fence(w.batch); err != nil {
				return err
			}
		}
	}
	var err error
	g.state, err = tx.JobState(g.r.job.ID)
	return err
}

// settle writes what became of a push.
func (g *group) settle(tx *store.Tx, w *work) error {
	job, seq := g.r.job.ID, w.item.Seq
	switch {
	case w.kept == nil:
		g.finished = append(g.finished, w)
		return g.r.settle(tx, w)
	case w.outcome.Lost == 0:
		g.unsent = append(g.unsent, w)
		return tx.Unclaim(job, seq, w.item.UserRef)
	}
	// It may have left: it stays journalled, with what is known of it.
	return tx.Attempted(job, seq, store.PIN, w.outcome.Attempts, w.outcome.Lost)
}

func (g *group) claim(tx *store.Tx, w *work, ahead map[*voicemail.System]int) error {
	r := g.r
	if w.sent {
		if err := r.resume(tx, w); err != nil {
			return err
		}
		if w.outcome != nil {
			g.finished = append(g.finished, w)
		} else {
			g.launch = append(g.launch, w)
		}
		return nil
	}
	w.finished, w.system = nil, nil
	err := r.claim(tx, w, func(s *voicemail.System) bool {
		return r.room(s) && r.ahead[s]+ahead[s] < 2*cap(r.slots[s])
	})
	switch {
	case errors.Is(err, store.ErrClaimed):
		g.waiting = append(g.waiting, w)
	case errors.Is(err, errFull):
		g.full = append(g.full, w)
	case err != nil:
		return err
	case w.finished != nil:
		g.finished = append(g.finished, w)
	default:
		ahead[w.system]++
		g.launch = append(g.launch, w)
	}
	return nil
}

// apply takes over what the transaction has made true.
func (r *runner) apply(ctx context.Context, g *group) {
	gone := make(map[*work]bool, len(g.launch)+len(g.finished))
	for _, w := range g.finished {
		gone[w] = true
		r.done(w)
	}
	for _, w := range g.launch {
		gone[w] = true
	}
	for _, w := range g.waiting {
		w.ready = time.Now().Add(claimedRest)
	}
	r.waiting = len(g.waiting)
	r.settled = r.settled[len(g.settled):]
	r.ready = without(r.ready, gone)
	for _, w := range g.settled {
		if w.kept != nil {
			r.keep(w)
		}
	}
	for _, w := range g.launch {
		w.sent = true
		r.inFlight++
		r.ahead[w.system]++
		r.push(ctx, w)
	}
	r.tally(g)
	r.report()
}

func without(ws []*work, gone map[*work]bool) []*work {
	kept := ws[:0]
	for _, w := range ws {
		if !gone[w] {
			kept = append(kept, w)
		}
	}
	clear(ws[len(kept):])
	return kept
}

// done ends an item's way through the runner, and its batch's with the last.
func (r *runner) done(w *work) {
	h := r.batches[w.batch.N]
	h.open--
	if h.open > 0 || h.after < h.Last {
		return
	}
	// A batch that cannot be ended now is ended by giveBack.
	err := r.env.Store.Write(context.Background(), func(tx *store.Tx) error { return tx.EndBatch(h.Batch) })
	if err == nil {
		delete(r.batches, w.batch.N)
	}
}

// tally draws the conclusions from a group: limits, denials, cancelling.
func (r *runner) tally(g *group) {
	c := &r.counts
	c.Updated, c.Skipped, c.Flagged = c.Updated+g.counts.Updated, c.Skipped+g.counts.Skipped, c.Flagged+g.counts.Flagged
	c.Failed, c.NotRun, c.Uncertain = c.Failed+g.counts.Failed, c.NotRun+g.counts.NotRun, c.Uncertain+g.counts.Uncertain
	if r.stopping() {
		return
	}
	if !r.active(g.state) {
		r.end = ending{code: outcome.Cancelled, state: g.state, text: "the job was moved to " + string(g.state)}
		return
	}
	for _, w := range g.finished {
		if w.outcome == nil {
			continue
		}
		switch w.outcome.Code {
		case outcome.VoicemailDenied:
			r.end = ending{code: outcome.VoicemailDenied, state: store.Stopped, text: DeniedReason + w.system.Name() + ": " + w.outcome.Detail}
			return
		case outcome.OK:
			r.accepted++
		case outcome.NoMailbox, outcome.NoMailboxCommitted:
			r.noBox++
		}
	}
	if r.limit > 0 && g.total >= r.limit {
		r.end = ending{code: outcome.MaxFailures, state: store.Stopped, text: fmt.Sprintf("%d users failed, and max_failures is %d", g.total, r.limit)}
		return
	}
	if r.accepted == 0 && r.noBox >= noBoxAllowed && !r.job.Lets(guardNoMailbox, r.noBox) {
		r.end = ending{code: outcome.Held, state: store.Held, text: guardNoMailbox}
	}
}
