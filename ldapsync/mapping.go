package ldapsync

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/zeebo/xxh3"

	"github.com/dirpin/dirpin/config"
	"github.com/dirpin/dirpin/internal/roster"
	"github.com/dirpin/dirpin/internal/user"
	"github.com/dirpin/dirpin/ldapsync/tap"
)

// mappingVersion is part of every content hash: raised when the same entry
// becomes another person by a newer dirpin.
const mappingVersion = "1"

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

	// Of the entry at hand.
	values [][][][]byte // by rule and source, as they came
	chosen [][][]byte   // by rule: sorted, each once, none blank
	from   []int        // by rule: the source they are of
	places []place      // of the attributes of the entry before, in their order
	lower  []byte
	buf    []byte
}

// look is what a first look at an entry finds: enough to tell whether it is
// new, and made without allocating anything.
type look struct {
	key      rawKey
	hash     uint64 // of the content; 0: something cannot be taken
	inactive string // reason
	expires  time.Time
	dnFault  string
	faults   []Fault
	parts    bool // only a part of some attribute's values came
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
	m.chosen, m.from = make([][][]byte, len(m.rules)), make([]int, len(m.rules))
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

// clone returns a mapper for another goroutine.
func (m *mapper) clone() *mapper {
	c := *m
	c.values = make([][][][]byte, len(m.values))
	for i := range c.values {
		c.values[i] = make([][][]byte, len(m.values[i]))
	}
	c.chosen, c.from, c.places, c.lower, c.buf = make([][][]byte, len(m.chosen)), make([]int, len(m.from)), nil, nil, nil
	return &c
}

// accountFacts are the values of an entry that no rule asks for; nil where it
// shows none.
type accountFacts struct{ key, inactive, expires []byte }

// gather sorts the entry's attributes into the rules' sources. parts tells
// whether of some only a part of the values came (Range).
func (m *mapper) gather(e *tap.Entry) (f accountFacts, parts bool) {
	for i := range m.values {
		clear(m.values[i])
	}
	for i := range e.Attributes {
		a := &e.Attributes[i]
		p := m.placeOf(i, a.Name)
		parts = parts || p.part
		if len(a.Values) == 0 {
			continue
		}
		switch p.account {
		case keyFact:
			f.key = a.Values[0]
		case inactiveFact:
			f.inactive = a.Values[0]
		case expiresFact:
			f.expires = a.Values[0]
		}
		for _, s := range p.slots {
			m.values[s.rule][s.source] = a.Values
		}
	}
	return f, parts
}

// place is where an attribute of that name belongs.
type place struct {
	name    []byte // as it came
	account int    // which of accountFacts it is
	slots   []slot
	part    bool // it holds a part of the values
}

const (
	keyFact = 1 + iota
	inactiveFact
	expiresFact
)

// Of so many attributes of an entry, of names of no more than so many bytes, it
// is kept where they belong: in the next one nearly always the same come in the
// same order.
const (
	placesKept = 32
	nameKept   = 256
)

// placeOf returns the place of the attribute of that name, which is the i-th of
// its entry.
func (m *mapper) placeOf(i int, name []byte) *place {
	if i > placesKept || len(name) > nameKept {
		i = placesKept
	}
	for len(m.places) <= i {
		m.places = append(m.places, place{})
	}
	p := &m.places[i]
	if len(name) == 0 || !bytes.Equal(p.name, name) {
		m.find(p, name)
	}
	return p
}

// find sets the place of the attribute of that name.
func (m *mapper) find(p *place, name []byte) {
	*p = place{name: append(p.name[:0], name...)}
	m.lower = append(m.lower[:0], name...)
	for i, c := range m.lower {
		if 'A' <= c && c <= 'Z' {
			m.lower[i] = c + 'a' - 'A'
		}
	}
	lower := m.lower
	if whole, part, ok := ranged(lower); ok && m.slots[whole] != nil {
		lower = append(m.lower[:0], whole...)
		p.part = part.First != 0 || part.Last >= 0
	}
	switch string(lower) {
	case m.key:
		p.account = keyFact
	case m.inactive:
		p.account = inactiveFact
	case m.expires:
		p.account = expiresFact
	}
	p.slots = m.slots[string(lower)]
}

// ranged reads a range option where there is one.
func ranged(name []byte) (string, tap.Range, bool) {
	if !bytes.Contains(name, []byte(";range=")) {
		return "", tap.Range{}, false
	}
	return tap.Attribute{Name: name}.Range()
}

// look looks at an entry. The error is about the directory as a whole: an entry
// without key.
func (m *mapper) look(e *tap.Entry) (look, error) {
	l, account, err := m.identify(e)
	if err == nil {
		m.judge(e, &l, account)
	}
	return l, err
}

// identify finds out whose an entry is, and no more.
func (m *mapper) identify(e *tap.Entry) (l look, account accountFacts, err error) {
	account, l.parts = m.gather(e)
	if account.key == nil {
		return l, account, fmt.Errorf("the entry %s shows no %s: the bind account must be allowed to read it", shorten(strings.ToValidUTF8(string(e.DN), "?")), m.key)
	}
	if l.key, err = keyFrom(m.kind, account.key); err != nil {
		err = fmt.Errorf("the entry %s: %w", shorten(strings.ToValidUTF8(string(e.DN), "?")), err)
	}
	return l, account, err
}

// judge chooses the values of the entry that was identified last, and adds what
// can be said of them.
func (m *mapper) judge(e *tap.Entry, l *look, account accountFacts) {
	if l.dnFault = faultIn("the DN", e.DN, maxDN); l.dnFault != "" {
		return
	}
	m.lookInactive(l, account)
	m.buf = append(m.buf[:0], m.print...)
	m.buf = appendField(m.buf, e.DN)
	m.buf = appendField(m.buf, l.inactive)
	m.buf = appendField(m.buf, account.expires)
	for i := range m.rules {
		m.choose(l, i)
		m.buf = binary.LittleEndian.AppendUint32(m.buf, uint32(len(m.chosen[i])))
		for _, v := range m.chosen[i] {
			m.buf = appendField(m.buf, v)
		}
	}
	if len(l.faults) == 0 && !l.parts {
		l.hash = max(1, xxh3.HashSeed(m.buf, m.seed))
	}
}

func (m *mapper) lookInactive(l *look, account accountFacts) {
	disabled := false
	switch m.kind {
	case KindAD:
		flags, ok := number(account.inactive)
		if !ok {
			// Every account has it. Hidden, it says nothing, and must not make
			// disabled people active.
			l.faults = append(l.faults, Fault{user.FieldStatus, "userAccountControl cannot be read"})
			return
		}
		disabled = flags&2 != 0
		l.expires = fileTime(account.expires)
	case Kind389:
		disabled = bytes.EqualFold(account.inactive, []byte("true"))
	}
	switch {
	case disabled:
		l.inactive = user.Disabled
	case !l.expires.IsZero() && !l.expires.After(m.now()):
		l.inactive = user.Expired
	}
}

// number reads a decimal number.
func number(value []byte) (int64, bool) {
	n, err := strconv.ParseInt(string(value), 10, 64)
	return n, err == nil
}

// fileTime reads a time as Active Directory writes it: steps of 100 ns since
// 1601. Zero is never, and so are the largest number and what is none.
func fileTime(value []byte) time.Time {
	const (
		second   = 10_000_000
		from1601 = 11_644_473_600 // seconds from there to 1970
		forever  = 1<<63 - 1
	)
	n, ok := number(value)
	if !ok || n <= 0 || n == forever {
		return time.Time{}
	}
	return time.Unix(n/second-from1601, n%second*100).UTC()
}

// choose takes a field's values from the first source that has one.
func (m *mapper) choose(l *look, i int) {
	r := &m.rules[i]
	m.chosen[i], m.from[i] = m.chosen[i][:0], 0
	for j, raw := range m.values[i] {
		var fault string
		m.chosen[i], fault = choose(m.chosen[i], r.field, r.sources[j].asked, raw)
		if fault != "" {
			l.faults = append(l.faults, Fault{r.field, fault})
			m.chosen[i] = m.chosen[i][:0]
			return
		}
		if len(m.chosen[i]) > 0 {
			m.from[i] = j
			return
		}
	}
}

// entry maps one entry. The error is about the directory as a whole: an entry
// without key.
func (m *mapper) entry(e *tap.Entry) (*Entry, error) {
	l, err := m.look(e)
	if err != nil {
		return nil, err
	}
	out := &Entry{Faults: l.faults}
	p := &out.Person
	p.Key, p.Agreement, p.Status = l.key.text(m.kind), m.agreement, user.Active
	if l.dnFault != "" {
		out.Refuse = m.refuse(p, "fault", l.dnFault)
		return out, nil
	}
	p.DN = string(e.DN)
	p.DNNorm = normalDN(p.DN)
	p.Expires = l.expires
	if l.inactive != "" {
		p.Status, p.InactiveReason = user.Inactive, l.inactive
	}
	p.Hash = l.hash
	m.buf = m.buf[:0]
	for i := range m.rules {
		for _, v := range m.chosen[i] {
			m.buf = append(m.buf, v...)
		}
	}
	text := string(m.buf) // one for all: a user is a dozen short texts
	for i := range m.rules {
		text = m.fill(out, i, text)
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
	out.Refuse = m.refuse(&out.Person, reasonNoID, "the entry has no "+strings.Join(asked, " or "))
}

func (m *mapper) refuse(p *roster.Person, reason, detail string) *roster.Reject {
	return &roster.Reject{Agreement: m.agreement, Key: p.Key, DN: p.DN, UserID: p.UserID, Reason: reason, Detail: detail}
}

// fill sets a field to the values that were chosen. Their text is what text
// begins with; the rest is returned.
func (m *mapper) fill(out *Entry, i int, text string) (rest string) {
	chosen := m.chosen[i]
	field := m.rules[i].field
	if len(chosen) == 1 && field != user.FieldDepartment {
		value := text[:len(chosen[0])]
		if field == user.FieldManager {
			value = normalDN(value)
		}
		setField(&out.Person, field, value)
		return text[len(chosen[0]):]
	}
	if len(chosen) == 0 {
		return text
	}
	values := make([]string, len(chosen))
	for j, v := range chosen {
		values[j], text = text[:len(v)], text[len(v):]
	}
	m.fillSeveral(out, i, values)
	return text
}

func (m *mapper) fillSeveral(out *Entry, i int, values []string) {
	field := m.rules[i].field
	if field == user.FieldManager {
		for j, v := range values {
			values[j] = normalDN(v)
		}
		slices.Sort(values)
		values = slices.Compact(values)
	}
	if field == user.FieldDepartment {
		out.Person.Departments = values
		return
	}
	chosen := values[0]
	if len(values) > 1 {
		if v, ok := rdnValue(out.Person.DN, m.rules[i].sources[m.from[i]].names); ok && slices.Contains(values, v) {
			chosen = v
		}
		if out.Choices == nil {
			out.Choices = make(map[user.Field][]string)
		}
		out.Choices[field] = values
	}
	setField(&out.Person, field, chosen)
}

// appendField adds a text and its length, so that no two lists of texts are the
// same bytes.
func appendField[T string | []byte](b []byte, s T) []byte {
	b = binary.LittleEndian.AppendUint32(b, uint32(len(s)))
	return append(b, s...)
}
