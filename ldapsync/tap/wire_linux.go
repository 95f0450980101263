package tap

import (
	"io"
	"net"
	"syscall"
	"time"
)

// gatherMark is the socket's low-water mark while data gathers: below it the
// kernel does not wake Go's network poller, which otherwise stirs at every
// packet, even while the reading goroutine sleeps.
const gatherMark = 64 << 10

// read reads from the socket. While entries stream in it lets data gather for
// a moment; the mark is lowered again before it waits for data.
func (c *wire) read(p []byte) (n int, err error) {
	tc, ok := c.Conn.(*net.TCPConn)
	if !ok || !c.gather || !c.hot && !c.marked {
		return c.Conn.Read(p)
	}
	raw, err := tc.SyscallConn()
	if err != nil {
		return 0, err
	}
	if c.hot && c.last < shortRead {
		if !c.marked {
			if err := raw.Control(func(fd uintptr) { c.mark(fd, gatherMark) }); err != nil {
				return 0, err
			}
		}
		time.Sleep(rest)
	}
	var failed error
	err = raw.Read(func(fd uintptr) bool {
		n, failed = retry(int(fd), p)
		if failed == syscall.EAGAIN && c.marked {
			c.mark(fd, 1)
			n, failed = retry(int(fd), p)
		}
		return failed != syscall.EAGAIN
	})
	switch {
	case err != nil: // closed, or the deadline
		return 0, err
	case failed != nil:
		return 0, &net.OpError{Op: "read", Net: "tcp", Addr: c.RemoteAddr(), Err: failed}
	case n == 0 && len(p) > 0:
		return 0, io.EOF
	}
	return n, nil
}

func retry(fd int, p []byte) (n int, err error) {
	for {
		if n, err = syscall.Read(fd, p); err != syscall.EINTR {
			return max(n, 0), err
		}
	}
}

func (c *wire) mark(fd uintptr, n int) {
	if syscall.SetsockoptInt(int(fd), syscall.SOL_SOCKET, syscall.SO_RCVLOWAT, n) == nil {
		c.marked = n > 1
	}
}
