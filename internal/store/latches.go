package store

import (
	"errors"
	"fmt"
	"time"
)

// Latch says that a voicemail system denied us. It holds for every job and
// every process until the system's configuration has another fingerprint, or
// somebody has seen that it answers.
type Latch struct {
	System      string
	Fingerprint []byte // keyed hash of its configuration and secret
	Message     string
	Since       time.Time
}

// SetLatch keeps everybody from a system.
func (t *Tx) SetLatch(l Latch) error {
	_, err := t.exec(`INSERT INTO latches (system, fingerprint, message, since) VALUES (?1,?2,?3,?4)
		ON CONFLICT (system) DO UPDATE SET fingerprint = ?2, message = ?3, since = ?4`, l.System, append([]byte{}, l.Fingerprint...), l.Message, t.now)
	if err != nil {
		return fmt.Errorf("recording that %s denies us: %w", l.System, err)
	}
	return nil
}

// LiftLatch lets a system be used again, and tells whether it was latched.
func (t *Tx) LiftLatch(system string) (bool, error) {
	n, err := t.exec("DELETE FROM latches WHERE system = ?", system)
	return n > 0, err
}

// Latches returns those that are set.
func (t *Tx) Latches() (ls []Latch, err error) {
	rows, err := t.rows("SELECT system, fingerprint, message, since FROM latches ORDER BY system")
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, rows.Close()) }()
	for rows.Next() {
		var l Latch
		var since int64
		if err := rows.Scan(&l.System, &l.Fingerprint, &l.Message, &since); err != nil {
			return nil, err
		}
		l.Since = fromMilli(since)
		ls = append(ls, l)
	}
	return ls, rows.Err()
}
