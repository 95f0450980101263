package lab

import (
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/go-ldap/ldap/v3"

	"github.com/dirpin/dirpin/internal/slapd"
)

func TestMain(m *testing.M) { Main(m) }

var kinds = []Kind{OpenLDAP, DS389, AD}

func TestSharedPlacesAreApart(t *testing.T) {
	for _, kind := range kinds {
		t.Run(string(kind), func(t *testing.T) {
			a, b := Shared(t, kind), Shared(t, kind)
			if a.PID() != b.PID() || a.PID() == 0 || a.Base == b.Base {
				t.Fatalf("two tests got process %d and %d, base %s and %s", a.PID(), b.PID(), a.Base, b.Base)
			}
			b.AddPerson(b.ID("x y"), nil)
			dn := a.AddPerson(a.ID("x y"), map[string][]string{"mail": {"x@example.org"}, "departmentNumber": {"12"}})
			if got := a.Value(dn, "mail") + a.Value(dn, "departmentNumber"); got != "x@example.org12" {
				t.Errorf("mail and department are %q", got)
			}
			a.Set(dn, "mail")
			if got := a.Value(dn, "mail"); got != "" {
				t.Errorf("mail is still %q", got)
			}
			key := map[Kind]string{OpenLDAP: "entryUUID", DS389: "nsUniqueId", AD: "objectGUID"}[kind]
			rdn := map[Kind]string{OpenLDAP: "uid=z", DS389: "uid=z", AD: "CN=z"}[kind]
			was := a.Value(dn, key)
			a.Rename(dn, rdn, "")
			moved := rdn + "," + a.Base
			if got := a.Value(moved, key); got != was || was == "" {
				t.Errorf("the key of a renamed entry was %q and is %q", was, got)
			}
			a.Delete(moved)
			_, err := a.Admin().Search(ldap.NewSearchRequest(moved, ldap.ScopeBaseObject, ldap.NeverDerefAliases, 0, 0, false, "(objectClass=*)", nil, nil))
			if !ldap.IsErrorWithCode(err, ldap.LDAPResultNoSuchObject) {
				t.Errorf("a deleted entry: %v", err)
			}
		})
	}
}

func TestReadRightsAreTakenAndGivenBack(t *testing.T) {
	for _, kind := range kinds {
		t.Run(string(kind), func(t *testing.T) {
			d := Shared(t, kind)
			if kind == OpenLDAP {
				d = New(t, kind)
			}
			d.AddPerson(d.ID("a"), map[string][]string{"mail": {"a@example.org"}, "telephoneNumber": {"1"}})
			d.AddPerson(d.ID("b"), map[string][]string{"mail": {"b@example.org"}, "telephoneNumber": {"1"}})
			see := func() (entries, mails, telephones int) {
				c := bound(t, d, d.BindDN(), d.BindPassword())
				defer c.Close()
				r, err := c.Search(ldap.NewSearchRequest(d.Base, ldap.ScopeWholeSubtree, ldap.NeverDerefAliases, 0, 0, false, "(objectClass=person)", []string{"mail", "telephoneNumber"}, nil))
				fatal(t, err)
				for _, e := range r.Entries {
					mails += len(e.GetAttributeValues("mail"))
					telephones += len(e.GetAttributeValues("telephoneNumber"))
				}
				return len(r.Entries), mails, telephones
			}
			expect := func(when string, e, m, p int) {
				t.Helper()
				if ge, gm, gp := see(); ge != e || gm != m || gp != p {
					t.Errorf("%s: %d entries, %d mails, %d telephones; want %d, %d, %d", when, ge, gm, gp, e, m, p)
				}
			}
			expect("before", 2, 2, 2)
			d.Hide("mail")
			expect("mail hidden", 2, 0, 2)
			d.Unhide()
			expect("given back", 2, 2, 2)
			d.Hide()
			expect("all hidden", 0, 0, 0)
			d.Unhide()
			expect("at the end", 2, 2, 2)
		})
	}
}

func TestPasswordsAndDisabledAccounts(t *testing.T) {
	for _, kind := range kinds {
		t.Run(string(kind), func(t *testing.T) {
			d := Shared(t, kind)
			dn := d.AddPerson(d.ID("a"), nil)
			d.SetPassword(dn, "Correct-horse-9")
			bound(t, d, dn, "Correct-horse-9").Close()
			if kind == OpenLDAP {
				return // which disables nobody
			}
			d.Disable(dn, true)
			c := connected(t, d)
			defer c.Close()
			if err := c.Bind(dn, "Correct-horse-9"); err == nil {
				t.Error("a disabled account binds")
			}
			d.Disable(dn, false)
			bound(t, d, dn, "Correct-horse-9").Close()
		})
	}
}

func TestServersOfOnesOwnRestart(t *testing.T) {
	for _, kind := range kinds {
		t.Run(string(kind), func(t *testing.T) {
			d := New(t, kind)
			dn := d.AddPerson("a", nil)
			addr, pid := d.Addr(), d.PID()
			d.Stop()
			if d.Running() || d.PID() != 0 {
				t.Errorf("stopped, but process %d runs", d.PID())
			}
			d.Stop()
			if _, err := net.DialTimeout("tcp", addr, time.Second); err == nil {
				t.Error("a stopped server takes connections")
			}
			d.Start()
			if d.Addr() != addr || d.PID() == pid || d.Value(dn, "sn") != "Test" {
				t.Errorf("started again: %s, process %d, was %s, %d", d.Addr(), d.PID(), addr, pid)
			}
		})
	}
}

// The template must not be taken half-made: a folder of that name is whole.
func TestHalfMadeTemplateIsRemoved(t *testing.T) {
	t.Setenv("TMPDIR", t.TempDir())
	half := filepath.Join(os.TempDir(), fmt.Sprintf("dirpin-lab-%d", os.Getuid()), "samba-x.half")
	fatal(t, os.MkdirAll(filepath.Join(half, "private"), 0o700))
	provisioned := 0
	for range 2 {
		dir, err := template("x", func(dir string) error {
			provisioned++
			if _, err := os.Stat(dir); err == nil {
				t.Error("what a cut run left is still there")
			}
			return os.Mkdir(dir, 0o700)
		})
		fatal(t, err)
		if _, err := os.Stat(half); err == nil || filepath.Base(dir) != "samba-x" {
			t.Errorf("made %s, and %s is there: %v", dir, half, err == nil)
		}
	}
	if provisioned != 1 {
		t.Errorf("provisioned %d times", provisioned)
	}
	if _, err := template("y", func(string) error { return errors.New("cut") }); err == nil {
		t.Error("made by a failure")
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
	c := bound(t, d, d.BindDN(), d.BindPassword())
	defer c.Close()
	r, err := c.Search(ldap.NewSearchRequest(d.Suffix(), ldap.ScopeWholeSubtree, ldap.NeverDerefAliases, 0, 0, false, "(objectClass=inetOrgPerson)", []string{"uid"}, nil))
	fatal(t, err)
	return len(r.Entries)
}

func bound(t *testing.T, d *Directory, dn, password string) *ldap.Conn {
	t.Helper()
	c := connected(t, d)
	fatal(t, c.Bind(dn, password))
	return c
}

func connected(t *testing.T, d *Directory) *ldap.Conn {
	t.Helper()
	c, err := ldap.DialURL(d.TLSURL(), ldap.DialWithTLSConfig(tlsConfig(t, d)))
	fatal(t, err)
	return c
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
