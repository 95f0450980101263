package ldapsync

import (
	"context"
	"crypto/tls"
	"fmt"
	"net"
	"sync/atomic"
	"time"

	"github.com/go-ldap/ldap/v3"

	"github.com/dirpin/dirpin/config"
)

// wire is a connection that knows whether a write was begun since it was
// marked: what was never handed to the network did not change anything.
type wire struct {
	net.Conn
	began atomic.Bool
}

func (w *wire) mark()       { w.began.Store(false) }
func (w *wire) wrote() bool { return w.began.Load() }

func (w *wire) Write(p []byte) (int, error) {
	w.began.Store(true)
	return w.Conn.Write(p)
}

// dialWire opens a connection on which little is sent and every request counts:
// the one of the feeds is made for reading much. Each answer is awaited for the
// agreement's timeout.
func dialWire(ctx context.Context, s server, a config.Agreement, conf *tls.Config) (*ldap.Conn, *wire, error) {
	d := net.Dialer{Timeout: connectTimeout, KeepAlive: 30 * time.Second}
	raw, err := d.DialContext(ctx, s.network, s.addr)
	if err != nil {
		return nil, nil, fmt.Errorf("connecting: %w", err)
	}
	w := &wire{Conn: raw}
	stop := context.AfterFunc(ctx, func() { raw.Close() })
	defer stop()
	conf = conf.Clone()
	conf.ServerName = s.host
	raw.SetDeadline(time.Now().Add(a.Timeout)) // of the handshake
	var conn net.Conn = w
	if s.tls {
		t := tls.Client(w, conf)
		if err := t.HandshakeContext(ctx); err != nil {
			raw.Close()
			return nil, nil, fmt.Errorf("TLS handshake: %w", explainTLS(err, a.CAFile))
		}
		conn = t
	}
	c := ldap.NewConn(conn, s.tls)
	c.SetTimeout(a.Timeout)
	c.Start()
	if a.StartTLS && !s.tls {
		if err := c.StartTLS(conf); err != nil {
			c.Close()
			return nil, nil, fmt.Errorf("StartTLS: %w", explainTLS(err, a.CAFile))
		}
	}
	raw.SetDeadline(time.Time{})
	return c, w, nil
}
