package credential

import (
	"unicode"
	"unicode/utf8"

	"golang.org/x/text/unicode/norm"

	"github.com/dirpin/dirpin/internal/user"
)

// keys are the keys of a telephone that are pressed for a name or a number.
// What does not fit is dropped; no PIN worth comparing is as long.
type keys struct {
	b [64]byte
	n int
}

func (k *keys) add(digits ...byte) { k.n += copy(k.b[k.n:], digits) }

// telephone adds the digits of a number from the last to the first, so that
// the extension is there however much stands before it.
func (k *keys) telephone(text string) {
	text = user.Fold(text)
	for i := len(text) - 1; i >= 0; i-- {
		if '0' <= text[i] && text[i] <= '9' {
			k.add(text[i])
		}
	}
}

// spell adds the keys of a name. Letters with accents count without them.
func (k *keys) spell(name string) {
	for i := range len(name) {
		if name[i] >= utf8.RuneSelf {
			k.spellUnicode(name[i:])
			return
		}
		k.letter(rune(name[i]))
	}
}

func (k *keys) spellUnicode(name string) {
	for _, r := range norm.NFKD.String(name) {
		r = unicode.ToLower(r)
		switch r { // what NFKD leaves whole
		case 'ß':
			k.add('7', '7')
		case 'æ':
			k.add('2', '3')
		case 'œ':
			k.add('6', '3')
		case 'þ':
			k.add('8', '4')
		case 'ø':
			k.add('6')
		case 'ł':
			k.add('5')
		case 'đ', 'ð':
			k.add('3')
		case 'ħ', 'ı':
			k.add('4')
		case 'ŧ':
			k.add('8')
		default:
			k.letter(r)
		}
	}
}

func (k *keys) letter(r rune) {
	const abc = "22233344455566677778889999"
	switch {
	case 'a' <= r && r <= 'z':
		k.add(abc[r-'a'])
	case 'A' <= r && r <= 'Z':
		k.add(abc[r-'A'])
	case '0' <= r && r <= '9':
		k.add(byte(r))
	}
}
