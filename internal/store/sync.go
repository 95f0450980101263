package store

import (
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/dirpin/dirpin/internal/roster"
	"github.com/dirpin/dirpin/internal/user"
)

// The methods whose names begin with Sync are what a synchronization needs;
// ldapsync.Reader and ldapsync.Writer say what they promise.

// SyncAgreement returns what is known of the agreement.
func (t *Tx) SyncAgreement(name string) (roster.Agreement, error) {
	a := roster.Agreement{Name: name}
	var seed, completed, full, took, serverAt, behind, refused, until int64
	err := t.row(`SELECT seq, kind, key_attribute, directory, seed, scope_fp, map_fp, server, completed_at,
			paging, feed, full_at, full_took_ms, context, server_at, behind_since, refused_at, full_until FROM agreements WHERE name = ?`, name).
		Scan(&a.Seq, &a.Kind, &a.KeyAttribute, &a.Directory, &seed, &a.ScopeFP, &a.MapFP, &a.Server, &completed,
			&a.Paging, &a.Feed, &full, &took, &a.Context, &serverAt, &behind, &refused, &until)
	if errors.Is(err, sql.ErrNoRows) {
		return a, nil
	}
	if err != nil {
		return a, err
	}
	a.Seed, a.CompletedAt = uint64(seed), fromMilli(completed)
	a.FullAt, a.FullTook, a.BehindSince = fromMilli(full), time.Duration(took)*time.Millisecond, fromMilli(behind)
	a.ServerAt, a.RefusedAt, a.FullUntil = fromMilli(serverAt), fromMilli(refused), fromMilli(until)
	return a, nil
}

// SyncCount returns how many SyncIndex yields, and perhaps a few more.
func (t *Tx) SyncCount(agreement string) (n int, err error) {
	err = t.row("SELECT (SELECT count(*) FROM users WHERE agreement = ?1) + (SELECT count(*) FROM exclusions WHERE agreement = ?1)", agreement).Scan(&n)
	return n, err
}

// SyncIndex yields everyone of the agreement, and its exclusions.
func (t *Tx) SyncIndex(agreement string, yield func(roster.Held) error) error {
	rows, err := t.rows(`SELECT entry_key, content_hash, inactive_reason, absent_ms,
			EXISTS (SELECT 1 FROM pending p WHERE p.agreement = users.agreement AND p.entry_key = users.entry_key), FALSE
		FROM users WHERE agreement = ?1 AND entry_key IS NOT NULL
		UNION ALL SELECT entry_key, 0, '', 0, FALSE, TRUE FROM exclusions WHERE agreement = ?1`, agreement)
	if err != nil {
		return err
	}
	defer rows.Close()
	for rows.Next() {
		var h roster.Held
		var hash, absent int64
		if err := rows.Scan(&h.Key, &hash, &h.Inactive, &absent, &h.Pending, &h.Excluded); err != nil {
			return err
		}
		h.Hash, h.Absent = uint64(hash), time.Duration(absent)*time.Millisecond
		if err := yield(h); err != nil {
			return err
		}
	}
	return rows.Err()
}

// SyncPeople returns the users that have one of these keys.
func (t *Tx) SyncPeople(keys []string) ([]roster.Person, error) { return t.people("entry_key", keys) }

// SyncClaimants returns the users whose folded user id is one of these.
func (t *Tx) SyncClaimants(folded []string) ([]roster.Person, error) {
	return t.people("user_id_f", folded)
}

// askAtOnce is how many values one query names.
const askAtOnce = 1000

