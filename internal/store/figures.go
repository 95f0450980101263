package store

import (
	"errors"
	"fmt"
	"time"

	"github.com/dirpin/dirpin/internal/user"
)

// Figures are what whoever watches dirpin wants to know of the database.
type Figures struct {
	Jobs       map[State]int64 // those too of which there is none
	QueueAge   time.Duration   // of the oldest job that waits and that nobody has begun
	Uncertain  int64           // users, of jobs that can be tried again
	Left       int64           // users without a result, in jobs that run or are paused
	Agreements []AgreementFigures
	Latched    map[string]bool // systems, by name
}

// AgreementFigures are those of an agreement.
type AgreementFigures struct {
	Name      string
	Completed time.Time // when the last complete answer came; zero: none ever did
	Pending   int64     // losses
}

// Figures reads them. No table is read that grows with the users.
func (t *Tx) Figures() (f Figures, err error) {
	f.Jobs, f.Latched = make(map[State]int64), make(map[string]bool)
	for _, s := range []State{Scheduled, Held, Queued, Running, Paused, Done, Incomplete, Stopped, Cancelled, Superseded, Failed} {
		f.Jobs[s] = 0
	}
	var oldest int64
	err = errors.Join(
		t.scanAll("SELECT state, count(*) FROM jobs GROUP BY state", nil, func(r rowScanner) error {
			var s State
			var n int64
			err := r.Scan(&s, &n)
			f.Jobs[s] = n
			return err
		}),
		t.row(`SELECT coalesce(min(CASE WHEN state = 'queued' AND started = 0 THEN CASE WHEN fired > created THEN fired ELSE created END END), 0),
			coalesce(sum(CASE WHEN state IN ('running', 'paused') THEN selected - updated - skipped - flagged - failed - not_run END), 0)
			FROM jobs WHERE stage <> 'closed' AND state IN ('queued', 'running', 'paused')`).Scan(&oldest, &f.Left),
		t.row("SELECT coalesce(sum(uncertain), 0) FROM jobs WHERE job_key IS NOT NULL AND uncertain > 0").Scan(&f.Uncertain),
		t.scanAll("SELECT name, completed_at, (SELECT count(*) FROM pending p WHERE p.agreement = a.name) FROM agreements a ORDER BY name", nil, func(r rowScanner) error {
			var a AgreementFigures
			var at int64
			err := r.Scan(&a.Name, &at, &a.Pending)
			a.Completed = fromMilli(at)
			f.Agreements = append(f.Agreements, a)
			return err
		}),
		t.scanAll("SELECT system FROM latches", nil, func(r rowScanner) error {
			var name string
			err := r.Scan(&name)
			f.Latched[name] = true
			return err
		}),
	)
	if err != nil {
		return f, fmt.Errorf("reading how things stand: %w", err)
	}
	if oldest > 0 {
		f.QueueAge = max(0, t.Now().Sub(fromMilli(oldest)))
	}
	return f, nil
}

// StatusCount is how many users of an agreement have a status.
type StatusCount struct {
	Agreement string // "": local users
	Status    user.Status
	N         int64
}

// CountByStatus counts all users.
func (t *Tx) CountByStatus() (all []StatusCount, err error) {
	err = t.scanAll("SELECT agreement, status, count(*) FROM users GROUP BY agreement, status", nil, func(r rowScanner) error {
		var c StatusCount
		err := r.Scan(&c.Agreement, &c.Status, &c.N)
		all = append(all, c)
		return err
	})
	return all, err
}

// scanAll calls scan for every row of a query.
func (t *Tx) scanAll(query string, args []any, scan func(rowScanner) error) error {
	rows, err := t.rows(query, args...)
	if err != nil {
		return err
	}
	defer rows.Close()
	for rows.Next() {
		if err := scan(rows); err != nil {
			return err
		}
	}
	return rows.Err()
}
