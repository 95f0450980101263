package store

import (
	"database/sql"
	"errors"
	"math/rand/v2"
	"time"

	"github.com/dirpin/dirpin/internal/roster"
	"github.com/dirpin/dirpin/internal/user"
)

// SyncMark returns where a feed goes on.
func (t *Tx) SyncMark(agreement, feed, provider string) (roster.Mark, error) {
	m := roster.Mark{Agreement: agreement, Feed: feed, Provider: provider}
	var taken, sum int64
	err := t.row("SELECT cookie, scope_fp, map_fp, taken_at, checksum FROM marks WHERE agreement = ? AND feed = ? AND provider = ?", agreement, feed, provider).
		Scan(&m.Cookie, &m.ScopeFP, &m.MapFP, &taken, &sum)
	if errors.Is(err, sql.ErrNoRows) {
		return m, nil
	}
	m.Taken, m.Checksum = fromMilli(taken), uint64(sum)
	return m, err
}

// SyncSaveMark keeps a mark in the place of the one before.
func (t *Tx) SyncSaveMark(m roster.Mark) error {
	_, err := t.exec(`INSERT INTO marks (agreement, feed, provider, cookie, scope_fp, map_fp, taken_at, checksum) VALUES (?,?,?,?,?,?,?,?)
		ON CONFLICT (agreement, feed, provider) DO UPDATE SET cookie = excluded.cookie, scope_fp = excluded.scope_fp, map_fp = excluded.map_fp,
		taken_at = excluded.taken_at, checksum = excluded.checksum`,
		m.Agreement, m.Feed, m.Provider, m.Cookie, m.ScopeFP, m.MapFP, milli(m.Taken), int64(m.Checksum))
	return err
}

// SyncContainers returns the containers with these keys.
func (t *Tx) SyncContainers(agreement string, keys []string) ([]roster.Container, error) {
	var found []roster.Container
	err := t.byKeys("SELECT entry_key, dn_norm FROM containers WHERE agreement = ? AND entry_key IN ", agreement, keys, func(rows *sql.Rows) error {
		var c roster.Container
		err := rows.Scan(&c.Key, &c.DNNorm)
		found = append(found, c)
		return err
	})
	return found, err
}

// SyncExcluded returns which of the keys are excluded.
func (t *Tx) SyncExcluded(agreement string, keys []string) ([]string, error) {
	var found []string
	err := t.byKeys("SELECT entry_key FROM exclusions WHERE agreement = ? AND entry_key IN ", agreement, keys, func(rows *sql.Rows) error {
		var key string
		err := rows.Scan(&key)
		found = append(found, key)
		return err
	})
	return found, err
}

// byKeys runs a query that ends in IN for some keys at a time.
func (t *Tx) byKeys(query, agreement string, keys []string, scan func(*sql.Rows) error) error {
	for len(keys) > 0 {
		n := min(askAtOnce, len(keys))
		args := make([]any, 1, n+1)
		args[0] = agreement
		for _, k := range keys[:n] {
			args = append(args, k)
		}
		keys = keys[n:]
		rows, err := t.rows(query+"("+placeholders(n)+")", args...)
		if err != nil {
			return err
		}
		for rows.Next() {
			if err := scan(rows); err != nil {
				rows.Close()
				return err
			}
		}
		if err := errors.Join(rows.Err(), rows.Close()); err != nil {
			return err
		}
	}
	return nil
}

// SyncSetContainers has the agreement have these containers and no others.
func (t *Tx) SyncSetContainers(agreement string, all []roster.Container) error {
	if _, err := t.exec("DELETE FROM containers WHERE agreement = ?", agreement); err != nil {
		return err
	}
	for _, c := range all {
		if _, err := t.exec("INSERT INTO containers (agreement, entry_key, dn_norm) VALUES (?,?,?) ON CONFLICT (agreement, entry_key) DO UPDATE SET dn_norm = excluded.dn_norm", agreement, c.Key, c.DNNorm); err != nil {
			return err
		}
	}
	return nil
}

