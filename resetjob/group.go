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
	claimedRest  = 250 * time.Millisecond // before an item whose user something else keeps is tried again, doubled each time up to 8 s …
	claimedMost  = time.Minute            // … at the latest, however long it is kept
	commitRest   = time.Second            // before a transaction that failed is tried again
	commitTries  = 60
	noBoxAllowed = 10 // users without a mailbox, before anyone had one, that hold a job
)

// group is what one transaction does, and what it found out: what was pushed
// gets its results, and as much as there is room for is claimed and journalled.
type group struct {
	r       *runner
	settled []*work // to be finished, or given back
	notes   []*noting
	claims  []*work

	subjects map[int64]*store.Subject // of the claims, as they are now
	history  map[string]map[int64][][]byte
	ahead    map[*voicemail.System]int // journalled by this group
	results  *store.Results

	counts   store.Counts
	failures int64
	claimed  []*work // to be journalled
	launch   []*work // journalled now, to be pushed
	back     []*work // cut, and taken out of the journal: nothing had left
	left     []*work // of these, who is left to the next run
	finished []*work
	batches  []*hand // that are done by that
	again    []*work // settled, with another leg to be pushed
	waiting  map[*work]time.Time
	full     []*work
	state    store.State // of the job
	before   int64       // its failures
	total    int64       // failures of the whole job
}

// group carries out one transaction, and pushes what it journalled.
//
// When it fails nothing was written. What was accepted elsewhere is never
// forgotten: its commit is tried again, and nothing new is claimed until it is
// done. Where one item is at fault it is found by halving, so that it holds up
// nobody else.
func (r *runner) group() error {
	g := r.gather()
	if g.empty() {
		return nil
	}
	return r.carryOut(g)
}

func (r *runner) carryOut(g *group) error {
	r.env.step("write")
	err := r.env.Store.Write(context.Background(), func(tx *store.Tx) error { return g.write(tx) })
	switch {
	case err == nil:
		r.env.step("written")
		r.apply(g)
		return nil
	case errors.Is(err, store.ErrFenced), errors.Is(err, store.ErrStale):
		return fmt.Errorf("%w: %w", errNotOurs, err)
	case store.IsRowFault(err) && len(g.settled)+len(g.claims)+len(g.notes) > 1:
		return r.halve(g)
	case store.IsRowFault(err) && len(g.notes) == 1:
		r.refuse(g.notes[0], err)
		return nil
	case store.IsRowFault(err) && len(g.claims) == 1 && g.claims[0].err == nil && !g.claims[0].cut:
		// Nothing was sent: it ends as failed, with that reason.
		g.claims[0].err = err
		return nil
	}
	return r.postpone(g, err)
}

// halve carries out the halves of a group that one item has made fail.
func (r *runner) halve(g *group) error {
	var parts []*group
	for _, ws := range halves(g.settled) {
		parts = append(parts, &group{r: r, settled: ws})
	}
	for _, ns := range halves(g.notes) {
		parts = append(parts, &group{r: r, notes: ns})
	}
	for _, ws := range halves(g.claims) {
		parts = append(parts, &group{r: r, claims: ws})
	}
	for _, part := range parts {
		if len(part.claims) > 0 && r.owes(time.Now()) {
			return nil // results first
		}
		if err := r.carryOut(part); err != nil {
			return err
		}
	}
	return nil
}

func halves[T any](ws []T) [][]T {
	if len(ws) < 2 {
		return [][]T{ws}[:len(ws)]
	}
	return [][]T{ws[:len(ws)/2], ws[len(ws)/2:]}
}

// owes tells whether there are results that could not be written yet.
func (r *runner) owes(now time.Time) bool {
	for _, w := range r.settled {
		if w.ready.After(now) {
			return true
		}
	}
	return false
}

// postpone lets the works of a group wait after it failed.
func (r *runner) postpone(g *group, err error) error {
	at := time.Now().Add(commitRest)
	counts := !store.IsAway(err) || r.stopping() // a server that is out of reach is waited for
	for _, ws := range [][]*work{g.settled, g.claims} {
		for _, w := range ws {
			w.ready = at
			if counts {
				w.tries++
			}
			if w.tries == commitTries {
				return fmt.Errorf("writing the result of %s: %w", w.item.UserID, err)
			}
		}
	}
	for _, n := range g.notes {
		n.ready = at
		if counts {
			n.tries++
		}
		if n.tries == commitTries {
			return fmt.Errorf("noting the mailbox of %s: %w", n.w.item.UserID, err)
		}
	}
	switch {
	case !store.IsAway(err):
		r.env.Log.Error("writing results: trying again in a second", "job", r.job.ID, "error", err)
	case time.Since(r.awaySaid) >= awaySays:
		r.awaySaid = time.Now()
		r.env.Log.Warn("waiting for the database; what was accepted is kept, and nothing new is sent", "job", r.job.ID, "results", len(g.settled), "error", err)
	}
	return nil
}

