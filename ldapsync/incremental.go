package ldapsync

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/dirpin/dirpin/internal/roster"
	"github.com/dirpin/dirpin/internal/user"
)

// since is what an incremental answer has said so far.
type since struct {
	mentioned map[rawKey]bool   // the entry came
	gone      map[rawKey]bool   // it is gone; whether the server said so itself
	there     map[rawKey]bool   // nobody whom we have, named as there
	holders   map[string]string // containers, by key, the normalized DN
	touched   map[rawKey]bool   // to be looked at
	doubtful  []*Entry          // that came, and of which the filter has to say whether they are people
}

func newSince() *since {
	return &since{mentioned: make(map[rawKey]bool), gone: make(map[rawKey]bool), there: make(map[rawKey]bool), touched: make(map[rawKey]bool), holders: make(map[string]string)}
}

// read asks the directory in the way that is chosen, and draws the
// consequences.
func (r *run) read(ctx context.Context) error {
	var c choice
	if err := r.o.Store.Read(ctx, func(tx Reader) (err error) { c, err = r.choose(tx); return err }); err != nil {
		return err
	}
	r.result.Feed = c.feed.Name
	if c.mark != nil {
		why, err := r.changes(ctx, c)
		if commitErr := r.writes.commit(r); err == nil && commitErr != nil {
			err = r.storeError("writing what the directory says", commitErr)
		}
		switch {
		case errors.Is(err, ErrUnfit) && !r.unfit[c.feed.Name]:
			return r.without(ctx, c.feed, err)
		case errors.Is(err, ErrCookie):
			c.mark, c.why = nil, err.Error()
			if err := r.refused(ctx, err); err != nil {
				return err
			}
		case err != nil:
			return err
		case why == "" && c.why == "":
			return r.finish(ctx)
		case c.why == "":
			c.why = why
		}
	}
	return r.everything(ctx, c)
}

// without asks again without a feed that the server does not do.
func (r *run) without(ctx context.Context, f Feed, why error) error {
	r.o.Log.Warn(fmt.Sprintf("%s: %s: %s is not to be had", r.state.Name, r.facts.Server, f.Name), "error", why)
	if r.unfit == nil {
		r.unfit = make(map[string]bool)
	}
	r.unfit[f.Name] = true
	return r.read(ctx)
}

// changes takes what has changed since the mark. Where something makes a full
// answer necessary it says what.
func (r *run) changes(ctx context.Context, c choice) (why string, err error) {
	var sample []roster.Person
	err = r.o.Store.Read(ctx, func(tx Reader) (err error) { sample, err = tx.SyncSample(r.state.Name, 3); return err })
	if err != nil {
		return "", r.storeError("choosing whom to look for", err)
	}
	// Where the account sees less a full answer shows how much, and the guard
	// judges that.
	if less, err := r.dir.Sees(ctx, sample); err != nil || less != "" {
		return less, err
	}
	r.since = newSince()
	o, err := r.dir.Changes(ctx, Query{Feed: c.feed, Cookie: c.mark.Cookie, AtLeast: r.atLeast(ctx)}, func(m Mention) error { return r.mention(ctx, m) })
	if err != nil {
		return "", err
	}
	return r.verdict(ctx, c.feed, o)
}

// atLeast tells whether the agreement has so many users.
func (r *run) atLeast(ctx context.Context) func(n int) (bool, error) {
	return func(n int) (yes bool, err error) {
		err = r.o.Store.Read(ctx, func(tx Reader) (err error) { yes, err = tx.SyncAtLeast(r.state.Name, n); return err })
		return yes, err
	}
}

