package store

import (
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// unacknowledgedFor is how long what was sent may stay without an
// acknowledgement.
const unacknowledgedFor = 25 * time.Second

func boundUnacknowledged(network, _ string, c syscall.RawConn) error {
	if network == "unix" {
		return nil
	}
	var err error
	control := c.Control(func(fd uintptr) {
		err = unix.SetsockoptInt(int(fd), unix.IPPROTO_TCP, unix.TCP_USER_TIMEOUT, int(unacknowledgedFor.Milliseconds()))
	})
	if control != nil {
		return control
	}
	return err
}
