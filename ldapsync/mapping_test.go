package ldapsync

import (
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/dirpin/dirpin/config"
	"github.com/dirpin/dirpin/internal/user"
)

const anEntryUUID = "00112233-4455-6677-8899-aabbccddeeff"

func openLDAPMapper() *mapper {
	return newMapper(KindOpenLDAP, "entryUUID", withDefaults(config.Attributes{}, KindOpenLDAP), schema{}, 1, "corp")
}

// TestALookAllocatesNothing: most entries are looked at and nothing else.
func TestALookAllocatesNothing(t *testing.T) {
	m := openLDAPMapper()
	e := raw("uid=anna,ou=people,dc=example,dc=org", "entryUUID", anEntryUUID, "uid", "anna", "givenName", "Zoë", "sn", "De Smet", "sn", "Maes",
		"departmentNumber", "14", "departmentNumber", "12", "departmentNumber", "14", "manager", "uid=boss,ou=people,dc=example,dc=org", "mail", "a@example.org", "telephoneNumber", "+32 2", "preferredLanguage", "nl", "userPassword", "x")
	if n := testing.AllocsPerRun(100, func() {
		if l, err := m.look(e); err != nil || l.hash == 0 {
			t.Fatal(l, err)
		}
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func TestLookAndEntryAgree(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		names := []string{"uid", "givenName", "sn", "middleName", "initials", "manager", "departmentNumber", "mail", "mail;lang-de", "cn"}
		attributes := []string{"entryUUID", anEntryUUID}
		for range rapid.IntRange(0, 12).Draw(t, "values") {
			attributes = append(attributes, rapid.SampledFrom(names).Draw(t, "name"), rapid.SampledFrom([]string{"", " ", "a", "b", "c ", "\u3000", "\x00", "\xff", "Zoë", "uid=a,dc=x"}).Draw(t, "value"))
		}
		m := openLDAPMapper()
		e := raw("uid=a,dc=x", attributes...)
		l, err := m.look(e)
		if err != nil {
			t.Fatal(err)
		}
		other, err := m.clone().entry(e)
		if err != nil {
			t.Fatal(err)
		}
		if other.Person.Hash != l.hash || len(other.Faults) != len(l.faults) || (l.hash == 0) != (len(l.faults) > 0) {
			t.Fatalf("look: %+v, entry: %+v", l, other)
		}
	})
}

// A mapper looks at an entry as one would that has seen no other before.
func TestLookForgetsTheEntryBefore(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		names := []string{"uid", "UID", "givenName", "sn", "SN;x-other", "manager", "manager;range=0-1", "manager;range=0-*", "manager;range=2-*", "mail", "cn", strings.Repeat("x", 300), ""}
		m := openLDAPMapper()
		for range rapid.IntRange(1, 4).Draw(t, "entries") {
			var attributes []string
			for range rapid.IntRange(0, 50).Draw(t, "values") {
				attributes = append(attributes, rapid.SampledFrom(names).Draw(t, "name"), rapid.SampledFrom([]string{"a", "b"}).Draw(t, "value"))
			}
			at := 2 * rapid.IntRange(0, len(attributes)/2).Draw(t, "place of the key")
			attributes = slices.Insert(attributes, at, "entryUUID", anEntryUUID)
			e := raw("uid=a,dc=x", attributes...)
			got, err := m.look(e)
			want, wantErr := openLDAPMapper().look(e)
			if err != nil || wantErr != nil || got.hash != want.hash || got.parts != want.parts {
				t.Fatalf("%q: %+v, %v; on its own %+v, %v", attributes, got, err, want, wantErr)
			}
		}
	})
}

func TestPlainDNs(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		dn := rapid.StringOfN(rapid.RuneFrom([]rune("aA1zZ =,,==  \\+\"#;<>.-é\t\x00")), 0, 20, -1).Draw(t, "dn")
		if plainDN(dn) && normalDN(dn) != parsedDN(dn) {
			t.Fatalf("%q: %q and %q", dn, normalDN(dn), parsedDN(dn))
		}
	})
	for _, dn := range []string{"uid=u000001,ou=people,dc=example,dc=org", "CN=Anna De Smet,OU=Users,DC=corp"} {
		if !plainDN(dn) || normalDN(dn) != parsedDN(dn) {
			t.Errorf("%q is not plain: %q and %q", dn, normalDN(dn), parsedDN(dn))
		}
	}
}

func TestBlank(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s := rapid.StringOf(rapid.OneOf(rapid.Rune(), rapid.RuneFrom([]rune(" \t\u00a0\u3000\u2003\u200b\u00a8\u00adaж")))).Draw(t, "s")
		if got, want := blank([]byte(s)), user.Fold(s) == ""; got != want {
			t.Fatalf("%q: %v, Fold leaves %q", s, got, user.Fold(s))
		}
	})
}

// TestListsOfValuesAreNotConfused: no two different entries are the same bytes
// to the hash.
func TestListsOfValuesAreNotConfused(t *testing.T) {
	m := openLDAPMapper()
	seen := map[uint64][]string{}
	for _, attributes := range [][]string{
		{"uid", "a", "givenName", "x"}, {"uid", "a", "middleName", "x"}, {"uid", "a", "givenName", "x", "givenName", "middle_name"},
		{"uid", "a", "givenName", "x", "middleName", "middle_name"}, {"uid", "a", "givenName", "xmiddle_name"}, {"uid", "a"},
		{"uid", "a", "departmentNumber", "1", "departmentNumber", "2"}, {"uid", "a", "departmentNumber", "12"}, {"uid", "a", "departmentNumber", "1", "mail", "2"},
		{"uid", "a", "initials", "x", "middleName", "y"},
	} {
		l, err := m.look(raw("uid=a,dc=x", append([]string{"entryUUID", anEntryUUID}, attributes...)...))
		if err != nil || l.hash == 0 || seen[l.hash] != nil {
			t.Errorf("%q: hash %d, also of %q, %v", attributes, l.hash, seen[l.hash], err)
		}
		seen[l.hash] = attributes
	}
}

func TestPartsOfValues(t *testing.T) {
	m := openLDAPMapper()
	for name, want := range map[string]struct{ parts, taken bool }{
		"departmentNumber;range=0-1499": {true, true},
		"departmentNumber;range=0-*":    {false, true},
		"DEPARTMENTNUMBER;Range=0-*":    {false, true},
		"departmentNumber;lang-de":      {false, false},
		"member;range=0-1499":           {false, false},
	} {
		e := raw("uid=a,dc=x", "entryUUID", anEntryUUID, "uid", "a", name, "12")
		l, err := m.look(e)
		if err != nil || l.parts != want.parts || (l.hash == 0) != want.parts {
			t.Errorf("%s: %+v, %v", name, l, err)
		}
		x, err := m.entry(e)
		if err != nil || (strings.Join(x.Person.Departments, ",") == "12") != want.taken {
			t.Errorf("%s: departments %q, %v", name, x.Person.Departments, err)
		}
	}
}
