package credential

import (
	"crypto/rand"
	"errors"
	"fmt"
	"hash/maphash"
	"io"
	"strings"
	"sync"

	"github.com/dirpin/dirpin/config"
	"github.com/dirpin/dirpin/internal/outcome"
	"github.com/dirpin/dirpin/internal/secret"
)

const (
	lower    = "abcdefghjkmnpqrstuvwxyz" // without i l o
	upper    = "ABCDEFGHJKLMNPQRSTUVWXYZ"
	figures  = "23456789"
	alphabet = lower + upper + figures

	maxPIN      = 32 // of drawn values; nobody keys in as much
	maxPassword = 128
	maxDraws    = 10_000 // for one value; a conforming PIN takes two or so
)

// ErrExhausted says that no value could be found that the policy allows.
var ErrExhausted = errors.New("no value found that the policy allows")

// Generator draws values of one length for the users of one job. Every value
// that the policy allows for the user is as likely as any other: a value is
// drawn evenly out of all and drawn again until it conforms.
//
// The values of one Generator differ from each other until about half of those
// that conform are used; then it starts a new round, in which the former ones
// may come again, so that an observer of many PINs never knows the rest. A job
// of 1,000 users draws 1,000 different PINs even of four digits.
//
// Passwords are of letters and digits without those that look alike (0 O o, 1
// l I i), at least one lower-case letter, one upper-case letter and one digit.
//
// Goroutines may share it.
type Generator struct {
	mu     sync.Mutex
	kind   Kind
	length int
	policy config.Policy
	from   string // the characters
	random source
	given  given
	buf    [maxPassword]byte
}

// NewGenerator refuses a length with which no value could conform. A nil
// random means crypto/rand.
func NewGenerator(kind Kind, length int, policy config.Policy, random io.Reader) (*Generator, error) {
	g := &Generator{kind: kind, length: length, policy: policy, from: alphabet}
	longest, shortest := maxPassword, 3
	if kind == PIN {
		g.from, longest, shortest = "0123456789", maxPIN, 1
		if policy.ForbidTrivial {
			shortest = 3
		}
	}
	if policy.MaxLength > 0 {
		longest = min(longest, policy.MaxLength)
	}
	shortest = max(shortest, policy.MinLength)
	if length < shortest || length > longest {
		if shortest > longest {
			return nil, fmt.Errorf("drawing a %s of length %d: the policy allows none that could be drawn (at least %d, at most %d)", kind, length, shortest, longest)
		}
		return nil, fmt.Errorf("drawing a %s of length %d: the length must be within %d and %d", kind, length, shortest, longest)
	}
	if random == nil {
		random = rand.Reader
	}
	g.random = source{from: random}
	g.given = newGiven(kind, length)
	return g, nil
}

// Next draws a value for a user. The error is ErrExhausted, or that of the
// source of randomness.
func (g *Generator) Next(person Person) (secret.Value, error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	var who traits
	who.set(g.kind, person)
	buf := g.buf[:g.length]
	defer clear(buf)
	for range maxDraws {
		if err := g.random.draw(buf, g.from); err != nil {
			return secret.Value{}, fmt.Errorf("drawing a %s: %w", g.kind, err)
		}
		if ok := g.conforms(string(buf)); !g.given.count(ok) {
			continue
		}
		if who.check(g.kind, string(buf), g.policy) != outcome.OK || !g.given.take(buf) {
			continue
		}
		return secret.New(string(buf)), nil
	}
	return secret.Value{}, fmt.Errorf("drawing a %s of length %d, %d times: %w: make it longer", g.kind, g.length, maxDraws, ErrExhausted)
}

// conforms tells whether the value may be given to anybody. Its length is
// right by construction.
func (g *Generator) conforms(value string) bool {
	if g.kind == PIN {
		return !g.policy.ForbidTrivial || !trivial(value)
	}
	return strings.ContainsAny(value, lower) && strings.ContainsAny(value, upper) && strings.ContainsAny(value, figures)
}

// source hands out even random numbers, a page of bytes at a time, and forgets
// each byte that it has used.
type source struct {
	from io.Reader
	page [4096]byte
	left int // bytes not used yet, at the end of the page
}

// draw fills buf with characters of the set, each as likely as any other.
func (s *source) draw(buf []byte, set string) error {
	even := byte(256/len(set)*len(set) - 1) // the last byte that favours no character
	for i := 0; i < len(buf); {
		if s.left == 0 {
			if _, err := io.ReadFull(s.from, s.page[:]); err != nil {
				return fmt.Errorf("reading random bytes: %w", err)
			}
			s.left = len(s.page)
		}
		at := len(s.page) - s.left
		b := s.page[at]
		s.page[at] = 0
		s.left--
		if b <= even {
			buf[i] = set[int(b)%len(set)]
			i++
		}
	}
	return nil
}

// given remembers the values that were given out: a bit for each PIN of up to
// eight digits, 12 MiB at most; longer values by a hash into as many bits,
// where some that are new look old, which costs another draw. Passwords of
// twelve characters and PINs of eighteen digits do not repeat by chance.
type given struct {
	few   map[uint64]struct{} // while they are few, which bits are set …
	bits  []uint64            // … and then the bits
	size  uint64              // how many bits; 0: nothing is remembered
	exact bool                // the bit is the PIN itself
	seed  maphash.Seed
	used  uint64

	drawn, conforming uint64 // of size, so many in drawn conform
}

const hashedBits = 1 << 27

func newGiven(kind Kind, length int) given {
	switch {
	case kind == PIN && length > 8 && length < 18, kind == Password && length < 12:
		return given{size: hashedBits, seed: maphash.MakeSeed()}
	case kind == PIN && length <= 8:
		size := uint64(1)
		for range length {
			size *= 10
		}
		return given{size: size, exact: true}
	}
	return given{}
}

// count keeps the share of values that conform, and returns ok.
func (g *given) count(ok bool) bool {
	g.drawn++
	if ok {
		g.conforming++
	}
	return ok
}

// take marks the value as given and tells whether it was new.
func (g *given) take(value []byte) bool {
	if g.size == 0 {
		return true
	}
	if 2*g.used >= g.space() {
		clear(g.bits)
		clear(g.few)
		g.used = 0
	}
	at := g.bit(value)
	if g.has(at) {
		return false
	}
	g.add(at)
	g.used++
	return true
}

func (g *given) has(at uint64) bool {
	if g.bits == nil {
		_, ok := g.few[at]
		return ok
	}
	return g.bits[at/64]&(1<<(at%64)) != 0
}

// fewMost is how many are kept by themselves: most jobs draw for some people,
// and the bits take longer to be made than these values to be drawn.
const fewMost = 4096

func (g *given) add(at uint64) {
	if g.bits == nil && len(g.few) < fewMost {
		if g.few == nil {
			g.few = make(map[uint64]struct{})
		}
		g.few[at] = struct{}{}
		return
	}
	if g.bits == nil {
		g.bits = make([]uint64, (g.size+63)/64)
		for former := range g.few {
			g.bits[former/64] |= 1 << (former % 64)
		}
		g.few = nil
	}
	g.bits[at/64] |= 1 << (at % 64)
}

// space estimates how many different values conform, by those drawn so far.
func (g *given) space() uint64 {
	if !g.exact {
		return g.size
	}
	return uint64(float64(g.size) * float64(g.conforming) / float64(g.drawn))
}

func (g *given) bit(value []byte) uint64 {
	if !g.exact {
		return maphash.Bytes(g.seed, value) % g.size
	}
	var n uint64
	for _, d := range value {
		n = 10*n + uint64(d-'0')
	}
	return n
}
