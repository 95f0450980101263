package ldapsync

import (
	"encoding/hex"
	"errors"
	"fmt"
	"strings"
)

// rawKey is a directory's immutable id of an entry, in the order of its text.
type rawKey [16]byte

var errNoKey = errors.New("32 hexadecimal digits are wanted")

// keyOf reads the text of a key, with or without dashes.
func keyOf[T string | []byte](text T) (k rawKey, err error) {
	n := 0
	for i := 0; i < len(text); i++ {
		c := text[i]
		switch {
		case '0' <= c && c <= '9':
			c -= '0'
		case 'a' <= c && c <= 'f':
			c -= 'a' - 10
		case 'A' <= c && c <= 'F':
			c -= 'A' - 10
		case c == '-':
			continue
		default:
			return k, errNoKey
		}
		if n == 2*len(k) {
			return k, errNoKey
		}
		k[n/2] = k[n/2]<<4 | c
		n++
	}
	if n != 2*len(k) {
		return k, errNoKey
	}
	return k, nil
}

// parseKey is keyOf with an error that says what was read.
func parseKey(text string) (rawKey, error) {
	k, err := keyOf(text)
	if err != nil {
		return k, fmt.Errorf("%q is no key: %w", shorten(text), err)
	}
	return k, nil
}

// keyFrom reads the value of the key attribute of a directory of that kind.
func keyFrom(kind string, value []byte) (rawKey, error) {
	if kind != KindAD {
		k, err := keyOf(value)
		if err != nil {
			return k, fmt.Errorf("%q is no key: %w", shorten(string(value)), err)
		}
		return k, nil
	}
	if len(value) != len(rawKey{}) {
		return rawKey{}, fmt.Errorf("the objectGUID has %d bytes, not 16", len(value))
	}
	return swapped(rawKey(value)), nil
}

// swapped turns the order of a GUID's text into that of its bytes, and back:
// the first three groups are little-endian.
func swapped(k rawKey) rawKey {
	k[0], k[1], k[2], k[3], k[4], k[5], k[6], k[7] = k[3], k[2], k[1], k[0], k[5], k[4], k[7], k[6]
	return k
}

// keyText returns the text of a key as a directory of that kind writes it,
// from the value of its key attribute.
func keyText(kind string, value []byte) (string, error) {
	k, err := keyFrom(kind, value)
	if err != nil {
		return "", err
	}
	return k.text(kind), nil
}

// text returns the key as a directory of that kind writes it.
func (k rawKey) text(kind string) string {
	ends := []int{4, 6, 8, 10, 16}
	if kind == Kind389 {
		ends = []int{4, 8, 12, 16}
	}
	b := make([]byte, 0, 36)
	from := 0
	for _, end := range ends {
		if from > 0 {
			b = append(b, '-')
		}
		b = hex.AppendEncode(b, k[from:end])
		from = end
	}
	return string(b)
}

// keyFilter returns the filter that finds the entry of a key.
func keyFilter(kind, attribute, key string) (string, error) {
	k, err := parseKey(key)
	if err != nil {
		return "", err
	}
	if kind != KindAD {
		return "(" + attribute + "=" + key + ")", nil
	}
	var b strings.Builder
	b.WriteString("(" + attribute + "=")
	for _, c := range swapped(k) {
		fmt.Fprintf(&b, `\%02x`, c)
	}
	b.WriteString(")")
	return b.String(), nil
}

// shorten cuts a text of a server for a message.
func shorten(s string) string {
	const most = 200
	if len(s) <= most {
		return s
	}
	return strings.ToValidUTF8(s[:most], "") + "…"
}
