package store

import (
	"database/sql"
	"errors"
	"fmt"
)

// Noted records what was found out about the mailbox of a journalled leg. What
// is sent next waits for it. ErrStale: the leg is not in flight.
func (t *Tx) Noted(j *Journalled, note string) error {
	n, err := t.exec("UPDATE journal SET note = ? WHERE user_ref = ? AND request_id = ? AND until = 0", note, j.UserRef, j.RequestID)
	if err == nil && n == 0 {
		err = ErrStale
	}
	if err != nil {
		return fmt.Errorf("noting the mailbox of item %d: %w", j.Seq, err)
	}
	return nil
}

// Mailbox returns the id under which the user's mailbox was found in a system;
// "" where it was not, or under another user id.
func (t *Tx) Mailbox(system string, userRef int64, userID string) (string, error) {
	var mailbox string
	err := t.row("SELECT mailbox FROM mailboxes WHERE system = ? AND user_ref = ? AND user_id = ?", system, userRef, userID).Scan(&mailbox)
	if errors.Is(err, sql.ErrNoRows) {
		return "", nil
	}
	return mailbox, err
}

// SetMailbox keeps where the user's mailbox was found.
func (t *Tx) SetMailbox(system string, userRef int64, userID, mailbox string) error {
	_, err := t.exec(`INSERT INTO mailboxes (system, user_ref, user_id, mailbox) VALUES (?1,?2,?3,?4)
		ON CONFLICT (system, user_ref) DO UPDATE SET user_id = ?3, mailbox = ?4`, system, userRef, userID, mailbox)
	if err != nil {
		return fmt.Errorf("keeping the mailbox of user %d: %w", userRef, err)
	}
	return nil
}