// gather takes along what is there. While a result is owed that could not be
// written, nothing is claimed.
func (r *runner) gather() *group {
	g := &group{r: r}
	now := time.Now()
	for _, w := range r.settled {
		if len(g.settled) < maxGroup && !w.ready.After(now) {
			g.settled = append(g.settled, w)
		}
	}
	for _, n := range r.noting {
		if len(g.notes) < maxGroup && !n.ready.After(now) {
			g.notes = append(g.notes, n)
		}
	}
	if r.stopping() || r.owes(now) || r.starved() {
		return g
	}
	left, most := r.rooms()
	for _, w := range r.ready {
		switch {
		case w.ready.After(now):
		case len(g.claims) == most:
			return g
		case w.system == nil || w.way(func(s *voicemail.System) bool { return r.lanes[s].gaveUp }) != nil:
			g.claims = append(g.claims, w)
		default:
			if s := w.way(func(s *voicemail.System) bool { return left[s] > 0 && r.mayBegin(w, s) }); s != nil {
				left[s]--
				g.claims = append(g.claims, w)
			}
		}
	}
	return g
}

// rooms returns how many more may be journalled ahead of each system, and how
// many items are worth reading for that: where an item goes is known only when
// it was read once.
func (r *runner) rooms() (left map[*voicemail.System]int, most int) {
	left = make(map[*voicemail.System]int, len(r.lanes))
	for s, l := range r.lanes {
		if r.room(s) && !l.gaveUp {
			left[s] = l.slots.Ahead() - l.ahead
			most += left[s]
		}
		if !s.NeedsPush() || l.gaveUp {
			most = maxGroup
		}
	}
	if len(r.lanes) == 0 || most > maxGroup {
		most = maxGroup
	}
	// At least some: they may need no push, or go where there is room.
	return left, max(most, hashAhead)
}

func (g *group) empty() bool { return len(g.settled)+len(g.notes)+len(g.claims) == 0 }

// write may be called again after it failed: it keeps nothing of before.
func (g *group) write(tx *store.Tx) error {
	g.counts, g.failures = store.Counts{}, 0
	g.claimed, g.launch, g.back, g.left, g.finished, g.again, g.full = nil, nil, nil, nil, nil, nil, nil
	g.results = store.NewResults(g.r.job.ID)
	g.waiting, g.ahead = make(map[*work]time.Time), make(map[*voicemail.System]int)
	if err := g.fence(tx); err != nil {
		return err
	}
	for _, w := range g.settled {
		if err := g.settle(tx, w); err != nil {
			return err
		}
	}
	for _, n := range g.notes {
		if err := g.note(tx, n); err != nil {
			return err
		}
	}
	if g.r.active(g.state) {
		if err := g.claimAll(tx); err != nil {
			return err
		}
	}
	if err := tx.WriteResults(g.results); err != nil {
		return err
	}
	for _, w := range g.finished {
		result, code, _ := combine(w.vs)
		g.counts.Add(result, code)
	}
	g.failures = failures(g.finished)
	if err := g.endBatches(tx); err != nil {
		return err
	}
	g.total = g.before + g.failures // nobody else counts meanwhile
	return tx.AddCounts(g.r.job.ID, g.counts, g.failures)
}

// endBatches ends those of which the group has finished the last item.
func (g *group) endBatches(tx *store.Tx) error {
	g.batches = nil
	open := make(map[*hand]int)
	for _, w := range g.finished {
		h := g.r.batches[w.batch.N]
		if _, ok := open[h]; !ok {
			open[h] = h.open
		}
		if open[h]--; open[h] == 0 && h.after >= h.Last {
			if err := tx.EndBatch(h.Batch); err != nil {
				return err
			}
			g.batches = append(g.batches, h)
		}
	}
	return nil
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
	fence := func(b store.Batch) error {
		if seen[b.N] {
			return nil
		}
		seen[b.N] = true
		return tx.Fence(b)
	}
	for _, ws := range [][]*work{g.settled, g.claims} {
		for _, w := range ws {
			if err := fence(w.batch); err != nil {
				return err
			}
		}
	}
	for _, n := range g.notes {
		if err := fence(n.w.batch); err != nil {
			return err
		}
	}
	var err error
	g.state, g.before, err = tx.JobState(g.r.job.ID)
	return err
}

