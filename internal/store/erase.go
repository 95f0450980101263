package store

import (
	"encoding/json"
	"fmt"

	"github.com/dirpin/dirpin/internal/user"
)

// Erased is what stands in the place of somebody who was erased.
const Erased = "(erased)"

// JobsAbout returns the jobs that have an item of the user, by number, or of
// that user id where the user is gone.
func (t *Tx) JobsAbout(id int64, userID string) ([]*Job, error) {
	var jobs []*Job
	err := t.jobs("SELECT "+jobColumns+` FROM jobs WHERE id IN (SELECT job FROM items WHERE user_ref = ?1 AND ?1 <> 0 OR user_id = ?2) ORDER BY id`,
		[]any{id, userID}, func(j *Job) error { c := *j; jobs = append(jobs, &c); return nil })
	return jobs, err
}

// EraseUser erases a user, who may be gone already: from users, from what
// synchronizations remember, and from jobs. A job keeps that it changed
// somebody, and how that went. The key of an entry of a directory is kept as
// one to be left alone; nothing else would keep the person from coming back.
func (t *Tx) EraseUser(u *user.User) error {
	jobs, err := t.JobsAbout(u.ID, u.UserID)
	if err != nil {
		return err
	}
	for _, j := range jobs {
		if err := t.eraseFromJob(j, u); err != nil {
			return fmt.Errorf("erasing from job %d: %w", j.ID, err)
		}
	}
	if u.Key != "" {
		for _, table := range []string{"pending", "rejects"} {
			if _, err := t.exec("DELETE FROM "+table+" WHERE entry_key = ?", u.Key); err != nil {
				return err
			}
		}
		if err := t.SyncExclude(u.Agreement, u.Key, 0); err != nil {
			return err
		}
	}
	if _, err := t.exec("UPDATE applied SET user_id = ?1, dn = '', value = '' WHERE entry_key = ?2 AND ?2 <> '' OR user_id = ?3", Erased, u.Key, u.UserID); err != nil {
		return err
	}
	if _, err := t.exec("DELETE FROM rejects WHERE user_id = ?", u.UserID); err != nil {
		return err
	}
	if u.ID == 0 {
		return nil
	}
	// What names the person as somebody's manager. An entry that does so in the
	// directory says it again when it changes.
	if _, err := t.exec(`UPDATE users SET manager = '', manager_f = '', manager_dn = NULL, manager_key = NULL
		WHERE manager_f = ?1 OR manager_dn = (SELECT dn_norm FROM users WHERE id = ?2)`, user.Fold(u.UserID), u.ID); err != nil {
		return err
	}
	return t.RemoveUser(u.ID)
}

func (t *Tx) eraseFromJob(j *Job, u *user.User) error {
	_, err := t.exec(`UPDATE legs SET value = NULL, body = NULL WHERE job = ?1 AND seq IN
		(SELECT seq FROM items WHERE job = ?1 AND (user_ref = ?2 AND ?2 <> 0 OR user_id = ?3))`, j.ID, u.ID, u.UserID)
	if err != nil {
		return err
	}
	_, err = t.exec(`UPDATE parts SET body = NULL, detail = '' WHERE job = ?1 AND seq IN
		(SELECT seq FROM items WHERE job = ?1 AND (user_ref = ?2 AND ?2 <> 0 OR user_id = ?3))`, j.ID, u.ID, u.UserID)
	if err != nil {
		return err
	}
	_, err = t.exec(`UPDATE messages SET recipient = '', error = '', state = CASE state WHEN 'sent' THEN state ELSE 'obsolete' END WHERE job = ?1 AND seq IN
		(SELECT seq FROM items WHERE job = ?1 AND (user_ref = ?2 AND ?2 <> 0 OR user_id = ?3))`, j.ID, u.ID, u.UserID)
	if err != nil {
		return err
	}
	_, err = t.exec("UPDATE items SET user_id = ?4, user_ref = NULL, detail = '' WHERE job = ?1 AND (user_ref = ?2 AND ?2 <> 0 OR user_id = ?3)", j.ID, u.ID, u.UserID, Erased)
	if err != nil {
		return err
	}
	definition, err := eraseText(j.Definition, u.UserID)
	if err != nil {
		return err
	}
	_, err = t.exec("UPDATE jobs SET definition = ? WHERE id = ?", definition, j.ID)
	return err
}

// eraseText takes a user id out of a job's definition, where it stands as a
// text of its own: a query for one person.
func eraseText(definition []byte, userID string) ([]byte, error) {
	var v any
	if err := json.Unmarshal(definition, &v); err != nil {
		return nil, err
	}
	if !eraseIn(v, user.Fold(userID)) {
		return definition, nil
	}
	return json.Marshal(v)
}

func eraseIn(v any, folded string) (changed bool) {
	is := func(x any) bool {
		s, ok := x.(string)
		return ok && user.Fold(s) == folded
	}
	switch x := v.(type) {
	case map[string]any:
		for k, e := range x {
			if is(e) {
				x[k], changed = Erased, true
			}
			changed = eraseIn(e, folded) || changed
		}
	case []any:
		for i, e := range x {
			if is(e) {
				x[i], changed = Erased, true
			}
			changed = eraseIn(e, folded) || changed
		}
	}
	return changed
}
