package ldapsync_test

import (
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/dirpin/dirpin/config"
	"github.com/dirpin/dirpin/internal/lab"
	"github.com/dirpin/dirpin/internal/roster"
	"github.com/dirpin/dirpin/internal/slapd"
	"github.com/dirpin/dirpin/ldapsync"
	"github.com/dirpin/dirpin/ldapsync/storetest"
)

// fakeBench is a bench whose directory is a fake.
func fakeBench(t *testing.T, f *lab.Fake) *bench {
	b := &bench{t: t, store: storetest.NewMemory(), now: time.Date(2026, 11, 24, 2, 0, 0, 0, time.UTC)}
	b.o = ldapsync.Options{
		Agreement: config.Agreement{Name: "corp", Servers: []string{"ldap://" + f.Addr}, Base: f.Base, Method: "full",
			PageSize: 20, Timeout: 300 * time.Millisecond, Interval: 15 * time.Minute, Grace: time.Hour,
			Guard: config.Guard{MaxDeactivate: config.Limit{N: 100, Percent: true}, MaxBlank: config.Limit{N: 100, Percent: true}, Window: 24 * time.Hour}},
		Store: b.store, Log: slog.New(slog.NewTextHandler(t.Output(), nil)), Now: func() time.Time { return b.now },
		OnChange: func(c ldapsync.Change) { b.changes = append(b.changes, c.Change+" "+c.UserID) },
	}
	return b
}

// TestNothingAServerDoesDeactivatesAnybody: whatever is wrong with an answer,
// and though the guard lets everything through, everybody stays as they are;
// the error names the server and says what was wrong; and the next sync is
// right.
func TestNothingAServerDoesDeactivatesAnybody(t *testing.T) {
	const people = 50
	half := func(s *lab.FakeSearch) {
		for _, p := range s.People[:10] {
			s.Entry(p.DN, p.Attributes)
		}
	}
	code := func(n uint16) func(*lab.FakeSearch) {
		return func(s *lab.FakeSearch) { half(s); s.DoneWithout(n, "words of the server") }
	}
	for _, tt := range []struct {
		name   string
		answer func(*lab.FakeSearch)
		want   string // of the error
	}{
		{"size limit", code(4), "raise the limits"},
		{"time limit", code(3), "raise the limits"},
		{"administrative limit", code(11), "raise the limits"},
		{"busy", code(51), "the next sync"},
		{"unavailable", code(52), "the next sync"},
		{"unwilling", code(53), "words of the server"},
		{"referral", code(10), "names another"},
		{"no such base", code(32), "may not read it"},
		{"no rights", code(50), "may not search there"},
		{"protocol error", code(2), "words of the server"},
		{"a code of its own", code(9999), "words of the server"},
		{"a page without its control", func(s *lab.FakeSearch) { half(s); s.Paged = false; s.Done(0, "") }, "without saying whether more follow"},
		{"hung up at once", func(s *lab.FakeSearch) { s.HangUp() }, "the connection ended"},
		{"hung up in the middle", func(s *lab.FakeSearch) { half(s); s.HangUp() }, "the connection ended"},
		{"hung up within an entry", func(s *lab.FakeSearch) {
			half(s)
			b := lab.EntryBytes(s.ID, s.People[10].DN, s.People[10].Attributes)
			s.Raw(b[:len(b)/2])
			s.HangUp()
		}, "in the middle of a message"},
		{"hung up between pages", func(s *lab.FakeSearch) { half(s); s.Done(0, "10"); s.HangUp() }, "connection"},
		{"silence", half, "sent no byte for 300ms"},
		{"silence within an entry", func(s *lab.FakeSearch) {
			half(s)
			s.Raw(lab.EntryBytes(s.ID, s.People[10].DN, s.People[10].Attributes)[:9])
		}, "sent no byte"},
		{"garbage", func(s *lab.FakeSearch) { half(s); s.Raw([]byte("HTTP/1.1 200 OK\r\n\r\n")) }, "no LDAP message begins with"},
		{"an indefinite length", func(s *lab.FakeSearch) { half(s); s.Raw([]byte{0x30, 0x80, 2, 1, byte(s.ID), 0x64, 0x80, 0, 0, 0, 0}) }, "indefinite"},
		{"a length that is too long", func(s *lab.FakeSearch) { half(s); s.Raw([]byte{0x30, 9, 2, 1, byte(s.ID), 0x64, 4, 4, 9, 'x', 'y'}) }, "broke the protocol"},
		{"a length beyond all bounds", func(s *lab.FakeSearch) {
			half(s)
			s.Raw([]byte{0x30, 0x84, 0x7f, 0xff, 0xff, 0xff, 2, 1, byte(s.ID), 0x64})
		}, "more than is taken"},
		{"notice of disconnection", func(s *lab.FakeSearch) {
			half(s)
			s.Raw([]byte("\x30\x24\x02\x01\x00\x78\x1f\x0a\x01\x34\x04\x00\x04\x00\x8a\x161.3.6.1.4.1.1466.20036"))
		}, "the server ended the connection"},
		{"an entry without key", func(s *lab.FakeSearch) {
			half(s)
			s.Entry("uid=x,dc=fake", map[string][]string{"uid": {"x"}})
			s.Done(0, "")
		}, "shows no entryuuid"},
		{"everybody without user id", func(s *lab.FakeSearch) {
			for _, p := range s.People {
				s.Entry(p.DN, map[string][]string{"entryUUID": p.Attributes["entryUUID"], "mail": {"x"}})
			}
			s.Done(0, "")
		}, "none of the 50 entries has a user id"},
		{"the same page for ever", func(s *lab.FakeSearch) { half(s); s.Done(0, "x") }, "the same entries again and again"},
		{"the same entries for ever", func(s *lab.FakeSearch) {
			for range 100 {
				half(s)
			}
		}, "the same entries again and again"},
		{"pages without end", func(s *lab.FakeSearch) { s.Done(0, "x") }, "always promises more"},
	} {
		for _, unpaged := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s, unpaged %v", tt.name, unpaged), func(t *testing.T) {
				t.Parallel()
				f := lab.NewFake(t, people)
				b := fakeBench(t, f)
				b.sync("added 50")
				b.sync("unchanged 50")
				before := maps.Clone(b.store.People)
				f.Change(func() {
					f.Answer = func(s *lab.FakeSearch) bool {
						if !s.Everyone() || s.Paged == unpaged && !strings.Contains(tt.want, "limits") {
							return false
						}
						tt.answer(s)
						return true
					}
				})
				if !unpaged {
					pageFrom(b)
				}
				r, err := b.run()
				switch {
				case unpaged && (tt.name == "a page without its control" || tt.name == "the same page for ever" || tt.name == "pages without end"):
					if r.Missed == 0 && err == nil { // a lie that only a witness can tell
						t.Errorf("the answer was believed: %s", counts(r))
					}
				case !errors.Is(err, ldapsync.ErrDirectory) || !strings.Contains(err.Error(), tt.want) || !strings.Contains(err.Error(), f.Addr):
					t.Errorf("got %s, %v", counts(r), err)
				}
				same(t, before, b.store.People)
				f.Change(func() { f.Answer = nil })
				b.sync("unchanged 50")
			})
		}
	}
}

