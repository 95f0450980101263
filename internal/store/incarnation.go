package store

import (
	"database/sql"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/dirpin/dirpin/internal/outcome"
)

// Incarnation is by what a database is known again (package incarnation).
type Incarnation struct {
	ID         string // "": of a database that was never marked
	Generation int64
	LastJob    int64     // the highest number that a job was given
	Restored   string    // why nothing is pushed until somebody has looked; "": it is
	Rest       time.Time // of a restored one: until when requests that it does not know may still arrive
	Empty      bool      // there are neither jobs nor users; not written

	// On PostgreSQL: where the database was when it was marked last, and where it
	// is. A dump that was put back, a promoted standby and a recovery to a point
	// in time are elsewhere; not written.
	Place, At string

	Former       []string // the ids that it had before it was released from a restore
	Installation string   // whose marker follows what is written; "": nobody's
}

// Moved says why the database is not where it was marked; "" where it is.
func (in *Incarnation) Moved() string {
	if in.Place == "" || in.Place == in.At {
		return ""
	}
	return "on PostgreSQL it lies at " + in.At + " and was at " + in.Place + " (system/timeline/database/table): it was put back from a dump, recovered to a point in time, or a standby was promoted"
}

const (
	metaIncarnation = "incarnation"
	metaGeneration  = "generation"
	metaLastJob     = "last_job"
	metaRestored    = "restored"
	metaRest        = "restored_rest"
	metaPlace       = "place"
	metaFormer      = "former_incarnations"
)

// Incarnation returns the database's.
func (t *Tx) Incarnation() (in Incarnation, err error) {
	var generation, last, rest, former string
	for name, to := range map[string]*string{metaIncarnation: &in.ID, metaGeneration: &generation, metaLastJob: &last, metaRestored: &in.Restored, metaRest: &rest,
		metaPlace: &in.Place, metaFormer: &former} {
		err := t.row("SELECT value FROM meta WHERE name = ?", name).Scan(to)
		if err != nil && !errors.Is(err, sql.ErrNoRows) {
			return in, fmt.Errorf("reading what the database is: %w", err)
		}
	}
	in.Generation, _ = strconv.ParseInt(generation, 10, 64) // "" is 0
	in.LastJob, _ = strconv.ParseInt(last, 10, 64)
	until, _ := strconv.ParseInt(rest, 10, 64)
	in.Rest, in.Former = fromMilli(until), strings.Fields(former)
	if t.dialect == postgres {
		if in.At, err = t.place(); err != nil {
			return in, err
		}
	}
	var highest int64
	err = t.row(`SELECT coalesce(max(id), 0), NOT EXISTS (SELECT 1 FROM jobs) AND NOT EXISTS (SELECT 1 FROM users) FROM jobs`).Scan(&highest, &in.Empty)
	in.LastJob = max(in.LastJob, highest)
	return in, err
}

// place is where the database is on its server.
func (t *Tx) place() (at string, err error) {
	err = t.row(`SELECT ` + serverIdentity + ` || '/' || (SELECT oid FROM pg_database WHERE datname = current_database()) || '/' || 'meta'::regclass::oid`).Scan(&at)
	if err != nil {
		err = fmt.Errorf("asking where the database is: %w", err)
	}
	return at, err
}

// SetIncarnation writes what the database is from now on.
func (t *Tx) SetIncarnation(in Incarnation) error {
	err := errors.Join(t.setMeta(metaIncarnation, in.ID), t.setMeta(metaGeneration, strconv.FormatInt(in.Generation, 10)),
		t.setMeta(metaLastJob, strconv.FormatInt(in.LastJob, 10)))
	if err == nil && in.At != in.Place {
		err = t.setMeta(metaPlace, in.At)
	}
	if err == nil && len(in.Former) > 0 {
		err = t.setMeta(metaFormer, strings.Join(in.Former, " "))
	}
	if err == nil && in.Installation != "" {
		_, err = t.exec(`INSERT INTO installations (id, generation, seen) VALUES (?1, ?2, ?3)
			ON CONFLICT (id) DO UPDATE SET generation = ?2, seen = ?3`, in.Installation, in.Generation, t.now)
	}
	return err
}

