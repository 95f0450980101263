package store

import (
	"database/sql"
	"errors"
	"fmt"

	"github.com/dirpin/dirpin/internal/outcome"
	"github.com/dirpin/dirpin/internal/user"
)

// The states of items and legs. An item with a row in the journal is pushing;
// in its own row it is pending until it is final.
const (
	Pending = "pending" // nothing was done yet
	Pushing = "pushing" // journalled: the other system may have been asked
	Final   = "final"   // has its result
)

// Item is one user's part of a job, as it is written when the job opens.
type Item struct {
	Seq     int64
	UserRef int64 // 0: names nobody here
	UserID  string
	Line    int // of the list that named the user; 0: none
	State   string
	Result  outcome.Result
	Code    outcome.Code
	Detail  string
	Status  string
	At      int64 // milliseconds; 0 until it ended
	Legs    []Leg
}

// Leg is one credential of an item.
type Leg struct {
	Kind      string
	State     string
	Result    outcome.Result
	Code      outcome.Code
	Value     []byte // sealed under the job's key; nil: the job's own value
	RequestID string // "" until it is journalled
	System    string
	Body      []byte // the exact request, sealed under the job's key; kept where an answer was lost
	Note      string // what was known of the mailbox then
	Attempts  int
	Lost      int
	Parts     []Part // by system, where there are several
}

// AddItem writes an item and its legs when the job opens.
func (t *Tx) AddItem(job int64, it *Item) error {
	ref := sql.NullInt64{Int64: it.UserRef, Valid: it.UserRef != 0}
	_, err := t.exec(`INSERT INTO items (job, seq, user_ref, user_id, line, state, result, code, detail, status, at)
		VALUES (?,?,?,?,?,?,?,?,?,?,?)`, job, it.Seq, ref, it.UserID, it.Line, it.State,
		string(it.Result), string(it.Code), it.Detail, it.Status, it.At)
	if err != nil {
		return fmt.Errorf("writing item %d: %w", it.Seq, err)
	}
	for i := range it.Legs {
		l := &it.Legs[i]
		if _, err := t.exec("INSERT INTO legs (job, seq, kind, state, result, code, value) VALUES (?,?,?,?,?,?,?)",
			job, it.Seq, l.Kind, l.State, string(l.Result), string(l.Code), l.Value); err != nil {
			return fmt.Errorf("writing item %d: %w", it.Seq, err)
		}
		for n := range l.Parts {
			if err := t.PutPart(job, it.Seq, &l.Parts[n]); err != nil {
				return err
			}
		}
		if l.RequestID == "" && l.Lost == 0 {
			continue
		}
		if err := t.keepRequest(job, it.Seq, l); err != nil {
			return fmt.Errorf("writing item %d: %w", it.Seq, err)
		}
	}
	return nil
}

// keepRequest keeps with a leg what was sent, or may have been: it is sent
// again under the same id or not at all.
func (t *Tx) keepRequest(job, seq int64, l *Leg) error {
	_, err := t.exec("UPDATE legs SET request_id = ?, system = ?, body = ?, attempts = ?, lost = ?, note = ? WHERE job = ? AND seq = ? AND kind = ?",
		l.RequestID, l.System, l.Body, l.Attempts, l.Lost, l.Note, job, seq, l.Kind)
	return err
}

// HasItems tells whether the job has any.
func (t *Tx) HasItems(job int64) (bool, error) {
	var n int
	err := t.row("SELECT count(*) FROM (SELECT 1 FROM items WHERE job = ? LIMIT 1) found", job).Scan(&n)
	return n > 0, err
}