// pageFrom has the next syncs ask for pages.
func pageFrom(b *bench) {
	a := b.store.Agreements["corp"]
	a.Paging = "paged"
	b.store.Agreements["corp"] = a
}

// same compares people as others see them.
func same(t *testing.T, before, after map[int64]roster.Person) {
	t.Helper()
	for id, p := range before {
		q := after[id]
		p.Hash, q.Hash = 0, 0
		if !reflect.DeepEqual(p, q) {
			t.Errorf("%+v\nbecame %+v", p, q)
		}
	}
	if len(before) != len(after) {
		t.Errorf("%d people became %d", len(before), len(after))
	}
}

// TestPagesAreWhatTheServerSays: short pages are not the end, nor are empty
// ones, and an empty cookie is.
func TestPagesAreWhatTheServerSays(t *testing.T) {
	f := lab.NewFake(t, 50)
	b := fakeBench(t, f)
	empty := true
	var asked int
	f.Answer = func(s *lab.FakeSearch) bool {
		if !s.Everyone() {
			return false
		}
		if !s.Paged {
			s.DoneWithout(4, "")
			return true
		}
		asked++
		if empty = !empty; empty {
			s.Done(0, or(s.Cookie, "0"))
		} else {
			s.Page(7)
		}
		return true
	}
	b.sync("added 50")
	if asked < 8 {
		t.Errorf("asked %d times", asked)
	}
}

func or(s, otherwise string) string {
	if s == "" {
		return otherwise
	}
	return s
}

