package resetjob

import (
	"context"
	"time"

	"github.com/dirpin/dirpin/internal/store"
)

const (
	awayEvery = time.Second      // the server is tried again
	awaySays  = 10 * time.Second // it is said that it is waited for
	awayMost  = 5 * time.Minute  // after whoever waits was told to stop, or never will be
)

// write is Store.Write that waits for a server that is out of reach: fn may run
// several times.
func (e *Env) write(ctx context.Context, fn func(*store.Tx) error) error {
	return e.lasting(ctx, func() error { return e.Store.Write(ctx, fn) })
}

// read is Store.Read in the same way, and is not given up when ctx ends.
func (e *Env) read(ctx context.Context, fn func(*store.Tx) error) error {
	return e.lasting(ctx, func() error { return e.Store.Read(context.WithoutCancel(ctx), fn) })
}

// lasting does f again for as long as the database's server is out of reach. A
// job outlives a restart of it: what was accepted meanwhile is kept. When ctx
// has ended it goes on for a few minutes only.
func (e *Env) lasting(ctx context.Context, f func() error) error {
	var since, said time.Time
	ended := ctx.Done()
	if ended == nil {
		since = time.Now()
	}
	for {
		err := f()
		if !store.IsAway(err) {
			if !said.IsZero() && err == nil {
				e.Log.Info("the database is in reach again")
			}
			return err
		}
		if time.Since(said) >= awaySays {
			said = time.Now()
			e.Log.Warn("waiting for the database; what was accepted is kept, and nothing new is sent", "error", err)
		}
		select {
		case <-ended:
			since, ended = time.Now(), nil
		case <-time.After(awayEvery):
		}
		if !since.IsZero() && time.Since(since) >= awayMost {
			return err
		}
	}
}
