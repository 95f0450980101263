//go:build unix

package main

import (
	"context"
	"os"
	"os/signal"
	"syscall"

	"github.com/spf13/cobra"
)

// serveFlags adds none.
func serveFlags(*cobra.Command) {}

// supervise has serve run in the foreground, as systemd wants it too. SIGHUP asks
// for a reload.
func supervise(cmd *cobra.Command, serve func(context.Context, supervisor) error) error {
	hup, stop := reloads()
	defer stop()
	return serve(cmd.Context(), supervisor{reload: hup})
}

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
