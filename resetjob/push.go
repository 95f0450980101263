package resetjob

import (
	"context"
	"errors"
	"time"

	"github.com/dirpin/dirpin/internal/outcome"
	"github.com/dirpin/dirpin/internal/store"
	"github.com/dirpin/dirpin/internal/voicemail"
)

// push sends a journalled item on its way. It comes back through r.pushed.
func (r *runner) push(ctx context.Context, w *work) {
	slots := r.slots[w.system]
	drawn := w.pin().drawn
	go func() {
		slots <- struct{}{}
		out, err := w.system.Push(ctx, voicemail.Leg{Body: w.body, Drawn: drawn, Prior: w.prior})
		<-slots
		w.outcome, w.kept = &out, err
		r.pushed <- w
	}()
}

func (r *runner) gotPushed(w *work) {
	r.inFlight--
	r.ahead[w.system]--
	if w.kept == nil {
		r.answered(w.system)
	}
	r.settled = append(r.settled, w)
}

// keep decides what becomes of an item whose push has no outcome yet, after
// that was written.
func (r *runner) keep(w *work) {
	unsent := w.outcome.Lost == 0
	w.prior = w.outcome.History
	var paused *voicemail.PausedError
	if errors.As(w.kept, &paused) {
		w.ready = paused.Until
		r.paused[w.system] = paused.Until
		r.setPause(w.system.Name() + " is paused until " + paused.Until.UTC().Format(time.RFC3339) + ": " + paused.Reason)
	}
	w.kept, w.outcome = nil, nil
	switch {
	case unsent:
		w.sent, w.prior = false, voicemail.History{}
		r.ready = append(r.ready, w)
	case paused != nil:
		r.resting = append(r.resting, w)
	}
	// Else it is left as it is, journalled, for the next run.
}

// giveUp ends what rests when the job stops for good: nobody will ask again
// whether it had arrived.
func (r *runner) giveUp(w *work) {
	w.outcome = &voicemail.Outcome{History: w.prior, Result: outcome.Failed, Code: outcome.VoicemailTimeout, Detail: "the job stopped before it was settled"}
	r.settled = append(r.settled, w)
}

// again pushes what rested for long enough.
func (r *runner) again(ctx context.Context) {
	now := time.Now()
	kept := r.resting[:0]
	for _, w := range r.resting {
		switch {
		case r.end.why != nil: // left journalled, for the next run
		case r.end.state != "":
			r.giveUp(w)
		case w.ready.After(now):
			kept = append(kept, w)
		default:
			r.inFlight++
			r.ahead[w.system]++
			r.push(ctx, w)
		}
	}
	r.resting = kept
}

// answered notes that a system has answered.
func (r *runner) answered(s *voicemail.System) {
	delete(r.paused, s)
	if len(r.paused) == 0 {
		r.setPause("")
	}
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
		from, to, text = to, from, "the voicemail system answers again: going on"
	}
	err := r.env.Store.Write(context.Background(), func(tx *store.Tx) error {
		if _, err := tx.MoveJob(r.job.ID, []store.State{from}, to, why); err != nil {
			return err
		}
		return tx.LogJob(r.job.ID, text)
	})
	if err != nil {
		r.env.Log.Warn("noting the pause", "job", r.job.ID, "error", err)
	}
}
