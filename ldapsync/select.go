package ldapsync

import (
	"context"
	"fmt"

	"github.com/dirpin/dirpin/internal/roster"
	"github.com/dirpin/dirpin/internal/user"
)

// Select asks the directory of an agreement itself whom a query selects, and
// calls yield for each, with the user id, names and key that the entry has at
// this moment; the status and the user ids of managers are the store's. Who is
// there and not in the store yet is as active, or disabled, as the entry says.
//
// Our own matcher decides, on every entry that the agreement's filter finds:
// no filter of LDAP compares as it does. What was yielded counts only when
// Select returns nil: then the answer was complete. A condition that a field
// is empty is refused where no entry shows that attribute and the store holds
// it for some of the same people: then the account may not read it, and
// everybody would be selected.
func Select(ctx context.Context, o Options, q *user.Query, yield func(*user.User) error) error {
	o = o.withDefaults()
	r := &run{o: o, start: o.Now()}
	err := o.Store.Read(ctx, func(tx Reader) (err error) {
		r.state, err = tx.SyncAgreement(o.Agreement.Name)
		return err
	})
	if err != nil {
		return r.storeError("reading what is known of the directory", err)
	}
	r.state.Name = o.Agreement.Name
	if r.dir, err = o.Connect(ctx, ConnectOptions{Agreement: o.Agreement, Password: o.Password, Now: o.Now, Log: o.Log}); err != nil {
		return err
	}
	defer r.dir.Close()
	r.facts = r.dir.Facts()
	if err := r.checkIdentity(); err != nil {
		return err
	}
	s := &selector{run: r, matcher: q.Matcher(), yield: yield, shown: make(map[user.Field]bool), held: make(map[user.Field]bool)}
	if err := r.dir.Entries(ctx, Everything(func(e *Entry) error { return s.take(ctx, e) })); err != nil {
		return err
	}
	if err := s.flush(ctx); err != nil {
		return err
	}
	return s.checkEmpty(q)
}

// selector decides about the entries of an answer, some at a time.
type selector struct {
	*run
	matcher user.Matcher
	yield   func(*user.User) error
	entries []*Entry
	usable  int
	shown   map[user.Field]bool // fields that some entry has
	held    map[user.Field]bool // fields that the store has for some of the same people
}

func (s *selector) take(ctx context.Context, e *Entry) error {
	s.result.Entries++
	if e.Refuse != nil {
		return nil // nobody, or unreadable: a synchronization says which
	}
	s.usable++
	if s.entries = append(s.entries, e); len(s.entries) < chunk {
		return nil
	}
	return s.flush(ctx)
}

// flush joins the entries to the store and decides about them.
func (s *selector) flush(ctx context.Context) error {
	if s.result.Entries > 0 && s.usable == 0 {
		return directoryError(fmt.Errorf("%s: %s: none of the %d entries has a user id that can be taken: the bind account may not read it, or `attributes` names another one",
			s.o.Agreement.Name, s.facts.Server, s.result.Entries))
	}
	if len(s.entries) == 0 {
		return nil
	}
	keys := make([]string, len(s.entries))
	var bosses []string
	for i, e := range s.entries {
		keys[i] = e.Person.Key
		if e.Person.ManagerDN != "" {
			bosses = append(bosses, e.Person.ManagerDN)
		}
	}
	stored := make(map[string]roster.Person, len(keys))
	var managers map[string]string
	err := s.o.Store.Read(ctx, func(tx Reader) error {
		people, err := tx.SyncPeople(keys)
		for _, p := range people {
			stored[p.Key] = p
		}
		if err != nil {
			return err
		}
		managers, err = tx.SyncManagers(s.o.Agreement.Name, bosses)
		return err
	})
	if err != nil {
		return s.storeError("joining the directory's answer to the store", err)
	}
	for _, e := range s.entries {
		p, known := stored[e.Person.Key]
		u := s.asRead(e, p, known)
		u.Manager = managers[e.Person.ManagerDN]
		if known && e.Person.ManagerDN == p.ManagerDN {
			u.Manager = p.Manager
		}
		s.note(&u, &p.User)
		if !s.matcher.Match(&u) {
			continue
		}
		if err := s.yield(&u); err != nil {
			return err
		}
	}
	s.entries = s.entries[:0]
	return nil
}

// asRead returns the user as a synchronization would read the entry: of several
// values the one that is stored, and in place of one that cannot be taken that
// which is stored.
func (s *selector) asRead(e *Entry, stored roster.Person, known bool) user.User {
	next := e.Person
	if known {
		next = stored
		d := &differ{}
		for _, f := range singleFields() {
			d.compareField(e, &next, f, func(_ roster.Kind, _ user.Field, value string) { setField(&next, f, value) })
		}
		if !e.faulty(user.FieldDepartment) {
			next.Departments = e.Person.Departments
		}
		next.DN = e.Person.DN
	}
	next.Agreement = s.o.Agreement.Name
	return next.User
}

// note remembers which fields are to be seen.
func (s *selector) note(live, stored *user.User) {
	for _, f := range user.Fields() {
		s.shown[f] = s.shown[f] || len(live.Values(f)) > 0
		s.held[f] = s.held[f] || len(stored.Values(f)) > 0
	}
}

// checkEmpty refuses an answer to "is empty" that comes from a lost right.
func (s *selector) checkEmpty(q *user.Query) error {
	for _, f := range emptyFields(q, nil) {
		if !s.shown[f] && s.held[f] {
			return directoryError(fmt.Errorf("%s: %s: none of the %d entries shows a %s, though some of these users have one here: the bind account may not read it, so that `%s is empty` would select everybody",
				s.o.Agreement.Name, s.facts.Server, s.result.Entries, f.Label(), f))
		}
	}
	return nil
}

// emptyFields returns the fields that the query wants to be empty.
func emptyFields(q *user.Query, fields []user.Field) []user.Field {
	for _, t := range q.Where {
		switch {
		case t.Group != nil:
			fields = emptyFields(t.Group, fields)
		case t.Cond.Op == user.IsEmpty:
			fields = append(fields, t.Cond.Field)
		}
	}
	return fields
}
