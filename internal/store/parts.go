package store

import (
	"database/sql"
	"fmt"

	"github.com/dirpin/dirpin/internal/outcome"
)

// Part is what became of a leg at one of several systems. A leg that goes to
// one system has none.
type Part struct {
	System    string
	N         int    // its place in the configuration
	State     string // Pending: taken along by a retry, to be sent again; Final
	Result    outcome.Result
	Code      outcome.Code // "": it was not asked
	Detail    string
	RequestID string
	Body      []byte // the exact request, sealed under the job's key; kept where an answer was lost
	Note      string
	Attempts  int
	Lost      int
}

// PutPart writes what became of an item's PIN at one system.
func (t *Tx) PutPart(job, seq int64, p *Part) error {
	body := p.Body
	if p.Lost == 0 {
		body = nil
	}
	_, err := t.exec(`INSERT INTO parts (job, seq, system, n, state, result, code, detail, request_id, body, note, attempts, lost)
		VALUES (?1,?2,?3,?4,?5,?6,?7,?8,?9,?10,?11,?12,?13)
		ON CONFLICT (job, seq, system) DO UPDATE SET n = ?4, state = ?5, result = ?6, code = ?7, detail = ?8,
			request_id = ?9, body = ?10, note = ?11, attempts = ?12, lost = ?13`,
		job, seq, p.System, p.N, p.State, string(p.Result), string(p.Code), p.Detail, p.RequestID, body, p.Note, p.Attempts, p.Lost)
	if err != nil {
		return fmt.Errorf("writing item %d at %s: %w", seq, p.System, err)
	}
	return nil
}

// CommittedEarly notes that a leg's secret is committed although not every
// system of the user has been asked yet: whatever the others say, it ends
// updated.
func (t *Tx) CommittedEarly(job, seq int64, kind string) error {
	n, err := t.exec("UPDATE legs SET result = 'updated', code = ? WHERE job = ? AND seq = ? AND kind = ? AND state <> 'final'", string(outcome.OK), job, seq, kind)
	if err == nil && n == 0 {
		err = ErrStale
	}
	if err != nil {
		return fmt.Errorf("committing item %d: %w", seq, err)
	}
	return nil
}

const partColumns = "seq, system, n, state, result, code, detail, request_id, body, note, attempts, lost"

// partsOf calls each for the parts of a job's items that the condition names,
// by item and place.
func (t *Tx) partsOf(job int64, where string, args []any, each func(seq int64, p Part)) error {
	rows, err := t.rows("SELECT "+partColumns+" FROM parts WHERE job = ? AND "+where+" ORDER BY seq, n, system", append([]any{job}, args...)...)
	if err != nil {
		return fmt.Errorf("reading what the systems of users said in job %d: %w", job, err)
	}
	defer rows.Close()
	for rows.Next() {
		var seq int64
		var p Part
		if err := rows.Scan(&seq, &p.System, &p.N, &p.State, &p.Result, &p.Code, &p.Detail, &p.RequestID, &p.Body, &p.Note, &p.Attempts, &p.Lost); err != nil {
			return err
		}
		each(seq, p)
	}
	return rows.Err()
}

// HasParts tells whether an item of the range has parts already.
func (t *Tx) HasParts(job, first, last int64) (has bool, err error) {
	err = t.row("SELECT EXISTS (SELECT 1 FROM parts WHERE job = ? AND seq >= ? AND seq <= ?)", job, first, last).Scan(&has)
	return has, err
}

// AddParts gives the PIN legs of these items, which are in order, their parts.
func (t *Tx) AddParts(job int64, todo []ToDo) error {
	if len(todo) == 0 {
		return nil
	}
	i := 0
	return t.partsOf(job, "seq >= ? AND seq <= ?", []any{todo[0].Seq, todo[len(todo)-1].Seq}, func(seq int64, p Part) {
		for i < len(todo) && todo[i].Seq < seq {
			i++
		}
		if i < len(todo) && todo[i].Seq == seq {
			addPart(todo[i].Legs, p)
		}
	})
}

func addPart(legs []Leg, p Part) {
	for i := range legs {
		if legs[i].Kind == PIN {
			legs[i].Parts = append(legs[i].Parts, p)
		}
	}
}

// SystemCodes returns how many users of a job ended with each code at each of
// several systems; nil where nobody has several.
func (t *Tx) SystemCodes(job int64) (map[string]map[outcome.Code]int64, error) {
	rows, err := t.rows("SELECT system, code, count(*) FROM parts WHERE job = ? AND state = 'final' GROUP BY system, code", job)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	var all map[string]map[outcome.Code]int64
	for rows.Next() {
		var system string
		var code outcome.Code
		var n int64
		if err := rows.Scan(&system, &code, &n); err != nil {
			return nil, err
		}
		if all == nil {
			all = make(map[string]map[outcome.Code]int64)
		}
		if all[system] == nil {
			all[system] = make(map[outcome.Code]int64)
		}
		if code == "" {
			code = NotAsked
		}
		all[system][code] += n
	}
	return all, rows.Err()
}

