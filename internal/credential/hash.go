package credential

import (
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"errors"
	"fmt"
	"strings"

	"golang.org/x/crypto/bcrypt"

	"github.com/dirpin/dirpin/internal/secret"
)

// Hasher makes and verifies hashes. Goroutines may share it, and should: it
// bounds the memory of all of them to that of one hash a core.
type Hasher struct {
	ring   *Ring
	params Params
	slots  *slots
}

// NewHasher makes a Hasher of that cost: DefaultParams, but in tests.
func NewHasher(ring *Ring, params Params) *Hasher {
	return &Hasher{ring: ring, params: params, slots: newSlots(params)}
}

// Hash returns the hash of a value as the store keeps it. Passwords are hashed
// by argon2id as they are. Of a PIN, which has some twenty bits, the hash is
// that of an HMAC under a pepper of the ring's primary key, which the hash
// names: without the key file guessing is hopeless, with it a matter of hours.
func (h *Hasher) Hash(kind Kind, v secret.Value) (string, error) {
	value := v.Reveal()
	switch {
	case value == "":
		return "", fmt.Errorf("hashing a %s: it is empty", kind)
	case len(value) > maxBytes:
		return "", fmt.Errorf("hashing a %s: it is longer than %d bytes", kind, maxBytes)
	}
	p := phc{Params: h.params, salt: make([]byte, saltSize)}
	rand.Read(p.salt)
	input := []byte(value)
	if kind == PIN {
		p.keyID = h.ring.Primary()
		input = h.ring.primary.peppered(value)
	}
	defer clear(input)
	p.sum = h.slots.key(p.Params, input, p.salt, sumSize)
	return p.String(), nil
}

func (k *key) peppered(pin string) []byte {
	mac := hmac.New(sha256.New, k.pepper)
	mac.Write([]byte(pin))
	return mac.Sum(nil)
}

// Verify tells whether the value is the one that was hashed, and where it is,
// whether it should be hashed anew: the hash is weaker than today's, of
// another algorithm, or under a key that is no longer the primary. The error
// is ErrUnknownKey or ErrBadHash; ok then says nothing, and no attempt must be
// counted. It takes the same time whether the value is right or wrong.
func (h *Hasher) Verify(kind Kind, stored string, v secret.Value) (ok, rehash bool, err error) {
	value := v.Reveal()
	if strings.HasPrefix(stored, "$2") {
		return verifyBcrypt(kind, stored, value)
	}
	p, err := parsePHC(stored)
	if err != nil {
		return false, false, fmt.Errorf("verifying a %s: %w", kind, err)
	}
	input := []byte(value)
	if p.keyID != "" {
		if kind != PIN {
			return false, false, fmt.Errorf("verifying a %s: %w", kind, badHash("it names a key, as only PINs do"))
		}
		k := h.ring.named(p.keyID)
		if k == nil {
			return false, false, fmt.Errorf("verifying a %s: %w: %s", kind, ErrUnknownKey, p.keyID)
		}
		input = k.peppered(value)
	}
	defer clear(input)
	if value == "" || len(value) > maxBytes {
		return false, false, nil
	}
	sum := h.slots.key(p.Params, input, p.salt, uint32(len(p.sum)))
	if subtle.ConstantTimeCompare(sum, p.sum) != 1 {
		return false, false, nil
	}
	return true, h.outdated(kind, p), nil
}

func (h *Hasher) outdated(kind Kind, p *phc) bool {
	if kind == PIN && p.keyID != h.ring.Primary() {
		return true
	}
	return p.work() < h.params.work() || len(p.salt) < saltSize || len(p.sum) < sumSize
}

// VerifyNobody spends the time that verifying a value takes. Called for a user
// who does not exist or has no such secret, it keeps the clock from telling.
func (h *Hasher) VerifyNobody(v secret.Value) {
	value := v.Reveal()
	if len(value) > maxBytes {
		return
	}
	input := []byte(value)
	defer clear(input)
	h.slots.key(h.params, input, make([]byte, saltSize), sumSize)
}

const (
	maxBcryptCost = 16 // some four seconds
	bcryptSize    = 60
	bcryptBytes   = 72 // it reads no more of a value
)

// verifyBcrypt verifies a hash that was imported. Of a value of more than 72
// bytes bcrypt has only ever seen the first 72, here as where it was made. It
// is then not hashed anew: the rest, which nobody verified, would begin to
// count.
func verifyBcrypt(kind Kind, stored, value string) (ok, rehash bool, err error) {
	if err := checkBcrypt(stored); err != nil {
		return false, false, fmt.Errorf("verifying a %s: %w", kind, err)
	}
	if value == "" || len(value) > maxBytes {
		return false, false, nil
	}
	input := []byte(value)
	defer clear(input)
	// PHP and OpenBSD write $2y$ and $2b$ for what Go calls $2a$.
	err = bcrypt.CompareHashAndPassword([]byte("$2a"+stored[3:]), input[:min(len(input), bcryptBytes)])
	switch {
	case err == nil:
		return true, len(value) <= bcryptBytes, nil
	case errors.Is(err, bcrypt.ErrMismatchedHashAndPassword):
		return false, false, nil
	}
	return false, false, fmt.Errorf("verifying a %s: %w", kind, badHash("bcrypt cannot read it"))
}

func checkBcrypt(s string) error {
	const alphabet = "./ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789"
	if len(s) != bcryptSize || !strings.Contains("aby", s[2:3]) || s[3] != '$' || s[6] != '$' || strings.Trim(s[7:], alphabet) != "" {
		return badHash("not of the form $2b$10$ and 53 characters")
	}
	tens, ones := s[4]-'0', s[5]-'0'
	if tens > 9 || ones > 9 {
		return badHash("its cost is no number")
	}
	if cost := 10*int(tens) + int(ones); cost < bcrypt.MinCost || cost > maxBcryptCost {
		return badHash("its cost is not within %d and %d", bcrypt.MinCost, maxBcryptCost)
	}
	return nil
}

// ValidHash reports whether a hash that is to be imported could be verified:
// argon2id in PHC form, or bcrypt, at a bounded cost, and without a key, since
// the key that another installation means is not here.
func ValidHash(kind Kind, s string) error {
	if strings.HasPrefix(s, "$2") {
		return checkBcrypt(s)
	}
	p, err := parsePHC(s)
	if err != nil {
		if !strings.HasPrefix(s, "$argon2id$") {
			return badHash("neither argon2id in PHC form ($argon2id$…) nor bcrypt ($2a$, $2b$, $2y$)")
		}
		return err
	}
	if p.keyID != "" {
		return badHash("it was made under a key (keyid) of another installation: import the %s hash made without one, or reset the %s", kind, kind)
	}
	return nil
}
