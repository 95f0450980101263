package ldapsync_test

import (
	"fmt"
	"slices"
	"strings"

	"github.com/dirpin/dirpin/config"
	"github.com/dirpin/dirpin/internal/lab"
	"github.com/dirpin/dirpin/internal/secret"
)

func (s *scene) wrong() secret.Value { return secret.New("no such password") }

// What stands in the attributes.
var valueScenarios = []scenario{
	{name: "a value is emptied", run: emptied},
	{name: "names of attributes", kinds: []lab.Kind{lab.OpenLDAP, lab.DS389}, run: attributeNames},
	{name: "names of attributes in any case", run: attributeCase},
	{name: "several values", run: severalValues},
	{name: "poison", run: poison},
	{name: "poison as a user id", run: poisonID},
	{name: "the first that has a value", run: firstThatHas},
}

func emptied(s *scene) {
	dns := s.people("a", "b")
	s.sync("added 2")
	s.d.Set(dns[0], "mail")
	s.d.Set(dns[0], "departmentNumber")
	s.sync("updated 1")
	if p := s.get("a"); p.Mail != "" || p.Department() != "" || p.FirstName != "Anna" {
		s.Errorf("a is %+v", p)
	}
	if p := s.get("b"); p.Mail == "" {
		s.Errorf("b is %+v", p)
	}
	s.sync("")
}

func attributeNames(s *scene) {
	s.person("a", map[string][]string{"sn": {"Maes"}, "telephoneNumber": {"1"}, "givenName;lang-de": {"Änne"}, "mail": {"a@example.org"}})
	s.sync("added 1")
	if p := s.get("a"); p.FirstName != "Anna" {
		s.Errorf("beside a tagged value the first name is %q", p.FirstName)
	}
	s.o.Agreement.Attributes = config.Attributes{FirstName: []string{"GIVENNAME;lang-de"}, LastName: []string{"SURNAME"}, Telephone: []string{"2.5.4.20"}, Mail: []string{"rfc822Mailbox"}}
	s.sync("updated 1")
	if p := s.get("a"); p.FirstName != "Änne" || p.LastName != "Maes" || p.Telephone != "1" || p.Mail != "a@example.org" {
		s.Errorf("by other names: %+v", p.User)
	}
	s.o.Agreement.Attributes = config.Attributes{FirstName: []string{"gn"}}
	s.sync("updated 1")
	if p := s.get("a"); p.FirstName != "Anna" {
		s.Errorf("by an alias the first name is %q", p.FirstName)
	}
}

func attributeCase(s *scene) {
	s.people("a")
	s.o.Agreement.Attributes = config.Attributes{FirstName: []string{"GIVENNAME"}, Mail: []string{"MaIl"}, UserID: []string{strings.ToUpper(s.d.Attribute("uid"))}}
	s.sync("added 1")
	if p := s.get("a"); p.FirstName != "Anna" || p.Mail != "a@example.org" {
		s.Errorf("a is %+v", p.User)
	}
}

func severalValues(s *scene) {
	many := "description"
	if s.d.Kind == lab.AD {
		many = "otherTelephone" // the description of a user has one value
	}
	dn := s.person("a", map[string][]string{many: {"three", "one", "two"}})
	s.person("b", nil)
	s.o.Agreement.Attributes.Telephone, s.o.Agreement.Attributes.Department = []string{many}, []string{many}
	s.sync("added 2")
	if p := s.get("a"); p.Telephone != "one" || !slices.Equal(p.Departments, []string{"one", "three", "two"}) {
		s.Errorf("a is %+v", p.User)
	}
	s.d.Set(dn, many, "two", "three", "one") // in another order
	s.sync("")
	s.d.Set(dn, many, "two", "one", "another")
	s.sync("updated 1")
	if p := s.get("a"); p.Telephone != "one" || !slices.Equal(p.Departments, []string{"another", "one", "two"}) {
		s.Errorf("a is %+v", p.User)
	}
	s.d.Set(dn, many, "two", "another")
	s.sync("updated 1")
	if p := s.get("a"); p.Telephone != "another" {
		s.Errorf("a is %+v", p.User)
	}
}

func poison(s *scene) {
	dn := s.person("a", map[string][]string{"jpegPhoto": {"ok"}, "info": nil})
	s.people("b")
	s.o.Agreement.Attributes.Language = []string{"jpegPhoto"} // the one that takes any bytes everywhere
	s.sync("added 2")
	for i, value := range []string{"nul\x00", "\xff\xfe not UTF-8", "tab\t", strings.Repeat("long", 300), "line\u2028\u0085"} {
		name := fmt.Sprint("Berta", i)
		s.d.Set(dn, "jpegPhoto", value)
		s.d.Set(dn, "givenName", name)
		s.sync("updated 1")
		if p := s.get("a"); p.Language != "ok" || p.FirstName != name {
			s.Errorf("%q made of a %+v", value, p.User)
		}
		s.d.Set(dn, "givenName", "Anna")
		s.sync("updated 1")
	}
	s.d.Set(dn, "jpegPhoto", "fine")
	s.sync("updated 1")
	if p := s.get("a"); p.Language != "fine" {
		s.Errorf("a is %+v", p.User)
	}
}

func poisonID(s *scene) {
	s.o.Agreement.Attributes.UserID = []string{"jpegPhoto"}
	dn := s.person("a", map[string][]string{"jpegPhoto": {s.d.ID("a")}})
	s.person("b", map[string][]string{"jpegPhoto": {strings.Repeat("x", 256)}})
	s.person("c", nil)
	s.person("d", map[string][]string{"jpegPhoto": {s.d.ID("d")}})
	s.sync("added 2, refused 2")
	s.d.Set(dn, "jpegPhoto", "a\x00b")
	s.d.Set(dn, "mail", "new@example.org")
	s.sync("refused 3")
	s.is("a", "ldap-active") // and keeps its row
	s.d.Set(dn, "jpegPhoto", s.d.ID("a"))
	s.sync("updated 1, refused 2")
}

func firstThatHas(s *scene) {
	dn := s.person("a", map[string][]string{"initials": {"Q"}})
	s.person("b", nil)
	second := map[lab.Kind]string{lab.AD: "middleName"}[s.d.Kind]
	if second == "" {
		second = "title" // inetOrgPerson has no middleName
		s.o.Agreement.Attributes.MiddleName = []string{"title", "initials"}
	}
	s.sync("added 2")
	if p := s.get("a"); p.MiddleName != "Q" {
		s.Errorf("a is %+v", p.User)
	}
	s.d.Set(dn, second, "Quirina")
	s.sync("updated 1")
	if p := s.get("a"); p.MiddleName != "Quirina" {
		s.Errorf("a is %+v", p.User)
	}
	s.d.Set(dn, second)
	s.sync("updated 1")
	if p := s.get("a"); p.MiddleName != "Q" {
		s.Errorf("a is %+v", p.User)
	}
}
