package store

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"unicode"

	"github.com/jackc/pgx/v5"

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
	byKey, err := t.linksByKey(agreement)
	if err != nil {
		return err
	}
	for len(people) > 0 {
		n := min(askAtOnce, len(people))
		// Whoever names one of these as manager, perhaps in vain until now, is
		// marked: the new ones among themselves know without that.
		if err := t.markNaming(agreement, people[:n]); err != nil {
			return err
		}
		if err := t.syncPutSome(agreement, byKey, people[:n]); err != nil {
			return err
		}
		people = people[n:]
	}
	return nil
}

// syncPutSome writes some people.
func (t *Tx) syncPutSome(agreement string, byKey bool, people []roster.Person) error {
	l, err := t.linker(agreement, byKey, people)
	if err != nil {
		return err
	}
	for i := range people {
		if people[i].ID != 0 {
			err = t.syncUpdateOne(&people[i])
		} else {
			var row boxed
			t.inserted(&row, &people[i], l)
			_, err = t.exec(syncInsert, row...)
		}
		if err != nil {
			return rowError(&people[i], err)
		}
	}
	return nil
}

// SyncAdd stores people who are new, all in one call, and tells whether it did:
// where one of their keys or user ids is taken it stores nobody. On SQLite it
// needs no savepoint, for which the pages of every index would be copied.
func (t *Tx) SyncAdd(agreement string, people []roster.Person) (done bool, err error) {
	if len(people) == 0 {
		return true, nil
	}
	if t.dialect == postgres {
		err := t.SyncTry(func() error { return t.copyIn(agreement, people) })
		if IsRowFault(err) {
			return false, nil
		}
		return err == nil, err
	}
	byKey, err := t.linksByKey(agreement)
	if err != nil {
		return false, err
	}
	if err := t.markNaming(agreement, people); err != nil {
		return false, err
	}
	l, err := t.linker(agreement, byKey, people)
	if err != nil {
		return false, err
	}
	var last int64 // ids are never used again
	if err := t.row("SELECT coalesce(max(id), 0) FROM users").Scan(&last); err != nil {
		return false, err
	}
	next := make(chan packed, (len(people)+addAtOnce-1)/addAtOnce)
	room := t.packed
	t.packed = nil
	go t.packNew(people, l, room, next)
	for rows := range next {
		err := t.insertRows("users", syncColumns+", manager, manager_f", rows)
		t.packed = append(t.packed, rows[:0])
		if err == nil {
			continue
		}
		for range next { // to its end: it reads people
		}
		if IsRowFault(err) {
			_, err = t.exec("DELETE FROM users WHERE id > ?", last)
		}
		return false, err
	}
	return true, nil
}

// packNew packs new people, some at a time, into the room that there is:
// folding takes a sixth of the time in which SQLite stores those before.
func (t *Tx) packNew(people []roster.Person, l linker, room []packed, to chan<- packed) {
	defer close(to)
	for some := range slices.Chunk(people, addAtOnce) {
		var rows packed
		if n := len(room); n > 0 {
			rows, room = room[n-1], room[:n-1]
		}
		for i := range some {
			t.inserted(&rows, &some[i], l)
		}
		to <- rows
	}
}

// copyIn streams new people to PostgreSQL.
func (t *Tx) copyIn(agreement string, people []roster.Person) error {
	byKey, err := t.linksByKey(agreement)
	if err != nil {
		return err
	}
	if err := t.markNaming(agreement, people); err != nil {
		return err
	}
	l, err := t.linker(agreement, byKey, people)
	if err != nil {
		return err
	}
	columns := strings.FieldsFunc(syncColumns+", manager, manager_f", func(r rune) bool { return r == ',' || unicode.IsSpace(r) })
	rows := pgx.CopyFromSlice(len(people), func(i int) ([]any, error) {
		row := make(boxed, 0, len(columns))
		t.inserted(&row, &people[i], l)
		return row, nil
	})
	return t.copyFrom("users", columns, rows)
}

// addAtOnce is how many people are added by one call of SQLite. More gain
// nothing, and wait for each other.
const addAtOnce = 250

