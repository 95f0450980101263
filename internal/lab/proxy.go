package lab

import (
	"io"
	"net"
	"sync"
	"sync/atomic"
	"testing"
)

// Proxy passes connections on to a server, until it is told to cut them.
type Proxy struct {
	listener net.Listener
	target   string
	left     atomic.Int64 // bytes that the server may still send; negative: as many as it likes
	stall    atomic.Bool
	mu       sync.Mutex
	conns    []net.Conn
	done     chan struct{}
	wg       sync.WaitGroup
}

// NewProxy listens on loopback and passes on to host:port. It is closed with
// the test.
func NewProxy(t testing.TB, target string) *Proxy {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	fatal(t, err)
	p := &Proxy{listener: l, target: target, done: make(chan struct{})}
	p.left.Store(-1)
	p.wg.Go(p.accept)
	t.Cleanup(p.close)
	return p
}

// Addr returns where the proxy listens.
func (p *Proxy) Addr() string { return p.listener.Addr().String() }

// CutAfter has the server's next n bytes, of all connections together, passed
// on, and then closes each connection that has more.
func (p *Proxy) CutAfter(n int64) { p.stall.Store(false); p.left.Store(n) }

// Left returns how many bytes the server may still send.
func (p *Proxy) Left() int64 { return p.left.Load() }

// StallAfter is CutAfter, but the connections stay open and silent.
func (p *Proxy) StallAfter(n int64) { p.stall.Store(true); p.left.Store(n) }

// Heal passes everything on again, for connections that are not cut.
func (p *Proxy) Heal() { p.left.Store(-1) }

func (p *Proxy) accept() {
	for {
		c, err := p.listener.Accept()
		if err != nil {
			return
		}
		s, err := net.Dial("tcp", p.target)
		if err != nil {
			c.Close()
			continue
		}
		p.mu.Lock()
		p.conns = append(p.conns, c, s)
		p.mu.Unlock()
		p.wg.Go(func() { io.Copy(s, c); s.Close() })
		p.wg.Go(func() { p.back(c, s); c.Close(); s.Close() })
	}
}

// back copies what the server sends.
func (p *Proxy) back(client, server net.Conn) {
	buf := make([]byte, 32<<10)
	for {
		n, err := server.Read(buf)
		if n > 0 {
			pass := p.allow(int64(n))
			client.Write(buf[:pass])
			if pass < int64(n) {
				if p.stall.Load() {
					<-p.done
				}
				return
			}
		}
		if err != nil {
			return
		}
	}
}

// allow takes up to n from what is left.
func (p *Proxy) allow(n int64) int64 {
	for {
		left := p.left.Load()
		if left < 0 {
			return n
		}
		take := min(n, left)
		if p.left.CompareAndSwap(left, left-take) {
			return take
		}
	}
}

func (p *Proxy) close() {
	p.listener.Close()
	close(p.done)
	p.mu.Lock()
	for _, c := range p.conns {
		c.Close()
	}
	p.mu.Unlock()
	p.wg.Wait()
}
