package resetjob

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/dirpin/dirpin/internal/outcome"
	"github.com/dirpin/dirpin/internal/store"
	"github.com/dirpin/dirpin/internal/voicemail"
)

// apply takes over what the transaction has made true, and pushes what it has
// journalled.
func (r *runner) apply(g *group) {
	gone := make(map[*work]bool, len(g.settled)+len(g.launch)+len(g.finished))
	for _, w := range g.settled {
		gone[w] = true
	}
	r.settled = without(r.settled, gone)
	r.noted(g)
	for _, w := range g.back {
		w.cut = false
	}
	clear(gone)
	for _, ws := range [][]*work{g.finished, g.launch, g.again, g.left} {
		for _, w := range ws {
			gone[w] = true
			w.wrote()
		}
	}
	r.ready = without(r.ready, gone)
	for _, w := range g.finished {
		r.batches[w.batch.N].open--
		_, code, _ := combine(w.vs)
		r.env.ended(code, 1)
	}
	for _, h := range g.batches {
		delete(r.batches, h.N)
	}
	for w, until := range g.waiting {
		wait := until.Sub(r.env.Store.Now()) // of a clock that may be set meanwhile
		w.ready = time.Now().Add(min(max(wait, claimedRest<<min(w.waits, 5)), claimedMost))
		w.waits++
	}
	r.waiting = len(g.waiting)
	r.outOfHours(g.full)
	for _, w := range g.settled {
		if w.kept != nil {
			r.keep(w)
		} else if w.outcome != nil && w.outcome.Denied {
			w.system.Recorded()
		}
	}
	var held []*work
	for _, w := range g.again {
		if w.cut = false; w.held {
			held = append(held, w)
		} else {
			r.ready = append(r.ready, w)
		}
	}
	r.ready = append(held, r.ready...) // who has begun comes first
	for _, w := range g.launch {
		r.push(w)
	}
	r.owe(g)
	r.tally(g)
	r.answering()
	r.report()
}

func without(ws []*work, gone map[*work]bool) []*work {
	if len(gone) == 0 {
		return ws
	}
	kept := ws[:0]
	for _, w := range ws {
		if !gone[w] {
			kept = append(kept, w)
		}
	}
	clear(ws[len(kept):])
	return kept
}

// tally draws the conclusions from a group: limits, denials, cancelling.
func (r *runner) tally(g *group) {
	c := &r.counts
	c.Updated, c.Skipped, c.Flagged = c.Updated+g.counts.Updated, c.Skipped+g.counts.Skipped, c.Flagged+g.counts.Flagged
	c.Failed, c.NotRun, c.Uncertain = c.Failed+g.counts.Failed, c.NotRun+g.counts.NotRun, c.Uncertain+g.counts.Uncertain
	if r.stopping() || r.settling { // what was cut is settled to the last
		return
	}
	if !r.active(g.state) {
		r.end = ending{code: outcome.Cancelled, state: g.state, text: "the job was moved to " + string(g.state)}
		return
	}
	for _, w := range g.settled {
		r.count(w)
	}
	for _, w := range g.finished {
		r.learn(w)
	}
	noBox := r.withoutMailboxes()
	switch {
	case r.stopping():
	case r.limit > 0 && g.total >= r.limit:
		r.end = ending{code: outcome.MaxFailures, state: store.Stopped, text: fmt.Sprintf("%d users failed, and max_failures is %d", g.total, r.limit)}
	case noBox >= noBoxAllowed && !r.job.Lets(guardNoMailbox, noBox):
		r.end = ending{code: outcome.Held, state: store.Held, text: guardNoMailbox}
	}
}

// count counts what a voicemail system has said of one user.
func (r *runner) count(w *work) {
	if w.kept != nil || w.outcome == nil || w.system == nil || w.system.Directory() {
		return
	}
	switch l := r.lanes[w.system]; w.outcome.Code {
	case outcome.OK:
		l.accepted = true
	case outcome.NoMailbox, outcome.NoMailboxCommitted:
		l.noBox++
	}
}

// withoutMailboxes returns for how many users a system has said that they have
// no mailbox, which has accepted none of the job yet: neither here, nor in an
// earlier shift, nor through another process.
func (r *runner) withoutMailboxes() (most int64) {
	for s, l := range r.lanes {
		if !l.accepted && l.noBox >= noBoxAllowed {
			l.accepted = r.hasAccepted(s)
		}
		if !l.accepted {
			most = max(most, l.noBox)
		}
	}
	return most
}

func (r *runner) hasAccepted(s *voicemail.System) (some bool) {
	err := r.env.Store.Read(context.Background(), func(tx *store.Tx) (err error) {
		some, err = tx.Accepted(r.job.ID, s.Name())
		return err
	})
	if err != nil {
		r.env.Log.Warn("asking whom the voicemail system has accepted", "job", r.job.ID, "voicemail", s.Name(), "error", err)
	}
	return some
}

// learn stops the job where a voicemail system denies us, unless others would
// do. Directories stop no job.
func (r *runner) learn(w *work) {
	for _, v := range w.vs {
		switch {
		case v.system == nil || v.system.Directory() || r.stopping():
		case v.code == outcome.VoicemailDenied:
			r.end = deniedEnding(v.system)
		}
	}
	if w.outcome == nil || !w.outcome.Denied || w.system == nil || w.system.Directory() || r.stopping() {
		return
	}
	if v := find(w.vs, store.PIN); v == nil || v.mode != voicemail.Any {
		r.end = deniedEnding(w.system)
	}
}

// deniedEnding stops the job: a system that denies us locks the account if it
// is asked on and on.
func deniedEnding(s *voicemail.System) ending {
	text := DeniedReason + s.Name()
	var e *voicemail.DeniedError
	if errors.As(s.Denied(), &e) {
		text += ": " + e.Message
	}
	text += "; mend it, then run dirpin doctor, which lets the system be used again"
	return ending{code: outcome.VoicemailDenied, state: store.Stopped, text: text}
}

// readLatches stops the systems that have denied somebody before, and lets
// those go whose latch was lifted since.
//
// A denial that another job has just met is not on record yet: it stays, and is
// recorded here if that job could not.
func (r *runner) readLatches(ctx context.Context) error {
	for s := range r.lanes {
		message := s.Unrecorded()
		if message == "" {
			continue
		}
		err := r.env.Store.Write(ctx, func(tx *store.Tx) error {
			return tx.SetLatch(store.Latch{System: s.Name(), Fingerprint: s.Fingerprint(), Message: message})
		})
		if err != nil {
			return err
		}
		s.Recorded()
	}
	return r.env.Store.Read(ctx, func(tx *store.Tx) error {
		for s := range r.lanes {
			s.Lift()
		}
		return r.latch(tx)
	})
}

// latch stops the systems that have denied others meanwhile.
func (r *runner) latch(tx *store.Tx) error {
	latches, err := tx.Latches()
	if err != nil {
		return err
	}
	for _, l := range latches {
		for s := range r.lanes {
			if s.Name() == l.System && bytes.Equal(s.Fingerprint(), l.Fingerprint) && s.Denied() == nil {
				s.Deny(l.Message)
			}
		}
	}
	return nil
}
