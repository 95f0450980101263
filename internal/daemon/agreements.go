package daemon

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"reflect"
	"sync"
	"time"

	"github.com/dirpin/dirpin/config"
	"github.com/dirpin/dirpin/internal/secret"
	"github.com/dirpin/dirpin/internal/store"
	"github.com/dirpin/dirpin/internal/web"
	"github.com/dirpin/dirpin/ldapsync"
)

// agreements keeps every agreement of the configuration synchronized, each on a
// goroutine of its own: what one directory does delays no other.
type agreements struct {
	store   *store.Store
	log     *slog.Logger
	metrics *web.Metrics
	holder  string // of leases

	mu      sync.Mutex
	running map[string]*following
}

// following is one agreement being followed.
type following struct {
	config     config.Agreement
	configured []string
	cancel     context.CancelFunc
	done       chan struct{}
	mu         sync.Mutex
	failed     bool // as was noted last
	noted      bool
}

func newAgreements(s *store.Store, log *slog.Logger, m *web.Metrics) *agreements {
	host, _ := os.Hostname() // for people
	return &agreements{store: s, log: log, metrics: m, running: make(map[string]*following), holder: fmt.Sprintf("%s, process %d%s", host, os.Getpid(), ofService)}
}

// ofService ends the names of leases that a service takes.
const ofService = ", the service"

// takeBack ends the leases of a service that was killed: whoever holds the lock
// is the only one of the database.
func (a *agreements) takeBack(ctx context.Context) error {
	if a.store.Path() == "" { // on a server there may be others
		return nil
	}
	return a.store.Write(ctx, func(tx *store.Tx) error { return tx.EndLeases(ofService) })
}

// set follows the agreements of a configuration, and no others. One that is as
// it was is not disturbed. It returns when those that are not followed any more
// have let go: what one of them reads ends with the context of ldapsync.
func (a *agreements) set(ctx context.Context, p *Parts) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	all := p.Env.Config.Agreements
	var names []string
	for _, c := range all {
		names = append(names, c.Name)
	}
	keep := make(map[string]bool)
	for _, c := range all {
		f := a.running[c.Name]
		keep[c.Name] = f != nil && reflect.DeepEqual(f.config, c) && reflect.DeepEqual(f.configured, names)
	}
	var gone []*following
	for name, f := range a.running {
		if !keep[name] {
			f.cancel()
			gone = append(gone, f)
			delete(a.running, name)
		}
	}
	for _, f := range gone {
		<-f.done
	}
	for i := range all {
		if !keep[all[i].Name] {
			a.follow(ctx, p, all[i], names)
		}
	}
	a.metrics.Agreements(names)
	return a.store.Write(ctx, func(tx *store.Tx) error { return tx.ForgetSyncStates(names) })
}

// stop ends all of them.
func (a *agreements) stop() {
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, f := range a.running {
		f.cancel()
	}
	for name, f := range a.running {
		<-f.done
		delete(a.running, name)
	}
}

func (a *agreements) follow(ctx context.Context, p *Parts, c config.Agreement, configured []string) {
	ctx, cancel := context.WithCancel(ctx)
	f := &following{config: c, configured: configured, cancel: cancel, done: make(chan struct{})}
	a.running[c.Name] = f
	log := a.log.With("agreement", c.Name)
	o := ldapsync.FollowOptions{
		Options: ldapsync.Options{Agreement: c, Store: ldapsync.Over(a.store), Log: log, Configured: configured, Holder: a.holder},
		// Read each time: a password file may be changed without a reload.
		ReadPassword: func() (secret.Value, error) { return p.BindPassword(&c) },
		OnRun:        func(r ldapsync.Result, err error) { a.ran(ctx, f, log, r, err) },
		OnState: func(on bool) {
			a.metrics.Following(c.Name, on)
			if on {
				log.Info("changes arrive as they happen")
			}
		},
	}
	go func() {
		defer close(f.done)
		defer cancel()
		ldapsync.Follow(ctx, o) // whatever fails it has told, and tries again
	}()
}

// ran takes note of what a synchronization came to.
func (a *agreements) ran(ctx context.Context, f *following, log *slog.Logger, r ldapsync.Result, err error) {
	if ctx.Err() != nil && err != nil {
		return
	}
	name := f.config.Name
	a.metrics.Synchronized(name, r, err)
	if err == nil {
		level := slog.LevelDebug
		if r.Full || r.Added+r.Updated+r.Deactivated+r.Returned+r.Removed > 0 {
			level = slog.LevelInfo
		}
		log.Log(ctx, level, "synchronized", "feed", r.Feed, "full", r.Full, "server", r.Server, "entries", r.Entries, "added", r.Added, "updated", r.Updated,
			"deactivated", r.Deactivated, "returned", r.Returned, "removed", r.Removed, "refused", r.Refused, "pending", r.Pending, "took", r.Duration.Round(time.Millisecond).String())
		for _, h := range r.Held {
			log.Warn(fmt.Sprintf("the guard holds: %s", h))
		}
	}
	// Each failure is noted, and the first success after one: what goes well
	// every second is not written down every second.
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.noted && err == nil && !f.failed || errors.Is(err, ldapsync.ErrBusy) {
		return
	}
	text := ""
	if err != nil {
		text = err.Error()
	}
	werr := a.store.Write(context.WithoutCancel(ctx), func(tx *store.Tx) error { return tx.SetSyncState(name, text) })
	if werr != nil {
		log.Warn("noting how it went", "error", werr)
		return
	}
	f.noted, f.failed = true, err != nil
}
