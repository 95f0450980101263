package lab

import (
	"bytes"
	"fmt"
	"net"
	"regexp"
	"strings"
	"sync"
	"testing"

	ber "github.com/go-asn1-ber/asn1-ber"
	"github.com/go-ldap/ldap/v3"
)

// Fake is a directory within the test's process, for what real ones do not do
// on demand. It knows simple binds, the root DSE, entries by their DN, by the
// key in a filter, and everyone in pages.
type Fake struct {
	Addr   string
	Base   string
	Root   map[string][]string // the root DSE
	Key    string              // attribute by which entries are found
	People []FakeEntry

	// Answer, if not nil, may answer a search in the place of the fake, and
	// then says true.
	Answer func(*FakeSearch) bool

	mu sync.Mutex // held while a search is answered, and by Change
}

// FakeEntry is an entry of a Fake.
type FakeEntry struct {
	DN         string
	Attributes map[string][]string
}

// FakeSearch is a search that has come, and the way to answer it.
type FakeSearch struct {
	*Fake
	ID         int64
	DN         string // the base
	Whole      bool   // of the subtree
	Filter     string
	Attributes []string
	Paged      bool
	Size       int    // of a page
	Cookie     string // of the page that is asked for
	conn       net.Conn
}

// NewFake starts a fake with n people of OpenLDAP's kind. It ends with the test.
func NewFake(t testing.TB, n int) *Fake {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	fatal(t, err)
	t.Cleanup(func() { l.Close() })
	f := &Fake{Addr: l.Addr().String(), Base: "dc=fake", Key: "entryUUID", Root: map[string][]string{
		"objectClass": {"top", "OpenLDAProotDSE"}, "namingContexts": {"dc=fake"}, "supportedControl": {ldap.ControlTypePaging}}}
	for i := 1; i <= n; i++ {
		f.People = append(f.People, FakeEntry{fmt.Sprintf("uid=u%d,dc=fake", i), map[string][]string{
			"uid": {fmt.Sprintf("u%d", i)}, "sn": {"Maes"}, "mail": {fmt.Sprintf("u%d@x", i)}, "entryUUID": {fmt.Sprintf("00000000-0000-0000-0000-%012d", i)}}})
	}
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go f.serve(c)
		}
	}()
	return f
}

// Change changes the fake while nothing is answered.
func (f *Fake) Change(change func()) {
	f.mu.Lock()
	defer f.mu.Unlock()
	change()
}

func (f *Fake) serve(c net.Conn) {
	defer c.Close()
	for {
		p, err := ber.ReadPacket(c)
		if err != nil || len(p.Children) < 2 {
			return
		}
		id, _ := p.Children[0].Value.(int64)
		op := p.Children[1]
		switch op.Tag {
		case ldap.ApplicationBindRequest:
			result(c, id, ldap.ApplicationBindResponse, 0, "")
		case ldap.ApplicationSearchRequest:
			s := readSearch(p, op)
			s.Fake, s.conn, s.ID = f, c, id
			f.mu.Lock()
			if f.Answer == nil || !f.Answer(s) {
				s.answer()
			}
			f.mu.Unlock()
		case ldap.ApplicationUnbindRequest:
			return
		}
	}
}

func readSearch(p, op *ber.Packet) *FakeSearch {
	s := &FakeSearch{DN: op.Children[0].Value.(string)}
	scope, _ := op.Children[1].Value.(int64)
	s.Whole = scope == ldap.ScopeWholeSubtree
	s.Filter, _ = ldap.DecompileFilter(op.Children[6])
	for _, a := range op.Children[7].Children {
		s.Attributes = append(s.Attributes, a.Value.(string))
	}
	if len(p.Children) > 2 {
		for _, c := range p.Children[2].Children {
			if ctl, err := ldap.DecodeControl(c); err == nil {
				if paging, ok := ctl.(*ldap.ControlPaging); ok {
					s.Paged, s.Size, s.Cookie = true, int(paging.PagingSize), string(paging.Cookie)
				}
			}
		}
	}
	return s
}

var keyInFilter = regexp.MustCompile(`(?i)\((?:entryuuid|nsuniqueid|objectguid)=([^)*]+)\)`)

// Everyone tells whether the search is for all people.
func (s *FakeSearch) Everyone() bool { return s.Whole && !keyInFilter.MatchString(s.Filter) }

