package ldapsync_test

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/dirpin/dirpin/internal/lab"
	"github.com/dirpin/dirpin/internal/roster"
	"github.com/dirpin/dirpin/internal/user"
	"github.com/dirpin/dirpin/ldapsync"
)

func syncprov(sessionLog int) []string {
	if sessionLog == 0 {
		return []string{"overlay syncprov"}
	}
	return []string{"overlay syncprov", fmt.Sprintf("syncprov-sessionlog %d", sessionLog)}
}

// newProvider starts an OpenLDAP with content synchronization.
func newProvider(t *testing.T, users, sessionLog int) *lab.Directory {
	return lab.NewSlapd(t, lab.Config{Users: users, Overlays: syncprov(sessionLog)})
}

// incremental is sync, and checks that not everything was asked for. How many
// are unchanged is not compared: the server may send more than it has to.
func (b *bench) incremental(want string) {
	b.t.Helper()
	if r := b.changed(want); r.Full || r.Feed == "full" {
		b.t.Fatalf("everything was read, by %s", r.Feed)
	}
}

// changed is sync but for those who are unchanged.
func (b *bench) changed(want string) ldapsync.Result {
	b.t.Helper()
	r, err := b.run()
	if err != nil {
		b.t.Fatalf("sync: %v", err)
	}
	c := r
	c.Unchanged = 0
	if got := counts(c); got != want {
		b.t.Fatalf("got  %q, held %v, %v\nwant %q", got, r.Held, b.changes, want)
	}
	return r
}

// full is sync, and checks that everything was read.
func (b *bench) full(want string) {
	b.t.Helper()
	if r := b.changed(want); !r.Full {
		b.t.Fatalf("not everything was read, by %s", r.Feed)
	}
}

func uid(d *lab.Directory, n int) string { return fmt.Sprintf("uid=u%06d,%s", n, d.Base) }

func TestSyncreplByOpenLDAP(t *testing.T) {
	d := newProvider(t, 100, 1000)
	b := realBench(t, d)
	b.full("added 100")
	b.incremental("")
	// The number of the first cookie is not in the session log: OpenLDAP then
	// sends everything and does not say so.
	d.Set(uid(d, 1), "sn", "One")
	d.Delete(uid(d, 2))
	b.incremental("updated 1, deactivated 1")
	// From now on the session log covers it.
	d.Set(uid(d, 3), "sn", "Three")
	d.Delete(uid(d, 4))
	d.AddPerson("newcomer", nil)
	d.Rename(uid(d, 5), "uid=five", "")
	b.incremental("added 1, updated 2, deactivated 1")
	b.want("five", func(p *roster.Person) bool { return p.DN == "uid=five,"+d.Base })
	d.Rename(uid(d, 6), "uid=u000006", d.Suffix()) // out of the base
	b.want("u000004", func(p *roster.Person) bool { return p.InactiveReason == user.Absent })
	b.incremental("deactivated 1")
	d.Rename("uid=u000006,"+d.Suffix(), "uid=u000006", d.Base)
	b.incremental("returned 1")
	// The session log is lost: who is still there is listed instead.
	d.Set(uid(d, 8), "sn", "Eight")
	d.Delete(uid(d, 9))
	d.Stop()
	d.Start()
	b.incremental("updated 1, deactivated 1")
	b.incremental("")
}

// Who leaves the filter is gone, and who comes into it is there.
func TestFilterLeaversByOpenLDAP(t *testing.T) {
	d := newProvider(t, 40, 1000)
	b := realBench(t, d)
	b.o.Agreement.Filter = "(&(objectClass=inetOrgPerson)(!(employeeType=left)))"
	b.full("added 40")
	d.Set(uid(d, 1), "sn", "One")
	b.incremental("updated 1")
	d.Set(uid(d, 7), "employeeType", "left")
	b.incremental("deactivated 1")
	d.Set(uid(d, 7), "employeeType")
	b.incremental("returned 1")
}

// Rule 3: nobody below a container that moves is reported.
func TestContainersByOpenLDAP(t *testing.T) {
	d := newProvider(t, 20, 1000)
	inside := d.Base
	b := realBench(t, d)
	unit := func(name, parent string) string {
		d.Add("ou="+name+","+parent, map[string][]string{"objectClass": {"organizationalUnit"}})
		return "ou=" + name + "," + parent
	}
	a, outside := unit("a", inside), unit("outside", d.Suffix())
	person := func(id, parent string) string {
		dn := "uid=" + id + "," + parent
		d.Add(dn, map[string][]string{"objectClass": {"inetOrgPerson"}, "cn": {id}, "sn": {"Test"}})
		return dn
	}
	person("below", a)
	b.full("added 21")
	d.Set(uid(d, 1), "sn", "One") // so that the session log covers what follows
	b.changed("updated 1")
	d.Rename(a, "ou=renamed", "")
	b.full("updated 1")
	b.want("below", func(p *roster.Person) bool { return p.DN == "uid=below,ou=renamed,"+inside })
	d.Rename("ou=renamed,"+inside, "ou=renamed", outside)
	b.full("deactivated 1")
	d.Rename("ou=renamed,"+outside, "ou=renamed", inside)
	b.full("returned 1")
	b.incremental("")
	unit("empty", inside)
	b.full("")
	b.incremental("")
}

// Rule 4: the filter is made wider, and OpenLDAP would send nothing.
func TestWiderFilterByOpenLDAP(t *testing.T) {
	d := newProvider(t, 20, 1000)
	b := realBench(t, d)
	b.o.Agreement.Filter = "(&(objectClass=inetOrgPerson)(uid=u00000*))"
	b.full("added 9")
	b.incremental("")
	b.o.Agreement.Filter = ""
	b.full("added 11")
	b.o.Agreement.Attributes.Mail = []string{}
	r, err := b.run()
	if err != nil || !r.Full || r.Pending != 20 {
		t.Errorf("another mapping: %s, %v", counts(r), err)
	}
}

