package daemon

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/dirpin/dirpin/internal/store"
)

// feedWatchdog tells the service manager that we live, for as long as every loop
// turns.
func (d *daemon) feedWatchdog() (stop func()) {
	every := watchdog()
	if every == 0 {
		return func() {}
	}
	end, done := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(done)
		t := time.NewTicker(every / 3)
		defer t.Stop()
		for {
			select {
			case <-end:
				return
			case <-t.C:
			}
			if name, since := d.pulses.silent(); name != "" {
				d.log.Error("a loop hangs: the service manager is not told that we live", "loop", name, "silent", since.Round(time.Second))
				continue
			}
			d.notify.alive()
		}
	}()
	return func() { close(end); <-done }
}

// alive says what hangs.
func (d *daemon) alive() error {
	if name, since := d.pulses.silent(); name != "" {
		return fmt.Errorf("%s hangs: silent for %s", name, since.Round(time.Second))
	}
	return nil
}

// isReady says why no job can be begun.
func (d *daemon) isReady(ctx context.Context) error {
	d.mu.Lock()
	ready, restored := d.ready, d.restored
	d.mu.Unlock()
	switch {
	case !ready:
		return errors.New("starting, or stopping")
	case restored:
		return errors.New("the database was restored: dirpin jobs release --restored")
	}
	if err := d.owner.Fresh(); err != nil {
		return err
	}
	return errors.Join(d.store.Room(), d.store.Read(ctx, func(tx *store.Tx) error { _, err := tx.Latches(); return err }))
}
