package tap

import (
	"bytes"
	"errors"
	"strings"
	"testing"
)

// form is how a server writes lengths: 0 as short as may be, else always in so
// many bytes, as Active Directory does in four.
type form int

func (p form) length(n int) []byte {
	k := int(p)
	switch {
	case k > 0:
	case n < 0x80:
		return []byte{byte(n)}
	default:
		for k = 1; n>>(8*k) > 0; k++ {
		}
	}
	b := []byte{0x80 | byte(k)}
	for i := k - 1; i >= 0; i-- {
		b = append(b, byte(uint64(n)>>(8*i)))
	}
	return b
}

func (p form) tlv(tag byte, parts ...[]byte) []byte {
	body := bytes.Join(parts, nil)
	return append(append([]byte{tag}, p.length(len(body))...), body...)
}

func (p form) str(s string) []byte { return p.tlv(tagOctetString, []byte(s)) }

func (p form) message(id int, parts ...[]byte) []byte {
	n := []byte{byte(id)}
	if id > 127 {
		n = []byte{byte(id >> 16), byte(id >> 8), byte(id)}
	}
	return p.tlv(tagSequence, append([][]byte{p.tlv(tagInteger, n)}, parts...)...)
}

func (p form) attribute(name string, values ...string) []byte {
	var set [][]byte
	for _, v := range values {
		set = append(set, p.str(v))
	}
	return p.tlv(tagSequence, p.str(name), p.tlv(tagSet, set...))
}

func (p form) entry(id int, dn string, attributes ...[]byte) []byte {
	return p.message(id, p.tlv(opEntry, p.str(dn), p.tlv(tagSequence, attributes...)))
}

func (p form) control(oid string, value []byte) []byte {
	return p.tlv(tagControls, p.tlv(tagSequence, p.str(oid), p.tlv(tagBoolean, []byte{0xff}), p.tlv(tagOctetString, value)))
}

func (p form) done(id, code int, controls ...[]byte) []byte {
	return p.message(id, append([][]byte{p.tlv(opDone, p.tlv(tagEnumerated, []byte{byte(code)}), p.str(""), p.str("words"))}, controls...)...)
}

func (p form) search(id int) []byte { return p.message(id, p.tlv(opSearch, p.str("dc=x"))) }

const short form = 0

func TestPeek(t *testing.T) {
	m := short.entry(7, "dc=x")
	for n := range m {
		f, err := peek(m[:n])
		if err != nil || f.size != 0 && f.size != len(m) {
			t.Errorf("of %d bytes: %+v, %v", n, f, err)
		}
	}
	if f, err := peek(m); err != nil || f != (frame{len(m), 7, opEntry, 5}) {
		t.Errorf("got %+v, %v", f, err)
	}
	for _, tt := range []struct {
		name, in string
		class    error
		want     string
	}{
		{"HTTP", "HTTP/1.1 400", ErrProtocol, "begins with the byte 0x48"},
		{"TLS", "\x15\x03\x01", ErrProtocol, "0x15"},
		{"indefinite", "\x30\x80\x02\x01\x01", ErrProtocol, "indefinite"},
		{"a length of nine bytes", "\x30\x89", ErrProtocol, "length of 9 bytes"},
		{"a length beyond everything", "\x30\x88\x7f\xff\xff\xff\xff\xff\xff\xff", ErrTooLarge, "length of more than"},
		{"a length that wraps", "\x30\x88\xff\xff\xff\xff\xff\xff\xff\xff", ErrTooLarge, "length of more than"},
		{"no room", "\x30\x03\x02\x01\x01", ErrProtocol, "message of 3 bytes"},
		{"no id", "\x30\x05\x04\x01\x01\x64\x00", ErrProtocol, "without a message id"},
		{"an empty id", "\x30\x05\x02\x00\x64\x01\x00", ErrProtocol, "without a message id"},
		{"an id longer than the message", "\x30\x05\x02\x04\x01\x64\x00", ErrProtocol, "without a message id"},
		{"a negative id", "\x30\x05\x02\x01\xff\x64\x00", ErrProtocol, "out of range"},
		{"a huge id", "\x30\x09\x02\x05\x01\x00\x00\x00\x00\x64\x00", ErrProtocol, "out of range"},
	} {
		f, err := peek([]byte(tt.in))
		if !errors.Is(err, tt.class) || !strings.Contains(err.Error(), tt.want) || f.size != 0 {
			t.Errorf("%s: %+v, %v", tt.name, f, err)
		}
	}
}

