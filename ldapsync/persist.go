package ldapsync

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/dirpin/dirpin/internal/roster"
)

// errRebuild ends a following whose successor is connected already.
var errRebuild = errors.New("the connection is made anew")

// errNowhere says that everything has to be read before changes can be followed.
var errNowhere = errors.New("there is no cookie to go on with")

// following is a search that persists.
type following struct {
	*follower
	dir   Directory
	facts Facts
	feed  Feed
	inbox *inbox
	ended chan error // of the search

	refreshed bool
	full      *time.Timer // nil: no full answer is needed; else when it is asked for
	why       string      // it is needed
	due       *time.Timer // full_every
	old       time.Time   // when the connection is too old
}

// follow keeps a search open, and has what it says in the store as it comes. It
// returns when the connection ends, without an error when a better one is
// there.
func (f *follower) follow(ctx context.Context) error {
	w, err := f.open(ctx)
	if err != nil {
		return err
	}
	watch, cancel := context.WithCancel(ctx)
	defer func() {
		cancel()
		w.dir.Close()
		<-w.ended
		f.o.OnState(false)
	}()
	q, err := w.query(ctx)
	if err == nil && q.Cookie == nil {
		err = errNowhere
	}
	if err != nil {
		w.ended <- nil
		return err
	}
	go func() {
		err := w.dir.Watch(watch, q, Watcher{Mention: w.inbox.mention, Refreshed: w.inbox.refreshed})
		w.ended <- err
		w.ended <- nil // for the one that waits for the goroutine
	}()
	err = w.loop(ctx)
	switch {
	case errors.Is(err, errRebuild), errors.Is(err, errInboxFull):
		f.o.Log.Info(fmt.Sprintf("%s: %v", f.o.Agreement.Name, err))
		return nil
	}
	return err
}

// open connects, or takes the connection that is made already.
func (f *follower) open(ctx context.Context) (*following, error) {
	f.files = f.stat()
	dir := f.spare
	f.spare = nil
	if dir == nil {
		var err error
		if dir, err = f.connect(ctx); err != nil {
			return nil, err
		}
	}
	w := &following{follower: f, dir: dir, facts: dir.Facts(), inbox: newInbox(f.o.Inbox), ended: make(chan error, 2)}
	life := f.o.Rebuild - f.o.Rebuild/4 + rand.N(f.o.Rebuild/2+1)
	w.old = time.Now().Add(life)
	if end := w.facts.NotAfter; !end.IsZero() {
		left := end.Sub(f.o.Now())
		if left < warnBefore && !f.warned {
			f.warned = true
			f.o.Log.Warn(fmt.Sprintf("%s: the certificate of %s ends at %s", f.o.Agreement.Name, w.facts.Server, end.Format(time.RFC3339)))
		}
		if left > 0 && left < life {
			w.old = time.Now().Add(left)
		}
	}
	return w, nil
}

func (f *follower) connect(ctx context.Context) (Directory, error) {
	o, err := f.options()
	if err != nil {
		return nil, err
	}
	r := newRun(o)
	if err := r.load(ctx); err != nil {
		return nil, err
	}
	return o.Connect(ctx, r.connectOptions(nil))
}

// query returns where the search begins; without cookie where everything has
// to be read first.
func (w *following) query(ctx context.Context) (q Query, err error) {
	r := newRun(w.o.Options)
	if err := r.load(ctx); err != nil {
		return q, err
	}
	r.dir, r.facts = w.dir, w.facts
	if err := r.checkIdentity(); err != nil {
		return q, err
	}
	var sample []roster.Person
	err = w.o.Store.Read(ctx, func(tx Reader) error {
		c, err := r.choose(tx)
		if err != nil || c.mark == nil || c.feed.Name != FeedSyncrepl || c.why != "" && !c.held {
			return err
		}
		w.feed = c.feed
		q.Feed, q.Cookie, q.AtLeast = c.feed, c.mark.Cookie, r.atLeast(ctx)
		sample, err = tx.SyncSample(r.state.Name, 3)
		return err
	})
	if err != nil || q.Cookie == nil {
		return q, err
	}
	if every := w.o.Agreement.FullEvery; every > 0 {
		w.due = time.NewTimer(max(0, r.state.FullAt.Add(jittered(every, r.state.Name+r.state.FullAt.String())).Sub(w.o.Now())))
	}
	less, err := w.dir.Sees(ctx, sample)
	if less != "" {
		w.o.Log.Warn(fmt.Sprintf("%s: %s: %s", w.o.Agreement.Name, w.facts.Server, less))
		q.Cookie = nil // a full answer shows how much
	}
	return q, err
}

