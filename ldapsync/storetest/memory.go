package storetest

import (
	"cmp"
	"context"
	"errors"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/dirpin/dirpin/internal/roster"
	"github.com/dirpin/dirpin/internal/user"
	"github.com/dirpin/dirpin/ldapsync"
)

// Memory is a store in memory. Its fields are for tests to look at and to
// prepare, while no transaction runs.
type Memory struct {
	mu sync.Mutex
	State
	Now  func() time.Time        // of a transaction; time.Now when nil
	Fail func(step string) error // asked before each writing step; an error makes it fail
}

// State is everything that a Memory holds.
type State struct {
	Agreements map[string]roster.Agreement
	People     map[int64]roster.Person
	Passwords  map[int64]bool // local users that have a password of their own
	Pending    map[string][]roster.Loss
	Applied    []roster.Loss
	Rejects    map[string]roster.Reject
	Excluded   map[string]string // key → agreement
	Marked     map[int64]bool    // whose manager has to be found again
	Managers   map[int64]string  // the keys of managers that were found
	NextID     int64
	Feeds
}

// NewMemory returns an empty store.
func NewMemory() *Memory {
	return &Memory{State: State{Agreements: map[string]roster.Agreement{}, People: map[int64]roster.Person{}, Passwords: map[int64]bool{},
		Pending: map[string][]roster.Loss{}, Rejects: map[string]roster.Reject{}, Excluded: map[string]string{}, Marked: map[int64]bool{}, Managers: map[int64]string{}, NextID: 1, Feeds: newFeeds()}}
}

func (s State) clone() State {
	s.Agreements, s.People, s.Passwords = maps.Clone(s.Agreements), maps.Clone(s.People), maps.Clone(s.Passwords)
	s.Pending, s.Rejects, s.Excluded, s.Marked = maps.Clone(s.Pending), maps.Clone(s.Rejects), maps.Clone(s.Excluded), maps.Clone(s.Marked)
	s.Managers = maps.Clone(s.Managers)
	s.Feeds = s.Feeds.clone()
	for k, v := range s.Pending {
		s.Pending[k] = slices.Clone(v)
	}
	s.Applied = slices.Clone(s.Applied)
	return s
}

// Read implements ldapsync.Store.
func (m *Memory) Read(_ context.Context, f func(ldapsync.Reader) error) error {
	m.mu.Lock()
	s := m.State.clone()
	m.mu.Unlock()
	return f(&tx{s: &s})
}

// Write implements ldapsync.Store.
func (m *Memory) Write(_ context.Context, f func(ldapsync.Writer) error) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	s := m.State.clone()
	now := time.Now()
	if m.Now != nil {
		now = m.Now()
	}
	if err := f(&tx{s: &s, now: now, fail: m.Fail}); err != nil {
		return err
	}
	if m.Fail != nil {
		if err := m.Fail("commit"); err != nil {
			return err
		}
	}
	m.State = s
	return nil
}

// User returns the user of that id, or nil.
func (m *Memory) User(id string) *roster.Person {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, p := range m.People {
		if user.Fold(p.UserID) == user.Fold(id) {
			return &p
		}
	}
	return nil
}

// AddLocal adds a local user with a password and returns its ID.
func (m *Memory) AddLocal(id string) int64 {
	m.mu.Lock()
	defer m.mu.Unlock()
	n := m.NextID
	m.NextID++
	m.People[n] = roster.Person{User: user.User{ID: n, UserID: id, Status: user.Local}}
	m.Passwords[n] = true
	return n
}

// SetInFlight says whether a job pushes something for the user.
func (m *Memory) SetInFlight(id string, inFlight bool) {
	p := m.User(id)
	m.mu.Lock()
	defer m.mu.Unlock()
	p.InFlight = inFlight
	m.People[p.ID] = *p
}

type tx struct {
	s    *State
	now  time.Time
	fail func(string) error
}

func (t *tx) step(name string) error {
	if t.fail == nil {
		return nil
	}
	return t.fail(name)
}

func (t *tx) SyncAgreement(name string) (roster.Agreement, error) {
	a := t.s.Agreements[name]
	a.Name = name
	return a, nil
}

func (t *tx) SyncTry(f func() error) error {
	before := t.s.clone()
	err := f()
	if err != nil {
		*t.s = before
	}
	return err
}

func (t *tx) SyncCount(agreement string) (n int, err error) {
	err = t.SyncIndex(agreement, func(roster.Held) error { n++; return nil })
	return n, err
}

func (t *tx) SyncIndex(agreement string, yield func(roster.Held) error) error {
	for _, p := range t.s.People {
		if p.Agreement != agreement || p.Key == "" {
			continue
		}
		h := roster.Held{Key: p.Key, Hash: p.Hash, Inactive: p.InactiveReason, Absent: p.Absent, Pending: len(t.s.Pending[agreement+"\x00"+p.Key]) > 0}
		if err := yield(h); err != nil {
			return err
		}
	}
	for key, a := range t.s.Excluded {
		if a == agreement {
			if err := yield(roster.Held{Key: key, Excluded: true}); err != nil {
				return err
			}
		}
	}
	return nil
}

