package voicemail

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// Never more than there are, whoever comes and goes, and whoever waits is served
// in order.
func TestSlots(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := NewSlots(3)
		var now, most atomic.Int64
		var order []int
		var mu sync.Mutex
		var all sync.WaitGroup
		for i := range 20 {
			all.Go(func() {
				if err := s.Take(t.Context()); err != nil {
					t.Error(err)
				}
				mu.Lock()
				order = append(order, i)
				mu.Unlock()
				if n := now.Add(1); n > most.Load() {
					most.Store(n)
				}
				time.Sleep(time.Second + time.Duration(i)*time.Millisecond) // no two end at once
				now.Add(-1)
				s.Give()
			})
			synctest.Wait()
		}
		all.Wait()
		if most.Load() != 3 || s.Taken() != 0 {
			t.Errorf("%d at once, %d taken", most.Load(), s.Taken())
		}
		for i, got := range order {
			if got != i {
				t.Fatalf("served in the order %v", order)
			}
		}
	})
}

func TestSlotsShrink(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := NewSlots(2)
		s.Take(t.Context())
		s.Take(t.Context())
		s.Resize(1)
		got := make(chan error, 1)
		go func() { got <- s.Take(t.Context()) }()
		synctest.Wait()
		s.Give()
		synctest.Wait()
		if len(got) != 0 {
			t.Error("a second slot of one was taken")
		}
		s.Give()
		if err := <-got; err != nil {
			t.Error(err)
		}
		// Who gives up waiting takes none along.
		ctx, cancel := context.WithCancel(t.Context())
		go func() { got <- s.Take(ctx) }()
		synctest.Wait()
		cancel()
		if err := <-got; !errors.Is(err, ErrStopped) {
			t.Error(err)
		}
		s.Give()
		if s.Taken() != 0 {
			t.Errorf("%d are taken", s.Taken())
		}
		s.Resize(8)
		s.Join()
		s.Join()
		if n := s.Ahead(); n != 8 {
			t.Errorf("each of two jobs may be %d ahead", n)
		}
	})
}

// A denial that nobody has recorded stays, whatever others believe; one that was
// recorded and is lifted does not.
func TestLiftLeavesANewDenial(t *testing.T) {
	g := gate{}
	g.refuse("401")
	g.lift()
	if g.shut(time.Now()) == nil || g.unrecorded() != "401" {
		t.Error("a denial that nobody could see was lifted")
	}
	g.record()
	if g.unrecorded() != "" {
		t.Error("it is recorded")
	}
	g.lift()
	if err := g.shut(time.Now()); err != nil {
		t.Error(err)
	}
}
