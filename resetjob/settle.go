package resetjob

import (
	"time"

	"github.com/dirpin/dirpin/internal/outcome"
	"github.com/dirpin/dirpin/internal/store"
	"github.com/dirpin/dirpin/internal/voicemail"
)

// end gives a pushed leg its result, by what the other system said, and
// takes it out of the journal. Where another leg is to be pushed the item is
// claimed again for it; else it is finished.
func (g *group) end(tx *store.Tx, w *work) error {
	l, out := w.leg, w.outcome
	v := find(w.vs, l.Kind)
	if w.part != nil {
		return g.endPart(tx, w, v)
	}
	v.result, v.code, v.detail = out.Result, out.Code, out.Detail
	l.Attempts, l.Lost = out.Attempts, out.Lost
	l.RequestID, l.System, l.Body, l.Note = w.sent.RequestID, w.sent.System, w.sent.Body, w.sent.Note
	return g.settleLeg(tx, w, v)
}

// settleLeg ends a leg that was pushed, and takes it out of the journal. What
// else of the item is pushed goes elsewhere, and waits for no answer that was
// lost here.
func (g *group) settleLeg(tx *store.Tx, w *work, v *verdict) error {
	if err := g.endLeg(tx, w, v); err != nil {
		return err
	}
	more := w.next() != nil
	w.held = false
	var err error
	switch {
	case w.outcome.Lost == 0:
		g.results.Settled(w.item.UserRef)
	case more:
		err = tx.Aside(w.sent, g.arrives(tx, w))
	default:
		err = tx.Quarantine(w.sent, tx.Now().Add(rest(w.system)))
	}
	if err != nil || more {
		return err
	}
	return g.finish(tx, w)
}

// arrives returns until when an attempt that was lost may still arrive, in
// milliseconds; 0: none was.
func (g *group) arrives(tx *store.Tx, w *work) int64 {
	if w.outcome.Lost == 0 {
		return 0
	}
	return tx.Now().Add(rest(w.system)).UnixMilli()
}

// finishUnsent is finish for an item of which nothing is on the way.
func (g *group) finishUnsent(tx *store.Tx, w *work) error {
	if w.held {
		g.results.Settled(w.item.UserRef)
	}
	return g.finish(tx, w)
}

// rest is for how long a lost request to the system, nil where it is not
// configured any more, may still arrive.
func rest(s *voicemail.System) time.Duration {
	if s == nil {
		return restoredRest
	}
	return 2 * s.Timeout()
}

// finish ends every leg that is left, and the item.
func (g *group) finish(tx *store.Tx, w *work) error {
	for i := range w.vs {
		if v := &w.vs[i]; w.of(v.kind).todo() && !w.hasEnded(v.kind) {
			if err := g.endLeg(tx, w, v); err != nil {
				return err
			}
		}
	}
	w.done = true
	it := store.Item{Seq: w.item.Seq, UserRef: w.item.UserRef, Status: string(w.user.Status)}
	it.Result, it.Code, it.Detail = combine(w.vs)
	if it.Result == outcome.Flagged {
		if err := tx.Flag(it.UserRef, g.r.job.ID, string(it.Code)); err != nil {
			return err
		}
	}
	g.results.Item(&it)
	return nil
}

// endLeg gives a leg its result; what was accepted, or what nobody else is
// asked about, is committed.
func (g *group) endLeg(tx *store.Tx, w *work, v *verdict) error {
	l := w.of(v.kind)
	if v.todo() {
		v.result, v.code = outcome.Updated, outcome.OK
	}
	if v.result == outcome.Updated && !l.committed() {
		commit := g.r.commit
		if v.system != nil && v.system.Directory() {
			commit = g.r.noteElsewhere
		}
		if err := commit(tx, w, l); err != nil {
			return err
		}
	}
	ended := l.Leg
	ended.Result, ended.Code = v.result, v.code
	if v.several != nil || len(l.parts) > 0 {
		ended.System, ended.Parts = "", nil
		for i := range l.parts {
			ended.Parts = append(ended.Parts, l.parts[i].Part)
		}
		if err := g.endParts(tx, w, v); err != nil {
			return err
		}
	}
	w.ended = append(w.ended, *v)
	g.results.Leg(w.item.Seq, &ended)
	return nil
}

func (r *runner) commit(tx *store.Tx, w *work, l *leg) error {
	keep := r.judge.policy[l.Kind].History
	s := r.def.Reset.Settings
	n := store.NewSecret{Hash: l.hash, KeepHistory: keep, Changes: w.since[l.Kind].Version, Job: r.job.ID, MustChange: s.MustChange, CannotChange: s.CannotChange,
		DoesNotExpire: s.DoesNotExpire, Locked: s.Locked, ClearAttempts: s.ClearFailedAttempts}
	if keep > 0 {
		n.Tag = l.tag
	}
	return tx.CommitSecret(w.item.UserRef, l.Kind, n)
}

// noteElsewhere records that the job has changed a password in its directory,
// of which nothing is stored here.
func (r *runner) noteElsewhere(tx *store.Tx, w *work, l *leg) error {
	return tx.ChangedElsewhere(w.item.UserRef, l.Kind, r.job.ID)
}

func find(vs []verdict, kind string) *verdict {
	for i := range vs {
		if vs[i].kind == kind {
			return &vs[i]
		}
	}
	return nil
}

func (w *work) hasEnded(kind string) bool {
	for _, v := range w.ended {
		if v.kind == kind {
			return true
		}
	}
	return false
}

// wrote takes over what the transaction has made true.
func (w *work) wrote() {
	for _, v := range w.ended {
		l := w.of(v.kind)
		l.State, l.Result, l.Code = store.Final, v.result, v.code
	}
	if w.early != nil {
		w.early.Result, w.early.Code = outcome.Updated, outcome.OK
	}
	w.ended, w.early, w.tries = nil, nil, 0
}