// mention takes what a feed says of one entry. Of several mentions the last is
// true.
func (r *run) mention(ctx context.Context, m Mention) error {
	if m.What == OnlyCookie {
		return nil
	}
	key, err := parseKey(m.Key)
	if m.What == Container {
		r.since.holders[m.Key] = m.DN
		delete(r.since.touched, key)
		return nil
	}
	if err != nil {
		return directoryError(fmt.Errorf("%s: %s: %w", r.state.Name, r.facts.Server, err))
	}
	switch m.What {
	case EntryChanged:
		if m.Doubtful {
			r.since.doubtful = append(r.since.doubtful, m.Entry)
			return nil
		}
		delete(r.since.touched, key)
		r.result.Entries++
		r.seen.usable.Add(1) // one that is not usable is no sign that nobody is
		delete(r.since.gone, key)
		r.since.mentioned[key] = true
		if r.index != nil {
			if i := r.index.find(key); i >= 0 {
				r.index.set(i, flagSeen)
			}
		}
		return r.take(ctx, m.Entry)
	case EntryPresent:
		if err := r.needIndex(ctx); err != nil {
			return err
		}
		if i := r.index.find(key); i >= 0 {
			r.index.set(i, flagSeen)
		} else {
			r.since.there[key] = true
		}
	case EntryTouched:
		delete(r.since.gone, key)
		r.since.touched[key] = true
	case EntryGone, EntryMissing:
		delete(r.since.touched, key)
		delete(r.batch, key)
		delete(r.since.mentioned, key)
		r.since.gone[key] = m.What == EntryGone
	}
	return nil
}

// needIndex reads everyone whom the agreement has, for an answer that may prove
// to be complete. Who came already is seen.
func (r *run) needIndex(ctx context.Context) error {
	if r.index != nil {
		return nil
	}
	if err := r.loadIndex(ctx); err != nil {
		return err
	}
	for key := range r.since.mentioned {
		if i := r.index.find(key); i >= 0 {
			r.index.set(i, flagSeen)
		}
	}
	return nil
}

// verdict writes what came and prepares the end of the run. Where something
// makes a full answer necessary it says what.
func (r *run) verdict(ctx context.Context, f Feed, o Outcome) (why string, err error) {
	if err := r.lookAt(ctx); err != nil {
		return "", err
	}
	if err := r.flush(ctx); err != nil {
		return "", err
	}
	r.o.OnProgress(r.result.Entries)
	r.next = r.mark(f, o.Cookie)
	moved := ""
	err = r.o.Store.Read(ctx, func(tx Reader) (err error) { moved, err = r.movedHolder(tx); return err })
	switch {
	case err != nil:
		return "", r.storeError("comparing containers", err)
	case moved != "":
		return moved, nil
	case o.Distrust != "":
		return o.Distrust, nil
	case o.Complete:
		r.complete = true
		return "", r.needIndex(ctx)
	}
	return "", r.indexGone(ctx)
}

// lookAt looks at those of whom the answer said too little.
func (r *run) lookAt(ctx context.Context) error {
	for _, e := range r.since.doubtful {
		found, err := r.dir.Present(ctx, e.Person.Key, e.Person.DN)
		if err == nil && found {
			err = r.mention(ctx, Mention{What: EntryChanged, Key: e.Person.Key, Entry: e})
		}
		if err != nil {
			return err
		}
	}
	if len(r.since.touched) == 0 {
		return nil
	}
	keys := make([]string, 0, len(r.since.touched))
	for k := range r.since.touched {
		keys = append(keys, k.text(r.facts.Kind))
	}
	return r.dir.Look(ctx, keys, func(m Mention) error { return r.mention(ctx, m) })
}

// movedHolder tells whether a container came, went, or has another DN: those
// below it have too, and no server reports them.
func (r *run) movedHolder(tx Reader) (why string, err error) {
	s := r.since
	var keys []string
	for k := range s.holders {
		keys = append(keys, k)
	}
	for k := range s.gone {
		keys = append(keys, k.text(r.facts.Kind))
	}
	known, err := tx.SyncContainers(r.state.Name, keys)
	if err != nil {
		return "", err
	}
	dns := make(map[string]string)
	for _, c := range known {
		dns[c.Key] = c.DNNorm
		if dn, ok := s.holders[c.Key]; !ok {
			return "the container " + shorten(c.DNNorm) + " is gone", nil
		} else if dn != c.DNNorm {
			return "the container " + shorten(c.DNNorm) + " is now " + shorten(dn), nil
		}
	}
	for k, dn := range s.holders {
		if dns[k] == "" {
			return "there is a container that was not there before: " + shorten(dn), nil
		}
	}
	return "", nil
}

