package ldapsync_test

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/dirpin/dirpin/config"
	"github.com/dirpin/dirpin/internal/roster"
	"github.com/dirpin/dirpin/internal/user"
	"github.com/dirpin/dirpin/ldapsync"
)

// feedBench is a bench with 30 people whose directory offers a feed, after the
// first, full answer.
func feedBench(t *testing.T, feed string) *bench {
	b := newBench(t).people(1, 30)
	b.dir.facts.Feeds = []ldapsync.Feed{{Name: feed}}
	b.dir.containers = []roster.Container{{Key: key(900), DNNorm: "dc=x"}, {Key: key(901), DNNorm: "ou=a,dc=x"}}
	b.dir.outcome.Cookie = []byte("c0")
	b.o.Agreement.FullEvery = 24 * time.Hour
	b.sync("added 30")
	return b
}

// says has the directory say that these have changed, to whoever has the
// cookie that was given last, and gives the next.
func (b *bench) says(ms ...ldapsync.Mention) {
	b.dir.says, b.dir.cookies = ms, nil
	b.dir.outcome.Cookie = fmt.Appendf(nil, "c%d", len(b.cookie()))
}

// cookie returns where the feed goes on.
func (b *bench) cookie() string {
	for _, m := range b.store.Marks {
		return string(m.Cookie)
	}
	return ""
}

func is(e *ldapsync.Entry) ldapsync.Mention {
	return ldapsync.Mention{What: ldapsync.EntryChanged, Entry: e}
}

func gone(n int) ldapsync.Mention {
	return ldapsync.Mention{What: ldapsync.EntryGone, Key: key(n)}
}

func missing(n int) ldapsync.Mention {
	return ldapsync.Mention{What: ldapsync.EntryMissing, Key: key(n)}
}

func TestIncrementalGainsAndLosses(t *testing.T) {
	b := feedBench(t, "syncrepl")
	b.says()
	r := b.sync("")
	if r.Feed != "syncrepl" || r.Full || b.dir.fulls != 1 || !slices.Equal(b.dir.cookies, []string{"syncrepl c0"}) {
		t.Fatalf("%+v, %d full answers, asked %v", r, b.dir.fulls, b.dir.cookies)
	}
	b.says(is(person(3, func(e *ldapsync.Entry) { e.Person.LastName = "New" })), is(person(31)), gone(7), gone(999))
	b.sync("added 1, updated 1, deactivated 1")
	if b.dir.asked != 0 {
		t.Error("the server said so itself, and was asked again")
	}
	b.want("u7", func(p *roster.Person) bool { return p.InactiveReason == user.Absent })
	b.want("u3", func(p *roster.Person) bool { return p.LastName == "New" })
	b.says(is(person(7)))
	b.sync("returned 1")
	b.says(is(person(8, func(e *ldapsync.Entry) { e.Person.Mail = "" })), is(person(9, disabled)), is(person(10, func(e *ldapsync.Entry) { e.Person.UserID = "ten" })))
	b.sync("updated 2, deactivated 1")
	b.says(gone(7), is(person(7))) // of several mentions the last is true
	b.sync("unchanged 1")
	b.says(is(person(7)), gone(7))
	b.sync("deactivated 1")
	if got := b.cookie(); got != string(b.dir.outcome.Cookie) || b.dir.fulls != 1 {
		t.Errorf("goes on at %s after %d full answers", got, b.dir.fulls)
	}
}

func TestIncrementalLossesMeetTheSameGuard(t *testing.T) {
	b := feedBench(t, "syncrepl")
	b.o.Agreement.Grace = 0
	b.says(gone(1), gone(2), gone(3), gone(4))
	b.sync("pending 4, held 1")
	if b.cookie() != "c2" {
		t.Errorf("the cookie is %s: a refusal would be repeated", b.cookie())
	}
	// While something is held everything is read: no feed tells that it was none.
	b.says(is(person(4)))
	b.remove(key(1), key(2), key(3))
	if r := b.sync("unchanged 27, deactivated 3"); !r.Full {
		t.Error("not everything was read")
	}
	b.says(gone(5))
	b.remove(key(5))
	b.sync("pending 1, held 1") // three of thirty left already
	b.o.AcceptRemovals = true
	b.says()
	b.sync("unchanged 26, deactivated 1")
	b.o.AcceptRemovals = false
	b.says()
	if r := b.sync(""); r.Full {
		t.Error("everything was read")
	}
}

