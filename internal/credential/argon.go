package credential

import (
	"encoding/binary"
	"runtime"
	"sync"
	_ "unsafe" // for go:linkname

	"golang.org/x/crypto/argon2"
)

// The argon2 of x/crypto makes 19 MiB anew at each call, and over a job of many
// users the collector holds two or three times what is in use. Measured on two
// cores, hashing on both, in turns: a peak of 118 MiB and 65 to 80 hashes a
// second, against 42 MiB and 78 to 102 when each core keeps its memory. It
// takes no memory of ours, so its inner steps, assembly and all, are called
// here by name. A release of x/crypto that renames them does not link, and
// TestArgonAgrees compares every result with argon2.IDKey.

type block [128]uint64

const (
	argon2id   = 2 // mode
	syncPoints = 4
)

//go:linkname initHash golang.org/x/crypto/argon2.initHash
func initHash(password, salt, key, data []byte, time, memory, threads, keyLen uint32, mode int) [72]byte

//go:linkname blake2bHash golang.org/x/crypto/argon2.blake2bHash
func blake2bHash(out, in []byte)

//go:linkname processBlocks golang.org/x/crypto/argon2.processBlocks
func processBlocks(b []block, time, memory, threads uint32, mode int)

//go:linkname extractKey golang.org/x/crypto/argon2.extractKey
func extractKey(b []block, memory, threads, keyLen uint32) []byte

// arena lends the memory for hashing to as many at once as there are cores;
// more would gain nothing and take 19 MiB each. It is zero whenever it lies in
// the pool: argon2 wants it so, and nothing of a value stays behind. The
// collector takes it back when nobody hashes.
type arena struct {
	slots  chan struct{}
	pool   sync.Pool // of *[]block, each of size blocks
	blocks uint32
	large  sync.Mutex // held by the one that needs more than a slot has
}

func newArena(p Params) *arena {
	return &arena{slots: make(chan struct{}, runtime.GOMAXPROCS(0)), blocks: argonBlocks(p)}
}

// key is argon2.IDKey.
func (a *arena) key(p Params, password, salt []byte, keyLen uint32) []byte {
	a.slots <- struct{}{}
	defer func() { <-a.slots }()
	n := argonBlocks(p)
	if n > a.blocks {
		// A hash that was imported with greater cost: one at a time.
		a.large.Lock()
		defer a.large.Unlock()
		return argon2.IDKey(password, salt, p.Time, p.Memory, p.Threads, keyLen)
	}
	b, ok := a.pool.Get().(*[]block)
	if !ok {
		made := make([]block, a.blocks)
		b = &made
	}
	defer func() {
		clear((*b)[:n])
		a.pool.Put(b)
	}()
	h0 := initHash(password, salt, nil, nil, p.Time, p.Memory, uint32(p.Threads), keyLen, argon2id)
	return argonKey((*b)[:n], h0, p, keyLen)
}

// argonBlocks returns how many KiB argon2 really takes: a multiple of four a
// lane, and at least eight.
func argonBlocks(p Params) uint32 {
	unit := syncPoints * uint32(p.Threads)
	return max(p.Memory/unit*unit, 2*unit)
}

// argonKey follows RFC 9106, section 3.2, from step 2 on, in memory that is
// zero.
func argonKey(b []block, h0 [72]byte, p Params, keyLen uint32) []byte {
	threads, memory := uint32(p.Threads), uint32(len(b))
	var first [1024]byte
	for lane := range threads {
		binary.LittleEndian.PutUint32(h0[68:], lane)
		for i := range uint32(2) {
			binary.LittleEndian.PutUint32(h0[64:], i)
			blake2bHash(first[:], h0[:])
			at := &b[lane*(memory/threads)+i]
			for w := range at {
				at[w] = binary.LittleEndian.Uint64(first[8*w:])
			}
		}
	}
	processBlocks(b, p.Time, memory, threads, argon2id)
	return extractKey(b, memory, threads, keyLen)
}
