package ldapsync

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	ber "github.com/go-asn1-ber/asn1-ber"
	"github.com/go-ldap/ldap/v3"

	"github.com/dirpin/dirpin/internal/roster"
	"github.com/dirpin/dirpin/internal/user"
	"github.com/dirpin/dirpin/ldapsync/tap"
)

// dirSyncReply is an answer of DirSync that names these people.
func (d *fakeDirectoryServer) dirSyncReply(more int, cookie string, numbers ...int) reply {
	r := reply{controls: []*ber.Packet{controlOf(ldap.ControlTypeDirSync, sequence(integer(more), integer(0), octets(cookie)))}}
	for _, n := range numbers {
		k := numberedKey(n)
		r.entries = append(r.entries, fakeEntry{dn: fmt.Sprintf("cn=u%d,ou=staff,dc=x", n), attributes: map[string][]string{"objectGUID": {string(k[:])}}})
	}
	return r
}

// dirSyncCookie is the cookie of a question; flags are its flags.
func dirSyncCookie(q question) (cookie string, flags int64) {
	c := q.controls[ldap.ControlTypeDirSync]
	return c.Children[2].Data.String(), c.Children[0].Value.(int64)
}

// hostileBench synchronizes with a made-up server into a store in a file.
type hostileBench struct {
	*testing.T
	d   *fakeDirectoryServer
	o   Options
	now time.Time
}

func newHostileBench(t *testing.T, ad bool, people int) *hostileBench {
	b := &hostileBench{T: t, d: newFakeDirectory(t, ad, people), now: time.Date(2026, 11, 24, 2, 0, 0, 0, time.UTC)}
	s := openStore(t, t.TempDir()+"/d.db")
	t.Cleanup(func() { s.Close() })
	b.o = b.d.options(Over(s))
	b.o.Now = func() time.Time { return b.now }
	return b
}

func (b *hostileBench) run() (Result, error) {
	b.now = b.now.Add(15 * time.Minute)
	return Run(b.Context(), b.o)
}

// sync runs and compares what was done.
func (b *hostileBench) sync(want Result) {
	b.Helper()
	r, err := b.run()
	if err != nil {
		b.Fatal(err)
	}
	got := Result{Feed: r.Feed, Full: r.Full, Added: r.Added, Updated: r.Updated, Deactivated: r.Deactivated, Missed: r.Missed, Pending: r.Pending}
	if fmt.Sprintf("%+v", got) != fmt.Sprintf("%+v", want) {
		b.Fatalf("got  %+v\nwant %+v", got, want)
	}
}

// fails runs, and checks that it ends with an error and that nobody and no
// cookie has changed.
func (b *hostileBench) fails(class error, text string) {
	b.Helper()
	before := b.cookie()
	_, err := b.run()
	if !errors.Is(err, class) || !strings.Contains(fmt.Sprint(err), text) {
		b.Errorf("got %v, want %v with %q", err, class, text)
	}
	if after := b.cookie(); after != before {
		b.Errorf("the cookie was %q and is %q", before, after)
	}
	for n := range b.d.people {
		if p := b.person(n); p == nil || p.Status != user.Active {
			b.Errorf("u%d is %+v", n, p)
		}
	}
}

func (b *hostileBench) person(n int) (p *roster.Person) {
	b.Helper()
	err := b.o.Store.Read(b.Context(), func(tx Reader) error {
		people, err := tx.SyncClaimants([]string{fmt.Sprintf("u%d", n)})
		if len(people) > 0 {
			p = &people[0]
		}
		return err
	})
	if err != nil {
		b.Fatal(err)
	}
	return p
}

func (b *hostileBench) cookie() (cookie string) {
	b.Helper()
	err := b.o.Store.Read(b.Context(), func(tx Reader) error {
		for _, f := range []Feed{{Name: FeedDirSync}, {Name: FeedSyncrepl}, b.usn()} {
			m, err := tx.SyncMark("corp", f.Name, f.Provider)
			if err != nil {
				return err
			}
			cookie += string(m.Cookie)
		}
		return nil
	})
	if err != nil {
		b.Fatal(err)
	}
	return cookie
}