func (t *tx) SyncPeople(keys []string) ([]roster.Person, error) {
	return t.people(func(p roster.Person) bool { return p.Key != "" && slices.Contains(keys, p.Key) }), nil
}

func (t *tx) SyncClaimants(folded []string) ([]roster.Person, error) {
	return t.people(func(p roster.Person) bool { return slices.Contains(folded, user.Fold(p.UserID)) }), nil
}

func (t *tx) people(want func(roster.Person) bool) []roster.Person {
	var found []roster.Person
	for _, p := range t.s.People {
		if want(p) {
			p.Departments = slices.Clone(p.Departments)
			found = append(found, p)
		}
	}
	return found
}

func (t *tx) SyncManagers(agreement string, dns []string) (map[string]string, error) {
	people := t.people(func(p roster.Person) bool { return p.DNNorm != "" && slices.Contains(dns, p.DNNorm) })
	slices.SortFunc(people, func(a, b roster.Person) int { // the one to take comes last
		if own := a.Agreement == agreement; own != (b.Agreement == agreement) {
			return map[bool]int{true: 1, false: -1}[own]
		}
		return cmp.Compare(b.ID, a.ID)
	})
	ids := map[string]string{}
	for _, p := range people {
		ids[p.DNNorm] = p.UserID
	}
	return ids, nil
}

func (t *tx) SyncExpired(agreement string, now time.Time) ([]string, error) {
	var keys []string
	for _, p := range t.s.People {
		if p.Agreement == agreement && p.Status == user.Active && !p.Expires.IsZero() && !p.Expires.After(now) {
			keys = append(keys, p.Key)
		}
	}
	slices.Sort(keys)
	return keys, nil
}

func (t *tx) SyncPending(agreement, after string, yield func(roster.Loss) error) error {
	for _, k := range slices.Sorted(maps.Keys(t.s.Pending)) {
		a, key, _ := strings.Cut(k, "\x00")
		if a != agreement || key <= after {
			continue
		}
		for _, l := range t.s.Pending[k] {
			if err := yield(l); err != nil {
				return err
			}
		}
	}
	return nil
}

func (t *tx) SyncRejects(agreement string, yield func(roster.Reject) error) error {
	for _, k := range slices.Sorted(maps.Keys(t.s.Rejects)) {
		if x := t.s.Rejects[k]; agreement == "" || x.Agreement == agreement {
			if err := yield(x); err != nil {
				return err
			}
		}
	}
	return nil
}

func (t *tx) SyncTally(agreement string, since time.Time, enough int) (roster.Tally, error) {
	y := roster.Tally{Pending: map[roster.Measure]int{}, Applied: map[roster.Measure]int{}}
	for _, p := range t.s.People {
		if p.Agreement == agreement {
			y.Total++
			if p.Status == user.Active {
				y.Active++
			}
		}
	}
	for _, ls := range t.s.Pending {
		for _, l := range ls {
			if l.Agreement == agreement {
				y.Pending[roster.Measure{Kind: l.Kind, Field: l.Field}]++
			}
		}
	}
	counted := map[roster.Loss]bool{}
	for _, l := range t.s.Applied {
		once := roster.Loss{Key: l.Key, Kind: l.Kind, Field: l.Field}
		if l.Agreement == agreement && !l.Accepted && !l.Since.Before(since) && !counted[once] {
			counted[once] = true
			y.Applied[roster.Measure{Kind: l.Kind, Field: l.Field}]++
		}
	}
	if enough > 0 {
		for _, counts := range []map[roster.Measure]int{y.Pending, y.Applied} {
			for _, n := range counts {
				enough += 200 * n
			}
		}
		y.Active = min(y.Active, enough)
		y.Total = y.Active
	}
	return y, nil
}

func (t *tx) SyncAdvance(agreement string, seq int64) error {
	if err := t.step("advance"); err != nil {
		return err
	}
	a := t.s.Agreements[agreement]
	if a.Seq != seq {
		return roster.ErrMoved
	}
	a.Name = agreement
	a.Seq++
	t.s.Agreements[agreement] = a
	return nil
}

func (t *tx) SyncSave(a roster.Agreement) error {
	a.Seq = t.s.Agreements[a.Name].Seq
	t.s.Agreements[a.Name] = a
	return t.step("save")
}

