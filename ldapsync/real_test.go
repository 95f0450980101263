package ldapsync_test

import (
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/dirpin/dirpin/config"
	"github.com/dirpin/dirpin/internal/lab"
	"github.com/dirpin/dirpin/internal/roster"
	"github.com/dirpin/dirpin/internal/secret"
	"github.com/dirpin/dirpin/internal/slapd"
	"github.com/dirpin/dirpin/internal/user"
	"github.com/dirpin/dirpin/ldapsync"
	"github.com/dirpin/dirpin/ldapsync/storetest"
)

// realBench is a bench whose directory is a slapd.
func realBench(t *testing.T, d *lab.Directory) *bench {
	b := &bench{t: t, store: storetest.NewMemory(), now: time.Date(2026, 11, 24, 2, 0, 0, 0, time.UTC)}
	b.o = ldapsync.Options{
		Agreement: config.Agreement{Name: "corp", Servers: []string{d.TLSURL()}, CAFile: d.CAFile(), Bind: config.Bind{DN: d.BindDN()}, Base: d.Base,
			PageSize: 50, Timeout: 5 * time.Second, Interval: 15 * time.Minute, Grace: time.Hour,
			Guard: config.Guard{MaxDeactivate: config.Limit{N: 10, Percent: true}, MaxBlank: config.Limit{N: 10, Percent: true}, Window: 24 * time.Hour}},
		Password: secret.New(d.BindPassword()), Store: b.store, Log: slog.New(slog.NewTextHandler(t.Output(), nil)), Now: func() time.Time { return b.now },
		OnChange: func(c ldapsync.Change) { b.changes = append(b.changes, c.Change+" "+c.UserID) },
	}
	return b
}

func TestLifeOfARealDirectory(t *testing.T) {
	d := lab.NewSlapd(t, lab.Config{Users: 200})
	b := realBench(t, d)
	b.sync("added 200")
	b.sync("unchanged 200")
	b.want("u000200", func(p *roster.Person) bool {
		want := slapd.Somebody(200)
		return p.LastName == want.LastName && p.FirstName == want.FirstName && p.Department() == want.Department && p.Manager == slapd.Somebody(want.Manager).UID
	})

	dn := func(n int) string { return fmt.Sprintf("uid=u%06d,%s", n, d.Base) }
	d.Delete(dn(150))
	d.Rename(dn(2), "uid=boss", "") // the manager of 12 to 21; slapd rewrites no manager attribute
	d.Set(dn(151), "sn", "De Smet, Jr. + \"Co\"")
	b.sync("updated 2, unchanged 197, deactivated 1")
	b.want("boss", func(p *roster.Person) bool { return p.DN == "uid=boss,"+d.Base })
	b.want("u000012", func(p *roster.Person) bool { return p.Manager == "" })
	b.want("u000151", func(p *roster.Person) bool { return p.LastName == "De Smet, Jr. + \"Co\"" })
	d.Set(dn(12), "manager", strings.ToUpper("uid=boss,")+d.Base)
	b.sync("updated 1, unchanged 198")
	b.want("u000012", func(p *roster.Person) bool { return p.Manager == "boss" })

	// The same person deleted and made anew is somebody else.
	d.Delete(dn(152))
	d.AddPerson("u000152", nil)
	b.sync("added 1, unchanged 198, removed 1")
	// Moved below another entry, but still within the base.
	d.Add("ou=sub,"+d.Base, map[string][]string{"objectClass": {"organizationalUnit"}})
	d.Rename(dn(153), "uid=u000153", "ou=sub,"+d.Base)
	b.sync("updated 1, unchanged 198")
}

func TestLostReadRightsChangeNobody(t *testing.T) {
	d := lab.NewSlapd(t, lab.Config{Users: 60})
	b := realBench(t, d)
	b.sync("added 60")
	before := b.store.State
	same := func(name string) {
		t.Helper()
		for id, p := range before.People {
			q := b.store.People[id]
			if q.Status != p.Status || q.Department() != p.Department() || q.Mail != p.Mail || q.UserID != p.UserID || q.Manager != p.Manager {
				t.Errorf("%s: %+v became %+v", name, p, q)
			}
		}
	}
	access := func(rules ...string) {
		t.Helper()
		d.Configure(func(o *slapd.Options) { o.Access = append(rules, "to * by * read") })
	}
	access("to attrs=mail,manager,departmentNumber by * none")
	for range 2 {
		b.sync("unchanged 60, pending 179, held 3")
		same("attributes hidden")
	}
	access("to dn.children=\"" + d.Base + "\" by * none")
	b.sync("pending 60, held 1")
	same("everyone hidden")
	access("to attrs=uid by * none")
	if _, err := b.run(); !errors.Is(err, ldapsync.ErrDirectory) {
		t.Errorf("user ids hidden: %v", err)
	}
	same("user ids hidden")
	access("to attrs=entryUUID by * none")
	if _, err := b.run(); !errors.Is(err, ldapsync.ErrDirectory) || !strings.Contains(err.Error(), "entryuuid") {
		t.Errorf("keys hidden: %v", err)
	}
	same("keys hidden")
	access("to dn.subtree=\"" + d.Base + "\" by * none")
	if _, err := b.run(); !errors.Is(err, ldapsync.ErrDirectory) {
		t.Errorf("base hidden: %v", err)
	}
	access()
	b.sync("unchanged 60")
	same("all is well again")
	if len(b.store.Pending) != 0 {
		t.Errorf("still pending: %v", b.store.Pending)
	}
}

func TestServerDiesInTheMiddle(t *testing.T) {
	d := lab.NewSlapd(t, lab.Config{Users: 500})
	b := realBench(t, d)
	proxy := lab.NewProxy(t, d.Addr())
	b.o.Agreement.Servers, b.o.Agreement.InsecurePlaintext = []string{"ldap://" + proxy.Addr()}, true
	b.sync("added 500")
	before := fmt.Sprint(b.store.State)
	for n := int64(1000); n < 120_000; n += 13_000 {
		proxy.CutAfter(n)
		if _, err := b.run(); !errors.Is(err, ldapsync.ErrDirectory) {
			t.Errorf("cut after %d bytes: %v", n, err)
		}
	}
	d.Stop()
	if _, err := b.run(); !errors.Is(err, ldapsync.ErrDirectory) {
		t.Errorf("stopped: %v", err)
	}
	if after := fmt.Sprint(b.store.State); after != before {
		t.Error("somebody was changed")
	}
	d.Start()
	proxy.Heal()
	b.sync("unchanged 500")
}

func TestFilterNarrowedByMistake(t *testing.T) {
	d := lab.NewSlapd(t, lab.Config{Users: 60})
	b := realBench(t, d)
	b.sync("added 60")
	b.o.Agreement.Filter = "(&(objectClass=inetOrgPerson)(uid=u00000*))"
	r := b.sync("unchanged 9, pending 51, held 1")
	if !strings.Contains(r.Held[0].String(), "base, filter") {
		t.Errorf("held: %s", r.Held[0])
	}
	// Widened again, everyone is found as before.
	b.o.Agreement.Filter = ""
	b.sync("unchanged 60")
	// Another mapping is not another person.
	b.o.Agreement.Attributes.FirstName = []string{"gn"}
	b.sync("unchanged 60")
	b.o.Agreement.Attributes.FirstName = []string{"initials"}
	b.sync("updated 60")
	b.want("u000001", func(p *roster.Person) bool {
		return p.FirstName == slapd.Somebody(1).Initials && p.Status == user.Active
	})
}
