package daemon

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"time"

	"github.com/riverqueue/river"
	"github.com/riverqueue/river/riverdriver"
	"github.com/riverqueue/river/riverdriver/riverdatabasesql"
	"github.com/riverqueue/river/riverdriver/riversqlite"
	"github.com/riverqueue/river/rivermigrate"
	"github.com/riverqueue/river/rivertype"

	"github.com/dirpin/dirpin/internal/store"
	"github.com/dirpin/dirpin/resetjob"
)

const (
	// Two queues: a job that fits one batch never waits for a worker behind those
	// that take hours.
	workersShort, workersLong = 8, 4

	shiftBudget = 2 * time.Minute
	// What River may believe of a shift that does not come back. It works on a
	// context of its own, so that nothing of this cuts a push.
	workerTimeout = 10 * time.Minute
	rescueAfter   = 30 * time.Minute

	fetchCooldown = 20 * time.Millisecond
	fetchPoll     = 5 * time.Second
	failRest      = 5 * time.Second
	failRestMost  = 5 * time.Minute
	differsRest   = time.Minute // a job that another node runs in another way
)

// engine works on jobs. A row of River's says that a job wants a shift, no more:
// what there is to do stands in the tables of the store, and a row that was lost
// is made anew by ring.
type engine struct {
	node   string // the owner: the queues are this node's alone
	batch  int64  // items a batch
	store  *store.Store
	log    *slog.Logger
	pool   *sql.DB
	client *river.Client[*sql.Tx]
	work   func(ctx context.Context, id int64, s resetjob.Shift) (*store.Job, error)
	ended  func(context.Context, *store.Job)
	poke   func() // has ring called soon

	mu      sync.Mutex
	rung    map[int64]time.Time // jobs with a row of River's, and until when they rest
	working map[int64]time.Time // jobs with a shift here, since when
	waits   map[int64]int64     // jobs that wait for an earlier one
	others  map[int64]shared    // long jobs that several nodes work on, or may
	fails   map[int64]int       // shifts that failed in a row
}

// shared is what there is of a job for several nodes.
type shared struct {
	free, hands int  // batches that nobody has in hand, and that others have
	helps       bool // another one owns it, and may be helped
}

// jobArgs is a row of River's.
type jobArgs struct {
	Job int64 `json:"job"`
}

// Kind names it.
func (jobArgs) Kind() string { return "job" }

// polled is a driver that is not told what others have written. Nobody else
// inserts into our queues: River polls now and then, and is told at once what
// this process inserts.
type polled struct{ riverdriver.Driver[*sql.Tx] }

// SupportsListener keeps River from polling an outbox every 50 ms.
func (polled) SupportsListener() bool { return false }

// SupportsListenNotify keeps it from filling that.
func (polled) SupportsListenNotify() bool { return false }

type worker struct {
	river.WorkerDefaults[jobArgs]
	e *engine
}

func (w *worker) Timeout(*river.Job[jobArgs]) time.Duration { return workerTimeout }

// Work is one shift.
func (w *worker) Work(ctx context.Context, job *river.Job[jobArgs]) error {
	rest, again := w.e.shift(context.WithoutCancel(ctx), job.Args.Job, job.Queue)
	if again {
		return river.JobSnooze(rest)
	}
	return nil
}

// open makes River's tables and forgets the rows of those who are not among the
// living.
func (e *engine) open(ctx context.Context, living []store.Owner) error {
	e.rung, e.working, e.waits, e.fails = make(map[int64]time.Time), make(map[int64]time.Time), make(map[int64]int64), make(map[int64]int)
	e.pool = e.store.Shared()
	driver := polled{riversqlite.New(e.pool)}
	if e.store.Leases() {
		driver = polled{riverdatabasesql.New(e.pool)}
	}
	quiet := slog.New(slog.DiscardHandler)
	m, err := rivermigrate.New[*sql.Tx](driver, &rivermigrate.Config{Logger: quiet})
	if err != nil {
		return err
	}
	err = e.store.Alone(ctx, e.pool, func() error {
		_, err := m.Migrate(ctx, rivermigrate.DirectionUp, nil)
		return err
	})
	if err != nil {
		return fmt.Errorf("making River's tables: %w", err)
	}
	// River itself would wait for the lease of its leader to run out. Where no
	// other node lives nobody leads.
	queues := "''"
	for _, o := range living {
		queues += fmt.Sprintf(", 'short-%s', 'long-%s'", o.ID, o.ID) // hexadecimal digits
	}
	forget := []string{"DELETE FROM river_job WHERE queue NOT IN (" + queues + ")"}
	if len(living) == 0 || !e.store.Leases() {
		forget = append(forget, "DELETE FROM river_leader")
	}
	for _, q := range forget {
		if _, err := e.pool.ExecContext(ctx, q); err != nil {
			return fmt.Errorf("forgetting River's jobs: %w", e.store.Explain(err))
		}
	}
	workers := river.NewWorkers()
	river.AddWorker(workers, &worker{e: e})
	e.client, err = river.NewClient[*sql.Tx](driver, &river.Config{
		ID:                          e.node,
		Logger:                      slog.New(onlyWarnings{e.log.Handler()}),
		Queues:                      map[string]river.QueueConfig{e.short(): {MaxWorkers: workersShort}, e.long(): {MaxWorkers: workersLong}},
		Workers:                     workers,
		FetchCooldown:               fetchCooldown,
		FetchPollInterval:           fetchPoll,
		JobTimeout:                  workerTimeout,
		RescueStuckJobsAfter:        rescueAfter,
		CompletedJobRetentionPeriod: 5 * time.Minute,
		CancelledJobRetentionPeriod: 5 * time.Minute,
		DiscardedJobRetentionPeriod: 5 * time.Minute,
	})
	if err != nil {
		return fmt.Errorf("setting up River: %w", err)
	}
	return e.store.Explain(e.client.Start(ctx))
}

