package user

import (
	"errors"
	"fmt"
	"strings"
)

// Field is an attribute of a user that a query can ask about.
type Field string

// The fields of a query.
const (
	FieldUserID     Field = "user_id"
	FieldFirstName  Field = "first_name"
	FieldMiddleName Field = "middle_name"
	FieldLastName   Field = "last_name"
	FieldManager    Field = "manager"
	FieldDepartment Field = "department"
	FieldAgreement  Field = "agreement"
	FieldStatus     Field = "status"
	FieldMail       Field = "mail"
	FieldTelephone  Field = "telephone"
)

// Fields lists every field in the order in which help and errors name them,
// with the label that tables show.
var fields = []struct {
	field Field
	label string
}{
	{FieldUserID, "User ID"},
	{FieldFirstName, "First Name"},
	{FieldMiddleName, "Middle Name"},
	{FieldLastName, "Last Name"},
	{FieldManager, "Manager"},
	{FieldDepartment, "Department Name"},
	{FieldAgreement, "Agreement"},
	{FieldStatus, "LDAP Sync Status"},
	{FieldMail, "Mail"},
	{FieldTelephone, "Telephone"},
}

// Fields returns every field of a query.
func Fields() []Field {
	fs := make([]Field, len(fields))
	for i, f := range fields {
		fs[i] = f.field
	}
	return fs
}

// Label returns the name that tables show for the field.
func (f Field) Label() string {
	for _, x := range fields {
		if x.field == f {
			return x.label
		}
	}
	return string(f)
}

// Op is the operator of a condition.
type Op string

// The operators, in Cisco's words.
const (
	BeginsWith Op = "begins with"
	Contains   Op = "contains"
	IsExactly  Op = "is exactly"
	EndsWith   Op = "ends with"
	IsEmpty    Op = "is empty"
	IsNotEmpty Op = "is not empty"
)

// Ops returns every operator.
func Ops() []Op { return []Op{BeginsWith, Contains, IsExactly, EndsWith, IsEmpty, IsNotEmpty} }

// NeedsText tells whether the operator compares with a text.
func (o Op) NeedsText() bool { return o != IsEmpty && o != IsNotEmpty }

// Match says how the terms of a query combine.
type Match string

// MatchAll is AND, MatchAny is OR.
const (
	MatchAll Match = "all"
	MatchAny Match = "any"
)

// Query selects users. The zero Query is not valid: everyone is said with
// Everyone, so that nobody is selected by accident.
type Query struct {
	Everyone bool // selects every user; Match and Where are unused
	Match    Match
	Where    []Term
}

// Term is one condition or one group of a query; exactly one is set.
type Term struct {
	Cond  *Condition
	Group *Query
}

// Condition compares one field of a user with alternatives of text; any
// alternative that fits is enough.
type Condition struct {
	Field Field
	Op    Op
	Text  []string // as written, split into alternatives; none for IsEmpty and IsNotEmpty
}

// All returns the query that selects everyone.
func All() *Query { return &Query{Everyone: true} }

// Errors of Validate.
var (
	ErrEmptyWhere = errors.New("where is empty: it selects nobody or everybody by accident; say query: all for everyone")
	ErrNeedsText  = errors.New("the operator needs text")
	ErrTakesNone  = errors.New("the operator takes no text")
)

// Validate reports the first thing that makes the query mean nothing or
// something that was not said.
func (q *Query) Validate() error {
	if q.Everyone {
		return nil
	}
	if len(q.Where) == 0 {
		return ErrEmptyWhere
	}
	for _, t := range q.Where {
		switch {
		case t.Group != nil:
			if err := t.Group.Validate(); err != nil {
				return err
			}
		case t.Cond == nil:
			return ErrEmptyWhere
		default:
			if err := t.Cond.Validate(); err != nil {
				return fmt.Errorf("%s %s: %w", t.Cond.Field, t.Cond.Op, err)
			}
		}
	}
	return nil
}

// Validate reports whether the operator has the text that it needs.
func (c *Condition) Validate() error {
	if !c.Op.NeedsText() {
		if len(c.Text) > 0 {
			return ErrTakesNone
		}
		return nil
	}
	for _, t := range c.Text {
		if Fold(t) != "" {
			return nil
		}
	}
	return ErrNeedsText
}

// Folded returns the alternatives folded, without the empty ones.
func (c *Condition) Folded() []string {
	var fs []string
	for _, t := range c.Text {
		if f := Fold(t); f != "" {
			fs = append(fs, f)
		}
	}
	return fs
}

// SplitAlternatives splits text at commas, as the department field means
// them: `12, 14` is either; `"Sales, EMEA", 14` protects a comma as CSV
// does, `""` within quotes being a quote. Empty alternatives are dropped.
func SplitAlternatives(text string) []string {
	var alts []string
	var b strings.Builder
	quoted, wasQuoted := false, false
	flush := func() {
		s := b.String()
		if !wasQuoted {
			s = strings.TrimSpace(s)
		}
		if Fold(s) != "" {
			alts = append(alts, s)
		}
		b.Reset()
		wasQuoted = false
	}
	for i := 0; i < len(text); i++ {
		c := text[i]
		switch {
		case quoted && c == '"' && i+1 < len(text) && text[i+1] == '"':
			b.WriteByte('"')
			i++
		case quoted && c == '"':
			quoted = false
		case quoted:
			b.WriteByte(c)
		case c == '"' && strings.TrimSpace(b.String()) == "" && !wasQuoted:
			b.Reset()
			quoted, wasQuoted = true, true
		case c == ',':
			flush()
		case wasQuoted && (c == ' ' || c == '\t'):
			// Space between the closing quote and the comma.
		default:
			b.WriteByte(c)
		}
	}
	flush()
	return alts
}

// Alternatives returns the alternatives that a text written for the field
// means: departments split at commas, every other field's text is one.
func (f Field) Alternatives(text string) []string {
	if f == FieldDepartment {
		return SplitAlternatives(text)
	}
	return []string{text}
}