func (b *hostileBench) usn() Feed {
	return Feed{FeedUSN, fmt.Sprintf("%s %x", normalDN("cn=NTDS Settings,cn=dc1"), b.d.invocation)}
}

func TestDirSyncInManyAnswers(t *testing.T) {
	b := newHostileBench(t, true, 60)
	step := 0
	b.d.changes = func(q question) reply {
		cookie, flags := dirSyncCookie(q)
		if want := []string{"", "a", "b"}[step%3]; cookie != want || flags != 0 || q.base != "dc=x" || strings.Contains(q.filter, "person") {
			t.Errorf("asked with cookie %q, flags %d below %q for %s; want cookie %q", cookie, flags, q.base, q.filter, want)
		}
		step++
		return []reply{b.d.dirSyncReply(1, "a", 1, 2), b.d.dirSyncReply(1, "b"), b.d.dirSyncReply(0, "c", 3)}[(step-1)%3]
	}
	b.sync(Result{Feed: "dirsync", Full: true, Added: 60})
	if b.cookie() != "c" {
		t.Fatalf("goes on at %q", b.cookie())
	}
	b.d.questions()
	delete(b.d.people, 3)
	b.d.people[2]["sn"] = []string{"New"}
	step = 0
	b.d.changes = func(q question) reply {
		cookie, _ := dirSyncCookie(q)
		if want := []string{"c", "d", "e"}[step]; cookie != want {
			t.Errorf("asked with cookie %q, want %q", cookie, want)
		}
		step++
		return []reply{b.d.dirSyncReply(1, "d", 1, 2), b.d.dirSyncReply(5, "e"), b.d.dirSyncReply(0, "f", 3, 200)}[step-1]
	}
	b.sync(Result{Feed: "dirsync", Updated: 1, Deactivated: 1})
	if b.cookie() != "f" {
		t.Errorf("goes on at %q", b.cookie())
	}
	for _, q := range b.d.questions() {
		if q.controls[ldap.ControlTypeDirSync] != nil && !slices.Contains(q.attributes, "isDeleted") {
			t.Errorf("DirSync was asked for %v: deletions would be missed", q.attributes)
		}
	}
}

func TestDirSyncWithoutTheRightToReplicate(t *testing.T) {
	b := newHostileBench(t, true, 10)
	b.d.changes = func(q question) reply {
		if _, flags := dirSyncCookie(q); flags == 0 {
			return reply{code: ldap.LDAPResultInsufficientAccessRights}
		}
		return b.d.dirSyncReply(0, "a")
	}
	b.sync(Result{Feed: "dirsync", Full: true, Added: 10})
	b.sync(Result{Feed: "dirsync"})
}

func TestDirSyncThatIsRefusedToTheAccount(t *testing.T) {
	b := newHostileBench(t, true, 10)
	b.d.changes = func(q question) reply {
		if strings.Contains(q.filter, "uSNChanged") {
			if q.controls["1.2.840.113556.1.4.417"] == nil && !hasControl(q, "1.2.840.113556.1.4.417") || q.base != "dc=x" || !strings.Contains(q.filter, "uSNChanged>=1000") {
				t.Errorf("asked %+v", q)
			}
			return reply{controls: []*ber.Packet{ldap.NewControlPaging(0).Encode()}, entries: b.d.dirSyncReply(0, "", 4).entries}
		}
		return reply{code: ldap.LDAPResultInsufficientAccessRights}
	}
	b.sync(Result{Feed: "usn", Full: true, Added: 10})
	b.d.people[4]["sn"] = []string{"New"}
	b.sync(Result{Feed: "usn", Updated: 1})
	// Restored from a backup: the numbers go back, or are another database's.
	b.d.usn = 900
	b.sync(Result{Feed: "usn", Full: true})
	b.d.invocation = "another-id-of-16"
	b.sync(Result{Feed: "usn", Full: true})
}