// Rule 11: the session log is lost and the filter finds nobody any more.
func TestEmptyPresentPhaseByOpenLDAP(t *testing.T) {
	d := newProvider(t, 20, 1000)
	d.Base = d.Suffix()
	b := realBench(t, d)
	b.o.Agreement.Base = d.People()
	b.o.Agreement.Filter = "(&(objectClass=inetOrgPerson)(description=here))"
	dn := "uid=u000001," + d.People()
	d.Set(dn, "description", "here")
	b.full("added 1")
	d.Set("uid=u000002,"+d.People(), "sn", "Two")
	b.changed("")
	// Containers are named in the present phase, so that it is seldom empty:
	// take those out of the base.
	b.o.Agreement.Base = dn
	b.full("")
	d.Set("uid=u000002,"+d.People(), "sn", "Deux")
	b.changed("")
	d.Set(dn, "description", "gone")
	d.Stop()
	d.Start()
	b.full("pending 1, held 1")
	b.want("u000001", func(p *roster.Person) bool { return p.Status == user.Active })
}

// Rule 12: nothing is shown to the account any more, and a good cookie is
// answered with success.
func TestHiddenPeopleByOpenLDAP(t *testing.T) {
	d := newProvider(t, 20, 1000)
	b := realBench(t, d)
	b.full("added 20")
	d.Hide()
	b.full("pending 20, held 1")
	d.Hide("uid")
	if _, err := b.run(); !errors.Is(err, ldapsync.ErrDirectory) || !strings.Contains(err.Error(), "none of the 20 entries has a user id") {
		t.Fatalf("got %v", err)
	}
	d.Unhide()
	b.o.Full = true
	b.full("")
	for _, p := range b.store.People {
		if p.Status != user.Active {
			t.Errorf("%s is %s", p.UserID, p.Status)
		}
	}
}

// Rule 13: cookies that are damaged or made up never pass for good ones.
func TestBadCookiesByOpenLDAP(t *testing.T) {
	d := newProvider(t, 20, 1000)
	b := realBench(t, d)
	b.full("added 20")
	for _, cookie := range []string{"rubbish", "", "rid=000", "rid=000,csn=x"} {
		for k, m := range b.store.Marks {
			m.Cookie = []byte(cookie)
			b.store.Marks[k] = m
		}
		b.full("")
		b.incremental("")
	}
}

// Rule 16: two servers, of which one is behind.
func TestLaggingOpenLDAP(t *testing.T) {
	d := newProvider(t, 20, 1000)
	d.Set(uid(d, 1), "sn", "One")
	old := d.Replica(lab.Config{Overlays: syncprov(1000)})
	b := realBench(t, d)
	b.full("added 20")
	d.AddPerson("newcomer", nil)
	b.changed("added 1")
	// The one that is behind has never heard of the newcomer.
	both := b.o.Agreement.Servers
	b.o.Agreement.Servers = []string{old.TLSURL(), d.TLSURL()}
	b.o.Agreement.CAFile = bothAuthorities(t, d, old)
	b.o.Agreement.ReplicaLag = time.Hour
	d.Set(uid(d, 2), "sn", "Two")
	b.incremental("updated 1")
	b.o.Full = true
	if r := b.changed(""); r.Server == old.TLSAddr() {
		t.Error("the server that is behind was believed")
	}
	b.o.Agreement.Servers = []string{old.TLSURL()}
	for range 4 {
		if _, err := b.run(); !errors.Is(err, ldapsync.ErrBehind) {
			t.Fatalf("got %v", err)
		}
	}
	b.want("newcomer", func(p *roster.Person) bool { return p.Status == user.Active })
	// The other one is lost for good: after replica_lag the old one counts.
	b.changed("updated 1, deactivated 1")
	b.o.Agreement.Servers = both
	b.o.Full = false
	b.changed("updated 1, returned 1")
}

// Rule 16: without a cookie, which a server that is behind would refuse, its
// contextCSN tells.
func TestLaggingOpenLDAPThatIsReadInFull(t *testing.T) {
	d := newProvider(t, 20, 1000)
	old := d.Replica(lab.Config{Overlays: syncprov(1000)})
	b := realBench(t, d)
	b.o.Agreement.Method, b.o.Agreement.ReplicaLag = "full", time.Hour
	b.changed("added 20")
	d.AddPerson("newcomer", nil)
	b.changed("added 1")
	both := []string{old.TLSURL(), d.TLSURL()}
	b.o.Agreement.CAFile = bothAuthorities(t, d, old)
	b.o.Agreement.Servers = both[:1]
	if _, err := b.run(); !errors.Is(err, ldapsync.ErrBehind) {
		t.Fatalf("got %v", err)
	}
	b.want("newcomer", active)
	b.o.Agreement.Servers = both
	if r := b.changed(""); r.Server == old.TLSAddr() {
		t.Error("the server that is behind was believed")
	}
	b.want("newcomer", active)
}

// bothAuthorities makes a file of the certificates of two servers.
func bothAuthorities(t *testing.T, servers ...*lab.Directory) string {
	t.Helper()
	var all []byte
	for _, d := range servers {
		pem, err := os.ReadFile(d.CAFile())
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, pem...)
	}
	file := filepath.Join(t.TempDir(), "ca.pem")
	if err := os.WriteFile(file, all, 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}
