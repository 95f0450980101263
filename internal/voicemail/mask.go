package voicemail

import (
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"html"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/dirpin/dirpin/internal/secret"
)

const (
	maxWords = 200 // bytes of what the other side said that are kept
	cutOut   = "(secret)"
	withheld = "(its words are withheld: they repeat the PIN)"
)

// mask makes the words of a voicemail system fit to be shown: one line,
// bounded, and without the PIN of the request that they answer.
type mask struct {
	pin   string
	forms []string
}

func newMask(pin secret.Value) mask {
	p := pin.Reveal()
	if p == "" {
		return mask{}
	}
	quoted, _ := json.Marshal(p) // a string always encodes
	forms := []string{
		p, strings.Trim(string(quoted), `"`), url.QueryEscape(p), url.PathEscape(p), html.EscapeString(p),
		hex.EncodeToString([]byte(p)), strings.ToUpper(hex.EncodeToString([]byte(p))),
	}
	for _, enc := range []*base64.Encoding{base64.StdEncoding, base64.RawStdEncoding, base64.URLEncoding, base64.RawURLEncoding} {
		forms = append(forms, enc.EncodeToString([]byte(p)))
	}
	forms = append(forms, insideBase64(p)...)
	slices.SortFunc(forms, func(a, b string) int { return len(b) - len(a) })
	return mask{pin: p, forms: slices.Compact(forms)}
}

// insideBase64 returns the characters that p alone decides where it stands
// somewhere within a longer text, one for each of the three alignments.
func insideBase64(p string) []string {
	var forms []string
	for lead := range 3 {
		first, end := (lead*8+5)/6, (lead+len(p))*8/6
		if end-first < 4 {
			continue // so short that it would be cut out of plain words
		}
		for _, enc := range []*base64.Encoding{base64.RawStdEncoding, base64.RawURLEncoding} {
			forms = append(forms, enc.EncodeToString(append(make([]byte, lead), p...))[first:end])
		}
	}
	return forms
}

// words returns text for a log or a report.
func (m mask) words(text string) string {
	return shorten(m.clean(text), maxWords)
}

// clean is words without the bound, for sentences of which theirs are a part.
func (m mask) clean(text string) string {
	text = oneLine(text)
	if m.pin == "" {
		return text
	}
	for _, form := range m.forms {
		text = strings.ReplaceAll(text, form, cutOut)
	}
	plain := decoded(text)
	if strings.Contains(plain, m.pin) || strings.Contains(alnum(plain), m.pin) {
		return withheld
	}
	return text
}

// oneLine replaces what could move a terminal's cursor, break a line of a log
// or hide within a number.
func oneLine(text string) string {
	text = strings.Map(func(r rune) rune {
		if unicode.In(r, unicode.Cc, unicode.Cf, unicode.Zl, unicode.Zp, unicode.Zs) {
			return ' '
		}
		return r
	}, strings.ToValidUTF8(text, "\uFFFD"))
	return strings.Join(strings.Fields(text), " ")
}

func shorten(text string, most int) string {
	if len(text) <= most {
		return text
	}
	cut := most - len("…")
	for cut > 0 && !utf8.RuneStart(text[cut]) {
		cut--
	}
	return text[:cut] + "…"
}

var (
	percentByte = regexp.MustCompile(`%[0-9A-Fa-f]{2}`)
	jsonUnicode = regexp.MustCompile(`\\u00[0-9A-Fa-f]{2}`)
)

// decoded undoes the escapes in which a PIN could come back character by
// character.
func decoded(text string) string {
	text = html.UnescapeString(text)
	for _, escape := range []*regexp.Regexp{jsonUnicode, percentByte} {
		text = escape.ReplaceAllStringFunc(text, func(s string) string {
			n, err := strconv.ParseUint(s[len(s)-2:], 16, 8)
			if err != nil {
				return s
			}
			return string(rune(n))
		})
	}
	return text
}

// alnum drops what could stand between the digits of a PIN.
func alnum(text string) string {
	return strings.Map(func(r rune) rune {
		if unicode.IsLetter(r) || unicode.IsDigit(r) {
			return r
		}
		return -1
	}, text)
}
