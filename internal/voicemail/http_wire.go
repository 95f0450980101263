package voicemail

import (
	"crypto/tls"
	"net"
	"net/http/httptrace"
	"sync"
	"sync/atomic"
)

// countedConn counts what was handed to the network.
type countedConn struct {
	net.Conn
	written atomic.Int64
}

// Write counts first: a byte that may have left counts as one that has.
func (c *countedConn) Write(p []byte) (int, error) {
	c.written.Add(int64(len(p)))
	return c.Conn.Write(p)
}

// wire watches one request and tells whether a byte of it may have left. The
// text of an error cannot tell: the same "connection reset" comes before and
// after.
type wire struct {
	mu   sync.Mutex
	conn *countedConn
	from int64 // what conn had written before the request had it
	gone bool
}

func (w *wire) trace() *httptrace.ClientTrace {
	return &httptrace.ClientTrace{GotConn: func(info httptrace.GotConnInfo) { w.got(info.Conn) }}
}

func (w *wire) got(conn net.Conn) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.gone = w.departed()
	if secured, ok := conn.(*tls.Conn); ok {
		if secured.ConnectionState().NegotiatedProtocol == "h2" {
			// Streams share the connection, and a cancelled one may still write.
			w.gone = true
		}
		conn = secured.NetConn()
	}
	counted, ok := conn.(*countedConn)
	if !ok {
		w.gone = true
		return
	}
	w.conn, w.from = counted, counted.written.Load()
}

// left is asked once RoundTrip has returned; over HTTP/1 net/http has closed a
// failed connection by then, so that nothing leaves any more.
func (w *wire) left() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.departed()
}

func (w *wire) departed() bool {
	return w.gone || w.conn != nil && w.conn.written.Load() != w.from
}
