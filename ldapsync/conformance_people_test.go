package ldapsync_test

import (
	"strings"
	"time"

	"github.com/dirpin/dirpin/config"
	"github.com/dirpin/dirpin/internal/lab"
)

// Who comes, changes, leaves and returns.
var peopleScenarios = []scenario{
	{name: "life", run: life},
	{name: "grace and return", run: graceAndReturn},
	{name: "a recreated entry inherits nothing", run: recreated},
	{name: "all entries recreated are held", run: allRecreated},
	{name: "swaps and chains of user ids", run: swaps},
	{name: "a duplicate waits until the id is free", run: duplicate},
	{name: "nobody left is held", run: nobodyLeft},
	{name: "managers", run: managers},
	{name: "a renamed manager", run: renamedManager},
	{name: "names that are hard to write", run: hardNames},
}

func life(s *scene) {
	dns := s.people("a", "b", "c", "d", "e", "f", "g")
	s.sync("added 7")
	s.told()
	s.sync("")
	key := map[lab.Kind]string{lab.OpenLDAP: "entryUUID", lab.DS389: "nsUniqueId"}[s.d.Kind]
	if p := s.get("a"); key != "" && p.Key != s.d.Value(dns[0], key) || !strings.EqualFold(p.DN, dns[0]) || p.FirstName != "Anna" || p.LastName != "Test" || p.Department() != "12" || p.Mail != "a@example.org" {
		s.Errorf("a is %+v", p)
	}
	s.d.Set(dns[0], "sn", "Maes")
	s.d.Delete(dns[1])
	s.d.Rename(dns[2], strings.Replace(s.rdn("c"), "=", "=x", 1), "")
	if s.d.Kind != lab.AD {
		s.d.Rename(strings.Replace(dns[2], "=", "=x", 1), s.rdn("c"), "") // the RDN is the user id
	}
	sub := s.ou("sub", s.d.Base)
	s.d.Rename(dns[3], s.rdn("d"), sub)
	s.person("h", nil)
	want := "added 1, updated 2, deactivated 1"
	if s.d.Kind == lab.AD {
		want = "added 1, updated 3, deactivated 1"
	}
	s.sync(want)
	s.told("added h", "deactivated b absent")
	if p := s.get("a"); p.LastName != "Maes" {
		s.Errorf("a is %+v", p)
	}
	if p := s.get("d"); !strings.EqualFold(p.DN, s.rdn("d")+","+sub) {
		s.Errorf("d is at %s", p.DN)
	}
	s.is("b", "ldap-inactive absent")
	s.sync("")
}

func graceAndReturn(s *scene) {
	dns := s.people("a", "b", "c")
	s.sync("added 3")
	s.givePIN("a")
	s.d.Rename(dns[0], s.rdn("a"), s.ou("elsewhere", parentOf(s.d.Base)))
	s.sync("deactivated 1")
	s.told("deactivated a absent")
	s.d.Rename(s.rdn("a")+",ou=elsewhere,"+parentOf(s.d.Base), s.rdn("a"), s.d.Base)
	s.d.Delete("ou=elsewhere," + parentOf(s.d.Base))
	s.sync("returned 1")
	s.told("returned a")
	s.is("a", "ldap-active")
	if !s.hasPIN("a") {
		s.Error("who returned has lost the PIN")
	}
	s.d.Delete(dns[0])
	s.sync("deactivated 1")
	for range 3 {
		s.sync("")
	}
	s.is("a", "ldap-inactive absent")
	s.full("removed 1")
	s.told("removed a absent")
	s.is("a", "")
}

func parentOf(dn string) string {
	_, parent, _ := strings.Cut(dn, ",")
	return parent
}

func recreated(s *scene) {
	dns := s.people("a", "b", "c")
	s.sync("added 3")
	s.givePIN("a")
	old := s.get("a").ID
	s.d.Delete(dns[0])
	s.person("a", nil)
	s.sync("added 1, removed 1")
	s.told("added a", "removed a replaced")
	if s.get("a").ID == old || s.hasPIN("a") {
		s.Error("the new entry has what the old one had")
	}
}

func allRecreated(s *scene) {
	names := []string{"a", "b", "c", "d", "e"}
	dns := s.people(names...)
	s.sync("added 5")
	s.givePIN("a")
	before := s.get("a").ID
	for _, dn := range dns {
		s.d.Delete(dn)
	}
	s.people(names...)
	for range 2 {
		s.sync("refused 5, pending 5, held 1")
	}
	s.is("a", "ldap-active")
	s.o.AdoptKeys = true
	s.sync("returned 5")
	s.o.AdoptKeys = false
	if s.get("a").ID != before || !s.hasPIN("a") {
		s.Error("who was adopted has lost the PIN")
	}
	s.sync("")
}

func swaps(s *scene) {
	dns := s.people("a", "b", "c", "d", "e")
	s.sync("added 5")
	s.givePIN("a")
	keys := map[string]string{"a": s.get("b").Key, "b": s.get("a").Key, "d": s.get("c").Key}
	tmp := s.setID(dns[0], "tmp")
	s.setID(dns[1], "a")
	s.setID(tmp, "b")
	s.sync("updated 2")
	s.d.Delete(dns[3])
	s.setID(dns[2], "d")                          // of somebody who left
	want := "updated 1, deactivated 1, refused 1" // the DN
	if s.d.Kind == lab.AD {
		want = "deactivated 1, refused 1"
	}
	s.sync(want)
	s.is("d", "ldap-inactive absent")
	for name, key := range keys {
		if name != "d" && s.get(name).Key != key {
			s.Errorf("%s is %s, want %s", name, s.get(name).Key, key)
		}
	}
	if !s.hasPIN("b") || s.hasPIN("a") {
		s.Error("the PIN did not go with the person")
	}
}

