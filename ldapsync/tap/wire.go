package tap

import (
	"net"
	"sync"
	"time"
)

const (
	// rest is how long data may gather after a short read while entries stream
	// in, and shortRead what is one. Measured against OpenLDAP: without it a
	// reader that keeps up is woken for every other entry.
	rest      = 300 * time.Microsecond
	shortRead = 16 << 10
)

// wire is the socket: it keeps the deadlines, and reads in large pieces.
type wire struct {
	net.Conn
	idle   time.Duration
	gather bool

	// Of the reader.
	buf    []byte // of small reads, which TLS makes
	r, w   int
	hot    bool // entries stream in
	last   int  // bytes of the last read
	marked bool // the low-water mark is raised

	mu   sync.Mutex
	owed bool
}

// owe says whether the server owes an answer from now on. Time that a slow
// reader takes does not count, only waiting.
func (c *wire) owe(owed bool) {
	if c.idle <= 0 {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.owed != owed {
		c.owed = owed
		c.deadline()
	}
}

// deadline begins the wait anew. c.mu is held.
func (c *wire) deadline() {
	t := time.Time{}
	if c.owed {
		t = time.Now().Add(c.idle)
	}
	c.Conn.SetReadDeadline(t)
}

func (c *wire) Read(p []byte) (int, error) {
	if c.r < c.w {
		n := copy(p, c.buf[c.r:c.w])
		c.r += n
		return n, nil
	}
	if len(p) >= shortRead {
		return c.receive(p)
	}
	if c.buf == nil {
		c.buf = make([]byte, initialBuffer)
	}
	n, err := c.receive(c.buf)
	c.r, c.w = 0, n
	if n == 0 {
		return 0, err
	}
	c.r = copy(p, c.buf[:n])
	return c.r, nil // an error comes again with the next read
}

func (c *wire) receive(p []byte) (int, error) {
	if c.idle > 0 {
		c.mu.Lock()
		if c.owed {
			c.deadline()
		}
		c.mu.Unlock()
	}
	n, err := c.read(p)
	c.last = n
	return n, err
}

// Write is bounded too: a server that takes no bytes is as dead as one that
// sends none.
func (c *wire) Write(p []byte) (int, error) {
	if c.idle > 0 {
		c.Conn.SetWriteDeadline(time.Now().Add(c.idle))
	}
	return c.Conn.Write(p)
}
