//go:build !linux

package fakeunity

import "time"

func nap(d time.Duration) { time.Sleep(d) }