func TestTouchedIsLookedAt(t *testing.T) {
	touched := func(n int) ldapsync.Mention { return ldapsync.Mention{What: ldapsync.EntryTouched, Key: key(n)} }
	b := feedBench(t, "dirsync")
	b.replace(person(3, func(e *ldapsync.Entry) { e.Person.LastName = "New" }), person(31))
	b.remove(key(5))
	b.says(touched(3), touched(4), touched(5), touched(31), touched(999))
	b.sync("added 1, updated 1, unchanged 1, deactivated 1")
	b.says(gone(6), touched(6)) // the last is true
	b.sync("unchanged 1")
	b.says(touched(7), gone(7))
	b.sync("deactivated 1")
}

func TestMissingIsWitnessed(t *testing.T) {
	b := feedBench(t, "usn")
	b.dir.hidden[key(4)] = true
	b.says(missing(4), missing(5))
	b.sync("deactivated 1, missed 1")
	b.want("u4", func(p *roster.Person) bool { return p.Status == user.Active })
	b.want("u5", func(p *roster.Person) bool { return p.InactiveReason == user.Absent })
}

func TestContainersAskForEverything(t *testing.T) {
	holder := func(n int, dn string) ldapsync.Mention {
		return ldapsync.Mention{What: ldapsync.Container, Key: key(n), DN: dn}
	}
	for _, tt := range []struct {
		name string
		says []ldapsync.Mention
		full bool
	}{
		{"the same", []ldapsync.Mention{holder(901, "ou=a,dc=x")}, false},
		{"renamed", []ldapsync.Mention{holder(901, "ou=b,dc=x")}, true},
		{"new", []ldapsync.Mention{holder(902, "ou=c,dc=x")}, true},
		{"gone", []ldapsync.Mention{gone(901)}, true},
		{"missing", []ldapsync.Mention{missing(901)}, true},
		{"somebody unknown gone", []ldapsync.Mention{gone(999)}, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			b := feedBench(t, "syncrepl")
			b.says(tt.says...)
			b.replace(person(3, func(e *ldapsync.Entry) { e.Person.DN = "uid=u3,ou=b,dc=x" })) // no feed says so
			b.dir.containers = []roster.Container{{Key: key(900), DNNorm: "dc=x"}}
			r, err := b.run()
			if err != nil || r.Full != tt.full {
				t.Fatalf("full: %v, %v", r.Full, err)
			}
			b.want("u3", func(p *roster.Person) bool { return (p.DN == "uid=u3,ou=b,dc=x") == tt.full })
			b.says()
			if r, err := b.run(); err != nil || r.Full {
				t.Errorf("and again: full: %v, %v", r.Full, err)
			}
		})
	}
}