// indexGone makes an index of those only who are gone, and of those who have
// left before and whose case is to be looked at again: to the end of a run they
// are those whom a full answer did not have.
func (r *run) indexGone(ctx context.Context) error {
	held := make(map[string]roster.Held)
	err := r.o.Store.Read(ctx, func(tx Reader) error {
		// A loss that was only inferred waits without a second witness. Before
		// the guard may let it through there must be one.
		leaving := make(map[string]bool)
		err := tx.SyncPending(r.state.Name, "", func(l roster.Loss) error {
			key, err := parseKey(l.Key)
			if err == nil && (l.Kind == roster.LossAbsent || l.Kind == roster.LossReplaced || l.Kind == roster.LossRemoved) {
				if leaving[l.Key] = true; l.Evidence == "inferred" {
					r.since.again(key, false)
				}
			}
			return err
		})
		if err != nil {
			return err
		}
		if err := r.againClaimed(tx, leaving); err != nil {
			return err
		}
		keys := make([]string, 0, len(r.since.gone))
		for k := range r.since.gone {
			keys = append(keys, k.text(r.facts.Kind))
		}
		people, err := tx.SyncPeople(keys)
		for _, p := range people {
			if p.Agreement == r.state.Name {
				held[p.Key] = roster.Held{Key: p.Key, Hash: p.Hash, Inactive: p.InactiveReason}
			}
		}
		return err
	})
	if err != nil {
		return r.storeError("reading who is gone", err)
	}
	r.index, err = newIndex(len(held), 0, 0, func(yield func(roster.Held) error) error {
		for _, h := range held {
			if err := yield(h); err != nil {
				return err
			}
		}
		return nil
	})
	return err
}

// again has somebody looked at who was not mentioned.
func (s *since) again(key rawKey, explicit bool) {
	if _, ok := s.gone[key]; !ok && !s.mentioned[key] {
		s.gone[key] = explicit
	}
}

// againClaimed has those looked at who have left, in an earlier run or by a
// loss that still waits, and whose user id a refused entry claims.
func (r *run) againClaimed(tx Reader, leaving map[string]bool) error {
	claims, err := r.takenClaims(tx)
	if err != nil {
		return err
	}
	return inChunks(claims, func(part []claim) error {
		ids := make([]string, len(part))
		for i, c := range part {
			ids[i] = c.folded
		}
		owners, err := tx.SyncClaimants(ids)
		for _, p := range owners {
			if key, keyErr := parseKey(p.Key); keyErr == nil && p.Agreement == r.state.Name && (p.InactiveReason == user.Absent || leaving[p.Key]) {
				r.since.again(key, leaving[p.Key])
			}
		}
		return err
	})
}

// stands tells whether an entry that was refused is still there, as far as the
// answer shows.
func (r *run) stands(key rawKey) bool {
	if r.since == nil {
		return r.rejects[key]
	}
	if r.complete {
		return r.since.mentioned[key] || r.since.there[key]
	}
	_, gone := r.since.gone[key]
	return !gone
}

// excluded returns which keys are to be left alone. A full answer knows by its
// index.
func (r *run) excluded(tx Reader, keys []string) (map[string]bool, error) {
	excluded := make(map[string]bool)
	if r.since == nil {
		return excluded, nil
	}
	list, err := tx.SyncExcluded(r.state.Name, keys)
	for _, k := range list {
		excluded[k] = true
	}
	return excluded, err
}

// explicit tells whether the server itself said that an entry is gone.
func (r *run) explicit(key rawKey) bool { return r.since != nil && r.since.gone[key] }

// everything reads all, with the feed or besides it.
func (r *run) everything(ctx context.Context, c choice) error {
	if c.why != "" {
		r.o.Log.Info(fmt.Sprintf("%s: %s: reading everything: %s", r.state.Name, r.facts.Server, c.why))
	}
	if err := r.checkBehind(); err != nil {
		return err
	}
	done, err := r.alone(ctx)
	if err != nil {
		return err
	}
	defer done()
	begun := time.Now()
	r.since, r.complete = nil, true
	r.rejects = make(map[rawKey]bool)
	clear(r.batch)
	r.order = r.order[:0]
	r.seen.reset()
	r.result.Unchanged = 0 // they come again
	if err := r.loadIndex(ctx); err != nil {
		return err
	}
	r.result.Full = true
	err = r.entries(ctx, c)
	if errors.Is(err, ErrUnfit) && c.feed.Name != FeedFull {
		return r.without(ctx, c.feed, err)
	}
	if err != nil {
		return err
	}
	r.state.FullTook = time.Since(begun)
	return r.finish(ctx)
}

