package resetjob

import (
	"fmt"

	"github.com/dirpin/dirpin/internal/secret"
	"github.com/dirpin/dirpin/internal/store"
	"github.com/dirpin/dirpin/internal/user"
)

// people is whom a job is about: whom its query, file or csv selects, or those
// of them that it tries again.
type people struct {
	query   *user.Query
	file    *CustomFile
	csv     *CSV
	live    *live // what the directory answered, where the job asks one
	retried *retried
}

// selected is one user, or a name of nobody.
type selected struct {
	user     *user.User // nil: names nobody here
	written  string     // as the list has it; the user id for a query
	line     int        // of the list; 0 for a query
	pin      secret.Value
	password secret.Value
	removed  int64  // the internal id of somebody who was removed since the job that is tried again
	unknown  string // not "": why nothing may be done about somebody whom the job surely names

	again map[string]*carried // of a retry: the legs that are tried again; nil: all
}

// each calls fn for everyone who is selected, once, as they are read. What fn
// is given is used again for the next one.
func (p people) each(tx *store.Tx, fn func(*selected) error) error {
	switch {
	case p.retried != nil:
		return p.retried.each(tx, fn)
	case p.live != nil:
		return p.eachOfLive(tx, fn)
	case p.file != nil:
		return p.eachOfFile(tx, fn)
	case p.csv != nil:
		return p.eachOfCSV(tx, fn)
	}
	var s selected
	return tx.Find(p.query, func(u *user.User) error {
		s.user, s.written = u, u.UserID
		return fn(&s)
	})
}

func (p people) eachOfFile(tx *store.Tx, fn func(*selected) error) error {
	var seen bitset
	var s selected
	for v := range p.file.Values() {
		found := false
		err := tx.FindExact(p.file.Field, user.Fold(v.Text), func(u *user.User) error {
			found = true
			if !seen.add(u.ID) {
				return nil
			}
			s = selected{user: u, written: v.Text, line: v.Line}
			return fn(&s)
		})
		if err != nil {
			return fmt.Errorf("looking up line %d: %w", v.Line, err)
		}
		if !found {
			s = selected{written: v.Text, line: v.Line}
			if err := fn(&s); err != nil {
				return err
			}
		}
	}
	return nil
}

func (p people) eachOfCSV(tx *store.Tx, fn func(*selected) error) error {
	var s selected
	for row := range p.csv.Rows() {
		s = selected{written: row.UserID, line: row.Line, pin: row.PIN, password: row.Password}
		err := tx.FindExact(user.FieldUserID, user.Fold(row.UserID), func(u *user.User) error {
			s.user = u
			return nil
		})
		if err != nil {
			return fmt.Errorf("looking up line %d: %w", row.Line, err)
		}
		if err := fn(&s); err != nil {
			return err
		}
	}
	return nil
}

// bitset remembers which users were met: an eighth of a byte a user.
type bitset []uint64

// add tells whether n is new.
func (b *bitset) add(n int64) bool {
	word, bit := int(n/64), uint64(1)<<(n%64)
	if word >= len(*b) {
		*b = append(*b, make([]uint64, word+1-len(*b)+len(*b)/2)...)
	}
	if (*b)[word]&bit != 0 {
		return false
	}
	(*b)[word] |= bit
	return true
}
