package credential

import (
	"crypto/cipher"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"

	"golang.org/x/crypto/chacha20poly1305"

	"github.com/dirpin/dirpin/internal/secret"
)

// ErrSealed says that a sealed value can't be opened: it is damaged, or was
// sealed for another place.
var ErrSealed = errors.New("the sealed value is damaged or belongs elsewhere")

// What a sealed value begins with says how it is laid out:
//
//	formatRing  key id (4)  nonce (24)  ciphertext  tag (16)
//	formatJob               nonce (24)  ciphertext  tag (16)
const (
	formatRing byte = 1
	formatJob  byte = 2
)

// SealOverhead is by how many bytes a value sealed by a Ring is longer.
const SealOverhead = 1 + idSize + chacha20poly1305.NonceSizeX + chacha20poly1305.Overhead

// Context appends to dst what a sealed value is bound to: what it is, and the
// numbers of the rows that hold it. Opened in any other context it is refused,
// so that a value can't be moved from one row to another in the database.
func Context(dst []byte, what string, ids ...int64) []byte {
	dst = binary.AppendUvarint(dst, uint64(len(what)))
	dst = append(dst, what...)
	for _, id := range ids {
		dst = binary.BigEndian.AppendUint64(dst, uint64(id))
	}
	return dst
}

// Seal appends the sealed plaintext to dst. It allocates only to make dst
// longer.
func (r *Ring) Seal(dst, context, plaintext []byte) []byte {
	dst = append(dst, formatRing)
	dst = append(dst, r.primary.id[:]...)
	return seal(r.primary.seal, dst, context, plaintext)
}

// SealValue is Seal for a secret.
func (r *Ring) SealValue(dst, context []byte, v secret.Value) []byte {
	dst = append(dst, formatRing)
	dst = append(dst, r.primary.id[:]...)
	return seal(r.primary.seal, dst, context, v.Reveal())
}

// Open appends to dst what was sealed. The error is ErrSealed or ErrUnknownKey.
func (r *Ring) Open(dst, context, sealed []byte) ([]byte, error) {
	id, err := sealedBy(sealed)
	if err != nil {
		return nil, err
	}
	k := r.key(id)
	if k == nil {
		return nil, fmt.Errorf("opening a sealed value: %w: %x", ErrUnknownKey, id)
	}
	return open(k.seal, dst, context, sealed[1+idSize:])
}

// OpenValue is Open for a secret.
func (r *Ring) OpenValue(context, sealed []byte) (secret.Value, error) {
	return reveal(r.Open(nil, context, sealed))
}

// SealedBy returns the id of the key that sealed the value, so that rotation
// can find what the database still needs.
func SealedBy(sealed []byte) (string, error) {
	id, err := sealedBy(sealed)
	if err != nil {
		return "", err
	}
	return (&key{id: id}).name(), nil
}

// Reseal returns the value sealed under the primary key, and whether that is
// another than it was sealed under.
func (r *Ring) Reseal(context, sealed []byte) ([]byte, bool, error) {
	plaintext, err := r.Open(nil, context, sealed)
	if err != nil {
		return nil, false, err
	}
	defer clear(plaintext)
	if id, _ := sealedBy(sealed); id == r.primary.id {
		return sealed, false, nil
	}
	return r.Seal(nil, context, plaintext), true, nil
}

func sealedBy(sealed []byte) ([idSize]byte, error) {
	if len(sealed) < SealOverhead || sealed[0] != formatRing {
		return [idSize]byte{}, ErrSealed
	}
	return [idSize]byte(sealed[1:]), nil
}

// seal appends nonce and ciphertext to dst. The plaintext is copied to its
// place first and encrypted there, which spares a buffer.
func seal[T []byte | string](a cipher.AEAD, dst, context []byte, plaintext T) []byte {
	var nonce [chacha20poly1305.NonceSizeX]byte
	// Room for everything at once: growing later would leave the plaintext
	// behind in the smaller array.
	dst = slices.Grow(dst, len(nonce)+len(plaintext)+chacha20poly1305.Overhead)
	at := len(dst)
	dst = append(dst, nonce[:]...)
	rand.Read(dst[at:]) // never fails: it would end the process
	body := len(dst)
	dst = append(dst, plaintext...)
	return a.Seal(dst[:body], dst[at:body], dst[body:], context)
}

func open(a cipher.AEAD, dst, context, sealed []byte) ([]byte, error) {
	if len(sealed) < chacha20poly1305.NonceSizeX+chacha20poly1305.Overhead {
		return nil, ErrSealed
	}
	nonce, body := sealed[:chacha20poly1305.NonceSizeX], sealed[chacha20poly1305.NonceSizeX:]
	dst, err := a.Open(dst, nonce, body, context)
	if err != nil {
		return nil, ErrSealed
	}
	return dst, nil
}

func reveal(plaintext []byte, err error) (secret.Value, error) {
	if err != nil {
		return secret.Value{}, err
	}
	defer clear(plaintext)
	return secret.New(string(plaintext)), nil
}
