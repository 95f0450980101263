package tap

import (
	"bytes"
	"strconv"
)

// Entry is a search entry. Its slices point into the connection's buffer: they
// are valid until the handler returns, and must not be written to.
type Entry struct {
	MessageID  int64 // of the search that it answers
	DN         []byte
	Attributes []Attribute
	Controls   []Control
	Message    []byte // all of the message, as it came: what Decode takes

	values [][]byte // backs Attribute.Values
}

// Attribute is an attribute with its values, as the server sent it.
type Attribute struct {
	Name   []byte // the whole description: cn, givenName;lang-de, member;range=0-1499
	Values [][]byte
}

// Control is a control of a response.
type Control struct {
	OID   []byte
	Value []byte // nil where there is none
}

// Values returns the values of an attribute, whose description is compared
// without regard to case (RFC 4512, section 2.5); nil where the entry does not
// have it.
func (e *Entry) Values(name string) [][]byte {
	for i := range e.Attributes {
		if equalFold(e.Attributes[i].Name, name) {
			return e.Attributes[i].Values
		}
	}
	return nil
}

// Value returns the first value of an attribute, or nil.
func (e *Entry) Value(name string) []byte {
	if v := e.Values(name); len(v) > 0 {
		return v[0]
	}
	return nil
}

// control returns the value of the control of that OID.
func control(controls []Control, oid string) ([]byte, bool) {
	for i := range controls {
		if string(controls[i].OID) == oid {
			return controls[i].Value, true
		}
	}
	return nil, false
}

// Base returns the attribute's name without its options.
func (a Attribute) Base() []byte {
	base, _, _ := bytes.Cut(a.Name, []byte{';'})
	return base
}

// Range is a part of an attribute's values. Active Directory sends those of an
// attribute with many in parts ([MS-ADTS], section 3.1.1.3.1.3.3).
type Range struct {
	First int
	Last  int // inclusive; -1: these are the last ones there are
}

// Next returns the option that asks for the next part: member;range=1500-*.
func (r Range) Next(base string) string { return base + ";range=" + strconv.Itoa(r.Last+1) + "-*" }

// Range returns the attribute's name without a range option, and which part of
// the values it holds. ok tells whether it has such an option.
func (a Attribute) Range() (name string, r Range, ok bool) {
	rest := a.Name
	for {
		i := bytes.IndexByte(rest, ';')
		if i < 0 {
			return string(a.Name), Range{}, false
		}
		rest = rest[i+1:]
		option, after, _ := bytes.Cut(rest, []byte{';'})
		if len(option) < len("range=") || !equalFold(option[:len("range=")], "range=") {
			continue
		}
		first, last, found := bytes.Cut(option[len("range="):], []byte{'-'})
		f, err1 := strconv.ParseUint(string(first), 10, 31)
		l, err2 := strconv.ParseUint(string(last), 10, 31)
		r = Range{int(f), int(l)}
		if string(last) == "*" {
			r.Last, err2 = -1, nil
		}
		if !found || err1 != nil || err2 != nil || r.Last >= 0 && r.Last < r.First {
			continue
		}
		before := a.Name[:len(a.Name)-len(rest)-1]
		name = string(before)
		if len(after) > 0 {
			name += ";" + string(after)
		}
		return name, r, true
	}
}

// equalFold compares without regard to the case of ASCII letters.
func equalFold(a []byte, b string) bool {
	if len(a) != len(b) {
		return false
	}
	for i, x := range a {
		y := b[i]
		if x != y && (x|0x20 != y|0x20 || x|0x20 < 'a' || x|0x20 > 'z') {
			return false
		}
	}
	return true
}

// Decode makes e the entry of a whole message. Its slices point into the
// message. Who decodes many into the same Entry allocates nothing.
func (e *Entry) Decode(message []byte) error {
	f, err := peek(message)
	if err != nil {
		return err
	}
	if f.size != len(message) {
		return malformed("a message of %d bytes in %d", f.size, len(message))
	}
	return e.decode(message, f, DefaultMaxValues)
}

// decode reads a whole message that holds a search entry (RFC 4511, section
// 4.5.2), of no more than so many attributes, values and controls together.
func (e *Entry) decode(msg []byte, f frame, most int) error {
	e.MessageID, e.Message = f.id, msg
	e.Attributes, e.Controls, e.values = e.Attributes[:0], e.Controls[:0], e.values[:0]
	rest := der(msg[f.from:])
	op, err := rest.next(opEntry)
	if err != nil {
		return err
	}
	dn, err := op.next(tagOctetString)
	if err != nil {
		return err
	}
	e.DN = dn
	list, err := op.next(tagSequence)
	if err != nil {
		return err
	}
	for len(list) > 0 {
		if len(e.Attributes)+len(e.values) >= most {
			return tooLarge("an entry of more than %d attributes and values", most)
		}
		if err := e.attribute(&list, most); err != nil {
			return err
		}
	}
	if len(op) > 0 {
		if err := walk(op, most); err != nil { // of a later version of the protocol: not ours to know
			return err
		}
	}
	e.Controls, err = controls(rest, e.Controls, most)
	return err
}

func (e *Entry) attribute(list *der, most int) error {
	attr, err := list.next(tagSequence)
	if err != nil {
		return err
	}
	name, err := attr.next(tagOctetString)
	if err != nil {
		return err
	}
	set, err := attr.next(tagSet)
	if err != nil {
		return err
	}
	if len(attr) > 0 {
		return malformed("an attribute with something behind its values")
	}
	from := len(e.values)
	for len(set) > 0 {
		v, err := set.next(tagOctetString)
		if err != nil {
			return err
		}
		if len(e.values) >= most {
			return tooLarge("an entry of more than %d attributes and values", most)
		}
		e.values = append(e.values, v)
	}
	e.Attributes = append(e.Attributes, Attribute{name, e.values[from:len(e.values):len(e.values)]})
	return nil
}

// controls reads what follows the operation of a message.
func controls(rest der, into []Control, most int) ([]Control, error) {
	if len(rest) == 0 {
		return into, nil
	}
	list, err := rest.next(tagControls)
	if err != nil {
		return into, err
	}
	if len(rest) > 0 {
		return into, malformed("a message with something behind its controls")
	}
	for len(list) > 0 {
		if len(into) >= most {
			return into, tooLarge("a message of more than %d controls", most)
		}
		c, err := list.next(tagSequence)
		if err != nil {
			return into, err
		}
		oid, err := c.next(tagOctetString)
		if err != nil {
			return into, err
		}
		ctl := Control{OID: oid}
		if c.has(tagBoolean) { // criticality, which means nothing in a response
			if _, err := c.next(tagBoolean); err != nil {
				return into, err
			}
		}
		if len(c) > 0 {
			if ctl.Value, err = c.next(tagOctetString); err != nil {
				return into, err
			}
		}
		if len(c) > 0 {
			return into, malformed("a control with something behind its value")
		}
		into = append(into, ctl)
	}
	return into, nil
}
