package logon

import (
	"context"
	"crypto/rand"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/dirpin/dirpin/config"
	"github.com/dirpin/dirpin/internal/credential"
	"github.com/dirpin/dirpin/internal/secret"
	"github.com/dirpin/dirpin/internal/store"
	"github.com/dirpin/dirpin/internal/user"
)

type kit struct {
	*testing.T
	v   *Verifier
	now atomic.Int64 // milliseconds
	ref int64
}

func newKit(t *testing.T) *kit {
	t.Helper()
	k := &kit{T: t}
	k.now.Store(1_800_000_000_000)
	ring, err := credential.NewRing(rand.Reader, time.Now())
	k.must(err)
	s, err := store.Open(t.Context(), store.Options{Path: filepath.Join(t.TempDir(), "d.db"), Now: func() time.Time { return time.UnixMilli(k.now.Load()) }})
	k.must(err)
	t.Cleanup(func() { s.Close() })
	k.v = &Verifier{Store: s, Hasher: credential.NewHasher(ring, credential.Params{Memory: 64, Time: 1, Threads: 1}),
		Lockout: config.Lockout{Attempts: 5, Within: 30 * time.Minute, For: 15 * time.Minute}}
	u := user.User{UserID: "jsmith", Status: user.Local}
	k.must(s.Write(t.Context(), func(tx *store.Tx) error { return tx.AddUser(&u) }))
	k.ref = u.ID
	k.set("471108")
	return k
}

func (k *kit) must(err error) {
	k.Helper()
	if err != nil {
		k.Fatal(err)
	}
}

// set makes the value the user's PIN, as a job does.
func (k *kit) set(pin string) {
	k.Helper()
	hash, err := k.v.Hasher.Hash(credential.PIN, secret.New(pin))
	k.must(err)
	yes := true
	k.must(k.v.Store.Write(context.Background(), func(tx *store.Tx) error {
		return tx.CommitSecret(k.ref, store.PIN, store.NewSecret{Hash: hash, MustChange: &yes, ClearAttempts: &yes})
	}))
}

func (k *kit) want(pin string, want Result) {
	k.Helper()
	got, err := k.v.Verify(context.Background(), "JSmith", store.PIN, secret.New(pin))
	k.must(err)
	if got.Result != want {
		k.Errorf("got %s, want %s", got.Result, want)
	}
}

func (k *kit) later(d time.Duration) { k.now.Add(d.Milliseconds()) }

func TestWrongOnesLockForAWhile(t *testing.T) {
	k := newKit(t)
	k.want("471108", Right)
	for range 5 {
		k.want("111111", Wrong)
	}
	k.want("471108", Locked)
	k.later(16 * time.Minute)
	k.want("471108", Right)
	for range 4 {
		k.want("111111", Wrong)
	}
	k.want("471108", Right) // the last allowed attempt may be the right one
	for range 4 {
		k.want("111111", Wrong)
	}
	k.later(31 * time.Minute) // long ago counts no more
	for range 4 {
		k.want("111111", Wrong)
	}
	k.want("471108", Right)
}

func TestGuessingInParallelGainsNothing(t *testing.T) {
	k := newKit(t)
	var wrong atomic.Int64
	var wg sync.WaitGroup
	for range 40 {
		wg.Go(func() {
			r, err := k.v.Verify(context.Background(), "jsmith", store.PIN, secret.New("111111"))
			if err != nil {
				t.Error(err)
			}
			if r.Result == Wrong {
				wrong.Add(1)
			}
		})
	}
	wg.Wait()
	if wrong.Load() != 5 {
		t.Errorf("%d guesses were compared, 5 are allowed", wrong.Load())
	}
}

// A verification that began before a reset writes nothing over it.
func TestVerifyNeverRevertsAReset(t *testing.T) {
	k := newKit(t)
	_, old, _, err := k.v.begin(t.Context(), "jsmith", store.PIN)
	k.must(err)
	k.set("264081")
	k.must(k.v.right(t.Context(), k.ref, store.PIN, old, secret.New("471108"), true))
	k.want("264081", Right)
	k.want("471108", Wrong)
}

func TestExpiryUnknownUsersAndTheClock(t *testing.T) {
	k := newKit(t)
	k.v.Expires = 180 * 24 * time.Hour
	k.later(179 * 24 * time.Hour)
	k.want("471108", Right)
	k.later(2 * 24 * time.Hour)
	k.want("471108", Expired)
	k.want("111111", Wrong)
	r, err := k.v.Verify(t.Context(), "nobody", store.PIN, secret.New("471108"))
	k.must(err)
	if r.Result != Wrong {
		t.Errorf("an unknown user is %s", r.Result)
	}
	k.later(-400 * 24 * time.Hour) // set back: nobody is locked out by it
	k.want("471108", Right)
}

func TestUnknownKeyCountsNothing(t *testing.T) {
	k := newKit(t)
	other, err := credential.NewRing(rand.Reader, time.Now())
	k.must(err)
	ours := k.v.Hasher
	k.v.Hasher = credential.NewHasher(other, credential.Params{Memory: 64, Time: 1, Threads: 1})
	for range 10 {
		if _, err := k.v.Verify(t.Context(), "jsmith", store.PIN, secret.New("471108")); err == nil {
			t.Fatal("a PIN was judged without its key")
		}
	}
	k.v.Hasher = ours
	k.want("471108", Right)
}
