package resetjob

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"time"

	"pgregory.net/rapid"

	"github.com/dirpin/dirpin/internal/roster"
	"github.com/dirpin/dirpin/internal/store"
	"github.com/dirpin/dirpin/internal/user"
)

// phone: a user chooses a PIN.
func (w *world) phone(rt *rapid.T) {
	p := w.people[rapid.IntRange(0, len(w.people)-1).Draw(rt, "person")]
	w.mu.Lock()
	defer w.mu.Unlock()
	box := p.box
	if w.several() && rapid.Bool().Draw(rt, "in the east") {
		box = p.east
	}
	if !box.exists {
		rt.Skip()
	}
	pin := fmt.Sprintf("8%07d", len(w.story))
	box.held = append(box.held, held{pin: pin, at: time.Now(), lineage: w.lineage})
	w.tell("%s chooses %s by phone", p.alias, pin)
}

// sync is what a synchronization, or an administrator, does to a user, by the
// store: it leaves whoever is in flight alone.
func (w *world) sync(rt *rapid.T) {
	if !w.broken.IsZero() {
		rt.Skip()
	}
	p := w.present(rt)
	w.syncs(rt, p, rapid.SampledFrom([]string{"rename", "new hire", "remove", "inactive", "active", "department 1", "department 2", "department 5", "department 9"}).Draw(rt, "what"))
}

// leaveAndReturn removes somebody whom a request may still reach, and resets
// whoever comes back by that name.
func (w *world) leaveAndReturn(rt *rapid.T) {
	if w.jobs >= 5 || len(w.living()) >= 2 || !w.broken.IsZero() {
		rt.Skip()
	}
	w.mu.Lock()
	var p *person
	for pk := range w.network {
		if !pk.listen && pk.arrives() && pk.person.ref != 0 && (p == nil || pk.person.alias < p.alias) {
			p = pk.person
		}
	}
	w.mu.Unlock()
	if p == nil {
		rt.Skip()
	}
	w.syncs(rt, p, "remove")
	w.startFile(w.jobFile(rt), "", 0)
}

func (w *world) syncs(rt *rapid.T, p *person, what string) {
	s, err := store.Open(context.Background(), store.Options{Path: w.db, Now: w.now})
	w.must(err)
	defer s.Close()
	err = s.Write(context.Background(), func(tx *store.Tx) error {
		if what == "remove" && p.key == "" {
			return tx.RemoveUser(p.ref)
		}
		key := p.key
		if key == "" {
			rt.Skip()
		}
		found, err := tx.SyncPeople([]string{key})
		if err != nil {
			return err
		}
		u := found[0]
		if what == "remove" {
			return tx.SyncApply("corp", roster.Changes{Remove: []roster.Person{u}})
		}
		if u.InFlight {
			return store.ErrInFlight
		}
		switch what {
		case "rename", "new hire":
			u.UserID = p.renamed()
		case "inactive":
			u.Status, u.InactiveReason = user.Inactive, user.Absent
		case "active":
			u.Status, u.InactiveReason = user.Active, ""
		default:
			u.Departments = []string{what[len(what)-1:]}
		}
		return tx.SyncApply("corp", roster.Changes{Put: []roster.Person{u}})
	})
	var row *roster.RowError
	if errors.Is(err, store.ErrInFlight) || errors.As(err, &row) {
		w.say("sync: %s of %s is deferred", what, p.alias)
		return
	}
	w.must(err)
	w.say("sync: %s of %s", what, p.alias)
	w.follows(p, what)
}

// renamed is the person's next user id, as long as the others.
func (p *person) renamed() string { return p.alias[:4] + string(p.alias[4]+8) }

// follows: the voicemail system knows what the directory knows.
func (w *world) follows(p *person, what string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	switch what {
	case "rename", "new hire":
		old := p.alias
		p.alias = p.renamed()
		if what == "new hire" && w.aliased(old) == nil {
			q := w.hire(&person{alias: old, key: "key-" + old + "2", born: old + "2"})
			w.insertPerson(q)
			w.people = append(w.people, q)
			w.tell("somebody new is called %s", old)
		}
	case "remove":
		if w.look().inFlight(p.ref) {
			w.wrong("%s was removed while a push for them was open (S15)", p.alias)
		}
		p.ref = 0
		w.insertPerson(p) // and comes back, the same person with the same mailbox
	}
}

func (s *view) inFlight(ref int64) bool {
	return slices.ContainsFunc(s.journal, func(j seenJournal) bool { return j.ref == ref && j.until == 0 })
}

func (w *world) present(rt *rapid.T) *person {
	p := w.people[rapid.IntRange(0, len(w.people)-1).Draw(rt, "person")]
	if p.ref == 0 || p.alias[4] > 'h' || w.aliased(p.renamed()) != nil {
		rt.Skip()
	}
	return p
}

