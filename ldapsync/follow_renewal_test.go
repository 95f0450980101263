package ldapsync_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"sync/atomic"
	"testing"
	"time"

	"github.com/dirpin/dirpin/internal/lab"
	"github.com/dirpin/dirpin/internal/roster"
	"github.com/dirpin/dirpin/internal/secret"
	"github.com/dirpin/dirpin/ldapsync"
)

// connections counts the connections of a following, those that were closed,
// and has each server's certificate end when said.
type connections struct {
	made, closed atomic.Int32
	refuse       atomic.Bool
	ends         func(n int32) time.Time // of the certificate that the n-th connection shows; nil: the real one
}

// closing is a directory that says that it is closed.
type closing struct {
	ldapsync.Directory
	facts  ldapsync.Facts
	closed *atomic.Int32
}

func (c *closing) Facts() ldapsync.Facts { return c.facts }

func (c *closing) Close() error {
	c.closed.Add(1)
	return c.Directory.Close()
}

func (c *connections) connect(ctx context.Context, o ldapsync.ConnectOptions) (ldapsync.Directory, error) {
	if c.refuse.Load() {
		return nil, fmt.Errorf("not now: %w", ldapsync.ErrDirectory)
	}
	d, err := ldapsync.Connect(ctx, o)
	if err != nil {
		return nil, err
	}
	facts := d.Facts()
	if n := c.made.Add(1); c.ends != nil {
		facts.NotAfter = c.ends(n)
	}
	return &closing{d, facts, &c.closed}, nil
}

// changes makes a change and waits for it.
func (f *following) changes(d *lab.Directory, name string) {
	f.t.Helper()
	d.Set(uid(d, 1), "sn", name)
	f.await("changed to "+name, f.has("u000001", func(p *roster.Person) bool { return p.LastName == name }))
}

func (f *following) noFailures() {
	f.t.Helper()
	f.mu.Lock()
	defer f.mu.Unlock()
	if len(f.failures) > 0 {
		f.t.Errorf("failures: %v", f.failures)
	}
}

// Rule 29: a connection is made anew when the server's certificate ends, and
// not before.
func TestFollowRenewsItsConnectionWhenTheCertificateEnds(t *testing.T) {
	d := newProvider(t, 5, 1000)
	f := newFollowing(t, d)
	const left = 400 * time.Millisecond
	c := &connections{ends: func(n int32) time.Time {
		if n <= 2 { // the one that reads everything, and the first that follows
			return time.Now().Add(left)
		}
		return time.Now().Add(time.Hour)
	}}
	f.o.Connect, f.o.Sweep = c.connect, 10*time.Millisecond
	f.start()
	f.await("following", f.follows)
	begun := time.Now()
	f.await("following again", func() bool { return f.beginnings() == 2 })
	if took := time.Since(begun); took < left/4 {
		t.Errorf("the connection was made anew after %v, and the certificate was good for %v", took, left)
	}
	f.changes(d, "One")
	if n := c.made.Load(); n != 3 {
		t.Errorf("%d connections, want 3", n)
	}
	f.noFailures()
}

