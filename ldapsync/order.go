package ldapsync

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/dirpin/dirpin/internal/roster"
)

// orderPoll is how often an order, or its answer, is looked for.
const orderPoll = 250 * time.Millisecond

// orderLife is how long somebody may wait for an order to be taken up: what is
// older was left by one who is gone.
const orderLife = time.Hour

// request is what an order asks for.
type request struct {
	Full           bool `json:"full,omitempty"`
	AcceptRemovals bool `json:"accept_removals,omitempty"`
	AdoptKeys      bool `json:"adopt_keys,omitempty"`
}

// answer is what became of an order.
type answer struct {
	Result  Result   `json:"result"`
	Changes []Change `json:"changes,omitempty"`
	Class   string   `json:"class,omitempty"` // of the error
	Error   string   `json:"error,omitempty"`
}

var errorClasses = map[string]error{"config": ErrConfig, "directory": ErrDirectory, "busy": ErrBusy, "other": errors.New("the synchronization failed")}

func answerOf(r Result, changes []Change, err error) answer {
	a := answer{Result: r, Changes: changes}
	if err == nil {
		return a
	}
	a.Class, a.Error = "other", err.Error()
	for name, class := range errorClasses {
		if errors.Is(err, class) {
			a.Class = name
		}
	}
	return a
}

func (a answer) err() error {
	if a.Error == "" {
		return nil
	}
	return &classed{errorClasses[a.Class], errors.New(a.Error)}
}

// Sync is Run under the agreement's lease. Where another process follows the
// agreement, that one is asked to do it, and what it answers is the result.
func Sync(ctx context.Context, o Options) (Result, error) {
	o = o.withDefaults()
	if o.DryRun { // writes nothing
		return Run(ctx, o)
	}
	if o.Holder == "" {
		o.Holder = newHolder()
	}
	for {
		l, held, other, err := takeLease(ctx, &o, leaseOf(o.Agreement.Name), o.Holder)
		if err != nil {
			return Result{Agreement: o.Agreement.Name}, err
		}
		if l != nil {
			defer l.release()
			r, err := Run(held, o)
			if err != nil && errors.Is(context.Cause(held), errLeaseLost) {
				err = &classed{ErrBusy, fmt.Errorf("%s: %w", o.Agreement.Name, context.Cause(held))}
			}
			return r, err
		}
		o.Log.Info(fmt.Sprintf("%s: asking %s, which synchronizes the agreement", o.Agreement.Name, other))
		a, done, err := ask(ctx, o, other)
		if err != nil {
			return Result{Agreement: o.Agreement.Name}, err
		}
		if done {
			for _, c := range a.Changes {
				o.OnChange(c)
			}
			return a.Result, a.err()
		}
	}
}

// ask leaves an order and waits for the answer. done is false where the holder
// is gone.
func ask(ctx context.Context, o Options, holder string) (a answer, done bool, err error) {
	text, err := json.Marshal(request{o.Full, o.AcceptRemovals, o.AdoptKeys})
	if err != nil {
		return a, false, err
	}
	var id int64
	err = o.Store.Write(ctx, func(tx Writer) (err error) {
		id, err = tx.SyncAsk(o.Agreement.Name, string(text), o.Now())
		return err
	})
	if err != nil {
		return a, false, fmt.Errorf("%s: asking the holder: %w", o.Agreement.Name, err)
	}
	defer o.Store.Write(context.WithoutCancel(ctx), func(tx Writer) error { return tx.SyncForgetOrder(id) })
	for {
		if err := sleep(ctx, orderPoll); err != nil {
			return a, false, err
		}
		var order roster.Order
		if err := o.Store.Read(ctx, func(tx Reader) (err error) { order, err = tx.SyncOrder(id); return err }); err != nil {
			return a, false, err
		}
		if order.Answer != "" {
			return a, true, json.Unmarshal([]byte(order.Answer), &a)
		}
		// Where the lease can be taken its holder is gone, and so is the order.
		free := false
		err := o.Store.Write(ctx, func(tx Writer) error {
			now := o.Now()
			other, err := tx.SyncLease(leaseOf(o.Agreement.Name), o.Holder, now, now.Add(leaseFor))
			free = other == ""
			return err
		})
		if err != nil || free {
			return a, false, err
		}
	}
}

// orders carries out what others ask of the holder, one after another.
func (f *follower) orders(ctx context.Context) error {
	var waiting []roster.Order
	name := f.o.Agreement.Name
	err := f.o.Store.Read(ctx, func(tx Reader) error {
		return tx.SyncOrders(name, func(o roster.Order) error { waiting = append(waiting, o); return nil })
	})
	if err != nil {
		return fmt.Errorf("%s: looking for orders: %w", name, err)
	}
	for _, order := range waiting {
		if f.o.Now().Sub(order.At) > orderLife {
			if err := f.o.Store.Write(ctx, func(tx Writer) error { return tx.SyncForgetOrder(order.ID) }); err != nil {
				return err
			}
			continue
		}
		if err := f.carryOut(ctx, order); err != nil {
			return err
		}
	}
	return nil
}

func (f *follower) carryOut(ctx context.Context, order roster.Order) error {
	keep := func() error {
		return f.o.Store.Write(ctx, func(tx Writer) error { return tx.SyncSaveOrder(order) })
	}
	order.Holder = f.o.Holder
	if err := keep(); err != nil {
		return err
	}
	var q request
	err := json.Unmarshal([]byte(order.Request), &q)
	var a answer
	if err != nil {
		a = answerOf(Result{Agreement: f.o.Agreement.Name}, nil, fmt.Errorf("reading the order: %w", err))
	} else {
		var changes []Change
		r, err := f.run(ctx, func(o *Options) {
			o.Full, o.AcceptRemovals, o.AdoptKeys = q.Full, q.AcceptRemovals, q.AdoptKeys
			tell := o.OnChange
			o.OnChange = func(c Change) { changes = append(changes, c); tell(c) }
		})
		if ctx.Err() != nil {
			err = &classed{ErrBusy, fmt.Errorf("%s: the process that synchronizes it is ending", f.o.Agreement.Name)}
		}
		a = answerOf(r, changes, err)
	}
	text, err := json.Marshal(a)
	if err != nil {
		return err
	}
	order.Answer = string(text)
	return keep()
}
