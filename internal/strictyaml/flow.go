package strictyaml

import "strings"

// flow reads a collection in brackets or braces, as all of JSON is.
func (p *parser) flow(parent, depth int) (*Node, bool) {
	if p.peek(0) == '{' {
		return p.flowMapping(parent, depth)
	}
	return p.flowSequence(parent, depth)
}

func (p *parser) flowSequence(parent, depth int) (*Node, bool) {
	s := p.node(Sequence)
	if p.tooDeep(depth) {
		return s, false
	}
	p.i++
	for {
		switch c, ok := p.flowNext(parent, s); {
		case !ok:
			return s, false
		case c == ']':
			p.i++
			return s, true
		case c == ',':
			p.fault("a comma without a value before it")
			return s, false
		}
		item, ok := p.flowNode(parent, depth+1)
		if !ok {
			return s, false
		}
		s.Items = append(s.Items, item)
		if !p.flowEnd(parent, s, ']') {
			return s, false
		}
	}
}

func (p *parser) flowMapping(parent, depth int) (*Node, bool) {
	m := p.node(Mapping)
	if p.tooDeep(depth) {
		return m, false
	}
	p.i++
	seen := map[string]int{}
	for {
		switch c, ok := p.flowNext(parent, m); {
		case !ok:
			return m, false
		case c == '}':
			p.i++
			return m, true
		case c == ',':
			p.fault("a comma without a key and value before it")
			return m, false
		}
		key, ok := p.flowKey(parent)
		if !ok {
			return m, false
		}
		value, ok := p.flowValue(parent, depth, m, key)
		if !ok {
			return m, false
		}
		p.addPair(m, seen, key, value)
		if !p.flowEnd(parent, m, '}') {
			return m, false
		}
	}
}

// flowNext moves to the next content of the collection that open begins.
func (p *parser) flowNext(parent int, open *Node) (byte, bool) {
	p.next()
	first := strings.Trim(p.src[p.bol:p.i], " \t") == ""
	closer := p.peek(0) == ']' || p.peek(0) == '}'
	outdented := first && p.line > open.Line && p.spaces() <= parent && !(closer && p.spaces() == parent)
	if p.eof() || p.indent() < 0 || outdented {
		bracket := "["
		if open.Kind == Mapping {
			bracket = "{"
		}
		p.faultAt(open.Line, open.Column, "the %s is not closed; the lines within are indented deeper than the key before it", bracket)
		return 0, false
	}
	return p.src[p.i], true
}

// flowEnd reads the comma after an entry, or stops before the closing bracket.
func (p *parser) flowEnd(parent int, open *Node, closer byte) bool {
	switch c, ok := p.flowNext(parent, open); {
	case !ok:
		return false
	case c == closer:
		return true
	case c == ',':
		p.i++
		return true
	case c == ':' && closer == ']':
		p.fault("a key in a list: put { } around key and value, or quote the text")
	default:
		p.fault("a comma or %q is missing before this, or quotes around the text", string(closer))
	}
	return false
}

func (p *parser) flowKey(parent int) (*Node, bool) {
	p.properties()
	switch c := p.peek(0); {
	case c == '"' || c == '\'':
		return p.quoted(parent)
	case c == '[' || c == '{':
		p.fault("a key that is a mapping or a list: not taken here")
		return nil, false
	case c == '?' && blankOrEnd(p.peek(1)):
		p.fault("a key that is written with ?: not taken here; write key: value")
		return nil, false
	}
	key, ok := p.plain(parent, true)
	if ok {
		p.checkKey(key)
	}
	return key, ok
}

// flowValue reads the colon and the value of a key.
func (p *parser) flowValue(parent, depth int, open, key *Node) (*Node, bool) {
	c, ok := p.flowNext(parent, open)
	if !ok {
		return nil, false
	}
	if c != ':' {
		p.faultAt(key.Line, key.Column, "a key without a value: write key: value, with a space after the colon")
		return nil, false
	}
	p.i++
	if !key.Quoted && !blankOrEnd(p.peek(0)) {
		p.fault("a colon without a space after it: readers differ in what it means")
		return nil, false
	}
	empty := p.node(Null)
	c, ok = p.flowNext(parent, open)
	if !ok || c == ',' || c == '}' {
		return empty, ok
	}
	return p.flowNode(parent, depth+1)
}

// flowNode reads a value within brackets.
func (p *parser) flowNode(parent, depth int) (*Node, bool) {
	p.properties()
	switch c := p.peek(0); {
	case p.eof() || c == '\n' || c == ',' || c == ']' || c == '}':
		return p.node(Null), true
	case c == '[' || c == '{':
		return p.flow(parent, depth)
	case c == '"' || c == '\'':
		return p.quoted(parent)
	case c == '|' || c == '>':
		p.fault("unquoted text cannot begin with this character: quote it")
		return nil, false
	}
	n, ok := p.plain(parent, true)
	if ok {
		at := p.i
		p.skipBlanks()
		n.comment = !p.eof() && p.i > at && p.src[p.i] == '#'
		p.i = at
	}
	return n, ok
}