func TestFullAnswersWhenNeeded(t *testing.T) {
	for _, tt := range []struct {
		name   string
		change func(b *bench)
		asked  string // what was asked with which cookie, in order
	}{
		{"nothing", func(*bench) {}, "syncrepl c0"},
		{"--full", func(b *bench) { b.o.Full = true }, "syncrepl c0, full"},
		{"method: full", func(b *bench) { b.o.Agreement.Method = "full" }, "full"},
		{"the server lost the feed", func(b *bench) { b.dir.facts.Feeds = nil }, "full"},
		{"full_every", func(b *bench) { b.now = b.now.Add(27 * time.Hour) }, "syncrepl c0, full"},
		{"full_every, not yet", func(b *bench) { b.now = b.now.Add(21 * time.Hour) }, "syncrepl c0"},
		{"14 days", func(b *bench) { b.o.Agreement.FullEvery = 0; b.now = b.now.Add(15 * 24 * time.Hour) }, "syncrepl -, full"},
		{"no full_every", func(b *bench) { b.o.Agreement.FullEvery = 0; b.now = b.now.Add(13 * 24 * time.Hour) }, "syncrepl c0"},
		{"the filter", func(b *bench) { b.dir.facts.ScopeFP = "other" }, "syncrepl -, full"},
		{"the mapping", func(b *bench) { b.dir.facts.MapFP = "other" }, "syncrepl -, full"},
		{"another provider", func(b *bench) { b.dir.facts.Feeds[0].Provider = "dc2" }, "syncrepl -, full"},
		{"the cookie is damaged", func(b *bench) {
			for k, m := range b.store.Marks {
				m.Cookie = []byte("c9")
				b.store.Marks[k] = m
			}
		}, "syncrepl -, full"},
		{"a dry run", func(b *bench) { b.o.DryRun = true }, "full"},
		{"the server distrusts itself", func(b *bench) { b.dir.outcome.Distrust = "why" }, "syncrepl c0, full"},
		{"the cookie is refused", func(b *bench) { b.dir.changesErr = fmt.Errorf("4096: %w", ldapsync.ErrCookie) }, "syncrepl c0, syncrepl -, full"},
		{"it does not do it after all", func(b *bench) { b.dir.changesErr = fmt.Errorf("12: %w", ldapsync.ErrUnfit) }, "syncrepl c0, full"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			b := feedBench(t, "syncrepl")
			b.says()
			tt.change(b)
			b.dir.fulls = 0
			if _, err := b.run(); err != nil {
				t.Fatal(err)
			}
			asked := b.dir.cookies
			if b.dir.fulls > 0 {
				asked = append(asked, "full")
			}
			if got := strings.Join(asked, ", "); got != tt.asked {
				t.Errorf("asked %q, want %q", got, tt.asked)
			}
			for _, p := range b.store.People {
				if p.Status != user.Active {
					t.Errorf("%s is %s", p.UserID, p.Status)
				}
			}
		})
	}
}

func TestForcedMethodThatTheServerLacks(t *testing.T) {
	b := newBench(t).people(1, 3)
	b.o.Agreement.Method = "dirsync"
	if _, err := b.run(); !errors.Is(err, ldapsync.ErrConfig) || !strings.Contains(err.Error(), "method: auto") {
		t.Errorf("got %v", err)
	}
	b.dir.facts.Feeds = []ldapsync.Feed{{Name: "usn", Provider: "dc1"}}
	b.dir.outcome.Cookie = []byte("7")
	if r := b.sync("added 3"); r.Feed != "usn" {
		t.Errorf("feed %s", r.Feed)
	}
}

// The cookie is asked for before the answer: what changes meanwhile comes twice.
func TestMarkIsTakenBeforeTheAnswer(t *testing.T) {
	b := newBench(t).people(1, 3)
	b.dir.facts.Feeds = []ldapsync.Feed{{Name: "dirsync"}, {Name: "usn", Provider: "dc1"}}
	b.dir.outcome.Cookie = []byte("7")
	b.sync("added 3")
	if !slices.Equal(b.dir.cookies, []string{"dirsync ?"}) || b.cookie() != "7" {
		t.Errorf("asked %v, goes on at %q", b.dir.cookies, b.cookie())
	}
	// DirSync is refused to the account: the next best, and it stays so.
	b = newBench(t).people(1, 3)
	b.dir.facts.Feeds = []ldapsync.Feed{{Name: "usn", Provider: "dc1"}, {Name: "dirsync"}}
	b.dir.markErr = fmt.Errorf("50: %w", ldapsync.ErrUnfit)
	if r := b.sync("added 3"); r.Feed != "full" || len(b.store.Marks) != 0 {
		t.Errorf("feed %s, %v", r.Feed, b.store.Marks)
	}
}

func TestFeedWithSomewhereToGoOnIsPreferred(t *testing.T) {
	b := feedBench(t, "usn")
	b.dir.facts.Feeds = []ldapsync.Feed{{Name: "dirsync"}, {Name: "usn"}}
	b.says()
	if r := b.sync(""); r.Feed != "usn" || r.Full {
		t.Errorf("%s, full %v", r.Feed, r.Full)
	}
}