// DropItems forgets up to limit items of a job that was cut while it opened,
// with its batches and counts, and tells whether there may be more.
func (t *Tx) DropItems(job int64, limit int) (bool, error) {
	for _, q := range []string{
		"DELETE FROM parts WHERE job = ?1 AND seq IN (SELECT seq FROM items WHERE job = ?1 ORDER BY seq LIMIT ?2)",
		"DELETE FROM legs WHERE job = ?1 AND seq IN (SELECT seq FROM items WHERE job = ?1 ORDER BY seq LIMIT ?2)",
		"DELETE FROM items WHERE job = ?1 AND seq IN (SELECT seq FROM items WHERE job = ?1 ORDER BY seq LIMIT ?2)",
	} {
		n, err := t.exec(q, job, limit)
		if err != nil {
			return false, fmt.Errorf("starting job %d over: %w", job, err)
		}
		if n >= int64(limit) {
			continue
		}
	}
	if left, err := t.HasItems(job); err != nil || left {
		return left, err
	}
	if _, err := t.exec("DELETE FROM batches WHERE job = ?", job); err != nil {
		return false, err
	}
	_, err := t.exec("UPDATE jobs SET selected=0, updated=0, skipped=0, flagged=0, failed=0, not_run=0, uncertain=0, failures=0 WHERE id = ?", job)
	return false, err
}

// ToDo is an item that is pending, or was cut while it was pushed.
type ToDo struct {
	Seq     int64
	UserRef int64
	UserID  string
	Legs    []Leg       // all of them
	Sent    *Journalled // what was cut; nil: nothing
}

// ToDo returns up to limit items of the range that are not final, in order,
// behind seq after, without the parts of their legs (AddParts).
func (t *Tx) ToDo(job, after, last int64, limit int) ([]ToDo, error) {
	rows, err := t.rows(`SELECT i.seq, coalesce(i.user_ref, 0), i.user_id,
			l.kind, l.state, l.result, l.code, l.value, l.request_id, l.system, l.body, l.attempts, l.lost, l.note,
			coalesce(j.kind, ''), coalesce(j.request_id, ''), coalesce(j.system, ''), coalesce(j.entry_key, ''), j.body,
			coalesce(j.attempts, 0), coalesce(j.lost, 0), coalesce(j.first_at, 0), coalesce(j.note, '')
		FROM (SELECT seq, user_ref, user_id FROM items
			WHERE job = ?1 AND seq > ?2 AND seq <= ?3 AND state <> 'final' ORDER BY seq LIMIT ?4) i
		JOIN legs l ON l.job = ?1 AND l.seq = i.seq
		LEFT JOIN journal j ON j.user_ref = i.user_ref AND j.job = ?1 AND j.seq = i.seq AND j.until = 0
		ORDER BY i.seq, l.kind DESC`, job, after, last, limit)
	if err != nil {
		return nil, fmt.Errorf("reading the items of job %d: %w", job, err)
	}
	defer rows.Close()
	var todo []ToDo
	for rows.Next() {
		var it ToDo
		var l Leg
		var j Journalled
		if err := rows.Scan(&it.Seq, &it.UserRef, &it.UserID, &l.Kind, &l.State, &l.Result, &l.Code,
			&l.Value, &l.RequestID, &l.System, &l.Body, &l.Attempts, &l.Lost, &l.Note,
			&j.Kind, &j.RequestID, &j.System, &j.EntryKey, &j.Body, &j.Attempts, &j.Lost, &j.FirstAt, &j.Note); err != nil {
			return nil, err
		}
		if n := len(todo); n == 0 || todo[n-1].Seq != it.Seq {
			if j.Kind != "" {
				j.UserRef, j.Job, j.Seq = it.UserRef, job, it.Seq
				it.Sent = &j
			}
			todo = append(todo, it)
		}
		last := &todo[len(todo)-1]
		last.Legs = append(last.Legs, l)
	}
	return todo, rows.Err()
}

// inFlightItem tells whether an item is being pushed.
const inFlightItem = "EXISTS (SELECT 1 FROM journal j WHERE j.user_ref = items.user_ref AND j.job = items.job AND j.seq = items.seq AND j.until = 0)"

// EndPending ends every pending item of the job as not run, and returns how
// many there were. Items that are being pushed are left to whoever settles
// them.
//
// An item of which a leg has failed already ends as failed, with that code. So
// does one that was to be tried again because an answer was lost: it stays
// uncertain, and keeps its request. A retry that ends before it was opened gives
// back what it had taken.
func (t *Tx) EndPending(job int64, code outcome.Code) (int64, error) {
	if err := t.giveBack(job); err != nil {
		return 0, err
	}
	if err := t.endLost(job); err != nil {
		return 0, err
	}
	if err := t.endFailed(job); err != nil {
		return 0, err
	}
	if _, err := t.exec(`UPDATE legs SET state = 'final', result = 'not-run', code = ? WHERE job = ? AND state = 'pending'
		AND seq IN (SELECT seq FROM items WHERE job = ? AND state = 'pending' AND NOT `+inFlightItem+")", string(code), job, job); err != nil {
		return 0, err
	}
	n, err := t.exec("UPDATE items SET state = 'final', result = 'not-run', code = ?, at = ? WHERE job = ? AND state = 'pending' AND NOT "+inFlightItem,
		string(code), t.now, job)
	if err != nil {
		return 0, err
	}
	return n, t.AddCounts(job, Counts{NotRun: n}, 0)
}