// TestAnAnswerThatLeavesSomebodyOut: success, and two are missing. The second
// witness finds them.
func TestAnAnswerThatLeavesSomebodyOut(t *testing.T) {
	f := lab.NewFake(t, 50)
	b := fakeBench(t, f)
	b.sync("added 50")
	f.Answer = func(s *lab.FakeSearch) bool {
		if !s.Everyone() {
			return false
		}
		for _, p := range s.People[2:] {
			s.Entry(p.DN, p.Attributes)
		}
		s.Done(0, "")
		return true
	}
	b.sync("unchanged 48, missed 2")
}

// TestLimitsOfAnAnswerThatIsNotPaged: dropped as a whole, read in pages, and
// remembered; what had changed is there once.
func TestLimitsOfAnAnswerThatIsNotPaged(t *testing.T) {
	for _, code := range []uint16{3, 4, 11} {
		f := lab.NewFake(t, 50)
		b := fakeBench(t, f)
		b.sync("added 50")
		unpaged := 0
		f.Change(func() {
			f.People[0].Attributes["sn"] = []string{"Other"}
			f.Answer = func(s *lab.FakeSearch) bool {
				if !s.Everyone() || s.Paged {
					return false
				}
				unpaged++
				for _, p := range s.People[:30] {
					s.Entry(p.DN, p.Attributes)
				}
				s.DoneWithout(code, "")
				return true
			}
		})
		b.sync("updated 1, unchanged 49")
		b.sync("unchanged 50")
		if unpaged != 1 {
			t.Errorf("code %d: asked without pages %d times", code, unpaged)
		}
		// Another base is another matter.
		b.o.Agreement.Filter = "(uid=*)"
		b.sync("unchanged 50")
		if unpaged != 2 {
			t.Errorf("code %d: another filter: asked without pages %d times", code, unpaged)
		}
	}
	f := lab.NewFake(t, 50)
	b := fakeBench(t, f)
	b.sync("added 50")
	paged := 0
	f.Change(func() {
		f.Answer = func(s *lab.FakeSearch) bool {
			if s.Everyone() && s.Paged {
				paged++
			}
			return false
		}
	})
	for range 3 {
		b.sync("unchanged 50")
	}
	if paged != 0 {
		t.Errorf("paged %d times where everything at once is to be had", paged)
	}
	if b.store.Agreements["corp"].Paging != "unpaged" {
		t.Errorf("remembered: %q", b.store.Agreements["corp"].Paging)
	}
}

// TestAServerLosesAPagedAnswer: it is asked once more, from the beginning; whom
// it had shown before is counted once.
func TestAServerLosesAPagedAnswer(t *testing.T) {
	for _, code := range []uint16{12, 53} {
		for _, times := range []int{1, 2} {
			f := lab.NewFake(t, 50)
			b := fakeBench(t, f)
			lost := 0
			f.Answer = func(s *lab.FakeSearch) bool {
				if s.Everyone() && !s.Paged {
					s.DoneWithout(4, "")
					return true
				}
				if !s.Everyone() || s.Cookie != "20" || lost == times {
					return false
				}
				lost++
				s.DoneWithout(code, "the paged results cookie is invalid")
				return true
			}
			if times == 1 {
				b.sync("added 50")
				continue
			}
			if _, err := b.run(); !errors.Is(err, ldapsync.ErrDirectory) || !strings.Contains(err.Error(), "cookie is invalid") {
				t.Errorf("code %d twice: %v", code, err)
			}
		}
	}
}

