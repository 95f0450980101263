package fakeunity

import (
	"context"
	"time"
)

// coarse is how late a timer of the runtime may be: it waits for whole
// milliseconds. Eight requests at once that each take a little longer than they
// are to would be some hundredths of what a client is measured by.
const coarse = 2 * time.Millisecond

// waitUntil tells whether the client was still there at that time.
func waitUntil(ctx context.Context, end time.Time) bool {
	if left := time.Until(end) - coarse; left > 0 {
		select {
		case <-time.After(left):
		case <-ctx.Done():
			return false
		}
	}
	if left := time.Until(end); left > 0 {
		nap(left)
	}
	return ctx.Err() == nil
}
