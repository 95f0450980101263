package credential

import (
	"bytes"
	"sync"
	"testing"
	"testing/synctest"

	"golang.org/x/crypto/argon2"
)

// However many hash at once, of whatever cost, each gets its own hash.
func TestSlotsConcurrently(t *testing.T) {
	p := Params{Memory: 64, Time: 1, Threads: 1}
	s := newSlots(p)
	large := Params{Memory: 256, Time: 1, Threads: 2}
	var wg sync.WaitGroup
	for i := range byte(16) {
		wg.Go(func() {
			for j := range byte(20) {
				q := p
				if j%5 == 0 {
					q = large
				}
				value, salt := []byte{i, j}, bytes.Repeat([]byte{i}, 16)
				if got := s.key(q, value, salt, 32); !bytes.Equal(got, argon2.IDKey(value, salt, q.Time, q.Memory, q.Threads, 32)) {
					t.Errorf("%d %d: another hash", i, j)
				}
			}
		})
	}
	wg.Wait()
}

// A crowd of costly hashes must not keep the ordinary ones waiting.
func TestCostlyHashesHoldNoSlot(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := Params{Memory: 64, Time: 1, Threads: 1}
		s := newSlots(p)
		s.large <- struct{}{} // one that takes long
		var wg sync.WaitGroup
		for range 2 * cap(s.free) {
			wg.Go(func() { s.key(Params{Memory: 256, Time: 1, Threads: 1}, nil, make([]byte, 16), 32) })
		}
		synctest.Wait()
		if n := len(s.free); n > 0 {
			t.Errorf("%d slots of %d are held by hashes that wait", n, cap(s.free))
		}
		<-s.large
		wg.Wait()
	})
}