func TestWalk(t *testing.T) {
	deep := func(n int) []byte {
		b := short.str("x")
		for range n {
			b = short.tlv(tagSequence, b)
		}
		return b
	}
	for _, tt := range []struct {
		name string
		in   []byte
		want error
	}{
		{"a message", short.entry(1, "dc=x", short.attribute("cn", "a", "b")), nil},
		{"padded", form(4).entry(1, "dc=x", short.attribute("cn", "a", "b")), nil},
		{"deep", deep(maxDepth - 1), nil},
		{"deeper", deep(maxDepth), ErrTooLarge},
		{"many", bytes.Repeat(short.str(""), 100), nil},
		{"too many", bytes.Repeat(short.str(""), 101), ErrTooLarge},
		{"a child that is longer than its parent", []byte{0x30, 0x03, 0x04, 0x02, 0x41, 0x42}, ErrProtocol},
		{"cut in a length", []byte{0x04, 0x82, 0x01}, ErrProtocol},
		{"a tag alone", []byte{0x04}, ErrProtocol},
		{"indefinite", []byte{0x30, 0x80, 0x00, 0x00}, ErrProtocol},
		{"a tag of several bytes", []byte{0x1f, 0x81, 0x01, 0x00}, ErrProtocol},
	} {
		if err := walk(tt.in, 100); !errors.Is(err, tt.want) {
			t.Errorf("%s: %v, want %v", tt.name, err, tt.want)
		}
	}
}

func TestDecodeTakesOneMessage(t *testing.T) {
	msg := short.entry(1, "dc=x", short.attribute("cn", "a"))
	e := new(Entry)
	if err := e.Decode(msg); err != nil || !bytes.Equal(e.Message, msg) || string(e.Value("cn")) != "a" {
		t.Errorf("%+v, %v", e, err)
	}
	for _, bad := range [][]byte{nil, msg[:3], msg[:len(msg)-1], append(msg, 0), short.done(1, 0)} {
		if err := e.Decode(bad); !errors.Is(err, ErrProtocol) {
			t.Errorf("%x: %v", bad, err)
		}
	}
}

func decode(msg []byte) (*Entry, error) {
	f, err := peek(msg)
	if err != nil {
		return nil, err
	}
	e := new(Entry)
	return e, e.decode(msg, f, 100)
}

func TestDecode(t *testing.T) {
	for _, p := range []form{0, 4, 8} {
		msg := p.message(300, p.tlv(opEntry, p.str("cn=a,dc=x"), p.tlv(tagSequence,
			p.attribute("CN", "a", ""), p.attribute("empty"), p.attribute("sn;lang-de", "z"))), p.control("1.2.3", []byte("v")))
		e, err := decode(msg)
		if err != nil {
			t.Fatal(err)
		}
		if e.MessageID != 300 || string(e.DN) != "cn=a,dc=x" || len(e.Attributes) != 3 || string(bytes.Join(e.Values("cn"), []byte("|"))) != "a|" ||
			len(e.Attributes[1].Values) != 0 || string(e.Value("SN;LANG-DE")) != "z" || e.Value("empty") != nil || e.Value("sn") != nil {
			t.Errorf("got %+v", e)
		}
		if len(e.Controls) != 1 || string(e.Controls[0].OID) != "1.2.3" || string(e.Controls[0].Value) != "v" {
			t.Errorf("controls: %+v", e.Controls)
		}
		// Of a message that is cut anywhere there is no entry, only an error.
		f, _ := peek(msg)
		for n := f.from; n < len(msg); n++ {
			if e.decode(msg[:n:n], f, 100) == nil && n != f.from+len(p.tlv(opEntry, p.str("cn=a,dc=x"), p.tlv(tagSequence,
				p.attribute("CN", "a", ""), p.attribute("empty"), p.attribute("sn;lang-de", "z")))) {
				t.Errorf("cut at %d of %d: taken", n, len(msg))
			}
		}
	}
}

