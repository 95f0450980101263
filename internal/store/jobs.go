package store

import (
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/dirpin/dirpin/internal/outcome"
)

// State is where a job is.
type State string

// The states of a job.
const (
	Scheduled  State = "scheduled"
	Held       State = "held"
	Queued     State = "queued"
	Running    State = "running"
	Paused     State = "paused"
	Done       State = "done"
	Incomplete State = "incomplete" // done, with failures
	Stopped    State = "stopped"    // ended early: denied, max_failures
	Cancelled  State = "cancelled"
	Superseded State = "superseded"
	Failed     State = "failed" // could not run at all
)

// Ended tells whether nothing of the job is left to do.
func (s State) Ended() bool {
	switch s {
	case Done, Incomplete, Stopped, Cancelled, Superseded, Failed:
		return true
	}
	return false
}

// Stage is how far a job has come, whatever its state.
type Stage string

// The stages.
const (
	StageOpening Stage = "opening" // items are being written; nothing was pushed
	StageOpen    Stage = "open"    // every item is there and was judged
	StageClosed  Stage = "closed"  // the report is written
)

// Counts says how the items of a job ended. The first is the sum of those of
// updated, skipped, flagged, failed and not run when the job has ended;
// uncertain ones are among the failed.
type Counts struct {
	Selected  int64 `json:"selected"`
	Updated   int64 `json:"updated"`
	Skipped   int64 `json:"skipped"`
	Flagged   int64 `json:"flagged"`
	Failed    int64 `json:"failed"`
	NotRun    int64 `json:"not_run"`
	Uncertain int64 `json:"uncertain"`
}

// Add counts one more item.
func (c *Counts) Add(r outcome.Result, code outcome.Code) { c.AddN(r, code, 1) }

// AddN counts n more items.
func (c *Counts) AddN(r outcome.Result, code outcome.Code, n int64) {
	switch r {
	case outcome.Updated:
		c.Updated += n
	case outcome.Skipped:
		c.Skipped += n
	case outcome.Flagged:
		c.Flagged += n
	case outcome.NotRun:
		c.NotRun += n
	case outcome.Failed:
		c.Failed += n
		if code.Uncertain() {
			c.Uncertain += n
		}
	}
}

// Final returns how many items have ended.
func (c Counts) Final() int64 { return c.Updated + c.Skipped + c.Flagged + c.Failed + c.NotRun }

// Job is the row of a job.
type Job struct {
	ID          int64
	Name        string
	Folder      string
	File        string
	FileID      string
	Fingerprint []byte // keyed hash of the job file and its lists
	Definition  []byte // JSON, without secrets
	Submitter   string
	State       State
	Reason      string
	Stage       Stage
	HeldCount   int64            // what the guard that holds the job counted
	Released    map[string]int64 // the guards that releases override, and what they had counted
	Created     time.Time
	Started     time.Time
	Ended       time.Time
	Counts      Counts
	Failures    int64
	Key         []byte // the job's key, sealed; nil when erased
	PIN         []byte // a given value, sealed under it
	Password    []byte
	Report      string
	Owner       string // the process that opens, runs or closes it; "": none
	RetryOf     int64  // the job whose failed items this one tries again; 0: none
	Origin      int64  // the first job of a chain of retries; 0: this one
	PausedAt    time.Time
	Due         time.Time // when it is to start; zero: at once
	Fired       time.Time // when that time was found to have come; zero: it has not
	Series      int64     // the first job of its schedule; 0: it has none
	Claim       string    // the name that its file was claimed under in the watch folder
}

// Waits tells whether the job waits for its time, or would if nobody held it.
func (j *Job) Waits() bool { return !j.Due.IsZero() && j.Fired.IsZero() }

// Since returns the job whose number counts when a later one has changed a
// secret already: of a retry, that of the job in which the values were given.
func (j *Job) Since() int64 {
	if j.Origin != 0 {
		return j.Origin
	}
	return j.ID
}

const jobColumns = `id, name, folder, file, file_id, fingerprint, definition, submitter, state, reason, stage,
	held_count, released, created, started, ended,
	selected, updated, skipped, flagged, failed, not_run, uncertain, failures, job_key, pin, password, report, owner, retry_of, origin, paused_at,
	due, fired, series, claim`

