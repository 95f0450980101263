package ldapsync

import (
	"bytes"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/go-ldap/ldap/v3"
	"pgregory.net/rapid"

	"github.com/dirpin/dirpin/config"
	"github.com/dirpin/dirpin/internal/roster"
	"github.com/dirpin/dirpin/internal/user"
	"github.com/dirpin/dirpin/ldapsync/tap"
)

func TestNormalDN(t *testing.T) {
	for _, same := range [][]string{
		{"uid=anna,dc=x", "UID=Anna, DC=X", "uid = anna , dc = x", `uid=\61nna,dc=x`, "uid=anna;dc=x"},
		{`cn=Smith\, John,dc=x`, `CN=smith\2C john,dc=x`, `cn=SMITH\,  JOHN,dc=x`},
		{"cn=a+sn=b,dc=x", "sn=b+cn=a,dc=x", "SN=B + CN=A,dc=x"},
		{`cn=Zoë,dc=x`, `cn=Zo\c3\ab,dc=x`},
		{`cn=a\+b,dc=x`, `cn=a\2bb,dc=x`},
	} {
		for _, dn := range same[1:] {
			if normalDN(dn) != normalDN(same[0]) {
				t.Errorf("%s is %s, but %s is %s", dn, normalDN(dn), same[0], normalDN(same[0]))
			}
		}
	}
	different := []string{"uid=anna,dc=x", "uid=anna,dc=y", "uid=anna", `cn=a\,dc=x`, "cn=a,dc=x", `cn=a\+b=c`, "cn=a+b=c", "garbage", "", `cn=a\\,dc=x`}
	for i, a := range different {
		for _, b := range different[i+1:] {
			if normalDN(a) == normalDN(b) {
				t.Errorf("%q and %q are both %q", a, b, normalDN(a))
			}
		}
	}
}

func TestKeys(t *testing.T) {
	raw := []byte{0x33, 0x22, 0x11, 0x00, 0x55, 0x44, 0x77, 0x66, 0x88, 0x99, 0xaa, 0xbb, 0xcc, 0xdd, 0xee, 0xff}
	for _, tt := range []struct {
		kind, attribute string
		value           []byte
		text, filter    string
	}{
		{KindOpenLDAP, "entryUUID", []byte("00112233-4455-6677-8899-AABBCCDDEEFF"), "00112233-4455-6677-8899-aabbccddeeff", "(entryUUID=00112233-4455-6677-8899-aabbccddeeff)"},
		{Kind389, "nsUniqueId", []byte("00112233-44556677-8899aabb-ccddeeff"), "00112233-44556677-8899aabb-ccddeeff", "(nsUniqueId=00112233-44556677-8899aabb-ccddeeff)"},
		{KindAD, "objectGUID", raw, "00112233-4455-6677-8899-aabbccddeeff", `(objectGUID=\33\22\11\00\55\44\77\66\88\99\aa\bb\cc\dd\ee\ff)`},
	} {
		text, err := keyText(tt.kind, tt.value)
		if err != nil || text != tt.text {
			t.Errorf("%s: %q, %v", tt.kind, text, err)
		}
		if f, err := keyFilter(tt.kind, tt.attribute, text); err != nil || f != tt.filter {
			t.Errorf("%s: %q, %v", tt.kind, f, err)
		}
		k, err := parseKey(text)
		if err != nil || k.text(tt.kind) != text {
			t.Errorf("%s: %q came back as %q, %v", tt.kind, text, k.text(tt.kind), err)
		}
		for _, bad := range [][]byte{nil, []byte("x"), tt.value[1:], bytes.Repeat([]byte("z"), 36)} {
			if text, err := keyText(tt.kind, bad); err == nil {
				t.Errorf("%s: %q became %q", tt.kind, bad, text)
			}
		}
	}
	if _, err := keyFilter(KindOpenLDAP, "entryUUID", "*)(uid=*"); err == nil {
		t.Error("a filter was made of what is no key")
	}
}

func raw(dn string, attributes ...string) *tap.Entry {
	e := &tap.Entry{DN: []byte(dn)}
	for i := 0; i < len(attributes); i += 2 {
		n := slices.IndexFunc(e.Attributes, func(a tap.Attribute) bool { return string(a.Name) == attributes[i] })
		if n < 0 {
			n = len(e.Attributes)
			e.Attributes = append(e.Attributes, tap.Attribute{Name: []byte(attributes[i])})
		}
		e.Attributes[n].Values = append(e.Attributes[n].Values, []byte(attributes[i+1]))
	}
	return e
}

