package ldapsync_test

import (
	"errors"
	"strings"

	"github.com/go-ldap/ldap/v3"

	"github.com/dirpin/dirpin/internal/lab"
	"github.com/dirpin/dirpin/ldapsync"
)

// escape writes a value of a DN. Samba wants the equals sign escaped too.
func escape(s string) string { return strings.ReplaceAll(ldap.EscapeDN(s), "=", `\=`) }

// Where people are, and what of it an agreement is about.
var placeScenarios = []scenario{
	{name: "an OU moves in, within and out", run: ouMoves},
	{name: "the filter is changed", run: filterChanged},
	{name: "the base is changed", run: baseChanged},
	{name: "an attribute is added", run: attributeAdded},
	{name: "another account binds", run: otherBind},
	{name: "another directory", run: otherDirectory},
	{name: "two agreements overlap", run: overlap},
}

// within narrows the agreement to a part of the place and returns the two
// parts.
func (s *scene) within() (in, out string) {
	s.Helper()
	in, out = s.ou("in", s.d.Base), s.ou("out", s.d.Base)
	s.o.Agreement.Base = in
	return in, out
}

// below adds people below another entry than the place.
func (s *scene) below(parent string, names ...string) {
	s.Helper()
	base := s.d.Base
	s.d.Base = parent
	s.people(names...)
	s.d.Base = base
}

func ouMoves(s *scene) {
	in, out := s.within()
	s.below(in, "a")
	team := s.ou("team", out)
	s.below(team, "b", "c")
	s.sync("added 1")
	s.d.Rename(team, "ou=team", in)
	s.sync("added 2")
	s.told("added b", "added c")
	s.person("x", nil) // outside, so that something changes that is nobody's
	s.d.Rename("ou=team,"+in, "ou=crew", "")
	s.sync("updated 2")
	if p := s.get("b"); !strings.HasSuffix(strings.ToLower(p.DN), strings.ToLower(",ou=crew,"+in)) {
		s.Errorf("b is at %s", p.DN)
	}
	s.d.Rename("ou=crew,"+in, "ou=crew", out)
	s.sync("deactivated 2")
	s.told("deactivated b absent", "deactivated c absent")
	s.d.Rename("ou=crew,"+out, "ou=team", in)
	s.sync("returned 2")
}

func filterChanged(s *scene) {
	for _, n := range []string{"a", "b", "c", "d", "e"} {
		s.person(n, map[string][]string{"telephoneNumber": {"1" + n}})
	}
	s.person("f", map[string][]string{"telephoneNumber": {"2f"}})
	s.o.Agreement.Filter = "(&(objectClass=person)(telephoneNumber=1*))"
	s.sync("added 5")
	s.o.Agreement.Filter = "(objectClass=person)"
	s.sync("added 1")
	s.o.Agreement.Filter = "(&(objectClass=person)(telephoneNumber=1a))"
	r := s.sync("pending 5, held 1")
	if !strings.Contains(r.Held[0].String(), "base, filter") {
		s.Errorf("held: %s", r.Held[0])
	}
	s.is("f", "ldap-active")
	s.o.Agreement.Filter = "(&(objectClass=person)(!(telephoneNumber=2f)))"
	s.sync("deactivated 1")
	s.told("deactivated f absent")
}

func baseChanged(s *scene) {
	in, _ := s.within()
	s.below(in, "a", "b")
	s.people("c")
	s.sync("added 2")
	s.o.Agreement.Base = s.d.Base
	s.sync("added 1")
	s.told("added c")
	s.o.Agreement.Base = in
	s.sync("deactivated 1")
}

func attributeAdded(s *scene) {
	s.person("a", map[string][]string{"telephoneNumber": {"1"}, "title": {"Dr"}})
	s.person("b", map[string][]string{"telephoneNumber": {"2"}})
	s.sync("added 2")
	s.o.Agreement.Attributes.Language = []string{"title"}
	s.sync("updated 1")
	if p := s.get("a"); p.Language != "Dr" || p.Telephone != "1" {
		s.Errorf("a is %+v", p)
	}
	// A field that is read no more is emptied, by a handful at a time.
	s.o.Agreement.Attributes.Telephone = []string{}
	s.sync("updated 2")
	if p := s.get("a"); p.Telephone != "" || p.Mail == "" {
		s.Errorf("a is %+v", p)
	}
}

func otherBind(s *scene) {
	s.people("a", "b", "c", "d", "e")
	s.sync("added 5")
	if s.d.Kind == lab.AD {
		// Nobody reads a domain anonymously.
		s.o.Agreement.Bind.DN = ""
		if _, err := s.run(); !errors.Is(err, ldapsync.ErrDirectory) {
			s.Errorf("anonymously: %v", err)
		}
		s.is("a", "ldap-active")
		return
	}
	s.o.Agreement.Bind.DN = ""
	s.d.Delete(s.rdn("a") + "," + s.d.Base)
	s.sync("deactivated 1") // and no cookie of another account has hidden it
}

func otherDirectory(s *scene) {
	s.people("a", "b")
	s.sync("added 2")
	other := lab.Shared(s, s.d.Kind)
	other.AddPerson(other.ID("z"), nil)
	s.o.Agreement.Base = other.Base // of the same naming context: the same directory
	s.sync("added 1, pending 2, held 1")
	s.o.Agreement.Base = s.d.Base
	s.sync("deactivated 1")
}

func overlap(s *scene) {
	in, out := s.within()
	s.below(in, "a", "b")
	s.below(out, "c")
	s.sync("added 2")
	s.givePIN("a")
	corp := s.o.Agreement
	other := corp
	other.Name, other.Base = "other", s.d.Base
	as := func(which string, want string) {
		s.Helper()
		if s.o.Agreement = corp; which == "other" {
			s.o.Agreement = other
		}
		s.sync(want)
	}
	as("other", "added 1, refused 2") // a and b are corp's
	s.told("refused a owned-by", "refused b owned-by")
	s.d.Rename(s.rdn("a")+","+in, s.rdn("a"), out)
	as("corp", "")
	if p := s.get("a"); p.Agreement != "other" || !s.hasPIN("a") {
		s.Errorf("a is %+v", p.User)
	}
	s.is("a", "ldap-active")
	as("other", "updated 1, refused 1")
	// The other way: corp has lost it, and the other learns of it later.
	s.d.Rename(s.rdn("a")+","+out, s.rdn("a"), in)
	as("other", "updated 1, refused 1") // still within the wider base
	as("corp", "refused 1")
}