// answer is what a directory would do.
func (s *FakeSearch) answer() {
	switch {
	case s.DN == "" && !s.Whole:
		s.Entry("", s.Root)
	case s.Everyone():
		s.Page(s.Size)
		return
	case s.Whole:
		key := keyInFilter.FindStringSubmatch(s.Filter)[1]
		for _, p := range s.People {
			if p.Attributes[s.Key][0] == key {
				s.Entry(p.DN, p.Attributes)
			}
		}
	case strings.EqualFold(s.DN, s.Base):
		s.Entry(s.Base, map[string][]string{"objectClass": {"domain"}, s.Key: {"00000000-0000-0000-0000-00000000000f"}})
	default:
		found := false
		for _, p := range s.People {
			if found = strings.EqualFold(p.DN, s.DN); found {
				s.Entry(p.DN, p.Attributes)
				break
			}
		}
		if !found {
			s.Done(ldap.LDAPResultNoSuchObject, "")
			return
		}
	}
	s.Done(0, "")
}

// Page sends the people of the page that was asked for, size of them, or all
// where the search is not paged.
func (s *FakeSearch) Page(size int) {
	from, to := 0, len(s.People)
	if s.Paged {
		fmt.Sscan(s.Cookie, &from)
		to = min(to, from+size)
	}
	for _, p := range s.People[min(from, to):to] {
		s.Entry(p.DN, p.Attributes)
	}
	cookie := ""
	if to < len(s.People) {
		cookie = fmt.Sprint(to)
	}
	s.Done(0, cookie)
}

// Entry sends an entry.
func (s *FakeSearch) Entry(dn string, attributes map[string][]string) {
	s.Raw(EntryBytes(s.ID, dn, attributes))
}

// EntryBytes is the message of an entry.
func EntryBytes(id int64, dn string, attributes map[string][]string) []byte {
	op := ber.Encode(ber.ClassApplication, ber.TypeConstructed, ldap.ApplicationSearchResultEntry, nil, "")
	op.AppendChild(ber.NewString(ber.ClassUniversal, ber.TypePrimitive, ber.TagOctetString, dn, ""))
	list := ber.NewSequence("")
	for name, values := range attributes {
		a := ber.NewSequence("")
		a.AppendChild(ber.NewString(ber.ClassUniversal, ber.TypePrimitive, ber.TagOctetString, name, ""))
		set := ber.Encode(ber.ClassUniversal, ber.TypeConstructed, ber.TagSet, nil, "")
		for _, v := range values {
			set.AppendChild(ber.NewString(ber.ClassUniversal, ber.TypePrimitive, ber.TagOctetString, v, ""))
		}
		a.AppendChild(set)
		list.AppendChild(a)
	}
	op.AppendChild(list)
	return envelope(id, op).Bytes()
}

// Done ends the search; with the paging control where it asked for that.
func (s *FakeSearch) Done(code uint16, cookie string) {
	var controls []ldap.Control
	if s.Paged {
		paging := ldap.NewControlPaging(0)
		paging.SetCookie([]byte(cookie))
		controls = append(controls, paging)
	}
	s.Raw(resultBytes(s.ID, ldap.ApplicationSearchResultDone, code, "", controls...))
}

// DoneWithout ends the search without a control.
func (s *FakeSearch) DoneWithout(code uint16, message string) {
	result(s.conn, s.ID, ldap.ApplicationSearchResultDone, code, message)
}

// Raw sends bytes.
func (s *FakeSearch) Raw(b []byte) { s.conn.Write(b) }

// Hang up closes the connection.
func (s *FakeSearch) HangUp() { s.conn.Close() }

func envelope(id int64, op *ber.Packet) *ber.Packet {
	p := ber.NewSequence("")
	p.AppendChild(ber.NewInteger(ber.ClassUniversal, ber.TypePrimitive, ber.TagInteger, id, ""))
	p.AppendChild(op)
	return p
}

func resultBytes(id int64, tag ber.Tag, code uint16, message string, controls ...ldap.Control) []byte {
	op := ber.Encode(ber.ClassApplication, ber.TypeConstructed, tag, nil, "")
	op.AppendChild(ber.NewInteger(ber.ClassUniversal, ber.TypePrimitive, ber.TagEnumerated, int64(code), ""))
	op.AppendChild(ber.NewString(ber.ClassUniversal, ber.TypePrimitive, ber.TagOctetString, "", ""))
	op.AppendChild(ber.NewString(ber.ClassUniversal, ber.TypePrimitive, ber.TagOctetString, message, ""))
	if code == ldap.LDAPResultReferral {
		r := ber.Encode(ber.ClassContext, ber.TypeConstructed, 3, nil, "")
		r.AppendChild(ber.NewString(ber.ClassUniversal, ber.TypePrimitive, ber.TagOctetString, "ldap://elsewhere/", ""))
		op.AppendChild(r)
	}
	p := envelope(id, op)
	if len(controls) > 0 {
		list := ber.Encode(ber.ClassContext, ber.TypeConstructed, 0, nil, "")
		for _, c := range controls {
			list.AppendChild(c.Encode())
		}
		p.AppendChild(list)
	}
	return p.Bytes()
}

func result(c net.Conn, id int64, tag ber.Tag, code uint16, message string) {
	c.Write(bytes.Clone(resultBytes(id, tag, code, message)))
}
