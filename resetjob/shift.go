package resetjob

import (
	"context"
	"fmt"
	"time"

	"github.com/dirpin/dirpin/internal/store"
)

// Shift says how a process works on a job that it need not bring to its end:
// the daemon's, whose workers are wanted elsewhere. The zero Shift ends with the
// job.
type Shift struct {
	Budget time.Duration // then nothing more is started; 0: there is no end

	// Leave ends the shift rather than wait for a system that is paused, or for
	// a user whom something else keeps.
	Leave bool

	// Begin is asked when it is known whom the job is about, and before anyone
	// is changed. Its error ends the shift, and the job waits in the queue. May be
	// nil.
	Begin func(context.Context, *store.Job) error

	// Help lets Work help with a job that another process owns.
	Help bool

	Progress func(Progress) // may be nil
	Alive    func()         // is called every few seconds while the job is worked on; may be nil
}

// ShiftError says that the job is well, and goes on with another shift.
type ShiftError struct {
	Job   int64
	Until time.Time // there is nothing to do before
	Why   string    // for people

	Others bool // what another process has in hand of it is waited for
}

func (e *ShiftError) Error() string { return fmt.Sprintf("job %d goes on later: %s", e.Job, e.Why) }

const (
	leaveAfter = 2 * time.Second // of waiting that a shift does not wait for
	aliveEvery = 5 * time.Second
)

// stopped is the reason of a job that waits in the queue because the process
// that worked on it was stopped.
func (s Shift) stopped() string {
	if s.Leave {
		return "the service was stopped: the job goes on when it starts"
	}
	return store.ReasonInterrupted
}

// endShift ends the shift when its time is over, or when it would only wait.
func (r *runner) endShift() {
	if r.stopping() {
		return
	}
	now := time.Now()
	if b := r.shift.Budget; b > 0 && now.Sub(r.began) > b {
		r.end = ending{why: &ShiftError{Job: r.job.ID, Until: now, Why: "others have their turn"}}
		return
	}
	if !r.shift.Leave || r.inFlight > 0 || r.hashing > 0 || len(r.settled) > 0 || len(r.noting) > 0 || r.claimable() {
		return
	}
	at, waits := r.wakes()
	if !waits || at.Sub(now) < leaveAfter {
		return
	}
	why := r.pause
	if why == "" {
		why = fmt.Sprintf("%d users are being changed by another job, or were a moment ago", max(1, r.waiting))
	}
	r.end = ending{why: &ShiftError{Job: r.job.ID, Until: at, Why: why}}
}

func (r *runner) alive() {
	if r.shift.Alive != nil {
		r.shift.Alive()
	}
}
