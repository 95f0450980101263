//go:build unix

package main

import (
	"os"
	"os/signal"
	"syscall"
)

// reloads passes SIGHUP on, by which the service is told to read its
// configuration anew.
func reloads() (<-chan struct{}, func()) {
	signals, out := make(chan os.Signal, 1), make(chan struct{})
	signal.Notify(signals, syscall.SIGHUP)
	end := make(chan struct{})
	go func() {
		for {
			select {
			case <-signals:
			case <-end:
				return
			}
			select {
			case out <- struct{}{}:
			case <-end:
				return
			}
		}
	}()
	return out, func() { signal.Stop(signals); close(end) }
}