// A page of changes that comes for ever ends with an error.
func TestChangesInPagesWithoutEnd(t *testing.T) {
	b := newHostileBench(t, true, 10)
	endless := false
	b.d.changes = func(q question) reply {
		if !strings.Contains(q.filter, "uSNChanged") {
			return reply{code: ldap.LDAPResultInsufficientAccessRights}
		}
		paging := ldap.NewControlPaging(0)
		if endless {
			paging.SetCookie([]byte("more"))
		}
		return reply{controls: []*ber.Packet{paging.Encode()}, entries: b.d.dirSyncReply(0, "", 4, 5).entries}
	}
	b.sync(Result{Feed: "usn", Full: true, Added: 10})
	endless = true
	b.fails(ErrDirectory, "the same entries again and again")
	endless = false
	b.sync(Result{Feed: "usn"})
}

func hasControl(q question, oid string) bool { _, ok := q.controls[oid]; return ok }

func TestDirSyncLies(t *testing.T) {
	for _, tt := range []struct {
		name   string
		answer func(d *fakeDirectoryServer) reply
		want   string
	}{
		{"more for ever", func(d *fakeDirectoryServer) reply { return d.dirSyncReply(1, "a") }, "promises more"},
		{"no control", func(d *fakeDirectoryServer) reply { return reply{} }, "without saying where to go on"},
		{"an empty cookie", func(d *fakeDirectoryServer) reply { return d.dirSyncReply(0, "") }, "without saying where to go on"},
		{"busy", func(d *fakeDirectoryServer) reply { return reply{code: ldap.LDAPResultBusy} }, "Busy"},
		{"unavailable", func(d *fakeDirectoryServer) reply { return reply{code: ldap.LDAPResultUnavailable} }, "Unavailable"},
		{"hangs up", func(d *fakeDirectoryServer) reply {
			r := d.dirSyncReply(0, "b", 1)
			r.hangUp = true
			return r
		}, ""},
		{"a short objectGUID", func(d *fakeDirectoryServer) reply {
			r := d.dirSyncReply(0, "b", 1)
			r.entries[0].attributes["objectGUID"] = []string{"xyz"}
			return r
		}, "objectGUID of 3 bytes"},
		{"no objectGUID", func(d *fakeDirectoryServer) reply {
			r := d.dirSyncReply(0, "b", 1)
			r.entries[0].attributes = nil
			return r
		}, "objectGUID of 0 bytes"},
		{"a size limit", func(d *fakeDirectoryServer) reply {
			r := d.dirSyncReply(0, "b", 1)
			r.code = ldap.LDAPResultSizeLimitExceeded
			return r
		}, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			b := newHostileBench(t, true, 10)
			b.d.changes = func(question) reply { return b.d.dirSyncReply(0, "a") }
			b.sync(Result{Feed: "dirsync", Full: true, Added: 10})
			b.d.changes = func(question) reply { return tt.answer(b.d) }
			b.fails(ErrDirectory, tt.want)
			b.d.changes = func(question) reply { return b.d.dirSyncReply(0, "c") }
			b.sync(Result{Feed: "dirsync"})
		})
	}
}

// Somebody is reported as changed and the look at him finds nobody: the witness
// does.
func TestLookThatLeavesSomebodyOut(t *testing.T) {
	b := newHostileBench(t, true, 40)
	b.d.changes = func(question) reply { return b.d.dirSyncReply(0, "a") }
	b.sync(Result{Feed: "dirsync", Full: true, Added: 40})
	b.d.changes = func(question) reply { return b.d.dirSyncReply(0, "b", 1, 2) }
	whole := b.d.reply
	b.d.answer = func(q question) reply {
		r := whole(q)
		if q.scope == ldap.ScopeWholeSubtree && strings.Contains(q.filter, b.d.keyInFilter(2)) {
			r.entries = slices.DeleteFunc(r.entries, func(e fakeEntry) bool { return e.attributes["sAMAccountName"][0] == "u2" })
		}
		return r
	}
	b.sync(Result{Feed: "dirsync", Missed: 1})
}

