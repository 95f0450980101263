package ldapsync

import (
	"bytes"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/zeebo/xxh3"

	"github.com/dirpin/dirpin/config"
	"github.com/dirpin/dirpin/internal/roster"
	"github.com/dirpin/dirpin/internal/user"
)

// mappingVersion is part of every content hash: raised when the same entry
// becomes another person by a newer dirpin.
const mappingVersion = "1"

// rawEntry is an entry as a feed reads it. Its bytes are valid until the next
// one.
type rawEntry struct {
	dn    []byte
	attrs []rawAttr
}

type rawAttr struct {
	name   []byte
	values [][]byte
}

// rule says which attributes a field is taken from: the first that has a value.
type rule struct {
	field   user.Field
	sources []source
}

type source struct {
	asked string   // as configured
	names []string // by which the server may call it, lower case
}

// slot is where the values of an attribute belong.
type slot struct{ rule, source int }

// mapper makes people of entries. It is not safe for concurrent use.
type mapper struct {
	agreement string
	kind      string
	seed      uint64
	key       string // attribute, lower case
	inactive  string // attribute, lower case; "" for none
	expires   string // attribute, lower case; "" for none
	now       func() time.Time
	rules     []rule
	slots     map[string][]slot
	print     string

	values [][][][]byte // of the entry at hand, by rule and source
	lower  []byte
	buf    []byte
}

func newMapper(kind, keyAttr string, a config.Attributes, s schema, seed uint64, agreement string) *mapper {
	m := &mapper{agreement: agreement, kind: kind, seed: seed, key: strings.ToLower(keyAttr), inactive: strings.ToLower(inactiveAttribute(kind)),
		expires: strings.ToLower(expiryAttribute(kind)), now: time.Now, slots: make(map[string][]slot)}
	for _, f := range []struct {
		field user.Field
		attrs []string
	}{
		{user.FieldUserID, a.UserID}, {user.FieldFirstName, a.FirstName}, {user.FieldMiddleName, a.MiddleName},
		{user.FieldLastName, a.LastName}, {user.FieldManager, a.Manager}, {user.FieldDepartment, a.Department},
		{user.FieldMail, a.Mail}, {user.FieldTelephone, a.Telephone}, {FieldLanguage, a.Language},
	} {
		r := rule{field: f.field}
		for _, name := range f.attrs {
			src := source{asked: name, names: s.names(name)}
			for _, n := range src.names {
				m.slots[n] = append(m.slots[n], slot{len(m.rules), len(r.sources)})
			}
			r.sources = append(r.sources, src)
		}
		m.rules = append(m.rules, r)
		m.values = append(m.values, make([][][]byte, len(r.sources)))
	}
	m.print = m.makeFingerprint()
	return m
}

// attributes returns what to ask a server for.
func (m *mapper) attributes(keyAttr string) []string {
	asked := []string{keyAttr}
	add := func(name string) {
		if name != "" && !slices.ContainsFunc(asked, func(a string) bool { return strings.EqualFold(a, name) }) {
			asked = append(asked, name)
		}
	}
	for _, r := range m.rules {
		for _, s := range r.sources {
			add(s.asked)
		}
	}
	add(inactiveAttribute(m.kind))
	add(expiryAttribute(m.kind))
	return asked
}

func (m *mapper) fingerprint() string { return m.print }

func (m *mapper) makeFingerprint() string {
	texts := []string{mappingVersion, m.kind, m.key, m.inactive, m.expires}
	for _, r := range m.rules {
		texts = append(texts, string(r.field), strconv.Itoa(len(r.sources)))
		for _, s := range r.sources {
			texts = append(texts, strings.ToLower(s.asked))
		}
	}
	return fingerprint(texts...)
}

// accountFacts are the values of an entry that no rule asks for; nil where it
// shows none.
type accountFacts struct{ key, inactive, expires []byte }

// gather sorts the entry's attributes into the rules' sources.
func (m *mapper) gather(e *rawEntry) (f accountFacts) {
	for i := range m.values {
		clear(m.values[i])
	}
	for _, a := range e.attrs {
		if len(a.values) == 0 {
			continue
		}
		m.lower = append(m.lower[:0], a.name...)
		for i, c := range m.lower {
			if 'A' <= c && c <= 'Z' {
				m.lower[i] = c + 'a' - 'A'
			}
		}
		switch string(m.lower) {
		case m.key:
			f.key = a.values[0]
		case m.inactive:
			f.inactive = a.values[0]
		case m.expires:
			f.expires = a.values[0]
		}
		for _, s := range m.slots[string(m.lower)] {
			m.values[s.rule][s.source] = a.values
		}
	}
	return f
}

