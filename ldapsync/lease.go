package ldapsync

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"sync"
	"time"
)

// How long a lease lasts without a sign of life, and how often there is one.
const (
	leaseFor   = 30 * time.Second
	leaseBeats = 10 * time.Second
)

var errLeaseLost = errors.New("the lease ran out and another one has it")

// lease is the right to do something alone, across processes: it ends some
// seconds after its holder died. What is written under it is guarded besides,
// by the agreement's sequence number.
type lease struct {
	o      *Options
	name   string
	holder string
	cancel context.CancelCauseFunc
	beats  sync.WaitGroup
	stop   chan struct{}
}

// newHolder returns a name for this process and this moment.
func newHolder() string {
	host, _ := os.Hostname()
	var id [4]byte
	rand.Read(id[:])
	return fmt.Sprintf("%s, process %d, %s", host, os.Getpid(), hex.EncodeToString(id[:]))
}

// takeLease takes a lease and keeps it until it is released; other names the
// one who has it. The context that is returned ends when the lease is lost.
func takeLease(ctx context.Context, o *Options, name, holder string) (l *lease, held context.Context, other string, err error) {
	l = &lease{o: o, name: name, holder: holder, stop: make(chan struct{})}
	if other, err = l.beat(ctx); err != nil || other != "" {
		return nil, ctx, other, err
	}
	held, l.cancel = context.WithCancelCause(ctx)
	l.beats.Go(l.keep)
	return l, held, "", nil
}

func (l *lease) beat(ctx context.Context) (other string, err error) {
	err = l.o.Store.Write(ctx, func(tx Writer) (err error) {
		now := l.o.Now()
		other, err = tx.SyncLease(l.name, l.holder, now, now.Add(leaseFor))
		return err
	})
	if err != nil {
		return "", fmt.Errorf("taking the lease of %s: %w", l.name, err)
	}
	return other, nil
}

func (l *lease) keep() {
	tick := time.NewTicker(leaseBeats)
	defer tick.Stop()
	for {
		select {
		case <-l.stop:
			return
		case <-tick.C:
		}
		other, err := l.beat(context.Background())
		if other != "" {
			l.cancel(fmt.Errorf("%w: %s", errLeaseLost, other))
			return
		}
		if err != nil { // the database is busy or gone: who writes will notice
			l.o.Log.Warn(fmt.Sprintf("%s: the lease could not be prolonged", l.name), "error", err)
		}
	}
}

// release gives the lease back.
func (l *lease) release() {
	close(l.stop)
	l.beats.Wait()
	l.cancel(nil)
	err := l.o.Store.Write(context.Background(), func(tx Writer) error { return tx.SyncRelease(l.name, l.holder) })
	if err != nil {
		l.o.Log.Warn(fmt.Sprintf("%s: the lease could not be given back; it ends in %v", l.name, leaseFor), "error", err)
	}
}

// leaseOf is the name of an agreement's lease, and of a server's.
func leaseOf(agreement string) string    { return "agreement " + agreement }
func leaseOfServer(server string) string { return "reading all of " + server }

// alone waits until nobody else reads everything from the server.
func (r *run) alone(ctx context.Context) (done func(), err error) {
	if r.o.Holder == "" || r.o.DryRun {
		return func() {}, nil
	}
	said := false
	for {
		l, _, other, err := takeLease(ctx, &r.o, leaseOfServer(r.facts.Server), r.o.Holder+", "+r.state.Name)
		if err != nil {
			return nil, err
		}
		if l != nil {
			return l.release, nil
		}
		if !said {
			said = true
			r.o.Log.Info(fmt.Sprintf("%s: waiting until %s is done with reading all of %s", r.state.Name, other, r.facts.Server))
		}
		if err := sleep(ctx, time.Second); err != nil {
			return nil, err
		}
	}
}

// sleep waits, or returns the context's error.
func sleep(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-t.C:
		return nil
	}
}
