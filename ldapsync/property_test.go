package ldapsync_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/dirpin/dirpin/config"
	"github.com/dirpin/dirpin/internal/roster"
	"github.com/dirpin/dirpin/internal/user"
	"github.com/dirpin/dirpin/ldapsync"
	"github.com/dirpin/dirpin/ldapsync/storetest"
)

// Whatever a directory does, and whenever the process dies: credentials never
// go to another key, nobody is lost beyond the guard, and a run that is let
// through leaves exactly what the directory says.
func TestSyncProperty(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		w := &world{store: storetest.NewMemory(), dir: &fakeDirectory{hidden: map[string]bool{},
			facts: ldapsync.Facts{Kind: ldapsync.KindOpenLDAP, Server: "dc1", KeyAttribute: "entryUUID", ScopeFP: "s", MapFP: "m"}},
			ids: map[int]int{}, owner: map[int64]string{}, now: time.Date(2026, 11, 24, 2, 0, 0, 0, time.UTC)}
		for range rapid.IntRange(2, 12).Draw(t, "runs") {
			w.step(t)
		}
		w.settle(t)
	})
}

type world struct {
	store *storetest.Memory
	dir   *fakeDirectory
	ids   map[int]int      // entry → number of its user id
	owner map[int64]string // user → key
	now   time.Time
}

// step changes the directory and synchronizes once, perhaps to die in it.
func (w *world) step(t *rapid.T) {
	for range rapid.IntRange(0, 6).Draw(t, "changes") {
		n := rapid.IntRange(1, 12).Draw(t, "entry")
		if rapid.Bool().Draw(t, "gone") {
			delete(w.ids, n)
		} else {
			w.ids[n] = rapid.IntRange(1, 12).Draw(t, "id")
		}
	}
	w.entries(rapid.IntRange(0, 3).Draw(t, "mail"))
	w.dir.err = nil
	if rapid.IntRange(0, 4).Draw(t, "cut") == 0 {
		w.dir.err = fmt.Errorf("cut: %w", ldapsync.ErrDirectory)
	}
	died := errors.New("died")
	left := rapid.IntRange(0, 12).Draw(t, "steps until it dies")
	w.store.Fail = func(string) error {
		if left--; left == 0 {
			return died
		}
		return nil
	}
	active := w.active()
	r, err := w.run(false)
	w.store.Fail = nil
	if err != nil && !errors.Is(err, died) && !errors.Is(err, ldapsync.ErrDirectory) {
		t.Fatalf("sync: %v", err)
	}
	lost := 0
	for key := range active {
		if !w.active()[key] {
			lost++
		}
	}
	if limit := (config.Limit{N: 30, Percent: true}).Of(len(active) + r.Added + r.Returned); err != nil && lost > 0 || lost > 2*limit {
		t.Fatalf("%d of %d were lost, %v", lost, len(active), err)
	}
	w.check(t)
}

func (w *world) entries(mail int) {
	w.dir.entries = nil
	for n := 1; n <= 12; n++ {
		if id, ok := w.ids[n]; ok {
			w.dir.entries = append(w.dir.entries, person(n, func(e *ldapsync.Entry) {
				e.Person.UserID = fmt.Sprintf("u%d", id)
				if mail != 0 {
					e.Person.Mail = fmt.Sprintf("m%d", mail)
				} else if n%2 == 0 {
					e.Person.Mail = ""
				}
				if n%5 == 0 && mail == 2 {
					disabled(e)
				}
			}))
		}
	}
}

func (w *world) run(accept bool) (ldapsync.Result, error) {
	w.now = w.now.Add(15 * time.Minute)
	limit := config.Limit{N: 30, Percent: true}
	return ldapsync.Run(context.Background(), ldapsync.Options{
		Agreement: config.Agreement{Name: "corp", Interval: 15 * time.Minute, Grace: 45 * time.Minute, Guard: config.Guard{MaxDeactivate: limit, MaxBlank: limit, Window: 24 * time.Hour}},
		Store:     w.store, Log: slog.New(slog.DiscardHandler), Now: func() time.Time { return w.now }, AcceptRemovals: accept,
		Connect: func(context.Context, ldapsync.ConnectOptions) (ldapsync.Directory, error) { return w.dir, nil },
	})
}

func (w *world) active() map[string]bool {
	keys := map[string]bool{}
	for _, p := range w.store.People {
		if p.Status == user.Active {
			keys[p.Key] = true
		}
	}
	return keys
}

// check: no row ever serves another key.
func (w *world) check(t *rapid.T) {
	for id, p := range w.store.People {
		if was, ok := w.owner[id]; ok && was != p.Key {
			t.Fatalf("user %d was %s and is %s: credentials went to somebody else", id, was, p.Key)
		}
		w.owner[id] = p.Key
	}
}

// settle lets everything through, and compares.
func (w *world) settle(t *rapid.T) {
	w.dir.err = nil
	for range 6 {
		if _, err := w.run(true); err != nil {
			t.Fatalf("sync: %v", err)
		}
		w.check(t)
	}
	r, err := w.run(false)
	if err != nil || r.Added+r.Updated+r.Deactivated+r.Returned+r.Removed+r.Pending+len(r.Held) != 0 {
		t.Fatalf("not settled: %s %v", counts(r), err)
	}
	stored := map[string]roster.Person{}
	for _, p := range w.store.People {
		stored[p.Key] = p
	}
	taken := map[string]int{}
	for _, e := range w.dir.entries {
		taken[e.Person.UserID]++
	}
	for _, e := range w.dir.entries {
		p, ok := stored[e.Person.Key]
		delete(stored, e.Person.Key)
		if !ok || p.UserID != e.Person.UserID {
			if taken[e.Person.UserID] == 1 && r.Refused == 0 {
				t.Fatalf("%s has %q, not %q", e.Person.Key, p.UserID, e.Person.UserID)
			}
			continue
		}
		if p.Mail != e.Person.Mail || p.Status != e.Person.Status {
			t.Fatalf("%s is %+v, not %+v", p.Key, p.User, e.Person.User)
		}
	}
	if len(stored) > 0 {
		t.Fatalf("left over: %v", stored)
	}
}
