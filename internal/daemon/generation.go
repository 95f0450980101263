package daemon

import (
	"context"
	"sync"
	"time"
)

// generation is what one configuration came to, and who works with it.
type generation struct {
	*Parts
	working context.Context // of shifts; it ends when no more may begin
	stop    context.CancelCauseFunc
	shifts  sync.WaitGroup
	silence time.Duration // that a shift may keep
}

// newGeneration makes one of parts, under no context that ends by itself.
func newGeneration(p *Parts) *generation {
	g := &generation{Parts: p}
	g.working, g.stop = context.WithCancelCause(context.Background())
	// A push may take that long, and the transaction after it wait for another
	// process.
	g.silence = g.longest() + 2*time.Minute
	return g
}

// longest is how long a push may take.
func (g *generation) longest() (d time.Duration) {
	for _, s := range g.Env.Systems() {
		d = max(d, s.Timeout())
	}
	return d
}

// end lets nobody begin any more, because of why, and waits for those who have.
func (g *generation) end(why error) {
	g.stop(why)
	g.shifts.Wait()
}

// await waits until nobody works with it any more, or ctx ends.
func (g *generation) await(ctx context.Context) {
	done := make(chan struct{})
	go func() {
		defer close(done)
		g.shifts.Wait()
	}()
	select {
	case <-done:
	case <-ctx.Done():
	}
}

// current returns what is configured.
func (d *daemon) current() *generation {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.gen
}