func TestDisabledByKind(t *testing.T) {
	guid := strings.Repeat("g", 16)
	for _, tt := range []struct {
		kind    string
		e       *tap.Entry
		reason  string
		faulty  bool
		manager string
	}{
		{KindAD, raw("CN=a,DC=x", "objectGUID", guid, "sAMAccountName", "a", "userAccountControl", "514"), user.Disabled, false, ""},
		{KindAD, raw("CN=a,DC=x", "objectGUID", guid, "sAMAccountName", "a", "userAccountControl", "66050"), user.Disabled, false, ""},
		{KindAD, raw("CN=a,DC=x", "OBJECTGUID", guid, "samaccountname", "a", "USERACCOUNTCONTROL", "512"), "", false, ""},
		{KindAD, raw("CN=a,DC=x", "objectGUID", guid, "sAMAccountName", "a"), "", true, ""},
		{Kind389, raw("uid=a,dc=x", "nsuniqueid", "00112233-44556677-8899aabb-ccddeeff", "uid", "a", "nsaccountlock", "TRUE"), user.Disabled, false, ""},
		{Kind389, raw("uid=a,dc=x", "nsuniqueid", "00112233-44556677-8899aabb-ccddeeff", "uid", "a"), "", false, ""},
		{KindOpenLDAP, raw("uid=a,dc=x", "entryuuid", "00112233-4455-6677-8899-aabbccddeeff", "uid", "a", "manager", "UID=B,dc=x"), "", false, "uid=b,dc=x"},
	} {
		m := newMapper(tt.kind, keyAttribute(tt.kind), withDefaults(config.Attributes{}, tt.kind), schema{}, 1, "corp")
		e, err := m.entry(tt.e)
		if err != nil {
			t.Fatal(err)
		}
		if p := e.Person; p.InactiveReason != tt.reason || (p.Status == user.Inactive) != (tt.reason != "") || e.faulty(user.FieldStatus) != tt.faulty || p.ManagerDN != tt.manager || p.UserID != "a" || e.Refuse != nil {
			t.Errorf("%s %s: %+v", tt.kind, tt.e.Attributes, e)
		}
	}
}

func TestEntryWithoutKeyIsTheDirectorysFault(t *testing.T) {
	m := newMapper(KindOpenLDAP, "entryUUID", withDefaults(config.Attributes{}, KindOpenLDAP), schema{}, 1, "corp")
	if _, err := m.entry(raw("uid=a,dc=x", "uid", "a")); err == nil {
		t.Error("no error")
	}
}

func TestHashIsOfTheContentOnly(t *testing.T) {
	const uuid = "00112233-4455-6677-8899-aabbccddeeff"
	m := newMapper(KindOpenLDAP, "entryUUID", withDefaults(config.Attributes{}, KindOpenLDAP), schema{}, 1, "corp")
	hash := func(e *tap.Entry) uint64 {
		x, err := m.entry(e)
		if err != nil || x.Person.Hash == 0 {
			t.Fatal(x, err)
		}
		return x.Person.Hash
	}
	base := hash(raw("uid=a,dc=x", "entryUUID", uuid, "uid", "a", "mail", "1", "mail", "2", "departmentNumber", "12"))
	if base != hash(raw("uid=a,dc=x", "departmentNumber", "12", "mail", "2", "mail", "1", "uid", "a", "entryUUID", uuid, "userPassword", "x", "mail;lang-de", "3")) {
		t.Error("the order of attributes, a tag or a password is in the hash")
	}
	// Whoever does not know the seed cannot make an entry of the same hash.
	m.seed = 2
	if base == hash(raw("uid=a,dc=x", "entryUUID", uuid, "uid", "a", "mail", "1", "mail", "2", "departmentNumber", "12")) {
		t.Error("the seed is not in the hash")
	}
	m.seed = 1
	for _, other := range []*tap.Entry{
		raw("uid=b,dc=x", "entryUUID", uuid, "uid", "a", "mail", "1", "mail", "2", "departmentNumber", "12"),
		raw("uid=a,dc=x", "entryUUID", uuid, "uid", "a", "mail", "12", "departmentNumber", "12"),
		raw("uid=a,dc=x", "entryUUID", uuid, "uid", "a", "mail", "1", "departmentNumber", "12"),
		raw("uid=a,dc=x", "entryUUID", uuid, "uid", "a", "mail", "1", "mail", "2", "departmentNumber", "12", "telephoneNumber", "1"),
	} {
		if hash(other) == base {
			t.Errorf("the same hash: %s %s", other.DN, other.Attributes)
		}
	}
}

