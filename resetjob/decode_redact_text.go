package resetjob

import (
	"strings"
	"unicode"

	"github.com/dirpin/dirpin/internal/strictyaml"
)

// offset returns where a node begins. It counts on from the last one where
// it can: a line of a megabyte may hold a hundred thousand nodes.
func (r *redactor) offset(n *strictyaml.Node) (int, bool) {
	if n.Line < 1 || n.Line > len(r.starts) || n.Column < 1 {
		return 0, false
	}
	if r.line != n.Line || r.column > n.Column {
		r.line, r.column, r.at = n.Line, 1, r.starts[n.Line-1]
	}
	for i := range r.text[r.at:] {
		if r.column == n.Column {
			r.at += i
			return r.at, true
		}
		r.column++
	}
	r.line = 0
	return 0, false
}

func (r *redactor) lineEnd(at int) int {
	if i := strings.IndexByte(r.text[at:], '\n'); i >= 0 {
		return at + i
	}
	return len(r.text)
}

// end returns where a scalar that begins at an offset ends; -1: not found.
func (r *redactor) end(n *strictyaml.Node, from int) int {
	if !n.Quoted {
		return r.endOfWords(n.Text, from)
	}
	switch quote := r.text[from]; quote {
	case '"', '\'':
		return r.endOfQuotes(quote, from+1)
	case '|', '>':
		return r.endOfWords(n.Text, r.lineEnd(from))
	}
	return -1
}

// endOfWords follows the words of a text through the source, where other
// white space may stand between them.
func (r *redactor) endOfWords(text string, at int) int {
	for _, word := range strings.Fields(text) {
		rest := strings.TrimLeftFunc(r.text[at:], unicode.IsSpace)
		if !strings.HasPrefix(rest, word) {
			return -1
		}
		at = len(r.text) - len(rest) + len(word)
	}
	return at
}

func (r *redactor) endOfQuotes(quote byte, at int) int {
	for ; at < len(r.text); at++ {
		switch c := r.text[at]; {
		case c == '\\' && quote == '"':
			at++
		case c == quote && quote == '\'' && strings.HasPrefix(r.text[at+1:], "'"):
			at++
		case c == quote:
			return at + 1
		}
	}
	return -1
}