// SyncSample returns up to n active users of the agreement, drawn at random.
func (t *Tx) SyncSample(agreement string, n int) ([]roster.Person, error) {
	var least, most sql.NullInt64 // one query for both would read all between them
	err := t.row("SELECT min(id) FROM users WHERE agreement = ? AND status = ?", agreement, string(user.Active)).Scan(&least)
	if err != nil || !least.Valid {
		return nil, err
	}
	if err := t.row("SELECT max(id) FROM users WHERE agreement = ? AND status = ?", agreement, string(user.Active)).Scan(&most); err != nil {
		return nil, err
	}
	drawn := make(map[string]bool)
	var keys []string
	for range n {
		from := least.Int64 + rand.Int64N(most.Int64-least.Int64+1)
		var key sql.NullString
		if err := t.row("SELECT entry_key FROM users WHERE agreement = ? AND status = ? AND id >= ? ORDER BY id LIMIT 1", agreement, string(user.Active), from).Scan(&key); err != nil {
			return nil, err
		}
		if key.Valid && !drawn[key.String] {
			drawn[key.String] = true
			keys = append(keys, key.String)
		}
	}
	return t.SyncPeople(keys)
}

// SyncAtLeast tells whether the agreement has so many users.
func (t *Tx) SyncAtLeast(agreement string, n int) (bool, error) {
	var found int
	err := t.row("SELECT count(*) FROM (SELECT 1 FROM users WHERE agreement = ? LIMIT ?) found", agreement, n).Scan(&found)
	return found >= n, err
}

// SyncObserve lets the observed absence of everyone who is absent grow.
func (t *Tx) SyncObserve(agreement string, by time.Duration) error {
	if by <= 0 {
		return nil
	}
	_, err := t.exec("UPDATE users SET absent_ms = absent_ms + ? WHERE agreement = ? AND inactive_reason = 'absent'", by.Milliseconds(), agreement)
	return err
}

// SyncLease gives the lease to the holder until then, unless another one has
// it still, whose name is returned.
func (t *Tx) SyncLease(name, holder string, now, until time.Time) (other string, err error) {
	n, err := t.exec(`INSERT INTO leases (name, holder, expires_at) VALUES (?,?,?)
		ON CONFLICT (name) DO UPDATE SET holder = excluded.holder, expires_at = excluded.expires_at WHERE leases.holder = excluded.holder OR leases.expires_at <= ?`,
		name, holder, milli(until), milli(now))
	if err != nil || n > 0 {
		return "", err
	}
	return other, t.row("SELECT holder FROM leases WHERE name = ?", name).Scan(&other)
}

// SyncRelease gives the lease back, if the holder has it.
func (t *Tx) SyncRelease(name, holder string) error {
	_, err := t.exec("DELETE FROM leases WHERE name = ? AND holder = ?", name, holder)
	return err
}

// SyncAsk leaves an order for the holder of the agreement's lease.
func (t *Tx) SyncAsk(agreement, request string, now time.Time) (int64, error) {
	return t.insert("INSERT INTO orders (agreement, at, request) VALUES (?,?,?)", agreement, milli(now), request)
}

// SyncOrders yields the orders that wait.
func (t *Tx) SyncOrders(agreement string, yield func(roster.Order) error) error {
	rows, err := t.rows("SELECT id, at, request FROM orders WHERE agreement = ? AND holder = '' ORDER BY id", agreement)
	if err != nil {
		return err
	}
	defer rows.Close()
	for rows.Next() {
		o := roster.Order{Agreement: agreement}
		var at int64
		if err := rows.Scan(&o.ID, &at, &o.Request); err != nil {
			return err
		}
		o.At = fromMilli(at)
		if err := yield(o); err != nil {
			return err
		}
	}
	return rows.Err()
}

// SyncOrder returns an order; one without ID where there is none.
func (t *Tx) SyncOrder(id int64) (roster.Order, error) {
	o := roster.Order{ID: id}
	var at int64
	err := t.row("SELECT agreement, at, request, holder, answer FROM orders WHERE id = ?", id).Scan(&o.Agreement, &at, &o.Request, &o.Holder, &o.Answer)
	if errors.Is(err, sql.ErrNoRows) {
		return roster.Order{}, nil
	}
	o.At = fromMilli(at)
	return o, err
}

// SyncSaveOrder keeps holder and answer of an order.
func (t *Tx) SyncSaveOrder(o roster.Order) error {
	_, err := t.exec("UPDATE orders SET holder = ?, answer = ? WHERE id = ?", o.Holder, o.Answer, o.ID)
	return err
}

// SyncForgetOrder takes an order back.
func (t *Tx) SyncForgetOrder(id int64) error {
	_, err := t.exec("DELETE FROM orders WHERE id = ?", id)
	return err
}
