package ldapsync

import (
	"fmt"
	"slices"
	"time"

	"github.com/dirpin/dirpin/internal/roster"
	"github.com/dirpin/dirpin/internal/user"
)

// differ compares entries with what is stored. It decides and does nothing.
type differ struct {
	agreement  string
	adoptLocal bool
	server     string
	now        time.Time
	first      bool                       // the first load: additions are no news
	claimed    func(folded string) string // key that claims the id in this run but is not stored; "" for none
	people     map[string]*roster.Person  // stored, by key
	claimants  map[string]*roster.Person  // stored or about to be, by folded user id
	plan       plan
}

// plan is what a batch of entries comes to.
type plan struct {
	roster.Changes
	news                                []Change
	added, updated, unchanged, returned int
	waiting                             []string // keys that lose and gain nothing
	changed                             []string // keys that are counted as updated
}

// Change is a piece of news for reports.
type Change struct {
	Agreement string `json:"agreement"`
	Change    string `json:"change"` // added, deactivated, returned, removed, refused
	UserID    string `json:"user_id"`
	DN        string `json:"dn"`
	Reason    string `json:"reason"`
}

// entry compares one entry.
func (d *differ) entry(e *Entry) {
	e.Person.Agreement = d.agreement
	key := e.Person.Key
	stored, known := d.people[key]
	rejects := len(d.plan.Reject)
	defer func() {
		if len(d.plan.Reject) == rejects {
			d.plan.Admit = append(d.plan.Admit, key)
		}
	}()
	d.faults(e)
	switch {
	case e.Refuse != nil:
		r := *e.Refuse
		if known {
			r.UserID = stored.UserID
		}
		d.reject(r)
	case known && stored.Agreement != d.agreement:
		d.foreign(e, *stored)
	case known:
		d.compare(e, *stored)
	default:
		d.newcomer(e)
	}
}

func (d *differ) reject(r roster.Reject) {
	r.Agreement, r.Since = d.agreement, d.now
	d.plan.Reject = append(d.plan.Reject, r)
}

// faults reports the values that could not be taken, beside the entry itself.
func (d *differ) faults(e *Entry) {
	if e.Refuse != nil || len(e.Faults) == 0 {
		return
	}
	d.reject(roster.Reject{Key: e.Person.Key, DN: e.Person.DN, UserID: e.Person.UserID, Reason: "fault", Detail: e.Faults[0].Detail, Partial: true})
}

// foreign is an entry whose person another agreement has.
func (d *differ) foreign(e *Entry, stored roster.Person) {
	if stored.InactiveReason == user.Absent && !stored.InFlight {
		// Moved from the other's part of the directory to ours.
		stored.Agreement = d.agreement
		d.compare(e, stored)
		return
	}
	d.reject(roster.Reject{Key: e.Person.Key, DN: e.Person.DN, UserID: e.Person.UserID, Reason: reasonOwned,
		Detail: "the agreement " + stored.Agreement + " has this entry", Person: e.Person})
}

// newcomer is an entry of a key that is not stored.
func (d *differ) newcomer(e *Entry) {
	p := &e.Person
	folded := user.Fold(p.UserID)
	claimant, taken := d.claimants[folded]
	switch {
	case !taken && d.claimed(folded) != "" && d.claimed(folded) != p.Key:
		d.taken(*p, "another new entry")
	case !taken:
		d.add(*p)
		d.claimants[folded] = p
	case claimant.Status != user.Local:
		d.taken(*p, or(claimant.DN, claimant.UserID))
	case !d.adoptLocal || claimant.InFlight:
		d.reject(roster.Reject{Key: p.Key, DN: p.DN, UserID: p.UserID, Reason: reasonLocal,
			Detail: "a local user has this id: `dirpin users adopt` gives it to the directory, or set adopt_local", Person: *p})
	default:
		adopted := *p
		adopted.ID, adopted.DropPassword = claimant.ID, true
		d.plan.Put = append(d.plan.Put, adopted)
		d.plan.added++
		d.news("added", adopted, "adopted")
		d.claimants[folded] = &adopted
	}
}

func (d *differ) taken(p roster.Person, by string) {
	d.reject(roster.Reject{Key: p.Key, DN: p.DN, UserID: p.UserID, Reason: reasonTaken, Detail: "the user id is that of " + by, Person: p})
}

// Some reasons of rejects. The last two end by themselves: when the id is free,
// and when the other agreement loses the entry.
const (
	reasonNoID  = "user-id-missing"
	reasonTaken = "user-id-taken"
	reasonOwned = "owned-by"
	reasonLocal = "user-id-local" // an administrator ends it (Adopt)
)

