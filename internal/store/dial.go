package store

import (
	"net"
	"time"
)

// dialer makes connections of which it is noticed within half a minute that
// the other side is gone, not after the quarter of an hour that TCP takes.
func dialer(within time.Duration) *net.Dialer {
	return &net.Dialer{Timeout: within, KeepAliveConfig: net.KeepAliveConfig{Enable: true, Idle: 5 * time.Second, Interval: 5 * time.Second, Count: 4}, Control: boundUnacknowledged}
}
