package lab

import (
	"io"
	"net"
	"testing"
	"time"

	"github.com/go-ldap/ldap/v3"

	"github.com/dirpin/dirpin/internal/slapd"
)

func TestMain(m *testing.M) { Main(m) }

func TestSharedPlacesAreApart(t *testing.T) {
	a, b := Slapd(t), Slapd(t)
	if a.PID() != b.PID() || a.Base == b.Base {
		t.Fatalf("two tests got process %d and %d, base %s and %s", a.PID(), b.PID(), a.Base, b.Base)
	}
	dn := a.AddPerson("x, y", map[string][]string{"mail": {"x@example.org"}})
	if got := a.Value(dn, "mail"); got != "x@example.org" {
		t.Errorf("mail is %q", got)
	}
	key := a.Value(dn, "entryUUID")
	a.Set(dn, "mail")
	if got := a.Value(dn, "mail"); got != "" {
		t.Errorf("mail is still %q", got)
	}
	a.Rename(dn, "uid=z", "")
	moved := "uid=z," + a.Base
	if got := a.Value(moved, "entryUUID"); got != key || key == "" {
		t.Errorf("the key of a renamed entry was %q and is %q", key, got)
	}
	a.Delete(moved)
	_, err := a.Admin().Search(ldap.NewSearchRequest(moved, ldap.ScopeBaseObject, ldap.NeverDerefAliases, 0, 0, false, "(objectClass=*)", nil, nil))
	if !ldap.IsErrorWithCode(err, ldap.LDAPResultNoSuchObject) {
		t.Errorf("a deleted entry: %v", err)
	}
}

func TestOwnServerRestartsAndChangesItsRules(t *testing.T) {
	d := NewSlapd(t, Config{Users: 25})
	addr := d.Addr()
	if got := count(t, d); got != 25 {
		t.Fatalf("%d people, want 25", got)
	}
	d.Configure(func(o *slapd.Options) {
		o.Access = []string{`to dn.subtree="` + d.People() + `" by * none`, "to * by * read"}
	})
	if d.Addr() != addr {
		t.Errorf("moved from %s to %s", addr, d.Addr())
	}
	if got := count(t, d); got != 0 {
		t.Errorf("%d people may still be read", got)
	}
	pid := d.PID()
	d.Stop()
	if d.Running() || d.PID() != 0 || pid == 0 {
		t.Errorf("stopped, but running: %v, process %d, was %d", d.Running(), d.PID(), pid)
	}
	d.Stop()
	if _, err := net.DialTimeout("tcp", addr, time.Second); err == nil {
		t.Error("a stopped server takes connections")
	}
}

// count searches as the account that synchronizes, over TLS.
func count(t *testing.T, d *Directory) int {
	t.Helper()
	c, err := ldap.DialURL(d.TLSURL(), ldap.DialWithTLSConfig(tlsConfig(t, d)))
	fatal(t, err)
	defer c.Close()
	fatal(t, c.Bind(d.BindDN(), d.BindPassword()))
	r, err := c.Search(ldap.NewSearchRequest(d.Suffix(), ldap.ScopeWholeSubtree, ldap.NeverDerefAliases, 0, 0, false, "(objectClass=inetOrgPerson)", []string{"uid"}, nil))
	fatal(t, err)
	return len(r.Entries)
}

func TestProxyCuts(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	fatal(t, err)
	defer l.Close()
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go func() { c.Write(make([]byte, 1000)); io.Copy(io.Discard, c); c.Close() }()
		}
	}()
	p := NewProxy(t, l.Addr().String())
	for _, tt := range []struct {
		name  string
		set   func()
		whole bool
		want  int
	}{
		{"cut", func() { p.CutAfter(300) }, false, 300},
		{"cut at once", func() { p.CutAfter(0) }, false, 0},
		{"healed", p.Heal, true, 1000},
	} {
		tt.set()
		c, err := net.Dial("tcp", p.Addr())
		fatal(t, err)
		buf := make([]byte, 1000)
		n, err := io.ReadFull(c, buf)
		if n != tt.want || (err == nil) != tt.whole {
			t.Errorf("%s: read %d, %v; want %d", tt.name, n, err, tt.want)
		}
		c.Close()
	}
}
