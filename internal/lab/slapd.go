package lab

import (
	"strings"
	"testing"

	"github.com/dirpin/dirpin/internal/slapd"
)

// Config says what OpenLDAP of its own a test wants.
type Config struct {
	Users     int      // persons 1 to Users (slapd.Somebody) below ou=people
	SizeLimit int      // see slapd.Options
	Access    []string // see slapd.Options
	Overlays  []string // see slapd.Options
	Socket    string   // see slapd.Options
}

// openldap is a slapd.Server with what the others have.
type openldap struct{ *slapd.Server }

func (s openldap) AdminPassword() string { return slapd.AdminPassword }

// Syncprov is content synchronization with a session log, which the shared
// server and those of New have.
var Syncprov = []string{"overlay syncprov", "syncprov-sessionlog 10000"}

func newOpenLDAP(dir string) (server, error) {
	s, err := slapd.New(slapd.Options{Dir: dir, Overlays: Syncprov})
	return openldap{s}, err
}

// Slapd returns the OpenLDAP that the tests of a process share, with a new,
// empty Base for this test. The server's configuration is not the test's to
// change.
func Slapd(t testing.TB) *Directory {
	t.Helper()
	return place(t, &sharedOpenLDAP)
}

// NewSlapd starts an OpenLDAP for this test alone; its Base is ou=people.
func NewSlapd(t testing.TB, c Config) *Directory {
	t.Helper()
	s, err := slapd.New(slapd.Options{Dir: t.TempDir(), SizeLimit: c.SizeLimit, Access: c.Access, Overlays: c.Overlays, Socket: c.Socket})
	fatal(t, err)
	if c.Users > 0 {
		fatal(t, s.LoadPeople(1, c.Users))
	}
	return own(t, OpenLDAP, openldap{s})
}

// Configure changes the configuration of an OpenLDAP of the test's own and
// starts it anew.
func (d *Directory) Configure(change func(*slapd.Options)) {
	d.t.Helper()
	s := d.slapd()
	d.Stop()
	fatal(d.t, s.Configure(change))
	d.Start()
}

// Load adds the entries of an LDIF to an OpenLDAP that is stopped, operational
// attributes included.
func (d *Directory) Load(ldif string) {
	d.t.Helper()
	fatal(d.t, d.slapd().Load(strings.NewReader(ldif)))
}

// ClientFiles returns the certificate and key with which EXTERNAL binds to an
// OpenLDAP as BindDN.
func (d *Directory) ClientFiles() (cert, key string) { return d.slapd().ClientFiles() }

func (d *Directory) slapd() *slapd.Server {
	d.t.Helper()
	s, ok := d.server.(openldap)
	if !ok {
		d.t.Fatalf("%s is no OpenLDAP", d.Kind)
	}
	return s.Server
}

// Replica starts another OpenLDAP with the same entries, ids and change
// numbers as d has now. Nothing is replicated thereafter.
func (d *Directory) Replica(c Config) *Directory {
	d.t.Helper()
	s, err := slapd.New(slapd.Options{Dir: d.t.TempDir(), SizeLimit: c.SizeLimit, Access: c.Access, Overlays: c.Overlays})
	fatal(d.t, err)
	d.Stop()
	fatal(d.t, s.CopyData(d.slapd()))
	d.Start()
	r := own(d.t, OpenLDAP, openldap{s})
	r.Base = d.Base
	return r
}
