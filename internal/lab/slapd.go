package lab

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"sync"
	"testing"

	"github.com/go-ldap/ldap/v3"

	"github.com/dirpin/dirpin/internal/slapd"
)

// Directory is a slapd and, within it, a place of the test's own.
type Directory struct {
	*slapd.Server
	Base string // below which the test may do as it likes

	t     testing.TB
	mu    sync.Mutex
	admin *ldap.Conn
}

// Config says what server of its own a test wants.
type Config struct {
	Users     int      // persons 1 to Users (slapd.Somebody) below ou=people
	SizeLimit int      // see slapd.Options
	Access    []string // see slapd.Options
	Overlays  []string // see slapd.Options
}

// shared is the server that the tests of a process share.
var shared struct {
	sync.Mutex
	server *slapd.Server
	dir    string
	err    error
	places int
}

// Main runs the tests of a package and then takes the shared servers away. A
// TestMain calls it; without one they are killed with the process and leave a
// temporary folder behind.
func Main(m *testing.M) {
	code := m.Run()
	shared.Lock()
	if shared.server != nil {
		shared.server.Stop()
	}
	if shared.dir != "" {
		os.RemoveAll(shared.dir)
	}
	os.Exit(code)
}

// Slapd returns the shared server with a new, empty Base for this test. The
// server's configuration is not the test's to change.
func Slapd(t testing.TB) *Directory {
	t.Helper()
	shared.Lock()
	defer shared.Unlock()
	if shared.server == nil && shared.err == nil {
		shared.server, shared.err = startShared()
	}
	fatal(t, shared.err)
	shared.places++
	d := &Directory{Server: shared.server, t: t}
	d.Base = fmt.Sprintf("ou=place%d,%s", shared.places, d.Suffix())
	t.Cleanup(d.close)
	d.Add(d.Base, map[string][]string{"objectClass": {"organizationalUnit"}})
	return d
}

func startShared() (*slapd.Server, error) {
	dir, err := os.MkdirTemp("", "dirpin-lab-")
	if err != nil {
		return nil, err
	}
	shared.dir = dir
	s, err := slapd.New(slapd.Options{Dir: dir})
	if err != nil {
		return nil, err
	}
	return s, s.Start(context.Background())
}

// NewSlapd starts a server for this test alone; its Base is ou=people.
func NewSlapd(t testing.TB, c Config) *Directory {
	t.Helper()
	s, err := slapd.New(slapd.Options{Dir: t.TempDir(), SizeLimit: c.SizeLimit, Access: c.Access, Overlays: c.Overlays})
	fatal(t, err)
	if c.Users > 0 {
		fatal(t, s.LoadPeople(1, c.Users))
	}
	d := &Directory{Server: s, Base: s.People(), t: t}
	t.Cleanup(func() { d.close(); s.Stop() })
	d.Start()
	return d
}

// fatal ends the test on an error.
func fatal(t testing.TB, err error) {
	t.Helper()
	if errors.Is(err, slapd.ErrMissing) {
		t.Fatalf("%v: run `make deps` (as root) to install what the tests need", err)
	}
	if err != nil {
		t.Fatal(err)
	}
}

// Start starts the server, with a connection for the changes of the test.
func (d *Directory) Start() {
	d.t.Helper()
	fatal(d.t, d.Server.Start(context.Background()))
}

// Stop ends the server in order.
func (d *Directory) Stop() {
	d.t.Helper()
	d.close()
	fatal(d.t, d.Server.Stop())
}

// Configure changes the configuration and starts the server anew.
func (d *Directory) Configure(change func(*slapd.Options)) {
	d.t.Helper()
	d.Stop()
	fatal(d.t, d.Server.Configure(change))
	d.Start()
}

func (d *Directory) close() {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.admin != nil {
		d.admin.Close()
		d.admin = nil
	}
}

// Admin returns a connection that may do everything. It is closed with the
// test.
func (d *Directory) Admin() *ldap.Conn {
	d.t.Helper()
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.admin == nil {
		c, err := ldap.DialURL(d.URL())
		fatal(d.t, err)
		fatal(d.t, c.Bind(d.AdminDN(), slapd.AdminPassword))
		d.admin = c
	}
	return d.admin
}

// Add adds an entry. The attributes of its RDN need not be named.
func (d *Directory) Add(dn string, attributes map[string][]string) {
	d.t.Helper()
	parsed, err := ldap.ParseDN(dn)
	fatal(d.t, err)
	r := ldap.NewAddRequest(dn, nil)
	for name, values := range attributes {
		r.Attribute(name, values)
	}
	for _, a := range parsed.RDNs[0].Attributes {
		if !has(attributes, a.Type) {
			r.Attribute(a.Type, []string{a.Value})
		}
	}
	fatal(d.t, d.Admin().Add(r))
}

func has(attributes map[string][]string, name string) bool {
	for n := range attributes {
		if strings.EqualFold(n, name) {
			return true
		}
	}
	return false
}

// AddPerson adds an inetOrgPerson below Base and returns its DN. The user id
// is written as an RDN would have to be; cn and sn need not be named.
func (d *Directory) AddPerson(uid string, attributes map[string][]string) string {
	d.t.Helper()
	dn := "uid=" + ldap.EscapeDN(uid) + "," + d.Base
	all := map[string][]string{"objectClass": {"inetOrgPerson"}, "cn": {uid}, "sn": {"Test"}, "uid": {uid}}
	for name, values := range attributes {
		all[name] = values
	}
	d.Add(dn, all)
	return dn
}

// Set replaces an attribute; without values it takes it away.
func (d *Directory) Set(dn, attribute string, values ...string) {
	d.t.Helper()
	r := ldap.NewModifyRequest(dn, nil)
	r.Replace(attribute, values)
	fatal(d.t, d.Admin().Modify(r))
}

// Delete removes an entry.
func (d *Directory) Delete(dn string) {
	d.t.Helper()
	fatal(d.t, d.Admin().Del(ldap.NewDelRequest(dn, nil)))
}

// Rename gives an entry another RDN, without the value of the old one, below
// the same parent or, if one is named, another.
func (d *Directory) Rename(dn, rdn, parent string) {
	d.t.Helper()
	fatal(d.t, d.Admin().ModifyDN(ldap.NewModifyDNRequest(dn, rdn, true, parent)))
}

// Value returns the first value of an entry's attribute, operational ones too.
func (d *Directory) Value(dn, attribute string) string {
	d.t.Helper()
	r, err := d.Admin().Search(ldap.NewSearchRequest(dn, ldap.ScopeBaseObject, ldap.NeverDerefAliases, 0, 0, false, "(objectClass=*)", []string{attribute}, nil))
	fatal(d.t, err)
	if len(r.Entries) != 1 {
		d.t.Fatalf("%s: %d entries", dn, len(r.Entries))
	}
	return r.Entries[0].GetAttributeValue(attribute)
}
