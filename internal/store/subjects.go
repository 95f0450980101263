package store

import (
	"fmt"
	"slices"

	"github.com/dirpin/dirpin/internal/user"
)

// Subject is a user with what decides whether its credentials may be changed.
type Subject struct {
	User     user.User
	PIN      Changed
	Password Changed
	Before   bool // requests to the user are remembered beside the journal
}

// Changed says how a credential came to be as it is.
type Changed struct {
	Job     int64 // the last job that changed it; 0: none
	Version int64 // 0: the user has no such credential yet
}

// Of returns the credential of that kind.
func (s *Subject) Of(kind string) Changed {
	if kind == PIN {
		return s.PIN
	}
	return s.Password
}

// Subjects calls each for every one of these users that is there, in any
// order. What it is given is its own to keep.
func (t *Tx) Subjects(userRefs []int64, each func(*Subject)) error {
	for part := range slices.Chunk(userRefs, amongMost) {
		if err := t.subjects(part, each); err != nil {
			return fmt.Errorf("reading %d users: %w", len(part), err)
		}
	}
	return nil
}

func (t *Tx) subjects(refs []int64, each func(*Subject)) error {
	among, args := t.dialect.among("users.id", refs)
	rows, err := t.rows(`SELECT `+userColumns+`,
			coalesce(p.job, 0), coalesce(p.version, 0), coalesce(w.job, 0), coalesce(w.version, 0),
			EXISTS (SELECT 1 FROM sent_before b WHERE b.user_ref = users.id)
		FROM users
		LEFT JOIN credentials p ON p.user_ref = users.id AND p.kind = 'pin'
		LEFT JOIN credentials w ON w.user_ref = users.id AND w.kind = 'password'
		WHERE `+among, args...)
	if err != nil {
		return err
	}
	defer rows.Close()
	for rows.Next() {
		s := new(Subject)
		if err := scanUserInto(&s.User, rows, &s.PIN.Job, &s.PIN.Version, &s.Password.Job, &s.Password.Version, &s.Before); err != nil {
			return err
		}
		each(s)
	}
	return rows.Err()
}
