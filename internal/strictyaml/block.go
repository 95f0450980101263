package strictyaml

import "strings"

// block reads the node at hand, which stands on a line of its own or behind
// "- ", and belongs to something of indentation parent.
func (p *parser) block(parent, depth int) *Node {
	p.properties()
	switch c := p.peek(0); {
	case p.eof() || c == '\n':
		return p.node(Null)
	case c == '-' && blankOrEnd(p.peek(1)):
		return p.sequence(depth)
	case c == '?' && blankOrEnd(p.peek(1)):
		p.fault("a key that is written with ?: not taken here; write key: value")
		p.recover(parent)
		return p.node(Null)
	case p.keyLength() >= 0:
		return p.mapping(depth)
	}
	return p.value(parent, depth)
}

// value reads a scalar or a flow collection, with the rest of its last line.
func (p *parser) value(parent, depth int) *Node {
	p.properties()
	n, ok := p.scalarOrFlow(parent, depth)
	if !ok {
		p.recover(parent)
		return n
	}
	if n.Kind == Scalar && n.Quoted && p.i == p.bol {
		return n // a block scalar has taken its line ends
	}
	end := p.i
	p.skipBlanks()
	switch {
	case p.eof() || p.src[p.i] == '\n':
	case p.atComment() && p.i > end:
		n.comment = !n.Quoted && n.Kind == Scalar
		p.skipLine()
	case p.peek(0) == ':' && n.Kind != Scalar:
		p.fault("a key that is a mapping or a list: not taken here")
		p.recover(parent)
	default:
		p.fault("text after the end of the value: quote the whole value, or begin a new line")
		p.recover(parent)
	}
	return n
}

func (p *parser) scalarOrFlow(parent, depth int) (*Node, bool) {
	switch c := p.peek(0); c {
	case '|', '>':
		return p.blockScalar(parent)
	case '"', '\'':
		return p.quoted(parent)
	case '[', '{':
		return p.flow(parent, depth)
	}
	return p.plain(parent, false)
}

// mapping reads a block mapping whose first key is at hand.
func (p *parser) mapping(depth int) *Node {
	m := p.node(Mapping)
	if p.tooDeep(depth) {
		return m
	}
	indent := p.i - p.bol
	seen := map[string]int{}
	for {
		if key := p.key(indent); key != nil {
			value := p.mappingValue(indent, depth)
			p.addPair(m, seen, key, value)
		}
		if !p.continues(indent) {
			return m
		}
	}
}

// key reads a key and its colon; nil after a fault.
func (p *parser) key(indent int) *Node {
	p.properties()
	n := p.keyLength()
	if n < 0 {
		if p.peek(0) == '-' && blankOrEnd(p.peek(1)) {
			p.fault("a list entry where a key was expected: indent the list below its key")
		} else {
			p.fault("no key: write key: value, with a space after the colon")
		}
		p.recover(indent)
		return nil
	}
	key := p.node(Scalar)
	if c := p.peek(0); c == '"' || c == '\'' {
		quoted, ok := p.quoted(indent)
		if !ok {
			p.recover(indent)
			return nil
		}
		key = quoted
		p.skipBlanks()
	} else {
		key.Text = strings.TrimRight(p.src[p.i:p.i+n], " \t")
		p.checkKey(key)
		p.i += n
	}
	p.i++
	return key
}

func (p *parser) checkKey(key *Node) {
	switch {
	case key.Text == "<<":
		p.fault("a merge key (<<): not taken here; write the keys out")
	case key.Text == "":
		p.fault("a colon without a key before it")
	case strings.ContainsRune("[]{},&*!|>%@`", rune(key.Text[0])):
		p.fault("a key that begins with a special character: quote it")
	}
}

// mappingValue reads the value behind a key's colon.
func (p *parser) mappingValue(indent, depth int) *Node {
	p.skipBlanks()
	if !p.atLineEnd() {
		p.properties()
		if !p.atLineEnd() {
			return p.inlineValue(indent, depth)
		}
	}
	empty := p.node(Null)
	p.nextBlock()
	switch in := p.indent(); {
	case in > indent:
		return p.block(indent, depth+1)
	case in == indent && p.peek(0) == '-' && blankOrEnd(p.peek(1)):
		return p.sequence(depth + 1)
	}
	return empty
}