func (d *differ) add(p roster.Person) {
	d.plan.Put = append(d.plan.Put, p)
	d.plan.added++
	if !d.first {
		d.news("added", p, "")
	}
}

func (d *differ) news(change string, p roster.Person, reason string) {
	d.plan.news = append(d.plan.news, Change{d.agreement, change, p.UserID, p.DN, reason})
}

// compare takes over what a stored person gains, and parks what it loses.
func (d *differ) compare(e *Entry, stored roster.Person) {
	next := stored
	key := stored.Key
	next.Hash, next.DN, next.DNNorm, next.Expires = e.Person.Hash, e.Person.DN, e.Person.DNNorm, e.Person.Expires
	if e.faulty(user.FieldStatus) {
		next.Expires = stored.Expires
	}
	var losses []roster.Loss
	lose := func(kind roster.Kind, field user.Field, value string) {
		losses = append(losses, roster.Loss{Agreement: d.agreement, Key: key, Kind: kind, Field: field, UserID: stored.UserID, DN: e.Person.DN,
			Value: value, Evidence: "explicit", Server: d.server, Since: d.now, Hash: e.Person.Hash})
	}
	for _, f := range singleFields() {
		d.compareField(e, &next, f, lose)
	}
	if !e.faulty(user.FieldDepartment) {
		if len(e.Person.Departments) == 0 && len(stored.Departments) > 0 {
			lose(roster.LossBlank, user.FieldDepartment, "")
		} else {
			next.Departments = e.Person.Departments
		}
	}
	returned, deferred := d.compareStatus(e, &next, lose)
	if deferred || len(losses) > 0 {
		next.Hash = 0 // to be looked at again
	}
	for i := range losses {
		if deferred {
			losses[i].Hash = 0 // also when these are applied
		}
	}
	d.plan.Mentioned = append(d.plan.Mentioned, key)
	d.plan.Park = append(d.plan.Park, losses...)
	same := samePerson(next, stored)
	if !same || next.Hash != stored.Hash || !next.Expires.Equal(stored.Expires) {
		d.plan.Put = append(d.plan.Put, next)
	}
	switch {
	case returned:
		d.plan.returned++
		d.news("returned", next, "")
	case same && len(losses) > 0:
		d.plan.waiting = append(d.plan.waiting, key)
	case same:
		d.plan.unchanged++
	default:
		d.plan.updated++
		d.plan.changed = append(d.plan.changed, key)
	}
}

func (e *Entry) faulty(f user.Field) bool {
	return slices.ContainsFunc(e.Faults, func(x Fault) bool { return x.Field == f })
}

func (d *differ) compareField(e *Entry, next *roster.Person, f user.Field, lose func(roster.Kind, user.Field, string)) {
	if e.faulty(f) {
		return
	}
	was, is := *fieldOf(next, f), *fieldOf(&e.Person, f)
	if choices := e.Choices[f]; slices.Contains(choices, was) {
		is = was
	}
	switch {
	case f == user.FieldUserID && user.Fold(was) != user.Fold(is):
		lose(roster.LossUserID, "", is)
	case is == "" && was != "":
		lose(roster.LossBlank, f, "")
	default:
		setField(next, f, is)
	}
}

// compareStatus takes over a return. A user with a push in flight is left as
// it is until the next time.
func (d *differ) compareStatus(e *Entry, next *roster.Person, lose func(roster.Kind, user.Field, string)) (returned, deferred bool) {
	if e.faulty(user.FieldStatus) {
		return false, false
	}
	was, is := next.InactiveReason, e.Person.InactiveReason
	switch {
	case next.Status == user.Active && is == "", was == is && next.Status == user.Inactive:
	case next.Status == user.Active:
		lose(map[string]roster.Kind{user.Disabled: roster.LossDisabled, user.Expired: roster.LossExpired}[is], "", "")
	case next.InFlight:
		return false, true
	default:
		next.Status, next.InactiveReason, next.Absent = e.Person.Status, is, 0
		return is == "", false
	}
	return false, false
}

// samePerson tells whether nothing differs that people can see.
func samePerson(a, b roster.Person) bool {
	for _, f := range singleFields() {
		if *fieldOf(&a, f) != *fieldOf(&b, f) {
			return false
		}
	}
	return slices.Equal(a.Departments, b.Departments) && a.DN == b.DN && a.Status == b.Status && a.InactiveReason == b.InactiveReason && a.Agreement == b.Agreement
}

func (c Change) String() string {
	s := fmt.Sprintf("%s: %s %s", c.Agreement, c.Change, or(c.UserID, c.DN))
	if c.Reason != "" {
		s += " (" + c.Reason + ")"
	}
	return s
}
