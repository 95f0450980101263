package store

import (
	"database/sql"
	"errors"
	"fmt"
	"time"
)

// The kinds of credential.
const (
	PIN      = "pin"
	Password = "password"
)

// Credential is a user's PIN or password as it is held.
type Credential struct {
	Hash          string // PHC or bcrypt; "" where none was ever set
	ChangedAt     time.Time
	MustChange    bool
	CannotChange  bool
	DoesNotExpire bool
	Locked        bool // by an administrator
	Attempts      int  // wrong ones in a row
	AttemptsSince time.Time
	LockedUntil   time.Time // by wrong attempts
	Job           int64     // the last job that changed it; 0: none
	Version       int64     // 0: the user has no such credential yet
}

const credentialColumns = `hash, changed_at, must_change, cannot_change, does_not_expire, locked,
	attempts, attempts_since, locked_until, job, version`

func (c *Credential) scan(r rowScanner) error {
	var changed, since, until int64
	err := r.Scan(&c.Hash, &changed, &c.MustChange, &c.CannotChange, &c.DoesNotExpire, &c.Locked,
		&c.Attempts, &since, &until, &c.Job, &c.Version)
	c.ChangedAt, c.AttemptsSince, c.LockedUntil = fromMilli(changed), fromMilli(since), fromMilli(until)
	return err
}

// Credential returns a user's credential; the zero Credential where there is
// none.
func (t *Tx) Credential(userRef int64, kind string) (Credential, error) {
	var c Credential
	err := c.scan(t.row("SELECT "+credentialColumns+" FROM credentials WHERE user_ref = ? AND kind = ?", userRef, kind))
	if errors.Is(err, sql.ErrNoRows) {
		return Credential{}, nil
	}
	if err != nil {
		return c, fmt.Errorf("reading the %s: %w", kind, err)
	}
	return c, nil
}

// SetCredential replaces a user's credential if it still has the version that
// c was read with, and tells whether it did. The new version is one higher.
func (t *Tx) SetCredential(userRef int64, kind string, c Credential) (bool, error) {
	if c.Version == 0 {
		n, err := t.exec("INSERT INTO credentials (user_ref, kind, version) VALUES (?,?,1) ON CONFLICT (user_ref, kind) DO NOTHING", userRef, kind)
		if err != nil || n == 0 {
			return false, err
		}
		c.Version = 1
	}
	n, err := t.exec(`UPDATE credentials SET hash = ?, changed_at = ?, must_change = ?, cannot_change = ?, does_not_expire = ?,
		locked = ?, attempts = ?, attempts_since = ?, locked_until = ?, job = ?, version = version + 1
		WHERE user_ref = ? AND kind = ? AND version = ?`,
		c.Hash, milli(c.ChangedAt), c.MustChange, c.CannotChange, c.DoesNotExpire,
		c.Locked, c.Attempts, milli(c.AttemptsSince), milli(c.LockedUntil), c.Job,
		userRef, kind, c.Version)
	return n == 1, err
}

// NewSecret is a secret that a job commits. Settings that are nil stay as they
// are.
type NewSecret struct {
	Hash          string
	Tag           []byte // for the history; nil keeps none
	KeepHistory   int    // how many former values are kept beside this one
	Changes       int64  // the credential's version when it was last read: how often it was written
	Job           int64
	MustChange    *bool
	CannotChange  *bool
	DoesNotExpire *bool
	Locked        *bool
	ClearAttempts *bool
}