// InstallationAt returns the generation that an installation has raised the
// database to last; false where it is not known. Others may have raised it
// since: by its own an installation knows that the database is older.
func (t *Tx) InstallationAt(id string) (generation int64, known bool, err error) {
	err = t.row("SELECT generation FROM installations WHERE id = ?", id).Scan(&generation)
	if errors.Is(err, sql.ErrNoRows) {
		return 0, false, nil
	}
	return generation, err == nil, err
}

func (t *Tx) setMeta(name, value string) error {
	_, err := t.exec("INSERT INTO meta (name, value) VALUES (?1, ?2) ON CONFLICT (name) DO UPDATE SET value = ?2", name, value)
	if err != nil {
		return fmt.Errorf("writing %s: %w", name, err)
	}
	return nil
}

// ReasonRestored is the reason of a job that is held because the database was
// restored, ReasonInterrupted that of one whose command was told to stop: it waits
// until somebody gives the command again.
const (
	ReasonRestored    = "restored"
	ReasonInterrupted = "interrupted before it was done"
)

// restoredDetail is shown for users whose push a restored database had open.
const restoredDetail = "the database was restored while this push was open: what the mailbox holds is not known, and the request is not sent again"

// RestUntil sets until when a restored database is not released.
func (t *Tx) RestUntil(until time.Time) error {
	return t.setMeta(metaRest, strconv.FormatInt(milli(until), 10))
}

// HoldRestored notes that the database was restored: every job that has not
// ended is held, and every push that it believes to be open ends uncertain. No
// request that it knows is ever sent again. Until the given time requests may
// still arrive, of which it knows nothing, or that these were.
func (t *Tx) HoldRestored(reason string, until time.Time) error {
	if err := errors.Join(t.setMeta(metaRestored, reason), t.RestUntil(until)); err != nil {
		return err
	}
	const inJournal = "EXISTS (SELECT 1 FROM journal j WHERE j.job = legs.job AND j.seq = legs.seq AND j.until = 0"
	for _, q := range []string{
		// What was committed when one of several systems had accepted it is.
		"UPDATE legs SET state = 'final' WHERE state = 'pending' AND result = 'updated' AND " + inJournal + " AND j.kind = legs.kind)",
		"UPDATE legs SET state = 'final', result = 'failed', code = " + uncertainCode + " WHERE state = 'pending' AND " + inJournal + " AND j.kind = legs.kind)",
		"UPDATE parts SET state = 'final', result = 'failed', code = '" + string(outcome.VoicemailTimeout) + "' WHERE state = 'pending' AND EXISTS (SELECT 1 FROM journal j WHERE j.job = parts.job AND j.seq = parts.seq AND j.until = 0)",
		"UPDATE legs SET state = 'final', result = 'not-run', code = '" + string(outcome.Held) + "' WHERE state = 'pending' AND " + inJournal + ")",
	} {
		if _, err := t.exec(q); err != nil {
			return fmt.Errorf("settling what the restored database has open: %w", err)
		}
	}
	const worst = "FROM legs l WHERE l.job = items.job AND l.seq = items.seq ORDER BY CASE l.result WHEN 'failed' THEN 0 WHEN 'not-run' THEN 1 WHEN 'updated' THEN 2 ELSE 3 END, l.kind DESC LIMIT 1)"
	if _, err := t.exec("UPDATE items SET state = 'final', result = (SELECT l.result "+worst+", code = (SELECT l.code "+worst+", detail = ?, at = ? WHERE state = 'pending' AND "+inFlightItem,
		restoredDetail, t.now); err != nil {
		return fmt.Errorf("settling what the restored database has open: %w", err)
	}
	if err := t.countRestored(); err != nil {
		return err
	}
	if err := t.forgetRequests(); err != nil {
		return fmt.Errorf("forgetting the requests of the restored database: %w", err)
	}
	// They may have been sent in the time that is forgotten, and others since.
	if err := t.refuse("the database was restored before it was known to be sent", "1 = 1"); err != nil {
		return err
	}
	for _, q := range []string{
		// Whoever waits may have been pushed in the time that is forgotten, and
		// the value be there already: only an acceptance tells.
		"UPDATE legs SET lost = 1 WHERE state = 'pending' AND kind = 'pin' AND lost = 0 AND job IN (SELECT id FROM jobs WHERE state IN ('scheduled', 'held', 'queued', 'running', 'paused'))",
		"UPDATE batches SET owner = '', epoch = epoch + 1 WHERE owner <> ''",
		"UPDATE jobs SET owner = ''",
		// Whoever was there then; not this process, nor others on the same server.
		"DELETE FROM owners WHERE beat < " + strconv.FormatInt(t.now-Lease.Milliseconds(), 10),
		"INSERT INTO job_log (job, n, at, text) SELECT id, (SELECT coalesce(max(n), 0) + 1 FROM job_log l WHERE l.job = jobs.id), " + strconv.FormatInt(t.now, 10) +
			", 'held: the database was restored' FROM jobs WHERE state IN ('scheduled', 'queued', 'running', 'paused')",
		"UPDATE jobs SET state = 'held', reason = '" + ReasonRestored + "', held_at = " + strconv.FormatInt(t.now, 10) + " WHERE state IN ('scheduled', 'queued', 'running', 'paused')",
	} {
		if _, err := t.exec(q); err != nil {
			return fmt.Errorf("holding the jobs of the restored database: %w", err)
		}
	}
	_, err := t.exec("UPDATE journal SET until = ?, body = NULL WHERE until = 0", milli(until))
	return err
}

