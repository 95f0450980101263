//go:build !windows

package resetjob

import "syscall"

// openNonblock makes the opening of a FIFO return at once.
const openNonblock = syscall.O_NONBLOCK