// recklessSync changes a user whose push a dead process has left open: whoever
// goes on must see that it is another one now.
func (w *world) recklessSync(rt *rapid.T) {
	if len(w.living()) > 0 || !w.broken.IsZero() {
		rt.Skip()
	}
	p := w.present(rt)
	w.mu.Lock()
	in := w.look().inFlight(p.ref)
	w.mu.Unlock()
	if !in {
		rt.Skip()
	}
	what := rapid.SampledFrom([]string{"rename", "key", "department"}).Draw(rt, "what")
	if what == "key" && p.key == "" {
		what = "rename"
	}
	switch what {
	case "rename":
		w.exec("UPDATE users SET user_id = ?, user_id_f = ? WHERE id = ?", p.renamed(), p.renamed(), p.ref)
		w.say("reckless sync: %s becomes %s", p.alias, p.renamed())
		w.follows(p, "new hire")
	case "key":
		w.exec("UPDATE users SET entry_key = 'other-'||id WHERE id = ?", p.ref)
		w.say("reckless sync: %s has another key", p.alias)
		p.key = fmt.Sprintf("other-%d", p.ref)
	case "department":
		w.exec("UPDATE users SET department = '1', department_f = char(10)||'1'||char(10) WHERE id = ?", p.ref)
		w.say("reckless sync: %s moves to department 1", p.alias)
	}
}

func (w *world) protect(rt *rapid.T) {
	w.protects = !w.protects
	w.say("the configuration protects department 9: %v", w.protects)
}

// breakDatabase makes the database refuse what processes write.
func (w *world) breakDatabase(rt *rapid.T) {
	if !w.broken.IsZero() || len(w.living()) == 0 {
		rt.Skip()
	}
	w.exec("ALTER TABLE batches RENAME TO batches_gone")
	w.exec("ALTER TABLE owners RENAME TO owners_gone")
	w.mu.Lock()
	w.broken = time.Now()
	w.mu.Unlock()
	w.say("the database takes nothing any more")
}

func (w *world) mend(rt *rapid.T) {
	if w.broken.IsZero() && w.bad == 0 {
		rt.Skip()
	}
	w.mendAll()
}

func (w *world) mendAll() {
	w.mu.Lock()
	broken, bad := !w.broken.IsZero(), w.bad != 0
	w.broken, w.bad = time.Time{}, 0
	w.mu.Unlock()
	if broken {
		w.exec("ALTER TABLE batches_gone RENAME TO batches")
		w.exec("ALTER TABLE owners_gone RENAME TO owners")
	}
	if bad {
		w.exec("DROP TRIGGER bad")
		w.exec("DROP TRIGGER bad2")
	}
	if broken || bad {
		w.say("the database is mended")
	}
}

// badRow makes one user's credential impossible to write.
func (w *world) badRow(rt *rapid.T) {
	if w.bad != 0 || !w.broken.IsZero() {
		rt.Skip()
	}
	p := w.present(rt)
	w.bad, w.owed[p.ref] = p.ref, true
	for name, what := range map[string]string{"bad": "INSERT", "bad2": "UPDATE"} {
		w.exec(fmt.Sprintf("CREATE TRIGGER %s BEFORE %s ON credentials WHEN NEW.user_ref = %d BEGIN SELECT RAISE(ABORT, 'bad row'); END", name, what, p.ref))
	}
	w.say("the credential of %s cannot be written", p.alias)
}

// unlock removes the lock file of a process that lives: it will be taken for
// dead.
func (w *world) unlock(rt *rapid.T) {
	p := w.one(rt)
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.owner == nil {
		rt.Skip()
	}
	path, err := lockPath(p.store, p.owner.ID)
	w.must(err)
	if os.Remove(path) == nil {
		p.unlocked = true
		w.say("somebody removes the lock of %s", p.name)
	}
}

// moveClock sets the wall clock. Whatever is on its way arrives before it goes
// forward: a machine that slept was asleep for the network too.
func (w *world) moveClock(rt *rapid.T) {
	if rapid.IntRange(0, 3).Draw(rt, "rarely") > 0 {
		rt.Skip()
	}
	by := rapid.SampledFrom([]time.Duration{-2 * time.Hour, -30 * time.Second, 30 * time.Second, time.Hour}).Draw(rt, "by")
	w.mu.Lock()
	defer w.mu.Unlock()
	if by > 0 && len(w.network) > 0 {
		rt.Skip()
	}
	w.offset, w.back = w.offset+by, w.back || by < 0
	w.jumps = append(w.jumps, jump{time.Now(), by})
	w.tell("the clock is set by %s", by)
}

// jump is a change of the wall clock.
type jump struct {
	at time.Time
	by time.Duration
}

// waits is how long a leg waits, at the most, between its claim and the wire.
const waits = time.Minute

// claimClock is what the wall clock would show if it had not been set forward
// since a leg that is sent now was claimed: its age was judged then.
func (w *world) claimClock() time.Time {
	now := w.clock()
	for _, j := range w.jumps {
		if j.by > 0 && time.Since(j.at) < waits {
			now = now.Add(-j.by)
		}
	}
	return now
}