func TestCookiesRefusedAgainAndAgain(t *testing.T) {
	b := feedBench(t, "syncrepl")
	b.o.Agreement.FullEvery = 0
	refuse := func() { b.says(); b.dir.changesErr = fmt.Errorf("4096: %w", ldapsync.ErrCookie) }
	refuse()
	b.sync("unchanged 30")
	if !b.store.Agreements["corp"].FullUntil.IsZero() {
		t.Error("once is too often")
	}
	b.now = b.now.Add(2 * time.Hour)
	refuse()
	b.sync("unchanged 30")
	if !b.store.Agreements["corp"].FullUntil.IsZero() {
		t.Error("two hours apart is too often")
	}
	refuse()
	b.sync("unchanged 30")
	b.dir.changesErr = nil
	for range 3 {
		b.says()
		if r := b.sync("unchanged 30"); r.Feed != "full" || len(b.dir.cookies) > 0 {
			t.Errorf("feed %s, asked %v", r.Feed, b.dir.cookies)
		}
	}
	b.now = b.now.Add(24 * time.Hour)
	b.says()
	if r := b.sync(""); r.Feed != "syncrepl" || r.Full {
		t.Errorf("a day later: %s, full %v", r.Feed, r.Full)
	}
}

func TestErrorOfTheDirectoryKeepsTheCookie(t *testing.T) {
	for _, why := range []error{fmt.Errorf("busy: %w", ldapsync.ErrDirectory), fmt.Errorf("cut: %w", ldapsync.ErrDirectory)} {
		b := feedBench(t, "syncrepl")
		b.says(is(person(3, func(e *ldapsync.Entry) { e.Person.LastName = "New" })), gone(4))
		b.dir.changesErr = why
		if _, err := b.run(); !errors.Is(err, ldapsync.ErrDirectory) {
			t.Fatalf("got %v", err)
		}
		if b.cookie() != "c0" || b.dir.fulls != 1 || !b.store.Agreements["corp"].RefusedAt.IsZero() {
			t.Errorf("goes on at %s after %d full answers", b.cookie(), b.dir.fulls)
		}
		b.dir.changesErr = nil
		b.sync("updated 1, deactivated 1")
	}
}

func TestAccountThatSeesLess(t *testing.T) {
	b := feedBench(t, "syncrepl")
	b.says(gone(1))
	b.dir.seesErr = fmt.Errorf("it sees less: %w", ldapsync.ErrDirectory)
	before := fmt.Sprint(b.store.State)
	if _, err := b.run(); !errors.Is(err, ldapsync.ErrDirectory) || len(b.dir.cookies) > 0 {
		t.Errorf("got %v, asked %v", err, b.dir.cookies)
	}
	if after := fmt.Sprint(b.store.State); after != before {
		t.Error("something was written")
	}
	// Where the base can be read a full answer shows how much, to the guard.
	b.dir.seesErr, b.dir.less = nil, "it sees nobody"
	b.people(1, 2)
	r, err := b.run()
	if err != nil || !r.Full || len(b.dir.cookies) > 1 || r.Pending != 28 || len(r.Held) == 0 {
		t.Errorf("%+v, %v, asked %v", r, err, b.dir.cookies)
	}
}

func TestPresentPhase(t *testing.T) {
	b := feedBench(t, "syncrepl")
	var ms []ldapsync.Mention
	ms = append(ms, is(person(31)), is(person(2, func(e *ldapsync.Entry) { e.Person.LastName = "New" })))
	for n := 3; n <= 29; n++ {
		ms = append(ms, ldapsync.Mention{What: ldapsync.EntryPresent, Key: key(n)})
	}
	b.says(append(ms, ldapsync.Mention{What: ldapsync.EntryPresent, Key: key(901)})...)
	b.dir.outcome.Complete = true
	b.sync("added 1, updated 1, deactivated 2") // 1 and 30
	if b.dir.asked != 2 {
		t.Errorf("witness asked %d times", b.dir.asked)
	}
	b.want("u30", func(p *roster.Person) bool { return p.InactiveReason == user.Absent })
}