func FuzzMapper(f *testing.F) {
	f.Add([]byte("uid=a,dc=x"), []byte("uid"), []byte("a"), []byte("00112233-4455-6677-8899-aabbccddeeff"))
	f.Add([]byte("\xff\x00"), []byte("manager"), []byte("cn=\\"), []byte("00112233-4455-6677-8899-aabbccddeeff"))
	f.Fuzz(func(t *testing.T, dn, name, value, key []byte) {
		m := newMapper(KindOpenLDAP, "entryUUID", withDefaults(config.Attributes{}, KindOpenLDAP), schema{}, 1, "corp")
		e, err := m.entry(&tap.Entry{DN: dn, Attributes: []tap.Attribute{{Name: []byte("entryUUID"), Values: [][]byte{key}}, {Name: name, Values: [][]byte{value, []byte("second")}}}})
		if err != nil {
			return
		}
		for _, field := range singleFields() {
			if v := *fieldOf(&e.Person, field); v != "" && field != user.FieldManager && faultIn("", []byte(v), maxField) != "" {
				t.Errorf("%s is %q", field, v)
			}
		}
		if e.Refuse == nil && (user.Fold(e.Person.UserID) == "" || len(e.Person.UserID) > maxUserID) {
			t.Errorf("taken with the user id %q", e.Person.UserID)
		}
	})
}

