package ldapsync_test

import (
	"context"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/go-ldap/ldap/v3"

	"github.com/dirpin/dirpin/config"
	"github.com/dirpin/dirpin/internal/lab"
	"github.com/dirpin/dirpin/internal/labstore"
	"github.com/dirpin/dirpin/internal/roster"
	"github.com/dirpin/dirpin/internal/secret"
	"github.com/dirpin/dirpin/internal/store"
	"github.com/dirpin/dirpin/internal/user"
	"github.com/dirpin/dirpin/ldapsync"
)

// scenario is something that happens in a directory, and what the store must
// then say. It holds whatever feed brings the news.
type scenario struct {
	name  string
	kinds []lab.Kind // nil: all of them
	run   func(*scene)
	own   bool // restarts or reconfigures an OpenLDAP
}

var allKinds = []lab.Kind{lab.OpenLDAP, lab.DS389, lab.AD}

// methods are the feeds that each kind of directory has to pass with.
var methods = map[lab.Kind][]string{
	lab.OpenLDAP: {"full", "syncrepl"},
	lab.DS389:    {"full", "syncrepl"},
	lab.AD:       {"full", "dirsync", "usn"}, // usn: as where DirSync is not to be had
}

func TestConformance(t *testing.T) {
	for _, kind := range allKinds {
		for _, method := range methods[kind] {
			t.Run(string(kind)+"/"+method, func(t *testing.T) {
				for _, list := range [][]scenario{peopleScenarios, placeScenarios, rightScenarios, valueScenarios, accountScenarios, liveScenarios, examineScenarios} {
					for _, sc := range list {
						if sc.kinds != nil && !slices.Contains(sc.kinds, kind) {
							continue
						}
						t.Run(sc.name, func(t *testing.T) {
							t.Parallel()
							sc.run(newScene(t, kind, method, sc.own))
						})
					}
				}
			})
		}
	}
}

// scene is a place in a real directory, and a store of its own.
type scene struct {
	*testing.T
	d     *lab.Directory
	store *store.Store
	o     ldapsync.Options
	now   time.Time
	news  []string
}

func newScene(t *testing.T, kind lab.Kind, method string, own bool) *scene {
	s := &scene{T: t, now: time.Now().Truncate(time.Second)}
	if own && kind == lab.OpenLDAP {
		s.d = lab.New(t, kind)
	} else {
		s.d = lab.Shared(t, kind)
	}
	s.store = labstore.Open(t)
	few := config.Limit{N: 3}
	s.o = ldapsync.Options{
		Agreement: config.Agreement{Name: "corp", Servers: []string{s.d.TLSURL()}, CAFile: s.d.CAFile(), Bind: config.Bind{DN: s.d.BindDN()}, Base: s.d.Base,
			Method: method, PageSize: 3, Timeout: 10 * time.Second, Interval: 15 * time.Minute, Grace: time.Hour,
			Guard: config.Guard{MaxDeactivate: few, MaxBlank: few, Window: 24 * time.Hour}},
		Password: secret.New(s.d.BindPassword()), Store: ldapsync.Over(s.store), Log: slog.New(slog.NewTextHandler(t.Output(), nil)),
		Now: func() time.Time { return s.now },
		OnChange: func(c ldapsync.Change) {
			s.news = append(s.news, strings.TrimSpace(c.Change+" "+s.bare(c.UserID)+" "+strings.SplitN(c.Reason, ":", 2)[0]))
		},
	}
	if method == "usn" {
		s.o.Agreement.Method = "dirsync"
		s.o.Connect = func(ctx context.Context, o ldapsync.ConnectOptions) (ldapsync.Directory, error) {
			c, err := ldapsync.Connect(ctx, o)
			return noDirSync{c}, err
		}
	}
	return s
}

// noDirSync is a domain controller that offers no DirSync.
type noDirSync struct{ ldapsync.Directory }

func (d noDirSync) Facts() ldapsync.Facts {
	f := d.Directory.Facts()
	f.Feeds = slices.DeleteFunc(slices.Clone(f.Feeds), func(f ldapsync.Feed) bool { return f.Name == "dirsync" })
	return f
}

// bare returns a user id without what makes it unique in a domain.
func (s *scene) bare(id string) string { return strings.TrimSuffix(id, s.d.ID("")) }

// person adds somebody who has a first name, a mail address and a department.
func (s *scene) person(name string, attributes map[string][]string) string {
	s.Helper()
	all := map[string][]string{"givenName": {"Anna"}, "mail": {name + "@example.org"}, "departmentNumber": {"12"}}
	for n, values := range attributes {
		if all[n] = values; values == nil {
			delete(all, n)
		}
	}
	return s.d.AddPerson(s.d.ID(name), all)
}

