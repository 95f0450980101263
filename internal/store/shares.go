package store

import (
	"errors"
	"fmt"
	"time"
)

// Sharer is a process that pushes: it has batches in hand. What systems allow is
// shared among all that there are.
type Sharer struct {
	ID string

	// Beside names the sharers, sorted and with commas, beside whom it takes no
	// more than its part. It is empty for one that believes to be alone.
	Beside string
}

// Sharers returns them in the order of their IDs.
func (t *Tx) Sharers() (all []Sharer, err error) {
	rows, err := t.rows(`SELECT pushing.owner, coalesce(o.beside, '') FROM (SELECT DISTINCT owner FROM batches WHERE owner <> '') pushing
		LEFT JOIN owners o ON o.id = pushing.owner ORDER BY pushing.owner`)
	if err != nil {
		return nil, fmt.Errorf("asking who pushes: %w", err)
	}
	defer func() { err = errors.Join(err, rows.Close()) }()
	for rows.Next() {
		var s Sharer
		if err := rows.Scan(&s.ID, &s.Beside); err != nil {
			return nil, err
		}
		all = append(all, s)
	}
	return all, rows.Err()
}

// SetBeside says beside whom the owner takes no more than its part.
func (t *Tx) SetBeside(owner, beside string) error {
	n, err := t.exec("UPDATE owners SET beside = ? WHERE id = ?", beside, owner)
	if err == nil && n == 0 {
		err = ErrFenced
	}
	return err
}

// SetWorks notes what jobs run with in the owner's process.
func (t *Tx) SetWorks(owner, works string) error {
	_, err := t.exec("UPDATE owners SET works = ? WHERE id = ?", works, owner)
	return err
}

// Works returns what SetWorks noted of the owner; "" where it is not on record.
func (t *Tx) Works(owner string) (works string, err error) {
	err = t.row("SELECT coalesce(max(works), '') FROM owners WHERE id = ?", owner).Scan(&works)
	return works, err
}

// BatchesLeft returns how many batches of a job nobody has in hand and are not
// done, and how many others than owner have in hand.
func (t *Tx) BatchesLeft(job int64, owner string) (free, others int, err error) {
	err = t.row(`SELECT count(*) FILTER (WHERE owner = '' AND state = 'open'), count(*) FILTER (WHERE owner NOT IN ('', ?))
		FROM batches WHERE job = ?`, owner, job).Scan(&free, &others)
	return free, others, err
}

// Pause says that a process has paused a system, because its breaker is open.
type Pause struct {
	System      string
	Fingerprint []byte
	For         time.Duration // from now
	Reason      string
}

// SetPause lets others know of a pause.
func (t *Tx) SetPause(owner string, p Pause) error {
	_, err := t.exec(`INSERT INTO pauses (system, owner, fingerprint, until, reason) VALUES (?1,?2,?3,?4,?5)
		ON CONFLICT (system, owner) DO UPDATE SET fingerprint = ?3, until = ?4, reason = ?5`,
		p.System, owner, append([]byte{}, p.Fingerprint...), t.now+p.For.Milliseconds(), p.Reason)
	return err
}

// EndPause ends one.
func (t *Tx) EndPause(owner, system string) error {
	_, err := t.exec("DELETE FROM pauses WHERE owner = ? AND system = ?", owner, system)
	return err
}

// Pauses returns those of others than owner that are not over.
func (t *Tx) Pauses(owner string) (ps []Pause, err error) {
	rows, err := t.rows("SELECT system, fingerprint, until, reason FROM pauses WHERE owner <> ? AND until > ?", owner, t.now)
	if err != nil {
		return nil, fmt.Errorf("asking what others have paused: %w", err)
	}
	defer func() { err = errors.Join(err, rows.Close()) }()
	for rows.Next() {
		var p Pause
		var until int64
		if err := rows.Scan(&p.System, &p.Fingerprint, &until, &p.Reason); err != nil {
			return nil, err
		}
		p.For = time.Duration(until-t.now) * time.Millisecond
		ps = append(ps, p)
	}
	return ps, rows.Err()
}