// entry maps one entry. The error is about the directory as a whole: an entry
// without key.
func (m *mapper) entry(e *rawEntry) (*Entry, error) {
	account := m.gather(e)
	if account.key == nil {
		return nil, fmt.Errorf("the entry %s shows no %s: the bind account must be allowed to read it", shorten(strings.ToValidUTF8(string(e.dn), "?")), m.key)
	}
	text, err := keyText(m.kind, account.key)
	if err != nil {
		return nil, fmt.Errorf("the entry %s: %w", shorten(strings.ToValidUTF8(string(e.dn), "?")), err)
	}
	out := &Entry{}
	p := &out.Person
	p.Key, p.Agreement, p.Status = text, m.agreement, user.Active
	if detail := faultIn("the DN", e.dn, maxDN); detail != "" {
		out.Refuse = m.refuse(p, "fault", detail)
		return out, nil
	}
	p.DN = string(e.dn)
	p.DNNorm = normalDN(p.DN)
	m.mapInactive(out, account)
	m.buf = m.buf[:0]
	m.hashField(m.print)
	m.hashField(p.DN)
	m.hashField(p.InactiveReason)
	m.hashField(string(account.expires))
	for i := range m.rules {
		m.mapField(out, i)
	}
	if len(out.Faults) == 0 {
		p.Hash = max(1, xxh3.HashSeed(m.buf, m.seed))
	}
	m.checkUserID(out)
	return out, nil
}

// checkUserID refuses who cannot be a user: nobody without a user id is one.
func (m *mapper) checkUserID(out *Entry) {
	if user.Fold(out.Person.UserID) != "" {
		return
	}
	for _, f := range out.Faults {
		if f.Field == user.FieldUserID {
			out.Refuse = m.refuse(&out.Person, "fault", f.Detail)
			return
		}
	}
	var asked []string
	for _, s := range m.rules[0].sources {
		asked = append(asked, s.asked)
	}
	out.Refuse = m.refuse(&out.Person, "user-id-missing", "the entry has no "+strings.Join(asked, " or "))
}

func (m *mapper) refuse(p *roster.Person, reason, detail string) *roster.Reject {
	return &roster.Reject{Agreement: m.agreement, Key: p.Key, DN: p.DN, UserID: p.UserID, Reason: reason, Detail: detail}
}

func (m *mapper) mapInactive(out *Entry, account accountFacts) {
	p := &out.Person
	disabled := false
	switch m.kind {
	case KindAD:
		flags, err := strconv.ParseInt(string(account.inactive), 10, 64)
		if err != nil {
			// Every account has it. Hidden, it says nothing, and must not make
			// disabled people active.
			out.Faults = append(out.Faults, Fault{user.FieldStatus, "userAccountControl cannot be read"})
			return
		}
		disabled = flags&2 != 0
		p.Expires = fileTime(account.expires)
	case Kind389:
		disabled = bytes.EqualFold(account.inactive, []byte("true"))
	}
	switch {
	case disabled:
		p.Status, p.InactiveReason = user.Inactive, user.Disabled
	case !p.Expires.IsZero() && !p.Expires.After(m.now()):
		p.Status, p.InactiveReason = user.Inactive, user.Expired
	}
}

// fileTime reads a time as Active Directory writes it: steps of 100 ns since
// 1601. Zero is never, and so are the largest number and what is none.
func fileTime(value []byte) time.Time {
	const (
		second   = 10_000_000
		from1601 = 11_644_473_600 // seconds from there to 1970
		forever  = 1<<63 - 1
	)
	n, err := strconv.ParseInt(string(value), 10, 64)
	if err != nil || n <= 0 || n == forever {
		return time.Time{}
	}
	return time.Unix(n/second-from1601, n%second*100).UTC()
}

// mapField takes a field from the first source that has a value, and adds all
// of that source's values to what is hashed.
func (m *mapper) mapField(out *Entry, i int) {
	r := &m.rules[i]
	var values []string
	var names []string
	for j, raw := range m.values[i] {
		var detail string
		if values, detail = textValues(r.field, r.sources[j].asked, raw); detail != "" {
			out.Faults = append(out.Faults, Fault{r.field, detail})
			return
		}
		if len(values) > 0 {
			names = r.sources[j].names
			break
		}
	}
	m.hashField(string(r.field))
	for _, v := range values {
		m.hashField(v)
	}
	if len(values) == 0 {
		return
	}
	if r.field == user.FieldDepartment {
		out.Person.Departments = values
		return
	}
	chosen := values[0]
	if len(values) > 1 {
		if v, ok := rdnValue(out.Person.DN, names); ok && slices.Contains(values, v) {
			chosen = v
		}
		if out.Choices == nil {
			out.Choices = make(map[user.Field][]string)
		}
		out.Choices[r.field] = values
	}
	setField(&out.Person, r.field, chosen)
}

// hashField adds a text and its length, so that no two lists of texts are the
// same bytes.
func (m *mapper) hashField(s string) {
	m.buf = appendField(m.buf, s)
}

func appendField(b []byte, s string) []byte {
	n := len(s)
	b = append(b, byte(n), byte(n>>8), byte(n>>16), byte(n>>24))
	return append(b, s...)
}
