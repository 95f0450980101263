package resetjob

import (
	"context"
	"errors"
	"fmt"

	"github.com/dirpin/dirpin/internal/outcome"
	"github.com/dirpin/dirpin/internal/store"
)

// The guards that hold a job, as its reason has them.
const (
	guardMaxUsers  = "max_users"
	guardAllValid  = "all_valid"
	guardApprove   = "approve"
	guardNoMailbox = "no-mailbox"
)

// HeldError says that a guard holds the job: nobody was changed since.
type HeldError struct {
	Job    int64
	Reason string // for people
}

func (e *HeldError) Error() string { return fmt.Sprintf("job %d is held: %s", e.Job, e.Reason) }

// InterruptedError says that the job was told to stop before its end.
type InterruptedError struct {
	Job  int64
	Left int64 // users without a result
	Of   int64
}

func (e *InterruptedError) Error() string {
	if e.Of == 0 {
		return fmt.Sprintf("job %d was interrupted before it changed anybody", e.Job)
	}
	return fmt.Sprintf("job %d was interrupted: %d of %d users are left", e.Job, e.Left, e.Of)
}

// ErrBusy says that another process works on the job at this moment.
var ErrBusy = errors.New("another dirpin runs this job at this moment")

// DeniedReason begins the reason of a job that a voicemail system stopped by
// denying us.
const DeniedReason = "denied: "

// Unfinished returns the oldest job of a Submission's fingerprint that is not closed;
// nil where there is none.
func (e *Env) Unfinished(ctx context.Context, fingerprint []byte) (*store.Job, error) {
	var j *store.Job
	err := e.Store.Read(ctx, func(tx *store.Tx) (err error) {
		j, err = tx.Unfinished(e.Ring.Fingerprint(fingerprint))
		return err
	})
	return j, err
}

// Run works on a job to its end and writes its report. A job that was cut goes
// on where it stood. Its error is a *HeldError or an *InterruptedError where the
// job is well but not done.
func (e *Env) Run(ctx context.Context, id int64, progress func(Progress)) (*store.Job, error) {
	return e.Work(ctx, id, Shift{Progress: progress})
}

// Work is Run for one shift: its error is a *ShiftError too, or what Begin has
// returned, where the job goes on with another one.
func (e *Env) Work(ctx context.Context, id int64, shift Shift) (*store.Job, error) {
	l, err := e.take(ctx, id)
	if shift.Help && errors.Is(err, ErrBusy) {
		return nil, e.help(ctx, id, shift)
	}
	if err != nil {
		return nil, err
	}
	disowned := false
	defer func() {
		if !disowned {
			e.write(context.WithoutCancel(ctx), func(tx *store.Tx) error { return tx.DisownJob(id, e.Owner.ID) })
		}
	}()
	for {
		err = e.workOrSettle(ctx, l, shift)
		if wait := new(ShiftError); shift.Leave || !errors.As(err, &wait) || !wait.Others {
			break
		}
		if err := e.awaitOthers(ctx, id, shift); err != nil {
			return l.job, err
		}
		if err := e.refresh(ctx, l); err != nil {
			return l.job, err
		}
	}
	if err2 := e.advance(context.WithoutCancel(ctx)); err == nil {
		err = err2
	}
	if err != nil {
		return l.job, err
	}
	j, err := e.close(ctx, l, shift.Leave)
	if err != nil || shift.Leave { // mails wait for servers: who calls DeliverDue has the time
		disowned = err == nil
		return j, err
	}
	_, err = e.deliver(ctx, l, runWaits)
	return j, err
}

// workOrSettle works on the job, or settles what it was cut at where nobody else
// is to be changed.
func (e *Env) workOrSettle(ctx context.Context, l *loaded, shift Shift) error {
	// Its command was told to stop, and is to be given again; but others must not
	// wait for that.
	interrupted := shift.Leave && l.job.State == store.Queued && l.job.Reason == store.ReasonInterrupted
	if !interrupted && !l.job.State.Ended() {
		return e.work(ctx, l, shift)
	}
	err := e.settleCut(ctx, l, shift)
	if err == nil && interrupted {
		err = &InterruptedError{Job: l.job.ID, Left: l.job.Counts.Selected - l.job.Counts.Final(), Of: l.job.Counts.Selected}
	}
	return err
}

