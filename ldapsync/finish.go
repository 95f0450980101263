package ldapsync

import (
	"context"
	"fmt"

	"github.com/dirpin/dirpin/internal/roster"
	"github.com/dirpin/dirpin/internal/user"
)

// finish draws the consequences of a complete answer: in one transaction what
// is lost is parked, judged by the guard as a whole, and applied or left
// pending.
func (r *run) finish(ctx context.Context) error {
	a, err := r.findAbsences(ctx)
	if err != nil {
		return r.storeError("looking for who has left", err)
	}
	if err := r.witness(ctx, a); err != nil {
		return err
	}
	e := &ending{run: r, absences: a}
	if r.o.DryRun {
		if err := r.o.Store.Read(ctx, func(tx Reader) error { return e.pretend(ctx, tx) }); err != nil {
			return r.storeError("counting for the guard", err)
		}
	} else {
		if err := r.o.Store.Write(ctx, func(tx Writer) error { return e.carryOut(ctx, tx) }); err != nil {
			return r.storeError("ending the synchronization", err)
		}
	}
	r.result = e.result
	for _, h := range e.result.Held {
		if r.quiet {
			break // it is told once, not with each change
		}
		r.o.Log.Warn(fmt.Sprintf("%s: held: %s", r.state.Name, h))
	}
	for _, c := range e.news {
		r.o.OnChange(c)
	}
	return r.reportRefused(ctx)
}

// ending is the last transaction of a run.
type ending struct {
	*run
	absences
	tx       Writer
	result   Result // what it will be, once committed
	holds    []Hold
	news     []Change
	moves    []idMove
	adoptees map[string]roster.Person // by key, where keys are adopted
	only     roster.Kind              // not "": nothing else is applied
}

func (e *ending) carryOut(ctx context.Context, tx Writer) error {
	e.tx, e.result, e.news, e.moves = tx, e.run.result, nil, nil
	state := e.state
	if err := e.advance(tx, &state); err != nil {
		return err
	}
	for _, step := range []func() error{e.forgetRejects, e.spare, func() error { return e.parkAbsent(ctx) }, e.parkExpired, e.refuseImpossible, e.judge, e.loadAdoptees, e.applyPending, e.settleIDs, e.admit} {
		if err := step(); err != nil {
			return err
		}
	}
	dangling, err := tx.LinkManagers()
	if err != nil {
		return fmt.Errorf("resolving managers: %w", err)
	}
	if dangling > 0 && !e.quiet {
		e.o.Log.Info(fmt.Sprintf("%s: the managers of %d people are nobody here", state.Name, dangling))
	}
	t, err := tx.SyncTally(state.Name, e.window(), 1)
	if err != nil {
		return err
	}
	e.result.Pending = 0
	for _, n := range t.Pending {
		e.result.Pending += n
	}
	if state.Server != e.facts.Server {
		state.Server, state.ServerAt = e.facts.Server, e.start
	}
	state.CompletedAt = e.o.Now()
	if len(e.result.Held) == 0 { // else the next run must still be able to say why
		state.ScopeFP, state.MapFP = e.facts.ScopeFP, e.facts.MapFP
	}
	if err := e.keepFeed(&state); err != nil {
		return err
	}
	if err := tx.SyncSave(state); err != nil {
		return err
	}
	e.run.state = state
	return nil
}

// forgetRejects drops the rejects whose entries are there no more.
func (e *ending) forgetRejects() error {
	var gone []string
	err := e.tx.SyncRejects(e.state.Name, func(x roster.Reject) error {
		if k, err := parseKey(x.Key); err != nil || !e.stands(k) {
			gone = append(gone, x.Key)
		}
		return nil
	})
	if err != nil || len(gone) == 0 {
		return err
	}
	return e.tx.SyncApply(e.state.Name, roster.Changes{Admit: gone})
}

// parkAbsent parks what the unseen ones lose. Those who are inactive already
// lose nothing more yet: their absence begins, or grows.
func (e *ending) parkAbsent(ctx context.Context) error {
	if err := e.tx.SyncObserve(e.state.Name, e.grown()); err != nil {
		return err
	}
	return e.eachUnseen(ctx, func(int) bool { return true }, func(keys []string) error {
		people, err := e.tx.SyncPeople(keys)
		if err != nil {
			return err
		}
		var c roster.Changes
		for _, p := range people {
			e.parkOne(&c, p)
		}
		return e.tx.SyncApply(e.state.Name, c)
	})
}

func (e *ending) parkOne(c *roster.Changes, p roster.Person) {
	key, err := parseKey(p.Key)
	i := e.index.find(key)
	if err != nil || i < 0 || e.index.is(i, flagSeen) || p.Agreement != e.state.Name || e.tooNew(p) {
		return
	}
	c.Mentioned = append(c.Mentioned, p.Key)
	if to := e.elsewhere[key]; to != "" {
		p.Agreement, p.Hash = to, 0
		c.Put = append(c.Put, p)
		return
	}
	if l, ok := e.lossOf(i, p); ok {
		c.Park = append(c.Park, l)
	}
	if p.Status == user.Inactive && p.InactiveReason != user.Absent && !p.InFlight {
		p.InactiveReason, p.Absent = user.Absent, 0
		c.Put = append(c.Put, p)
	}
}

