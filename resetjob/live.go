package resetjob

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/dirpin/dirpin/internal/store"
	"github.com/dirpin/dirpin/internal/user"
)

// Live asks the directory of an agreement itself.
type Live interface {
	// Select calls yield for everyone whom the query selects as the directory
	// has them at this moment, with their key and the user id that the
	// directory says; status, and the user ids of managers, are the store's.
	// What was yielded counts only when Select returns nil: then the answer was
	// complete.
	Select(ctx context.Context, agreement string, q *user.Query, yield func(*user.User) error) error
}

// LiveError says that a directory gave no complete answer to whom a job
// selects. Nobody is selected then: a part of the answer would be another job.
type LiveError struct {
	Agreement string
	Err       error
}

func (e *LiveError) Error() string {
	return fmt.Sprintf("asking the directory of %s whom the job selects: %v", e.Agreement, e.Err)
}

// Unwrap returns the directory's error.
func (e *LiveError) Unwrap() error { return e.Err }

// live is the answer of a directory.
type live struct {
	agreement string
	found     []liveUser            // in the order of their user ids
	byValue   map[string][]liveUser // of a list: by the folded value that it names
}

type liveUser struct{ key, userID string }

// ask returns the people of a job, those of the directory at this moment where
// it selects from one.
func (e *Env) ask(ctx context.Context, def *Job, p people) (people, error) {
	if def.Select.Source == SourceStore || p.live != nil || p.retried != nil {
		return p, nil
	}
	if e.Live == nil {
		return p, &LiveError{def.Select.Source, errors.New("no directory can be asked from here")}
	}
	a := &live{agreement: def.Select.Source, byValue: make(map[string][]liveUser)}
	q, valuesOf := p.liveQuery()
	err := e.Live.Select(ctx, a.agreement, q, func(u *user.User) error {
		one := liveUser{key: strings.Clone(u.Key), userID: strings.Clone(u.UserID)}
		a.found = append(a.found, one)
		for _, v := range valuesOf(u) {
			a.byValue[v] = append(a.byValue[v], one)
		}
		return nil
	})
	if err != nil {
		return p, &LiveError{a.agreement, err}
	}
	byID := func(x, y liveUser) int { return strings.Compare(x.userID, y.userID) }
	slices.SortFunc(a.found, byID)
	for _, list := range a.byValue {
		slices.SortFunc(list, byID)
	}
	p.live = a
	return p, nil
}

// liveQuery returns what to ask a directory for, and which folded values of a
// user the job's list may name.
func (p people) liveQuery() (q *user.Query, valuesOf func(*user.User) []string) {
	field, values := user.FieldUserID, []string(nil)
	switch {
	case p.file != nil:
		field = p.file.Field
		for v := range p.file.Values() {
			values = append(values, v.Text)
		}
	case p.csv != nil:
		for r := range p.csv.Rows() {
			values = append(values, r.UserID)
		}
	default:
		return p.query, func(*user.User) []string { return nil }
	}
	q = &user.Query{Match: user.MatchAll, Where: []user.Term{{Cond: &user.Condition{Field: field, Op: user.IsExactly, Text: values}}}}
	return q, func(u *user.User) []string {
		var folded []string
		for _, v := range u.Values(field) {
			if f := user.Fold(v); !slices.Contains(folded, f) {
				folded = append(folded, f)
			}
		}
		return folded
	}
}

// eachOfLive calls fn for everyone whom the directory named, joined to the
// store by key.
func (p people) eachOfLive(tx *store.Tx, fn func(*selected) error) error {
	switch {
	case p.file != nil:
		return p.eachLiveLine(tx, fn)
	case p.csv != nil:
		for row := range p.csv.Rows() {
			found := p.live.byValue[user.Fold(row.UserID)]
			s := selected{written: row.UserID, line: row.Line, pin: row.PIN, password: row.Password}
			if err := p.live.join(tx, found, s, fn); err != nil {
				return err
			}
		}
		return nil
	}
	if len(p.live.found) == 0 {
		return nil
	}
	return p.live.join(tx, p.live.found, selected{}, fn)
}

func (p people) eachLiveLine(tx *store.Tx, fn func(*selected) error) error {
	seen := make(map[string]bool) // keys
	for v := range p.file.Values() {
		found := p.live.byValue[user.Fold(v.Text)]
		var fresh []liveUser
		for _, one := range found {
			if !seen[one.key] {
				seen[one.key] = true
				fresh = append(fresh, one)
			}
		}
		if len(found) > 0 && len(fresh) == 0 {
			continue
		}
		if err := p.live.join(tx, fresh, selected{written: v.Text, line: v.Line}, fn); err != nil {
			return err
		}
	}
	return nil
}

// join calls fn, with what the template says besides, for the users of these
// keys; once, for nobody, when there are none.
func (l *live) join(tx *store.Tx, found []liveUser, template selected, fn func(*selected) error) error {
	if len(found) == 0 {
		return fn(&template)
	}
	for len(found) > 0 {
		part := found[:min(askChunk, len(found))]
		found = found[len(part):]
		keys := make([]string, len(part))
		for i := range part {
			keys[i] = part[i].key
		}
		people, err := tx.SyncPeople(keys)
		if err != nil {
			return fmt.Errorf("looking up whom the directory of %s named: %w", l.agreement, err)
		}
		byKey := make(map[string]*user.User, len(people))
		for i := range people {
			byKey[people[i].Key] = &people[i].User
		}
		for _, one := range part {
			s := template
			s.written = one.userID
			s.user = byKey[one.key]
			s.unknown = l.unknown(one, s.user)
			if err := fn(&s); err != nil {
				return err
			}
		}
	}
	return nil
}

// unknown says why the store does not know somebody whom the directory named;
// "" where it does. Such a user fails and is never pushed.
func (l *live) unknown(one liveUser, u *user.User) string {
	switch {
	case u == nil:
		return fmt.Sprintf("%s is in the directory and not synced yet: dirpin sync %s", one.userID, l.agreement)
	case user.Fold(u.UserID) != user.Fold(one.userID):
		return fmt.Sprintf("the directory now calls %s %s, which is not synced yet: dirpin sync %s", u.UserID, one.userID, l.agreement)
	}
	return ""
}