// Who was refused and is named as there is still refused, and gets the user id
// when it is free.
func TestRefusedEntriesInIncrementalAnswers(t *testing.T) {
	b := feedBench(t, "syncrepl")
	double := person(99, func(e *ldapsync.Entry) { e.Person.UserID = "U3" })
	b.says(is(double))
	b.sync("refused 1")
	b.says(is(person(5, func(e *ldapsync.Entry) { e.Person.LastName = "New" })))
	b.sync("updated 1, refused 1")
	b.says(is(person(3, func(e *ldapsync.Entry) { e.Person.UserID = "other" })))
	b.sync("added 1, updated 1")
	b.want("u3", func(p *roster.Person) bool { return p.Key == key(99) })
	b.says(is(person(98, func(e *ldapsync.Entry) { e.Person.UserID = "u4" })))
	b.sync("refused 1")
	b.says(gone(98))
	b.sync("")
	if len(b.store.Rejects) != 0 {
		t.Errorf("rejects %v", b.store.Rejects)
	}
}

// Rule 6, by an incremental answer: the old one leaves in the same answer, in
// an earlier one, or waits for the guard.
func TestRecreatedEntryInIncrementalAnswers(t *testing.T) {
	again := is(person(77, func(e *ldapsync.Entry) { e.Person.UserID = "u3" }))
	t.Run("in the same answer", func(t *testing.T) {
		b := feedBench(t, "syncrepl")
		old := b.store.User("u3").ID
		b.says(again, gone(3))
		b.sync("added 1, removed 1")
		b.want("u3", func(p *roster.Person) bool { return p.Key == key(77) && p.ID != old })
	})
	t.Run("after it", func(t *testing.T) {
		b := feedBench(t, "syncrepl")
		old := b.store.User("u3").ID
		b.says(gone(3))
		b.sync("deactivated 1")
		b.says(again)
		b.sync("added 1, removed 1")
		b.want("u3", func(p *roster.Person) bool { return p.Key == key(77) && p.ID != old })
	})
	t.Run("while the guard holds", func(t *testing.T) {
		b := feedBench(t, "syncrepl")
		b.says(gone(3), gone(4), gone(5), gone(6))
		b.sync("pending 4, held 1")
		b.says(again)
		b.remove(key(3), key(4), key(5), key(6))
		b.dir.entries = append(b.dir.entries, again.Entry)
		b.sync("added 1, unchanged 26, deactivated 3, removed 1")
		b.want("u3", func(p *roster.Person) bool { return p.Key == key(77) })
	})
	t.Run("the old one is still there", func(t *testing.T) {
		b := feedBench(t, "syncrepl")
		b.says(again)
		b.sync("refused 1")
		b.want("u3", func(p *roster.Person) bool { return p.Key == key(3) })
	})
}

func TestGraceRunsInIncrementalRunsAndEndsInFullOnes(t *testing.T) {
	b := feedBench(t, "syncrepl")
	b.says(gone(7))
	b.sync("deactivated 1")
	b.remove(key(7))
	for range 6 { // of a quarter of an hour; the grace is an hour
		b.says()
		b.sync("")
	}
	b.want("u7", func(p *roster.Person) bool { return p.Absent == 90*time.Minute })
	b.o.Full = true
	b.sync("unchanged 29, removed 1")
}

func TestExcludedKeysInIncrementalAnswers(t *testing.T) {
	b := feedBench(t, "syncrepl")
	b.store.Excluded[key(50)] = "corp"
	b.says(is(person(50)))
	b.sync("")
	if b.store.User("u50") != nil {
		t.Error("an excluded key became a user")
	}
}

func TestMoveToAnotherAgreementInIncrementalAnswers(t *testing.T) {
	a := feedBench(t, "syncrepl")
	b := newBench(t)
	b.store, b.o.Store, b.o.Agreement.Name = a.store, a.store, "other"
	b.people(30, 40)
	b.sync("added 10, refused 1")
	a.says(gone(30))
	a.sync("")
	a.want("u30", func(p *roster.Person) bool { return p.Agreement == "other" && p.Status == user.Active })
}