// TestPartsOfAnAttribute: the rest is asked for; a gap is an error.
func TestPartsOfAnAttribute(t *testing.T) {
	departments := make([]string, 3500)
	for i := range departments {
		departments[i] = fmt.Sprintf("d%04d", i)
	}
	for _, tt := range []struct {
		name string
		part func(from int) (string, []string)
		want string
	}{
		{"as Active Directory does", func(from int) (string, []string) {
			to := min(from+1500, len(departments))
			last := fmt.Sprint(to - 1)
			if to == len(departments) {
				last = "*"
			}
			return fmt.Sprintf("departmentNumber;range=%d-%s", from, last), departments[from:to]
		}, ""},
		{"a gap", func(from int) (string, []string) {
			if from > 0 {
				from++
			}
			return fmt.Sprintf("departmentNumber;range=%d-%d", from, from+9), departments[from : from+10]
		}, "the values of departmentNumber from 11 on came where those from 10 on"},
		{"no more", func(from int) (string, []string) {
			if from > 0 {
				return "departmentNumber", nil
			}
			return "departmentNumber;range=0-9", departments[:10]
		}, "does not give the values of departmentNumber from 10 on"},
	} {
		f := lab.NewFake(t, 3)
		b := fakeBench(t, f)
		f.Answer = func(s *lab.FakeSearch) bool {
			from := -1
			for _, a := range s.Attributes {
				if rest, ok := strings.CutPrefix(a, "departmentNumber;range="); ok {
					fmt.Sscanf(rest, "%d", &from)
				}
			}
			if !s.Everyone() && from < 0 {
				return false
			}
			for i, p := range s.People {
				if !s.Everyone() && !strings.EqualFold(p.DN, s.DN) {
					continue
				}
				attributes := maps.Clone(p.Attributes)
				if i == 1 {
					name, values := tt.part(max(0, from))
					attributes[name] = values
				}
				s.Entry(p.DN, attributes)
			}
			s.Done(0, "")
			return true
		}
		if tt.want != "" {
			if _, err := b.run(); !errors.Is(err, ldapsync.ErrDirectory) || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("%s: %v", tt.name, err)
			}
			continue
		}
		b.sync("added 3")
		b.want("u2", func(p *roster.Person) bool {
			slices.Sort(p.Departments)
			return slices.Equal(p.Departments, departments)
		})
		b.sync("unchanged 3")
	}
}

// TestARestartInTheMiddleOfAPage: of a real server, which is back for the next
// sync.
func TestARestartInTheMiddleOfAPage(t *testing.T) {
	d := lab.NewSlapd(t, lab.Config{Users: 2000})
	b := realBench(t, d)
	b.sync("added 2000")
	pageFrom(b)
	at := 0
	b.o.OnProgress = func(n int) {
		if at = n; n == 1000 {
			d.Kill()
		}
	}
	if r, err := b.run(); !errors.Is(err, ldapsync.ErrDirectory) || !strings.Contains(err.Error(), "connection") {
		t.Errorf("after %d entries: %s, %v", at, counts(r), err)
	}
	b.o.OnProgress = nil
	d.Start()
	b.sync("unchanged 2000")
	if p := b.store.User(slapd.Somebody(7).UID); p == nil || p.InactiveReason != "" {
		t.Errorf("somebody: %+v", p)
	}
}

// TestCutAtAnyByte: wherever the connection ends, the run fails and nobody
// changes; only behind the last byte of the last answer it succeeds.
func TestCutAtAnyByte(t *testing.T) {
	t.Parallel()
	f := lab.NewFake(t, 4)
	proxy := lab.NewProxy(t, f.Addr)
	b := fakeBench(t, f)
	b.o.Log = slog.New(slog.DiscardHandler)
	b.o.Agreement.Servers, b.o.Agreement.PageSize, b.o.Full = []string{"ldap://" + proxy.Addr()}, 2, true
	b.sync("added 4")
	pageFrom(b)
	before := maps.Clone(b.store.People)
	failed := 0
	for n := int64(0); ; n++ {
		proxy.CutAfter(n)
		r, err := b.run()
		if err == nil {
			if counts(r) != "unchanged 4" {
				t.Fatalf("cut after %d bytes: %s", n, counts(r))
			}
			break
		}
		if !errors.Is(err, ldapsync.ErrDirectory) {
			t.Fatalf("cut after %d bytes: %v", n, err)
		}
		failed++
	}
	if failed < 500 {
		t.Errorf("complete after %d bytes", failed)
	}
	same(t, before, b.store.People)
}

// TestUselessAnswersEndEarly: entries that are nobody's are not collected for
// ever.
func TestUselessAnswersEndEarly(t *testing.T) {
	b := newBench(t)
	b.people(1, 20_500)
	for _, e := range b.dir.entries {
		e.Person.UserID, e.Person.Hash, e.Refuse = "", 0, &roster.Reject{Key: e.Person.Key, Reason: "user-id-missing"}
	}
	if _, err := b.run(); !errors.Is(err, ldapsync.ErrDirectory) || !strings.Contains(err.Error(), "none of the first 20000 entries") {
		t.Errorf("got %v", err)
	}
	if len(b.store.Rejects) != 0 {
		t.Errorf("%d rejects were written", len(b.store.Rejects))
	}
}