func TestDirSyncRefusesTheCookie(t *testing.T) {
	b := newHostileBench(t, true, 10)
	fresh := func(question) reply { return b.d.dirSyncReply(0, "a") }
	refusing := func(q question) reply {
		if cookie, _ := dirSyncCookie(q); cookie != "" {
			return reply{code: ldap.LDAPResultUnavailableCriticalExtension}
		}
		return b.d.dirSyncReply(0, "a")
	}
	b.d.changes = fresh
	b.sync(Result{Feed: "dirsync", Full: true, Added: 10})
	b.d.changes = refusing
	b.sync(Result{Feed: "dirsync", Full: true})
	b.d.changes = fresh
	b.sync(Result{Feed: "dirsync"})
	b.d.changes = refusing
	b.sync(Result{Feed: "dirsync", Full: true}) // the second time within an hour
	b.d.changes = fresh
	b.sync(Result{Feed: "full", Full: true})
	b.now = b.now.Add(24 * time.Hour)
	b.sync(Result{Feed: "dirsync"})
}

func syncDone(cookie string, deletes bool) *ber.Packet {
	children := []*ber.Packet{boolean(deletes)}
	if cookie != "" {
		children = slices.Insert(children, 0, octets(cookie))
	}
	return controlOf(tap.OIDSyncDone, sequence(children...))
}

// synced is an entry with its sync state.
func (d *fakeDirectoryServer) synced(n int, state tap.State) fakeEntry {
	e := d.entry(n)
	k := numberedKey(n)
	e.controls = []*ber.Packet{controlOf(tap.OIDSyncState, sequence(enumerated(int(state)), octets(string(k[:]))))}
	return e
}

// everybody is the answer to a query without cookie, and that of an OpenLDAP
// which does not find the cookie's number any more.
func (d *fakeDirectoryServer) everybody(cookie string) reply {
	r := reply{controls: []*ber.Packet{syncDone(cookie, true)}}
	for n := range d.people {
		r.entries = append(r.entries, d.synced(n, tap.Add))
	}
	return r
}

// An OpenLDAP that does not find the cookie's number sends everybody and never
// says so: who is missing has left.
func TestEverybodyInPlaceOfChanges(t *testing.T) {
	b := newHostileBench(t, false, 40)
	b.d.changes = func(question) reply { return b.d.everybody("rid=000,csn=" + csn1) }
	b.sync(Result{Feed: "syncrepl", Full: true, Added: 40})
	delete(b.d.people, 7)
	b.d.people[8]["sn"], b.d.people[8]["entryCSN"] = []string{"New"}, []string{csn2}
	b.d.changes = func(question) reply { return b.d.everybody("rid=000,csn=" + csn2) }
	b.sync(Result{Feed: "syncrepl", Updated: 1, Deactivated: 1})
	// And one that leaves somebody out by mistake.
	b.d.changes = func(question) reply {
		r := b.d.everybody("rid=000,csn=" + csn2)
		r.entries = slices.DeleteFunc(r.entries, func(e fakeEntry) bool { return e.attributes["uid"][0] == "u9" })
		return r
	}
	b.sync(Result{Feed: "syncrepl", Missed: 1})
}

