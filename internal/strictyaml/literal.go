package strictyaml

import "strings"

// blockScalar reads a scalar that is written below | or >.
func (p *parser) blockScalar(parent int) (*Node, bool) {
	n := p.node(Scalar)
	n.Quoted = true
	folded := p.src[p.i] == '>'
	explicit, chomp, ok := p.blockHeader()
	if !ok {
		return n, false
	}
	if !p.eof() {
		p.newline()
	}
	lines, cut, ok := p.blockLines(parent, explicit)
	content := len(lines)
	for content > 0 && lines[content-1] == "" {
		content--
	}
	if folded {
		n.Text = foldLines(lines[:content])
	} else {
		n.Text = strings.Join(lines[:content], "\n")
	}
	if chomp != '-' && content > 0 && !cut {
		n.Text += "\n"
	}
	if chomp == '+' {
		n.Text += strings.Repeat("\n", len(lines)-content)
	}
	return n, ok
}

// blockHeader reads | or > with its indentation and chomping indicators.
func (p *parser) blockHeader() (explicit int, chomp byte, ok bool) {
	p.i++
	for range 2 {
		switch c := p.peek(0); {
		case '1' <= c && c <= '9' && explicit == 0:
			explicit = int(c - '0')
			p.i++
		case (c == '+' || c == '-') && chomp == 0:
			chomp = c
			p.i++
		}
	}
	at := p.i
	p.skipBlanks()
	if p.eof() || p.src[p.i] == '\n' {
		return explicit, chomp, true
	}
	if p.i > at && p.src[p.i] == '#' {
		p.skipLine()
		return explicit, chomp, true
	}
	p.fault("text after | or >: begin it on the next line, or quote the value")
	return 0, 0, false
}

// blockLines reads the lines of a block scalar without their indentation,
// which is that of the first line of text unless the header says it. The last
// is cut where the file ends before its line does.
func (p *parser) blockLines(parent, explicit int) (lines []string, cut, ok bool) {
	indent, widest, widestLine := -1, 0, 0
	if explicit > 0 {
		indent = max(parent, 0) + explicit
	}
	for !p.eof() {
		for p.peek(0) == ' ' && (indent < 0 || p.i-p.bol < indent) {
			p.i++
		}
		spaces := p.i - p.bol
		if p.eof() {
			break
		}
		if p.src[p.i] == '\n' {
			if indent < 0 && spaces > widest {
				widest, widestLine = spaces, p.line
			}
			lines = append(lines, "")
			p.newline()
			continue
		}
		if indent < 0 && spaces > parent && p.indent() >= 0 {
			indent = spaces
			if widest > indent {
				p.faultAt(widestLine, 1, "a blank line that is indented deeper than the text below it: remove its spaces")
				return lines, false, false
			}
		}
		if indent < 0 || spaces < indent || p.indent() < 0 {
			p.i = p.bol
			break
		}
		start := p.i
		p.skipLine()
		lines = append(lines, p.src[start:p.i])
		if cut = p.eof(); !cut {
			p.newline()
		}
	}
	return lines, cut, true
}

// foldLines joins lines as > does: a break between two lines of text is a
// space, and stays a break beside lines that are indented deeper.
func foldLines(lines []string) string {
	var b strings.Builder
	blank, started, deeper := 0, false, false
	for _, line := range lines {
		if line == "" {
			blank++
			continue
		}
		now := isBlank(line[0])
		switch {
		case !started:
			b.WriteString(strings.Repeat("\n", blank))
		case deeper || now:
			b.WriteString(strings.Repeat("\n", blank+1))
		default:
			b.WriteString(foldedBreak(blank))
		}
		b.WriteString(line)
		blank, started, deeper = 0, true, now
	}
	return b.String()
}
