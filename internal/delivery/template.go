package delivery

import (
	"errors"
	"fmt"
	"html"
	"strings"
	"text/template/parse"
)

// template is the text of a mail in the syntax of Go's templates: fields, if and
// else, and, or, not, eq, ne. Parsing is the standard library's; what it has for
// filling them in calls methods by name, for which the linker keeps every
// exported method of the program: 3 MB of 27.
type template struct {
	name   string
	tree   *parse.Tree
	escape func(string) string
}

// fields are what a template may name: texts, numbers and whether something is so.
type fields map[string]any

// functions are those that templates may call.
var functions = map[string]any{"and": true, "or": true, "not": true, "eq": true, "ne": true}

// parseTemplate reads a template, and tells of every name and word that is not
// known, also in a part that is seldom written.
func parseTemplate(name, text string, known fields, page bool) (*template, error) {
	trees, err := parse.Parse(name, text, "", "", functions)
	if err != nil {
		return nil, err
	}
	t := &template{name: name, tree: trees[name], escape: func(s string) string { return s }}
	if len(trees) > 1 || t.tree == nil || t.tree.Root == nil {
		return nil, fmt.Errorf("%s: define and block are not known in mails, and it may not be empty", name)
	}
	c := checker{t: t, known: known}
	if page {
		t.escape, c.page = html.EscapeString, new(strings.Builder)
	}
	return t, c.list(t.tree.Root)
}

// fill writes the template.
func (t *template) fill(f fields) string {
	var b strings.Builder
	t.list(&b, t.tree.Root, f)
	return b.String()
}

func (t *template) list(b *strings.Builder, l *parse.ListNode, f fields) {
	if l == nil {
		return
	}
	for _, n := range l.Nodes {
		switch n := n.(type) {
		case *parse.TextNode:
			b.Write(n.Text)
		case *parse.ActionNode:
			b.WriteString(t.escape(fmt.Sprint(value(n.Pipe.Cmds[0].Args, f))))
		case *parse.IfNode:
			if truth(value(n.Pipe.Cmds[0].Args, f)) {
				t.list(b, n.List, f)
			} else {
				t.list(b, n.ElseList, f)
			}
		}
	}
}

// value works out a call, or what stands alone.
func value(args []parse.Node, f fields) any {
	name, ok := args[0].(*parse.IdentifierNode)
	if !ok {
		return operand(args[0], f)
	}
	first := operand(args[1], f)
	switch name.Ident {
	case "not":
		return !truth(first)
	case "eq", "ne":
		same := false
		for _, a := range args[2:] {
			same = same || fmt.Sprint(first) == fmt.Sprint(operand(a, f))
		}
		return same == (name.Ident == "eq")
	}
	last := first // and, or: the first that decides
	for _, a := range args[2:] {
		if truth(last) == (name.Ident == "or") {
			break
		}
		last = operand(a, f)
	}
	return last
}

func operand(n parse.Node, f fields) any {
	switch n := n.(type) {
	case *parse.FieldNode:
		return f[n.Ident[0]]
	case *parse.StringNode:
		return n.Text
	case *parse.NumberNode:
		return n.Text
	case *parse.BoolNode:
		return n.True
	case *parse.PipeNode:
		return value(n.Cmds[0].Args, f)
	}
	return nil // the checker has refused all others
}

func truth(v any) bool { return v != nil && v != "" && v != false && v != int64(0) && v != "0" }

// checker looks at all of a template once, so that filling it in cannot fail.
type checker struct {
	t     *template
	known fields
	page  *strings.Builder // what a page has said so far; nil for a plain text
}

var errTag = errors.New("in a page a value may stand in text alone, not inside of < >, a script or a style")

func (c *checker) fault(n parse.Node, err error) error {
	where, _ := c.t.tree.ErrorContext(n)
	return fmt.Errorf("%s: %w", where, err)
}

func (c *checker) list(l *parse.ListNode) error {
	if l == nil {
		return nil
	}
	for _, n := range l.Nodes {
		var err error
		switch n := n.(type) {
		case *parse.TextNode:
			if c.page != nil {
				c.page.Write(n.Text)
			}
		case *parse.CommentNode:
		case *parse.ActionNode:
			if c.page != nil && insideTag(strings.ToLower(c.page.String())) {
				err = c.fault(n, errTag)
			} else {
				err = c.pipe(n.Pipe)
			}
		case *parse.IfNode:
			err = errors.Join(c.pipe(n.Pipe), c.list(n.List), c.list(n.ElseList))
		default:
			err = c.fault(n, fmt.Errorf("%s is not known in mails: fields, if, else, and, or, not, eq, ne are", n))
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func insideTag(page string) bool {
	open := func(from, to string) bool { return strings.LastIndex(page, from) > strings.LastIndex(page, to) }
	return open("<", ">") || open("<script", "</script") || open("<style", "</style")
}

func (c *checker) pipe(p *parse.PipeNode) error {
	if len(p.Decl) > 0 || len(p.Cmds) != 1 {
		return c.fault(p, fmt.Errorf("%s: variables and | are not known in mails", p))
	}
	args := p.Cmds[0].Args
	if name, ok := args[0].(*parse.IdentifierNode); ok {
		want := map[string]int{"not": 2, "eq": 3, "ne": 3, "and": 3, "or": 3}[name.Ident]
		if len(args) < want || len(args) > want && (name.Ident == "not" || name.Ident == "ne") {
			return c.fault(p, fmt.Errorf("%s: %s does not take %d arguments", p, name.Ident, len(args)-1))
		}
		args = args[1:]
	} else if len(args) > 1 {
		return c.fault(p, fmt.Errorf("%s: %s takes no arguments", p, args[0]))
	}
	for _, a := range args {
		if err := c.operand(a); err != nil {
			return err
		}
	}
	return nil
}

func (c *checker) operand(n parse.Node) error {
	switch n := n.(type) {
	case *parse.FieldNode:
		if _, ok := c.known[n.Ident[0]]; !ok || len(n.Ident) > 1 {
			return c.fault(n, fmt.Errorf("there is no field %s in this mail", n))
		}
		return nil
	case *parse.StringNode, *parse.NumberNode, *parse.BoolNode:
		return nil
	case *parse.PipeNode:
		return c.pipe(n)
	}
	return c.fault(n, fmt.Errorf("%s is not known in mails", n))
}
