package resetjob

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/dirpin/dirpin/internal/clock"
	"github.com/dirpin/dirpin/internal/credential"
	"github.com/dirpin/dirpin/internal/store"
)

// Schedules starts the jobs whose time has come. One process of an installation
// does so; it is not safe for concurrent use. Two that do all the same start
// nothing twice.
type Schedules struct {
	env   *Env
	guard *clock.Guard
	doubt string // that was said
	saved time.Time
}

// NewSchedules returns the schedules of an installation.
func (e *Env) NewSchedules(ctx context.Context) (*Schedules, error) {
	var last time.Time
	err := e.Store.Read(ctx, func(tx *store.Tx) (err error) {
		last, err = tx.LastTime()
		return err
	})
	if err != nil {
		return nil, err
	}
	return &Schedules{env: e, guard: clock.NewGuard(last)}, nil
}

// Use has them go on with what is configured now. What they know of the clock
// stays.
func (s *Schedules) Use(e *Env) { s.env = e }

// Tick is what became of the jobs whose time has come.
type Tick struct {
	Started []int64 // wait in the queue now
	Held    []int64 // came too late, or cannot be read, and wait for a release
	Skipped []int64 // runs whose predecessor has not ended; they wait for their next time
	Ended   []int64 // skipped, and the schedule has no further time; each wants its report (Run)

	Doubt string    // why the clock is not believed: nothing was started, and nothing else may be done by it; "": it is
	Next  time.Time // of the reading's wall clock: when to look again, at the latest; jobs that are added may be due sooner
}

// lookEvery is how long Tick lets its caller wait at most: what another process
// adds is found then, and the time is written down.
const lookEvery = time.Minute

