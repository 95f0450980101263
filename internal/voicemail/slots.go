package voicemail

import (
	"context"
	"slices"
	"sync"
)

// Slots bounds how many legs are on the wire to a system at once, over all jobs
// of this process. Who waits is served in order. The bound may change while
// slots are taken: a smaller one holds for those who come next.
type Slots struct {
	mu      sync.Mutex
	size    int
	taken   int
	jobs    int
	waiting []chan struct{} // each closed when its slot is taken for it
}

// NewSlots returns that many.
func NewSlots(size int) *Slots { return &Slots{size: size} }

// Take waits for a slot, or returns ErrStopped at the end of ctx.
func (s *Slots) Take(ctx context.Context) error {
	s.mu.Lock()
	if len(s.waiting) == 0 && s.taken < s.size {
		s.taken++
		s.mu.Unlock()
		return nil
	}
	turn := make(chan struct{})
	s.waiting = append(s.waiting, turn)
	s.mu.Unlock()
	select {
	case <-turn:
		return nil
	case <-ctx.Done():
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if i := slices.Index(s.waiting, turn); i >= 0 {
		s.waiting = slices.Delete(s.waiting, i, i+1)
	} else { // it was taken for us at the same moment
		s.taken--
		s.serve()
	}
	return ErrStopped
}

// Give gives a slot back.
func (s *Slots) Give() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.taken--
	s.serve()
}

func (s *Slots) serve() {
	for len(s.waiting) > 0 && s.taken < s.size {
		s.taken++
		close(s.waiting[0])
		s.waiting = slices.Delete(s.waiting, 0, 1)
	}
}

// Shrink is Resize where there are more than that, and tells whether no more
// are taken.
func (s *Slots) Shrink(size int) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.size = min(s.size, size)
	return s.taken <= size
}

// Resize changes how many there are.
func (s *Slots) Resize(size int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.size = size
	s.serve()
}

// Taken returns how many are taken.
func (s *Slots) Taken() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.taken
}

// Join is called by a job that begins to push here, and Leave when it has
// ended.
func (s *Slots) Join() { s.join(1) }

// Leave ends what Join began.
func (s *Slots) Leave() { s.join(-1) }

func (s *Slots) join(n int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.jobs += n
}

// Ahead returns how many legs one job may have journalled ahead of the wire:
// its part of twice as many as there are slots, so that few are in doubt after
// a kill, however many jobs run.
func (s *Slots) Ahead() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.size == 0 {
		return 0
	}
	return max(1, 2*s.size/max(1, s.jobs))
}