func (t *Tx) people(column string, values []string) ([]roster.Person, error) {
	var found []roster.Person
	for len(values) > 0 {
		n := min(askAtOnce, len(values))
		args := make([]any, n)
		for i, v := range values[:n] {
			args[i] = v
		}
		values = values[n:]
		rows, err := t.rows("SELECT "+userColumns+`, coalesce(dn_norm, ''), coalesce(manager_dn, ''), content_hash, absent_ms, expires_at, changed_at,
			EXISTS (SELECT 1 FROM in_flight f WHERE f.user_ref = users.id) FROM users WHERE `+column+" IN ("+placeholders(n)+")", args...)
		if err != nil {
			return nil, err
		}
		for rows.Next() {
			var p roster.Person
			var hash, absent, expires, changed int64
			if err := scanUserInto(&p.User, rows, &p.DNNorm, &p.ManagerDN, &hash, &absent, &expires, &changed, &p.InFlight); err != nil {
				rows.Close()
				return nil, err
			}
			p.Expires, p.ChangedAt = fromMilli(expires), fromMilli(changed)
			p.Hash, p.Absent = uint64(hash), time.Duration(absent)*time.Millisecond
			found = append(found, p)
		}
		if err := errors.Join(rows.Err(), rows.Close()); err != nil {
			return nil, err
		}
	}
	return found, nil
}

// SyncManagers returns the user ids of the users with these DNs.
func (t *Tx) SyncManagers(agreement string, dns []string) (map[string]string, error) {
	ids := make(map[string]string, len(dns))
	for len(dns) > 0 {
		n := min(askAtOnce, len(dns))
		args := make([]any, n, n+1)
		for i, dn := range dns[:n] {
			args[i] = dn
		}
		dns = dns[n:]
		// The one that LinkManagers would take comes last.
		rows, err := t.rows("SELECT dn_norm, user_id FROM users WHERE dn_norm IN ("+placeholders(n)+") AND user_id_f IS NOT NULL ORDER BY agreement = ?, id DESC", append(args, agreement)...)
		if err != nil {
			return nil, err
		}
		for rows.Next() {
			var dn, id string
			if err := rows.Scan(&dn, &id); err != nil {
				rows.Close()
				return nil, err
			}
			ids[dn] = id
		}
		if err := errors.Join(rows.Err(), rows.Close()); err != nil {
			return nil, err
		}
	}
	return ids, nil
}

// SyncExpired returns the keys of the active users whose account has ended.
func (t *Tx) SyncExpired(agreement string, now time.Time) ([]string, error) {
	rows, err := t.rows(`SELECT entry_key FROM users WHERE agreement = ? AND expires_at > 0 AND expires_at <= ? AND status = ? ORDER BY entry_key`,
		agreement, milli(now), string(user.Active))
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	var keys []string
	for rows.Next() {
		var key string
		if err := rows.Scan(&key); err != nil {
			return nil, err
		}
		keys = append(keys, key)
	}
	return keys, rows.Err()
}

// SyncPending yields the pending losses of the agreement.
func (t *Tx) SyncPending(agreement, after string, yield func(roster.Loss) error) error {
	rows, err := t.rows(`SELECT p.entry_key, p.kind, p.field, p.user_id, p.dn, p.value, p.evidence, p.server, p.since, p.hash,
			EXISTS (SELECT 1 FROM users u JOIN in_flight f ON f.user_ref = u.id WHERE u.entry_key = p.entry_key)
		FROM pending p WHERE p.agreement = ? AND p.entry_key > ? ORDER BY p.entry_key, p.kind, p.field`, agreement, after)
	if err != nil {
		return err
	}
	defer rows.Close()
	for rows.Next() {
		l := roster.Loss{Agreement: agreement}
		var since, hash int64
		if err := rows.Scan(&l.Key, &l.Kind, &l.Field, &l.UserID, &l.DN, &l.Value, &l.Evidence, &l.Server, &since, &hash, &l.InFlight); err != nil {
			return err
		}
		l.Since, l.Hash = fromMilli(since), uint64(hash)
		if err := yield(l); err != nil {
			return err
		}
	}
	return rows.Err()
}