func rowError(p *roster.Person, err error) error {
	if IsRowFault(err) {
		return &roster.RowError{Key: p.Key, Err: err}
	}
	return fmt.Errorf("storing the entry %s: %w", p.Key, err)
}

func (t *Tx) linksByKey(agreement string) (bool, error) {
	return t.any("SELECT EXISTS (SELECT 1 FROM agreements WHERE name = ? AND kind = 'ad')", agreement)
}

// markNaming has the manager found again of everyone who names one of these
// people.
func (t *Tx) markNaming(agreement string, people []roster.Person) error {
	if none, err := t.nobodyNames(agreement, people); err != nil || none {
		return err
	}
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

// syncUpdateOne writes one person who is there.
func (t *Tx) syncUpdateOne(p *roster.Person) error {
	var row boxed
	t.synced(&row, p)
	orNull(&row, p.ManagerDN)
	row.number(p.ID)
	_, err := t.exec(syncUpdate, row...)
	if err != nil || !p.DropPassword {
		return err
	}
	_, err = t.exec("DELETE FROM credentials WHERE user_ref = ? AND kind = 'password'", p.ID)
	return err
}

// synced gives the values of syncColumns but the last two.
func (t *Tx) synced(v values, p *roster.Person) {
	t.written(v, &p.User)
	orNull(v, p.DNNorm)
	orNull(v, p.ManagerDN)
	v.number(int64(p.Hash))
	v.number(p.Absent.Milliseconds())
	v.number(milli(p.Expires))
}

// inserted gives the values of one who is new, with the manager, if that is
// known. The new one is a boss from now on.
func (t *Tx) inserted(v values, p *roster.Person, l linker) {
	m, found := l.boss[p.ManagerDN]
	if !l.byKey { // see linkByKey
		m.key = ""
	}
	t.synced(v, p)
	orNull(v, m.key)
	v.boolean(!found && p.ManagerDN != "")
	v.text(m.id)
	v.text(m.folded)
	if _, known := l.boss[p.DNNorm]; !known && p.DNNorm != "" && p.Agreement == l.agreement {
		l.boss[p.DNNorm] = manager{p.UserID, user.Fold(p.UserID), p.Key}
	}
}

// linker knows managers of new people.
type linker struct {
	agreement string
	byKey     bool               // whether links hold to keys
	boss      map[string]manager // by DN
}

// nobodyNames tells whether nobody can be there whose manager is one of these
// people and is not marked: this is the first load of the only agreement, all
// of them are new, and whoever names a manager is marked, or linked. It spares
// two searches a person.
func (t *Tx) nobodyNames(agreement string, people []roster.Person) (bool, error) {
	for i := range people {
		if people[i].ID != 0 {
			return false, nil
		}
	}
	if t.naming[agreement] == 0 {
		nobody, err := t.any(`SELECT CASE WHEN NOT EXISTS (SELECT 1 FROM agreements WHERE name = ?1 AND completed_at = 0) THEN FALSE
			WHEN EXISTS (SELECT 1 FROM users WHERE agreement > ?1) OR EXISTS (SELECT 1 FROM users WHERE agreement > '' AND agreement < ?1) THEN FALSE
			ELSE NOT EXISTS (SELECT 1 FROM users WHERE manager_f = '' AND manager_dn IS NOT NULL AND NOT manager_dirty) END`, agreement)
		if err != nil {
			return false, err
		}
		t.naming = map[string]int{agreement: 1}
		if nobody {
			t.naming[agreement] = -1
		}
	}
	return t.naming[agreement] < 0, nil
}

// manager is what a row keeps of its manager.
type manager struct{ id, folded, key string }

// linker returns what is known of the managers of those among the people who
// are new, as far as they are in the same agreement: then LinkManagers would find the same,
// at the price of a second write. Those who are about to move have no folded
// user id at that moment, and are not among them.
func (t *Tx) linker(agreement string, byKey bool, people []roster.Person) (linker, error) {
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
	return linker{agreement, byKey, found}, err
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