func (s *scene) people(names ...string) (dns []string) {
	s.Helper()
	for _, n := range names {
		dns = append(dns, s.person(n, nil))
	}
	return dns
}

// rdn returns the RDN by which the directory would name somebody.
func (s *scene) rdn(name string) string {
	if s.d.Kind == lab.AD {
		return "CN=" + ldap.EscapeDN(s.d.ID(name))
	}
	return "uid=" + ldap.EscapeDN(s.d.ID(name))
}

// setID gives an entry another user id and returns its DN.
func (s *scene) setID(dn, name string) string {
	s.Helper()
	if s.d.Kind == lab.AD {
		s.d.Set(dn, "uid", s.d.ID(name))
		return dn
	}
	s.d.Rename(dn, s.rdn(name), "")
	_, parent, _ := strings.Cut(dn, ",")
	return s.rdn(name) + "," + parent
}

func (s *scene) ou(name, parent string) string {
	s.Helper()
	dn := "ou=" + name + "," + parent
	s.d.Add(dn, map[string][]string{"objectClass": {"organizationalUnit"}})
	return dn
}

func (s *scene) run() (ldapsync.Result, error) {
	s.news = nil
	s.now = s.now.Add(15 * time.Minute)
	return ldapsync.Run(s.Context(), s.o)
}

// sync runs and checks the counts, but for that of the unchanged: a feed of
// changes does not see those.
func (s *scene) sync(want string) ldapsync.Result {
	s.Helper()
	r, err := s.run()
	if err != nil {
		s.Fatalf("sync: %v", err)
	}
	r.Unchanged, r.Missed = 0, 0
	if got := counts(r); got != want {
		s.Fatalf("got  %q, held %v, %v\nwant %q", got, r.Held, s.news, want)
	}
	return r
}

// full is sync with everything read: changes of rights are no changes of
// entries, and only a full answer removes anybody.
func (s *scene) full(want string) {
	s.Helper()
	s.o.Full = true
	s.sync(want)
	s.o.Full = false
}

func (s *scene) told(want ...string) {
	s.Helper()
	slices.Sort(s.news)
	if !slices.Equal(s.news, want) {
		s.Errorf("told %q, want %q", s.news, want)
	}
}

// find returns the user of that name; nil for none.
func (s *scene) find(name string) *roster.Person {
	s.Helper()
	var found *roster.Person
	err := s.o.Store.Read(s.Context(), func(tx ldapsync.Reader) error {
		people, err := tx.SyncClaimants([]string{user.Fold(s.d.ID(name))})
		if len(people) > 0 {
			found = &people[0]
		}
		return err
	})
	if err != nil {
		s.Fatal(err)
	}
	return found
}

func (s *scene) get(name string) *roster.Person {
	s.Helper()
	p := s.find(name)
	if p == nil {
		s.Fatalf("there is no user %s", name)
	}
	return p
}

// is checks status and reason of a user, written "ldap-active" or
// "ldap-inactive disabled"; "" for one who is not there.
func (s *scene) is(name, want string) {
	s.Helper()
	got := ""
	if p := s.find(name); p != nil {
		got = strings.TrimSpace(string(p.Status) + " " + p.InactiveReason)
	}
	if got != want {
		s.Errorf("%s is %q, want %q", name, got, want)
	}
}

// snapshot is everything that people can see of the users of these names.
func (s *scene) snapshot(names ...string) string {
	s.Helper()
	var b strings.Builder
	for _, n := range names {
		fmt.Fprintf(&b, "%+v\n", s.get(n).User)
	}
	return b.String()
}

// givePIN stores a PIN for a user, to be found again, or not.
func (s *scene) givePIN(name string) {
	s.Helper()
	err := s.store.Write(s.Context(), func(tx *store.Tx) error {
		_, err := tx.SetCredential(s.get(name).ID, store.PIN, store.Credential{Hash: "kept"})
		return err
	})
	if err != nil {
		s.Fatal(err)
	}
}

func (s *scene) hasPIN(name string) bool {
	s.Helper()
	var c store.Credential
	err := s.store.Read(s.Context(), func(tx *store.Tx) (err error) {
		c, err = tx.Credential(s.get(name).ID, store.PIN)
		return err
	})
	if err != nil {
		s.Fatal(err)
	}
	return c.Hash == "kept"
}
