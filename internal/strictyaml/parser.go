package strictyaml

import (
	"fmt"
	"strings"
	"unicode/utf8"
)

// MaxSize bounds a file in bytes, MaxDepth the nesting in it.
const (
	MaxSize  = 4 << 20
	MaxDepth = 64
)

// Parse reads the one document of a file. The node is nil where the file's
// structure cannot be trusted. With duplicate keys, node and faults are both
// returned, so that decoding can go on to find what else is wrong.
func Parse(file string, data []byte) (*Node, Faults) {
	if len(data) > MaxSize {
		return nil, Faults{{File: file, Message: fmt.Sprintf("the file is larger than %d MiB", MaxSize>>20)}}
	}
	text, faults := DecodeText(file, data)
	if len(faults) > 0 {
		return nil, faults
	}
	p := &parser{file: file, src: normalizeLines(text), line: 1}
	p.checkCharacters()
	root := p.document()
	if p.broken {
		root = nil
	}
	return root, p.faults.Sorted()
}

// normalizeLines makes every line end LF; lines and columns stay the same.
func normalizeLines(s string) string {
	if !strings.Contains(s, "\r") {
		return s
	}
	return strings.ReplaceAll(strings.ReplaceAll(s, "\r\n", "\n"), "\r", "\n")
}

type parser struct {
	file string
	src  string
	i    int // offset of the next byte
	line int // its line, from 1
	bol  int // offset of that line's beginning

	colLine, colOff, col int // the column last asked for, to count on from

	faults  Faults
	faulted int  // the last line with a fault: what follows from it is noise
	stopped bool // nothing more can be made of the file
	broken  bool // there was a fault other than a duplicate key
}

// column returns the column of offset off in the present line, counting on
// from the last one: a line of a megabyte may hold a hundred thousand nodes.
func (p *parser) column(off int) int {
	if p.colLine != p.line || off < p.colOff {
		p.colLine, p.colOff, p.col = p.line, p.bol, 1
	}
	p.col += utf8.RuneCountInString(p.src[p.colOff:off])
	p.colOff = off
	return p.col
}

func (p *parser) node(kind Kind) *Node {
	return &Node{Kind: kind, Line: p.line, Column: p.column(p.i)}
}

// fault reports what is wrong at the present place.
func (p *parser) fault(format string, args ...any) {
	if !p.stopped {
		p.faultAt(p.line, p.column(p.i), format, args...)
	}
}

func (p *parser) faultAt(line, col int, format string, args ...any) {
	p.broken = true
	if p.stopped || p.faulted == line {
		return
	}
	p.faulted = line
	p.faults.add(Fault{File: p.file, Line: line, Column: col, Message: fmt.Sprintf(format, args...)})
}

// stop gives up the file after a fault.
func (p *parser) stop() {
	p.stopped = true
	p.i = len(p.src)
}

func (p *parser) eof() bool { return p.i >= len(p.src) }

// peek returns the byte at distance n, or 0 beyond the end.
func (p *parser) peek(n int) byte {
	if p.i+n < len(p.src) {
		return p.src[p.i+n]
	}
	return 0
}

func (p *parser) newline() {
	p.i++
	p.line++
	p.bol = p.i
}

func (p *parser) skipBlanks() {
	for !p.eof() && isBlank(p.src[p.i]) {
		p.i++
	}
}

func (p *parser) skipLine() {
	if n := strings.IndexByte(p.src[p.i:], '\n'); n >= 0 {
		p.i += n
	} else {
		p.i = len(p.src)
	}
}

// next moves to the next content, over blanks, comments and line ends.
func (p *parser) next() {
	for !p.eof() {
		switch c := p.src[p.i]; {
		case isBlank(c):
			p.i++
		case c == '\n':
			p.newline()
		case p.atComment():
			p.skipLine()
		default:
			return
		}
	}
}

// nextBlock is next where the indentation counts: no tab may be in it.
func (p *parser) nextBlock() {
	p.next()
	lead := p.src[p.bol:p.i]
	if tab := strings.IndexByte(lead, '\t'); tab >= 0 && strings.Trim(lead, " \t") == "" && !p.eof() {
		p.faultAt(p.line, tab+1, "a tab in the indentation: use spaces")
	}
}

func (p *parser) atComment() bool {
	return p.src[p.i] == '#' && (p.i == p.bol || isBlank(p.src[p.i-1]))
}

// atLineEnd tells whether only a comment or nothing is left of the line.
func (p *parser) atLineEnd() bool {
	return p.eof() || p.src[p.i] == '\n' || p.atComment()
}

// atMarker tells whether a line begins here that starts or ends a document.
func (p *parser) atMarker(marker string) bool {
	if p.i != p.bol || !strings.HasPrefix(p.src[p.i:], marker) {
		return false
	}
	c := p.peek(3)
	return c == 0 || c == '\n' || isBlank(c)
}

// indent returns the indentation of the content at hand; -1 where the
// document ends.
func (p *parser) indent() int {
	if p.eof() || p.atMarker("---") || p.atMarker("...") {
		return -1
	}
	return p.i - p.bol
}

func isBlank(c byte) bool { return c == ' ' || c == '\t' }

// blankOrEnd tells whether c ends an indicator: a blank, a line end or the
// end of the file.
func blankOrEnd(c byte) bool { return c == 0 || c == '\n' || isBlank(c) }

// document reads the whole file, which is one document.
func (p *parser) document() *Node {
	p.nextBlock()
	for p.peek(0) == '%' && p.i == p.bol {
		p.fault("a directive (%%): not taken here")
		p.skipLine()
		p.nextBlock()
	}
	if p.atMarker("---") {
		p.i += 3
		p.nextBlock()
	}
	root := p.node(Null)
	if p.indent() >= 0 {
		root = p.root()
	}
	p.nextBlock()
	if p.atMarker("...") {
		p.i += 3
		p.nextBlock()
	}
	switch {
	case p.eof():
	case p.atMarker("---"):
		p.fault("a second document begins here: a file holds one")
	default:
		p.fault("text after the end of the document: remove it, or mend the indentation or the bracket before it")
	}
	return root
}

// root reads the document's node; behind --- on its line no block begins.
func (p *parser) root() *Node {
	if strings.Trim(p.src[p.bol:p.i], " \t") != "" {
		return p.inlineValue(-1, -1)
	}
	return p.block(-1, 0)
}

// checkCharacters refuses characters that cannot be seen and that an editor
// or a careless concatenation has put there.
func (p *parser) checkCharacters() {
	line, bol, faulted := 1, 0, 0
	for i, r := range p.src {
		message := ""
		switch {
		case r == '\n':
			line++
			bol = i + 1
		case r == '\t':
		case r < ' ' || r == 0x7F || 0x80 <= r && r <= 0x9F && r != 0x85:
			message = "a control character: remove it (in double quotes it may be written as an escape)"
		case r == 0xFEFF:
			message = "a byte order mark inside the file: were two files put together?"
		}
		if message != "" && faulted != line {
			faulted = line
			p.broken = true
			col := utf8.RuneCountInString(p.src[bol:i]) + 1
			p.faults.add(Fault{File: p.file, Line: line, Column: col, Message: message})
		}
	}
}
