package ldapsync

import (
	"bytes"
	"cmp"
	"slices"
	"time"

	"github.com/dirpin/dirpin/internal/roster"
	"github.com/dirpin/dirpin/internal/user"
)

// index is what a run holds of everyone in the agreement: 32 bytes a person,
// sorted by key.
type index struct{ held []heldPerson }

type heldPerson struct {
	key   rawKey
	hash  uint64
	flags flags
}

type flags uint8

const (
	flagInactive flags = 1 << iota
	flagAbsent         // inactive because absent
	flagPending        // some loss is pending
	flagExcluded       // no user; to be left alone
	flagDue            // absent for as long as the grace, this run included
	flagSeen
)

// loadIndex reads everyone of the agreement. grown is how much longer the
// absent ones are absent if this run ends without seeing them.
func loadIndex(r Reader, agreement string, grown, grace time.Duration) (*index, error) {
	x := new(index)
	err := r.SyncIndex(agreement, func(h roster.Held) error {
		key, err := parseKey(h.Key)
		if err != nil {
			return err
		}
		p := heldPerson{key: key, hash: h.Hash}
		if h.Inactive != "" {
			p.flags |= flagInactive
		}
		if h.Inactive == user.Absent {
			p.flags |= flagAbsent
			if grace > 0 && h.Absent+grown >= grace {
				p.flags |= flagDue
			}
		}
		if h.Pending {
			p.flags |= flagPending
		}
		if h.Excluded {
			p.flags |= flagExcluded
		}
		x.held = append(x.held, p)
		return nil
	})
	slices.SortFunc(x.held, func(a, b heldPerson) int { return bytes.Compare(a.key[:], b.key[:]) })
	return x, err
}

// find returns the person of a key, or nil.
func (x *index) find(key rawKey) *heldPerson {
	i, ok := slices.BinarySearchFunc(x.held, key, func(h heldPerson, k rawKey) int { return cmp.Compare(bytes.Compare(h.key[:], k[:]), 0) })
	if !ok {
		return nil
	}
	return &x.held[i]
}

func (h *heldPerson) is(f flags) bool { return h.flags&f != 0 }

// settled tells whether an entry with this content is nothing new.
func (h *heldPerson) settled(hash uint64) bool {
	return h.hash == hash && hash != 0 && !h.is(flagPending|flagAbsent)
}

// unseen calls f for everyone whom the answer did not have.
func (x *index) unseen(f func(*heldPerson)) {
	for i := range x.held {
		if h := &x.held[i]; !h.is(flagSeen | flagExcluded) {
			f(h)
		}
	}
}
