package ldapsync_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/dirpin/dirpin/internal/lab"
	"github.com/dirpin/dirpin/internal/roster"
	"github.com/dirpin/dirpin/internal/user"
	"github.com/dirpin/dirpin/ldapsync"
)

// following is Follow in the background of a test.
type following struct {
	*bench
	o     ldapsync.FollowOptions
	end   context.CancelFunc
	ended chan struct{}

	mu       sync.Mutex
	is       bool // it follows
	began    int  // how often it began to
	runs     []ldapsync.Result
	failures []error
}

// newFollowing prepares; change what is to be changed, then start.
func newFollowing(t *testing.T, d *lab.Directory) *following {
	f := &following{bench: realBench(t, d)}
	f.bench.o.Now = nil // by the clock
	f.store.Now = nil
	f.o = ldapsync.FollowOptions{Options: f.bench.o, Debounce: 50 * time.Millisecond}
	f.o.OnChange = nil
	f.o.OnRun = func(r ldapsync.Result, err error) {
		f.mu.Lock()
		defer f.mu.Unlock()
		f.runs = append(f.runs, r)
		if err != nil {
			f.failures = append(f.failures, err)
		}
	}
	f.o.OnState = func(is bool) {
		f.mu.Lock()
		defer f.mu.Unlock()
		if f.is = is; is {
			f.began++
		}
	}
	return f
}

func (f *following) start() {
	var ctx context.Context
	ctx, f.end = context.WithCancel(f.t.Context())
	f.ended = make(chan struct{})
	go func() {
		defer close(f.ended)
		if err := ldapsync.Follow(ctx, f.o); !errors.Is(err, context.Canceled) {
			f.t.Errorf("Follow: %v", err)
		}
	}()
	f.t.Cleanup(f.stop)
}

func (f *following) stop() { f.end(); <-f.ended }

// await returns when the condition holds, or fails the test.
func (f *following) await(what string, condition func() bool) {
	f.t.Helper()
	await(f.t, what, condition)
}

func await(t *testing.T, what string, condition func() bool) {
	t.Helper()
	tick := time.NewTicker(2 * time.Millisecond)
	defer tick.Stop()
	limit := time.After(20 * time.Second)
	for !condition() {
		select {
		case <-tick.C:
		case <-limit:
			t.Fatalf("in 20 s: not %s", what)
		}
	}
}

func (f *following) follows() bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.is
}

func (f *following) beginnings() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.began
}

// fulls returns how often everything was read.
func (f *following) fulls() (n int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, r := range f.runs {
		if r.Full {
			n++
		}
	}
	return n
}

func (f *following) has(id string, check func(*roster.Person) bool) func() bool {
	return func() bool {
		p := f.store.User(id)
		return p != nil && check(p)
	}
}

func active(p *roster.Person) bool { return p.Status == user.Active }
func absent(p *roster.Person) bool { return p.InactiveReason == user.Absent }

func TestFollowOpenLDAP(t *testing.T) {
	d := newProvider(t, 50, 1000)
	f := newFollowing(t, d)
	f.start()
	f.await("following", f.follows)
	f.want("u000050", active)

	begun := time.Now()
	d.Set(uid(d, 1), "sn", "One")
	f.await("changed", f.has("u000001", func(p *roster.Person) bool { return p.LastName == "One" }))
	t.Logf("a change was in the store after %v", time.Since(begun))
	d.AddPerson("newcomer", nil)
	f.await("added", f.has("newcomer", active))
	d.Delete("uid=newcomer," + d.Base)
	f.await("deactivated", f.has("newcomer", absent))
	d.AddPerson("newcomer", nil) // another one: with a key of its own
	f.await("replaced", f.has("newcomer", active))
	d.Rename(uid(d, 2), "uid=two", "")
	f.await("renamed", f.has("two", active))
	for n := 10; n < 20; n++ { // the guard lets five through
		d.Delete(uid(d, n))
	}
	last := uid(d, 3)
	d.Set(last, "sn", "Three")
	f.await("changed", f.has("u000003", func(p *roster.Person) bool { return p.LastName == "Three" }))
	f.stop()
	gone := 0
	for _, p := range f.store.People {
		if p.Status != user.Active {
			gone++
		}
	}
	if gone > 5 {
		t.Errorf("%d have left: the guard lets five through", gone)
	}
	if f.fulls() != 1 {
		t.Errorf("everything was read %d times", f.fulls())
	}
}

