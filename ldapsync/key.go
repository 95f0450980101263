package ldapsync

import (
	"encoding/hex"
	"fmt"
	"strings"
)

// rawKey is a directory's immutable id of an entry, in the order of its text.
type rawKey [16]byte

// parseKey reads the text of a key, with or without dashes.
func parseKey(text string) (rawKey, error) {
	var k rawKey
	digits := strings.ReplaceAll(text, "-", "")
	if len(digits) != 2*len(k) {
		return k, fmt.Errorf("%q is no key: 32 hexadecimal digits are wanted", shorten(text))
	}
	if _, err := hex.Decode(k[:], []byte(digits)); err != nil {
		return k, fmt.Errorf("%q is no key: 32 hexadecimal digits are wanted", shorten(text))
	}
	return k, nil
}

// keyText returns the text of a key as a directory of that kind writes it,
// from the value of its key attribute.
func keyText(kind string, value []byte) (string, error) {
	if kind == KindAD {
		if len(value) != 16 {
			return "", fmt.Errorf("the objectGUID has %d bytes, not 16", len(value))
		}
		g := value // the first three groups are little-endian
		return fmt.Sprintf("%02x%02x%02x%02x-%02x%02x-%02x%02x-%x-%x", g[3], g[2], g[1], g[0], g[5], g[4], g[7], g[6], g[8:10], g[10:16]), nil
	}
	k, err := parseKey(string(value))
	if err != nil {
		return "", err
	}
	return k.text(kind), nil
}

// text returns the key as a directory of that kind writes it.
func (k rawKey) text(kind string) string {
	if kind == Kind389 {
		return fmt.Sprintf("%x-%x-%x-%x", k[0:4], k[4:8], k[8:12], k[12:16])
	}
	return fmt.Sprintf("%x-%x-%x-%x-%x", k[0:4], k[4:6], k[6:8], k[8:10], k[10:16])
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
	g := k
	g[0], g[1], g[2], g[3], g[4], g[5], g[6], g[7] = k[3], k[2], k[1], k[0], k[5], k[4], k[7], k[6]
	var b strings.Builder
	b.WriteString("(" + attribute + "=")
	for _, c := range g {
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