// entries reads everyone and has the feed go on from there.
func (r *run) entries(ctx context.Context, c choice) error {
	a := Answer{Known: r.known, Again: r.again, Yield: func(e *Entry) error { return r.take(ctx, e) }, Fresh: len(r.index.held) == 0, Unpaged: r.unpaged(),
		Holder: func(h roster.Container) { r.holders = append(r.holders, h) }}
	r.holders = nil
	if c.feed.Name == FeedSyncrepl && r.next == nil {
		o, err := r.dir.Refresh(ctx, c.feed, a)
		if err == nil {
			r.next = r.mark(c.feed, o.Cookie)
			return r.taken(ctx)
		}
		if !errors.Is(err, ErrUnfit) {
			return err
		}
		r.o.Log.Warn(fmt.Sprintf("%s: %s: content synchronization does not begin; reading everything without it", r.state.Name, r.facts.Server), "error", err)
		r.holders = nil
		r.again()
		a.Unpaged = false
	}
	if c.feed.Name != FeedFull {
		if r.next == nil { // where to go on is asked first: what changes meanwhile comes twice
			cookie, err := r.dir.Mark(ctx, c.feed)
			if err != nil {
				return err
			}
			r.next = r.mark(c.feed, cookie)
		}
		if err := r.dir.Containers(ctx, func(h roster.Container) error { r.holders = append(r.holders, h); return nil }); err != nil {
			return err
		}
	}
	if err := r.dir.Entries(ctx, a); err != nil {
		return err // what was not written yet is not: it comes again
	}
	return r.taken(ctx)
}

// taken writes the rest of a full answer.
func (r *run) taken(ctx context.Context) error {
	if err := r.flush(ctx); err != nil {
		return err
	}
	r.countSeen()
	r.o.OnProgress(r.result.Entries)
	if r.result.Entries > 0 && r.seen.usable.Load() == 0 {
		return r.nobodyUsable("none of the %d entries", r.result.Entries)
	}
	return nil
}

// refused remembers that the server did not take a cookie. The second time
// within an hour cookies are left alone for a day.
func (r *run) refused(ctx context.Context, why error) error {
	s := r.state
	if !s.RefusedAt.IsZero() && r.start.Sub(s.RefusedAt) < refusedAgain {
		s.FullUntil = r.start.Add(fullFor)
	}
	s.RefusedAt = r.start
	r.o.Log.Warn(fmt.Sprintf("%s: %s refuses the cookie", r.state.Name, r.facts.Server), "error", why)
	return r.remember(ctx, s)
}

// remember keeps what is known of the agreement, whatever becomes of the run.
func (r *run) remember(ctx context.Context, s roster.Agreement) error {
	err := r.o.Store.Write(ctx, func(tx Writer) error { return r.advance(tx, &s) })
	if err != nil {
		return r.storeError("keeping what is known of the directory", err)
	}
	r.state = s
	return nil
}

// context returns what of an OpenLDAP's changes has been seen.
func (e *ending) context(before string) string {
	lists := [][]string{e.facts.Context}
	if !e.restored {
		lists = append(lists, strings.Fields(before))
	}
	if e.next != nil && e.facts.Kind == KindOpenLDAP {
		if c, err := readOpenLDAPCookie(e.next.Cookie); err == nil {
			lists = append(lists, c.csns.list())
		}
	}
	seen, err := readCSNs(slices.Concat(lists...))
	if err != nil {
		return strings.Join(e.facts.Context, " ")
	}
	return strings.Join(seen.list(), " ")
}

// keepFeed keeps, in the last transaction, where the feed goes on.
func (e *ending) keepFeed(state *roster.Agreement) error {
	state.Feed, state.BehindSince = e.result.Feed, time.Time{}
	state.Context = e.context(state.Context)
	if e.result.Full {
		state.FullAt = e.o.Now()
	}
	if e.result.Full && e.result.Feed != FeedFull {
		if err := e.tx.SyncSetContainers(state.Name, e.run.holders); err != nil {
			return err
		}
	}
	if e.next == nil {
		return nil
	}
	return e.tx.SyncSaveMark(*e.next)
}