func scanJob(r rowScanner) (*Job, error) {
	j := new(Job)
	var created, started, ended, paused, due, fired int64
	var released string
	c := &j.Counts
	err := r.Scan(&j.ID, &j.Name, &j.Folder, &j.File, &j.FileID, &j.Fingerprint, &j.Definition, &j.Submitter, &j.State, &j.Reason, &j.Stage,
		&j.HeldCount, &released, &created, &started, &ended,
		&c.Selected, &c.Updated, &c.Skipped, &c.Flagged, &c.Failed, &c.NotRun, &c.Uncertain, &j.Failures, &j.Key, &j.PIN, &j.Password, &j.Report, &j.Owner,
		&j.RetryOf, &j.Origin, &paused, &due, &fired, &j.Series, &j.Claim)
	j.Created, j.Started, j.Ended, j.PausedAt = fromMilli(created), fromMilli(started), fromMilli(ended), fromMilli(paused)
	j.Due, j.Fired = fromMilli(due), fromMilli(fired)
	if err == nil && released != "" {
		err = json.Unmarshal([]byte(released), &j.Released)
	}
	return j, err
}

// AddJob stores a new job and sets its ID. atLeast is the lowest number it may
// get: reports of an older database must not be overwritten.
func (t *Tx) AddJob(j *Job, atLeast int64) error {
	heldAt := int64(0)
	if j.State == Held {
		heldAt = t.now
	}
	args := []any{j.Name, j.Folder, j.File, j.FileID, j.Fingerprint, string(j.Definition), j.Submitter,
		string(j.State), j.Reason, string(j.Stage), t.now, j.Owner, j.RetryOf, j.Origin, milli(j.Due), j.Series, j.Claim, heldAt}
	const columns = "name, folder, file, file_id, fingerprint, definition, submitter, state, reason, stage, created, owner, retry_of, origin, due, series, claim, held_at"
	in, err := t.Incarnation()
	if err != nil {
		return err
	}
	j.ID = max(atLeast, in.LastJob+1)
	if _, err := t.exec("INSERT INTO jobs ("+columns+", id) VALUES ("+placeholders(len(args)+1)+")", append(args, j.ID)...); err != nil {
		return fmt.Errorf("storing the job: %w", err)
	}
	j.Created = t.Now()
	return t.setMeta(metaLastJob, strconv.FormatInt(j.ID, 10))
}

// Lets tells whether a release has let the guard through with that count, or a
// tenth less.
func (j *Job) Lets(guard string, count int64) bool {
	n, ok := j.Released[guard]
	return ok && count <= n+n/10
}

// SealJob keeps the sealed values of a new job, which need its number.
func (t *Tx) SealJob(j *Job) error {
	_, err := t.exec("UPDATE jobs SET job_key = ?, pin = ?, password = ? WHERE id = ?", j.Key, j.PIN, j.Password, j.ID)
	return err
}

// Job returns a job, or ErrNotFound.
func (t *Tx) Job(id int64) (*Job, error) {
	j, err := scanJob(t.row("SELECT "+jobColumns+" FROM jobs WHERE id = ?", id))
	if errors.Is(err, sql.ErrNoRows) {
		return nil, fmt.Errorf("job %d: %w", id, ErrNotFound)
	}
	if err != nil {
		return nil, fmt.Errorf("reading job %d: %w", id, err)
	}
	return j, nil
}

// Jobs calls each for every job, the newest first.
func (t *Tx) Jobs(each func(*Job) error) error {
	return t.jobs("SELECT "+jobColumns+" FROM jobs ORDER BY id DESC", nil, each)
}

// Unfinished returns the oldest job of that fingerprint that has not ended and
// does not wait for its time; nil where there is none.
func (t *Tx) Unfinished(fingerprint []byte) (*Job, error) {
	var found *Job
	err := t.jobs("SELECT "+jobColumns+" FROM jobs WHERE fingerprint = ? AND stage <> 'closed' AND state <> 'scheduled' ORDER BY id LIMIT 1", []any{fingerprint},
		func(j *Job) error { found = j; return nil })
	return found, err
}