// Rule 3, at once and debounced.
func TestFollowContainers(t *testing.T) {
	d := newProvider(t, 20, 1000)
	f := newFollowing(t, d)
	d.Add("ou=a,"+d.Base, map[string][]string{"objectClass": {"organizationalUnit"}})
	d.Add("uid=below,ou=a,"+d.Base, map[string][]string{"objectClass": {"inetOrgPerson"}, "cn": {"x"}, "sn": {"x"}})
	f.start()
	f.await("following", f.follows)
	d.Rename("ou=a,"+d.Base, "ou=b", "")
	f.await("moved along", f.has("below", func(p *roster.Person) bool { return p.DN == "uid=below,ou=b,"+d.Base }))
	d.Set(uid(d, 1), "sn", "One") // and it still follows
	f.await("changed", f.has("u000001", func(p *roster.Person) bool { return p.LastName == "One" }))
	if n := f.fulls(); n != 2 {
		t.Errorf("everything was read %d times, want 2", n)
	}
}

// Rule 13: while everything has to be read no cookie passes what is not stored.
func TestFollowerThatEndsBeforeEverythingIsRead(t *testing.T) {
	d := newProvider(t, 20, 1000)
	f := newFollowing(t, d)
	f.o.Debounce = time.Hour
	d.Add("ou=a,"+d.Base, map[string][]string{"objectClass": {"organizationalUnit"}})
	d.Add("uid=below,ou=a,"+d.Base, map[string][]string{"objectClass": {"inetOrgPerson"}, "cn": {"x"}, "sn": {"x"}})
	f.start()
	f.await("following", f.follows)
	d.Rename("ou=a,"+d.Base, "ou=b", "")
	quiet := time.Now()
	f.await("past the container", func() bool { return time.Since(quiet) > 200*time.Millisecond })
	d.Set(uid(d, 1), "sn", "One")
	f.await("past the change", func() bool { return time.Since(quiet) > 400*time.Millisecond })
	f.stop()
	b := f.bench
	b.o.Now = time.Now
	if _, err := ldapsync.Run(t.Context(), b.o); err != nil {
		t.Fatal(err)
	}
	b.want("below", func(p *roster.Person) bool { return p.DN == "uid=below,ou=b,"+d.Base })
	b.want("u000001", func(p *roster.Person) bool { return p.LastName == "One" })
}

// Rule 15: a quiet connection is no dead one.
func TestFollowLivesThroughQuietTimes(t *testing.T) {
	d := newProvider(t, 5, 1000)
	f := newFollowing(t, d)
	f.o.Agreement.Timeout, f.o.Probe = 200*time.Millisecond, time.Hour
	f.start()
	f.await("following", f.follows)
	quiet := time.Now()
	f.await("quiet for 5 timeouts", func() bool { return time.Since(quiet) > time.Second })
	d.Set(uid(d, 1), "sn", "One")
	f.await("changed", f.has("u000001", func(p *roster.Person) bool { return p.LastName == "One" }))
	if n := f.beginnings(); n != 1 {
		t.Errorf("it began %d times", n)
	}
}

// Rule 15: a connection that was dropped without a word is noticed.
func TestFollowNoticesADeadConnection(t *testing.T) {
	d := newProvider(t, 5, 1000)
	proxy := lab.NewProxy(t, d.Addr())
	f := newFollowing(t, d)
	f.o.Agreement.Servers, f.o.Agreement.InsecurePlaintext = []string{"ldap://" + proxy.Addr()}, true
	f.o.Agreement.Timeout, f.o.Probe = 200*time.Millisecond, 50*time.Millisecond
	f.start()
	f.await("following", f.follows)
	proxy.StallAfter(0)
	f.await("noticed", func() bool { return !f.follows() })
	proxy.Heal()
	d.Set(uid(d, 1), "sn", "One")
	f.await("changed", f.has("u000001", func(p *roster.Person) bool { return p.LastName == "One" }))
}

// A server that restarts while it is followed: with its session log it loses
// what it knew of cookies.
func TestFollowThroughARestart(t *testing.T) {
	d := newProvider(t, 50, 1000)
	f := newFollowing(t, d)
	f.start()
	f.await("following", f.follows)
	d.Set(uid(d, 1), "sn", "One")
	f.await("changed", f.has("u000001", func(p *roster.Person) bool { return p.LastName == "One" }))
	d.Stop()
	f.await("noticed", func() bool { return !f.follows() })
	d.Start()
	d.Delete(uid(d, 2))
	d.Set(uid(d, 3), "sn", "Three")
	f.await("changed", f.has("u000003", func(p *roster.Person) bool { return p.LastName == "Three" }))
	f.await("deactivated", f.has("u000002", absent))
	f.await("following", f.follows)
	for n := 4; n <= 50; n++ {
		f.want(fmt.Sprintf("u%06d", n), active)
	}
}

