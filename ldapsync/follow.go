package ldapsync

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"time"

	"github.com/dirpin/dirpin/internal/roster"
	"github.com/dirpin/dirpin/internal/secret"
)

// FollowOptions say what is followed, and how. Only Options has to be filled
// in; its Full, DryRun, AcceptRemovals and AdoptKeys are not used.
type FollowOptions struct {
	Options
	// ReadPassword reads the bind password; where it changes a new connection
	// is made. Options.Password when nil.
	ReadPassword func() (secret.Value, error)
	// OnRun is told what each synchronization came to, those by a search that
	// persists too, as far as they changed something.
	OnRun func(Result, error)
	// OnState is told when changes begin, or cease, to arrive as they happen.
	OnState func(following bool)

	Probe      time.Duration // how often a quiet connection is tried; a minute when 0
	Rebuild    time.Duration // how old a connection may become, a quarter more or less; 12 h when 0
	Debounce   time.Duration // how long containers may move before everything is read; 5 s when 0
	Sweep      time.Duration // how often accounts that end and changed files are looked for; a minute when 0
	Inbox      int           // how many changed entries are kept while the database is busy, before the search is ended and resumed; 100,000 when 0
	LeaseRetry time.Duration // how often a lease is tried for that another one has; 5 s when 0
}

// Times of a follower.
const (
	retryFirst = time.Second
	retryMost  = 5 * time.Minute
	healthyFor = time.Minute
	warnBefore = 14 * 24 * time.Hour
)

// Follow keeps an agreement synchronized until the context ends, and returns
// its error then. It holds the agreement's lease; as long as another one has
// it, it waits. Where the server has content synchronization, what changes
// there is in the store within a second; else it synchronizes each interval. It
// carries out what Sync is asked in other processes.
//
// Whatever fails is told, and tried again, with growing pauses.
func Follow(ctx context.Context, o FollowOptions) error {
	o.Options = o.Options.withDefaults()
	o.Full, o.DryRun, o.AcceptRemovals, o.AdoptKeys = false, false, false, false
	if o.Holder == "" {
		o.Holder = newHolder()
	}
	if o.ReadPassword == nil {
		o.ReadPassword = func() (secret.Value, error) { return o.Password, nil }
	}
	if o.OnRun == nil {
		o.OnRun = func(Result, error) {}
	}
	if o.OnState == nil {
		o.OnState = func(bool) {}
	}
	o.Probe = orDuration(o.Probe, time.Minute)
	o.Rebuild = orDuration(o.Rebuild, 12*time.Hour)
	o.Debounce = orDuration(o.Debounce, 5*time.Second)
	o.Sweep = orDuration(o.Sweep, time.Minute)
	o.LeaseRetry = orDuration(o.LeaseRetry, 5*time.Second)
	if o.Inbox <= 0 {
		o.Inbox = inboxKeys
	}
	f := &follower{o: o}
	said := ""
	for {
		l, held, other, err := takeLease(ctx, &o.Options, leaseOf(o.Agreement.Name), o.Holder)
		switch {
		case ctx.Err() != nil:
			return ctx.Err()
		case err != nil:
			o.Log.Error(fmt.Sprintf("%s: %v", o.Agreement.Name, err))
		case l != nil:
			said = ""
			f.hold(held)
			l.release()
			if ctx.Err() != nil {
				return ctx.Err()
			}
			o.Log.Warn(fmt.Sprintf("%s: another one has taken over: %v", o.Agreement.Name, context.Cause(held)))
		case other != said:
			said = other
			o.Log.Info(fmt.Sprintf("%s: %s synchronizes it; waiting", o.Agreement.Name, other))
		}
		if err := sleep(ctx, o.LeaseRetry); err != nil {
			return ctx.Err()
		}
	}
}

func orDuration(d, otherwise time.Duration) time.Duration {
	if d <= 0 {
		return otherwise
	}
	return d
}

// follower follows one agreement. Everything but reading the connection
// happens on one goroutine.
type follower struct {
	o      FollowOptions
	files  string                  // state of the files that a connection depends on
	spare  Directory               // a connection that is made already
	failed int                     // times in a row
	warned bool                    // that the certificate ends
	held   map[roster.Measure]bool // what the guard holds, as was told
}