// lossOf returns what an unseen person loses.
func (e *ending) lossOf(i int, p roster.Person) (roster.Loss, bool) {
	kind, evidence := e.kindOf(e.index, i), "inferred"
	if e.explicit(e.index.held[i].key) {
		evidence = "explicit"
	}
	return roster.Loss{Agreement: e.state.Name, Key: p.Key, Kind: kind, UserID: p.UserID, DN: p.DN, Value: e.replaced[e.index.held[i].key].Key,
		Evidence: evidence, Server: e.facts.Server, Since: e.start, Hash: p.Hash}, kind != ""
}

// judge asks the guard about everything that is pending.
func (e *ending) judge() error {
	for _, enough := range []int{e.enough(), 0} {
		t, err := e.tx.SyncTally(e.state.Name, e.window(), enough)
		if err != nil {
			return err
		}
		if e.hold(t); len(e.holds) == 0 || enough == 0 {
			break
		}
	}
	return nil
}

// enough is how many active users have to be counted: after a full answer all,
// after a few changes no more than matter.
func (r *run) enough() int {
	if r.since == nil {
		return 0
	}
	return 1000 + r.result.Added
}

func (e *ending) hold(t roster.Tally) {
	// Who comes at the same time makes nobody's leaving smaller: another
	// directory or filter would bring its own people along.
	t.Active = max(0, t.Active-e.result.Added)
	e.holds = judge(e.o.Agreement.Guard, t)
	s := e.state
	changed := s.ScopeFP != "" && (s.ScopeFP != e.facts.ScopeFP || s.MapFP != e.facts.MapFP)
	e.result.Held = nil
	for i := range e.holds {
		h := &e.holds[i]
		h.Changed = changed
		if e.accepts(h.Measure.Kind) {
			e.o.Log.Info(fmt.Sprintf("%s: accepted: %s", s.Name, *h))
		} else {
			e.result.Held = append(e.result.Held, *h)
		}
	}
}

// accepts tells whether an administrator has spoken for losses of that kind.
func (e *ending) accepts(k roster.Kind) bool {
	return e.o.AcceptRemovals || e.o.AdoptKeys && k == roster.LossReplaced
}

// pretend is carryOut for a dry run: it counts and writes nothing.
func (e *ending) pretend(ctx context.Context, tx Reader) error {
	e.result = e.run.result
	losses := e.parked
	err := e.eachUnseen(ctx, func(i int) bool { return e.kindOf(e.index, i) != "" }, func(keys []string) error {
		people, err := tx.SyncPeople(keys)
		for _, p := range people {
			if k, err := parseKey(p.Key); err == nil && p.Agreement == e.state.Name && !e.tooNew(p) {
				l, _ := e.lossOf(e.index.find(k), p)
				losses = append(losses, l)
			}
		}
		return err
	})
	if err != nil {
		return err
	}
	t, err := tx.SyncTally(e.state.Name, e.window(), 0)
	if err != nil {
		return err
	}
	t.Pending = make(map[roster.Measure]int)
	for _, l := range losses {
		t.Pending[measureOf(l)]++
	}
	e.hold(t)
	for _, l := range losses {
		if held(e.result.Held, l) {
			e.result.Pending++
			e.countWaiting(l.Key, false)
		} else {
			e.count(l)
		}
	}
	return nil
}

// count adds a loss that is applied to the result and to the news.
func (e *ending) count(l roster.Loss) {
	tell := func(change, reason string) {
		e.news = append(e.news, Change{e.state.Name, change, l.UserID, l.DN, reason})
	}
	switch l.Kind {
	case roster.LossAbsent, roster.LossDisabled, roster.LossExpired:
		e.result.Deactivated++
		k, _ := parseKey(l.Key)
		delete(e.waiting, k)
		tell("deactivated", string(l.Kind))
	case roster.LossRemoved:
		e.result.Removed++
		tell("removed", "absent")
	case roster.LossReplaced:
		if e.o.AdoptKeys {
			e.result.Returned++
			tell("returned", "adopted under a new key")
		} else {
			e.result.Removed++
			tell("removed", "replaced")
		}
	default:
		e.countWaiting(l.Key, true)
	}
}

// countWaiting counts somebody who was not counted while the losses waited.
func (e *ending) countWaiting(key string, changed bool) {
	k, err := parseKey(key)
	if err != nil || !e.waiting[k] {
		return
	}
	delete(e.waiting, k)
	switch {
	case e.counted[key]:
	case changed:
		e.result.Updated++
	default:
		e.result.Unchanged++
	}
}

// reportRefused counts and tells who is refused now.
func (r *run) reportRefused(ctx context.Context) error {
	each := func(x roster.Reject) error {
		if k, err := parseKey(x.Key); r.quiet && (err != nil || !r.rejects[k]) {
			return nil
		}
		if x.Partial && x.Reason == "fault" {
			r.o.Log.Warn(fmt.Sprintf("%s: a value was not taken: %s", r.state.Name, x.Detail), "dn", x.DN)
			return nil
		}
		r.result.Refused++
		reason := x.Reason
		if x.Detail != "" {
			reason += ": " + x.Detail
		}
		r.o.OnChange(Change{r.state.Name, "refused", x.UserID, x.DN, reason})
		return nil
	}
	if r.o.DryRun {
		for _, x := range r.refuse {
			each(x)
		}
		return nil
	}
	if r.quiet && len(r.rejects) == 0 {
		return nil
	}
	err := r.o.Store.Read(ctx, func(tx Reader) error { return tx.SyncRejects(r.state.Name, each) })
	if err != nil {
		return r.storeError("listing who is refused", err)
	}
	return nil
}
