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

// lane is the way of a job's legs to one system.
type lane struct {
	slots  *voicemail.Slots // those that are on the wire, of all jobs
	ahead  int              // journalled and without an answer, those that rest among them
	owed   int              // users whom another system has been sent, and that this one is to be asked about
	paused time.Time        // until
	since  time.Time        // when it began to be paused; zero: it is not
	gaveUp bool             // it was paused for longer than pause_max

	accepted bool  // by it, somebody of the job
	noBox    int64 // users who have no mailbox there, since this run began

	system *voicemail.System
	asked  time.Time // when it was asked last whether its hours are now
	opens  time.Time // when they begin; zero: they are now, or it has none
	wanted bool      // somebody waits for them
}

func newLane(s *voicemail.System) *lane { return &lane{slots: s.Slots(), system: s} }

// shut tells whether the hours of the system are over, or have not begun. Then
// nothing more is claimed for it; what has begun is finished.
func (l *lane) shut(now time.Time) bool {
	if now.Sub(l.asked) >= time.Second || now.Before(l.asked) || !l.opens.IsZero() && !now.Before(l.opens) {
		l.asked, l.opens = now, l.system.Opens(now)
	}
	return !l.opens.IsZero()
}

// outOfHours says of those who wait for the hours of their system that they do.
func (r *runner) outOfHours(full []*work) {
	now := time.Now()
	for _, w := range full {
		w.way(func(s *voicemail.System) bool {
			if l := r.lanes[s]; l.shut(now) && !l.wanted {
				l.wanted = true
				r.setPause(fmt.Sprintf("%s is pushed to in its hours only, which begin %s", l.system.Name(), l.opens.UTC().Format(time.RFC3339)))
			}
			return false
		})
	}
}

// open tells whether the system takes anything at the moment.
func (r *runner) open(s *voicemail.System) bool {
	l := r.lanes[s]
	now := time.Now()
	return l == nil || l.gaveUp || !l.paused.After(now) && !l.shut(now)
}

// room tells whether one more may be journalled ahead of the wire: twice the
// concurrency, so that few are in doubt after a kill.
func (r *runner) room(s *voicemail.System) bool {
	l := r.lanes[s]
	now := time.Now()
	return l == nil || l.gaveUp || l.ahead < l.slots.Ahead() && !l.paused.After(now) && !l.shut(now)
}

// push sends a journalled leg on its way. It comes back through r.pushed.
func (r *runner) push(w *work) {
	if !w.ahead {
		w.ahead = true
		r.lanes[w.system].ahead++
	}
	r.inFlight++
	go func() {
		out, err := r.send(w)
		r.env.step("pushed")
		w.outcome, w.kept = &out, err
		r.pushed <- w
	}()
}

// send makes the attempts, or asks what became of them.
func (r *runner) send(w *work) (voicemail.Outcome, error) {
	leg := voicemail.Leg{Attempt: w.attempt, Drawn: w.leg.drawn, Prior: w.prior,
		Whose: []any{"job", r.job.ID, "user", w.item.UserID}}
	if w.asking != "" {
		return w.system.Settle(context.WithoutCancel(r.pushes), leg, w.asking), nil
	}
	leg.Begin = func(before voicemail.History) error {
		if before.Attempts == 0 && r.halted.Load() { // it waited for its turn, and the job ended meanwhile
			return voicemail.ErrStopped
		}
		if opens := w.system.Opens(time.Now()); before.Attempts == 0 && !opens.IsZero() { // they ended while it waited
			return &voicemail.PausedError{Until: opens, Reason: "its hours are over"}
		}
		r.env.step("push")
		return r.env.Owner.Fresh()
	}
	leg.Keep = func(n voicemail.Note) error { return r.keepNote(w, n) }
	return w.system.Push(r.pushes, leg)
}

func (r *runner) gotPushed(w *work) {
	r.inFlight--
	if w.kept == nil {
		r.landed(w)
	}
	if l := r.lanes[w.system]; w.kept == nil && w.outcome.Attempts > w.prior.Attempts {
		l.paused, l.since = time.Time{}, time.Time{}
		r.still = false
	}
	r.settled = append(r.settled, w)
}

// landed makes room for another leg.
func (r *runner) landed(w *work) {
	if w.ahead {
		w.ahead = false
		r.lanes[w.system].ahead--
	}
}

// keep decides what becomes of a leg whose push has no outcome yet, after that
// was written.
func (r *runner) keep(w *work) {
	unsent := w.outcome.Lost == 0
	w.prior = w.outcome.History
	var paused *voicemail.PausedError
	var stale *StaleError
	switch {
	case errors.As(w.kept, &paused):
		l := r.lanes[w.system]
		if l.gaveUp {
			break
		}
		if unsent && l.shut(time.Now()) { // which is no fault of its
			r.outOfHours([]*work{w})
			break
		}
		w.ready = paused.Until
		l.wait(paused.Until, r.pausedBefore())
		r.setPause(w.system.Name() + " is paused until " + paused.Until.UTC().Format(time.RFC3339) + ": " + paused.Reason)
	case errors.As(w.kept, &stale):
		r.pause = stale.Error() // which cannot be written, of all things
		w.ready = time.Now().Add(beatEvery)
	default:
		if !unsent {
			w.kept, w.outcome = nil, nil
			return // left as it is, journalled, for the next run
		}
	}
	w.kept, w.outcome = nil, nil
	if unsent {
		r.landed(w)
		if w.part == nil {
			w.leg.RequestID = w.sent.RequestID
		}
		w.sent, w.prior = nil, voicemail.History{}
		r.ready = append(r.ready, w)
		return
	}
	r.resting = append(r.resting, w)
}