// loop does what there is to do until the search ends.
func (w *following) loop(ctx context.Context) error {
	probe, orders, sweep := time.NewTicker(w.o.Probe), time.NewTicker(orderPoll), time.NewTicker(w.o.Sweep)
	defer probe.Stop()
	defer orders.Stop()
	defer sweep.Stop()
	if w.due != nil {
		defer w.due.Stop()
	}
	for {
		var err error
		ready := w.inbox.ready
		if w.why != "" {
			ready = nil // everything is read first
		}
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case err = <-w.ended:
			return w.last(ctx, err)
		case <-ready:
			err = w.takeIn(ctx, w.inbox.take())
		case <-timer(w.full):
			err = w.readAll(ctx, w.why)
		case <-timer(w.due):
			err = w.readAll(ctx, "full_every has passed")
		case <-probe.C:
			err = w.probe(ctx)
		case <-orders.C:
			err = w.orders(ctx)
		case <-sweep.C:
			if err = w.sweep(ctx); err == nil {
				err = w.renew(ctx)
			}
		}
		if err != nil {
			return err
		}
	}
}

func timer(t *time.Timer) <-chan time.Time {
	if t == nil {
		return nil
	}
	return t.C
}

// last takes in what came before the search ended.
func (w *following) last(ctx context.Context, why error) error {
	if w.why == "" {
		if p := w.inbox.take(); w.refreshed && len(p.list) > 0 {
			if err := w.takeIn(ctx, p); err != nil {
				return err
			}
		}
	}
	if why == nil {
		why = errors.New("the search ended")
	}
	return why
}

// takeIn has what came in the store: a run of its own, like any other.
func (w *following) takeIn(ctx context.Context, p parcel) error {
	r := newRun(w.o.Options)
	if err := r.load(ctx); err != nil {
		return err
	}
	r.dir, r.facts, r.since = w.dir, w.facts, newSince()
	r.result.Server, r.result.Feed, r.quiet = w.facts.Server, w.feed.Name, true
	defer r.writes.commit(r) // what came before an error is true all the same
	begun := time.Now()
	why, err := w.digest(ctx, r, p)
	r.result.Duration = time.Since(begun)
	w.tellHeld(r.result.Held)
	if why != "" {
		w.needAll(why)
		return nil // the cookie stays where it was
	}
	if err == nil && p.refresh != nil {
		w.refreshed = true
		w.o.OnState(true)
	}
	if err != nil || len(p.list) > 0 || r.result.Deactivated > 0 {
		w.o.OnRun(r.result, err)
	}
	return err
}

// tellHeld says what the guard holds when it begins to, and no more.
func (w *following) tellHeld(holds []Hold) {
	kinds := make(map[roster.Measure]bool)
	for _, h := range holds {
		if kinds[h.Measure] = true; !w.held[h.Measure] {
			w.o.Log.Warn(fmt.Sprintf("%s: held: %s", w.o.Agreement.Name, h))
		}
	}
	w.held = kinds
}

