package tap

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// chunked is a socket that gives what it has in random pieces, and then ends.
type chunked struct {
	net.Conn
	data []byte
	most int
	end  error
}

func (c *chunked) Read(p []byte) (int, error) {
	if len(c.data) == 0 {
		return 0, c.end
	}
	n := copy(p, c.data[:min(len(c.data), 1+rand.IntN(c.most))])
	c.data = c.data[n:]
	return n, nil
}

func (c *chunked) Write(p []byte) (int, error)      { return len(p), nil }
func (c *chunked) Close() error                     { return nil }
func (c *chunked) SetReadDeadline(time.Time) error  { return nil }
func (c *chunked) SetWriteDeadline(time.Time) error { return nil }

// over is a Conn whose server says in.
func over(t testing.TB, in []byte, most int, o Options) *Conn {
	t.Helper()
	c, err := Open(context.Background(), &chunked{data: in, most: most, end: io.EOF}, o)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func write(t testing.TB, c io.Writer, messages ...[]byte) {
	t.Helper()
	if _, err := c.Write(bytes.Join(messages, nil)); err != nil {
		t.Fatal(err)
	}
}

// TestEntriesAreSwallowedAndTheRestPasses: whatever pieces it comes in, however
// lengths are written, and whoever else's messages lie between.
func TestEntriesAreSwallowedAndTheRestPasses(t *testing.T) {
	for _, p := range []form{0, 4, 8} {
		for _, most := range []int{1, 7, 100, 5000, 1 << 20} {
			var in, pass []byte
			var want []string
			for i := range 300 {
				id := 1 + i%4 // 1 and 2 have a handler, 3 has none, 4 was never sent
				size := []int{0, 5, 127, 128, 300, 70_000}[rand.IntN(6)]
				if most < 100 {
					size = min(size, 300)
				}
				m := p.entry(id, fmt.Sprint("uid=", i), p.attribute("cn", "a", "b"), p.attribute("empty"), p.attribute("photo", strings.Repeat("\xff", size)))
				in = append(in, m...)
				if id > 2 {
					pass = append(pass, m...)
				} else {
					want = append(want, fmt.Sprint(id, " uid=", i, " ", size))
				}
			}
			ref := p.message(1, p.tlv(opReference, p.str("ldap://elsewhere")))
			in, pass = append(in, ref...), append(pass, ref...)
			for id := 1; id <= 3; id++ {
				in, pass = append(in, p.done(id, 0)...), append(pass, p.done(id, 0)...)
			}
			late := p.entry(1, "late")
			in, pass = append(in, late...), append(pass, late...)

			c := over(t, in, most, Options{})
			var got []string
			b := c.Handle(Handler{Entry: func(e *Entry) error {
				if len(e.Attributes) != 3 || len(e.Attributes[0].Values) != 2 || len(e.Attributes[1].Values) != 0 {
					return fmt.Errorf("attributes: %+v", e.Attributes)
				}
				got = append(got, fmt.Sprint(e.MessageID, " ", string(e.DN), " ", len(e.Value("photo"))))
				return nil
			}})
			write(t, c, short.search(1), short.search(2))
			b.Release()
			write(t, c, short.search(3))
			out, err := io.ReadAll(c)
			if err != nil {
				t.Fatal(p, most, err)
			}
			if !bytes.Equal(out, pass) {
				t.Fatalf("%d %d: %d bytes passed, %d should", p, most, len(out), len(pass))
			}
			if fmt.Sprint(got) != fmt.Sprint(want) {
				t.Fatalf("%d %d: entries differ", p, most)
			}
			if b.Entries() != int64(len(want)) || b.Done() != 2 {
				t.Errorf("%d entries, %d results", b.Entries(), b.Done())
			}
		}
	}
}

func TestOrderOfEntriesAndSyncInfo(t *testing.T) {
	p := short
	in := bytes.Join([][]byte{p.entry(1, "a"), infoMessage(p, p.tlv(0x80, []byte("c1"))), p.entry(1, "b"), p.done(1, 0)}, nil)
	c := over(t, in, 9, Options{})
	var got []string
	c.Handle(Handler{
		Entry: func(e *Entry) error { got = append(got, string(e.DN)); return nil },
		Intermediate: func(m *Intermediate) error {
			s, _, err := m.SyncInfo()
			got = append(got, string(s.Cookie))
			return err
		},
		Done: func(d *Done) error { got = append(got, "done"); return nil },
	})
	write(t, c, p.search(1))
	out, err := io.ReadAll(c)
	if err != nil || !bytes.Equal(out, p.done(1, 0)) || fmt.Sprint(got) != "[a c1 b done]" {
		t.Errorf("%v, %d bytes passed, %v", got, len(out), err)
	}
	// Whom nobody asks about, passes.
	c = over(t, in, 9, Options{})
	c.Handle(Handler{Entry: func(*Entry) error { return nil }})
	write(t, c, p.search(1))
	if out, _ := io.ReadAll(c); !bytes.Contains(out, []byte("c1")) {
		t.Error("an intermediate response was swallowed")
	}
}

func TestHandlersErrorEndsTheConnection(t *testing.T) {
	boom := errors.New("boom")
	for name, h := range map[string]Handler{
		"error of an entry": {Entry: func(*Entry) error { return boom }},
		"panic of an entry": {Entry: func(*Entry) error { panic(boom) }},
		"intermediate":      {Entry: func(*Entry) error { return nil }, Intermediate: func(*Intermediate) error { panic(boom) }},
		"done":              {Entry: func(*Entry) error { return nil }, Done: func(*Done) error { return boom }},
	} {
		in := bytes.Join([][]byte{short.entry(1, "a"), infoMessage(short, nil), short.done(1, 0)}, nil)
		c := over(t, in, 100, Options{})
		c.Handle(h)
		write(t, c, short.search(1))
		for range 2 {
			_, err := io.ReadAll(c)
			if !errors.Is(err, boom) || !errors.Is(c.Err(), boom) {
				t.Errorf("%s: %v, kept %v", name, err, c.Err())
			}
			if p := new(*PanicError); strings.Contains(name, "panic") && (!errors.As(err, p) || !bytes.Contains((*p).Stack, []byte("conn_test.go"))) {
				t.Errorf("%s: %v", name, err)
			}
		}
	}
}

func TestLiesOfAServer(t *testing.T) {
	p := short
	big := func(op byte, size int) []byte { return p.message(1, p.tlv(op, make([]byte, size))) }
	for _, tt := range []struct {
		name  string
		in    []byte
		o     Options
		class error
		want  string
	}{
		{"no LDAP", []byte("SSH-2.0-OpenSSH_9.2"), Options{}, ErrProtocol, "0x53"},
		{"indefinite message", []byte{0x30, 0x80, 2, 1, 1}, Options{}, ErrProtocol, "indefinite"},
		{"indefinite operation of a message that passes", p.message(1, []byte{opDone, 0x80, 0, 0}), Options{}, ErrProtocol, "indefinite"},
		{"a message above the bound", p.entry(1, strings.Repeat("x", 2000)), Options{MaxMessage: 1000}, ErrTooLarge, "at most 1000"},
		{"64 MiB and a byte", []byte{0x30, 0x84, 4, 0, 0, 1, 2, 1, 1, opEntry}, Options{}, ErrTooLarge, "67108871"},
		{"64 MiB that never come", []byte{0x30, 0x84, 3, 0xff, 0xff, 0, 2, 1, 1, opEntry}, Options{}, ErrCut, "in the middle of a message"},
		{"an entry that is cut", p.entry(1, "abc")[:8], Options{}, ErrCut, "in the middle of a message"},
		{"an end in place of a result", p.entry(1, "abc"), Options{}, ErrCut, "before the answer did"},
		{"an entry whose parts are longer than it", p.message(1, []byte{opEntry, 3, 4, 9, 'x'}), Options{}, ErrProtocol, "length of 9 where 1"},
		{"an operation longer than its message", p.message(1, []byte{opDone, 9, 0}), Options{}, ErrProtocol, "element of 9 bytes"},
		{"a result without code", p.message(1, p.tlv(opDone)), Options{}, ErrProtocol, "is missing"},
		{"more values than are taken", p.entry(1, "x", p.attribute("cn", "a", "b", "c")), Options{MaxValues: 2}, ErrTooLarge, "more than 2"},
		{"a giant that passes and is no entry", big(0x61, maxPassedOther), Options{}, ErrTooLarge, "operation 0x61"},
		{"a giant entry that passes", p.message(9, p.tlv(opEntry, make([]byte, maxPassed))), Options{}, ErrTooLarge, "operation 0x64"},
		{"giant controls of an entry that passes", p.message(9, p.tlv(opEntry, p.str(""), p.tlv(tagSequence)), p.control("1", make([]byte, maxPassedOther))), Options{}, ErrTooLarge, "controls of"},
		{"a tree that passes", p.message(1, p.tlv(0x61, bytes.Repeat([]byte{4, 0}, maxPassedElements))), Options{}, ErrTooLarge, "elements"},
		{"a deep one that passes", p.message(1, bytes.Repeat([]byte{0x70, 0x81, 0x40}, 40)), Options{}, ErrProtocol, "element of 64"},
	} {
		for _, most := range []int{1, 1 << 20} {
			if most == 1 && len(tt.in) > 1<<16 {
				continue
			}
			c := over(t, tt.in, most, tt.o)
			n := 0
			c.Handle(Handler{Entry: func(*Entry) error { n++; return nil }})
			write(t, c, p.search(1))
			_, err := io.ReadAll(c)
			if !errors.Is(err, tt.class) || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("%s: %v", tt.name, err)
			}
			if tt.class != ErrCut && len(c.buf) > 4<<20 && len(tt.in) < 1<<20 {
				t.Errorf("%s: a buffer of %d bytes", tt.name, len(c.buf))
			}
		}
	}
}

