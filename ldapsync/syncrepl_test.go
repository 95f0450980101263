package ldapsync

import (
	"errors"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/dirpin/dirpin/internal/roster"
	"github.com/dirpin/dirpin/ldapsync/tap"
)

const (
	csn1 = "20261124120000.000000Z#000000#001#000000"
	csn2 = "20261124130000.000000Z#000000#001#000000"
	csnB = "20261124110000.000000Z#000000#002#000000"
)

// syncMessage is one of a refresh stage.
type syncMessage struct {
	state tap.State
	csn   string
	info  *tap.SyncInfo
}

func changed(csn string) syncMessage { return syncMessage{state: tap.Add, csn: csn} }
func ids(n int, deletes bool) syncMessage {
	return syncMessage{info: &tap.SyncInfo{Kind: tap.IDSet, Deletes: deletes, UUIDs: make([][16]byte, n)}}
}
func many(n int, m syncMessage) []syncMessage   { return slices.Repeat([]syncMessage{m}, n) }
func all(groups ...[]syncMessage) []syncMessage { return slices.Concat(groups...) }

func TestWhatFollowsFromARefresh(t *testing.T) {
	cookie := "rid=000,csn=" + csn1
	for _, tt := range []struct {
		name     string
		kind     string
		cookie   string // sent
		messages []syncMessage
		last     string // cookie of the end; "-": an empty one
		deletes  bool   // refreshDeletes
		want     string
	}{
		{"OpenLDAP, first time, though it says refreshDeletes", KindOpenLDAP, "", many(5, changed(csn1)), cookie, true, "complete"},
		{"OpenLDAP, first time, nobody", KindOpenLDAP, "", nil, cookie, true, "complete"},
		{"OpenLDAP, nothing changed", KindOpenLDAP, cookie, nil, "", true, "changes"},
		{"OpenLDAP, delete phase", KindOpenLDAP, cookie, all(many(1, ids(2, true)), many(3, changed(csn2))), "rid=000,csn=" + csn2, true, "changes"},
		{"OpenLDAP, many changes with a deletion", KindOpenLDAP, cookie, all(many(1, ids(1, true)), many(99, changed(csn2))), "rid=000,csn=" + csn2, true, "changes"},
		{"OpenLDAP, present phase", KindOpenLDAP, cookie, all(many(1, ids(90, false)), many(3, changed(csn2))), "rid=000,csn=" + csn2, false, "complete"},
		{"OpenLDAP, present phase, then deletions", KindOpenLDAP, cookie, all(many(1, ids(90, false)), many(1, syncMessage{info: &tap.SyncInfo{Kind: tap.RefreshPresent}}), many(1, ids(1, true))), "rid=000,csn=" + csn2, true, "complete"},
		{"OpenLDAP, empty present phase", KindOpenLDAP, cookie, nil, "rid=000,csn=" + csn2, false, "distrust"},
		{"OpenLDAP, present phase that names nobody", KindOpenLDAP, cookie, many(3, changed(csn2)), "rid=000,csn=" + csn2, false, "distrust"},
		{"OpenLDAP, everything without saying so", KindOpenLDAP, cookie, all(many(50, changed(csn1)), many(1, changed(csn2))), "rid=000,csn=" + csn2, true, "complete"},
		{"OpenLDAP, everything, and all of it is new", KindOpenLDAP, cookie, many(60, changed(csn2)), "rid=000,csn=" + csn2, true, "distrust"},
		{"OpenLDAP that hides entryCSN", KindOpenLDAP, cookie, many(2, changed("")), "rid=000,csn=" + csn2, true, "distrust"},
		{"OpenLDAP, another server's change", KindOpenLDAP, cookie, many(2, changed(csnB)), "rid=000,csn=" + csn1 + ";" + csnB, true, "changes"},
		{"OpenLDAP takes the cookie for none", KindOpenLDAP, cookie, many(60, changed(csn1)), "-", true, "cookie"},
		{"OpenLDAP, a cookie that is none", KindOpenLDAP, "rubbish", nil, "", true, "cookie"},
		{"389, first time, though it does not say refreshDeletes", Kind389, "", many(5, changed("")), "h#1", false, "complete"},
		{"389, nothing changed", Kind389, "h#1", nil, "h#1", false, "changes"},
		{"389, deletions, without refreshDeletes", Kind389, "h#1", all(many(1, ids(2, true)), many(3, changed(""))), "h#2", false, "changes"},
		{"389 never has a present phase", Kind389, "h#1", many(1, ids(90, false)), "h#2", false, "distrust"},
		{"another kind", KindOther, "x", many(3, changed("")), "y", false, "changes"},
		{"another kind, present phase", KindOther, "x", many(1, syncMessage{state: tap.Present}), "y", false, "distrust"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var sent []byte
			if tt.cookie != "" {
				sent = []byte(tt.cookie)
			}
			got, cookie := follow(tt.kind, sent, tt.messages, tt.last, tt.deletes)
			if got != tt.want {
				t.Errorf("got %s, want %s", got, tt.want)
			}
			want := tt.last
			if want == "" {
				want = tt.cookie
			}
			if got != "cookie" && cookie != want {
				t.Errorf("goes on at %q, want %q", cookie, want)
			}
		})
	}
}

