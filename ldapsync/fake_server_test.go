package ldapsync

import (
	"fmt"
	"net"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	ber "github.com/go-asn1-ber/asn1-ber"
	"github.com/go-ldap/ldap/v3"

	"github.com/dirpin/dirpin/config"
	"github.com/dirpin/dirpin/internal/secret"
)

// fakeServer is an LDAP server for what real ones do not do on demand. It takes
// every bind.
type fakeServer struct {
	t      *testing.T
	addr   string
	answer func(question) reply

	mu    sync.Mutex
	asked []question
}

// question is a search.
type question struct {
	base, filter string
	scope        int
	attributes   []string
	controls     map[string]*ber.Packet // by OID; the value, decoded, or nil
}

// reply is what the server says to a search.
type reply struct {
	entries  []fakeEntry
	code     int
	message  string
	controls []*ber.Packet
	hangUp   bool
}

type fakeEntry struct {
	dn         string
	attributes map[string][]string
	controls   []*ber.Packet
}

func newFakeServer(t *testing.T, answer func(question) reply) *fakeServer {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := &fakeServer{t: t, addr: l.Addr().String(), answer: answer}
	var wg sync.WaitGroup
	wg.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			wg.Go(func() { defer c.Close(); s.serve(c) })
		}
	})
	t.Cleanup(func() { l.Close(); wg.Wait() })
	return s
}

// options are those of a synchronization with the server.
func (s *fakeServer) options(store Store) Options {
	percent := config.Limit{N: 10, Percent: true}
	return Options{Agreement: config.Agreement{Name: "corp", Servers: []string{"ldap://" + s.addr}, InsecurePlaintext: true, Bind: config.Bind{DN: "cn=sync"}, Base: "ou=staff,dc=x",
		PageSize: 1000, Timeout: 5 * time.Second, Interval: 15 * time.Minute, FullEvery: 24 * time.Hour, Guard: config.Guard{MaxDeactivate: percent, MaxBlank: percent, Window: 24 * time.Hour}},
		Password: secret.New("x"), Store: store, Log: quiet(s.t)}
}

func (s *fakeServer) serve(c net.Conn) {
	for {
		p, err := ber.ReadPacket(c)
		if err != nil || len(p.Children) < 2 {
			return
		}
		id := p.Children[0].Value.(int64)
		switch op := p.Children[1]; op.Tag {
		case ldap.ApplicationBindRequest:
			c.Write(messageOf(id, resultOf(ldap.ApplicationBindResponse, 0, ""), nil))
		case ldap.ApplicationSearchRequest:
			q := readQuestion(p)
			s.mu.Lock()
			s.asked = append(s.asked, q)
			s.mu.Unlock()
			r := s.answer(q)
			for _, e := range r.entries {
				c.Write(messageOf(id, entryOf(e), e.controls))
			}
			if r.hangUp {
				return
			}
			c.Write(messageOf(id, resultOf(ldap.ApplicationSearchResultDone, r.code, r.message), r.controls))
		default:
			return
		}
	}
}

func readQuestion(p *ber.Packet) question {
	op := p.Children[1]
	q := question{base: op.Children[0].Data.String(), scope: int(op.Children[1].Value.(int64)), controls: map[string]*ber.Packet{}}
	q.filter, _ = ldap.DecompileFilter(op.Children[6])
	for _, a := range op.Children[7].Children {
		q.attributes = append(q.attributes, a.Data.String())
	}
	if len(p.Children) > 2 {
		for _, c := range p.Children[2].Children {
			value := c.Children[len(c.Children)-1]
			decoded, _ := ber.DecodePacketErr(value.Data.Bytes())
			q.controls[c.Children[0].Data.String()] = decoded
		}
	}
	return q
}

func messageOf(id int64, op *ber.Packet, controls []*ber.Packet) []byte {
	m := ber.NewSequence("")
	m.AppendChild(ber.NewInteger(ber.ClassUniversal, ber.TypePrimitive, ber.TagInteger, id, ""))
	m.AppendChild(op)
	if len(controls) > 0 {
		list := ber.Encode(ber.ClassContext, ber.TypeConstructed, 0, nil, "")
		for _, c := range controls {
			list.AppendChild(c)
		}
		m.AppendChild(list)
	}
	return m.Bytes()
}

func resultOf(tag ber.Tag, code int, message string) *ber.Packet {
	r := ber.Encode(ber.ClassApplication, ber.TypeConstructed, tag, nil, "")
	r.AppendChild(ber.NewInteger(ber.ClassUniversal, ber.TypePrimitive, ber.TagEnumerated, code, ""))
	r.AppendChild(octets(""))
	r.AppendChild(octets(message))
	return r
}

func octets(s string) *ber.Packet {
	return ber.NewString(ber.ClassUniversal, ber.TypePrimitive, ber.TagOctetString, s, "")
}

func entryOf(e fakeEntry) *ber.Packet {
	r := ber.Encode(ber.ClassApplication, ber.TypeConstructed, ldap.ApplicationSearchResultEntry, nil, "")
	r.AppendChild(octets(e.dn))
	list := ber.NewSequence("")
	for name, values := range e.attributes {
		a := ber.NewSequence("")
		a.AppendChild(octets(name))
		set := ber.Encode(ber.ClassUniversal, ber.TypeConstructed, ber.TagSet, nil, "")
		for _, v := range values {
			set.AppendChild(octets(v))
		}
		a.AppendChild(set)
		list.AppendChild(a)
	}
	r.AppendChild(list)
	return r
}

// controlOf makes a control of a response.
func controlOf(oid string, value *ber.Packet) *ber.Packet {
	c := ber.NewSequence("")
	c.AppendChild(octets(oid))
	c.AppendChild(octets(string(value.Bytes())))
	return c
}

