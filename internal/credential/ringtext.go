package credential

import (
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"strings"
	"time"

	"filippo.io/age"
)

const ringHeader = `# dirpin key ring. Whoever reads it can read the PINs in the database.
# Keep a copy of it apart from the copies of the database: without this file
# no PIN can be verified any more. No line may be lost while a database is in
# use that was written with it. "dirpin keys" looks after it.
#
# key ID        CREATED              USE     SECRET
`

const ringAge = `#
# Opens what "dirpin seal" and "age -r RECIPIENT" sealed, for this recipient:
# `

const maxRing = 64 << 10

// Marshal returns the ring as its file holds it: a line a key.
func (r *Ring) Marshal() []byte {
	var b bytes.Buffer
	b.WriteString(ringHeader)
	for _, k := range r.keys {
		use := "old"
		switch k {
		case r.primary:
			use = "primary"
		case r.next:
			use = "next"
		}
		fmt.Fprintf(&b, "key   %s  %s %-7s %s\n", k.name(), k.created.Format(time.RFC3339), use,
			base64.StdEncoding.EncodeToString(k.secret[:]))
	}
	b.WriteString(ringAge + r.Recipient() + "\n")
	for _, identity := range r.identities {
		b.WriteString("age   " + identity.String() + "\n")
	}
	return b.Bytes()
}

// ParseRing reads what Marshal wrote. Its errors name the line and never quote
// it.
func ParseRing(data []byte) (*Ring, error) {
	if len(data) > maxRing {
		return nil, fmt.Errorf("%d bytes: too long for a key ring", len(data))
	}
	if len(bytes.TrimSpace(data)) == 0 {
		return nil, errors.New("the key ring is empty: put back its copy, or make a new one by `dirpin keys new`")
	}
	r := &Ring{}
	text := strings.TrimPrefix(string(data), "\ufeff")
	for n, line := range strings.Split(text, "\n") {
		fields := strings.Fields(line)
		if len(fields) == 0 || strings.HasPrefix(fields[0], "#") {
			continue
		}
		if err := r.parseLine(fields); err != nil {
			return nil, fmt.Errorf("line %d: %w", n+1, err)
		}
	}
	switch {
	case r.primary == nil:
		return nil, errors.New("no key is marked primary: a line is missing or damaged; put back the copy of this file")
	case len(r.identities) == 0:
		return nil, errors.New("no line begins with `age`: a line is missing or damaged; put back the copy of this file")
	}
	return r, nil
}

func (r *Ring) parseLine(fields []string) error {
	switch {
	case fields[0] == "key" && len(fields) == 5:
		return r.parseKey(fields[1], fields[2], fields[3], fields[4])
	case fields[0] == "key":
		return fmt.Errorf("a key has an id, a time, a use and a secret; this line has %d words after `key`", len(fields)-1)
	case fields[0] == "age" && len(fields) == 2:
		identity, err := age.ParseX25519Identity(fields[1])
		if err != nil { // whose text may quote the line
			return errors.New("not an age identity (AGE-SECRET-KEY-1…)")
		}
		r.identities = append(r.identities, identity)
		return nil
	}
	return errors.New("not a line of a key ring: it begins with neither `key`, `age` nor `#`")
}

func (r *Ring) parseKey(idText, createdText, use, secretText string) error {
	var id [idSize]byte
	if b, err := hex.DecodeString(idText); err != nil || copy(id[:], b) != len(b) || hex.EncodeToString(id[:]) != idText {
		return fmt.Errorf("the key's id is not %d digits of 0-9 and a-f", 2*idSize)
	}
	if r.key(id) != nil {
		return fmt.Errorf("key %s stands twice", idText)
	}
	created, err := time.Parse(time.RFC3339, createdText)
	if err != nil {
		return fmt.Errorf("key %s: its time is not written as 2026-11-24T12:00:00Z", idText)
	}
	secret, err := base64.StdEncoding.Strict().DecodeString(secretText)
	switch {
	case err != nil:
		return fmt.Errorf("key %s: its secret is not base64: the line is damaged", idText)
	case len(secret) != secretSize:
		return fmt.Errorf("key %s: its secret has %d bytes in place of %d: the line is damaged", idText, len(secret), secretSize)
	case len(bytes.Trim(secret, "\x00")) == 0:
		return fmt.Errorf("key %s: its secret is all zeros", idText)
	}
	k, err := newKey(id, created.UTC(), [secretSize]byte(secret))
	if err != nil {
		return err
	}
	switch use {
	case "primary":
		if r.primary != nil {
			return fmt.Errorf("keys %s and %s are both marked primary", r.primary.name(), idText)
		}
		r.primary = k
	case "next":
		if r.next != nil {
			return fmt.Errorf("keys %s and %s are both marked next", r.next.name(), idText)
		}
		r.next = k
	case "old":
	default:
		return fmt.Errorf("key %s: its use is neither `primary`, `next` nor `old`", idText)
	}
	r.keys = append(r.keys, k)
	return nil
}
