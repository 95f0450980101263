package ldapsync

import (
	"bytes"
	"math/bits"
	"runtime"
	"slices"
	"time"

	"github.com/dirpin/dirpin/internal/roster"
	"github.com/dirpin/dirpin/internal/user"
)

// index is what a run holds of everyone in the agreement: 24 bytes a person,
// sorted by key, and a bit for each flag that somebody has.
type index struct {
	held  []heldPerson
	flags [flagCount]bitset
}

type heldPerson struct {
	key  rawKey
	hash uint64
}

type flag int

const (
	flagSeen     flag = iota
	flagInactive      // not active
	flagAbsent        // inactive because absent
	flagPending       // some loss is pending
	flagExcluded      // no user; to be left alone
	flagDue           // absent for as long as the grace, this run included
	flagCount
)

// bitset has no memory until a bit of it is set.
type bitset []uint64

func (b bitset) has(i int) bool { return b != nil && b[i/64]>>(i%64)&1 != 0 }

// loadIndex reads everyone of the agreement. grown is how much longer the
// absent ones are absent if this run ends without seeing them.
func loadIndex(r Reader, agreement string, grown, grace time.Duration) (*index, error) {
	n, err := r.SyncCount(agreement)
	if err != nil {
		return nil, err
	}
	return newIndex(n, grown, grace, func(yield func(roster.Held) error) error { return r.SyncIndex(agreement, yield) })
}

// collectEvery is after how many people what reading them has left behind is
// collected: some ten times the index, which has no pointers to follow. Else it
// would be let grow to the size of the index.
const collectEvery = 1 << 14

// newIndex makes an index of about n people.
func newIndex(n int, grown, grace time.Duration, each func(yield func(roster.Held) error) error) (*index, error) {
	x := &index{held: make([]heldPerson, 0, n)} // at once: growing would take twice the memory
	type exception struct {
		key   rawKey
		flags [flagCount]bool
	}
	var exceptions []exception
	err := each(func(h roster.Held) error {
		key, err := parseKey(h.Key)
		if err != nil {
			return err
		}
		x.held = append(x.held, heldPerson{key, h.Hash})
		if len(x.held)%collectEvery == 0 {
			runtime.GC()
		}
		e := exception{key: key}
		e.flags[flagInactive] = h.Inactive != ""
		e.flags[flagAbsent] = h.Inactive == user.Absent
		e.flags[flagDue] = h.Inactive == user.Absent && grace > 0 && h.Absent+grown >= grace
		e.flags[flagPending] = h.Pending
		e.flags[flagExcluded] = h.Excluded
		if e.flags != [flagCount]bool{} {
			exceptions = append(exceptions, e)
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	slices.SortFunc(x.held, func(a, b heldPerson) int { return bytes.Compare(a.key[:], b.key[:]) })
	for _, e := range exceptions {
		i := x.find(e.key)
		for f, set := range e.flags {
			if set {
				x.set(i, flag(f))
			}
		}
	}
	return x, nil
}

// find returns the number of the person with that key, or -1.
func (x *index) find(key rawKey) int {
	i, ok := slices.BinarySearchFunc(x.held, key, func(h heldPerson, k rawKey) int { return bytes.Compare(h.key[:], k[:]) })
	if !ok {
		return -1
	}
	return i
}

func (x *index) set(i int, f flag) {
	if x.flags[f] == nil {
		x.flags[f] = make(bitset, (len(x.held)+63)/64)
	}
	x.flags[f][i/64] |= 1 << (i % 64)
}

// is tells whether a person has one of the flags.
func (x *index) is(i int, flags ...flag) bool {
	for _, f := range flags {
		if x.flags[f].has(i) {
			return true
		}
	}
	return false
}

// settled tells whether an entry with this content is nothing new.
func (x *index) settled(i int, hash uint64) bool {
	return x.held[i].hash == hash && hash != 0 && !x.flags[flagPending].has(i) && !x.flags[flagAbsent].has(i)
}

// forgetSeen begins anew.
func (x *index) forgetSeen() { clear(x.flags[flagSeen]) }

// unseen calls f for everyone whom the answer did not have.
func (x *index) unseen(f func(i int)) {
	for from := 0; from < len(x.held); from += 64 {
		missing := ^uint64(0)
		if b := x.flags[flagSeen]; b != nil {
			missing &^= b[from/64]
		}
		if b := x.flags[flagExcluded]; b != nil {
			missing &^= b[from/64]
		}
		for ; missing != 0; missing &= missing - 1 {
			i := from + bits.TrailingZeros64(missing)
			if i >= len(x.held) {
				return
			}
			f(i)
		}
	}
}
