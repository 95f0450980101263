package store

import (
	"fmt"
	"time"
)

// SyncState is how the synchronizations of an agreement go.
type SyncState struct {
	Agreement string
	Since     time.Time // when it began to be so
	Failures  int       // in a row
	Error     string    // of the last one; "": it went well
}

// SetSyncState notes how a synchronization went. Since stays where it went as
// the one before.
func (t *Tx) SetSyncState(agreement, failure string) error {
	_, err := t.exec(`INSERT INTO sync_states (agreement, since, failures, error) VALUES (?1, ?2, CASE ?3 WHEN '' THEN 0 ELSE 1 END, ?3)
		ON CONFLICT (agreement) DO UPDATE SET
			since = CASE WHEN (sync_states.error = '') = (?3 = '') THEN sync_states.since ELSE ?2 END,
			failures = CASE ?3 WHEN '' THEN 0 ELSE sync_states.failures + 1 END, error = ?3`, agreement, t.now, failure)
	if err != nil {
		return fmt.Errorf("noting how %s was synchronized: %w", agreement, err)
	}
	return nil
}

// EndLeases ends the leases whose holder's name has that part.
func (t *Tx) EndLeases(part string) error {
	condition := t.dialect.contains("holder")
	_, err := t.exec("DELETE FROM leases WHERE "+condition, part)
	if err != nil {
		return fmt.Errorf("taking leases back: %w", err)
	}
	return nil
}

// ForgetSyncStates forgets those of agreements that are not among the names.
func (t *Tx) ForgetSyncStates(configured []string) error {
	if len(configured) == 0 {
		_, err := t.exec("DELETE FROM sync_states")
		return err
	}
	args := make([]any, len(configured))
	for i, name := range configured {
		args[i] = name
	}
	_, err := t.exec("DELETE FROM sync_states WHERE agreement NOT IN ("+placeholders(len(args))+")", args...)
	return err
}

// SyncStates returns them by name.
func (t *Tx) SyncStates() ([]SyncState, error) {
	rows, err := t.rows("SELECT agreement, since, failures, error FROM sync_states ORDER BY agreement")
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	var all []SyncState
	for rows.Next() {
		var s SyncState
		var since int64
		if err := rows.Scan(&s.Agreement, &since, &s.Failures, &s.Error); err != nil {
			return nil, err
		}
		s.Since = fromMilli(since)
		all = append(all, s)
	}
	return all, rows.Err()
}
