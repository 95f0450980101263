package ldapsync

import (
	"fmt"
	"net"
	"sync"
	"time"
)

// maxMessage bounds what a server may send as one message; go-ldap itself
// would take two gigabytes.
const maxMessage = 64 << 20

// idleConn gives up when the server sends not a byte for too long while it
// owes an answer. The time that a slow reader takes does not count.
type idleConn struct {
	net.Conn
	idle time.Duration

	mu   sync.Mutex
	owed bool
}

// owe says whether an answer is owed from now on.
func (c *idleConn) owe(owed bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.owed = owed
	if owed && c.idle > 0 {
		c.Conn.SetReadDeadline(time.Now().Add(c.idle))
	} else {
		c.Conn.SetReadDeadline(time.Time{})
	}
}

func (c *idleConn) Read(p []byte) (int, error) {
	c.mu.Lock()
	if c.owed && c.idle > 0 {
		c.Conn.SetReadDeadline(time.Now().Add(c.idle))
	}
	c.mu.Unlock()
	return c.Conn.Read(p)
}

// Write is bounded too: a server that takes no bytes is as dead as one that
// sends none.
func (c *idleConn) Write(p []byte) (int, error) {
	if c.idle > 0 {
		c.Conn.SetWriteDeadline(time.Now().Add(c.idle))
	}
	return c.Conn.Write(p)
}

// frameConn refuses messages that are too large before anything allocates
// memory for them. It lies directly below the LDAP library.
type frameConn struct {
	net.Conn
	left   int // bytes of the current message still to come
	header []byte
	err    error
}

func (c *frameConn) Read(p []byte) (int, error) {
	if c.err != nil {
		return 0, c.err
	}
	n, err := c.Conn.Read(p)
	if checkErr := c.check(p[:n]); checkErr != nil {
		c.err = checkErr
		return 0, checkErr
	}
	return n, err
}

// check follows the messages in what was read.
func (c *frameConn) check(p []byte) error {
	for len(p) > 0 {
		if c.left > 0 {
			skip := min(c.left, len(p))
			c.left -= skip
			p = p[skip:]
			continue
		}
		c.header = append(c.header, p[0])
		p = p[1:]
		length, whole, err := messageLength(c.header)
		if err != nil {
			return err
		}
		if whole {
			c.left = length
			c.header = c.header[:0]
		}
	}
	return nil
}

// messageLength reads the tag and length that a message begins with.
func messageLength(header []byte) (length int, whole bool, err error) {
	if header[0] != 0x30 {
		return 0, false, fmt.Errorf("the server does not speak LDAP (first byte %#02x)", header[0])
	}
	if len(header) == 1 {
		return 0, false, nil
	}
	if header[1] < 0x80 {
		return int(header[1]), true, nil
	}
	n := int(header[1] & 0x7f)
	if n == 0 || n > 8 {
		return 0, false, fmt.Errorf("the server sent a message without a valid length")
	}
	if len(header) < 2+n {
		return 0, false, nil
	}
	for _, b := range header[2 : 2+n] {
		length = length<<8 | int(b)
		if length > maxMessage {
			return 0, false, fmt.Errorf("the server sent a message of more than %d MiB", maxMessage>>20)
		}
	}
	return length, true, nil
}