// countRestored adds the items that were in flight to the counts of their jobs.
func (t *Tx) countRestored() error {
	rows, err := t.rows(`SELECT i.job, i.result, i.code, count(*) FROM items i JOIN journal j ON j.user_ref = i.user_ref AND j.job = i.job AND j.seq = i.seq AND j.until = 0
		GROUP BY i.job, i.result, i.code`)
	if err != nil {
		return err
	}
	counts, failed := make(map[int64]*Counts), make(map[int64]int64)
	for rows.Next() {
		var job, n int64
		var result outcome.Result
		var code outcome.Code
		if err := rows.Scan(&job, &result, &code, &n); err != nil {
			rows.Close()
			return err
		}
		if counts[job] == nil {
			counts[job] = new(Counts)
		}
		counts[job].AddN(result, code, n)
		if result == outcome.Failed {
			failed[job] += n
		}
	}
	if err := errors.Join(rows.Err(), rows.Close()); err != nil {
		return err
	}
	for job, c := range counts {
		if err := t.AddCounts(job, *c, failed[job]); err != nil {
			return err
		}
	}
	return nil
}

// forgetRequests keeps every request that the restored database knows from
// being sent again, whatever it believes of it: it may have been answered since,
// and an idempotent system would answer "accepted" without setting an old PIN.
// What was to be tried again because an answer was lost stays uncertain.
func (t *Tx) forgetRequests() error {
	rows, err := t.rows(`SELECT DISTINCT job FROM legs WHERE state = 'pending' AND lost > 0
		UNION SELECT DISTINCT p.job FROM parts p JOIN legs l ON l.job = p.job AND l.seq = p.seq AND l.kind = 'pin' AND l.state = 'pending'`)
	if err != nil {
		return err
	}
	var jobs []int64
	for rows.Next() {
		var job int64
		if err := rows.Scan(&job); err != nil {
			rows.Close()
			return err
		}
		jobs = append(jobs, job)
	}
	if err := errors.Join(rows.Err(), rows.Close()); err != nil {
		return err
	}
	for _, job := range jobs {
		if err := errors.Join(t.endLost(job), t.endFailed(job)); err != nil {
			return err
		}
	}
	_, err = t.exec("UPDATE legs SET request_id = '', body = NULL WHERE request_id <> '' OR body IS NOT NULL")
	if err == nil {
		_, err = t.exec("UPDATE parts SET request_id = '', body = NULL WHERE request_id <> '' OR body IS NOT NULL")
	}
	return err
}

// ReleaseRestored lets the jobs go on that HoldRestored has held, and returns
// how many they are.
func (t *Tx) ReleaseRestored() (int64, error) {
	n, err := t.exec("UPDATE jobs SET state = CASE WHEN due > 0 AND fired = 0 THEN 'scheduled' ELSE 'queued' END, reason = '', held_at = 0 WHERE state = 'held' AND reason = ?", ReasonRestored)
	if err == nil {
		_, err = t.exec("DELETE FROM meta WHERE name IN (?, ?)", metaRestored, metaRest)
	}
	if err != nil {
		return 0, fmt.Errorf("releasing the jobs of the restored database: %w", err)
	}
	return n, nil
}
