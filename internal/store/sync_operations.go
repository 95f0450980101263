package store

import (
	"fmt"

	"github.com/dirpin/dirpin/internal/roster"
	"github.com/dirpin/dirpin/internal/user"
)

// SyncAgreements returns every agreement that the store knows, by name.
func (t *Tx) SyncAgreements() ([]roster.Agreement, error) {
	rows, err := t.rows("SELECT name FROM agreements UNION SELECT DISTINCT agreement FROM users WHERE agreement <> '' ORDER BY name")
	if err != nil {
		return nil, err
	}
	var names []string
	for rows.Next() {
		var n string
		if err := rows.Scan(&n); err != nil {
			rows.Close()
			return nil, err
		}
		names = append(names, n)
	}
	if err := rows.Err(); err != nil {
		return nil, err
	}
	rows.Close()
	all := make([]roster.Agreement, len(names))
	for i, n := range names {
		if all[i], err = t.SyncAgreement(n); err != nil {
			return nil, err
		}
	}
	return all, nil
}

// agreementTables are those whose rows belong to an agreement by its name.
var agreementTables = []string{"pending", "applied", "rejects", "exclusions", "marks", "containers", "orders"}

// SyncRename moves everything of an agreement to another name, which nothing
// may have yet.
func (t *Tx) SyncRename(from, to string) error {
	for _, table := range append([]string{"users"}, agreementTables...) {
		if _, err := t.exec("UPDATE "+table+" SET agreement = ? WHERE agreement = ?", to, from); err != nil {
			return fmt.Errorf("renaming agreement %s: %w", from, err)
		}
	}
	_, err := t.exec("UPDATE agreements SET name = ?, seq = seq + 1 WHERE name = ?", to, from)
	return err
}

// SyncDetach makes a user local, all users of the agreement where id is 0.
// Credentials stay. The DN is still known, so that it stays the manager of
// those whose entries name it.
func (t *Tx) SyncDetach(agreement string, id int64) (n int64, err error) {
	return t.exec(`UPDATE users SET status = ?, inactive_reason = '', agreement = '', entry_key = NULL, dn = '', manager_dn = NULL, manager_key = NULL,
		manager_dirty = FALSE, content_hash = 0, absent_ms = 0, expires_at = 0, changed_at = ? WHERE agreement = ? AND (id = ?4 OR ?4 = 0)`,
		string(user.Local), t.now, agreement, id)
}

// SyncDrop removes all users of the agreement, with their credentials.
func (t *Tx) SyncDrop(agreement string) (n int64, err error) {
	_, err = t.exec(`UPDATE users SET manager_dirty = TRUE WHERE manager_dn IN (SELECT dn_norm FROM users WHERE agreement = ?)`, agreement)
	if err != nil {
		return 0, err
	}
	return t.exec("DELETE FROM users WHERE agreement = ?", agreement)
}

// SyncInFlight returns how many users of the agreement a job is changing.
func (t *Tx) SyncInFlight(agreement string) (n int64, err error) {
	err = t.row("SELECT count(*) FROM in_flight f JOIN users u ON u.id = f.user_ref WHERE u.agreement = ?", agreement).Scan(&n)
	return n, err
}

// SyncForget removes what is known of an agreement but its users.
func (t *Tx) SyncForget(agreement string) error {
	for _, table := range agreementTables {
		if _, err := t.exec("DELETE FROM "+table+" WHERE agreement = ?", agreement); err != nil {
			return err
		}
	}
	_, err := t.exec("DELETE FROM agreements WHERE name = ?", agreement)
	return err
}

// SyncExclude has the agreement leave a key alone, which was that of a user;
// what was pending of it, or refused, is forgotten.
func (t *Tx) SyncExclude(agreement, key string, id int64) error {
	for _, table := range []string{"pending", "rejects"} {
		if _, err := t.exec("DELETE FROM "+table+" WHERE agreement = ? AND entry_key = ?", agreement, key); err != nil {
			return err
		}
	}
	_, err := t.exec(`INSERT INTO exclusions (agreement, entry_key, user_ref) VALUES (?,?,?)
		ON CONFLICT (agreement, entry_key) DO UPDATE SET user_ref = excluded.user_ref`, agreement, key, id)
	return err
}

// SyncInclude undoes SyncExclude for a user and returns the agreements that
// left its key alone. Their feeds begin anew: none mentions an entry that has
// not changed.
func (t *Tx) SyncInclude(id int64) ([]string, error) {
	rows, err := t.rows("DELETE FROM exclusions WHERE user_ref = ? AND user_ref <> 0 RETURNING agreement", id)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	var names []string
	for rows.Next() {
		var n string
		if err := rows.Scan(&n); err != nil {
			return nil, err
		}
		names = append(names, n)
	}
	if err := rows.Err(); err != nil {
		return nil, err
	}
	rows.Close()
	for _, n := range names {
		if _, err := t.exec("DELETE FROM marks WHERE agreement = ?", n); err != nil {
			return nil, err
		}
	}
	return names, nil
}