// Tick looks once. It is to be called when a job was added or changed, and at
// Next.
func (s *Schedules) Tick(ctx context.Context, now clock.Reading) (*Tick, error) {
	doubt, again := s.guard.See(now)
	if doubt != "" {
		if doubt != s.doubt {
			s.env.Log.Error("schedules wait: " + doubt)
		}
		s.doubt = doubt
		return &Tick{Doubt: doubt, Next: now.Wall.Add(again)}, nil
	}
	if s.doubt != "" {
		s.env.Log.Warn("schedules go on: the clock is believed again")
		s.doubt = ""
	}
	t := &Tick{}
	back := s.guard.WentBack()
	err := s.env.Store.Write(ctx, func(tx *store.Tx) error {
		*t = Tick{}
		in, err := tx.Incarnation()
		if err != nil {
			return err
		}
		if back || now.Wall.Sub(s.saved).Abs() >= lookEvery {
			if err := tx.SetLastTime(now.Wall); err != nil {
				return err
			}
		}
		if in.Restored != "" { // everything is held
			return nil
		}
		if back {
			if err := s.env.sooner(tx, now.Wall); err != nil {
				return err
			}
		}
		due, err := tx.DueJobs(now.Wall)
		for _, j := range due {
			if err == nil {
				err = s.env.fire(tx, j, now.Wall, t)
			}
		}
		if err != nil {
			return err
		}
		t.Next, err = tx.NextDue()
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("looking for jobs that are due: %w", err)
	}
	if back || now.Wall.Sub(s.saved).Abs() >= lookEvery {
		s.saved = now.Wall
	}
	if latest := now.Wall.Add(lookEvery); t.Next.IsZero() || t.Next.After(latest) {
		t.Next = latest
	}
	if len(t.Started)+len(t.Held) > 0 { // their next runs have numbers now
		err = s.env.advance(ctx)
	}
	return t, err
}

// fire starts a job whose time has come, and makes the next run of its
// schedule.
func (e *Env) fire(tx *store.Tx, j *store.Job, now time.Time, t *Tick) error {
	l, c, err := e.timed(j)
	if err != nil { // it keeps no other from starting
		e.Log.Error("the time of a job has come that cannot be read: it is held", "job", j.ID, "error", err)
		t.Held = append(t.Held, j.ID)
		reason := reasonUnread + err.Error()
		return errors.Join(tx.HoldJob(j.ID, reason, 0), tx.LogJob(j.ID, "held: "+reason))
	}
	due, n := j.Due, 1
	var next time.Time
	if j.Series != 0 {
		due, n = c.Latest(due, now)
		if next = c.Next(now); !l.def.Run.Until.IsZero() && next.After(l.def.Run.Until) {
			next = time.Time{}
		}
		other, err := tx.UnfinishedRun(j.Series)
		if err != nil {
			return err
		}
		if other != 0 {
			return e.skip(tx, j, next, fmt.Sprintf("the run of %s was left out: job %d, the run before it, has not ended", rfc3339(due), other), t)
		}
	}
	if n > 1 {
		e.Log.Warn("runs of a schedule were missed and are run once", "job", j.ID, "missed", n, "first", j.Due, "last", due)
		if err := tx.LogJob(j.ID, fmt.Sprintf("%d runs were missed, from %s to %s: they are run once", n, rfc3339(j.Due), rfc3339(due))); err != nil {
			return err
		}
	}
	to, reason := store.Queued, ""
	if late := now.Sub(due); e.Config.Late > 0 && late > e.Config.Late {
		to, reason = store.Held, reasonLate
		if err := tx.LogJob(j.ID, fmt.Sprintf("held: it was to start at %s, and %s later is more than late (%s)", rfc3339(due), late.Round(time.Second), e.Config.Late)); err != nil {
			return err
		}
	}
	if err := tx.Fire(j.ID, due, to, reason); err != nil {
		return err
	}
	if !next.IsZero() {
		if err := e.nextRun(tx, l, next); err != nil {
			return err
		}
	} else if j.Series != 0 {
		if err := tx.LogJob(j.ID, "the schedule has no further run"); err != nil {
			return err
		}
	}
	if to == store.Held {
		t.Held = append(t.Held, j.ID)
		return nil
	}
	t.Started = append(t.Started, j.ID)
	return nil
}

// timed reads a job that waits for its time, and its schedule where it has one.
func (e *Env) timed(j *store.Job) (l *loaded, c *Cron, err error) {
	if l, err = e.unseal(j); err != nil || j.Series == 0 {
		return l, nil, err
	}
	if c, err = ParseCron(l.def.Run.Cron, l.def.Run.Timezone); err != nil {
		return nil, nil, fmt.Errorf("reading the schedule of job %d: %w", j.ID, err)
	}
	return l, c, nil
}

// skip leaves a time of a schedule out.
func (e *Env) skip(tx *store.Tx, j *store.Job, next time.Time, why string, t *Tick) error {
	e.Log.Warn(why, "job", j.ID)
	if err := tx.LogJob(j.ID, why); err != nil {
		return err
	}
	if !next.IsZero() {
		t.Skipped = append(t.Skipped, j.ID)
		return tx.Postpone(j.ID, next, why)
	}
	t.Ended = append(t.Ended, j.ID)
	_, err := tx.MoveJob(j.ID, []store.State{store.Scheduled}, store.Cancelled, why+"; the schedule has no further run")
	return err
}

// nextRun makes the job of a schedule's next time, with the values and the list
// of the one that fires.
func (e *Env) nextRun(tx *store.Tx, l *loaded, due time.Time) error {
	j := l.job
	next := &store.Job{Name: j.Name, Folder: j.Folder, File: j.File, FileID: j.FileID, Fingerprint: j.Fingerprint, Definition: j.Definition,
		Submitter: j.Submitter, Stage: store.StageOpening, State: store.Scheduled, Due: due, Series: j.Series}
	if err := tx.AddJob(next, 0); err != nil {
		return err
	}
	key, err := credential.NewJobKey()
	if err != nil {
		return err
	}
	next.Key = e.Ring.SealJobKey(next.ID, key)
	for kind, to := range map[string]*[]byte{store.PIN: &next.PIN, store.Password: &next.Password} {
		if v := l.given[kind]; !v.IsZero() {
			*to = key.SealValue(nil, legContext("given "+kind, next.ID, 0), v)
		}
	}
	if err := tx.SealJob(next); err != nil {
		return err
	}
	return tx.LogJob(j.ID, fmt.Sprintf("the next run of its schedule is job %d, at %s", next.ID, rfc3339(due)))
}

// sooner lets schedules come when they are due by a clock that was set back:
// their next times were computed by the old one.
func (e *Env) sooner(tx *store.Tx, now time.Time) error {
	runs, err := tx.WaitingRuns()
	if err != nil {
		return err
	}
	for _, j := range runs {
		_, c, err := e.timed(j)
		if err != nil { // said when its time has come
			continue
		}
		for next := c.Next(now); next.Before(j.Due); next = c.Next(next) {
			ran, err := tx.RunAt(j.Series, next)
			if err != nil {
				return err
			}
			if !ran {
				if err := tx.Postpone(j.ID, next, j.Reason); err != nil {
					return err
				}
				break
			}
		}
	}
	return nil
}

// reread reads the list of a run of a schedule from its folder: the people of
// the day are meant, not those of the day on which the file was dropped.
func (e *Env) reread(ctx context.Context, l *loaded) error {
	named := l.def.Select.File
	if l.job.Series == 0 || named == nil {
		return nil
	}
	w, _ := e.folder(l.folder)
	lists, err := OpenLists(w.Lists)
	if err != nil {
		return &ListError{err}
	}
	defer lists.Close()
	content, err := lists.Read(named)
	if err != nil {
		return &ListError{err}
	}
	if l.people, err = decodeList(l.def, content.Path, content.Bytes(), nil); err != nil {
		return &ListError{err}
	}
	l.list = content.Bytes()
	return e.Store.Write(ctx, func(tx *store.Tx) error {
		return tx.ReplaceList(l.job.ID, listName, l.key.Seal(nil, legContext("list", l.job.ID, 0), l.list))
	})
}

// awaitList is reread, which is tried for listWait while the list is missing.
func (e *Env) awaitList(ctx context.Context, l *loaded) error {
	for until := time.Now().Add(listWait); ; {
		err := e.reread(ctx, l)
		list := new(ListError)
		if !errors.As(err, &list) || !list.Missing() || time.Now().After(until) {
			return err
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(time.Second):
		}
	}
}

// listWait is for how long a list is awaited.
const listWait = 30 * time.Second

// ListError says that the list of a schedule's run cannot be used as it is.
// Missing tells whether it may be there in a moment.
type ListError struct{ Err error }

func (e *ListError) Error() string { return fmt.Sprintf("reading the list of this run: %v", e.Err) }

// Unwrap returns the cause.
func (e *ListError) Unwrap() error { return e.Err }

// Missing tells whether the list may be there in a moment.
func (e *ListError) Missing() bool {
	return errors.Is(e.Err, ErrListMissing) || errors.Is(e.Err, ErrListChanged)
}