// pausedBefore returns since when the job is paused, as an earlier run has left
// it: nothing where it may have been for the hours of a system, which pause_max
// is not about.
func (r *runner) pausedBefore() time.Time {
	for s := range r.lanes {
		if s.HasHours() {
			return time.Time{}
		}
	}
	return r.job.PausedAt
}

// wait notes that the lane is paused. The job may have been paused before this
// run.
func (l *lane) wait(until, before time.Time) {
	l.paused = until
	if l.since.IsZero() {
		l.since = time.Now()
		if !before.IsZero() && before.Before(l.since) {
			l.since = before
		}
	}
}

// again pushes what rested for long enough, and ends the waiting for systems
// that were paused for too long.
func (r *runner) again() {
	now := time.Now()
	for s, l := range r.lanes {
		most := s.PauseMax()
		if l.gaveUp || most <= 0 || l.since.IsZero() || now.Sub(l.since) <= most {
			continue
		}
		l.gaveUp = true
		r.note(fmt.Sprintf("%s is given up: it was paused for longer than pause_max (%s)", s.Name(), most))
		for _, w := range r.ready {
			if w.way(func(way *voicemail.System) bool { return way == s }) != nil {
				w.ready = time.Time{}
			}
		}
	}
	kept := r.resting[:0]
	for _, w := range r.resting {
		switch {
		case r.end.why != nil: // left journalled, for the next run
		case r.end.state != "":
			r.giveUp(w, "the job stopped before it was settled")
		case r.lanes[w.system].gaveUp:
			r.giveUp(w, fmt.Sprintf("%s was paused for longer than pause_max (%s)", w.system.Name(), w.system.PauseMax()))
		case w.ready.After(now):
			kept = append(kept, w)
		default:
			r.push(w)
		}
	}
	clear(r.resting[len(kept):])
	r.resting = kept
	r.answering()
}

// giveUp ends a leg of which nobody will ask again whether it had arrived.
func (r *runner) giveUp(w *work, why string) {
	r.landed(w)
	w.outcome = &voicemail.Outcome{History: w.prior, Result: outcome.Failed, Code: w.system.Uncertain(), Detail: why}
	w.ready = time.Time{}
	r.settled = append(r.settled, w)
}

// answering ends the pause when nothing is paused any more.
func (r *runner) answering() {
	if r.pause == "" || !r.roomAt.IsZero() || r.still {
		return
	}
	now := time.Now()
	for _, l := range r.lanes {
		if l.wanted = l.wanted && l.shut(now); l.wanted || !l.since.IsZero() && !l.gaveUp {
			return
		}
	}
	r.setPause("")
}

// setPause shows that the job is paused, or is not any more. It is a matter of
// what people see, and so does not stop the job when it cannot be written.
func (r *runner) setPause(why string) {
	if (r.pause == "") == (why == "") {
		r.pause = why
		return
	}
	r.pause = why
	from, to := store.Running, store.Paused
	text := why
	if why == "" {
		from, to, text = to, from, "going on"
	}
	err := r.env.Store.Write(context.Background(), func(tx *store.Tx) error {
		moved, err := tx.MoveJob(r.job.ID, []store.State{from}, to, why)
		if err != nil || !moved {
			return err
		}
		return tx.LogJob(r.job.ID, text)
	})
	if err != nil {
		r.env.Log.Warn("noting the pause", "job", r.job.ID, "error", err)
	}
}

// note adds to the job's log what people see of it.
func (r *runner) note(text string) {
	err := r.env.Store.Write(context.Background(), func(tx *store.Tx) error { return tx.LogJob(r.job.ID, text) })
	if err != nil {
		r.env.Log.Warn("noting in the job's log", "job", r.job.ID, "error", err)
	}
}

// roomEvery is how often the free space is looked at.
const roomEvery = time.Second

// starved tells whether the disk is so full that results might not be written:
// then nothing more is claimed.
func (r *runner) starved() bool {
	now := time.Now()
	if now.Sub(r.checked) < roomEvery {
		return !r.roomAt.IsZero()
	}
	r.checked = now
	err := r.env.Store.Room()
	if err == nil {
		r.roomAt = time.Time{}
		return false
	}
	r.roomAt = now.Add(roomEvery)
	r.setPause(err.Error())
	return true
}

func (r *runner) report() {
	if r.shift.Progress == nil {
		return
	}
	p := Progress{Counts: r.counts, Paused: r.pause}
	if p.Paused == "" && r.waiting > 0 && r.inFlight == 0 {
		p.Paused = fmt.Sprintf("%d users are being changed by another job, or were a moment ago (dirpin jobs list): waiting; if that job was cut, run its file or cancel it", r.waiting)
	}
	r.shift.Progress(p)
}