func sequence(children ...*ber.Packet) *ber.Packet {
	s := ber.NewSequence("")
	for _, c := range children {
		s.AppendChild(c)
	}
	return s
}

func integer(n int) *ber.Packet {
	return ber.NewInteger(ber.ClassUniversal, ber.TypePrimitive, ber.TagInteger, n, "")
}

func boolean(b bool) *ber.Packet {
	return ber.NewBoolean(ber.ClassUniversal, ber.TypePrimitive, ber.TagBoolean, b, "")
}

func enumerated(n int) *ber.Packet {
	return ber.NewInteger(ber.ClassUniversal, ber.TypePrimitive, ber.TagEnumerated, n, "")
}

// fakeDirectoryServer is a fakeServer with people, as an Active Directory or an
// OpenLDAP has them. Its fields are changed between synchronizations.
type fakeDirectoryServer struct {
	*fakeServer
	ad         bool
	people     map[int]map[string][]string // by number; entries of the agreement
	changes    func(question) reply        // answers searches by DirSync or content synchronization
	usn        int
	invocation string
	csn        string // contextCSN
}

func newFakeDirectory(t *testing.T, ad bool, n int) *fakeDirectoryServer {
	d := &fakeDirectoryServer{ad: ad, people: map[int]map[string][]string{}, usn: 1000, invocation: "invocation-id-16", csn: csn1}
	for i := 1; i <= n; i++ {
		d.people[i] = map[string][]string{}
	}
	d.fakeServer = newFakeServer(t, d.reply)
	return d
}

func numberedKey(n int) [16]byte { return [16]byte{15: byte(n), 14: 1} }

func (d *fakeDirectoryServer) entry(n int) fakeEntry {
	k := numberedKey(n)
	e := fakeEntry{dn: fmt.Sprintf("cn=u%d,ou=staff,dc=x", n), attributes: map[string][]string{"sn": {"Maes"}, "mail": {fmt.Sprintf("u%d@x", n)}}}
	if d.ad {
		e.attributes["objectGUID"], e.attributes["sAMAccountName"], e.attributes["userAccountControl"] = []string{string(k[:])}, []string{fmt.Sprintf("u%d", n)}, []string{"512"}
	} else {
		e.attributes["entryUUID"], e.attributes["uid"], e.attributes["entryCSN"] = []string{rawKey(k).text(KindOpenLDAP)}, []string{fmt.Sprintf("u%d", n)}, []string{csn1}
		e.attributes["objectClass"] = []string{"inetOrgPerson"}
	}
	for name, values := range d.people[n] {
		e.attributes[name] = values
	}
	return e
}

func (d *fakeDirectoryServer) reply(q question) reply {
	_, dirSync := q.controls[ldap.ControlTypeDirSync]
	_, sync := q.controls[oidSyncRequest]
	switch {
	case sync && q.scope == ldap.ScopeBaseObject:
		return reply{}
	case dirSync || sync:
		return d.changes(q)
	case q.base == "":
		root := map[string][]string{"namingContexts": {"dc=x"}, "supportedControl": {ldap.ControlTypePaging, oidSyncRequest}, "objectClass": {"OpenLDAProotDSE"}}
		if d.ad {
			root = map[string][]string{"namingContexts": {"dc=x"}, "supportedControl": {ldap.ControlTypePaging, ldap.ControlTypeDirSync}, "supportedCapabilities": {oidActiveDirectory},
				"dsServiceName": {"cn=NTDS Settings,cn=dc1"}, "highestCommittedUSN": {fmt.Sprint(d.usn)}}
		}
		return reply{entries: []fakeEntry{{dn: "", attributes: root}}}
	case q.base == "cn=NTDS Settings,cn=dc1":
		return reply{entries: []fakeEntry{{dn: q.base, attributes: map[string][]string{"invocationId": {d.invocation}}}}}
	case q.scope == ldap.ScopeBaseObject && (q.base == "dc=x" || q.base == "ou=staff,dc=x"):
		return reply{entries: []fakeEntry{{dn: q.base, attributes: map[string][]string{"contextCSN": {d.csn}}}}}
	case strings.Contains(q.filter, "uSNChanged"):
		return d.changes(q)
	}
	r := reply{}
	if q.controls[ldap.ControlTypePaging] != nil {
		r.controls = append(r.controls, ldap.NewControlPaging(0).Encode())
	}
	if !strings.Contains(q.filter, "(objectCategory=person)") && !strings.Contains(q.filter, "(objectClass=inetOrgPerson)") {
		return r // containers
	}
	for n := range d.people {
		e := d.entry(n)
		if q.scope == ldap.ScopeBaseObject && !strings.EqualFold(q.base, e.dn) {
			continue
		}
		if which := d.keyInFilter(n); strings.Contains(q.filter, d.keyName()+"=") && !strings.Contains(q.filter, which) {
			continue
		}
		r.entries = append(r.entries, e)
	}
	slices.SortFunc(r.entries, func(a, b fakeEntry) int { return strings.Compare(a.dn, b.dn) })
	return r
}

func (d *fakeDirectoryServer) keyName() string {
	if d.ad {
		return "objectGUID"
	}
	return "entryUUID"
}

// keyInFilter is how a filter that go-ldap has decompiled names a key.
func (d *fakeDirectoryServer) keyInFilter(n int) string {
	k := numberedKey(n)
	if !d.ad {
		return "(entryUUID=" + rawKey(k).text(KindOpenLDAP) + ")"
	}
	return "(objectGUID=" + ldap.EscapeFilter(string(k[:])) + ")"
}

// questions returns the searches that were asked since the last call.
func (d *fakeDirectoryServer) questions() []question {
	d.mu.Lock()
	defer d.mu.Unlock()
	q := d.asked
	d.asked = nil
	return q
}