func FuzzNormalDN(f *testing.F) {
	for _, s := range []string{"uid=a,dc=x", `cn=a\,b+sn=c`, `cn=\`, "cn=#04024869", "=,", `cn=\zz`} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, dn string) {
		n := normalDN(dn)
		if strings.ToUpper(dn) == dn && normalDN(dn) != n {
			t.Error("not the same twice")
		}
	})
}

func TestTypeNames(t *testing.T) {
	for def, want := range map[string]string{
		"( 2.5.4.42 NAME ( 'givenName' 'gn' ) DESC 'first NAME' SUP name )":     "2.5.4.42 givenname gn",
		"( 0.9.2342.19200300.100.1.1 NAME 'uid' DESC 'x' EQUALITY caseIgnore )": "0.9.2342.19200300.100.1.1 uid",
		"(2.5.4.4 NAME ('sn' 'surname'))":                                       "2.5.4.4 sn surname",
		"( 1.2.3 DESC 'none' )":                                                 "1.2.3",
		"garbage":                                                               "", "(": "", "": "", "( 1.2 NAME": "1.2", "( 1.2 NAME ( '' )": "1.2",
	} {
		if got := strings.Join(typeNames(def), " "); got != want {
			t.Errorf("%s: %q, want %q", def, got, want)
		}
	}
}

func TestBindsThatAreWorthNothing(t *testing.T) {
	c := &Client{o: ConnectOptions{Agreement: config.Agreement{Bind: config.Bind{DN: "cn=sync"}}, Log: quiet(t)}}
	if err := c.checkBindControls([]ldap.Control{&ldap.ControlVChuPasswordMustChange{}}); err == nil {
		t.Error("must change: no error")
	}
	expired := ldap.NewControlBeheraPasswordPolicy()
	expired.Error, expired.ErrorString = ldap.BeheraPasswordExpired, "password expired"
	if err := c.checkBindControls([]ldap.Control{expired}); err == nil || unavailable(err) {
		t.Errorf("expired: %v", err)
	}
	if err := c.checkBindControls([]ldap.Control{ldap.NewControlBeheraPasswordPolicy()}); err != nil {
		t.Errorf("all is well: %v", err)
	}
}

func TestJudge(t *testing.T) {
	m := func(k roster.Kind) roster.Measure { return roster.Measure{Kind: k} }
	mail := roster.Measure{Kind: roster.LossBlank, Field: user.FieldMail}
	percent := func(n int) config.Limit { return config.Limit{N: n, Percent: true} }
	g := config.Guard{MaxDeactivate: percent(10), MaxBlank: config.Limit{N: 2}}
	for _, tt := range []struct {
		name    string
		guard   config.Guard
		active  int
		pending map[roster.Measure]int
		applied map[roster.Measure]int
		held    string
	}{
		{"nothing", g, 0, nil, nil, ""},
		{"10% of 3 is 1", g, 3, map[roster.Measure]int{m(roster.LossAbsent): 1}, nil, ""},
		{"2 of 3", g, 3, map[roster.Measure]int{m(roster.LossAbsent): 2}, nil, "absent"},
		{"leaving and disabling together", g, 100, map[roster.Measure]int{m(roster.LossAbsent): 6, m(roster.LossDisabled): 5}, nil, "absent"},
		{"with those of today", g, 95, map[roster.Measure]int{m(roster.LossAbsent): 6}, map[roster.Measure]int{m(roster.LossExpired): 5}, "absent"},
		{"blanks by themselves", g, 100, map[roster.Measure]int{m(roster.LossAbsent): 10, mail: 3}, nil, "blank"},
		{"each kind by itself", g, 100, map[roster.Measure]int{m(roster.LossAbsent): 10, m(roster.LossUserID): 10, m(roster.LossRemoved): 11, m(roster.LossReplaced): 11}, nil, "removed replaced"},
		{"the last one", g, 1, map[roster.Measure]int{m(roster.LossAbsent): 1}, nil, "absent"},
		{"the last one by 99", config.Guard{MaxDeactivate: config.Limit{N: 99}}, 1, map[roster.Measure]int{m(roster.LossDisabled): 1}, nil, "absent"},
		{"everyone by 100%", config.Guard{MaxDeactivate: percent(100)}, 9, map[roster.Measure]int{m(roster.LossAbsent): 9}, nil, ""},
		{"0 lets nobody", config.Guard{}, 9, map[roster.Measure]int{m(roster.LossAbsent): 1}, nil, "absent"},
	} {
		var held []string
		for _, h := range judge(tt.guard, roster.Tally{Active: tt.active, Pending: tt.pending, Applied: tt.applied}) {
			held = append(held, string(h.Measure.Kind))
		}
		slices.Sort(held)
		if got := strings.Join(held, " "); got != tt.held {
			t.Errorf("%s: held %q, want %q", tt.name, got, tt.held)
		}
	}
}

// Whatever moves are asked for, everyone has an id of his own afterwards, and
// nobody is kept from a free one that is wanted by him alone.
func TestSettleProperty(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		n := rapid.IntRange(1, 8).Draw(t, "people")
		ids := make([]string, n)
		var moves []idMove
		holders := map[string]bool{}
		for i := range n {
			ids[i] = fmt.Sprintf("u%d", i)
			if to := rapid.IntRange(-1, n+1).Draw(t, "to"); to >= 0 && to != i {
				moves = append(moves, idMove{person: roster.Person{User: user.User{UserID: ids[i], Key: fmt.Sprint(i)}}, loss: roster.Loss{Value: fmt.Sprintf("U%d", to)}})
			} else {
				holders[ids[i]] = true
			}
		}
		move, stay := settle(moves, holders)
		if len(move)+len(stay) != len(moves) {
			t.Fatalf("%d and %d of %d", len(move), len(stay), len(moves))
		}
		owner := map[string]int{}
		for id := range holders {
			owner[id]++
		}
		for _, m := range stay {
			owner[m.person.UserID]++
		}
		wanted := map[string]int{}
		for _, m := range moves {
			wanted[user.Fold(m.loss.Value)]++
		}
		for _, m := range move {
			owner[user.Fold(m.loss.Value)]++
		}
		for id, n := range owner {
			if n > 1 {
				t.Fatalf("%d people have %s: moved %v, stayed %v", n, id, move, stay)
			}
		}
		for _, m := range stay {
			if id := user.Fold(m.loss.Value); wanted[id] == 1 && owner[id] == 0 {
				t.Fatalf("%s was free for %s", id, m.person.UserID)
			}
		}
	})
}

// Values are looked at eight bytes at a time; what is found must not depend on
// where in them it stands.
func TestPlainValues(t *testing.T) {
	for length := range 20 {
		for at := range length {
			for c := range 256 {
				value := []byte(strings.Repeat("~", length)) // the last that is plain
				value[at] = byte(c)
				if got, want := plain(value), ' ' <= c && c < 0x7f; got != want {
					t.Fatalf("%q is plain: %v", value, got)
				}
				value = []byte(strings.Repeat(" ", length)) // the first
				value[at] = byte(c)
				if got, want := plain(value), ' ' <= c && c < 0x7f; got != want {
					t.Fatalf("%q is plain: %v", value, got)
				}
			}
		}
	}
}
