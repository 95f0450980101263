package strictyaml

import "strings"

// keyLength returns the number of bytes before the colon where the line has a
// key here, else -1.
func (p *parser) keyLength() int {
	rest := p.src[p.i:]
	switch p.peek(0) {
	case '"', '\'':
		n := quotedLength(rest)
		if n < 0 {
			return -1
		}
		for n < len(rest) && isBlank(rest[n]) {
			n++
		}
		if n < len(rest) && rest[n] == ':' && (n+1 == len(rest) || blankOrEnd(rest[n+1])) {
			return n
		}
		return -1
	case '[', '{', '|', '>', '#':
		return -1
	}
	n, stop := plainLength(rest, false)
	if stop != ':' {
		return -1
	}
	return n
}

// quotedLength returns the length of the quoted scalar at the beginning of s
// where it ends on the same line, else -1.
func quotedLength(s string) int {
	quote := s[0]
	for i := 1; i < len(s) && s[i] != '\n'; i++ {
		switch {
		case s[i] == '\\' && quote == '"':
			i++
		case s[i] == quote && quote == '\'' && i+1 < len(s) && s[i+1] == quote:
			i++
		case s[i] == quote:
			return i + 1
		}
	}
	return -1
}

// plainLength returns how far an unquoted scalar reaches in its line, and the
// byte that ends it: a colon, a #, a flow indicator, or 0 at the line's end.
func plainLength(s string, flow bool) (int, byte) {
	for i := 0; i < len(s); i++ {
		switch c := s[i]; c {
		case '\n':
			return i, 0
		case ':':
			if i+1 == len(s) || blankOrEnd(s[i+1]) || flow && isFlowIndicator(s[i+1]) {
				return i, c
			}
		case '#':
			if i > 0 && isBlank(s[i-1]) {
				return i, c
			}
		case ',', '[', ']', '{', '}':
			if flow {
				return i, c
			}
		}
	}
	return len(s), 0
}

func isFlowIndicator(c byte) bool { return strings.IndexByte(",[]{}", c) >= 0 }

// plain reads an unquoted scalar, which may go on in lines that are indented
// deeper than parent.
func (p *parser) plain(parent int, flow bool) (*Node, bool) {
	n := p.node(Scalar)
	if !p.plainStart(flow) {
		return n, false
	}
	var b strings.Builder
	for {
		length, stop := plainLength(p.src[p.i:], flow)
		piece := strings.TrimRight(p.src[p.i:p.i+length], " \t")
		b.WriteString(piece)
		p.i += len(piece)
		if stop == ':' && !flow {
			p.i += length - len(piece)
			p.fault("a key inside a value: mend the indentation, or quote the value that begins on line %d", n.Line)
			return n, false
		}
		blank, ok := p.plainContinues(parent, flow, stop)
		if !ok {
			n.Text = b.String()
			return n, true
		}
		b.WriteString(foldedBreak(blank))
		if !flow && p.peek(0) == '-' && blankOrEnd(p.peek(1)) {
			p.fault("a list entry inside a value: begin the list on the line after its key")
			return n, false
		}
	}
}

// plainStart refuses the characters that no unquoted scalar may begin with.
func (p *parser) plainStart(flow bool) bool {
	c, after := p.peek(0), p.peek(1)
	safe := !blankOrEnd(after) && !(flow && isFlowIndicator(after))
	switch {
	case strings.IndexByte("-?:", c) >= 0 && !safe:
		p.fault("an indicator (-, ? or :) without text: quote the value")
	case strings.IndexByte(",]}%@`#", c) >= 0:
		p.fault("unquoted text cannot begin with this character: quote it")
	default:
		return true
	}
	return false
}

// plainContinues moves to the continuation of an unquoted scalar, if there is
// one, and returns the number of blank lines before it.
func (p *parser) plainContinues(parent int, flow bool, stop byte) (int, bool) {
	if stop != 0 {
		return 0, false
	}
	at, line, bol := p.i, p.line, p.bol
	blank := -1
	for p.skipBlanks(); p.peek(0) == '\n'; p.skipBlanks() {
		p.newline()
		blank++
	}
	ends := p.eof() || blank < 0 || p.src[p.i] == '#' || p.indent() < 0 ||
		p.spaces() <= parent || flow && strings.IndexByte(",[]{}:\"'", p.src[p.i]) >= 0
	if ends {
		p.i, p.line, p.bol = at, line, bol
		return 0, false
	}
	return blank, true
}

// spaces returns the spaces that the line at hand is indented by; a tab is
// none.
func (p *parser) spaces() int {
	n := 0
	for p.bol+n < p.i && p.src[p.bol+n] == ' ' {
		n++
	}
	return n
}

// foldedBreak returns what a line break and the blank lines after it fold to.
func foldedBreak(blank int) string {
	if blank == 0 {
		return " "
	}
	return strings.Repeat("\n", blank)
}
