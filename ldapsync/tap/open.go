package tap

import (
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"time"
)

// Open makes a Conn of a socket, encrypted where the options say so. Where it
// fails the socket is closed.
func Open(ctx context.Context, socket net.Conn, o Options) (*Conn, error) {
	w := &wire{Conn: socket, idle: o.Idle, gather: !o.NoGather}
	stop := context.AfterFunc(ctx, func() { socket.Close() })
	w.owe(true)
	top, err := secure(ctx, w, o)
	if !stop() || ctx.Err() != nil {
		err = context.Cause(ctx)
	}
	if err != nil {
		socket.Close()
		return nil, err
	}
	w.owe(false)
	return newConn(top, w, o), nil
}

func secure(ctx context.Context, w *wire, o Options) (net.Conn, error) {
	if o.TLS == nil {
		return w, nil
	}
	if o.StartTLS {
		if err := startTLS(w); err != nil {
			return nil, fmt.Errorf("asking for StartTLS: %w", err)
		}
	}
	t := tls.Client(w, o.TLS)
	if err := t.HandshakeContext(ctx); err != nil {
		return nil, fmt.Errorf("TLS handshake: %w", err)
	}
	return t, nil
}

// StartTLSError is a server's refusal of StartTLS.
type StartTLSError struct {
	Code    int    // an LDAP result code
	Message string // the server's words
}

func (e *StartTLSError) Error() string {
	return fmt.Sprintf("the server refuses (result code %d) %s", e.Code, e.Message)
}

// startTLS asks for TLS and reads not a byte beyond the answer: what follows it
// in clear is not the server's.
func startTLS(w *wire) error {
	const oid = "1.3.6.1.4.1.1466.20037"
	request := append([]byte{tagSequence, 7 + byte(len(oid)), tagInteger, 1, 1, 0x77, 2 + byte(len(oid)), 0x80, byte(len(oid))}, oid...)
	if _, err := w.Write(request); err != nil {
		return err
	}
	var msg []byte
	var f frame
	for n := 1; len(msg) < n; {
		from := len(msg)
		msg = append(msg, make([]byte, n-from)...)
		if w.idle > 0 {
			w.Conn.SetReadDeadline(time.Now().Add(w.idle))
		}
		if _, err := io.ReadFull(w.Conn, msg[from:]); err != nil {
			return err
		}
		var err error
		if f, err = peek(msg); err != nil {
			return err
		}
		n = max(f.size, len(msg)+1)
		if f.size > 0 {
			n = f.size
		}
		if n > initialBuffer {
			return tooLarge("an answer of %d bytes", n)
		}
	}
	if f.op != opExtended {
		return malformed("an operation %#02x in place of an answer", f.op)
	}
	d, err := decodeResult(msg, f, DefaultMaxValues)
	if err != nil {
		return err
	}
	if d.Code != 0 {
		return &StartTLSError{d.Code, string(d.Message)}
	}
	return nil
}
