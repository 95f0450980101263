package lab

import (
	"context"
	"errors"
	"fmt"
	"os"
	"sync"
	"testing"

	"github.com/go-ldap/ldap/v3"

	"github.com/dirpin/dirpin/internal/slapd"
)

// Kind is what a server is.
type Kind string

// The kinds of server.
const (
	OpenLDAP Kind = "openldap"
	DS389    Kind = "389ds"
	AD       Kind = "ad" // Samba
)

// server is what all kinds have in common.
type server interface {
	Start(context.Context) error
	Stop() error
	Kill()
	Running() bool
	PID() int
	Suffix() string  // the DN above everything
	People() string  // below which people belong
	AdminDN() string // may do everything
	AdminPassword() string
	BindDN() string // the account that synchronizes
	BindPassword() string
	WriterDN() string // the account that resets passwords
	WriterPassword() string
	CAFile() string // the certificate that the server's is signed with
	Addr() string   // host:port of the plain service
	TLSAddr() string
	URL() string // plain, and StartTLS
	TLSURL() string
}

// Directory is a server and, within it, a place of the test's own.
type Directory struct {
	server
	Kind Kind
	Base string // below which the test may do as it likes

	t      testing.TB
	place  int // 0: the whole server is the test's
	mu     sync.Mutex
	admin  *ldap.Conn
	hidden string // what undoes Hide on a domain controller
}

// sharedServer is a server that the tests of a process share.
type sharedServer struct {
	kind Kind
	make func(dir string) (server, error)

	mu     sync.Mutex
	server server
	dir    string
	err    error
	places int
}

var (
	sharedOpenLDAP = sharedServer{kind: OpenLDAP, make: newOpenLDAP}
	shared389      = sharedServer{kind: DS389, make: func(dir string) (server, error) { return newDS389(dir) }}
	sharedAD       = sharedServer{kind: AD, make: func(dir string) (server, error) { return newSamba(dir) }}
)

// Main runs the tests of a package and then takes the shared servers away. A
// TestMain calls it; without one they are killed with the process and leave a
// temporary folder behind.
func Main(m *testing.M) {
	code := m.Run()
	for _, s := range []*sharedServer{&sharedOpenLDAP, &shared389, &sharedAD} {
		s.mu.Lock()
		if s.server != nil {
			s.server.Kill() // nobody needs its data
		}
		if s.dir != "" {
			os.RemoveAll(s.dir)
		}
	}
	sharedPostgres.remove()
	os.Exit(code)
}

// Shared returns the server of that kind that the tests of a process share,
// with a new, empty Base for this test. User ids are unique in a whole domain
// of AD: make them by ID.
func Shared(t testing.TB, kind Kind) *Directory {
	t.Helper()
	return place(t, map[Kind]*sharedServer{OpenLDAP: &sharedOpenLDAP, DS389: &shared389, AD: &sharedAD}[kind])
}

// New starts a server for this test alone; its Base is an empty place in it.
func New(t testing.TB, kind Kind) *Directory {
	t.Helper()
	if kind == OpenLDAP {
		return NewSlapd(t, Config{Overlays: Syncprov})
	}
	// Not t.TempDir: the names of sockets below it would be too long.
	dir, err := os.MkdirTemp("", "dirpin-lab-")
	fatal(t, err)
	t.Cleanup(func() { os.RemoveAll(dir) })
	var s server
	if kind == DS389 {
		s, err = newDS389(dir)
	} else {
		s, err = newSamba(dir)
	}
	fatal(t, err)
	return own(t, kind, s)
}

// own starts a server that is the test's alone.
func own(t testing.TB, kind Kind, s server) *Directory {
	t.Helper()
	d := &Directory{server: s, Kind: kind, Base: s.People(), t: t}
	t.Cleanup(func() { d.close(); s.Kill() }) // nobody needs its data
	d.Start()
	return d
}

func place(t testing.TB, s *sharedServer) *Directory {
	t.Helper()
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.server == nil && s.err == nil {
		s.server, s.err = s.start()
	}
	fatal(t, s.err)
	s.places++
	d := &Directory{server: s.server, Kind: s.kind, t: t, place: s.places}
	d.Base = fmt.Sprintf("ou=place%d,%s", s.places, d.Suffix())
	t.Cleanup(d.close)
	d.Add(d.Base, map[string][]string{"objectClass": {"organizationalUnit"}})
	return d
}

func (s *sharedServer) start() (started server, err error) {
	if s.dir, err = os.MkdirTemp("", "dirpin-lab-"); err != nil {
		return nil, err
	}
	if started, err = s.make(s.dir); err != nil {
		return nil, err
	}
	return started, started.Start(context.Background())
}

// fatal ends the test on an error.
func fatal(t testing.TB, err error) {
	t.Helper()
	if errors.Is(err, slapd.ErrMissing) || errors.Is(err, errMissing) {
		t.Fatalf("%v: run `make deps` (as root) to install what the tests need", err)
	}
	if err != nil {
		t.Fatal(err)
	}
}

// Start starts the server, with a connection for the changes of the test.
func (d *Directory) Start() {
	d.t.Helper()
	fatal(d.t, d.server.Start(context.Background()))
}

// Stop ends the server in order.
func (d *Directory) Stop() {
	d.t.Helper()
	d.close()
	fatal(d.t, d.server.Stop())
}

func (d *Directory) close() {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.admin != nil {
		d.admin.Close()
		d.admin = nil
	}
}

// ID returns a user id, at most 11 characters of it given, that is this test's
// alone.
func (d *Directory) ID(name string) string {
	if d.place == 0 || d.Kind != AD {
		return name
	}
	return fmt.Sprintf("%s-p%d", name, d.place)
}