func duplicate(s *scene) {
	s.o.Agreement.Attributes.UserID = []string{"mail"}
	at := s.d.ID("")
	first := s.person("a", map[string][]string{"mail": {"One" + at}})
	s.person("b", map[string][]string{"mail": {"two" + at}})
	s.sync("added 2")
	s.person("c", map[string][]string{"mail": {"ONE" + at}})
	for range 2 {
		s.sync("refused 1")
		s.told("refused ONE user-id-taken")
	}
	s.d.Set(first, "mail", "three"+at)
	s.sync("added 1, updated 1")
	if p := s.get("one"); p.UserID != "ONE"+at {
		s.Errorf("the id went to %+v", p)
	}
	s.sync("")
}

func nobodyLeft(s *scene) {
	dns := s.people("a", "b")
	s.sync("added 2")
	for _, dn := range dns {
		s.d.Delete(dn)
	}
	for range 2 {
		s.sync("pending 2, held 1")
		s.is("a", "ldap-active")
	}
	s.o.Agreement.Guard.MaxDeactivate = config.Limit{N: 100, Percent: true}
	s.sync("deactivated 2")
}

func managers(s *scene) {
	boss := s.person("boss", nil)
	s.person("a", map[string][]string{"manager": {boss}})
	b := s.person("b", map[string][]string{"manager": {boss}})
	s.d.Set(boss, "manager", b) // a cycle
	self := s.person("self", nil)
	s.d.Set(self, "manager", self)
	s.sync("added 4")
	for name, want := range map[string]string{"a": "boss", "b": "boss", "boss": "b", "self": "self"} {
		if got := s.bare(s.get(name).Manager); got != want {
			s.Errorf("the manager of %s is %q, want %q", name, got, want)
		}
	}
	// Another user id of the manager changes no subordinate's entry.
	boss = s.setID(boss, "chef")
	if s.d.Kind != lab.AD { // which keeps the link itself
		s.d.Set(s.rdn("a")+","+s.d.Base, "manager", boss)
		s.d.Set(b, "manager", boss)
	}
	r, err := s.run()
	if err != nil || r.Updated < 1 {
		s.Fatalf("%+v, %v", r, err)
	}
	for name, want := range map[string]string{"a": "chef", "b": "chef"} {
		if got := s.bare(s.get(name).Manager); got != want {
			s.Errorf("the manager of %s is %q, want %q", name, got, want)
		}
	}
	// The manager leaves, and is removed after the grace.
	s.d.Delete(boss)
	if _, err := s.run(); err != nil {
		s.Fatal(err)
	}
	s.now = s.now.Add(2 * time.Hour)
	s.o.Full = true
	for range 5 {
		if _, err := s.run(); err != nil {
			s.Fatal(err)
		}
	}
	s.is("chef", "")
	if got := s.get("a").Manager; got != "" {
		s.Errorf("the manager of a is %q", got)
	}
}

func renamedManager(s *scene) {
	boss := s.person("boss", nil)
	s.person("a", map[string][]string{"manager": {boss}})
	s.person("c", nil)
	s.sync("added 3")
	sub := s.ou("sub", s.d.Base)
	s.d.Rename(boss, s.rdn("boss"), sub)
	if _, err := s.run(); err != nil {
		s.Fatal(err)
	}
	want := "boss" // the link follows
	if s.d.Kind != lab.AD {
		want = "" // it is text
	}
	if got := s.bare(s.get("a").Manager); got != want {
		s.Errorf("the manager of a is %q, want %q", got, want)
	}
	// And back, where the text fits again.
	s.d.Rename(s.rdn("boss")+","+sub, s.rdn("boss"), s.d.Base)
	if _, err := s.run(); err != nil {
		s.Fatal(err)
	}
	if got := s.bare(s.get("a").Manager); got != "boss" {
		s.Errorf("the manager of a is %q", got)
	}
}

func hardNames(s *scene) {
	names := []string{"Smith, John", `quo"te`, "a+b", `back\slash`, "Zoë", "😀 smile", "100%_x", "שלום", "a=b", "<x>;y", "#hash"}
	sub := s.ou(`Sales\, \"EMEA\" \+ x`, s.d.Base)
	base := s.d.Base
	s.d.Base = sub
	defer func() { s.d.Base = base }()
	for i, name := range names {
		id := "n" + string(rune('a'+i))
		rdn := "cn=" + escape(name)
		attributes := map[string][]string{"objectClass": {"inetOrgPerson"}, "cn": {name}, "sn": {name}, "givenName": {name}, s.d.Attribute("uid"): {s.d.ID(id)}}
		if s.d.Kind == lab.AD {
			attributes["objectClass"], attributes["userAccountControl"] = []string{"user"}, []string{"544"}
		}
		dn := rdn + "," + sub
		s.d.Add(dn, attributes)
		s.person("m"+string(rune('a'+i)), map[string][]string{"manager": {dn}})
	}
	s.sync("added 22")
	for i, name := range names {
		id := "n" + string(rune('a'+i))
		if p := s.get(id); p.LastName != name || p.FirstName != name {
			s.Errorf("%s became %+v", name, p.User)
		}
		if p := s.get("m" + string(rune('a'+i))); s.bare(p.Manager) != id {
			s.Errorf("the manager %s of %s is %q", name, p.UserID, p.Manager)
		}
	}
	s.sync("")
}
