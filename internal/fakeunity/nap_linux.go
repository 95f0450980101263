package fakeunity

import (
	"syscall"
	"time"
)

// nap is time.Sleep to some hundredth of a millisecond, for a thread of its own.
func nap(d time.Duration) {
	t := syscall.NsecToTimespec(int64(d))
	for syscall.Nanosleep(&t, &t) == syscall.EINTR {
	}
}