func (w *following) digest(ctx context.Context, r *run, p parcel) (why string, err error) {
	for _, m := range p.list {
		if err := r.mention(ctx, m); err != nil {
			return "", err
		}
	}
	for _, key := range p.present {
		if err := r.mention(ctx, Mention{What: EntryPresent, Key: key.text(w.facts.Kind)}); err != nil {
			return "", err
		}
	}
	var o Outcome
	if p.refresh != nil {
		o = *p.refresh
	}
	if o.Cookie, err = w.joined(ctx, p, o.Cookie); err != nil || o.Cookie == nil {
		return "the cookie was taken away", err
	}
	if why, err = r.verdict(ctx, w.feed, o); err != nil || why != "" {
		return why, err
	}
	return "", r.finish(ctx)
}

// joined returns the cookie that stands for what is stored and for the parcel;
// nil where none is stored any more: then somebody wants everything to be read.
func (w *following) joined(ctx context.Context, p parcel, refresh []byte) (cookie []byte, err error) {
	var m roster.Mark
	err = w.o.Store.Read(ctx, func(tx Reader) (err error) {
		m, err = tx.SyncMark(w.o.Agreement.Name, w.feed.Name, w.feed.Provider)
		return err
	})
	if err != nil || m.Checksum == 0 {
		return nil, err
	}
	cookie = m.Cookie
	for _, next := range [][]byte{refresh, p.cookie} {
		switch {
		case len(next) == 0:
		case w.facts.Kind != KindOpenLDAP:
			cookie = next
		default:
			if cookie, err = mergeOpenLDAP(cookie, next); err != nil {
				return nil, directoryError(fmt.Errorf("%s: %s: the server sent the cookie %q: %w", w.o.Agreement.Name, w.facts.Server, shorten(string(next)), err))
			}
		}
	}
	return cookie, nil
}

// needAll has everything read, once containers have come to rest.
func (w *following) needAll(why string) {
	if w.why == "" {
		w.why = why
		w.full = time.NewTimer(w.o.Debounce)
	}
}

// readAll reads everything on a connection of its own, while this one keeps
// what comes.
func (w *following) readAll(ctx context.Context, why string) error {
	_, err := w.run(ctx, func(o *Options) { o.reconcile = why })
	if err != nil {
		return err
	}
	w.full, w.why = nil, ""
	if w.due != nil {
		w.due.Reset(jittered(w.o.Agreement.FullEvery, why+time.Now().String()))
	}
	w.inbox.mu.Lock()
	w.inbox.signal()
	w.inbox.mu.Unlock()
	if !w.refreshed {
		return errRebuild // its refresh stage asked for it, and is of no use
	}
	return nil
}

// probe finds out whether the connection lives, and lets observed time pass.
func (w *following) probe(ctx context.Context) error {
	if !w.refreshed {
		return nil // an answer is owed: that has a timeout of its own
	}
	if err := w.dir.Ping(ctx); err != nil {
		return err
	}
	var a roster.Agreement
	err := w.o.Store.Read(ctx, func(tx Reader) (err error) { a, err = tx.SyncAgreement(w.o.Agreement.Name); return err })
	if err != nil {
		return err
	}
	if len(w.held) > 0 && w.o.Now().Sub(a.FullAt) >= max(w.o.Agreement.Interval, 4*a.FullTook, time.Minute) && w.why == "" {
		return w.readAll(ctx, "losses wait for the guard")
	}
	if every := w.o.Agreement.Interval; every > 0 && w.o.Now().Sub(a.CompletedAt) >= every && w.why == "" {
		return w.takeIn(ctx, parcel{})
	}
	return nil
}

// renew makes a new connection where this one is too old, or was made with
// files that have changed. This one is kept until there is one.
func (w *following) renew(ctx context.Context) error {
	if time.Now().Before(w.old) && w.stat() == w.files {
		return nil
	}
	w.files = w.stat()
	dir, err := w.connect(ctx)
	if err != nil {
		w.old = time.Now().Add(retryMost)
		w.o.Log.Error(fmt.Sprintf("%s: the connection to %s is to be made anew and cannot be; it is kept as long as it lives", w.o.Agreement.Name, w.facts.Server), "error", err)
		return nil
	}
	w.spare = dir
	return errRebuild
}