func (t *tx) SyncApply(agreement string, c roster.Changes) error {
	if err := t.step("apply"); err != nil {
		return err
	}
	for _, p := range c.Remove {
		t.mark(p.ID, t.s.People[p.ID].Key, t.s.People[p.ID].DNNorm)
		delete(t.s.People, p.ID)
		delete(t.s.Passwords, p.ID)
		delete(t.s.Pending, agreement+"\x00"+p.Key)
	}
	if err := t.put(c.Put); err != nil {
		return err
	}
	t.park(agreement, c.Mentioned, c.Park)
	t.s.Applied = append(t.s.Applied, c.Applied...)
	for _, x := range c.Reject {
		k := agreement + "\x00" + x.Key
		if old, ok := t.s.Rejects[k]; ok {
			x.Since = old.Since
		}
		t.s.Rejects[k] = x
	}
	for _, key := range c.Admit {
		delete(t.s.Rejects, agreement+"\x00"+key)
	}
	return nil
}

func (t *tx) SyncAdd(agreement string, people []roster.Person) (bool, error) {
	err := t.SyncTry(func() error { return t.SyncApply(agreement, roster.Changes{Put: people}) })
	if row := new(roster.RowError); errors.As(err, &row) {
		return false, nil
	}
	return err == nil, err
}

func (t *tx) put(people []roster.Person) error {
	for i := range people {
		p := people[i]
		if strings.Contains(p.LastName, "poison") {
			return &roster.RowError{Key: p.Key, Err: errors.New("poison")}
		}
		if p.ID == 0 {
			p.ID = t.s.NextID
			t.s.NextID++
		}
		if p.DropPassword {
			delete(t.s.Passwords, p.ID)
			p.DropPassword = false
		}
		if p.ManagerDN != t.s.People[p.ID].ManagerDN {
			delete(t.s.Managers, p.ID)
		}
		t.mark(p.ID, p.Key, t.s.People[p.ID].DNNorm, p.DNNorm)
		t.s.Marked[p.ID] = true
		p.Manager = t.s.People[p.ID].Manager
		p.InFlight, p.ChangedAt = t.s.People[p.ID].InFlight, t.now
		t.s.People[p.ID] = p
	}
	ids, keys := map[string]int{}, map[string]int{}
	for _, p := range t.s.People {
		ids[user.Fold(p.UserID)]++
		if p.Key != "" {
			keys[p.Key]++
		}
	}
	for _, p := range slices.Backward(people) {
		if ids[user.Fold(p.UserID)] > 1 {
			return &roster.RowError{Key: p.Key, Err: errors.New("another user has the id")}
		}
		if keys[p.Key] > 1 {
			return &roster.RowError{Key: p.Key, Err: errors.New("another user has the key")}
		}
	}
	return nil
}

// mark has the manager found again of everyone below one of these DNs, and of
// who was linked to that key.
func (t *tx) mark(changed int64, key string, dns ...string) {
	delete(t.s.Marked, changed)
	for id, p := range t.s.People {
		if p.ManagerDN != "" && (slices.Contains(dns, p.ManagerDN) || key != "" && t.s.Managers[id] == key) {
			t.s.Marked[id] = true
		}
	}
}

func (t *tx) park(agreement string, mentioned []string, park []roster.Loss) {
	old := map[roster.Loss]time.Time{}
	for _, key := range mentioned {
		for _, l := range t.s.Pending[agreement+"\x00"+key] {
			old[roster.Loss{Key: l.Key, Kind: l.Kind, Field: l.Field}] = l.Since
		}
		delete(t.s.Pending, agreement+"\x00"+key)
	}
	for _, l := range park {
		if since, ok := old[roster.Loss{Key: l.Key, Kind: l.Kind, Field: l.Field}]; ok {
			l.Since = since
		}
		k := agreement + "\x00" + l.Key
		if i := slices.IndexFunc(t.s.Pending[k], func(o roster.Loss) bool { return o.Kind == l.Kind && o.Field == l.Field }); i >= 0 {
			l.Since = t.s.Pending[k][i].Since
			t.s.Pending[k][i] = l
			continue
		}
		t.s.Pending[k] = append(t.s.Pending[k], l)
	}
}

func (t *tx) LinkManagers() (dangling int, err error) {
	byDN, byKey := map[string]roster.Person{}, map[string]roster.Person{}
	for _, p := range t.s.People {
		if p.DNNorm != "" {
			byDN[p.DNNorm] = p
		}
		if p.Key != "" {
			byKey[p.Key] = p
		}
	}
	for id := range t.s.Marked {
		p, ok := t.s.People[id]
		delete(t.s.Marked, id)
		if !ok || p.Status == user.Local {
			continue
		}
		if key := t.s.Managers[id]; key != "" && t.s.Agreements[p.Agreement].Kind == ldapsync.KindAD {
			p.Manager = byKey[key].UserID
		} else {
			p.Manager, t.s.Managers[id] = byDN[p.ManagerDN].UserID, byDN[p.ManagerDN].Key
		}
		if p.ManagerDN != "" && p.Manager == "" {
			dangling++
		}
		t.s.People[id] = p
	}
	return dangling, nil
}