// onlyWarnings leaves River's own chatter out.
type onlyWarnings struct{ slog.Handler }

func (h onlyWarnings) Enabled(ctx context.Context, l slog.Level) bool {
	return l >= slog.LevelWarn && h.Handler.Enabled(ctx, l)
}

// close waits for the shifts under way, whose context the caller has ended.
func (e *engine) close(ctx context.Context) error {
	err := e.client.Stop(ctx)
	if errors.Is(err, context.DeadlineExceeded) {
		return fmt.Errorf("%d jobs did not let go in time: what they have on the wire is settled at the next start", len(e.working))
	}
	return errors.Join(err, e.pool.Close())
}

// ring sees to it that every job that wants a shift has a row of River's. It
// tells when it is to be called again, whatever happens until then; 0: it does
// not know.
func (e *engine) ring(ctx context.Context) (time.Duration, error) {
	open, err := e.jobs(ctx)
	if err != nil {
		return 0, err
	}
	left := make(map[int64]bool, len(open))
	for _, j := range open {
		left[j.ID] = true
	}
	var next time.Duration
	for _, j := range open {
		if !e.wanted(j, left) {
			continue
		}
		queue := e.short()
		if e.isLong(j) {
			queue = e.long()
		}
		r, err := e.client.Insert(ctx, jobArgs{j.ID}, &river.InsertOpts{Queue: queue, UniqueOpts: river.UniqueOpts{ByArgs: true, ByQueue: true, ByState: liveStates}})
		if err != nil {
			return 0, fmt.Errorf("ringing for job %d: %w", j.ID, err)
		}
		if r.UniqueSkippedAsDuplicate { // River has not yet written that the last shift is over
			next = 100 * time.Millisecond
			continue
		}
		e.mu.Lock()
		e.rung[j.ID] = time.Now()
		e.mu.Unlock()
	}
	e.forget(left)
	return next, nil
}

var liveStates = []rivertype.JobState{rivertype.JobStateAvailable, rivertype.JobStatePending, rivertype.JobStateRetryable, rivertype.JobStateRunning, rivertype.JobStateScheduled}

func (e *engine) jobs(ctx context.Context) (open []*store.Job, err error) {
	others := make(map[int64]shared)
	err = e.store.Read(ctx, func(tx *store.Tx) error {
		open = nil
		err := tx.Open(func(j *store.Job) error { open = append(open, j); return nil })
		for i := len(open) - 1; i >= 0 && err == nil; i-- {
			// What a command was told to stop is settled, for others wait, and no
			// more.
			if j := open[i]; j.State == store.Queued && j.Reason == store.ReasonInterrupted {
				var pushing int64
				if _, pushing, err = tx.CountOpen(j.ID); pushing == 0 {
					open = slices.Delete(open, i, i+1)
					continue
				}
			}
			if j := open[i]; err == nil && e.store.Leases() && e.isLong(j) {
				var o shared
				o.free, o.hands, err = tx.BatchesLeft(j.ID, e.node)
				o.helps = o.free > 0 && (j.State == store.Running || j.State == store.Paused)
				others[j.ID] = o
			}
		}
		return err
	})
	e.mu.Lock()
	e.others = others
	e.mu.Unlock()
	return open, err
}

// wanted tells whether a job has no row of River's and should have one.
func (e *engine) wanted(j *store.Job, left map[int64]bool) bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	if _, ok := e.rung[j.ID]; ok {
		return false
	}
	if _, ok := e.working[j.ID]; ok {
		return false
	}
	switch o := e.others[j.ID]; {
	case j.Owner == "":
		// What another node has in hand of it is waited for.
		return !left[e.waits[j.ID]] && (o.hands == 0 || o.free > 0 && !j.State.Ended())
	case j.Owner == e.node:
		return false
	}
	return e.others[j.ID].helps
}

