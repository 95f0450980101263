package credential

import (
	"crypto/hmac"
	"crypto/sha256"

	"github.com/dirpin/dirpin/internal/secret"
)

const (
	tagSum  = 16 // of HMAC-SHA-256's 32 bytes: chance will not hit it
	tagSize = idSize + tagSum
)

// HistoryTag returns what is kept of a value after it is changed: the id of
// the primary key and an HMAC of user, kind and value. It shows whether a new
// value was used before, at the price of one HMAC, and nothing else.
func (r *Ring) HistoryTag(userInternalID int64, kind Kind, v secret.Value) []byte {
	return r.primary.tag(userInternalID, kind, v.Reveal())
}

func (k *key) tag(user int64, kind Kind, value string) []byte {
	mac := hmac.New(sha256.New, k.history)
	buf := make([]byte, 0, 128)
	mac.Write(append(Context(buf, string(kind), user), value...))
	return append(k.id[:idSize:idSize], mac.Sum(nil)[:tagSum]...)
}

// InHistory tells whether the value made one of these tags, under whichever
// key. Tags that name a key the ring lacks say nothing: a ring that does not
// fit the database is for Verify to refuse.
func (r *Ring) InHistory(userInternalID int64, kind Kind, v secret.Value, tags [][]byte) bool {
	var own []byte
	found := false
	for _, tag := range tags {
		if len(tag) != tagSize {
			continue
		}
		if own == nil || [idSize]byte(own) != [idSize]byte(tag) {
			k := r.key([idSize]byte(tag))
			if k == nil {
				continue
			}
			own = k.tag(userInternalID, kind, v.Reveal())
		}
		if hmac.Equal(own, tag) {
			found = true
		}
	}
	return found
}