// FileIDUsed returns the job that was accepted with the file id; 0 for none.
func (t *Tx) FileIDUsed(fileID string) (int64, error) {
	var id int64
	err := t.row("SELECT coalesce(max(id), 0) FROM jobs WHERE file_id = ?", fileID).Scan(&id)
	return id, err
}

func (t *Tx) jobs(query string, args []any, each func(*Job) error) error {
	rows, err := t.rows(query, args...)
	if err != nil {
		return fmt.Errorf("reading jobs: %w", err)
	}
	defer rows.Close()
	for rows.Next() {
		j, err := scanJob(rows)
		if err != nil {
			return fmt.Errorf("reading jobs: %w", err)
		}
		if err := each(j); err != nil {
			return err
		}
	}
	return rows.Err()
}

// MoveJob changes a job's state if it is in one of from, and tells whether it
// was.
func (t *Tx) MoveJob(id int64, from []State, to State, reason string) (bool, error) {
	args := []any{string(to), reason, to == Running, t.now, to.Ended(), t.now, to == Paused, t.now, to == Running, id}
	for _, s := range from {
		args = append(args, string(s))
	}
	n, err := t.exec(`UPDATE jobs SET state = ?, reason = ?,
		started = CASE WHEN ? AND started = 0 THEN ? ELSE started END,
		ended = CASE WHEN ? THEN ? ELSE ended END,
		paused_at = CASE WHEN ? AND paused_at = 0 THEN ? WHEN ? AND state = 'paused' THEN 0 ELSE paused_at END
		WHERE id = ? AND state IN (`+placeholders(len(from))+")", args...)
	if err != nil {
		return false, fmt.Errorf("moving job %d to %s: %w", id, to, err)
	}
	return n == 1, nil
}

// HoldJob holds a job because a guard counted too many.
func (t *Tx) HoldJob(id int64, reason string, count int64) error {
	_, err := t.exec("UPDATE jobs SET state = 'held', reason = ?, held_count = ?, held_at = ? WHERE id = ?", reason, count, t.now, id)
	return err
}

// ReleaseJob lets a held job go on, past the guard that held it, or wait for
// its time again.
func (t *Tx) ReleaseJob(j *Job) error {
	if j.Released == nil {
		j.Released = make(map[string]int64)
	}
	j.Released[j.Reason] = j.HeldCount
	released, err := json.Marshal(j.Released)
	if err != nil {
		return err
	}
	n, err := t.exec(`UPDATE jobs SET state = CASE WHEN due > ?1 AND fired = 0 THEN 'scheduled' ELSE 'queued' END,
		fired = CASE WHEN due BETWEEN 1 AND ?1 AND fired = 0 THEN ?1 ELSE fired END, released = ?2, reason = '', held_at = 0 WHERE id = ?3 AND state = 'held'`,
		t.now, string(released), j.ID)
	if err == nil && n == 0 {
		err = ErrStale
	}
	return err
}

// SetStage moves a job to a stage.
func (t *Tx) SetStage(id int64, stage Stage) error {
	_, err := t.exec("UPDATE jobs SET stage = ? WHERE id = ?", string(stage), id)
	return err
}

// SetReport records where the report is.
func (t *Tx) SetReport(id int64, folder string) error {
	_, err := t.exec("UPDATE jobs SET report = ? WHERE id = ?", folder, id)
	return err
}

// OwnJob makes owner the one that works on the job if nobody does, and tells
// whether it is.
func (t *Tx) OwnJob(id int64, owner string) (bool, error) {
	n, err := t.exec("UPDATE jobs SET owner = ? WHERE id = ? AND owner IN ('', ?)", owner, id, owner)
	return n == 1, err
}

// DisownJob ends the owner's work on the job.
func (t *Tx) DisownJob(id int64, owner string) error {
	_, err := t.exec("UPDATE jobs SET owner = '' WHERE id = ? AND owner = ?", id, owner)
	return err
}

// AddCounts adds to the counts of a job; failures are those that count
// towards max_failures.
func (t *Tx) AddCounts(id int64, c Counts, failures int64) error {
	return t.put(putting{what: "counting in job", to: id}, `UPDATE jobs SET selected = selected + ?, updated = updated + ?, skipped = skipped + ?, flagged = flagged + ?,
		failed = failed + ?, not_run = not_run + ?, uncertain = uncertain + ?, failures = failures + ? WHERE id = ?`,
		c.Selected, c.Updated, c.Skipped, c.Flagged, c.Failed, c.NotRun, c.Uncertain, failures, id)
}

