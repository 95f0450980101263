package tap

import (
	"bytes"
	"context"
	"fmt"
	"net"
	"testing"
	"time"

	"github.com/go-ldap/ldap/v3"
)

// said is a server that answers the first request with what it was given, and
// then ends.
type said struct {
	chunked
	asked chan struct{}
}

func (c *said) Read(p []byte) (int, error) {
	<-c.asked
	return c.chunked.Read(p)
}

func (c *said) Write(p []byte) (int, error) {
	select {
	case <-c.asked:
	default:
		close(c.asked)
	}
	return len(p), nil
}

func (c *said) Close() error {
	c.Write(nil)
	return nil
}

func server(in []byte, most int) net.Conn {
	return &said{chunked: chunked{data: in, most: most, end: net.ErrClosed}, asked: make(chan struct{})}
}

func searchAll() *ldap.SearchRequest {
	return ldap.NewSearchRequest("dc=x", ldap.ScopeWholeSubtree, 0, 0, 0, false, "(cn=*)", nil, nil)
}

// FuzzAgainstLibrary has go-ldap search twice, with the tap below and without:
// where both take the whole answer they see the same entries, and nothing makes
// the tap panic or take much memory.
func FuzzAgainstLibrary(f *testing.F) {
	for _, p := range []form{0, 1, 4} {
		e := p.entry(1, "uid=anna,dc=x", p.attribute("cn", "Anna", ""), p.attribute("empty"), p.attribute("member;range=0-1", "a", "b"))
		f.Add(append(e, p.done(1, 0)...), 3)
		f.Add(bytes.Join([][]byte{p.message(1, p.tlv(opEntry, p.str(""), p.tlv(tagSequence)), stateControl(p, 1, uuid)), p.done(1, 0)}, nil), 1000)
		f.Add(bytes.Join([][]byte{e, infoMessage(p, p.tlv(0x80, []byte("c"))), p.message(1, p.tlv(opReference, p.str("ldap://x"))), p.done(1, 4)}, nil), 1000)
		f.Add(bytes.Join([][]byte{p.message(2, p.tlv(opEntry)), e, p.done(2, 0), p.done(1, 0)}, nil), 1)
		f.Add(p.message(0, p.tlv(opExtended, p.tlv(tagEnumerated, []byte{52}), p.str(""), p.str("bye"))), 9)
	}
	f.Add([]byte{0x30, 0x80, 2, 1, 1, 0x64, 0x80, 0, 0, 0, 0}, 5)
	f.Add([]byte{0x30, 0x84, 0x03, 0xff, 0xff, 0xff, 2, 1, 1, 0x64}, 5)
	f.Add(append(short.message(1, short.tlv(0x24, short.str("a"), short.tlv(tagSequence))), short.done(1, 0)...), 50)
	f.Fuzz(func(t *testing.T, in []byte, most int) {
		if most < 1 {
			most = 1
		}
		var got []string
		c, err := Open(context.Background(), server(in, most), Options{MaxMessage: 1 << 16, MaxValues: 1 << 10})
		if err != nil {
			t.Fatal(err)
		}
		client := NewClient(c)
		_, err = client.Stream(context.Background(), searchAll(), Handler{
			Entry: func(e *Entry) error {
				got = append(got, entryText(e))
				e.SyncState()
				for _, a := range e.Attributes {
					a.Range()
				}
				return nil
			},
			Done: func(d *Done) error { d.SyncDone(); return nil },
		})
		client.Close()
		if len(c.buf) > 1<<18 {
			t.Errorf("a buffer of %d bytes for %d", len(c.buf), len(in))
		}
		if err != nil {
			return
		}
		want, err := byLibrary(in, most)
		if err != nil {
			return // what only the tap takes: the library stumbles over controls that it does not know
		}
		if fmt.Sprint(got) != fmt.Sprint(want) {
			t.Errorf("the tap sees\n%q\nthe library\n%q", got, want)
		}
	})
}

func byLibrary(in []byte, most int) (entries []string, err error) {
	l := ldap.NewConn(server(in, most), false)
	l.Start()
	defer l.Close()
	r := l.SearchAsync(context.Background(), searchAll(), 1)
	for r.Next() {
		if e := r.Entry(); e != nil {
			s := fmt.Sprintf("%q", e.DN)
			for _, a := range e.Attributes {
				s += fmt.Sprintf(" %q%q", a.Name, a.ByteValues)
			}
			entries = append(entries, s)
		}
	}
	if r.Err() != nil {
		return entries, r.Err()
	}
	return entries, l.GetLastError()
}

func entryText(e *Entry) string {
	s := fmt.Sprintf("%q", e.DN)
	for _, a := range e.Attributes {
		s += fmt.Sprintf(" %q%q", a.Name, a.Values)
	}
	return s
}

// FuzzHandlers has a server say anything to a handler that looks at everything.
func FuzzHandlers(f *testing.F) {
	p := short
	f.Add(bytes.Join([][]byte{p.message(1, p.tlv(opEntry, p.str("dc=x"), p.tlv(tagSequence)), stateControl(p, 1, uuid, p.str("c"))), infoMessage(p, p.tlv(0xa3, p.tlv(tagSet, p.str(uuid)))),
		p.done(1, 0, p.control(OIDSyncDone, p.tlv(tagSequence, p.str("c"))))}, nil))
	f.Add(infoMessage(p, p.tlv(0xa1, p.str("c"), p.tlv(tagBoolean, []byte{1}))))
	f.Fuzz(func(t *testing.T, in []byte) {
		c, err := Open(context.Background(), &chunked{data: in, most: 1000, end: net.ErrClosed}, Options{Idle: time.Hour, MaxMessage: 1 << 16})
		if err != nil {
			t.Fatal(err)
		}
		c.Handle(Handler{
			Entry:        func(e *Entry) error { _, _, err := e.SyncState(); return err },
			Intermediate: func(m *Intermediate) error { _, _, err := m.SyncInfo(); return err },
			Done:         func(d *Done) error { _, _, err := d.SyncDone(); return err },
		})
		if _, err := c.Write(p.search(1)); err != nil {
			t.Fatal(err)
		}
		buf := make([]byte, 4096)
		for err == nil {
			_, err = c.Read(buf)
		}
		if c.Err() == nil {
			t.Error("reading ended without an error")
		}
		if pe := new(PanicError); fmt.Sprintf("%T", c.Err()) == fmt.Sprintf("%T", pe) {
			t.Error(c.Err())
		}
	})
}