// doubt has rows made anew that may have been lost, the next time that ring is
// called.
func (e *engine) doubt() {
	e.mu.Lock()
	defer e.mu.Unlock()
	for id, until := range e.rung {
		if _, ok := e.working[id]; !ok && time.Since(until) > 0 {
			delete(e.rung, id)
		}
	}
	clear(e.waits)
}

// forget forgets what was remembered of jobs that are done.
func (e *engine) forget(left map[int64]bool) {
	e.mu.Lock()
	defer e.mu.Unlock()
	for id := range e.waits {
		if !left[id] {
			delete(e.waits, id)
		}
	}
	for id := range e.fails {
		if !left[id] {
			delete(e.fails, id)
		}
	}
	for id := range e.rung {
		if _, ok := e.working[id]; !ok && !left[id] {
			delete(e.rung, id)
		}
	}
}

func (e *engine) short() string { return "short-" + e.node }
func (e *engine) long() string  { return "long-" + e.node }

// isLong tells whether a job is known to take more than a batch.
func (e *engine) isLong(j *store.Job) bool {
	return j.Stage != store.StageOpening && j.Counts.Selected > e.batch
}

// errLong ends the shift of a job that turned out to be a long one, in the
// queue of short ones.
var errLong = errors.New("the job takes more than a batch")

// shift works on a job. It tells whether the job wants another shift, and when.
func (e *engine) shift(ctx context.Context, id int64, queue string) (rest time.Duration, again bool) {
	e.mu.Lock()
	if _, ok := e.working[id]; ok {
		e.mu.Unlock()
		return 0, false
	}
	e.working[id] = time.Now()
	e.mu.Unlock()
	defer func() {
		e.mu.Lock()
		delete(e.working, id)
		if again {
			e.rung[id] = time.Now().Add(rest + time.Minute)
		} else {
			delete(e.rung, id)
		}
		e.mu.Unlock()
		e.poke()
	}()
	j, err := e.work(ctx, id, resetjob.Shift{Budget: shiftBudget, Leave: true, Help: e.store.Leases(),
		Begin: e.begin(queue == e.short())})
	return e.judge(ctx, id, j, err)
}

// judge says what follows from how a shift has ended.
func (e *engine) judge(ctx context.Context, id int64, j *store.Job, err error) (rest time.Duration, again bool) {
	log := e.log.With("job", id)
	e.mu.Lock()
	failed := e.fails[id]
	delete(e.fails, id)
	e.mu.Unlock()
	var held *resetjob.HeldError
	var shift *resetjob.ShiftError
	var cut *resetjob.InterruptedError
	var wait *resetjob.TurnError
	var differs *resetjob.DiffersError
	switch {
	case err == nil && j == nil:
		log.Debug("helped with the job")
		return 0, false
	case errors.As(err, &differs):
		log.Warn(err.Error())
		return differsRest, true
	case err == nil:
		log.Info("the job has ended", "name", j.Name, "state", string(j.State), "reason", j.Reason, "report", j.Report)
		e.ended(ctx, j)
		return 0, false
	case errors.As(err, &held):
		log.Warn("the job is held", "reason", held.Reason)
		return 0, false
	case errors.As(err, &shift):
		log.Debug("the shift is over", "reason", shift.Why, "until", shift.Until.UTC().Format(time.RFC3339))
		// Snoozing for no time would wait until River polls.
		rest = max(0, time.Until(shift.Until))
		return rest, rest > 0 && !shift.Others // of others the database tells
	case errors.As(err, &cut):
		log.Info("the job was stopped", "left", cut.Left, "of", cut.Of)
		return 0, false
	case errors.As(err, &wait):
		log.Info("the job waits", "for", wait.For)
		e.mu.Lock()
		e.waits[id] = wait.For
		e.mu.Unlock()
		return 0, false
	case errors.Is(err, errStopping):
		return time.Second, true
	case errors.Is(err, errLong), errors.Is(err, store.ErrNotFound), errors.Is(err, context.Canceled): // between two steps
		return 0, false
	case errors.Is(err, resetjob.ErrBusy):
		log.Debug("another process works on the job")
		return 0, false
	}
	rest = min(failRestMost, failRest<<min(failed, 10))
	log.Error("working on the job", "error", err, "again_in", rest.String())
	e.mu.Lock()
	e.fails[id] = failed + 1
	e.mu.Unlock()
	return rest, true
}

// begin says that a long job is no matter for the queue of short ones.
func (e *engine) begin(short bool) func(context.Context, *store.Job) error {
	return func(_ context.Context, j *store.Job) error {
		if e.isLong(j) && short {
			return errLong
		}
		return nil
	}
}

// busy returns how many jobs have a shift here.
func (e *engine) busy() int {
	e.mu.Lock()
	defer e.mu.Unlock()
	return len(e.working)
}