func hundred(n int) (bool, error) { return n <= 100, nil }

// follow runs a refresh stage and says in a word what follows.
func follow(kind string, cookie []byte, messages []syncMessage, last string, deletes bool) (verdict, next string) {
	s, err := newRefresh(kind, cookie, hundred)
	if errors.Is(err, ErrCookie) {
		return "cookie", ""
	}
	for _, m := range messages {
		if m.info != nil {
			s.info(*m.info)
		} else {
			s.entry(m.state, m.csn)
		}
	}
	switch last {
	case "":
	case "-":
		s.carried([]byte{})
	default:
		s.carried([]byte(last))
	}
	o, err := s.end(deletes)
	switch {
	case errors.Is(err, ErrCookie):
		return "cookie", ""
	case err != nil:
		return err.Error(), ""
	case o.Distrust != "":
		verdict = "distrust"
	case o.Complete:
		verdict = "complete"
	default:
		verdict = "changes"
	}
	return verdict, string(o.Cookie)
}

// A cookie in the middle of a refresh stage covers nothing.
func TestCookieBeforeTheEndIsNotKept(t *testing.T) {
	s, _ := newRefresh(KindOpenLDAP, []byte("rid=000,csn="+csn1), hundred)
	s.info(tap.SyncInfo{Kind: tap.NewCookie, Cookie: []byte("rid=000,csn=" + csn2)})
	s.info(tap.SyncInfo{Kind: tap.IDSet, Cookie: []byte("rid=000,csn=" + csn2 + ",delcsn=" + csn2), Deletes: true})
	if o, err := s.end(true); err != nil || string(o.Cookie) != "rid=000,csn="+csn1 {
		t.Errorf("goes on at %q, %v", o.Cookie, err)
	}
}

func TestRefreshEndsWithAMessage(t *testing.T) {
	for _, kind := range []tap.InfoKind{tap.RefreshDelete, tap.RefreshPresent} {
		s, _ := newRefresh(KindOpenLDAP, []byte("rid=000,csn="+csn1), hundred)
		if s.info(tap.SyncInfo{Kind: kind}) {
			t.Errorf("%d ends the stage though it is not done", kind)
		}
		if !s.info(tap.SyncInfo{Kind: kind, Done: true}) {
			t.Errorf("%d does not end the stage", kind)
		}
	}
}

func TestMergingCookies(t *testing.T) {
	for _, tt := range []struct{ old, next, want string }{
		{"rid=001,csn=" + csn1 + ";" + csnB, "rid=001,csn=" + csn2, "rid=001,csn=" + csnB + ";" + csn2},
		{"rid=001,csn=" + csn2, "rid=001,csn=" + csn1, "rid=001,csn=" + csn2},
		{"", "rid=001,sid=002,csn=" + csnB, "rid=001,csn=" + csnB},
		{"rubbish", "csn=" + csnB + ",delcsn=" + csn1, "rid=000,csn=" + csnB},
		{"rid=001,csn=" + csn1, "rid=001", ""},
		{"rid=001,csn=" + csn1, "", ""},
		{"rid=001,csn=" + csn1, "rid=001,csn=x", ""},
	} {
		got, err := mergeOpenLDAP([]byte(tt.old), []byte(tt.next))
		if sortedCookie(string(got)) != sortedCookie(tt.want) || (err != nil) != (tt.want == "") {
			t.Errorf("%q and %q: %q, %v; want %q", tt.old, tt.next, got, err, tt.want)
		}
	}
}

