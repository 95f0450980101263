package ldapsync_test

import (
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/dirpin/dirpin/internal/lab"
	"github.com/dirpin/dirpin/internal/secret"
	"github.com/dirpin/dirpin/ldapsync"
)

// Accounts that are there and may not be used.
var accountScenarios = []scenario{
	{name: "disabled", kinds: []lab.Kind{lab.DS389, lab.AD}, run: disabledAccount},
	{name: "disabled leaves the filter", kinds: []lab.Kind{lab.AD}, run: disabledLeavesFilter},
	{name: "whether it is disabled is hidden", kinds: []lab.Kind{lab.AD}, run: controlHidden},
	{name: "expired", kinds: []lab.Kind{lab.AD}, run: expiredAccount},
	{name: "the account that binds is refused", kinds: []lab.Kind{lab.AD}, run: bindRefused},
	{name: "computers and contacts are nobody", kinds: []lab.Kind{lab.AD}, run: computers},
}

func disabledAccount(s *scene) {
	dns := s.people("a", "b")
	s.sync("added 2")
	s.givePIN("a")
	before := s.get("a").User
	s.d.Disable(dns[0], true)
	s.sync("deactivated 1")
	s.told("deactivated a disabled")
	for range 8 { // the grace is for those who are absent
		s.sync("")
	}
	s.is("a", "ldap-inactive disabled")
	s.d.Disable(dns[0], false)
	s.sync("returned 1")
	if after := s.get("a").User; fmt.Sprint(after) != fmt.Sprint(before) || !s.hasPIN("a") {
		s.Errorf("before %+v\nafter  %+v", before, after)
	}
	// Disabled and then gone: the grace begins at nought.
	s.d.Disable(dns[0], true)
	s.sync("deactivated 1")
	for range 8 {
		s.sync("")
	}
	s.d.Delete(dns[0])
	s.sync("")
	s.is("a", "ldap-inactive absent")
	// Disabled from the beginning.
	s.d.Disable(s.person("c", nil), true)
	s.sync("added 1")
	s.is("c", "ldap-inactive disabled")
}

func disabledLeavesFilter(s *scene) {
	dns := s.people("a", "b")
	s.o.Agreement.Filter = "(&(objectCategory=person)(objectClass=user)(!(userAccountControl:1.2.840.113556.1.4.803:=2)))"
	s.sync("added 2")
	before := s.get("a").User
	s.d.Disable(dns[0], true)
	s.sync("deactivated 1")
	s.told("deactivated a absent")
	s.d.Disable(dns[0], false)
	s.sync("returned 1")
	if after := s.get("a").User; fmt.Sprint(after) != fmt.Sprint(before) {
		s.Errorf("before %+v\nafter  %+v", before, after)
	}
}

func controlHidden(s *scene) {
	dns := s.people("a", "b")
	s.d.Disable(dns[0], true)
	s.sync("added 2")
	s.d.Hide("userAccountControl")
	s.sync("")
	s.is("a", "ldap-inactive disabled") // and not active again
	s.is("b", "ldap-active")
	s.d.Unhide()
	s.sync("")
}

// fileTime is a time as AD writes it: 100 ns since 1601.
func fileTime(t time.Time) string { return fmt.Sprint(t.Unix()*10_000_000 + 116444736000000000) }

func expiredAccount(s *scene) {
	dns := s.people("a", "b", "c")
	s.d.Set(dns[0], "accountExpires", fileTime(s.now.Add(40*time.Minute)))
	s.d.Set(dns[1], "accountExpires", "0")
	s.d.Set(dns[2], "accountExpires", "9223372036854775807")
	s.sync("added 3")
	s.sync("")
	s.sync("deactivated 1") // nothing has changed in the directory
	s.told("deactivated a expired")
	s.sync("")
	s.is("a", "ldap-inactive expired")
	s.is("b", "ldap-active")
	s.is("c", "ldap-active")
	s.d.Set(dns[0], "accountExpires", fileTime(s.now.Add(100*time.Hour)))
	s.sync("returned 1")
	s.d.Set(dns[0], "accountExpires", fileTime(s.now.Add(-time.Hour)))
	s.sync("deactivated 1")
	s.is("a", "ldap-inactive expired")
	s.d.Disable(dns[0], true) // both: disabled says more
	s.sync("updated 1")
	s.is("a", "ldap-inactive disabled")
}

// Whoever reads the message at night must know what to do.
func bindRefused(s *scene) {
	dn := s.people("svc")[0]
	s.d.SetPassword(dn, "Service-1-secret")
	s.o.Agreement.Bind.DN, s.o.Password = dn, secret.New("Service-1-secret")
	s.sync("added 1")
	refused := func(want string) {
		s.Helper()
		if _, err := s.run(); !errors.Is(err, ldapsync.ErrDirectory) || !strings.Contains(err.Error(), want) {
			s.Errorf("got %v, want %q", err, want)
		}
	}
	s.o.Password = s.wrong()
	refused("wrong name or password")
	s.o.Password = secret.New("Service-1-secret")
	s.d.Disable(dn, true)
	refused("the account is disabled")
	s.d.Disable(dn, false)
	s.d.Set(dn, "accountExpires", fileTime(s.now.Add(-time.Hour)))
	refused("the account has expired")
	s.d.Set(dn, "accountExpires", "0")
	s.d.Set(dn, "pwdLastSet", "0")
	refused("must be changed first")
	s.d.Set(dn, "pwdLastSet", "-1")
	s.sync("")
	s.o.Agreement.Servers, s.o.Agreement.InsecurePlaintext = []string{s.d.URL()}, true
	refused("over TLS alone")
	s.o.Agreement.StartTLS = true
	s.sync("")
	s.is("svc", "ldap-active")
}

func computers(s *scene) {
	s.people("a")
	id := s.d.ID("pc") + "$"
	s.d.Add("CN=pc,"+s.d.Base, map[string][]string{"objectClass": {"computer"}, "sAMAccountName": {id}, "userAccountControl": {"4096"}})
	s.d.Add("CN=partner,"+s.d.Base, map[string][]string{"objectClass": {"contact"}, "sn": {"Partner"}})
	s.d.Add("CN=all,"+s.d.Base, map[string][]string{"objectClass": {"group"}, "sAMAccountName": {s.d.ID("all")}})
	s.sync("added 1")
	if report := s.examine(); strings.Contains(report, "end in $: computers?") {
		s.Errorf("computers are warned of:\n%s", report)
	}
	s.o.Agreement.Filter = "(objectClass=person)" // as somebody might write it who knows OpenLDAP
	s.finds(s.examine(), "warning", "end in $: computers?")
}
