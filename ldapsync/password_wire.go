package ldapsync

import (
	"context"
	"crypto/tls"
	"net"
	"sync/atomic"

	"github.com/dirpin/dirpin/config"
	"github.com/dirpin/dirpin/ldapsync/tap"
)

// wire is a socket that knows whether a write was begun since it was marked:
// what was never handed to the network did not change anything.
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

// dialWire is dial over a wire.
func dialWire(ctx context.Context, s server, a config.Agreement, tlsConf *tls.Config) (*tap.Client, *wire, error) {
	socket, err := dialSocket(ctx, s)
	if err != nil {
		return nil, nil, err
	}
	w := &wire{Conn: socket}
	c, err := over(ctx, w, s, a, tlsConf)
	return c, w, err
}