// SyncRejects yields the rejects of the agreement, or of every one.
func (t *Tx) SyncRejects(agreement string, yield func(roster.Reject) error) error {
	rows, err := t.rows(`SELECT agreement, entry_key, dn, user_id, reason, detail, partial, person, since
		FROM rejects WHERE ?1 = '' OR agreement = ?1 ORDER BY agreement, entry_key`, agreement)
	if err != nil {
		return err
	}
	defer rows.Close()
	for rows.Next() {
		var x roster.Reject
		var since int64
		var person string
		if err := rows.Scan(&x.Agreement, &x.Key, &x.DN, &x.UserID, &x.Reason, &x.Detail, &x.Partial, &person, &since); err != nil {
			return err
		}
		x.Since = fromMilli(since)
		if err := json.Unmarshal([]byte(person), &x.Person); err != nil {
			return fmt.Errorf("reading the rejected entry %s: %w", x.Key, err)
		}
		if err := yield(x); err != nil {
			return err
		}
	}
	return rows.Err()
}

// SyncTally counts for the guard.
func (t *Tx) SyncTally(agreement string, since time.Time, enough int) (roster.Tally, error) {
	y := roster.Tally{Pending: make(map[roster.Measure]int), Applied: make(map[roster.Measure]int)}
	if err := t.measures(y.Pending, "SELECT kind, field, count(*) FROM pending WHERE agreement = ? GROUP BY kind, field", agreement); err != nil {
		return y, err
	}
	err := t.measures(y.Applied, `SELECT kind, field, count(DISTINCT entry_key) FROM applied
		WHERE agreement = ? AND at >= ? AND NOT accepted GROUP BY kind, field`, agreement, milli(since))
	if err != nil {
		return y, err
	}
	if enough == 0 {
		err := t.row("SELECT count(*), count(*) FILTER (WHERE status = ?) FROM users WHERE agreement = ?", string(user.Active), agreement).Scan(&y.Total, &y.Active)
		return y, err
	}
	for _, counts := range []map[roster.Measure]int{y.Pending, y.Applied} {
		for _, n := range counts {
			enough += 200 * n
		}
	}
	err = t.row("SELECT count(*) FROM (SELECT 1 FROM users WHERE agreement = ? AND status = ? LIMIT ?) found", agreement, string(user.Active), enough).Scan(&y.Active)
	y.Total = y.Active
	return y, err
}

func (t *Tx) measures(into map[roster.Measure]int, query string, args ...any) error {
	rows, err := t.rows(query, args...)
	if err != nil {
		return err
	}
	defer rows.Close()
	for rows.Next() {
		var m roster.Measure
		var n int
		if err := rows.Scan(&m.Kind, &m.Field, &n); err != nil {
			return err
		}
		into[m] = n
	}
	return rows.Err()
}

// SyncAdvance raises the agreement's sequence number, or returns
// roster.ErrMoved.
func (t *Tx) SyncAdvance(agreement string, seq int64) error {
	if seq == 0 {
		if _, err := t.exec("INSERT INTO agreements (name) VALUES (?) ON CONFLICT (name) DO NOTHING", agreement); err != nil {
			return err
		}
	}
	n, err := t.exec("UPDATE agreements SET seq = seq + 1 WHERE name = ? AND seq = ?", agreement, seq)
	if err == nil && n == 0 {
		err = roster.ErrMoved
	}
	return err
}

// SyncSave keeps all fields of the agreement but Seq.
func (t *Tx) SyncSave(a roster.Agreement) error {
	_, err := t.exec(`UPDATE agreements SET kind = ?, key_attribute = ?, directory = ?, seed = ?, scope_fp = ?, map_fp = ?, server = ?, completed_at = ?,
		paging = ?, feed = ?, full_at = ?, full_took_ms = ?, context = ?, server_at = ?, behind_since = ?, refused_at = ?, full_until = ? WHERE name = ?`,
		a.Kind, a.KeyAttribute, a.Directory, int64(a.Seed), a.ScopeFP, a.MapFP, a.Server, milli(a.CompletedAt),
		a.Paging, a.Feed, milli(a.FullAt), a.FullTook.Milliseconds(), a.Context, milli(a.ServerAt), milli(a.BehindSince), milli(a.RefusedAt), milli(a.FullUntil), a.Name)
	return err
}