func (e *Env) refresh(ctx context.Context, l *loaded) error {
	return e.read(ctx, func(tx *store.Tx) (err error) {
		l.job, err = tx.Job(l.job.ID)
		return err
	})
}

// settleCut brings the items to their results that an earlier run was cut at.
// Nobody else is changed: the job has ended, or its rest waits.
func (e *Env) settleCut(ctx context.Context, l *loaded, shift Shift) error {
	var pushing int64
	var others int
	err := e.endLate(ctx, l.job.ID)
	if err == nil {
		err = e.read(ctx, func(tx *store.Tx) (err error) {
			if _, pushing, err = tx.CountOpen(l.job.ID); err == nil {
				_, others, err = tx.BatchesLeft(l.job.ID, e.Owner.ID)
			}
			return err
		})
	}
	switch {
	case err != nil:
		return err
	case others > 0:
		return e.othersError(l.job.ID)
	case pushing == 0:
		return nil
	}
	r := e.newRunner(l, shift)
	r.settling, r.cutOnly = true, !l.job.State.Ended()
	if err := r.run(ctx); err != nil {
		return fmt.Errorf("settling job %d: %w", l.job.ID, err)
	}
	if shift := new(ShiftError); errors.As(r.end.why, &shift) {
		return shift
	}
	if r.end.why != nil {
		return &InterruptedError{Job: l.job.ID, Left: pushing, Of: l.job.Counts.Selected}
	}
	return nil
}

