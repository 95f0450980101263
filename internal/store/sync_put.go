package store

import (
	"errors"
	"fmt"

	"github.com/dirpin/dirpin/internal/roster"
	"github.com/dirpin/dirpin/internal/user"
)

// syncPut writes people. Those who are there give up their user ids first, so
// that a swap or a chain finds every id free.
func (t *Tx) syncPut(agreement string, people []roster.Person) error {
	for i := range people {
		if people[i].ID == 0 {
			continue
		}
		if err := t.markReports(people[i].ID); err != nil {
			return err
		}
		if _, err := t.exec("UPDATE users SET user_id_f = NULL WHERE id = ?", people[i].ID); err != nil {
			return err
		}
	}
	byKey, err := t.any("SELECT EXISTS (SELECT 1 FROM agreements WHERE name = ? AND kind = 'ad')", agreement)
	if err != nil {
		return err
	}
	for len(people) > 0 {
		n := min(askAtOnce, len(people))
		// Whoever names one of these as manager, perhaps in vain until now, is
		// marked: the new ones among themselves know without that.
		if err := t.markNaming(people[:n]); err != nil {
			return err
		}
		boss, err := t.bosses(agreement, people[:n])
		if err != nil {
			return err
		}
		for i := range people[:n] {
			if err := t.syncPutOne(agreement, byKey, &people[i], boss); err != nil {
				return err
			}
		}
		people = people[n:]
	}
	return nil
}

// markNaming has the manager found again of everyone who names one of these
// people.
func (t *Tx) markNaming(people []roster.Person) error {
	var dns, keys []string
	for i := range people {
		if people[i].DNNorm != "" {
			dns = append(dns, people[i].DNNorm)
		}
		if people[i].Key != "" {
			keys = append(keys, people[i].Key)
		}
	}
	if err := t.execIn("UPDATE users SET manager_dirty = TRUE WHERE NOT manager_dirty AND manager_dn IN ", dns); err != nil {
		return err
	}
	return t.execIn("UPDATE users SET manager_dirty = TRUE WHERE NOT manager_dirty AND manager_key IN ", keys)
}

// Rows of users as a synchronization writes them.
const (
	syncColumns = writtenColumns + ", dn_norm, manager_dn, content_hash, absent_ms, expires_at, manager_key, manager_dirty"
	syncInsert  = "INSERT INTO users (" + syncColumns + ", manager, manager_f) VALUES (?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?)"
	syncUpdate  = "UPDATE users SET (" + syncColumns + ") = (?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?, CASE WHEN manager_dn IS NOT DISTINCT FROM ? THEN manager_key END, TRUE) WHERE id = ?"
)

// syncPutOne writes one person. A new one gets its manager if that is among the
// bosses, and is one of them from now on.
func (t *Tx) syncPutOne(agreement string, byKey bool, p *roster.Person, boss map[string]manager) error {
	args := t.written(&p.User, orNull(p.DNNorm), orNull(p.ManagerDN), int64(p.Hash), p.Absent.Milliseconds(), milli(p.Expires))
	query := syncUpdate
	if p.ID == 0 {
		m, found := boss[p.ManagerDN]
		if !byKey { // see linkByKey
			m.key = ""
		}
		query, args = syncInsert, append(args, orNull(m.key), !found && p.ManagerDN != "", m.id, m.folded)
	} else {
		args = append(args, orNull(p.ManagerDN), p.ID)
	}
	_, err := t.exec(query, args...)
	if IsRowFault(err) {
		return &roster.RowError{Key: p.Key, Err: err}
	}
	if err != nil {
		return fmt.Errorf("storing the entry %s: %w", p.Key, err)
	}
	if p.DropPassword {
		if _, err := t.exec("DELETE FROM credentials WHERE user_ref = ? AND kind = 'password'", p.ID); err != nil {
			return err
		}
	}
	if _, known := boss[p.DNNorm]; !known && p.ID == 0 && p.DNNorm != "" && p.Agreement == agreement {
		boss[p.DNNorm] = manager{p.UserID, user.Fold(p.UserID), p.Key}
	}
	return nil
}

// manager is what a row keeps of its manager.
type manager struct{ id, folded, key string }

// bosses returns the managers of those among the people who are new, by DN, as
// far as they are in the same agreement: then LinkManagers would find the same,
// at the price of a second write. Those who are about to move have no folded
// user id at that moment, and are not among them.
func (t *Tx) bosses(agreement string, people []roster.Person) (map[string]manager, error) {
	found := make(map[string]manager)
	asked := make(map[string]bool)
	var dns []string
	for i := range people {
		if dn := people[i].ManagerDN; people[i].ID == 0 && dn != "" && !asked[dn] && people[i].Agreement == agreement {
			asked[dn] = true
			dns = append(dns, dn)
		}
	}
	err := t.rowsIn("SELECT dn_norm, user_id, user_id_f, coalesce(entry_key, '') FROM users WHERE agreement || '' = ?1 AND user_id_f IS NOT NULL AND dn_norm IN ", " ORDER BY id DESC",
		agreement, dns, func(r rowScanner) error {
			var dn string
			var m manager
			err := r.Scan(&dn, &m.id, &m.folded, &m.key)
			found[dn] = m // the oldest comes last
			return err
		})
	return found, err
}

// someAtOnce calls f with some of the values at a time, each time as many as a
// power of two, the last repeated: so that there are few statements.
func someAtOnce(values []string, f func(args []any) error) error {
	for len(values) > 0 {
		n := min(1024, len(values))
		size := 1
		for size < n {
			size *= 2
		}
		args := make([]any, size)
		for i := range args {
			args[i] = values[min(i, n-1)]
		}
		values = values[n:]
		if err := f(args); err != nil {
			return err
		}
	}
	return nil
}

// execIn runs a statement that ends with a list.
func (t *Tx) execIn(query string, values []string) error {
	return someAtOnce(values, func(args []any) error {
		_, err := t.exec(query+"("+placeholders(len(args))+")", args...)
		return err
	})
}

// rowsIn runs a query with a list; its first parameter is ?1.
func (t *Tx) rowsIn(query, tail, first string, values []string, each func(rowScanner) error) error {
	return someAtOnce(values, func(args []any) error {
		rows, err := t.rows(query+"("+placeholders(len(args))+")"+tail, append([]any{first}, args...)...)
		if err != nil {
			return err
		}
		for rows.Next() {
			if err := each(rows); err != nil {
				rows.Close()
				return err
			}
		}
		return errors.Join(rows.Err(), rows.Close())
	})
}