// Rule 29: files change, a connection grows old.
func TestFollowRenewsItsConnection(t *testing.T) {
	d := newProvider(t, 5, 1000)
	f := newFollowing(t, d)
	f.o.Rebuild, f.o.Sweep = 200*time.Millisecond, 20*time.Millisecond
	f.start()
	f.await("followed three times", func() bool { return f.beginnings() >= 3 })
	d.Set(uid(d, 1), "sn", "One")
	f.await("changed", f.has("u000001", func(p *roster.Person) bool { return p.LastName == "One" }))
	f.mu.Lock()
	defer f.mu.Unlock()
	if len(f.failures) > 0 {
		t.Errorf("failures: %v", f.failures)
	}
}

// Rule 19: grace passes while nothing happens and the server answers.
func TestObservedTimePassesWhileFollowing(t *testing.T) {
	d := newProvider(t, 30, 1000)
	f := newFollowing(t, d)
	f.o.Agreement.Interval, f.o.Probe = 50*time.Millisecond, 10*time.Millisecond
	f.start()
	f.await("following", f.follows)
	d.Delete(uid(d, 1))
	f.await("deactivated", f.has("u000001", absent))
	f.await("absent for 200 ms", f.has("u000001", func(p *roster.Person) bool { return p.Absent >= 200*time.Millisecond }))
	d.Stop()
	f.await("noticed", func() bool { return !f.follows() })
	was := f.store.User("u000001").Absent
	quiet := time.Now()
	f.await("dead for a while", func() bool { return time.Since(quiet) > 500*time.Millisecond })
	if now := f.store.User("u000001").Absent; now-was > 100*time.Millisecond {
		t.Errorf("absent for %v more while nobody could see it", now-was)
	}
}

// Who adopts a user takes the cookie away, and everything is to be read.
func TestFollowWithoutItsCookie(t *testing.T) {
	d := newProvider(t, 20, 1000)
	f := newFollowing(t, d)
	f.start()
	f.await("following", f.follows)
	err := f.store.Write(t.Context(), func(tx ldapsync.Writer) error {
		return tx.SyncSaveMark(roster.Mark{Agreement: "corp", Feed: "syncrepl"}) // as good as none
	})
	if err != nil {
		t.Fatal(err)
	}
	d.Set(uid(d, 1), "sn", "One")
	f.await("everything read again", func() bool { return f.fulls() == 2 })
	d.Set(uid(d, 1), "sn", "Two")
	f.await("changed", f.has("u000001", func(p *roster.Person) bool { return p.LastName == "Two" }))
}

// What the guard holds does not keep other changes waiting.
func TestFollowWhileSomethingIsHeld(t *testing.T) {
	d := newProvider(t, 30, 1000)
	f := newFollowing(t, d)
	f.start()
	f.await("following", f.follows)
	for n := 1; n <= 10; n++ {
		d.Delete(uid(d, n))
	}
	f.await("held", func() bool {
		f.mu.Lock()
		defer f.mu.Unlock()
		return len(f.runs) > 0 && len(f.runs[len(f.runs)-1].Held) > 0
	})
	f.stop()
	f.start()
	f.await("following", f.follows)
	d.Set(uid(d, 20), "sn", "Twenty")
	f.await("changed", f.has("u000020", func(p *roster.Person) bool { return p.LastName == "Twenty" }))
	inactive := 0
	for n := 1; n <= 10; n++ {
		if !f.has(fmt.Sprintf("u%06d", n), active)() {
			inactive++
		}
	}
	if inactive > 3 {
		t.Errorf("%d have left: the guard lets 3 through", inactive)
	}
}

// Rule 20: one at a time; others ask the holder.
func TestSyncAsksTheHolder(t *testing.T) {
	d := newProvider(t, 30, 1000)
	f := newFollowing(t, d)
	f.start()
	f.await("following", f.follows)
	fulls := f.fulls()
	o := f.bench.o
	o.Full = true
	var changes []string
	o.OnChange = func(c ldapsync.Change) { changes = append(changes, c.String()) }
	r, err := ldapsync.Sync(t.Context(), o)
	if err != nil || !r.Full || r.Unchanged != 30 || f.fulls() != fulls+1 {
		t.Errorf("%+v, %v; everything was read %d times before and %d after", r, err, fulls, f.fulls())
	}
	for n := 1; n <= 10; n++ {
		d.Delete(uid(d, n))
	}
	held := func() bool {
		f.mu.Lock()
		defer f.mu.Unlock()
		n := 0
		for _, r := range f.runs {
			n = max(n, r.Pending)
		}
		return n > 0
	}
	f.await("held", held)
	o.Full, o.AcceptRemovals = false, true
	if r, err = ldapsync.Sync(t.Context(), o); err != nil || len(r.Held) > 0 {
		t.Fatalf("%+v, %v", r, err)
	}
	if len(changes) == 0 || !strings.Contains(changes[len(changes)-1], "deactivated") {
		t.Errorf("told: %v", changes)
	}
	f.stop()
	o.AcceptRemovals = false
	if r, err = ldapsync.Sync(t.Context(), o); err != nil || r.Pending != 0 {
		t.Errorf("on its own: %+v, %v", r, err)
	}
	if len(f.store.Leases)+len(f.store.Orders) > 0 {
		t.Errorf("left behind: %v %v", f.store.Leases, f.store.Orders)
	}
}

