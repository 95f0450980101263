package ldapsync_test

import (
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/dirpin/dirpin/internal/roster"
	"github.com/dirpin/dirpin/internal/user"
	"github.com/dirpin/dirpin/ldapsync"
)

func ending(at time.Time) func(*ldapsync.Entry) {
	return func(e *ldapsync.Entry) { e.Person.Expires = at }
}

func (b *bench) expire(want string) {
	b.t.Helper()
	b.changes = nil
	r, err := ldapsync.Expire(b.t.Context(), b.o)
	if err != nil {
		b.t.Fatal(err)
	}
	if got := counts(r); got != want {
		b.t.Fatalf("got %q, held %v, told %v, want %q", got, r.Held, b.changes, want)
	}
}

func TestAccountsEndBetweenSynchronizations(t *testing.T) {
	b := newBench(t).people(1, 40)
	soon := b.now.Add(20 * time.Minute)
	b.replace(person(3, ending(soon)), person(4, ending(soon.Add(time.Hour))), person(5, ending(soon)))
	b.sync("added 40")
	b.expire("")
	// A loss that no complete answer has judged is none of its business.
	b.dir.err = fmt.Errorf("cut: %w", ldapsync.ErrDirectory)
	b.replace(person(6, disabled), person(7, func(e *ldapsync.Entry) { e.Person.Mail = "" }))
	if _, err := b.run(); err == nil {
		t.Fatal("not cut")
	}
	b.dir.err = nil
	b.store.SetInFlight("u5", true)
	b.now = soon
	b.expire("deactivated 1")
	if !slices.Equal(b.changes, []string{"deactivated u3"}) {
		t.Errorf("told %v", b.changes)
	}
	b.want("u3", func(p *roster.Person) bool { return p.Status == user.Inactive && p.InactiveReason == user.Expired })
	for _, id := range []string{"u4", "u5", "u6", "u7"} {
		b.want(id, func(p *roster.Person) bool { return p.Status == user.Active })
	}
	b.expire("")
	b.store.SetInFlight("u5", false)
	b.expire("deactivated 1")
	b.expire("")

	// The guard judges as ever: two have left today, and four at most may.
	b.now = soon.Add(time.Hour)
	for n := 10; n < 13; n++ {
		p := b.store.User(fmt.Sprintf("u%d", n))
		p.Expires = b.now
		b.store.People[p.ID] = *p
	}
	b.expire("held 1") // u4 and these
	b.want("u4", func(p *roster.Person) bool { return p.Status == user.Active })
	b.o.AcceptRemovals = true
	b.expire("deactivated 4")
	b.store.Fail = func(step string) error {
		if step == "advance" {
			return roster.ErrMoved
		}
		return nil
	}
	p := b.store.User("u20")
	p.Expires = b.now
	b.store.People[p.ID] = *p
	if _, err := ldapsync.Expire(t.Context(), b.o); !errors.Is(err, ldapsync.ErrBusy) {
		t.Errorf("beside a synchronization: %v", err)
	}
}