func TestABufferGrowsWithWhatComes(t *testing.T) {
	c := over(t, append([]byte{0x30, 0x84, 3, 0xff, 0xff, 0, 2, 1, 1, opEntry}, make([]byte, 100_000)...), 1<<16, Options{})
	c.Handle(Handler{Entry: func(*Entry) error { return nil }})
	write(t, c, short.search(1))
	if _, err := io.ReadAll(c); !errors.Is(err, ErrCut) || len(c.buf) > 256<<10 {
		t.Errorf("a promise of 64 MiB and 100 kB: a buffer of %d bytes, %v", len(c.buf), err)
	}
}

// TestGiants: photographs come whole, and the buffer shrinks while data follows.
func TestGiants(t *testing.T) {
	p := short
	var in []byte
	for _, size := range []int{10, 400 << 10, 3 << 20, 20 << 20, 10} {
		in = append(in, p.entry(1, fmt.Sprint(size), p.attribute("photo", strings.Repeat("\x89", size)))...)
	}
	for range 2000 {
		in = append(in, p.entry(1, "100", p.attribute("photo", strings.Repeat("\x89", 100)))...)
	}
	in = append(in, p.done(1, 0)...)
	c := over(t, in, 1<<17, Options{})
	n := 0
	c.Handle(Handler{Entry: func(e *Entry) error {
		n++
		if fmt.Sprint(len(e.Value("photo"))) != string(e.DN) {
			t.Errorf("%s has %d bytes", e.DN, len(e.Value("photo")))
		}
		return nil
	}})
	write(t, c, p.search(1))
	if _, err := io.ReadAll(c); err != nil || n != 2005 {
		t.Fatal(n, err)
	}
	if len(c.buf) != initialBuffer {
		t.Errorf("the buffer still has %d bytes", len(c.buf))
	}
}