// settle writes what became of a push.
func (g *group) settle(tx *store.Tx, w *work) error {
	w.ended, w.done, w.early = nil, false, nil
	if w.kept != nil {
		w.sent.Attempts, w.sent.Lost = w.outcome.Attempts, w.outcome.Lost
		switch {
		case w.outcome.Lost > 0:
		case w.held:
			return tx.HoldUnsent(w.sent)
		default:
			return tx.Unjournal(w.sent)
		}
		// It may have left: it stays journalled, with what is known of it.
		return tx.Attempted(w.sent)
	}
	if err := g.end(tx, w); err != nil {
		return err
	}
	if w.outcome.Denied {
		if err := tx.SetLatch(store.Latch{System: w.system.Name(), Fingerprint: w.system.Fingerprint(), Message: w.outcome.Detail}); err != nil {
			return err
		}
	}
	g.put(w)
	return nil
}

// put files a work under what became of it.
func (g *group) put(w *work) {
	if w.done {
		g.finished = append(g.finished, w)
	} else {
		g.again = append(g.again, w)
	}
}

func (g *group) claimAll(tx *store.Tx) error {
	if err := g.r.latch(tx); err != nil {
		return err
	}
	if err := g.read(tx); err != nil {
		return err
	}
	claim := func(which func(*work) bool) error {
		for _, w := range g.claims {
			if which(w) {
				if err := g.claimOne(tx, w); err != nil {
					return err
				}
			}
		}
		return nil
	}
	// What was cut may be on its way: the others get the room that it leaves.
	if err := claim(func(w *work) bool { return w.cut }); err != nil {
		return err
	}
	if err := claim(func(w *work) bool { return !w.cut && w.held }); err != nil {
		return err
	}
	if limit := g.r.limit; limit > 0 && g.before+failures(g.finished) >= limit {
		return g.journal(tx) // as many have failed as may: nobody else is sent
	}
	if err := claim(func(w *work) bool { return !w.cut && !w.held }); err != nil {
		return err
	}
	return g.journal(tx)
}

// failures returns how many of these failed so that it counts.
func failures(finished []*work) (n int64) {
	for _, w := range finished {
		if result, code, _ := combine(w.vs); result == outcome.Failed && countsAsFailure(code) {
			n++
		}
	}
	return n
}

// read reads everyone who is to be claimed, as they are in this transaction.
func (g *group) read(tx *store.Tx) error {
	g.subjects = make(map[int64]*store.Subject, len(g.claims))
	g.history = make(map[string]map[int64][][]byte)
	refs := make([]int64, 0, len(g.claims))
	for _, w := range g.claims {
		refs = append(refs, w.item.UserRef)
	}
	changed := make(map[string][]int64) // by kind: those who have had a secret
	err := tx.Subjects(refs, func(s *store.Subject) {
		g.subjects[s.User.ID] = s
		for _, kind := range kinds {
			if g.r.judge.wants[kind] && s.Of(kind).Version > 0 {
				changed[kind] = append(changed[kind], s.User.ID)
			}
		}
	})
	if err != nil {
		return err
	}
	for kind, refs := range changed {
		if keep := g.r.judge.policy[kind].History; keep > 0 {
			if g.history[kind], err = tx.HistoryOf(kind, refs, keep+1); err != nil {
				return err
			}
		}
	}
	return nil
}

func (g *group) claimOne(tx *store.Tx, w *work) error {
	// A transaction that failed has left its traces here.
	w.ended, w.done, w.early = nil, false, nil
	w.sent, w.leg, w.part, w.outcome, w.system, w.ways = nil, nil, nil, nil, nil, nil
	w.every = false
	if w.cut && w.unsent() {
		return g.unsend(tx, w)
	}
	if w.cut {
		if err := g.resume(tx, w); err != nil {
			return err
		}
		if w.outcome != nil {
			g.put(w)
		} else {
			g.ahead[w.system]++
			g.launch = append(g.launch, w)
		}
		return nil
	}
	return g.file(w, g.claim(tx, w))
}

// file files a work by what its claim came to.
func (g *group) file(w *work, err error) error {
	var claimed *store.ClaimedError
	switch {
	case errors.As(err, &claimed):
		g.waiting[w] = claimed.Until
	case errors.Is(err, errFull):
		g.full = append(g.full, w)
	case err != nil:
		return err
	case w.done:
		g.finished = append(g.finished, w)
	default:
		g.claimed = append(g.claimed, w)
	}
	return nil
}
