package resetjob

import (
	"context"
	"errors"
	"fmt"
	"os"
	"sync"
	"testing"

	"github.com/dirpin/dirpin/internal/lab"
	"github.com/dirpin/dirpin/internal/store"
)

// Commands that start at the same moment find the same dead owner, and none of
// them minds that another one has taken its lock away.
func TestManyFindTheSameDeadOwner(t *testing.T) {
	k := newKit(t, nil)
	for n := range 200 {
		id := fmt.Sprintf("%016x", n)
		path, err := lockPath(k.env.Store, id)
		k.must(err)
		k.must(os.WriteFile(path, nil, 0o600))
		var all sync.WaitGroup
		start := make(chan struct{})
		for range 8 {
			all.Go(func() {
				<-start
				if _, _, err := locked(k.env.Store, id); err != nil {
					t.Error(err)
				}
			})
		}
		close(start)
		all.Wait()
	}
}

// A dead owner is found again where its work could not be taken the first time,
// and not only when its lease is over.
func TestDeadOwnerFoundAgain(t *testing.T) {
	ctx := context.Background()
	server := lab.NewPostgres(t)
	k := newKitAt(t, t.TempDir(), store.Options{URL: server.Schema(t)}, nil)
	o, err := NewOwner(ctx, k.env.Store, k.env.Ring)
	k.must(err)
	k.must(server.Stop())
	if err := o.Close(); !store.IsAway(err) { // it cannot say that it ends
		t.Errorf("without a server: %v", err)
	}
	if _, err := orphan(ctx, k.env.Store, store.Owner{ID: o.ID, Beat: k.env.Store.Now()}); !store.IsAway(err) {
		t.Errorf("without a server: %v", err)
	}
	k.must(server.Start())
	died := false
	k.must(k.env.lasting(ctx, func() (err error) { // connections of before are broken
		died, err = orphan(ctx, k.env.Store, store.Owner{ID: o.ID, Beat: k.env.Store.Now()})
		return err
	}))
	if !died {
		t.Error("it is believed to live")
	}
	if _, err := os.Stat(o.lock.Path()); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("its lock: %v", err)
	}
}
