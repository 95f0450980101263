package store

import (
	"encoding/json"
	"errors"
	"fmt"

	"github.com/dirpin/dirpin/internal/roster"
)

// SyncTry runs f; when it returns an error all that it wrote is undone.
func (t *Tx) SyncTry(f func() error) (err error) {
	if _, err := t.exec("SAVEPOINT sync_try"); err != nil {
		return err
	}
	if err = f(); err != nil {
		if _, undo := t.exec("ROLLBACK TO sync_try"); undo != nil {
			return errors.Join(err, undo)
		}
	}
	if _, release := t.exec("RELEASE sync_try"); release != nil {
		return errors.Join(err, release)
	}
	return err
}

// SyncApply writes the changes of a synchronization.
func (t *Tx) SyncApply(agreement string, c roster.Changes) error {
	for i := range c.Remove {
		if err := t.syncRemove(agreement, &c.Remove[i]); err != nil {
			return err
		}
	}
	if err := t.syncPut(agreement, c.Put); err != nil {
		return err
	}
	if err := t.syncPark(agreement, c.Mentioned, c.Park); err != nil {
		return err
	}
	for i := range c.Applied {
		l := &c.Applied[i]
		if _, err := t.exec(`INSERT INTO applied (agreement, at, entry_key, kind, field, user_id, dn, value, evidence, server, accepted)
			VALUES (?,?,?,?,?,?,?,?,?,?,?)`, agreement, milli(l.Since), l.Key, string(l.Kind), string(l.Field), l.UserID, l.DN, l.Value, l.Evidence, l.Server, l.Accepted); err != nil {
			return err
		}
	}
	for i := range c.Reject {
		if err := t.syncReject(agreement, &c.Reject[i]); err != nil {
			return err
		}
	}
	return t.syncAdmit(agreement, c.Admit)
}

// syncAdmit forgets rejects. Nearly always there are none.
func (t *Tx) syncAdmit(agreement string, keys []string) error {
	any, err := t.any("SELECT EXISTS (SELECT 1 FROM rejects WHERE agreement = ?)", agreement)
	if err != nil || !any {
		return err
	}
	for _, key := range keys {
		if _, err := t.exec("DELETE FROM rejects WHERE agreement = ? AND entry_key = ?", agreement, key); err != nil {
			return err
		}
	}
	return nil
}

func (t *Tx) any(query string, args ...any) (yes bool, err error) {
	err = t.row(query, args...).Scan(&yes)
	return yes, err
}

// ErrJobHolds says that a user cannot be removed while a job changes it.
var errJobHolds = errors.New("a job is changing the user at this moment")

func (t *Tx) syncRemove(agreement string, p *roster.Person) error {
	job, err := t.InFlight(p.ID)
	if err != nil {
		return err
	}
	if job != 0 {
		return &roster.RowError{Key: p.Key, Err: errJobHolds}
	}
	if err := t.markReports(p.ID); err != nil {
		return err
	}
	if _, err := t.exec("DELETE FROM users WHERE id = ?", p.ID); err != nil {
		return err
	}
	_, err = t.exec("DELETE FROM pending WHERE agreement = ? AND entry_key = ?", agreement, p.Key)
	return err
}

// markReports has the manager found again of everyone whose manager the stored
// user is, by its DN or by its key.
func (t *Tx) markReports(id int64) error {
	_, err := t.exec(`UPDATE users SET manager_dirty = TRUE WHERE manager_dn = (SELECT dn_norm FROM users WHERE id = ?1)
		OR manager_key = (SELECT entry_key FROM users WHERE id = ?1)`, id)
	return err
}