// Accepted tells whether a system has accepted the PIN of some user of the job.
func (t *Tx) Accepted(job int64, system string) (bool, error) {
	return t.any("SELECT EXISTS (SELECT 1 FROM legs WHERE job = ?1 AND system = ?2 AND code = 'ok') OR EXISTS (SELECT 1 FROM parts WHERE job = ?1 AND system = ?2 AND code = 'ok')", job, system)
}

// NotAsked stands in reports in the place of the code of a system that was not
// asked, since another one had refused the PIN before.
const NotAsked = outcome.Code(outcome.NotRun)

// Journal rows of a user at other systems.

// freeBefore returns a *ClaimedError while a request of another item of the
// user, that was sent before the one in the journal, may still arrive.
func (t *Tx) freeBefore(j *Journalled) error {
	var job, until int64
	err := t.row("SELECT job, until FROM sent_before WHERE user_ref = ? AND until > ? AND request_id <> ? AND NOT (job = ? AND seq = ?) ORDER BY until DESC LIMIT 1",
		j.UserRef, t.now, j.RequestID, j.Job, j.Seq).Scan(&job, &until)
	if err == sql.ErrNoRows {
		return nil
	}
	if err != nil {
		return fmt.Errorf("asking who changed user %d before: %w", j.UserRef, err)
	}
	return &ClaimedError{Job: job, Until: fromMilli(until)}
}

// stepAside makes room in the journal for a request to another system than the
// last: what is known of that one is kept beside. 0: there is none, or it is in
// the way.
func (t *Tx) stepAside(j *Journalled) (int64, error) {
	const mine = " FROM journal WHERE user_ref = ?1 AND system <> ?2 AND until <> 0 AND (until <= ?3 OR job = ?4 AND seq = ?5)"
	n, err := t.exec(`INSERT INTO sent_before (user_ref, system, job, seq, kind, request_id, until)
		SELECT user_ref, system, job, seq, kind, request_id, until`+mine+`
		ON CONFLICT (user_ref, system) DO UPDATE SET job = excluded.job, seq = excluded.seq, kind = excluded.kind, request_id = excluded.request_id, until = excluded.until`,
		j.UserRef, j.System, t.now, j.Job, j.Seq)
	if err == nil && n > 0 {
		n, err = t.exec("DELETE"+mine, j.UserRef, j.System, t.now, j.Job, j.Seq)
	}
	if err != nil {
		return 0, fmt.Errorf("keeping what was sent before: %w", err)
	}
	return n, nil
}

// Hold keeps the user of a leg in flight when one of its systems has answered
// and another is to be asked: in the journal stands that nothing of it is on the
// way. Until the given time a lost attempt may still arrive. ErrStale: it was not
// in flight.
func (t *Tx) Hold(j *Journalled, until int64) error {
	_, err := t.exec(`INSERT INTO sent_before (user_ref, system, job, seq, kind, request_id, until) VALUES (?1,?2,?3,?4,?5,?6,?7)
		ON CONFLICT (user_ref, system) DO UPDATE SET job = ?3, seq = ?4, kind = ?5, request_id = ?6, until = ?7`,
		j.UserRef, j.System, j.Job, j.Seq, j.Kind, j.RequestID, max(until, 1))
	if err != nil {
		return fmt.Errorf("keeping what was sent of item %d: %w", j.Seq, err)
	}
	return t.HoldUnsent(j)
}

// HoldUnsent is Hold for a leg that surely was not sent.
func (t *Tx) HoldUnsent(j *Journalled) error {
	n, err := t.exec("UPDATE journal SET request_id = '', system = '', body = NULL, note = '', attempts = 0, lost = 0 WHERE user_ref = ? AND request_id = ? AND until = 0", j.UserRef, j.RequestID)
	if err == nil && n == 0 {
		err = ErrStale
	}
	if err != nil {
		return fmt.Errorf("keeping the user of item %d: %w", j.Seq, err)
	}
	return nil
}

// Aside takes a settled leg out of the journal whose item has another secret to
// be pushed: to somewhere else, where it cannot be overtaken.
func (t *Tx) Aside(j *Journalled, until int64) error {
	if err := t.Hold(j, until); err != nil {
		return err
	}
	_, err := t.exec("DELETE FROM journal WHERE user_ref = ? AND job = ? AND seq = ? AND request_id = '' AND until = 0", j.UserRef, j.Job, j.Seq)
	return err
}

// ForgetSent forgets the requests of an item that ended well, of which none may
// still arrive.
func (t *Tx) ForgetSent(userRef, job, seq int64) error {
	_, err := t.exec("DELETE FROM sent_before WHERE user_ref = ? AND job = ? AND seq = ? AND until <= ?", userRef, job, seq, t.now)
	return err
}

// TakeSent makes a request that was settled another item's, which has taken it
// along.
func (t *Tx) TakeSent(userRef int64, requestID string, job, seq int64) error {
	for _, table := range []string{"journal", "sent_before"} {
		if _, err := t.exec("UPDATE "+table+" SET job = ?, seq = ? WHERE user_ref = ? AND request_id = ? AND until <> 0", job, seq, userRef, requestID); err != nil {
			return fmt.Errorf("taking over the request of item %d: %w", seq, err)
		}
	}
	return nil
}