func TestNoticeOfDisconnection(t *testing.T) {
	p := short
	in := p.message(0, p.tlv(opExtended, p.tlv(tagEnumerated, []byte{52}), p.str(""), p.str("shutting down"), p.tlv(0x8a, []byte("1.3.6.1.4.1.1466.20036"))))
	c := over(t, in, 100, Options{})
	_, err := io.ReadAll(c)
	if d := new(DisconnectError); !errors.As(err, &d) || d.Code != 52 || d.Message != "shutting down" {
		t.Errorf("got %v", err)
	}
}

func TestAWriteHoldsWholeMessages(t *testing.T) {
	c := over(t, nil, 1, Options{})
	m := short.search(1)
	for n := 1; n < len(m); n++ {
		if _, err := c.Write(m[:n]); !errors.Is(err, errPartialWrite) {
			t.Errorf("%d bytes of %d: %v", n, len(m), err)
		}
	}
}

func TestStop(t *testing.T) {
	p := short
	client, server := net.Pipe()
	defer server.Close()
	c, err := Open(t.Context(), client, Options{})
	if err != nil {
		t.Fatal(err)
	}
	first := make(chan bool, 1)
	n := 0
	b := c.Handle(Handler{Entry: func(*Entry) error {
		n++
		select {
		case first <- true:
		default:
		}
		return nil
	}})
	stopped := make(chan bool)
	go func() {
		io.ReadFull(server, make([]byte, len(p.search(1))))
		server.Write(p.entry(1, "a"))
		<-stopped
		server.Write(bytes.Join([][]byte{p.entry(1, "b"), p.entry(1, "c"), p.done(1, 0)}, nil))
		server.Close()
	}()
	write(t, c, p.search(1))
	go func() { <-first; b.Stop(); close(stopped) }()
	out, _ := io.ReadAll(c)
	if n != 1 || !bytes.Equal(out, p.done(1, 0)) {
		t.Errorf("%d entries after the stop, %d bytes passed", n-1, len(out))
	}
}

