package storetest

import (
	"maps"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/dirpin/dirpin/internal/roster"
	"github.com/dirpin/dirpin/internal/user"
)

// Feeds is what incremental feeds keep.
type Feeds struct {
	Marks      map[[3]string]roster.Mark // by agreement, feed, provider
	Containers map[[2]string]string      // by agreement and key, the normalized DN
	Leases     map[string]Lease
	Orders     map[int64]roster.Order
	LastOrder  int64
}

// Lease is who has a lease, and until when.
type Lease struct {
	Holder string
	Until  time.Time
}

func newFeeds() Feeds {
	return Feeds{Marks: map[[3]string]roster.Mark{}, Containers: map[[2]string]string{}, Leases: map[string]Lease{}, Orders: map[int64]roster.Order{}}
}

func (f Feeds) clone() Feeds {
	f.Marks, f.Containers, f.Leases, f.Orders = maps.Clone(f.Marks), maps.Clone(f.Containers), maps.Clone(f.Leases), maps.Clone(f.Orders)
	return f
}

func (t *tx) SyncMark(agreement, feed, provider string) (roster.Mark, error) {
	m := t.s.Marks[[3]string{agreement, feed, provider}]
	m.Agreement, m.Feed, m.Provider = agreement, feed, provider
	m.Cookie = slices.Clone(m.Cookie)
	return m, nil
}

func (t *tx) SyncSaveMark(m roster.Mark) error {
	m.Cookie = slices.Clone(m.Cookie)
	t.s.Marks[[3]string{m.Agreement, m.Feed, m.Provider}] = m
	return t.step("mark")
}

func (t *tx) SyncContainers(agreement string, keys []string) ([]roster.Container, error) {
	var found []roster.Container
	for _, k := range keys {
		if dn, ok := t.s.Containers[[2]string{agreement, k}]; ok {
			found = append(found, roster.Container{Key: k, DNNorm: dn})
		}
	}
	return found, nil
}

func (t *tx) SyncSetContainers(agreement string, all []roster.Container) error {
	maps.DeleteFunc(t.s.Containers, func(k [2]string, _ string) bool { return k[0] == agreement })
	for _, c := range all {
		t.s.Containers[[2]string{agreement, c.Key}] = c.DNNorm
	}
	return t.step("containers")
}

func (t *tx) SyncExcluded(agreement string, keys []string) ([]string, error) {
	var found []string
	for _, k := range keys {
		if t.s.Excluded[k] == agreement {
			found = append(found, k)
		}
	}
	return found, nil
}

func (t *tx) SyncSample(agreement string, n int) ([]roster.Person, error) {
	all := t.people(func(p roster.Person) bool { return p.Agreement == agreement && p.Status == user.Active })
	rand.Shuffle(len(all), func(i, j int) { all[i], all[j] = all[j], all[i] })
	return all[:min(n, len(all))], nil
}

func (t *tx) SyncAtLeast(agreement string, n int) (bool, error) {
	return len(t.people(func(p roster.Person) bool { return p.Agreement == agreement })) >= n, nil
}

func (t *tx) SyncObserve(agreement string, by time.Duration) error {
	for id, p := range t.s.People {
		if p.Agreement == agreement && p.InactiveReason == user.Absent {
			p.Absent += by
			t.s.People[id] = p
		}
	}
	return t.step("observe")
}

func (t *tx) SyncLease(name, holder string, now, until time.Time) (string, error) {
	if l, ok := t.s.Leases[name]; ok && l.Holder != holder && l.Until.After(now) {
		return l.Holder, nil
	}
	t.s.Leases[name] = Lease{holder, until}
	return "", nil
}

func (t *tx) SyncRelease(name, holder string) error {
	if t.s.Leases[name].Holder == holder {
		delete(t.s.Leases, name)
	}
	return nil
}

func (t *tx) SyncAsk(agreement, request string, now time.Time) (int64, error) {
	t.s.LastOrder++
	t.s.Orders[t.s.LastOrder] = roster.Order{ID: t.s.LastOrder, Agreement: agreement, At: now, Request: request}
	return t.s.LastOrder, nil
}

func (t *tx) SyncOrders(agreement string, yield func(roster.Order) error) error {
	for _, id := range slices.Sorted(maps.Keys(t.s.Orders)) {
		if o := t.s.Orders[id]; o.Agreement == agreement && o.Holder == "" {
			if err := yield(o); err != nil {
				return err
			}
		}
	}
	return nil
}

func (t *tx) SyncOrder(id int64) (roster.Order, error) { return t.s.Orders[id], nil }

func (t *tx) SyncSaveOrder(o roster.Order) error {
	if old, ok := t.s.Orders[o.ID]; ok {
		old.Holder, old.Answer = o.Holder, o.Answer
		t.s.Orders[o.ID] = old
	}
	return nil
}

func (t *tx) SyncForgetOrder(id int64) error {
	delete(t.s.Orders, id)
	return nil
}
