package user

import (
	"strings"
	"unicode"
	"unicode/utf8"

	"golang.org/x/text/cases"
	"golang.org/x/text/unicode/norm"
)

// Fold returns the form in which text is compared: NFKC, full case folding,
// NFKC again, trimmed, runs of spaces to one. "STRASSE", " Straße" and the
// full-width "ＳＴＲＡＳＳＥ" fold to the same text.
func Fold(s string) string {
	if folded, ok := foldASCII(s); ok {
		return folded
	}
	s = norm.NFKC.String(s)
	s = cases.Fold().String(s)
	s = norm.NFKC.String(s)
	return strings.Join(strings.FieldsFunc(s, unicode.IsSpace), " ")
}

// foldASCII is Fold for the text that is nearly all there is: ASCII, often
// folded already, when nothing is allocated.
func foldASCII(s string) (string, bool) {
	clean := true
	space := true // a space here would lead, or follow another
	for i := 0; i < len(s); i++ {
		c := s[i]
		switch {
		case c >= utf8.RuneSelf:
			return "", false
		case c == ' ':
			clean = clean && !space
			space = true
			continue
		case 'A' <= c && c <= 'Z', '\t' <= c && c <= '\r':
			clean = false
		}
		space = false
	}
	if clean && (!space || s == "") {
		return s, true
	}
	return strings.Join(strings.Fields(strings.ToLower(s)), " "), true
}
