package strictyaml

import (
	"strconv"
	"unicode/utf16"
	"unicode/utf8"
)

func itoa(n int) string { return strconv.Itoa(n) }

// quoted reads a scalar in single or double quotes.
func (p *parser) quoted(parent int) (*Node, bool) {
	n := p.node(Scalar)
	n.Quoted = true
	q := &quotedScanner{parser: p, quote: p.src[p.i], parent: parent, start: n}
	p.i++
	ok := q.scan()
	n.Text = string(q.b)
	return n, ok
}

type quotedScanner struct {
	*parser
	quote  byte
	parent int
	start  *Node
	b      []byte
	kept   int // the length of b before which no blank is trimmed
}

func (q *quotedScanner) scan() bool {
	for !q.eof() {
		switch c := q.src[q.i]; {
		case c == q.quote && c == '\'' && q.peek(1) == '\'':
			q.b = append(q.b, '\'')
			q.i += 2
		case c == q.quote:
			q.i++
			return true
		case c == '\\' && q.quote == '"' && q.peek(1) == '\n':
			q.i++
			q.kept = len(q.b)
			if !q.fold(true) {
				return false
			}
		case c == '\\' && q.quote == '"':
			if !q.escape() {
				return false
			}
		case c == '\n':
			if !q.fold(false) {
				return false
			}
		default:
			q.b = append(q.b, c)
			q.i++
		}
	}
	return q.unclosed()
}

// fold reads a line break: blanks around it vanish, it becomes a space, or
// nothing where it is escaped; blank lines become line breaks.
func (q *quotedScanner) fold(escaped bool) bool {
	for len(q.b) > q.kept && isBlank(q.b[len(q.b)-1]) {
		q.b = q.b[:len(q.b)-1]
	}
	blank := -1
	for q.peek(0) == '\n' {
		q.newline()
		blank++
		q.skipBlanks()
	}
	if q.eof() || q.spaces() <= q.parent || q.bol == q.i && q.indent() < 0 {
		return q.unclosed()
	}
	if !escaped || blank > 0 {
		q.b = append(q.b, foldedBreak(blank)...)
	}
	q.kept = len(q.b)
	return true
}

func (q *quotedScanner) unclosed() bool {
	q.faultAt(q.start.Line, q.start.Column, "the quote is not closed: add the closing %q; lines that continue a value are indented deeper than its key", string(q.quote))
	return false
}

const simpleEscapes = "0\x00a\x07b\x08t\tn\nv\x0bf\x0cr\re\x1b \x20\"\"//\\\\\t\t"

// escape reads an escape of a double-quoted scalar.
func (q *quotedScanner) escape() bool {
	defer func() { q.kept = len(q.b) }()
	c := q.peek(1)
	switch c {
	case 'x', 'u', 'U':
		return q.hexEscape(c)
	case 'N':
		q.b = utf8.AppendRune(q.b, 0x85)
	case '_':
		q.b = utf8.AppendRune(q.b, 0xA0)
	case 'L':
		q.b = utf8.AppendRune(q.b, 0x2028)
	case 'P':
		q.b = utf8.AppendRune(q.b, 0x2029)
	case '0':
		q.fault("a NUL character: not taken here")
		return false
	default:
		i := simpleEscape(c)
		if i < 0 {
			q.fault(`an unknown escape after \: write \\ for a backslash, or use single quotes`)
			return false
		}
		q.b = append(q.b, simpleEscapes[i+1])
	}
	q.i += 2
	return true
}

// simpleEscape returns the place of c among the escaped letters, or -1.
func simpleEscape(c byte) int {
	for i := 0; i < len(simpleEscapes); i += 2 {
		if simpleEscapes[i] == c {
			return i
		}
	}
	return -1
}

func (q *quotedScanner) hexEscape(kind byte) bool {
	digits := map[byte]int{'x': 2, 'u': 4, 'U': 8}[kind]
	r, ok := q.hex(2, digits)
	size := 2 + digits
	if ok && kind == 'u' && utf16.IsSurrogate(r) {
		low, lowOK := q.hex(size+2, 4)
		if ok = lowOK && q.peek(size) == '\\' && q.peek(size+1) == 'u'; ok {
			r = utf16.DecodeRune(r, low)
			ok = r != utf8.RuneError
		}
		size += 6
	}
	switch {
	case !ok || !utf8.ValidRune(r):
		q.fault(`a \%c escape that is no character: it takes %d hexadecimal digits, and both halves of a surrogate pair`, kind, digits)
		return false
	case r == 0:
		q.fault("a NUL character: not taken here")
		return false
	}
	q.b = utf8.AppendRune(q.b, r)
	q.i += size
	return true
}

// hex reads n hexadecimal digits at a distance.
func (q *quotedScanner) hex(at, n int) (rune, bool) {
	if q.i+at+n > len(q.src) {
		return 0, false
	}
	v, err := strconv.ParseUint(q.src[q.i+at:q.i+at+n], 16, 32)
	if err != nil || v > utf8.MaxRune {
		return 0, false
	}
	return rune(v), true
}
