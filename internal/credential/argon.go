package credential

import (
	"runtime"

	"golang.org/x/crypto/argon2"
)

// slots lets as many hash at once as there are cores: more would gain nothing,
// and each takes 19 MiB while it lasts. A hash that was imported with greater
// cost takes more, so those go one at a time.
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
	s.free <- struct{}{}
	defer func() { <-s.free }()
	if p.Memory > s.memory {
		s.large <- struct{}{}
		defer func() { <-s.large }()
	}
	return argon2.IDKey(password, salt, p.Time, p.Memory, p.Threads, keyLen)
}