// inlineValue reads a value that begins on the line of its key, where no
// block collection can.
func (p *parser) inlineValue(indent, depth int) *Node {
	if p.peek(0) == '-' && blankOrEnd(p.peek(1)) {
		p.fault("a list that begins on the line of its key: begin it on the next line, or write [a, b]")
		n := p.node(Null)
		p.recover(indent)
		return n
	}
	if p.keyLength() >= 0 {
		p.fault("a second key on the line: quote the value, or begin a new line")
		n := p.node(Null)
		p.recover(indent)
		return n
	}
	return p.value(indent, depth+1)
}

// sequence reads a block sequence whose first dash is at hand.
func (p *parser) sequence(depth int) *Node {
	s := p.node(Sequence)
	if p.tooDeep(depth) {
		return s
	}
	indent := p.i - p.bol
	for {
		p.i++
		for p.peek(0) == ' ' {
			p.i++
		}
		if p.peek(0) == '\t' {
			p.fault("a tab after the dash: use a space")
		}
		if p.skipBlanks(); p.atLineEnd() {
			empty := p.node(Null)
			p.nextBlock()
			if p.indent() > indent {
				empty = p.block(indent, depth+1)
			}
			s.Items = append(s.Items, empty)
		} else {
			s.Items = append(s.Items, p.block(indent, depth+1))
		}
		if !p.continues(indent) || p.peek(0) != '-' || !blankOrEnd(p.peek(1)) {
			return s
		}
	}
}

// continues moves to the next content and tells whether it belongs to the
// collection of this indentation.
func (p *parser) continues(indent int) bool {
	p.nextBlock()
	if p.indent() > indent {
		p.fault("the indentation fits nothing above: indent it like the lines that it belongs to")
		p.recover(indent)
	}
	return p.indent() == indent
}

// recover moves to the next line that is indented by no more than indent:
// what a broken line's block still holds would only bring noise. A quote or
// bracket that was left open may have brought it there already.
func (p *parser) recover(indent int) {
	if p.line > p.faulted && p.spaces() == p.i-p.bol && p.indent() <= indent {
		return
	}
	for !p.eof() {
		p.skipLine()
		p.next()
		if p.indent() <= indent {
			return
		}
	}
}

func (p *parser) tooDeep(depth int) bool {
	if depth < MaxDepth {
		return false
	}
	p.fault("nested deeper than %d levels", MaxDepth)
	p.stop()
	return true
}

// addPair adds a pair to m; of a key given twice, the first stays.
func (p *parser) addPair(m *Node, seen map[string]int, key, value *Node) {
	if first, dup := seen[key.Text]; dup {
		p.faults.add(Fault{
			File: p.file, Line: key.Line, Column: key.Column,
			Message: "this key stands here for the second time: the first is on line " + itoa(first),
		})
		return
	}
	seen[key.Text] = key.Line
	value.setName(key.Text)
	m.Pairs = append(m.Pairs, Pair{key, value})
}

// setName remembers the key for messages; entries of a list have the list's.
func (n *Node) setName(name string) {
	n.name = name
	if n.Kind == Sequence {
		for _, item := range n.Items {
			item.setName(name)
		}
	}
}

// properties refuses anchors, aliases and tags before a node, and skips them.
func (p *parser) properties() {
	for {
		switch p.peek(0) {
		case '&':
			p.fault("an anchor (&): not taken here; write the value out, or quote it where it is text")
		case '*':
			p.fault("an alias (*): not taken here; write the value out, or quote it where it is text")
		case '!':
			p.fault("a tag (!): not taken here; quote the value where it is text")
		default:
			return
		}
		for !p.eof() && !blankOrEnd(p.src[p.i]) && !strings.ContainsRune(",[]{}", rune(p.src[p.i])) {
			p.i++
		}
		p.skipBlanks()
	}
}
