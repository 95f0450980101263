package credential

import (
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"slices"
	"time"

	"filippo.io/age"
	"golang.org/x/crypto/chacha20poly1305"
)

// ErrUnknownKey says that a hash or a sealed value names a key which the ring
// lacks. It tells nothing about the value: whoever verifies must not count it
// as a wrong attempt.
var ErrUnknownKey = errors.New("made under a key that the key ring lacks")

// Ring is the set of keys of an installation. New values are made under the
// primary key; the others open and verify what was made before they were
// retired. A Ring never changes, so it may be shared; Rotate returns another.
type Ring struct {
	keys       []*key // oldest first
	primary    *key
	next       *key                  // will be the primary one when everybody has it; nil: none
	identities []*age.X25519Identity // the first is the one whose recipient is published
}

// Key describes a key of the ring without giving it away.
type Key struct {
	ID      string // 8 hex digits, random
	Created time.Time
	Primary bool
	Next    bool // it becomes the primary one when every process has it
}

const (
	secretSize = 32
	idSize     = 4
)

// key is one key with all that is derived from it. No derived key serves two
// ends, so that none can be turned against another.
type key struct {
	id      [idSize]byte
	created time.Time
	secret  [secretSize]byte
	pepper  []byte
	history []byte
	check   []byte
	seal    cipher.AEAD
}

// NewRing makes a ring of one key and one age identity. A nil random means
// crypto/rand; age always draws the identity itself.
func NewRing(random io.Reader, now time.Time) (*Ring, error) {
	identity, err := age.GenerateX25519Identity()
	if err != nil {
		return nil, fmt.Errorf("drawing the age identity: %w", err)
	}
	r := &Ring{identities: []*age.X25519Identity{identity}}
	return r.Rotate(random, now)
}

// Rotate returns a ring that has one key more, which is the primary.
func (r *Ring) Rotate(random io.Reader, now time.Time) (*Ring, error) {
	added, err := r.Add(random, now)
	if err != nil {
		return nil, err
	}
	return added.Promote(), nil
}

// Add returns a ring that has one key more, which opens and verifies and will
// be the primary one by Promote: processes that work with an older copy of the
// ring must have it before anything is made under it. Where there is such a key
// already the ring is returned as it is.
//
// No key is dropped: what was sealed or hashed before stays readable. The age
// identity stays too, since its recipient has been handed out.
func (r *Ring) Add(random io.Reader, now time.Time) (*Ring, error) {
	if r.next != nil {
		return r, nil
	}
	if random == nil {
		random = rand.Reader
	}
	var id [idSize]byte
	for {
		if _, err := io.ReadFull(random, id[:]); err != nil {
			return nil, fmt.Errorf("drawing a key id: %w", err)
		}
		if r.key(id) == nil {
			break
		}
	}
	var secret [secretSize]byte
	if _, err := io.ReadFull(random, secret[:]); err != nil {
		return nil, fmt.Errorf("drawing a key: %w", err)
	}
	k, err := newKey(id, now.UTC().Truncate(time.Second), secret)
	if err != nil {
		return nil, err
	}
	return &Ring{keys: append(slices.Clone(r.keys), k), primary: r.primary, next: k, identities: r.identities}, nil
}

// Promote returns a ring in which the key that Add has made is the primary one.
func (r *Ring) Promote() *Ring {
	if r.next == nil {
		return r
	}
	return &Ring{keys: r.keys, primary: r.next, identities: r.identities}
}

// Next returns the id of the key that Promote makes the primary one; "" where
// there is none.
func (r *Ring) Next() string {
	if r.next == nil {
		return ""
	}
	return r.next.name()
}

func newKey(id [idSize]byte, created time.Time, secret [secretSize]byte) (*key, error) {
	k := &key{id: id, created: created, secret: secret}
	var seal []byte
	for _, d := range []struct {
		info string
		out  *[]byte
	}{
		{"dirpin 1 pin pepper", &k.pepper},
		{"dirpin 1 history", &k.history},
		{"dirpin 1 seal", &seal},
		{"dirpin 1 check", &k.check},
	} {
		var err error
		if *d.out, err = hkdf.Key(sha256.New, secret[:], nil, d.info, 32); err != nil {
			return nil, fmt.Errorf("deriving the keys of %s: %w", k.name(), err)
		}
	}
	var err error
	if k.seal, err = chacha20poly1305.NewX(seal); err != nil {
		return nil, fmt.Errorf("deriving the keys of %s: %w", k.name(), err)
	}
	return k, nil
}

func (k *key) name() string { return hex.EncodeToString(k.id[:]) }

// key returns the key of that id, or nil.
func (r *Ring) key(id [idSize]byte) *key {
	for _, k := range r.keys {
		if k.id == id {
			return k
		}
	}
	return nil
}

// named returns the key whose id is written so, or nil.
func (r *Ring) named(id string) *key {
	for _, k := range r.keys {
		if k.name() == id {
			return k
		}
	}
	return nil
}

// Keys lists the keys, oldest first.
func (r *Ring) Keys() []Key {
	list := make([]Key, len(r.keys))
	for i, k := range r.keys {
		list[i] = Key{ID: k.name(), Created: k.created, Primary: k == r.primary, Next: k == r.next}
	}
	return list
}

// Primary returns the id of the key under which new values are made.
func (r *Ring) Primary() string { return r.primary.name() }

// Checks returns a value of each key by which the database knows it again. It
// tells nothing about the key.
func (r *Ring) Checks() map[string][]byte {
	checks := make(map[string][]byte, len(r.keys))
	for _, k := range r.keys {
		mac := hmac.New(sha256.New, k.check)
		mac.Write([]byte("dirpin key check"))
		checks[k.name()] = mac.Sum(nil)
	}
	return checks
}

// Verify reports, as a *MismatchError, the keys that a database was written
// with and that this ring lacks or has otherwise. Keys that the database has
// not seen yet are no fault.
func (r *Ring) Verify(checks map[string][]byte) error {
	own := r.Checks()
	var e MismatchError
	for id, want := range checks {
		switch got, ok := own[id]; {
		case !ok:
			e.Missing = append(e.Missing, id)
		case !hmac.Equal(got, want):
			e.Different = append(e.Different, id)
		}
	}
	if e.Missing == nil && e.Different == nil {
		return nil
	}
	slices.Sort(e.Missing)
	slices.Sort(e.Different)
	for _, k := range r.keys {
		e.Have = append(e.Have, k.name())
	}
	return &e
}

// String says how many keys there are, and no more.
func (r Ring) String() string {
	return fmt.Sprintf("key ring (%d keys, primary %s)", len(r.keys), r.Primary())
}

// GoString hides the keys from %#v.
func (r Ring) GoString() string { return r.String() }

// Fingerprint tells texts apart, such as job files, without giving away what is
// in them to who has the database alone: the SHA-256 of a short list of PINs
// could be guessed. It is made under the oldest key, which rotation keeps.
func (r *Ring) Fingerprint(sum []byte) []byte {
	mac := hmac.New(sha256.New, r.keys[0].history)
	mac.Write([]byte("fingerprint\x00"))
	mac.Write(sum)
	return mac.Sum(nil)
}
