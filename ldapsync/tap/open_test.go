package tap

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"strings"
	"testing"
)

func insecure() *tls.Config { return &tls.Config{InsecureSkipVerify: true} }

func TestStartTLSRefusals(t *testing.T) {
	p := short
	answer := func(code byte) []byte {
		return p.message(1, p.tlv(opExtended, p.tlv(tagEnumerated, []byte{code}), p.str(""), p.str("words")))
	}
	for _, tt := range []struct {
		name, in, want string
		class          error
	}{
		{"refused", string(answer(2)), "result code 2) words", nil},
		{"another operation", string(p.done(1, 0)), "operation 0x65", ErrProtocol},
		{"no LDAP", "HTTP/1.1 400 Bad Request", "0x48", ErrProtocol},
		{"huge", "\x30\x83\x10\x00\x00\x02\x01\x01\x78", "answer of", ErrTooLarge},
		{"cut", string(answer(0)[:9]), "StartTLS", io.ErrUnexpectedEOF},
		{"nothing", "", "StartTLS", io.EOF},
		// What an attacker puts behind the answer, in clear, is not the server's.
		{"an entry behind the answer", string(answer(0)) + string(p.entry(1, "dc=evil")), "TLS handshake", nil},
	} {
		client, server := socketPair(t)
		go func() {
			io.ReadFull(server, make([]byte, 31))
			server.Write([]byte(tt.in))
			server.(*net.TCPConn).CloseWrite()
		}()
		c, err := Open(t.Context(), client, Options{TLS: insecure(), StartTLS: true})
		if err == nil || c != nil || !strings.Contains(err.Error(), tt.want) || tt.class != nil && !errors.Is(err, tt.class) {
			t.Errorf("%s: %v", tt.name, err)
		}
		server.Close()
	}
}

// socketPair returns the two ends of a connection over loopback.
func socketPair(t testing.TB) (client, server net.Conn) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	if client, err = net.Dial("tcp", l.Addr().String()); err != nil {
		t.Fatal(err)
	}
	if server, err = l.Accept(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { client.Close(); server.Close() })
	return client, server
}

func TestOpenEndsWithItsContext(t *testing.T) {
	client, server := net.Pipe()
	defer server.Close()
	ctx, cancel := context.WithCancel(t.Context())
	go func() {
		io.ReadFull(server, make([]byte, 31))
		cancel()
	}()
	if _, err := Open(ctx, client, Options{TLS: insecure(), StartTLS: true}); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
}