// take makes the job ours and reads it.
func (e *Env) take(ctx context.Context, id int64) (*loaded, error) {
	var j *store.Job
	err := e.write(ctx, func(tx *store.Tx) error {
		ours, err := tx.OwnJob(id, e.Owner.ID)
		if err != nil {
			return err
		}
		if !ours {
			return ErrBusy
		}
		j, err = tx.Job(id)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("job %d: %w", id, err)
	}
	l, err := e.load(ctx, j)
	if err != nil { // it is nobody's again
		err = errors.Join(err, e.write(context.WithoutCancel(ctx), func(tx *store.Tx) error { return tx.DisownJob(id, e.Owner.ID) }))
	}
	return l, err
}

// work brings every item to its result.
func (e *Env) work(ctx context.Context, l *loaded, shift Shift) error {
	if l.job.State == store.Held {
		return e.heldBy(l, l.job.Reason, l.job.HeldCount)
	}
	if l.job.Stage == store.StageOpening {
		if err := e.ready(ctx, l); err != nil || l.job.State.Ended() {
			return err
		}
		err := e.open(ctx, l, func(n int64) {
			if shift.Alive != nil {
				shift.Alive()
			}
			if shift.Progress != nil {
				shift.Progress(Progress{Counts: store.Counts{Selected: n}})
			}
		})
		if ctx.Err() != nil {
			return &InterruptedError{Job: l.job.ID}
		}
		if failed := new(LiveError); errors.As(err, &failed) {
			return e.fail(ctx, l, failed)
		}
		if err != nil {
			return err
		}
	}
	if err := e.guard(ctx, l); err != nil {
		return err
	}
	if shift.Begin != nil && l.job.Started.IsZero() && !l.job.State.Ended() {
		if err := shift.Begin(ctx, l.job); err != nil {
			return err
		}
	}
	if err := e.turn(ctx, l); err != nil {
		return err
	}
	if err := e.start(ctx, l); err != nil || l.job.State == store.Cancelled {
		return err
	}
	r := e.newRunner(l, shift)
	if err := r.run(ctx); err != nil {
		return fmt.Errorf("running job %d: %w", l.job.ID, err)
	}
	if err := e.conclude(ctx, l, r.end, shift); err != nil {
		return err
	}
	// A stop leaves what an earlier run was cut at.
	return e.settleCut(ctx, l, shift)
}

// ready asks, before anybody is selected, whether the job can run at all; where
// it cannot it has ended when ready returns.
func (e *Env) ready(ctx context.Context, l *loaded) error {
	if _, ok := e.folder(l.folder); !ok {
		return e.fail(ctx, l, &GoneError{l.folder})
	}
	if r := l.people.retried; r != nil && r.from.key == nil {
		return e.fail(ctx, l, &NotRetriableError{r.of, "its values were erased before the retry began"})
	}
	err := e.awaitList(ctx, l)
	if err == nil {
		err = e.preflight(ctx, l)
	}
	refused, list := new(RefusedError), new(ListError)
	switch {
	case errors.As(err, &refused):
		return e.fail(ctx, l, refused)
	case ctx.Err() != nil:
		return &InterruptedError{Job: l.job.ID}
	case errors.As(err, &list):
		return e.fail(ctx, l, list)
	}
	return err
}

// fail ends a job that cannot run at all: nobody is selected.
func (e *Env) fail(ctx context.Context, l *loaded, why error) error {
	return e.write(ctx, func(tx *store.Tx) (err error) {
		if err := tx.LogJob(l.job.ID, "failed: "+why.Error()); err != nil {
			return err
		}
		if _, err := tx.MoveJob(l.job.ID, []store.State{store.Queued, store.Running, store.Paused}, store.Failed, why.Error()); err != nil {
			return err
		}
		l.job, err = tx.Job(l.job.ID)
		return err
	})
}

// TurnError says that the job waits for an earlier one that has some of its
// users left to change: what came first is done first.
type TurnError struct{ Job, For int64 }

func (e *TurnError) Error() string {
	return fmt.Sprintf("job %d waits for job %d, which came before it and changes some of the same users", e.Job, e.For)
}

// turn returns a *TurnError where it is not the job's turn.
func (e *Env) turn(ctx context.Context, l *loaded) error {
	// One that has begun may have users in flight, for whom the earlier one
	// waits: it goes on.
	if !e.TakeTurns || !l.job.Started.IsZero() {
		return nil
	}
	// A short job does not wait for a long one: whom it changes the other leaves
	// alone.
	var earlier, most int64
	if size := e.BatchItems(); l.job.Counts.Selected <= size {
		most = size
	}
	err := e.Store.Read(ctx, func(tx *store.Tx) (err error) {
		earlier, err = tx.Earlier(l.job.ID, most)
		return err
	})
	if err != nil || earlier == 0 {
		return err
	}
	wait := &TurnError{l.job.ID, earlier}
	why := fmt.Sprintf("waits for job %d, which changes some of the same users", earlier)
	if l.job.Reason == why {
		return wait
	}
	return errors.Join(wait, e.write(ctx, func(tx *store.Tx) error {
		_, err := tx.MoveJob(l.job.ID, []store.State{store.Queued}, store.Queued, why)
		return err
	}))
}

// guard holds the job if it would change more than it may. It asks before
// anyone is changed; a job that was cut in its course has passed.
func (e *Env) guard(ctx context.Context, l *loaded) error {
	var held error
	err := e.write(ctx, func(tx *store.Tx) error {
		var err error
		if l.job, err = tx.Job(l.job.ID); err != nil || !l.job.Started.IsZero() || l.job.State.Ended() {
			return err
		}
		pending, _, err := tx.CountOpen(l.job.ID)
		if err != nil {
			return err
		}
		faults, err := faultsOf(tx, l)
		if err != nil {
			return err
		}
		limit := int64(e.limits(l.def, l.folder).MaxUsers)
		over := int64(e.Config.Approve.Over)
		guard, count := "", int64(0)
		switch {
		case faults > 0 && !l.job.Lets(guardAllValid, faults):
			guard, count = guardAllValid, faults
		case limit > 0 && pending > limit && !l.job.Lets(guardMaxUsers, pending):
			guard, count = guardMaxUsers, pending
		case over > 0 && pending > over && !l.job.Lets(guardApprove, pending):
			guard, count = guardApprove, pending
		default:
			return nil
		}
		held = e.heldBy(l, guard, count)
		if err := tx.LogJob(l.job.ID, held.Error()); err != nil {
			return err
		}
		l.job.State, l.job.Reason, l.job.HeldCount = store.Held, guard, count
		return tx.HoldJob(l.job.ID, guard, count)
	})
	return errors.Join(err, held)
}

// faultsOf returns how many users have a value that the policy refuses, where
// one is enough to hold the job.
func faultsOf(tx *store.Tx, l *loaded) (int64, error) {
	if !l.def.Limits.AllValid {
		return 0, nil
	}
	codes, err := tx.CodeCounts(l.job.ID)
	var n int64
	for c, count := range codes {
		v := verdict{code: c}
		if v.fault() {
			n += count
		}
	}
	return n, err
}

// heldBy says what a guard counted, and what to do about it.
func (e *Env) heldBy(l *loaded, guard string, count int64) *HeldError {
	return &HeldError{Job: l.job.ID, Reason: describeHold(l.job, l.def, e.Config, guard, count)}
}

// start moves the job to running, unless it was cancelled meanwhile. One that
// was left while it was paused stays so until something is answered.
func (e *Env) start(ctx context.Context, l *loaded) error {
	return e.write(ctx, func(tx *store.Tx) error {
		if s, _, err := tx.JobState(l.job.ID); err != nil || s == store.Paused {
			return err
		}
		moved, err := tx.MoveJob(l.job.ID, []store.State{store.Queued, store.Running}, store.Running, "")
		if err != nil {
			return err
		}
		if l.job, err = tx.Job(l.job.ID); err != nil {
			return err
		}
		switch {
		case moved:
		case l.job.State == store.Cancelled: // while it was opened
			_, err = tx.EndPending(l.job.ID, outcome.Cancelled)
		case l.job.State == store.Held:
			err = e.heldBy(l, l.job.Reason, l.job.HeldCount)
		default:
			err = fmt.Errorf("job %d is %s: it cannot run", l.job.ID, l.job.State)
		}
		return err
	})
}

// conclude moves the job to the state in which the runner left it.
func (e *Env) conclude(ctx context.Context, l *loaded, end ending, shift Shift) error {
	var result error
	err := e.write(context.WithoutCancel(ctx), func(tx *store.Tx) error {
		pending, pushing, err := tx.CountOpen(l.job.ID)
		if err != nil {
			return err
		}
		job, err := tx.Job(l.job.ID)
		if err != nil {
			return err
		}
		_, others, err := tx.BatchesLeft(l.job.ID, e.Owner.ID)
		if err != nil {
			return err
		}
		if job.State == store.Cancelled { // whatever stopped it at the same moment
			end = ending{state: store.Cancelled, code: outcome.Cancelled}
		}
		active := []store.State{store.Running, store.Paused, store.Held}
		switch {
		case job.State == store.Held && pending+pushing > 0: // by somebody
			result = e.heldBy(l, job.Reason, job.HeldCount)
			return tx.LogJob(l.job.ID, fmt.Sprintf("%d of %d users are left", pending+pushing, job.Counts.Selected))
		case end.state == store.Held:
			result = e.heldBy(l, end.text, noBoxAllowed)
			if err := tx.LogJob(l.job.ID, result.Error()); err != nil {
				return err
			}
			return tx.HoldJob(l.job.ID, end.text, noBoxAllowed)
		case job.State == store.Stopped: // by another process; endLate ends who is left
		case end.state == store.Stopped:
			if _, err := tx.EndPending(l.job.ID, end.code); err != nil {
				return err
			}
			if err := tx.LogJob(l.job.ID, "stopped: "+end.text); err != nil {
				return err
			}
			_, err = tx.MoveJob(l.job.ID, active, store.Stopped, end.text)
		case end.state == store.Cancelled:
			_, err = tx.EndPending(l.job.ID, end.code)
		case pending+pushing > 0 && errors.As(end.why, new(*ShiftError)):
			result = end.why
		case pending+pushing > 0 && end.why == nil && others > 0:
			result = e.othersError(job.ID)
		case pending+pushing > 0:
			result = &InterruptedError{Job: job.ID, Left: pending + pushing, Of: job.Counts.Selected}
			if err := tx.LogJob(l.job.ID, fmt.Sprintf("interrupted: %d of %d users are left", pending+pushing, job.Counts.Selected)); err != nil {
				return err
			}
			_, err = tx.MoveJob(l.job.ID, active, store.Queued, shift.stopped())
		default:
			err = e.concludeDone(tx, l.job.ID, active)
		}
		return err
	})
	return errors.Join(err, result)
}

func (e *Env) concludeDone(tx *store.Tx, id int64, from []store.State) error {
	j, err := tx.Job(id)
	if err != nil {
		return err
	}
	to := store.Done
	if j.Counts.Failed > 0 || j.Counts.NotRun > 0 {
		to = store.Incomplete
	}
	_, err = tx.MoveJob(id, from, to, "")
	return err
}