func (t *Tx) syncPark(agreement string, mentioned []string, park []roster.Loss) error {
	type which struct{ key, kind, field string }
	old := make(map[which]int64)
	any, err := t.any("SELECT EXISTS (SELECT 1 FROM pending WHERE agreement = ?)", agreement)
	if err != nil {
		return err
	}
	if !any {
		mentioned = nil
	}
	for _, key := range mentioned {
		rows, err := t.rows("SELECT kind, field, since FROM pending WHERE agreement = ? AND entry_key = ?", agreement, key)
		if err != nil {
			return err
		}
		any := false
		for rows.Next() {
			w := which{key: key}
			var since int64
			if err := rows.Scan(&w.kind, &w.field, &since); err != nil {
				rows.Close()
				return err
			}
			old[w], any = since, true
		}
		if err := errors.Join(rows.Err(), rows.Close()); err != nil {
			return err
		}
		if !any {
			continue
		}
		if _, err := t.exec("DELETE FROM pending WHERE agreement = ? AND entry_key = ?", agreement, key); err != nil {
			return err
		}
	}
	for i := range park {
		l := &park[i]
		since := milli(l.Since)
		if s, ok := old[which{l.Key, string(l.Kind), string(l.Field)}]; ok {
			since = s
		}
		if _, err := t.exec(`INSERT INTO pending (agreement, entry_key, kind, field, user_id, dn, value, evidence, server, since, hash)
			VALUES (?,?,?,?,?,?,?,?,?,?,?) ON CONFLICT (agreement, entry_key, kind, field) DO UPDATE SET
			user_id = excluded.user_id, dn = excluded.dn, value = excluded.value, evidence = excluded.evidence, server = excluded.server, hash = excluded.hash`,
			agreement, l.Key, string(l.Kind), string(l.Field), l.UserID, l.DN, l.Value, l.Evidence, l.Server, since, int64(l.Hash)); err != nil {
			return err
		}
	}
	return nil
}

func (t *Tx) syncReject(agreement string, x *roster.Reject) error {
	person, err := json.Marshal(x.Person)
	if err != nil {
		return fmt.Errorf("keeping the rejected entry %s: %w", x.Key, err)
	}
	_, err = t.exec(`INSERT INTO rejects (agreement, entry_key, dn, user_id, reason, detail, partial, person, since) VALUES (?,?,?,?,?,?,?,?,?)
		ON CONFLICT (agreement, entry_key) DO UPDATE SET dn = excluded.dn, user_id = excluded.user_id, reason = excluded.reason,
		detail = excluded.detail, partial = excluded.partial, person = excluded.person`,
		agreement, x.Key, x.DN, x.UserID, x.Reason, x.Detail, x.Partial, string(person), milli(x.Since))
	return err
}

// LinkManagers finds the managers of everyone who is marked.
func (t *Tx) LinkManagers() (dangling int, err error) {
	t.naming = nil // some are not marked any more
	if err := t.linkByKey(); err != nil {
		return 0, fmt.Errorf("linking managers by key: %w", err)
	}
	// A DN is looked up in the user's own agreement first.
	_, err = t.exec(`UPDATE users SET (manager, manager_f) = (SELECT coalesce(max(f.user_id), ''), coalesce(max(f.user_id_f), '') FROM
			(SELECT m.user_id, m.user_id_f FROM users m WHERE m.dn_norm = users.manager_dn AND m.user_id_f IS NOT NULL
			ORDER BY m.agreement = users.agreement DESC, m.id LIMIT 1) f)
		WHERE manager_dirty AND status <> 'local' AND manager_key IS NULL`)
	if err != nil {
		return 0, fmt.Errorf("linking managers: %w", err)
	}
	if err := t.row("SELECT count(*) FROM users WHERE manager_dirty AND status <> 'local' AND manager_dn IS NOT NULL AND manager_f = ''").Scan(&dangling); err != nil {
		return 0, err
	}
	_, err = t.exec("UPDATE users SET manager_dirty = FALSE WHERE manager_dirty")
	return dangling, err
}

// linkByKey links the marked users of Active Directory. A link that was found
// is kept by key as long as the entry names the same DN: it follows the
// manager, and the text does not.
func (t *Tx) linkByKey() error {
	var some bool
	err := t.row("SELECT EXISTS (SELECT 1 FROM agreements WHERE kind = 'ad')").Scan(&some)
	if err != nil || !some {
		return err
	}
	_, err = t.exec(`UPDATE users SET manager_key = (SELECT m.entry_key FROM users m WHERE m.dn_norm = users.manager_dn AND m.user_id_f IS NOT NULL
			ORDER BY m.agreement = users.agreement DESC, m.id LIMIT 1)
		WHERE manager_dirty AND status <> 'local' AND manager_key IS NULL AND agreement IN (SELECT name FROM agreements WHERE kind = 'ad')`)
	if err != nil {
		return err
	}
	_, err = t.exec(`UPDATE users SET (manager, manager_f) = (SELECT coalesce(max(m.user_id), ''), coalesce(max(m.user_id_f), '')
			FROM users m WHERE m.entry_key = users.manager_key AND m.user_id_f IS NOT NULL)
		WHERE manager_dirty AND status <> 'local' AND manager_key IS NOT NULL`)
	return err
}