// A holder that died leaves a lease, which ends.
func TestSyncTakesOverFromADeadHolder(t *testing.T) {
	d := newProvider(t, 5, 1000)
	b := realBench(t, d)
	b.o.Now = nil
	err := b.store.Write(t.Context(), func(tx ldapsync.Writer) error {
		_, err := tx.SyncLease("agreement corp", "dead", time.Now(), time.Now().Add(300*time.Millisecond))
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	if r, err := ldapsync.Sync(t.Context(), b.o); err != nil || r.Added != 5 {
		t.Errorf("%+v, %v", r, err)
	}
	if len(b.store.Leases)+len(b.store.Orders) > 0 {
		t.Errorf("left behind: %v %v", b.store.Leases, b.store.Orders)
	}
}

// Two followers: the second waits, and takes over.
func TestFollowersHandOver(t *testing.T) {
	d := newProvider(t, 5, 1000)
	one, two := newFollowing(t, d), newFollowing(t, d)
	two.store, two.o.Store = one.store, one.store
	two.o.LeaseRetry = 10 * time.Millisecond
	one.start()
	one.await("following", one.follows)
	two.start()
	d.Set(uid(d, 1), "sn", "One")
	one.await("changed", one.has("u000001", func(p *roster.Person) bool { return p.LastName == "One" }))
	if two.follows() || len(two.runs) > 0 {
		t.Error("two at a time")
	}
	one.stop()
	two.await("following", two.follows)
	d.Set(uid(d, 1), "sn", "Two")
	two.await("changed", two.has("u000001", func(p *roster.Person) bool { return p.LastName == "Two" }))
}

// Where nothing tells what changes, each interval is one synchronization.
func TestFollowByIntervals(t *testing.T) {
	d := lab.NewSlapd(t, lab.Config{Users: 20})
	f := newFollowing(t, d)
	f.o.Agreement.Interval = 20 * time.Millisecond
	f.start()
	f.await("there", f.has("u000020", active))
	d.Set(uid(d, 1), "sn", "One")
	f.await("changed", f.has("u000001", func(p *roster.Person) bool { return p.LastName == "One" }))
	d.Stop()
	f.await("a failure", func() bool { f.mu.Lock(); defer f.mu.Unlock(); return len(f.failures) > 0 })
	d.Start()
	d.Set(uid(d, 1), "sn", "Two")
	f.await("changed", f.has("u000001", func(p *roster.Person) bool { return p.LastName == "Two" }))
	if f.follows() {
		t.Error("there is nothing to follow")
	}
}

// Rule 30: one full answer at a time a server.
func TestOneFullAnswerAtATimeAServer(t *testing.T) {
	d := newProvider(t, 5, 1000)
	b := realBench(t, d)
	b.o.Now = nil
	name := "reading all of " + strings.Replace(d.TLSAddr(), "127.0.0.1", "localhost", 1)
	lease := func(f func(ldapsync.Writer) error) {
		t.Helper()
		if err := b.store.Write(t.Context(), f); err != nil {
			t.Fatal(err)
		}
	}
	lease(func(tx ldapsync.Writer) error {
		_, err := tx.SyncLease(name, "another", time.Now(), time.Now().Add(time.Minute))
		return err
	})
	ended := make(chan error, 1)
	go func() { _, err := ldapsync.Sync(t.Context(), b.o); ended <- err }()
	await(t, "waiting", func() bool {
		select {
		case err := <-ended:
			t.Fatalf("it did not wait: %v", err)
		default:
		}
		return b.leased("agreement corp")
	})
	if b.store.User("u000001") != nil {
		t.Error("it did not wait")
	}
	lease(func(tx ldapsync.Writer) error { return tx.SyncRelease(name, "another") })
	if err := <-ended; err != nil || b.store.User("u000001") == nil {
		t.Errorf("%v", err)
	}
}

// leased tells whether somebody has a lease.
func (b *bench) leased(name string) bool {
	other := ""
	b.store.Write(b.t.Context(), func(tx ldapsync.Writer) (err error) {
		other, err = tx.SyncLease(name, "a test", time.Now(), time.Now())
		return errors.Join(err, errors.New("only asking"))
	})
	return other != ""
}
