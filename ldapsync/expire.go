package ldapsync

import (
	"context"
	"errors"
	"fmt"

	"github.com/dirpin/dirpin/internal/roster"
	"github.com/dirpin/dirpin/internal/user"
)

// Expire makes the users inactive whose account has ended meanwhile. Nothing
// in the directory changes when that moment comes, so no feed tells it; a
// daemon calls this every minute, and every run does the same at its end. The
// directory is not asked. The guard judges as it does at the end of a run.
func Expire(ctx context.Context, o Options) (Result, error) {
	o = o.withDefaults()
	r := &run{o: o, start: o.Now(), index: new(index)}
	r.result = Result{Agreement: o.Agreement.Name}
	var due []string
	err := o.Store.Read(ctx, func(tx Reader) (err error) {
		if r.state, err = tx.SyncAgreement(o.Agreement.Name); err == nil {
			due, err = tx.SyncExpired(o.Agreement.Name, r.start)
		}
		return err
	})
	if err != nil || len(due) == 0 {
		return r.result, err
	}
	e := &ending{run: r, only: roster.LossExpired}
	err = o.Store.Write(ctx, func(tx Writer) error { return e.expire(tx) })
	if errors.Is(err, roster.ErrMoved) {
		return r.result, &classed{ErrBusy, fmt.Errorf("%s: %w", o.Agreement.Name, err)}
	}
	if err != nil {
		return r.result, r.storeError("ending accounts whose time is over", err)
	}
	for _, c := range e.news {
		o.OnChange(c)
	}
	return e.result, nil
}

func (e *ending) expire(tx Writer) error {
	e.tx, e.result, e.news = tx, e.run.result, nil
	if err := tx.SyncAdvance(e.state.Name, e.state.Seq); err != nil {
		return err
	}
	// What it was the last time: nothing of the scope has changed here.
	e.facts.ScopeFP, e.facts.MapFP, e.facts.Server = e.state.ScopeFP, e.state.MapFP, e.state.Server
	for _, step := range []func() error{e.parkExpired, e.judge, e.applyPending} {
		if err := step(); err != nil {
			return err
		}
	}
	return nil
}

// parkExpired parks what those lose whose account has ended since their entry
// was read.
func (e *ending) parkExpired() error {
	keys, err := e.tx.SyncExpired(e.state.Name, e.start)
	if err != nil {
		return err
	}
	return inChunks(keys, func(part []string) error {
		people, err := e.tx.SyncPeople(part)
		if err != nil {
			return err
		}
		var c roster.Changes
		for _, p := range people {
			if p.Status != user.Active || p.Agreement != e.state.Name {
				continue
			}
			c.Park = append(c.Park, roster.Loss{Agreement: e.state.Name, Key: p.Key, Kind: roster.LossExpired, UserID: p.UserID, DN: p.DN,
				Evidence: "explicit", Server: e.facts.Server, Since: e.start}) // no hash: the entry is looked at again
		}
		return e.tx.SyncApply(e.state.Name, c)
	})
}
