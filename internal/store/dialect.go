package store

import (
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"
)

// dialect is how a database wants to be spoken to, where the two do not agree.
// Queries are written once, with ? or ?1 for what they are given; the package
// documentation says what else they keep to.
type dialect uint8

const (
	sqlite dialect = iota
	postgres
)

// sql is the text of a query as the database takes it.
func (d dialect) sql(query string) string {
	if d == sqlite || !strings.Contains(query, "?") {
		return query
	}
	return numbered(query)
}

// numbered writes ? as $1, $2 … and ?3 as $3, outside of texts.
func numbered(query string) string {
	var b strings.Builder
	b.Grow(len(query) + 64)
	last := 0
	for i := 0; i < len(query); i++ {
		switch c := query[i]; c {
		case '\'', '"':
			end := strings.IndexByte(query[i+1:], c)
			if end < 0 {
				end = len(query) - i - 2
			}
			b.WriteString(query[i : i+end+2])
			i += end + 1
		case '?':
			n := i + 1
			for n < len(query) && query[n] >= '0' && query[n] <= '9' {
				n++
			}
			number := last + 1
			if n > i+1 {
				number, _ = strconv.Atoi(query[i+1 : n]) // digits
			}
			last = max(last, number)
			b.WriteByte('$')
			b.WriteString(strconv.Itoa(number))
			i = n - 1
		default:
			b.WriteByte(c)
		}
	}
	return b.String()
}

// contains is the condition that a column contains a text.
func (d dialect) contains(column string) string {
	if d == postgres {
		return "strpos(" + column + ", ?) > 0"
	}
	return "instr(" + column + ", ?) > 0"
}

// endsWith is the condition that a column ends with a text, and what it is
// given.
func (d dialect) endsWith(column, text string) (string, []any) {
	n := utf8.RuneCountInString(text)
	if d == postgres {
		return "right(" + column + ", ?) = ?", []any{n, text}
	}
	return "substr(" + column + ", ?) = ?", []any{-n, text}
}

// amongMost is how many numbers one condition names, amongFew how many a short
// one does. Shorter lists are filled up, so that two statements serve them all.
const amongMost, amongFew = 64, 8

// among is the condition that a column is one of up to amongMost numbers, and
// what it is given.
//
// PostgreSQL takes a job for small of which it has no statistics yet, as none
// has that was opened a minute ago, and would rather read all of it than look up
// each number: it is told between which they are.
func (d dialect) among(column string, numbers []int64) (string, []any) {
	n := amongMost
	if len(numbers) <= amongFew {
		n = amongFew
	}
	condition, args := column+" IN ("+placeholders(n)+")", make([]any, 0, n+2)
	if d == postgres {
		condition = column + " BETWEEN ? AND ? AND " + condition
		args = append(args, slices.Min(numbers), slices.Max(numbers))
	}
	for i := range n {
		if i < len(numbers) {
			args = append(args, numbers[i])
		} else {
			args = append(args, nil)
		}
	}
	return condition, args
}

// joined is the aggregate that writes texts one behind another, in the order in
// which they come.
func (d dialect) joined(text, between string) string {
	if d == postgres {
		return "string_agg(" + text + ", '" + between + "')"
	}
	return "group_concat(" + text + ", '" + between + "')"
}
