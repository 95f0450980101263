package config

import (
	"strings"

	"github.com/dirpin/dirpin/internal/strictyaml"
	"github.com/dirpin/dirpin/internal/user"
)

// DecodeQuery reads a query as the configuration and job files write it:
// "all", or match and where. Nobody is selected by accident: whatever means
// nothing, or everyone without saying so, is a fault. It returns nil where n
// is nil or at fault.
func DecodeQuery(d *strictyaml.Decoder, n *strictyaml.Node) *user.Query {
	if n == nil {
		return nil
	}
	if n.Kind == strictyaml.Scalar && n.Text == "all" {
		return user.All()
	}
	if n.Kind != strictyaml.Mapping {
		d.Fault(n, "a query is all for everyone, or {match: all, where: [{field: …, op: …, text: …}]}")
		return nil
	}
	return decodeGroup(d, n)
}

func decodeGroup(d *strictyaml.Decoder, n *strictyaml.Node) *user.Query {
	m := d.Mapping(n, "match", "where")
	q := &user.Query{Match: user.MatchAll}
	ok := true
	if match := m.Get("match"); match != nil {
		var word string
		word, ok = d.Enum(match, string(user.MatchAll), string(user.MatchAny))
		q.Match = user.Match(word)
	}
	where := m.Get("where")
	switch {
	case where == nil:
		d.Fault(n, "the query has no where: add the conditions, or say all for everyone")
		return nil
	case where.Kind == strictyaml.Sequence && len(where.Items) == 0, where.IsNull():
		d.Fault(where, "where is empty: add the conditions, or say all for everyone")
		return nil
	case where.Kind != strictyaml.Sequence:
		d.Fault(where, "where is a list of conditions: - {field: …, op: …, text: …}")
		return nil
	}
	for _, item := range where.Items {
		term := decodeTerm(d, item)
		ok = ok && (term.Cond != nil || term.Group != nil)
		q.Where = append(q.Where, term)
	}
	if !ok {
		return nil
	}
	return q
}

// decodeTerm returns the zero Term where n is at fault.
func decodeTerm(d *strictyaml.Decoder, n *strictyaml.Node) user.Term {
	m := d.Mapping(n, "field", "op", "text", "match", "where")
	if m == nil {
		return user.Term{}
	}
	if m.Has("match") || m.Has("where") {
		for _, key := range []string{"field", "op", "text"} {
			if m.Has(key) {
				d.Fault(m.Key(key), "%s beside match or where: a term is a condition or a group, not both", key)
				return user.Term{}
			}
		}
		return user.Term{Group: decodeGroup(d, n)}
	}
	return user.Term{Cond: decodeCondition(d, m)}
}

func decodeCondition(d *strictyaml.Decoder, m *strictyaml.Keyed) *user.Condition {
	field, fieldOK := decodeField(d, d.Require(m, "field"))
	op, opOK := decodeOp(d, d.Require(m, "op"))
	if !opOK {
		return nil
	}
	text := m.Get("text")
	if !op.NeedsText() {
		if text != nil {
			d.Fault(text, "%s takes no text: remove it", op)
			return nil
		}
		return conditionIf(fieldOK, field, op, nil)
	}
	if text == nil {
		d.Fault(m.Node(), "%s needs text", op)
		return nil
	}
	texts, textOK := decodeAlternatives(d, text, field)
	return conditionIf(fieldOK && textOK, field, op, texts)
}

func conditionIf(ok bool, field user.Field, op user.Op, texts []string) *user.Condition {
	if !ok {
		return nil
	}
	return &user.Condition{Field: field, Op: op, Text: texts}
}

// decodeAlternatives reads one text, which the field may split at commas, or
// a list of texts, which are alternatives as they stand.
func decodeAlternatives(d *strictyaml.Decoder, n *strictyaml.Node, field user.Field) ([]string, bool) {
	texts, ok := d.TextList(n)
	if !ok {
		return nil, false
	}
	if n.Kind != strictyaml.Sequence {
		texts = field.Alternatives(texts[0])
	} else {
		for i, text := range texts {
			if user.Fold(text) == "" {
				d.Fault(n.Items[i], "the text is only spaces")
				ok = false
			}
		}
	}
	if c := (user.Condition{Field: field, Op: user.IsExactly, Text: texts}); ok && c.Validate() != nil {
		d.Fault(n, "the text is empty: nothing is left to compare with")
		return nil, false
	}
	return texts, ok
}

func decodeField(d *strictyaml.Decoder, n *strictyaml.Node) (user.Field, bool) {
	name, ok := d.String(n)
	if !ok {
		return "", false
	}
	names := make([]string, 0, len(user.Fields()))
	for _, f := range user.Fields() {
		if fieldWord(name) == fieldWord(string(f)) || fieldWord(name) == fieldWord(f.Label()) {
			return f, true
		}
		names = append(names, string(f))
	}
	d.Fault(n, "unknown field%s; the fields are %s", didYouMean(name, names), strings.Join(names, ", "))
	return "", false
}

// fieldWord makes "User ID", "user_id" and "User-Id" one word.
func fieldWord(name string) string {
	return user.Fold(strings.NewReplacer("_", " ", "-", " ").Replace(name))
}

func decodeOp(d *strictyaml.Decoder, n *strictyaml.Node) (user.Op, bool) {
	name, ok := d.String(n)
	if !ok {
		return "", false
	}
	names := make([]string, 0, len(user.Ops()))
	for _, op := range user.Ops() {
		if fieldWord(name) == string(op) {
			return op, true
		}
		names = append(names, string(op))
	}
	d.Fault(n, "unknown operator%s; the operators are %s", didYouMean(name, names), strings.Join(names, ", "))
	return "", false
}

func didYouMean(word string, known []string) string {
	if near := strictyaml.Nearest(word, known); near != "" {
		return " (did you mean " + near + "?)"
	}
	return ""
}
