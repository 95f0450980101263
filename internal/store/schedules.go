package store

import (
	"database/sql"
	"errors"
	"fmt"
	"strconv"
	"time"
)

// SameContent returns a job of that fingerprint that waits or runs; 0 for none.
func (t *Tx) SameContent(fingerprint []byte) (int64, error) {
	var id int64
	err := t.row(`SELECT coalesce(min(id), 0) FROM jobs WHERE fingerprint = ? AND stage <> 'closed'
		AND state IN ('scheduled', 'held', 'queued', 'running', 'paused')`, fingerprint).Scan(&id)
	return id, err
}

// A partial index is used only where the condition says what it is partial to,
// such as claim <> ''.

// ClaimedJob returns the job that was made of the file claimed under that name
// in the watch folder; nil where none was.
func (t *Tx) ClaimedJob(folder, claim string) (*Job, error) {
	return t.oneJob("folder = ? AND claim = ? AND claim <> ''", folder, claim)
}

// Replaceable returns the jobs of that name in a watch folder that wait for
// their time or are held, and that nobody works on.
func (t *Tx) Replaceable(folder, name string) ([]*Job, error) {
	return t.someJobs("folder = ? AND name = ? AND state IN ('scheduled', 'held') AND owner = '' ORDER BY id", folder, name)
}

// DueJobs returns the jobs whose time has come and that nobody holds, the
// earliest first.
func (t *Tx) DueJobs(now time.Time) ([]*Job, error) {
	return t.someJobs("state = 'scheduled' AND due <= ? ORDER BY due, id", milli(now))
}

// NextDue returns when the next job's time comes; the zero time where none
// waits.
func (t *Tx) NextDue() (time.Time, error) {
	var due int64
	err := t.row("SELECT coalesce(min(due), 0) FROM jobs WHERE state = 'scheduled'").Scan(&due)
	return fromMilli(due), err
}

// WaitingRuns returns the next run of every schedule, held ones too.
func (t *Tx) WaitingRuns() ([]*Job, error) {
	return t.someJobs("state IN ('scheduled', 'held') AND series <> 0 AND fired = 0 ORDER BY id")
}

// NextRun returns the run of a schedule that waits for its time; nil where the
// schedule has ended.
func (t *Tx) NextRun(series int64) (*Job, error) {
	return t.oneJob("series = ? AND series <> 0 AND state IN ('scheduled', 'held') AND fired = 0", series)
}

// RunAt tells whether the schedule has a run of that time.
func (t *Tx) RunAt(series int64, due time.Time) (bool, error) {
	j, err := t.oneJob("series = ? AND series <> 0 AND due = ?", series, milli(due))
	return j != nil, err
}

// UnfinishedRun returns the run of a schedule whose time had come and that has
// not ended; 0 for none.
func (t *Tx) UnfinishedRun(series int64) (int64, error) {
	var id int64
	err := t.row("SELECT coalesce(max(id), 0) FROM jobs WHERE series = ? AND series <> 0 AND fired > 0 AND stage <> 'closed'", series).Scan(&id)
	return id, err
}

// Fire notes that the time of a job has come, and moves it on; due becomes the
// time that it stands for.
func (t *Tx) Fire(id int64, due time.Time, to State, reason string) error {
	heldAt := int64(0)
	if to == Held {
		heldAt = t.now
	}
	return t.oneRow("UPDATE jobs SET state = ?, reason = ?, held_at = ?, due = ?, fired = ? WHERE id = ? AND state = 'scheduled'",
		string(to), reason, heldAt, milli(due), t.now, id)
}

// Postpone lets a job wait for another time.
func (t *Tx) Postpone(id int64, due time.Time, reason string) error {
	return t.oneRow("UPDATE jobs SET due = ?, reason = CASE WHEN state = 'held' THEN reason ELSE ? END WHERE id = ? AND state IN ('scheduled', 'held') AND fired = 0", milli(due), reason, id)
}

// Reschedule gives a job that has not begun another time, and the definition
// that says so. A zero due is now; series is the job itself where it becomes the
// first of a schedule.
func (t *Tx) Reschedule(id int64, definition []byte, due time.Time, series int64) error {
	state := Scheduled
	if due.IsZero() {
		state = Queued
	}
	return t.oneRow(`UPDATE jobs SET state = ?, reason = '', held_at = 0, definition = ?, due = ?, fired = 0, series = ?
		WHERE id = ? AND state IN ('scheduled', 'held', 'queued') AND stage = 'opening' AND owner = ''`,
		string(state), string(definition), milli(due), series, id)
}