// hold follows while the lease is held.
func (f *follower) hold(ctx context.Context) {
	for ctx.Err() == nil {
		begun := time.Now()
		err := f.once(ctx)
		if ctx.Err() != nil {
			break
		}
		if err == nil || time.Since(begun) > healthyFor {
			f.failed = 0
		}
		if err != nil {
			pause := f.backoff()
			f.o.Log.Warn(fmt.Sprintf("%s: trying again in %v", f.o.Agreement.Name, pause.Round(time.Millisecond)), "error", err)
			f.wait(ctx, pause)
		}
	}
	if f.spare != nil {
		f.spare.Close()
		f.spare = nil
	}
}

// backoff returns how long to pause: longer each time, and by chance, so that
// not all come back at once.
func (f *follower) backoff() time.Duration {
	most := retryMost
	if f.failed < 10 {
		most = min(most, retryFirst<<f.failed)
	}
	f.failed++
	return max(100*time.Millisecond, rand.N(most))
}

// once synchronizes, and then follows or waits for an interval.
func (f *follower) once(ctx context.Context) error {
	if f.spare == nil {
		r, err := f.run(ctx, nil)
		if err != nil {
			return err
		}
		if r.Feed != FeedSyncrepl {
			f.wait(ctx, f.interval(ctx))
			return nil
		}
	}
	err := f.follow(ctx)
	if errors.Is(err, errNowhere) {
		f.wait(ctx, f.interval(ctx))
		return nil
	}
	return err
}

// run synchronizes as Run does.
func (f *follower) run(ctx context.Context, change func(*Options)) (Result, error) {
	o, err := f.options()
	if err != nil {
		return Result{Agreement: o.Agreement.Name}, err
	}
	if change != nil {
		change(&o)
	}
	r, err := Run(ctx, o)
	f.o.OnRun(r, err)
	return r, err
}

func (f *follower) options() (o Options, err error) {
	o = f.o.Options
	if o.Password, err = f.o.ReadPassword(); err != nil {
		return o, fmt.Errorf("%s: reading the bind password: %w", o.Agreement.Name, err)
	}
	return o, nil
}

// interval returns how long to wait for the next synchronization, a tenth more
// or less. Where everything is read because cookies are refused, it is at least
// four times what that takes.
func (f *follower) interval(ctx context.Context) time.Duration {
	d := f.o.Agreement.Interval
	if d <= 0 {
		return 1 << 62 // by orders only
	}
	var a roster.Agreement
	err := f.o.Store.Read(ctx, func(tx Reader) (err error) { a, err = tx.SyncAgreement(f.o.Agreement.Name); return err })
	if err == nil && f.o.Now().Before(a.FullUntil) {
		d = max(d, 4*a.FullTook)
	}
	return d - d/10 + rand.N(d/5+1)
}

// wait waits, carries out orders and ends accounts whose time is over.
func (f *follower) wait(ctx context.Context, d time.Duration) {
	end := time.NewTimer(d)
	defer end.Stop()
	orders, sweep := time.NewTicker(orderPoll), time.NewTicker(f.o.Sweep)
	defer orders.Stop()
	defer sweep.Stop()
	for {
		var err error
		select {
		case <-ctx.Done():
			return
		case <-end.C:
			return
		case <-orders.C:
			err = f.orders(ctx)
		case <-sweep.C:
			err = f.sweep(ctx)
		}
		if err != nil && ctx.Err() == nil {
			f.o.Log.Error(fmt.Sprintf("%s: %v", f.o.Agreement.Name, err))
		}
	}
}

// sweep ends accounts whose time is over.
func (f *follower) sweep(ctx context.Context) error {
	r, err := Expire(ctx, f.o.Options)
	if errors.Is(err, ErrBusy) {
		return nil // the next time
	}
	if err != nil || r.Deactivated > 0 || len(r.Held) > 0 {
		f.o.OnRun(r, err)
	}
	return err
}

// stat returns the state of the files that a connection depends on, and of
// the password.
func (f *follower) stat() string {
	var state string
	for _, path := range []string{f.o.Agreement.CAFile, f.o.Agreement.CertFile, f.o.Agreement.KeyFile} {
		if path == "" {
			continue
		}
		if fi, err := os.Stat(path); err == nil {
			state += fmt.Sprintf("%s %d %v\n", path, fi.Size(), fi.ModTime())
		}
	}
	if p, err := f.o.ReadPassword(); err == nil {
		state += fingerprint(p.Reveal())
	}
	return state
}
