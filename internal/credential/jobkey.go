package credential

import (
	"crypto/cipher"
	"crypto/rand"
	"fmt"

	"golang.org/x/crypto/chacha20poly1305"

	"github.com/dirpin/dirpin/internal/secret"
)

// JobKey seals the values of one job. It lies in the database sealed under the
// ring; erasing that one row makes every value of the job unreadable, in the
// write-ahead log, old pages and backups too.
type JobKey struct {
	secret *[secretSize]byte
	aead   cipher.AEAD
}

// NewJobKey draws a key.
func NewJobKey() (*JobKey, error) {
	var b [secretSize]byte
	rand.Read(b[:])
	return newJobKey(&b)
}

func newJobKey(b *[secretSize]byte) (*JobKey, error) {
	aead, err := chacha20poly1305.NewX(b[:])
	if err != nil {
		return nil, fmt.Errorf("making a job's key: %w", err)
	}
	return &JobKey{secret: b, aead: aead}, nil
}

// SealJobKey returns the job's key as the job's row holds it.
func (r *Ring) SealJobKey(job int64, k *JobKey) []byte {
	return r.Seal(nil, Context(nil, "job key", job), k.secret[:])
}

// OpenJobKey is the reverse of SealJobKey.
func (r *Ring) OpenJobKey(job int64, sealed []byte) (*JobKey, error) {
	b, err := r.Open(nil, Context(nil, "job key", job), sealed)
	if err != nil {
		return nil, fmt.Errorf("opening the key of job %d: %w", job, err)
	}
	defer clear(b)
	if len(b) != secretSize {
		return nil, fmt.Errorf("opening the key of job %d: %w", job, ErrSealed)
	}
	secret := [secretSize]byte(b)
	return newJobKey(&secret)
}

// ResealJobKey returns the sealed key of a job under the ring's primary key,
// and whether that is another than before.
func (r *Ring) ResealJobKey(job int64, sealed []byte) ([]byte, bool, error) {
	b, changed, err := r.Reseal(Context(nil, "job key", job), sealed)
	if err != nil {
		return nil, false, fmt.Errorf("resealing the key of job %d: %w", job, err)
	}
	return b, changed, nil
}

// Seal appends the sealed plaintext to dst. It allocates only to make dst
// longer. A context that says job, item and credential (Context) binds the
// value to its row.
func (k *JobKey) Seal(dst, context, plaintext []byte) []byte {
	return seal(k.aead, append(dst, formatJob), context, plaintext)
}

// SealValue is Seal for a secret.
func (k *JobKey) SealValue(dst, context []byte, v secret.Value) []byte {
	return seal(k.aead, append(dst, formatJob), context, v.Reveal())
}

// Open appends to dst what was sealed; the error is ErrSealed.
func (k *JobKey) Open(dst, context, sealed []byte) ([]byte, error) {
	if len(sealed) == 0 || sealed[0] != formatJob {
		return nil, ErrSealed
	}
	return open(k.aead, dst, context, sealed[1:])
}

// OpenValue is Open for a secret.
func (k *JobKey) OpenValue(context, sealed []byte) (secret.Value, error) {
	return reveal(k.Open(nil, context, sealed))
}

// String hides the key.
func (k JobKey) String() string { return "(secret)" }

// GoString hides the key from %#v.
func (k JobKey) GoString() string { return k.String() }