// TestIdle runs in made-up time: only waiting while something is owed counts.
func TestIdle(t *testing.T) {
	p := short
	start := func(t *testing.T) (*Conn, net.Conn) {
		client, server := net.Pipe()
		c, err := Open(t.Context(), client, Options{Idle: 30 * time.Second})
		if err != nil {
			t.Fatal(err)
		}
		return c, server
	}
	receive := func(server net.Conn) { io.ReadFull(server, make([]byte, len(p.search(1)))) }
	t.Run("silence while nothing is owed", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			c, server := start(t)
			go func() {
				time.Sleep(24 * time.Hour)
				server.Close()
			}()
			if _, err := io.ReadAll(c); err != nil {
				t.Error(err)
			}
		})
	})
	t.Run("silence while an answer is owed", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			c, server := start(t)
			defer server.Close()
			began := time.Now()
			go func() {
				time.Sleep(time.Hour)
				go receive(server)
				write(t, c, p.search(1))
			}()
			_, err := io.ReadAll(c)
			if took := time.Since(began); !errors.Is(err, ErrIdle) || !strings.Contains(err.Error(), "30s") || took != time.Hour+30*time.Second {
				t.Errorf("%v after %v", err, took)
			}
		})
	})
	t.Run("a byte now and then, a slow handler, and silence after the answer", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			c, server := start(t)
			c.Handle(Handler{Entry: func(*Entry) error { time.Sleep(10 * time.Minute); return nil }})
			go func() {
				receive(server)
				for _, b := range bytes.Join([][]byte{p.entry(1, "a"), p.entry(1, "b"), p.done(1, 0)}, nil) {
					time.Sleep(29 * time.Second)
					server.Write([]byte{b})
				}
				time.Sleep(time.Hour)
				server.Close()
			}()
			write(t, c, p.search(1))
			if _, err := io.ReadAll(c); err != nil {
				t.Error(err)
			}
		})
	})
	t.Run("silence in the middle of the result", func(t *testing.T) {
		for n := 1; n < len(p.done(1, 0)); n++ {
			synctest.Test(t, func(t *testing.T) {
				c, server := start(t)
				defer server.Close()
				go func() {
					receive(server)
					server.Write(p.done(1, 0)[:n])
				}()
				write(t, c, p.search(1))
				if _, err := io.ReadAll(c); !errors.Is(err, ErrIdle) {
					t.Errorf("after %d bytes: %v", n, err)
				}
			})
		}
	})
	t.Run("a search that persists, and a probe beside it", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			c, server := start(t)
			defer server.Close()
			b := c.Handle(Handler{Entry: func(*Entry) error { return nil }})
			began := time.Now()
			go func() {
				receive(server)
				server.Write(p.entry(1, "a"))
				time.Sleep(time.Hour) // quiet
				go receive(server)
				write(t, c, p.search(2)) // never answered
			}()
			write(t, c, p.search(1))
			b.Release()
			b.Quiet(true)
			_, err := io.ReadAll(c)
			if took := time.Since(began); !errors.Is(err, ErrIdle) || took != time.Hour+30*time.Second {
				t.Errorf("%v after %v", err, took)
			}
		})
	})
	t.Run("a server that takes no bytes", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			c, server := start(t)
			defer server.Close()
			began := time.Now()
			if _, err := c.Write(p.search(1)); err == nil || time.Since(began) != 30*time.Second {
				t.Errorf("%v after %v", err, time.Since(began))
			}
		})
	})
	t.Run("silence in the handshake", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			client, server := net.Pipe()
			defer server.Close()
			go receive(server)
			began := time.Now()
			_, err := Open(t.Context(), client, Options{Idle: 30 * time.Second, TLS: insecure(), StartTLS: true})
			if err == nil || time.Since(began) != 30*time.Second {
				t.Errorf("%v after %v", err, time.Since(began))
			}
		})
	})
}