// Rule 16: a server that is behind.
func TestReplicaThatLags(t *testing.T) {
	csn := func(second int) string { return fmt.Sprintf("20261124120%03d.000000Z#000000#000#000000", second) }
	b := newBench(t).people(1, 30)
	b.dir.facts.Feeds = []ldapsync.Feed{{Name: "syncrepl"}}
	b.dir.outcome.Cookie = []byte("c0")
	b.dir.facts.Context = []string{csn(30)}
	b.o.Agreement.ReplicaLag = time.Hour
	b.sync("added 30")
	b.people(1, 29)
	b.dir.facts.Context = []string{csn(20)}
	b.o.Full = true
	b.dir.changesErr = fmt.Errorf("53: %w: %w", ldapsync.ErrBehind, ldapsync.ErrDirectory)
	for range 4 {
		if _, err := b.run(); !errors.Is(err, ldapsync.ErrBehind) || !errors.Is(err, ldapsync.ErrDirectory) {
			t.Fatalf("got %v", err)
		}
		b.want("u30", func(p *roster.Person) bool { return p.Status == user.Active })
	}
	// For replica_lag nobody had it: restored from a backup.
	b.sync("unchanged 29, deactivated 1")
	b.dir.changesErr = nil
	b.o.Full = false
	b.says()
	b.sync("")
	if !b.store.Agreements["corp"].BehindSince.IsZero() {
		t.Error("still behind")
	}
}

func TestAnotherServerIsAskedWhereOneIsBehind(t *testing.T) {
	b := feedBench(t, "syncrepl")
	behind, good := *b.dir, b.dir
	behind.facts.Server = "dc2:636"
	behind.changesErr = fmt.Errorf("53: %w: %w", ldapsync.ErrBehind, ldapsync.ErrDirectory)
	b.o.Agreement.Servers = []string{"ldaps://dc2", "ldaps://dc1"}
	b.connect = func(o ldapsync.ConnectOptions) (ldapsync.Directory, error) {
		switch {
		case !o.Avoid["dc2:636"]:
			return &behind, nil
		case !o.Avoid["dc1:636"]:
			return good, nil
		}
		return nil, fmt.Errorf("no other server: %w", ldapsync.ErrDirectory)
	}
	b.says(gone(3))
	if r := b.sync("deactivated 1"); r.Server != "dc1:636" {
		t.Errorf("of %s", r.Server)
	}
}

// Rule 16, any kind of directory: who came within replica_lag may not have
// reached another server yet.
func TestNewcomersAreNotGoneByAnotherServersWord(t *testing.T) {
	b := newBench(t).people(1, 30)
	b.o.Agreement.ReplicaLag, b.o.Agreement.Grace = time.Hour, 0
	b.sync("added 30")
	b.now = b.now.Add(2 * time.Hour)
	b.dir.entries = append(b.dir.entries, person(31))
	b.sync("added 1, unchanged 30")
	b.dir.facts.Server = "dc2:636"
	b.people(1, 29) // 30 was there for two hours, 31 is new
	b.sync("unchanged 29, deactivated 1")
	b.want("u31", func(p *roster.Person) bool { return p.Status == user.Active })
	b.sync("unchanged 29") // a quarter of an hour later it may still be behind
	b.want("u31", func(p *roster.Person) bool { return p.Status == user.Active })
	b.dir.entries = append(b.dir.entries, person(32))
	b.sync("added 1, unchanged 29")
	b.remove(key(32)) // this server has shown it, and does no more
	b.sync("unchanged 29, deactivated 1")
	b.now = b.now.Add(time.Hour)
	b.sync("unchanged 29, deactivated 1")
}

func TestSomebodyUnmappableInAnIncrementalAnswer(t *testing.T) {
	b := feedBench(t, "syncrepl")
	b.says(is(person(2, func(e *ldapsync.Entry) { e.Person.UserID = ""; refuse(e, "user-id-missing") })))
	b.sync("refused 1")
	b.want("u2", func(p *roster.Person) bool { return p.Status == user.Active })
}

func TestIncrementalRunsKeepTheGuardsReason(t *testing.T) {
	b := feedBench(t, "syncrepl")
	b.o.Agreement.Guard.MaxDeactivate = config.Limit{N: 1}
	b.says(is(person(1, disabled)), gone(2))
	r := b.sync("unchanged 1, pending 2, held 1")
	if !strings.Contains(r.Held[0].String(), "2 of 30 users would leave") {
		t.Errorf("held: %s", r.Held[0])
	}
}