func sortedCookie(c string) string {
	name, list, _ := strings.Cut(c, "csn=")
	numbers := strings.Split(list, ";")
	slices.Sort(numbers)
	return name + strings.Join(numbers, ";")
}

func TestOlderContext(t *testing.T) {
	both := csns{"001": csn1, "002": csnB}
	for name, tt := range map[string]struct {
		now, then csns
		older     bool
	}{
		"the same":               {both, both, false},
		"one is newer":           {csns{"001": csn2, "002": csnB}, both, false},
		"a server more":          {both, csns{"001": csn1}, false},
		"one is older":           {both, csns{"001": csn2}, true},
		"a server less":          {csns{"001": csn2}, both, true},
		"nothing was seen":       {both, nil, false},
		"nothing is there, once": {nil, both, true},
	} {
		if got := tt.now.older(tt.then); got != tt.older {
			t.Errorf("%s: %v", name, got)
		}
	}
}

func TestReadCSNs(t *testing.T) {
	got, err := readCSNs([]string{csn1, csnB, csn2})
	if err != nil || !maps.Equal(got, csns{"001": csn2, "002": csnB}) {
		t.Errorf("got %v, %v", got, err)
	}
	for _, bad := range []string{"", "x", "20261124120000Z#000000#001", "2026112412000Z#000000#001#000000", "20269924120000.000000Z#000000#001#000000", "20261124120000.000000Z#000000#1#000000", "20261124120000.000000Z#00000g#001#000000"} {
		if _, err := readCSNs([]string{bad}); err == nil {
			t.Errorf("%q is taken", bad)
		}
	}
}

func FuzzOpenLDAPCookie(f *testing.F) {
	for _, s := range []string{"", "rid=000,csn=" + csn1, "rid=001,sid=002,csn=" + csn1 + ";" + csnB + ",delcsn=" + csn2, "rubbish", "csn=;;;", "csn=,csn="} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		c, err := readOpenLDAPCookie(b)
		if err != nil {
			return
		}
		again, err := readOpenLDAPCookie(c.bytes())
		if err != nil || !maps.Equal(again.csns, c.csns) || again.rid != c.rid {
			t.Errorf("%q is %v and then %v, %v", b, c, again, err)
		}
		if merged, err := mergeOpenLDAP(b, b); err != nil || string(merged) != string(c.bytes()) {
			t.Errorf("%q with itself: %q, %v", b, merged, err)
		}
	})
}

func TestDamagedMarks(t *testing.T) {
	m := roster.Mark{Agreement: "corp", Feed: "syncrepl", Cookie: []byte("rid=000,csn=" + csn1), ScopeFP: "s", MapFP: "m"}
	sum := checksum(m)
	for name, change := range map[string]func(*roster.Mark){
		"cookie": func(m *roster.Mark) { m.Cookie = []byte("rid=000,csn=" + csn2) }, "feed": func(m *roster.Mark) { m.Feed = "usn" },
		"scope": func(m *roster.Mark) { m.ScopeFP, m.MapFP = "sm", "" }, "cut": func(m *roster.Mark) { m.Cookie = m.Cookie[1:] },
	} {
		d := m
		change(&d)
		if checksum(d) == sum {
			t.Errorf("%s changed, and the checksum is the same", name)
		}
	}
}

func TestFilterAttributes(t *testing.T) {
	got := filterAttributes("(&(objectClass=user)(|(department=12*)(!(extensionAttribute1=x)))(userAccountControl:1.2.840.113556.1.4.803:=2)(mail=*)(whenCreated>=1)(sn~=x))")
	want := []string{"objectClass", "department", "extensionAttribute1", "userAccountControl", "mail", "whenCreated", "sn"}
	if !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
}