// Rule 29: when the CA file, or the password, changes, a connection is made with
// it, and only then the old one is closed; one that cannot be made leaves the
// old one as it is.
func TestFollowRenewsItsConnectionWhenFilesChange(t *testing.T) {
	d := newProvider(t, 5, 1000)
	f := newFollowing(t, d)
	pem, err := os.ReadFile(d.CAFile())
	if err != nil {
		t.Fatal(err)
	}
	ca := filepath.Join(t.TempDir(), "ca.pem")
	write := func(b []byte) {
		t.Helper()
		if err := os.WriteFile(ca, b, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write(pem)
	var password atomic.Value
	password.Store(d.BindPassword())
	c := new(connections)
	f.o.Agreement.CAFile, f.o.Connect, f.o.Sweep = ca, c.connect, 10*time.Millisecond
	f.o.ReadPassword = func() (secret.Value, error) { return secret.New(password.Load().(string)), nil }
	f.start()
	f.await("following", f.follows)
	made, closed := c.made.Load(), c.closed.Load()

	write(append(pem, '\n'))
	f.await("following again", func() bool { return f.beginnings() == 2 })
	f.await("closed", func() bool { return c.closed.Load() == closed+1 })
	if n := c.made.Load(); n != made+1 {
		t.Errorf("%d connections were made, want 1", n-made)
	}
	f.changes(d, "One")

	// A password that is wrong: the server is asked once, what was there is kept.
	password.Store("wrong")
	f.changes(d, "Two")
	c.refuse.Store(true)
	write(append(pem, '\n', '\n'))
	f.changes(d, "Three")
	if n := f.beginnings(); n != 2 || c.closed.Load() != closed+1 {
		t.Errorf("the connection was given up: %d beginnings, %d closed", n, c.closed.Load()-closed)
	}
	// All is well again.
	c.refuse.Store(false)
	password.Store(d.BindPassword())
	write(pem)
	f.await("following again", func() bool { return f.beginnings() == 3 })
	f.changes(d, "Four")
	f.noFailures()
}

// Rule 29: more changes than can be kept while the database is busy end the
// search; it is resumed, and all of them come again.
func TestFollowThroughMoreChangesThanItKeeps(t *testing.T) {
	const users = 60
	d := newProvider(t, users, 1000)
	f := newFollowing(t, d)
	c := new(connections)
	f.o.Inbox, f.o.Connect = 10, c.connect
	f.start()
	f.await("following", f.follows)
	made, fulls := c.made.Load(), f.fulls()

	busy, free := make(chan struct{}), make(chan struct{})
	ended := make(chan error, 1)
	go func() {
		ended <- f.store.Write(t.Context(), func(ldapsync.Writer) error { close(busy); <-free; return nil })
	}()
	<-busy
	for n := 1; n <= users; n++ {
		d.Set(uid(d, n), "sn", fmt.Sprintf("New %d", n))
	}
	d.Delete(uid(d, users))
	close(free)
	if err := <-ended; err != nil {
		t.Fatal(err)
	}
	for n := 1; n < users; n++ {
		name := fmt.Sprintf("New %d", n)
		f.await(name, f.has(fmt.Sprintf("u%06d", n), func(p *roster.Person) bool { return p.LastName == name && active(p) }))
	}
	f.await("deactivated", f.has(fmt.Sprintf("u%06d", users), absent))
	f.await("following", f.follows)
	if c.made.Load() == made {
		t.Error("the search was never resumed: the inbox did not overflow")
	}
	if f.fulls() != fulls {
		t.Error("everything was read")
	}
	f.noFailures()
}

// 389 Directory Server's content synchronization, kept open.
func TestFollow389(t *testing.T) {
	d := lab.New(t, lab.DS389)
	for n := 1; n <= 30; n++ {
		d.AddPerson(fmt.Sprintf("p%02d", n), nil)
	}
	f := newFollowing(t, d)
	f.o.Agreement.Interval, f.o.Probe = 50*time.Millisecond, 20*time.Millisecond
	f.start()
	f.await("following", f.follows)
	fulls := f.fulls()
	person := func(n int) string { return fmt.Sprintf("uid=p%02d,%s", n, d.Base) }

	begun := time.Now()
	d.Set(person(1), "sn", "One")
	f.await("changed", f.has("p01", func(p *roster.Person) bool { return p.LastName == "One" }))
	t.Logf("a change was in the store after %v", time.Since(begun))
	d.AddPerson("newcomer", nil)
	f.await("added", f.has("newcomer", active))
	d.Rename(person(2), "uid=renamed", "")
	f.await("renamed", f.has("renamed", active))
	d.Set(person(3), "nsAccountLock", "true")
	f.await("disabled", f.has("p03", func(p *roster.Person) bool { return p.InactiveReason == "disabled" }))
	d.Set(person(3), "nsAccountLock", "false")
	f.await("enabled", f.has("p03", active))
	d.Delete(person(4))
	f.await("deactivated", f.has("p04", absent))
	f.await("observed", f.has("p04", func(p *roster.Person) bool { return p.Absent >= 100*time.Millisecond }))
	if n := f.fulls(); n != fulls {
		t.Errorf("everything was read %d times", n-fulls)
	}
	f.noFailures()

	d.Stop()
	f.await("noticed", func() bool { return !f.follows() })
	d.Start()
	d.Set(person(5), "sn", "Five")
	f.await("changed", f.has("p05", func(p *roster.Person) bool { return p.LastName == "Five" }))
	f.await("following", f.follows)
	for n := 6; n <= 30; n++ {
		f.want(fmt.Sprintf("p%02d", n), active)
	}
}

// blind is a directory whose account sees less than before while told so.
type blind struct {
	ldapsync.Directory
	is *atomic.Bool
}

func (b *blind) Sees(ctx context.Context, people []roster.Person) (string, error) {
	if b.is.Load() {
		return "it sees less", nil
	}
	return b.Directory.Sees(ctx, people)
}

// Rule 12: an account that sees less follows nothing: a server says nothing of
// what is hidden, and the cookie would pass it. Everything is read each
// interval, until it sees again.
func TestFollowerThatSeesLess(t *testing.T) {
	d := newProvider(t, 20, 1000)
	f := newFollowing(t, d)
	var is atomic.Bool
	is.Store(true)
	f.o.Connect = func(ctx context.Context, o ldapsync.ConnectOptions) (ldapsync.Directory, error) {
		d, err := ldapsync.Connect(ctx, o)
		if err != nil {
			return nil, err
		}
		return &blind{d, &is}, nil
	}
	f.o.Agreement.Interval = 20 * time.Millisecond
	f.start()
	f.await("everything read three times", func() bool { return f.fulls() >= 3 })
	if f.beginnings() > 0 {
		t.Error("it follows")
	}
	is.Store(false)
	f.await("following", f.follows)
	f.changes(d, "One")
	f.noFailures()
}