func TestContentSynchronizationLies(t *testing.T) {
	for _, tt := range []struct {
		name   string
		answer func(d *fakeDirectoryServer) reply
		want   string
	}{
		{"no sync state", func(d *fakeDirectoryServer) reply {
			return reply{entries: []fakeEntry{d.entry(1)}, controls: []*ber.Packet{syncDone("rid=000,csn="+csn2, true)}}
		}, "without sync state"},
		{"a state that is none", func(d *fakeDirectoryServer) reply {
			return reply{entries: []fakeEntry{d.synced(1, 9)}, controls: []*ber.Packet{syncDone("rid=000,csn="+csn2, true)}}
		}, "sync state"},
		{"cut off", func(d *fakeDirectoryServer) reply {
			return reply{entries: []fakeEntry{d.synced(1, tap.Delete)}, hangUp: true}
		}, ""},
		{"busy", func(d *fakeDirectoryServer) reply { return reply{code: ldap.LDAPResultBusy} }, "Busy"},
		{"53 of another cause", func(d *fakeDirectoryServer) reply {
			return reply{code: ldap.LDAPResultUnwillingToPerform, message: "shutting down"}
		}, "shutting down"},
		{"newer than the provider", func(d *fakeDirectoryServer) reply {
			return reply{code: ldap.LDAPResultUnwillingToPerform, message: "consumer state is newer than provider!"}
		}, "less than was seen already"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			b := newHostileBench(t, false, 10)
			b.o.Agreement.ReplicaLag = time.Hour
			b.d.changes = func(question) reply { return b.d.everybody("rid=000,csn=" + csn1) }
			b.sync(Result{Feed: "syncrepl", Full: true, Added: 10})
			b.d.changes = func(question) reply { return tt.answer(b.d) }
			b.fails(ErrDirectory, tt.want)
			b.d.changes = func(question) reply { return reply{controls: []*ber.Packet{syncDone("", true)}} }
			b.sync(Result{Feed: "syncrepl"})
		})
	}
}

// What a server does to a cookie, or to the feed: everything is read in the same
// run, and nobody is lost.
func TestContentSynchronizationThatIsNotToBeHad(t *testing.T) {
	for name, answer := range map[string]func(d *fakeDirectoryServer, cookie bool) reply{
		"4096":             func(d *fakeDirectoryServer, cookie bool) reply { return orEverybody(d, cookie, reply{code: 4096}) },
		"a protocol error": func(d *fakeDirectoryServer, cookie bool) reply { return orEverybody(d, cookie, reply{code: 2}) },
		"no sync done":     func(d *fakeDirectoryServer, cookie bool) reply { return reply{} },
		"not critical enough": func(d *fakeDirectoryServer, cookie bool) reply {
			return reply{code: ldap.LDAPResultUnavailableCriticalExtension}
		},
		"cut short": func(d *fakeDirectoryServer, cookie bool) reply {
			r := d.everybody("rid=000,csn=" + csn2)
			r.entries, r.code = r.entries[:5], ldap.LDAPResultSizeLimitExceeded
			return r
		},
		"other ids": func(d *fakeDirectoryServer, cookie bool) reply {
			r := d.everybody("rid=000,csn=" + csn2)
			for i := range r.entries {
				r.entries[i].attributes["entryUUID"] = []string{rawKey(numberedKey(200 + i)).text(KindOpenLDAP)}
			}
			return r
		},
		"an empty cookie": func(d *fakeDirectoryServer, cookie bool) reply {
			r := d.everybody("")
			r.controls = []*ber.Packet{controlOf(tap.OIDSyncDone, sequence(octets(""), boolean(true)))}
			return r
		},
		"nobody is there, it says": func(d *fakeDirectoryServer, cookie bool) reply {
			return orEverybody(d, cookie, reply{controls: []*ber.Packet{syncDone("rid=000,csn="+csn2, false)}})
		},
	} {
		t.Run(name, func(t *testing.T) {
			b := newHostileBench(t, false, 10)
			b.d.changes = func(question) reply { return b.d.everybody("rid=000,csn=" + csn1) }
			b.sync(Result{Feed: "syncrepl", Full: true, Added: 10})
			b.d.changes = func(q question) reply {
				return answer(b.d, len(q.controls[oidSyncRequest].Children) > 1 && q.controls[oidSyncRequest].Children[1].Data.Len() > 1)
			}
			for range 2 {
				r, err := b.run()
				if err != nil || !r.Full || r.Unchanged != 10 || r.Added+r.Deactivated+r.Pending > 0 {
					t.Fatalf("%+v, %v", r, err)
				}
			}
		})
	}
}

func orEverybody(d *fakeDirectoryServer, cookie bool, r reply) reply {
	if cookie {
		return r
	}
	return d.everybody("rid=000,csn=" + csn1)
}
