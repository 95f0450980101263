package credential

import (
	"encoding/base64"
	"errors"
	"fmt"
	"strconv"
	"strings"
)

// ErrBadHash says that a stored or imported hash can't be used. What it wraps
// says why and never quotes the hash.
var ErrBadHash = errors.New("unusable hash")

// Bounds of what a hash from elsewhere may cost: a file of imported hashes, or
// a row that somebody wrote into the database, must not take the machine.
const (
	maxMemory  = 1 << 20 // KiB
	maxTime    = 20
	maxThreads = 16
	maxWork    = 4 << 20 // KiB times passes: some three seconds
	maxHash    = 512     // bytes of text
	minSalt    = 8
	maxSum     = 64
	minSum     = 16

	saltSize = 16
	sumSize  = 32
)

// Params is the cost of argon2id.
type Params struct {
	Memory  uint32 // KiB
	Time    uint32 // passes
	Threads uint8
}

// DefaultParams is what OWASP advises: 19 MiB, two passes.
func DefaultParams() Params { return Params{Memory: 19456, Time: 2, Threads: 1} }

// work compares costs: two hashes of the same work are of the same strength,
// for all that is known.
func (p Params) work() uint64 { return uint64(p.Memory) * uint64(p.Time) }

// phc is an argon2id hash in the form of the Password Hashing Competition:
// $argon2id$v=19$m=19456,t=2,p=1,keyid=3f9a12bc$salt$hash.
type phc struct {
	Params
	keyID string // "": no pepper
	salt  []byte
	sum   []byte
}

func (h *phc) String() string {
	keyID := ""
	if h.keyID != "" {
		keyID = ",keyid=" + h.keyID
	}
	return fmt.Sprintf("$argon2id$v=19$m=%d,t=%d,p=%d%s$%s$%s", h.Memory, h.Time, h.Threads, keyID,
		base64.RawStdEncoding.EncodeToString(h.salt), base64.RawStdEncoding.EncodeToString(h.sum))
}

func badHash(format string, a ...any) error {
	return fmt.Errorf("%w: %s", ErrBadHash, fmt.Sprintf(format, a...))
}

func parsePHC(s string) (*phc, error) {
	if len(s) > maxHash {
		return nil, badHash("it is longer than %d bytes", maxHash)
	}
	parts := strings.Split(s, "$")
	if len(parts) != 6 || parts[0] != "" || parts[1] != "argon2id" {
		return nil, badHash("not of the form $argon2id$v=19$m=…,t=…,p=…$salt$hash")
	}
	if parts[2] != "v=19" {
		return nil, badHash("an argon2 version other than 19")
	}
	h := &phc{}
	if err := h.parseParams(parts[3]); err != nil {
		return nil, err
	}
	var err error
	if h.salt, err = decodePHC(parts[4]); err != nil || len(h.salt) < minSalt {
		return nil, badHash("its salt is no base64 (without =) of %d bytes or more", minSalt)
	}
	if h.sum, err = decodePHC(parts[5]); err != nil || len(h.sum) < minSum || len(h.sum) > maxSum {
		return nil, badHash("its last part is no base64 (without =) of %d to %d bytes", minSum, maxSum)
	}
	return h, nil
}

func decodePHC(s string) ([]byte, error) {
	if strings.ContainsAny(s, "\r\n") { // which the decoder would skip
		return nil, ErrBadHash
	}
	return base64.RawStdEncoding.Strict().DecodeString(s)
}

func (h *phc) parseParams(s string) error {
	fields := strings.Split(s, ",")
	if len(fields) == 4 {
		id, ok := strings.CutPrefix(fields[3], "keyid=")
		if !ok || len(id) != 2*idSize || strings.Trim(id, "0123456789abcdef") != "" {
			return badHash("a parameter other than m, t, p and a keyid of ours")
		}
		h.keyID, fields = id, fields[:3]
	}
	if len(fields) != 3 {
		return badHash("its parameters are not m, t and p")
	}
	var v [3]uint32
	for i, name := range []string{"m=", "t=", "p="} {
		digits, ok := strings.CutPrefix(fields[i], name)
		n, err := strconv.ParseUint(digits, 10, 32)
		if !ok || err != nil || digits != strconv.FormatUint(n, 10) {
			return badHash("its parameters are not m, t and p, each a number")
		}
		v[i] = uint32(n)
	}
	if v[1] < 1 || v[1] > maxTime || v[2] < 1 || v[2] > maxThreads || v[0] < 8*v[2] || v[0] > maxMemory {
		return badHash("it costs more than is allowed (m at most %d, t %d, p %d) or next to nothing", maxMemory, maxTime, maxThreads)
	}
	h.Params = Params{Memory: v[0], Time: v[1], Threads: uint8(v[2])}
	if h.work() > maxWork {
		return badHash("it costs more than is allowed (m times t at most %d)", maxWork)
	}
	return nil
}