// CommitSecret makes the secret the user's, whatever the credential's version:
// it was accepted elsewhere, or nothing else decides. It takes the user off
// the work list.
func (t *Tx) CommitSecret(userRef int64, kind string, s NewSecret) error {
	if err := t.unflag(userRef); err != nil {
		return err
	}
	// RETURNING version would make the statement three times as costly.
	err := t.put(putting{what: "committing the secret of user", to: userRef}, `INSERT INTO credentials (user_ref, kind, hash, changed_at, must_change, cannot_change, does_not_expire, locked, job, version)
		VALUES (?1, ?2, ?3, ?4, coalesce(?5, FALSE), coalesce(?6, FALSE), coalesce(?7, FALSE), coalesce(?8, FALSE), ?9, 1)
		ON CONFLICT (user_ref, kind) DO UPDATE SET hash = ?3, changed_at = ?4,
			must_change = coalesce(?5, credentials.must_change), cannot_change = coalesce(?6, credentials.cannot_change),
			does_not_expire = coalesce(?7, credentials.does_not_expire), locked = coalesce(?8, credentials.locked), job = ?9,
			attempts = CASE WHEN ?10 THEN 0 ELSE credentials.attempts END,
			attempts_since = CASE WHEN ?10 THEN 0 ELSE credentials.attempts_since END,
			locked_until = CASE WHEN ?10 THEN 0 ELSE credentials.locked_until END,
			version = credentials.version + 1`,
		userRef, kind, s.Hash, t.now, s.MustChange, s.CannotChange, s.DoesNotExpire, s.Locked, s.Job,
		s.ClearAttempts != nil && *s.ClearAttempts)
	if err == nil && s.Tag != nil {
		err = t.put(putting{what: "recording the history of user", to: userRef}, `INSERT INTO history (user_ref, kind, version, tag)
			VALUES (?1, ?2, (SELECT version FROM credentials WHERE user_ref = ?1 AND kind = ?2), ?3)`, userRef, kind, s.Tag)
	}
	// The current value is the newest row; verify's writes raise versions too,
	// so rows are counted, not subtracted.
	if err == nil && s.Changes >= int64(s.KeepHistory) {
		err = t.put(putting{what: "trimming the history of user", to: userRef}, `DELETE FROM history WHERE user_ref = ?1 AND kind = ?2 AND version <
			(SELECT min(version) FROM (SELECT version FROM history WHERE user_ref = ?1 AND kind = ?2 ORDER BY version DESC LIMIT ?3) kept)`,
			userRef, kind, s.KeepHistory+1)
	}
	return err
}

// ChangedElsewhere records the job that has changed a credential which is not
// held here, so that an older one does not change it back. It takes the user
// off the work list.
func (t *Tx) ChangedElsewhere(userRef int64, kind string, job int64) error {
	_, err := t.exec(`INSERT INTO credentials (user_ref, kind, job, version) VALUES (?1, ?2, ?3, 1)
		ON CONFLICT (user_ref, kind) DO UPDATE SET job = ?3, version = credentials.version + 1`, userRef, kind, job)
	if err != nil {
		return fmt.Errorf("noting the %s: %w", kind, err)
	}
	return t.unflag(userRef)
}

// unflag takes a user off the work list. Most of the time nobody is on it.
func (t *Tx) unflag(userRef int64) error {
	if t.noFlags == 0 {
		var some bool
		if err := t.row("SELECT EXISTS (SELECT 1 FROM flags)").Scan(&some); err != nil {
			return fmt.Errorf("reading the work list: %w", err)
		}
		t.noFlags = 1
		if some {
			t.noFlags = -1
		}
	}
	if t.noFlags == 1 {
		return nil
	}
	return t.put(putting{what: "taking off the work list user", to: userRef}, "DELETE FROM flags WHERE user_ref = ?", userRef)
}

// History returns the tags of a user's values, the present one among them,
// newest first.
func (t *Tx) History(userRef int64, kind string, limit int) ([][]byte, error) {
	rows, err := t.rows("SELECT tag FROM history WHERE user_ref = ? AND kind = ? ORDER BY version DESC LIMIT ?", userRef, kind, limit)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	var tags [][]byte
	for rows.Next() {
		var tag []byte
		if err := rows.Scan(&tag); err != nil {
			return nil, err
		}
		tags = append(tags, tag)
	}
	return tags, rows.Err()
}

// KeyChecks returns what each key of the ring must compute, by its name.
func (t *Tx) KeyChecks() (map[string][]byte, error) {
	rows, err := t.rows("SELECT key_id, check_value FROM key_checks")
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	checks := make(map[string][]byte)
	for rows.Next() {
		var id string
		var v []byte
		if err := rows.Scan(&id, &v); err != nil {
			return nil, err
		}
		checks[id] = v
	}
	return checks, rows.Err()
}

// AddKeyChecks records the keys that the database has not seen yet.
func (t *Tx) AddKeyChecks(checks map[string][]byte) error {
	for id, v := range checks {
		if _, err := t.exec("INSERT INTO key_checks (key_id, check_value) VALUES (?,?) ON CONFLICT (key_id) DO NOTHING", id, v); err != nil {
			return fmt.Errorf("recording key %s: %w", id, err)
		}
	}
	return nil
}
