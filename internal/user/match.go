package user

import "strings"

// Matcher is a query made ready to be asked many times. It is safe for
// concurrent use.
type Matcher struct {
	everyone bool
	any      bool
	conds    []matchCond
	groups   []Matcher
}

type matchCond struct {
	field Field
	op    Op
	texts []string
	set   map[string]bool // of many texts that are to be exactly the value; nil otherwise
}

// manyTexts is from where on a set is faster than a look at each text.
const manyTexts = 16

// Matcher folds the query's texts once. The query must be valid.
func (q *Query) Matcher() Matcher {
	m := Matcher{everyone: q.Everyone, any: q.Match == MatchAny}
	for _, t := range q.Where {
		if t.Group != nil {
			m.groups = append(m.groups, t.Group.Matcher())
		} else {
			c := matchCond{field: t.Cond.Field, op: t.Cond.Op, texts: t.Cond.Folded()}
			if c.op == IsExactly && len(c.texts) >= manyTexts {
				c.set = make(map[string]bool, len(c.texts))
				for _, text := range c.texts {
					c.set[text] = true
				}
			}
			m.conds = append(m.conds, c)
		}
	}
	return m
}

// Match tells whether the query selects u.
func (m *Matcher) Match(u *User) bool {
	if m.everyone {
		return true
	}
	for i := range m.conds {
		if m.conds[i].match(u) == m.any {
			return m.any
		}
	}
	for i := range m.groups {
		if m.groups[i].Match(u) == m.any {
			return m.any
		}
	}
	return !m.any
}

func (c *matchCond) match(u *User) bool {
	if c.field != FieldDepartment {
		return c.matchValue(Fold(u.value(c.field)))
	}
	empty := true
	for _, d := range u.Departments {
		f := Fold(d)
		if f == "" {
			continue
		}
		empty = false
		if c.op.NeedsText() && c.matchValue(f) {
			return true
		}
	}
	switch c.op {
	case IsEmpty:
		return empty
	case IsNotEmpty:
		return !empty
	}
	return false
}

func (c *matchCond) matchValue(folded string) bool {
	switch c.op {
	case IsEmpty:
		return folded == ""
	case IsNotEmpty:
		return folded != ""
	}
	if c.set != nil {
		return c.set[folded]
	}
	for _, t := range c.texts {
		switch c.op {
		case BeginsWith:
			if strings.HasPrefix(folded, t) {
				return true
			}
		case Contains:
			if strings.Contains(folded, t) {
				return true
			}
		case EndsWith:
			if strings.HasSuffix(folded, t) {
				return true
			}
		case IsExactly:
			if folded == t {
				return true
			}
		}
	}
	return false
}

func (u *User) value(f Field) string {
	switch f {
	case FieldUserID:
		return u.UserID
	case FieldFirstName:
		return u.FirstName
	case FieldMiddleName:
		return u.MiddleName
	case FieldLastName:
		return u.LastName
	case FieldManager:
		return u.Manager
	case FieldAgreement:
		return u.Agreement
	case FieldStatus:
		return string(u.Status)
	case FieldMail:
		return u.Mail
	case FieldTelephone:
		return u.Telephone
	}
	return ""
}
