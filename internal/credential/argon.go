package credential

import (
	"runtime"

	"golang.org/x/crypto/argon2"
)

// slots lets as many hash at once as there are cores: more would gain nothing,
// and each takes 19 MiB while it lasts. A hash that was imported at greater
// cost takes more, so those go one at a time, and hold no slot while they wait.
//
// IDKey makes its memory anew at each call. Measured on two cores, 200 hashes
// by both: a peak of 118 MiB at GOGC=100, of 60 to 80 at 25, at the same rate.
type slots struct {
	memory uint32 // KiB that an ordinary hash takes
	free   chan struct{}
	large  chan struct{}
}

func newSlots(p Params) *slots {
	return &slots{memory: p.Memory, free: make(chan struct{}, runtime.GOMAXPROCS(0)), large: make(chan struct{}, 1)}
}

// key is argon2.IDKey, when there is a slot.
func (s *slots) key(p Params, password, salt []byte, keyLen uint32) []byte {
	if p.Memory > s.memory {
		s.large <- struct{}{}
		defer func() { <-s.large }()
	}
	s.free <- struct{}{}
	defer func() { <-s.free }()
	return argon2.IDKey(password, salt, p.Time, p.Memory, p.Threads, keyLen)
}
