package ldapsync

import (
	"context"
	"time"

	"github.com/dirpin/dirpin/internal/roster"
)

// How much a transaction takes. Jobs wait while it runs, so it ends after a
// tenth of a second's work, and at once when nothing comes. The first load of
// an agreement takes more: many small ones would write the pages of the indexes
// again and again, and then a million people take twice as long.
const (
	txPeople    = 10_000
	txFirstLoad = 3 * time.Second
	txWaits     = 50 * time.Millisecond
)

// writes is the transaction that batches are written in, over several of them.
// It is used by one goroutine.
type writes struct {
	work   chan func(Writer) error // nil: no transaction is open
	did    chan error
	ended  chan error // of the whole transaction
	began  time.Time
	people int
	state  roster.Agreement // once it is committed
	news   []Change         // to be told then
}

// do runs f in the transaction that is open, or in a new one.
func (w *writes) do(ctx context.Context, r *run, people int, f func(Writer) error) error {
	if w.work == nil {
		w.open(ctx, r)
	}
	select {
	case w.work <- f:
	case err := <-w.ended: // it had waited for too long
		if err := w.close(r, err); err != nil {
			return err
		}
		return w.do(ctx, r, people, f)
	}
	select {
	case err := <-w.did:
		if err != nil {
			return err
		}
	case err := <-w.ended:
		return w.close(r, err)
	}
	w.people += people
	first := r.state.CompletedAt.IsZero()
	if !first && w.people >= txPeople || first && time.Since(w.began) >= txFirstLoad {
		return w.commit(r)
	}
	return nil
}

func (w *writes) open(ctx context.Context, r *run) {
	w.work, w.did, w.ended = make(chan func(Writer) error), make(chan error), make(chan error, 1)
	w.began, w.people, w.state = time.Now(), 0, r.state
	go func() {
		w.ended <- r.o.Store.Write(ctx, func(tx Writer) error {
			if err := r.advance(tx, &w.state); err != nil {
				return err
			}
			for {
				select {
				case f, ok := <-w.work:
					if !ok {
						return nil
					}
					w.did <- f(tx)
				case <-time.After(txWaits):
					return nil
				}
			}
		})
	}()
}

// commit ends the transaction that is open, if there is one.
func (w *writes) commit(r *run) error {
	if w.work == nil {
		return nil
	}
	close(w.work)
	return w.close(r, <-w.ended)
}

// close takes note of how the transaction ended.
func (w *writes) close(r *run, err error) error {
	w.work = nil
	if err != nil {
		w.news = nil
		return err
	}
	r.state = w.state
	r.tellNews()
	return nil
}

// tellNews tells what is written.
func (r *run) tellNews() {
	for _, c := range r.writes.news {
		r.o.OnChange(c)
	}
	r.writes.news = nil
}
