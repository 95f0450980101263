package store

import (
	"fmt"
	"time"

	"github.com/dirpin/dirpin/internal/user"
)

const retriable = "state = 'final' AND result IN ('failed', 'not-run')"

// MarkRetried gives the failed and not-run items of a job that have no
// successor to another job, and returns how many those are.
func (t *Tx) MarkRetried(job, by int64) (int64, error) {
	n, err := t.exec("UPDATE items SET retried_by = ? WHERE job = ? AND retried_by = 0 AND "+retriable, by, job)
	if err != nil {
		return 0, fmt.Errorf("handing the items of job %d on: %w", job, err)
	}
	return n, nil
}

// Retries says what became of the failed and not-run items of a job: how many
// have no successor, and the last job that took some; 0: none did.
func (t *Tx) Retries(job int64) (left, last int64, err error) {
	err = t.row("SELECT count(*) FILTER (WHERE retried_by = 0), coalesce(max(retried_by), 0) FROM items WHERE job = ? AND "+retriable, job).Scan(&left, &last)
	return left, last, err
}

// UnfinishedRetry returns the job that tries a job's items again and has not
// ended; 0 where there is none.
func (t *Tx) UnfinishedRetry(of int64) (int64, error) {
	var id int64
	err := t.row("SELECT coalesce(max(id), 0) FROM jobs WHERE retry_of = ? AND stage <> 'closed'", of).Scan(&id)
	return id, err
}

// Retried is an item that another job tries again.
type Retried struct {
	Seq     int64
	UserRef int64 // 0: named nobody
	UserID  string
	Line    int
	User    *user.User // as it is now; nil: it was removed, or named nobody
	Legs    []Leg      // those that failed or were not run
}

// RetriedItems calls each for every item of a job that was given to another,
// in order.
func (t *Tx) RetriedItems(job, by int64, each func(*Retried) error) error {
	parts := make(map[int64][]Part)
	err := t.partsOf(job, "seq IN (SELECT seq FROM items WHERE job = ? AND retried_by = ?)", []any{job, by}, func(seq int64, p Part) { parts[seq] = append(parts[seq], p) })
	if err != nil {
		return err
	}
	rows, err := t.rows(`SELECT i.seq, coalesce(i.user_ref, 0), i.user_id, i.line, users.id IS NOT NULL,
			l.kind, l.result, l.code, l.value, l.request_id, l.system, l.body, l.attempts, l.lost, l.note,
			coalesce(users.id, 0), coalesce(users.user_id, ''), coalesce(users.first_name, ''), coalesce(users.middle_name, ''),
			coalesce(users.last_name, ''), coalesce(users.manager, ''), coalesce(users.department, ''), coalesce(users.mail, ''),
			coalesce(users.telephone, ''), coalesce(users.language, ''), coalesce(users.status, ''), coalesce(users.inactive_reason, ''),
			coalesce(users.agreement, ''), coalesce(users.dn, ''), coalesce(users.entry_key, '')
		FROM items i JOIN legs l ON l.job = i.job AND l.seq = i.seq AND l.result IN ('failed', 'not-run')
		LEFT JOIN users ON users.id = i.user_ref
		WHERE i.job = ? AND i.retried_by = ? ORDER BY i.seq, l.kind DESC`, job, by)
	if err != nil {
		return fmt.Errorf("reading the items of job %d: %w", job, err)
	}
	defer rows.Close()
	var last *Retried
	for rows.Next() {
		var it Retried
		var l Leg
		var u user.User
		var there bool
		var departments string
		if err := rows.Scan(&it.Seq, &it.UserRef, &it.UserID, &it.Line, &there,
			&l.Kind, &l.Result, &l.Code, &l.Value, &l.RequestID, &l.System, &l.Body, &l.Attempts, &l.Lost, &l.Note,
			&u.ID, &u.UserID, &u.FirstName, &u.MiddleName, &u.LastName, &u.Manager, &departments, &u.Mail,
			&u.Telephone, &u.Language, &u.Status, &u.InactiveReason, &u.Agreement, &u.DN, &u.Key); err != nil {
			return fmt.Errorf("reading the items of job %d: %w", job, err)
		}
		if l.Kind == PIN {
			l.Parts = parts[it.Seq]
		}
		if last != nil && last.Seq == it.Seq {
			last.Legs = append(last.Legs, l)
			continue
		}
		if last != nil {
			if err := each(last); err != nil {
				return err
			}
		}
		if there {
			if u.Departments, err = decodeDepartments(departments); err != nil {
				return err
			}
			it.User = &u
		}
		it.Legs = []Leg{l}
		last = &it
	}
	if err := rows.Err(); err != nil || last == nil {
		return err
	}
	return each(last)
}

// ExpiredHolds returns the jobs that have been held since before that time. One
// whose time has not come is not among them: its values are kept no longer than
// if nobody held it.
func (t *Tx) ExpiredHolds(before time.Time) ([]int64, error) {
	rows, err := t.rows("SELECT id FROM jobs WHERE state = 'held' AND held_at > 0 AND held_at < ? AND (due = 0 OR fired > 0)", milli(before))
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	var ids []int64
	for rows.Next() {
		var id int64
		if err := rows.Scan(&id); err != nil {
			return nil, err
		}
		ids = append(ids, id)
	}
	return ids, rows.Err()
}