// giveBack lets the items of another job be tried again that a retry has taken
// and not opened, if nobody is opening it.
func (t *Tx) giveBack(job int64) error {
	_, err := t.exec(`UPDATE items SET retried_by = 0
		WHERE job = (SELECT retry_of FROM jobs WHERE id = ?1 AND stage = 'opening' AND owner = '') AND retried_by = ?1
		AND NOT EXISTS (SELECT 1 FROM items n WHERE n.job = ?1 AND n.user_ref = items.user_ref)`, job)
	return err
}

// accepted tells whether one of several systems has accepted the PIN of a leg,
// lostPart whether an answer of one was lost.
const (
	accepted = "(legs.kind = 'pin' AND EXISTS (SELECT 1 FROM parts p WHERE p.job = legs.job AND p.seq = legs.seq AND p.result = 'updated' AND p.code = 'ok'))"
	lostPart = "(legs.kind = 'pin' AND EXISTS (SELECT 1 FROM parts p WHERE p.job = legs.job AND p.seq = legs.seq AND p.lost > 0 AND p.result <> 'updated'))"
)

// uncertainCode is the code of a leg that may have changed something, or has.
const uncertainCode = "CASE WHEN " + accepted + " THEN '" + string(outcome.VoicemailPartial) + "' WHEN kind = 'pin' THEN '" +
	string(outcome.VoicemailTimeout) + "' ELSE '" + string(outcome.DirectoryTimeout) + "' END"

// endLost ends the pending legs of which an answer was lost in an earlier job,
// or that some systems have accepted in it.
func (t *Tx) endLost(job int64) error {
	const open = " state = 'pending' AND seq IN (SELECT seq FROM items WHERE job = ?1 AND state = 'pending' AND NOT " + inFlightItem + ")"
	if _, err := t.exec("UPDATE legs SET state = 'final', result = 'failed', code = "+uncertainCode+
		" WHERE job = ?1 AND (lost > 0 OR "+accepted+" OR "+lostPart+") AND"+open, job); err != nil {
		return err
	}
	_, err := t.exec("UPDATE parts SET state = 'final', result = 'failed', code = ?2 WHERE job = ?1 AND lost > 0 AND"+open, job, string(outcome.VoicemailTimeout))
	return err
}

// endFailed ends the pending items that have a failed leg. Nothing was tried for
// them now, so they don't count against max_failures.
func (t *Tx) endFailed(job int64) error {
	const failed = "EXISTS (SELECT 1 FROM legs l WHERE l.job = items.job AND l.seq = items.seq AND l.result = 'failed')"
	const first = "(SELECT l.code FROM legs l WHERE l.job = items.job AND l.seq = items.seq AND l.result = 'failed' ORDER BY l.kind DESC LIMIT 1)"
	rows, err := t.rows("SELECT "+first+" AS code, count(*) FROM items WHERE job = ? AND state = 'pending' AND NOT "+inFlightItem+" AND "+failed+" GROUP BY 1", job)
	if err != nil {
		return err
	}
	var counts Counts
	for rows.Next() {
		var code outcome.Code
		var n int64
		if err := rows.Scan(&code, &n); err != nil {
			rows.Close()
			return err
		}
		counts.AddN(outcome.Failed, code, n)
	}
	if err := errors.Join(rows.Err(), rows.Close()); err != nil || counts.Failed == 0 {
		return err
	}
	if _, err := t.exec("UPDATE items SET state = 'final', result = 'failed', at = ?, code = "+first+
		" WHERE job = ? AND state = 'pending' AND NOT "+inFlightItem+" AND "+failed, t.now, job); err != nil {
		return err
	}
	if _, err := t.exec(`UPDATE legs SET state = 'final', result = 'not-run', code = ? WHERE job = ? AND state = 'pending'
		AND EXISTS (SELECT 1 FROM items i WHERE i.job = legs.job AND i.seq = legs.seq AND i.state = 'final')`, string(outcome.Cancelled), job); err != nil {
		return err
	}
	return t.AddCounts(job, counts, 0)
}

