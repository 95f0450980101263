package ldapsync

import "errors"

// errRepeats says that an answer has no end.
var errRepeats = errors.New("the server sends the same entries again and again, and never ends the answer")

// repeatsAtMost is how often an entry may come again in one answer: it may be
// renamed, or moved, while it is read.
const repeatsAtMost = 3

// repeats notices an answer that comes again and again, in constant memory: it
// looks out for one entry, after 1, 2, 4, 8 … entries for another one, so that
// in the end it is one of those that come again (Brent's way to find a cycle).
type repeats struct {
	key   rawKey
	again int
	n     int // entries so far
	next  int // when to look out for another one
}

// see takes note of an entry.
func (r *repeats) see(key rawKey) error {
	if r.n > 0 && key == r.key {
		if r.again++; r.again > repeatsAtMost {
			return errRepeats
		}
	}
	if r.n++; r.n > r.next {
		r.key, r.again, r.next = key, 0, 2*r.n
	}
	return nil
}
