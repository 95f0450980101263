package store

import "github.com/dirpin/dirpin/internal/user"

// HeldItem is what jobs hold of a user: one item of one job. No value is among
// it.
type HeldItem struct {
	Job    int64
	Name   string // of the job
	State  string
	Result string
	Code   string
	Detail string
	At     int64 // when it ended, milliseconds since 1970
}

// HeldItems yields the items of a user, by job.
func (t *Tx) HeldItems(id int64, each func(*HeldItem) error) error {
	rows, err := t.rows(`SELECT i.job, j.name, i.state, i.result, i.code, i.detail, i.at FROM items i JOIN jobs j ON j.id = i.job
		WHERE i.user_ref = ? ORDER BY i.job, i.seq`, id)
	if err != nil {
		return err
	}
	defer rows.Close()
	for rows.Next() {
		var h HeldItem
		if err := rows.Scan(&h.Job, &h.Name, &h.State, &h.Result, &h.Code, &h.Detail, &h.At); err != nil {
			return err
		}
		if err := each(&h); err != nil {
			return err
		}
	}
	return rows.Err()
}

// HeldLoss is what synchronizations took from a user, or are about to.
type HeldLoss struct {
	Agreement string
	Kind      string
	Field     string
	Value     string
	DN        string
	At        int64 // milliseconds since 1970
	Pending   bool
}

// HeldLosses yields what is remembered of a user by its key, and by its user
// id, of which there may be several keys in the course of time.
func (t *Tx) HeldLosses(u *user.User, each func(*HeldLoss) error) error {
	rows, err := t.rows(`SELECT agreement, kind, field, value, dn, since, TRUE FROM pending WHERE entry_key = ?1 AND ?1 <> ''
		UNION ALL SELECT agreement, kind, field, value, dn, at, FALSE FROM applied WHERE entry_key = ?1 AND ?1 <> '' OR user_id = ?2 ORDER BY 6`, u.Key, u.UserID)
	if err != nil {
		return err
	}
	defer rows.Close()
	for rows.Next() {
		var h HeldLoss
		if err := rows.Scan(&h.Agreement, &h.Kind, &h.Field, &h.Value, &h.DN, &h.At, &h.Pending); err != nil {
			return err
		}
		if err := each(&h); err != nil {
			return err
		}
	}
	return rows.Err()
}