// oneRow runs a statement that must change a row; ErrStale where it does not.
func (t *Tx) oneRow(query string, args ...any) error {
	n, err := t.exec(query, args...)
	if err == nil && n == 0 {
		err = ErrStale
	}
	return err
}

// ReplaceList puts a list in the place of the one that a job has.
func (t *Tx) ReplaceList(job int64, name string, sealed []byte) error {
	if _, err := t.exec("DELETE FROM job_lists WHERE job = ? AND name = ?", job, name); err != nil {
		return err
	}
	return t.AddList(job, name, sealed)
}

// Earlier returns an earlier job that has a user of this one left to change, or
// is about to say whether it has; 0 for none. A held one keeps nobody waiting,
// nor one that somebody has stopped, nor one about more than most users, where
// most is not 0.
func (t *Tx) Earlier(id, most int64) (int64, error) {
	rows, err := t.rows(`SELECT id, stage FROM jobs WHERE id < ?1 AND (state IN ('running', 'paused') OR state = 'queued' AND (owner <> '' OR stage = 'open'))
		AND stage <> 'closed' AND reason <> ?2 AND (?3 = 0 OR selected <= ?3) ORDER BY id`, id, ReasonInterrupted, most)
	if err != nil {
		return 0, err
	}
	type other struct {
		id    int64
		stage Stage
	}
	var others []other
	for rows.Next() {
		var o other
		if err := rows.Scan(&o.id, &o.stage); err != nil {
			rows.Close()
			return 0, err
		}
		others = append(others, o)
	}
	if err := errors.Join(rows.Err(), rows.Close()); err != nil {
		return 0, err
	}
	for _, o := range others {
		if o.stage == StageOpening {
			return o.id, nil
		}
		var shared bool
		err := t.row(`SELECT EXISTS (SELECT 1 FROM items a JOIN items b ON b.user_ref = a.user_ref
			WHERE a.job = ? AND a.state <> 'final' AND b.job = ? AND b.state <> 'final')`, id, o.id).Scan(&shared)
		if err != nil {
			return 0, fmt.Errorf("comparing the users of jobs %d and %d: %w", id, o.id, err)
		}
		if shared {
			return o.id, nil
		}
	}
	return 0, nil
}

// Untold returns the jobs of a watch folder whose status file has not had its
// last line, the oldest first.
func (t *Tx) Untold(folder string) ([]*Job, error) {
	return t.someJobs("folder = ? AND folder <> '' AND NOT told AND (claim <> '' OR series <> 0) ORDER BY id", folder)
}

// LastRun returns the last run of a schedule that has ended; nil where none has.
func (t *Tx) LastRun(series int64) (*Job, error) {
	return t.oneJob("series = ? AND series <> 0 AND fired > 0 AND stage = 'closed' ORDER BY id DESC", series)
}

// Told notes that the last line of a job's status file is written.
func (t *Tx) Told(id int64) error {
	_, err := t.exec("UPDATE jobs SET told = TRUE WHERE id = ?", id)
	return err
}

const metaLastTime = "last_time"

// LastTime returns the time that SetLastTime has written; the zero time where
// it has not.
func (t *Tx) LastTime() (time.Time, error) {
	var text string
	err := t.row("SELECT value FROM meta WHERE name = ?", metaLastTime).Scan(&text)
	if errors.Is(err, sql.ErrNoRows) {
		return time.Time{}, nil
	}
	if err != nil {
		return time.Time{}, fmt.Errorf("reading when the schedules were looked at last: %w", err)
	}
	ms, err := strconv.ParseInt(text, 10, 64)
	return fromMilli(ms), err
}

// SetLastTime writes when the schedules were looked at.
func (t *Tx) SetLastTime(at time.Time) error {
	return t.setMeta(metaLastTime, strconv.FormatInt(milli(at), 10))
}

// someJobs returns the jobs of a condition.
func (t *Tx) someJobs(where string, args ...any) ([]*Job, error) {
	var found []*Job
	err := t.jobs("SELECT "+jobColumns+" FROM jobs WHERE "+where, args, func(j *Job) error {
		found = append(found, j)
		return nil
	})
	return found, err
}

// oneJob returns the job of a condition; nil where there is none.
func (t *Tx) oneJob(where string, args ...any) (*Job, error) {
	found, err := t.someJobs(where+" LIMIT 1", args...)
	if err != nil || len(found) == 0 {
		return nil, err
	}
	return found[0], nil
}