// JobState returns the state of a job, and how many failures count towards
// max_failures by now.
func (t *Tx) JobState(id int64) (s State, failures int64, err error) {
	err = t.row("SELECT state, failures FROM jobs WHERE id = ?", id).Scan(&s, &failures)
	return s, failures, err
}

// ResealJobs replaces the sealed key of every job that has one.
func (t *Tx) ResealJobs(again func(id int64, sealed []byte) ([]byte, error)) error {
	rows, err := t.rows("SELECT id, job_key FROM jobs WHERE job_key IS NOT NULL")
	if err != nil {
		return err
	}
	keys := make(map[int64][]byte)
	for rows.Next() {
		var id int64
		var key []byte
		if err := rows.Scan(&id, &key); err != nil {
			rows.Close()
			return err
		}
		keys[id] = key
	}
	if err := errors.Join(rows.Err(), rows.Close()); err != nil {
		return err
	}
	for id, key := range keys {
		key, err := again(id, key)
		if err == nil {
			_, err = t.exec("UPDATE jobs SET job_key = ? WHERE id = ?", key, id)
		}
		if err != nil {
			return fmt.Errorf("sealing the key of job %d anew: %w", id, err)
		}
	}
	return nil
}

// EraseValues forgets every value of the job: without its key nothing that was
// sealed under it can be read again.
func (t *Tx) EraseValues(id int64) error {
	if _, err := t.exec("UPDATE jobs SET job_key = NULL, pin = NULL, password = NULL WHERE id = ?", id); err != nil {
		return err
	}
	_, err := t.exec("UPDATE job_lists SET content = NULL WHERE job = ?", id)
	return err
}

// EraseOld is EraseValues for every closed job that ended before that time.
func (t *Tx) EraseOld(before time.Time) error {
	old := "SELECT id FROM jobs WHERE stage = 'closed' AND job_key IS NOT NULL AND ended < ?"
	if _, err := t.exec("UPDATE job_lists SET content = NULL WHERE job IN ("+old+")", milli(before)); err != nil {
		return err
	}
	if err := t.refuse("its values were erased: retry_within has passed", "kind = 'value' AND job IN ("+old+")", milli(before)); err != nil {
		return err
	}
	_, err := t.exec("UPDATE jobs SET job_key = NULL, pin = NULL, password = NULL WHERE id IN ("+old+")", milli(before))
	return err
}

// AddList keeps a list with its job, sealed.
func (t *Tx) AddList(job int64, name string, sealed []byte) error {
	_, err := t.exec("INSERT INTO job_lists (job, name, content) VALUES (?,?,?)", job, name, sealed)
	return err
}

// List returns a list of a job, sealed.
func (t *Tx) List(job int64, name string) ([]byte, error) {
	var b []byte
	err := t.row("SELECT content FROM job_lists WHERE job = ? AND name = ?", job, name).Scan(&b)
	if errors.Is(err, sql.ErrNoRows) || err == nil && b == nil {
		return nil, fmt.Errorf("list %s of job %d: %w", name, job, ErrNotFound)
	}
	return b, err
}

// LogJob adds a line to a job's log.
func (t *Tx) LogJob(job int64, text string) error {
	_, err := t.exec("INSERT INTO job_log (job, n, at, text) VALUES (?1, (SELECT coalesce(max(n), 0) + 1 FROM job_log WHERE job = ?1), ?2, ?3)",
		job, t.now, strings.ToValidUTF8(text, "\uFFFD"))
	return err
}

// LogLine is a line of a job's log.
type LogLine struct {
	At   time.Time
	Text string
}

// JobLog returns a job's log.
func (t *Tx) JobLog(job int64) ([]LogLine, error) {
	rows, err := t.rows("SELECT at, text FROM job_log WHERE job = ? ORDER BY n", job)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	var lines []LogLine
	for rows.Next() {
		var at int64
		var l LogLine
		if err := rows.Scan(&at, &l.Text); err != nil {
			return nil, err
		}
		l.At = fromMilli(at)
		lines = append(lines, l)
	}
	return lines, rows.Err()
}
