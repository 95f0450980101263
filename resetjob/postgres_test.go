package resetjob

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/dirpin/dirpin/config"
	"github.com/dirpin/dirpin/internal/incarnation"
	"github.com/dirpin/dirpin/internal/lab"
	"github.com/dirpin/dirpin/internal/store"
	"github.com/dirpin/dirpin/internal/voicemail"
)

// A server that is stopped, killed and started again in the middle of a job
// costs nobody anything: what was accepted is committed, once, and the job goes
// on.
func TestServerRestartsUnderAJob(t *testing.T) {
	t.Parallel()
	server := lab.NewPostgres(t)
	k := newKitAt(t, t.TempDir(), store.Options{URL: server.Schema(t)}, func(c *config.Config) { c.Voicemail[0].Concurrency = 8 })
	const users = 300
	k.addUsers(users, nil)
	var asked atomic.Int64
	var restarts sync.WaitGroup
	k.boxes.answer = func(string, int) voicemail.Answer {
		if n := asked.Add(1); n == 60 || n == 180 {
			restarts.Go(func() {
				end := server.Stop
				if n == 180 {
					end = server.Crash
				}
				if err := errors.Join(end(), server.Start()); err != nil {
					t.Error(err)
				}
			})
		}
		return voicemail.Answer{Class: voicemail.Answered, Result: voicemail.Accepted}
	}
	j := k.submit("select: {query: all}\nreset: {pin: {generate: {length: 6}}}\ndeliver: none\n")
	j, err := k.env.Run(context.Background(), j.ID, nil)
	restarts.Wait()
	k.must(err)
	if j.State != store.Done || j.Counts.Updated != users {
		t.Errorf("job is %s with %+v", j.State, j.Counts)
	}
	k.held(users)
	for id, pins := range k.boxes.asked {
		if len(pins) != 1 {
			t.Errorf("%s was asked %d times", id, len(pins))
		}
	}
}

// held fails unless so many users have a PIN here, and it is the one that their
// mailbox has.
func (k *kit) held(users int) {
	k.Helper()
	for i := range users {
		id := fmt.Sprint("user", i)
		k.must(k.env.Store.Read(context.Background(), func(tx *store.Tx) error {
			u, err := tx.User(id)
			if err != nil {
				return err
			}
			c, err := tx.Credential(u.ID, store.PIN)
			if err == nil && c.Hash == "" {
				k.Errorf("%s has no PIN here", id)
			}
			return err
		}))
	}
}

// Another node takes a job over when the lease of a node that fell silent has
// run out, and not before; the one that was taken for dead writes nothing more.
func TestTakeoverByLease(t *testing.T) {
	ctx := context.Background()
	a := newKitAt(t, t.TempDir(), store.Options{URL: lab.SharedPostgres(t).Schema(t)}, nil)
	a.addUsers(4, nil)
	j := a.submit("select: {query: all}\nreset: {pin: \"471108\"}\n")
	batch := store.Batch{}
	a.env.Marker = incarnation.NewMarker(a.dir, "")
	a.must(a.env.Enter(ctx))
	l, err := a.env.take(ctx, j.ID)
	a.must(err)
	a.must(a.env.open(ctx, l, func(int64) {}))
	a.must(a.env.start(ctx, l))
	a.must(a.env.Store.Write(ctx, func(tx *store.Tx) (err error) { batch, _, err = tx.ClaimBatch(j.ID, a.env.Owner.ID); return err }))
	close(a.env.Owner.stop) // it beats no more
	a.env.Owner.done.Wait()

	now := time.Now()
	at := func(after time.Duration) []store.Owner {
		o := a.place
		o.Dir, o.Now = t.TempDir(), func() time.Time { return now.Add(after) }
		s, err := store.Open(ctx, o)
		a.must(err)
		defer s.Close()
		owners, err := Recover(ctx, s)
		a.must(err)
		return owners
	}
	push := rest(a.env.Systems()[0])
	if owners := at(store.Lease + push - 10*time.Second); len(owners) != 1 {
		t.Errorf("taken for dead before its lease and its longest push have run out: %+v", owners)
	}
	a.must(a.env.Store.Write(ctx, func(tx *store.Tx) error { return tx.Fence(batch) }))
	if owners := at(store.Lease + push + 10*time.Second); len(owners) != 0 {
		t.Errorf("believed to live: %+v", owners)
	}
	if err := a.env.Store.Write(ctx, func(tx *store.Tx) error { return tx.Fence(batch) }); !errors.Is(err, store.ErrFenced) {
		t.Errorf("whoever was taken for dead may write: %v", err)
	}
	if err := a.env.Store.Beat(ctx, a.env.Owner.ID); !errors.Is(err, store.ErrFenced) {
		t.Errorf("whoever was taken for dead is not told: %v", err)
	}
}

// Two installations share a database. When it is put back from a dump each
// would notice by itself; once somebody has looked, both go on.
func TestRestoredForAllInstallations(t *testing.T) {
	ctx := context.Background()
	a := newKitAt(t, t.TempDir(), store.Options{URL: lab.SharedPostgres(t).Schema(t)}, nil)
	a.addUsers(1, nil)
	b := &Env{Config: a.env.Config, Ring: a.env.Ring, Store: a.env.Store, Owner: a.env.Owner, Router: a.env.Router, Log: a.env.Log}
	a.env.Marker, b.Marker = incarnation.NewMarker(a.dir, ""), incarnation.NewMarker(t.TempDir(), "")
	enter := func(what string, e *Env, want bool) {
		t.Helper()
		err := e.Enter(ctx)
		var restored *RestoredError
		if got := errors.As(err, &restored); got != want || err != nil && !got {
			t.Errorf("%s: %v; restored is wanted to be %v", what, err, want)
		}
	}
	// The second one has no marker at first, and the database is in use.
	enter("the first start", a.env, false)
	for range 3 {
		enter("in turn", a.env, false)
		enter("in turn", b, false)
	}
	// A backup of the server's files from before the last start of a: place and
	// timeline are the same, b has gone on since, and a notices all the same.
	last, err := a.env.Marker.Last()
	a.must(err)
	a.sql("UPDATE installations SET generation = generation - 3 WHERE id = ?", last.Installation)
	enter("behind", a.env, true)
	enter("behind, and held", b, true)
	release := func(what string) {
		a.must(a.env.Store.Write(ctx, func(tx *store.Tx) error { return tx.RestUntil(tx.Now().Add(-time.Second)) }))
		if _, was, err := a.env.ReleaseRestored(ctx, "tester"); err != nil || !was {
			t.Errorf("%s: %v, %v", what, was, err)
		}
		enter(what+": after the release", b, false)
		enter(what+": after the release", a.env, false)
	}
	release("behind")
	// A dump that was put back: the tables are others.
	a.sql("UPDATE meta SET value = '1/00000001/2/3' WHERE name = 'place'")
	enter("from a dump", b, true)
	enter("from a dump, and held", a.env, true)
	release("from a dump")
}
