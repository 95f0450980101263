package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"time"
)

// Owner is a process that works on jobs.
type Owner struct {
	ID      string
	Host    string
	PID     int
	Keys    string // ids of the keys of its ring, with commas
	Started time.Time
	Beat    time.Time // when it last said that it lives
}

// Lease is how long after its last beat an owner is believed to live, where no
// lock tells.
const Lease = 30 * time.Second

// AddOwner records a process.
func (t *Tx) AddOwner(o Owner) error {
	_, err := t.exec("INSERT INTO owners (id, host, pid, keys, started, beat) VALUES (?1,?2,?3,?4,?5,?5)", o.ID, o.Host, o.PID, o.Keys, t.now)
	if err != nil {
		return fmt.Errorf("recording this process: %w", err)
	}
	return nil
}

// SetOwnerKeys notes the ids of the keys that a process has.
func (t *Tx) SetOwnerKeys(owner, keys string) error {
	_, err := t.exec("UPDATE owners SET keys = ? WHERE id = ?", keys, owner)
	return err
}

// OwnerPushes notes for how long a push of the owner may last, where that is
// longer than it was: nobody takes its work over while one may be under way that
// began within its lease.
func (t *Tx) OwnerPushes(owner string, longest time.Duration) error {
	_, err := t.exec("UPDATE owners SET lasts = ?1 WHERE id = ?2 AND lasts < ?1", (Lease + longest).Milliseconds(), owner)
	return err
}

// LeaseOver tells whether an owner has been silent for so long that it is dead
// to us: it starts nothing by itself any more, and nothing of it can be under
// way. It is asked in the transaction that takes its work.
func (t *Tx) LeaseOver(owner string) (over bool, err error) {
	query := "SELECT beat + lasts <= ? FROM owners WHERE id = ?"
	if t.dialect == postgres { // a beat may come at this moment
		query += " FOR UPDATE"
	}
	err = t.row(query, t.now, owner).Scan(&over)
	if errors.Is(err, sql.ErrNoRows) {
		return true, nil
	}
	return over, err
}

// Beat says that the owner lives, and tells whether it may go on: its row is
// gone once somebody took it for dead (ErrFenced), and an upgraded database is
// a newer program's (*NewerError). On PostgreSQL it waits for no writer: a long
// transaction of another node is no sign of anybody's death.
func (s *Store) Beat(ctx context.Context, owner string) error {
	if s.dialect != postgres {
		return s.Write(ctx, func(tx *Tx) error { return tx.beat(owner) })
	}
	ctx, cancel := context.WithTimeout(ctx, beatWithin)
	defer cancel()
	return s.onServer(ctx, s.write.db, nil, func(tx *Tx) error {
		if !s.server.ownClock {
			if err := tx.row("SELECT (extract(epoch FROM clock_timestamp()) * 1000)::bigint").Scan(&tx.now); err != nil {
				return err
			}
		}
		return tx.beat(owner)
	})
}

// beatWithin is how long a beat is waited for: one that comes later is of no
// use.
const beatWithin = 5 * time.Second

func (t *Tx) beat(owner string) error {
	n, err := t.exec("UPDATE owners SET beat = ? WHERE id = ?", t.now, owner)
	if err != nil {
		return err
	}
	if n == 0 {
		return ErrFenced
	}
	var has int64
	if err := t.row("SELECT max(version_id) FROM goose_db_version WHERE is_applied").Scan(&has); err != nil {
		return err
	}
	if has > schemaVersion {
		return &NewerError{Path: t.name, Has: has, Can: schemaVersion}
	}
	return nil
}

// Owners returns every process that is recorded, and whoever else holds a job
// or a batch, of which only the ID is known.
func (t *Tx) Owners() ([]Owner, error) {
	rows, err := t.rows(`SELECT id, host, pid, keys, started, beat FROM owners
		UNION ALL SELECT owner, '', 0, '', 0, 0 FROM (SELECT owner FROM batches WHERE owner <> '' UNION SELECT owner FROM jobs WHERE owner <> '') working
			WHERE owner NOT IN (SELECT id FROM owners)`)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	var owners []Owner
	for rows.Next() {
		var o Owner
		var started, beat int64
		if err := rows.Scan(&o.ID, &o.Host, &o.PID, &o.Keys, &started, &beat); err != nil {
			return nil, err
		}
		o.Started, o.Beat = fromMilli(started), fromMilli(beat)
		owners = append(owners, o)
	}
	return owners, rows.Err()
}

// RemoveOwner forgets a process that ends in order.
func (t *Tx) RemoveOwner(owner string) error {
	if _, err := t.exec("DELETE FROM pauses WHERE owner = ?", owner); err != nil {
		return err
	}
	_, err := t.exec("DELETE FROM owners WHERE id = ?", owner)
	return err
}

// Orphan takes the jobs and batches of an owner who is surely dead away from
// it. Its running jobs wait in the queue again.
func (t *Tx) Orphan(owner, reason string) error {
	_, err := t.exec("UPDATE batches SET owner = '', epoch = epoch + 1 WHERE owner = ?", owner)
	if err == nil {
		_, err = t.exec(`UPDATE jobs SET owner = '', reason = CASE WHEN state IN ('running', 'paused') THEN ? ELSE reason END,
			state = CASE WHEN state IN ('running', 'paused') THEN 'queued' ELSE state END WHERE owner = ?`, reason, owner)
	}
	if err == nil {
		err = t.RemoveOwner(owner)
	}
	if err != nil {
		return fmt.Errorf("taking over from %s: %w", owner, err)
	}
	return nil
}
