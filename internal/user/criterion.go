package user

import (
	"errors"
	"fmt"
	"strings"
)

// ParseCriterion reads a condition as a person writes it on one line: field,
// operator, text, such as `department is exactly 12, 14`. The field is the
// longest name or label that fits, then the operator the longest that fits, in
// any case; the rest is the text as it stands. As with Cisco, no text at all
// means all users.
func ParseCriterion(s string) (Term, error) {
	rest := strings.TrimSpace(s)
	field, rest, ok := cutField(rest)
	if !ok {
		return Term{}, fmt.Errorf("criterion %q does not begin with a field: %s", s, list(Fields()))
	}
	op, rest, ok := cutOp(rest)
	if !ok {
		return Term{}, fmt.Errorf("criterion %q has no operator behind the field: %s", s, list(Ops()))
	}
	if !op.NeedsText() {
		if rest != "" {
			return Term{}, fmt.Errorf("criterion %q: %q takes no text", s, op)
		}
		return Term{Cond: &Condition{Field: field, Op: op}}, nil
	}
	c := &Condition{Field: field, Op: op, Text: field.Alternatives(rest)}
	if errors.Is(c.Validate(), ErrNeedsText) {
		return Term{Group: All()}, nil
	}
	return Term{Cond: c}, nil
}

func cutField(s string) (Field, string, bool) {
	var best Field
	n := 0
	for _, f := range fields {
		for _, name := range []string{string(f.field), f.label, strings.ReplaceAll(string(f.field), "_", " ")} {
			if len(name) > n && hasWord(s, name) {
				best, n = f.field, len(name)
			}
		}
	}
	return best, strings.TrimLeft(s[n:], " \t"), n > 0
}

func cutOp(s string) (Op, string, bool) {
	var best Op
	for _, o := range Ops() {
		if len(o) > len(best) && hasWord(s, string(o)) {
			best = o
		}
	}
	return best, strings.TrimPrefix(s[len(best):], " "), best != ""
}

// hasWord tells whether s begins with the word or words, in any case.
func hasWord(s, word string) bool {
	if len(s) < len(word) || !strings.EqualFold(s[:len(word)], word) {
		return false
	}
	return len(s) == len(word) || s[len(word)] == ' ' || s[len(word)] == '\t'
}

func list[T ~string](ts []T) string {
	ss := make([]string, len(ts))
	for i, t := range ts {
		ss[i] = string(t)
	}
	return strings.Join(ss, ", ")
}
