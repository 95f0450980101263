package storetest

import (
	"fmt"
	"slices"

	"github.com/dirpin/dirpin/internal/roster"
	"github.com/dirpin/dirpin/internal/user"
	"github.com/dirpin/dirpin/ldapsync"
)

// add calls SyncAdd and checks whether it added.
func (s *suite) add(agreement string, want bool, people ...roster.Person) {
	s.Helper()
	s.write(agreement, func(tx ldapsync.Writer) error {
		done, err := tx.SyncAdd(agreement, people)
		if done != want {
			s.Errorf("adding %s: %v, want %v", people[0].UserID, done, want)
		}
		return err
	})
}

// adding: all of them, with every field as SyncApply keeps it, or nobody.
func (s *suite) adding() {
	s.add("corp", true)
	full := person("corp", 1, "a")
	full.Expires, full.InactiveReason, full.Status = s.now, user.Disabled, user.Inactive
	bare := roster.Person{User: user.User{UserID: "b", Status: user.Active, Agreement: "corp", Key: key(2)}}
	s.add("corp", true, full, bare)
	s.apply("other", roster.Changes{Put: []roster.Person{person("other", 3, "c")}})
	all := s.all(1, 2, 3)
	for _, want := range []roster.Person{full, bare} {
		got := all[want.UserID]
		want.ID, want.ChangedAt = got.ID, got.ChangedAt
		if got.ID == 0 || fmt.Sprint(got) != fmt.Sprint(want) {
			s.Errorf("added:\n%+v\nwant\n%+v", got, want)
		}
	}
	many := make([]roster.Person, 0, 600)
	for i := range 600 {
		p := person("corp", 50, fmt.Sprintf("many%d", i))
		p.Key = fmt.Sprintf("00000000-0000-0000-0001-%012d", i)
		many = append(many, p)
	}
	for name, last := range map[string]roster.Person{"a key of the same": person("corp", 1, "x"), "a key of another": person("corp", 3, "x"),
		"a user id": person("corp", 9, "C"), "one of themselves": person("corp", 9, "MANY7")} {
		s.add("corp", false, append(slices.Clone(many), last)...)
		if n := s.count("corp"); n != 2 {
			s.Errorf("%s: %d people after it was taken, want 2", name, n)
		}
	}
	s.add("corp", true, many...)
	if n := s.count("corp"); n != 602 {
		s.Errorf("%d people, want 602", n)
	}
}

func (s *suite) count(agreement string) (n int) {
	s.read(func(tx ldapsync.Reader) error {
		return tx.SyncIndex(agreement, func(roster.Held) error { n++; return nil })
	})
	return n
}

// managersOfAdded: as SyncApply finds them, also while an agreement is loaded
// for the first time, and whatever happens between two of its transactions.
func (s *suite) managersOfAdded() {
	under := func(p roster.Person, id string) roster.Person { p.ManagerDN = "uid=" + id + ",dc=x"; return p }
	link := func() {
		s.write("other", func(tx ldapsync.Writer) error { _, err := tx.LinkManagers(); return err })
	}
	check := func(name string, want map[string]string) {
		s.Helper()
		for id, p := range s.all(1, 2, 3, 4, 5, 6, 7, 8) {
			if p.Manager != want[id] {
				s.Errorf("%s: the manager of %s is %q, want %q", name, id, p.Manager, want[id])
			}
		}
	}
	s.add("corp", true, under(person("corp", 1, "a"), "late"), under(person("corp", 2, "b"), "a"))
	s.add("corp", true, under(person("corp", 3, "late"), "late"))
	link()
	check("one after the other", map[string]string{"a": "late", "b": "a", "late": "late"})
	// Somebody links while the load goes on: in vain, and then she comes.
	s.add("corp", true, under(person("corp", 4, "d"), "last"))
	link()
	s.add("corp", true, person("corp", 5, "last"))
	link()
	check("linked meanwhile", map[string]string{"a": "late", "b": "a", "late": "late", "d": "last"})
	// Within one transaction too.
	s.write("corp", func(tx ldapsync.Writer) error {
		for _, p := range []roster.Person{under(person("corp", 6, "f"), "g"), person("corp", 7, "g")} {
			if done, err := tx.SyncAdd("corp", []roster.Person{p}); !done || err != nil {
				s.Errorf("%s: %v, %v", p.UserID, done, err)
			}
			if _, err := tx.LinkManagers(); err != nil {
				return err
			}
		}
		return nil
	})
	check("in one transaction", map[string]string{"a": "late", "b": "a", "late": "late", "d": "last", "f": "g"})
	// Somebody of another agreement waits for one of this.
	s.apply("other", roster.Changes{Put: []roster.Person{under(person("other", 8, "z"), "h")}})
	link()
	h := person("corp", 9, "h")
	s.add("corp", true, h)
	link()
	if got := s.all(8)["z"].Manager; got != "h" {
		s.Errorf("the manager of another agreement's is %q", got)
	}
}