// CountOpen returns how many items of a job are pending and how many are being
// pushed.
func (t *Tx) CountOpen(job int64) (pending, pushing int64, err error) {
	err = t.row(`SELECT (SELECT count(*) FROM items WHERE job = ?1 AND state <> 'final'),
		(SELECT count(*) FROM journal WHERE job = ?1 AND until = 0)`, job).Scan(&pending, &pushing)
	return pending - pushing, pushing, err
}

// ReportRow is an item with all that a report says about it.
type ReportRow struct {
	Item
	FirstName  string
	LastName   string
	Department string
	Mail       string
	PIN        Leg // its System names each with its code, where there are several
	Password   Leg
	EndedAt    int64
	Behind     bool // not all of several systems have accepted the PIN
}

// Report calls each for every item of a job in order.
func (t *Tx) Report(job int64, each func(*ReportRow) error) error {
	rows, err := t.rows(`SELECT i.seq, coalesce(i.user_ref, 0), coalesce(u.user_id, i.user_id), i.line, i.state, i.result, i.code, i.detail,
			CASE WHEN i.status = '' THEN coalesce(u.status, '') ELSE i.status END, i.at,
			coalesce(u.first_name, ''), coalesce(u.last_name, ''), coalesce(u.department, ''), coalesce(u.mail, ''),
			coalesce(p.result, ''), coalesce(p.code, ''), p.value,
			coalesce((SELECT `+t.dialect.joined("s.system || ' ' || CASE s.code WHEN '' THEN s.result ELSE s.code END", "; ")+`
				FROM (SELECT system, code, result FROM parts WHERE job = i.job AND seq = i.seq AND state = 'final' ORDER BY n, system) s), p.system, ''),
			coalesce(w.result, ''), coalesce(w.code, ''), w.value,
			EXISTS (SELECT 1 FROM parts WHERE job = i.job AND seq = i.seq AND state = 'final' AND result <> 'updated')
		FROM items i
		LEFT JOIN users u ON u.id = i.user_ref
		LEFT JOIN legs p ON p.job = i.job AND p.seq = i.seq AND p.kind = 'pin'
		LEFT JOIN legs w ON w.job = i.job AND w.seq = i.seq AND w.kind = 'password'
		WHERE i.job = ? ORDER BY i.seq`, job)
	if err != nil {
		return fmt.Errorf("reading the items of job %d: %w", job, err)
	}
	defer rows.Close()
	for rows.Next() {
		var r ReportRow
		var department string
		if err := rows.Scan(&r.Seq, &r.UserRef, &r.UserID, &r.Line, &r.State, &r.Result, &r.Code, &r.Detail,
			&r.Status, &r.EndedAt, &r.FirstName, &r.LastName, &department, &r.Mail,
			&r.PIN.Result, &r.PIN.Code, &r.PIN.Value, &r.PIN.System,
			&r.Password.Result, &r.Password.Code, &r.Password.Value, &r.Behind); err != nil {
			return fmt.Errorf("reading the items of job %d: %w", job, err)
		}
		ds, err := decodeDepartments(department)
		if err != nil {
			return err
		}
		r.Department = (&user.User{Departments: ds}).Department()
		if err := each(&r); err != nil {
			return err
		}
	}
	return rows.Err()
}

// CodeCounts returns how many items of a job ended with each code.
func (t *Tx) CodeCounts(job int64) (map[outcome.Code]int64, error) {
	rows, err := t.rows("SELECT code, count(*) FROM items WHERE job = ? AND state = 'final' GROUP BY code", job)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	counts := make(map[outcome.Code]int64)
	for rows.Next() {
		var c outcome.Code
		var n int64
		if err := rows.Scan(&c, &n); err != nil {
			return nil, err
		}
		counts[c] = n
	}
	return counts, rows.Err()
}