func TestDecodeRefusals(t *testing.T) {
	p := short
	ok := p.attribute("cn", "a")
	for _, tt := range []struct {
		name  string
		in    []byte
		class error
		want  string
	}{
		{"no attributes", p.message(1, p.tlv(opEntry, p.str("dc=x"))), ErrProtocol, "is missing"},
		{"a name that is no string", p.message(1, p.tlv(opEntry, p.tlv(tagInteger, []byte{1}), p.tlv(tagSequence, ok))), ErrProtocol, "tag 0x02 where one of 0x04"},
		{"no values", p.entry(1, "dc=x", p.tlv(tagSequence, p.str("cn"))), ErrProtocol, "is missing"},
		{"values in a sequence", p.entry(1, "dc=x", p.tlv(tagSequence, p.str("cn"), p.tlv(tagSequence, p.str("a")))), ErrProtocol, "where one of 0x31"},
		{"a value in pieces", p.entry(1, "dc=x", p.tlv(tagSequence, p.str("cn"), p.tlv(tagSet, p.tlv(0x24, p.str("a"))))), ErrProtocol, "0x24"},
		{"a third part", p.entry(1, "dc=x", p.tlv(tagSequence, p.str("cn"), p.tlv(tagSet), p.str("?"))), ErrProtocol, "behind its values"},
		{"something behind the controls", p.message(1, p.tlv(opEntry, p.str("dc=x"), p.tlv(tagSequence)), p.tlv(tagControls), p.str("?")), ErrProtocol, "behind its controls"},
		{"a fourth part of a control", p.message(1, p.tlv(opEntry, p.str("dc=x"), p.tlv(tagSequence)), p.tlv(tagControls, p.tlv(tagSequence, p.str("1"), p.str("v"), p.str("?")))), ErrProtocol, "behind its value"},
		{"a value longer than the message", p.entry(1, "dc=x", p.tlv(tagSequence, p.str("cn"), []byte{tagSet, 3, tagOctetString, 9, 'a'})), ErrProtocol, "length of 9 where 1 bytes"},
		{"an indefinite value", p.entry(1, "dc=x", p.tlv(tagSequence, p.str("cn"), []byte{tagSet, 0x80, 0, 0})), ErrProtocol, "indefinite"},
		{"many values", p.entry(1, "dc=x", p.attribute("cn", strings.Split(strings.Repeat("v,", 100), ",")...)), ErrTooLarge, "more than 100"},
		{"many attributes", p.entry(1, "dc=x", bytes.Repeat(ok, 51)), ErrTooLarge, "more than 100"},
		{"many controls", p.message(1, p.tlv(opEntry, p.str("dc=x"), p.tlv(tagSequence)), p.tlv(tagControls, bytes.Repeat(p.tlv(tagSequence, p.str("1")), 101))), ErrTooLarge, "more than 100"},
	} {
		if _, err := decode(tt.in); !errors.Is(err, tt.class) || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: %v", tt.name, err)
		}
	}
	// A component that a later version of the protocol adds is not ours to know.
	if _, err := decode(p.message(1, p.tlv(opEntry, p.str("dc=x"), p.tlv(tagSequence, ok), p.str("new")))); err != nil {
		t.Error(err)
	}
}

func TestDecodeDoesNotAllocate(t *testing.T) {
	msg := short.entry(1, "uid=anna,dc=x", short.attribute("cn", "a", "b"), short.attribute("sn", "c"))
	f, _ := peek(msg)
	e := new(Entry)
	if n := testing.AllocsPerRun(100, func() {
		if err := e.decode(msg, f, 100); err != nil {
			t.Fatal(err)
		}
		if e.Value("sn") == nil {
			t.Fatal("no sn")
		}
	}); n != 0 {
		t.Errorf("%v allocations an entry", n)
	}
}

func TestRange(t *testing.T) {
	for _, tt := range []struct {
		in, name string
		r        Range
		ok       bool
	}{
		{"member;range=0-1499", "member", Range{0, 1499}, true},
		{"member;Range=1500-*", "member", Range{1500, -1}, true},
		{"member;binary;range=0-1;lang-de", "member;binary;lang-de", Range{0, 1}, true},
		{"member", "member", Range{}, false},
		{"member;lang-de", "member;lang-de", Range{}, false},
		{"member;range=5-1", "member;range=5-1", Range{}, false},
		{"member;range=0", "member;range=0", Range{}, false},
		{"member;range=a-b", "member;range=a-b", Range{}, false},
		{"member;range=0--1", "member;range=0--1", Range{}, false},
		{"member;range=0-99999999999999999999", "member;range=0-99999999999999999999", Range{}, false},
		{"", "", Range{}, false},
		{";", ";", Range{}, false},
	} {
		name, r, ok := Attribute{Name: []byte(tt.in)}.Range()
		if name != tt.name || r != tt.r || ok != tt.ok {
			t.Errorf("%s: %s %v %v", tt.in, name, r, ok)
		}
	}
	if got := (Range{0, 1499}).Next("member"); got != "member;range=1500-*" {
		t.Errorf("next: %s", got)
	}
	if got := string(Attribute{Name: []byte("sn;lang-de;x")}.Base()); got != "sn" {
		t.Errorf("base: %s", got)
	}
}

func TestEqualFold(t *testing.T) {
	for _, tt := range []struct {
		a, b string
		want bool
	}{{"mail", "MAIL", true}, {"mail", "mail", true}, {"a;b", "A;B", true}, {"[", "{", false}, {"@", "`", false}, {"a", "b", false}, {"a", "aa", false}, {"\xe4", "\xc4", false}, {"k", "\u212a", false}} {
		if equalFold([]byte(tt.a), tt.b) != tt.want {
			t.Errorf("%q %q", tt.a, tt.b)
		}
	}
}
