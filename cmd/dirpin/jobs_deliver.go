package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/dirpin/dirpin/internal/store"
	"github.com/dirpin/dirpin/resetjob"
)

// runJobsDeliver sends again what was not delivered of a job, also what was
// refused: its cause may be mended.
func runJobsDeliver(ctx context.Context, a *app, s *session, env *resetjob.Env, id int64) error {
	before, err := deliveries(ctx, env, id)
	if err != nil {
		return err
	}
	if before.Open()+before.Notices == 0 {
		if _, err := readJob(ctx, s, id); err != nil {
			return err
		}
		return usagef("job %d has nothing left to deliver", id)
	}
	after, err := env.Deliver(ctx, id, true)
	switch {
	case errors.Is(err, resetjob.ErrBusy):
		return withCode(exitRunning, err)
	case err != nil:
		return withCode(exitCouldNotRun, err)
	}
	if a.json {
		return errors.Join(json.NewEncoder(a.out).Encode(struct {
			Sent    int64 `json:"sent"`
			Waiting int64 `json:"waiting"`
			Refused int64 `json:"refused"`
		}{after.Sent, after.Waiting, after.Refused}), a.deliveredExit(ctx, after))
	}
	fmt.Fprintf(a.out, "Job %d: %d mailed now, %d in all.\n", id, after.Sent-before.Sent, after.Sent)
	if err := a.showDeliveries(ctx, env, id); err != nil {
		return err
	}
	return a.deliveredExit(ctx, after)
}

func (a *app) deliveredExit(ctx context.Context, d store.Deliveries) error {
	switch {
	case ctx.Err() != nil:
		return &exitError{code: interruptCode(ctx)}
	case d.Open()+d.Notices > 0:
		return &exitError{code: exitSomeFailed}
	}
	return nil
}

// unsentMost is how many messages are shown one by one; the report has more.
const unsentMost = 20

// showDeliveries says what was mailed of a job, and what was not and why.
func (a *app) showDeliveries(ctx context.Context, env *resetjob.Env, id int64) error {
	d, err := deliveries(ctx, env, id)
	if err != nil || d == (store.Deliveries{}) {
		return err
	}
	if all := d.Sent + d.Open(); all > 0 {
		fmt.Fprintf(a.out, "%-13s %d of %d mailed\n", "Delivery", d.Sent, all)
	}
	n := 0
	err = env.Store.Read(ctx, func(tx *store.Tx) error {
		return tx.Undelivered(id, unsentMost, func(m store.Message) error {
			n++
			next := ""
			if m.State == store.MessageWaiting {
				next = " (due " + stamp(m.NextAt) + ")"
			}
			_, err := fmt.Fprintf(a.out, "  %s%s\n", printable(resetjob.DescribeUnsent(m)), next)
			return err
		})
	})
	if more := d.Open() + d.Notices - int64(n); err == nil && more > 0 {
		fmt.Fprintf(a.out, "  and %d more\n", more)
	}
	if line := resetjob.UndeliveredLine(id, d); line != "" {
		fmt.Fprintln(a.out, line)
	} else if d.Notices > 0 {
		fmt.Fprintf(a.out, "Send the notices again with: dirpin jobs deliver %d\n", id)
	}
	return err
}
