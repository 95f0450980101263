package ldapsync

import (
	"context"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
	"time"
	"unsafe"

	"github.com/dirpin/dirpin/internal/roster"
	"github.com/dirpin/dirpin/internal/user"
)

// batchSize is how many people are decided about at a time.
const batchSize = 1000

// run is one synchronization of one agreement.
type run struct {
	o       Options
	dir     Directory
	facts   Facts
	state   roster.Agreement
	start   time.Time
	index   *index
	batch   map[rawKey]*Entry
	order   []rawKey        // of the batch
	fresh   []roster.Person // room for those of a batch who are new
	seen    seen
	writes  writes
	rejects map[rawKey]bool
	waiting map[rawKey]bool // seen, with losses and no gain: counted when the guard has spoken
	result  Result

	since    *since          // what an incremental answer said; nil: everything is read
	complete bool            // who was not mentioned is not there
	unfit    map[string]bool // feeds that the server does not do
	restored bool            // the directory may be behind what was seen before
	next     *roster.Mark
	holders  []roster.Container // of a full answer
	spared   map[string]bool    // keys of those whom the witness found
	counted  map[string]bool    // keys that are counted as updated already
	quiet    bool               // of those who were refused before nothing is told

	// A dry run writes nothing and so has to remember.
	claims map[string]string // folded user id → key that was added
	parked []roster.Loss
	refuse []roster.Reject
}

// Run synchronizes one agreement. An error is of class ErrConfig, ErrDirectory
// or ErrBusy, or the store's; what was gained until then stays, and nobody has
// lost anything. Where the guard holds losses, Result.Held says so.
func Run(ctx context.Context, o Options) (Result, error) {
	o = o.withDefaults()
	r := newRun(o)
	began := time.Now()
	err := r.all(ctx)
	r.result.Duration = time.Since(began)
	if errors.Is(err, roster.ErrMoved) {
		err = &classed{ErrBusy, fmt.Errorf("%s: %w", o.Agreement.Name, err)}
	}
	return r.result, err
}

// newRun returns a run with nothing done. Options have their defaults.
func newRun(o Options) *run {
	r := &run{o: o, start: o.Now(), batch: make(map[rawKey]*Entry), rejects: make(map[rawKey]bool), waiting: make(map[rawKey]bool), claims: make(map[string]string), spared: make(map[string]bool), counted: make(map[string]bool)}
	r.result = Result{Agreement: o.Agreement.Name, DryRun: o.DryRun}
	return r
}

func (r *run) all(ctx context.Context) error {
	if err := r.rename(ctx); err != nil {
		return err
	}
	if err := r.load(ctx); err != nil {
		return err
	}
	var why error // servers were not asked that are
	avoid := make(map[string]bool)
	for {
		err := r.one(ctx, avoid)
		switch {
		case errors.Is(err, ErrBehind) && !r.restored:
			r.o.Log.Warn(fmt.Sprintf("%s: %s is behind, trying another server", r.state.Name, r.facts.Server), "error", err)
			why, avoid[r.facts.Server] = err, true
		case why != nil && r.dir == nil && errors.Is(err, ErrDirectory):
			if err := r.behind(ctx, why); err != nil {
				return err
			}
			why = nil
			clear(avoid)
		default:
			return err
		}
	}
}

// one synchronizes with one server.
func (r *run) one(ctx context.Context, avoid map[string]bool) error {
	r.dir = nil
	dir, err := r.o.Connect(ctx, r.connectOptions(avoid))
	if err != nil {
		return err
	}
	defer dir.Close()
	r.dir, r.facts = dir, dir.Facts()
	r.result.Server = r.facts.Server
	if err := r.checkIdentity(); err != nil {
		return err
	}
	if err := r.checkRenamed(ctx); err != nil {
		return err
	}
	defer r.writes.commit(r) // what came before an error is true all the same
	return r.read(ctx)
}

func (r *run) connectOptions(avoid map[string]bool) ConnectOptions {
	return ConnectOptions{Agreement: r.o.Agreement, Password: r.o.Password, Seed: r.state.Seed, Now: r.o.Now, Log: r.o.Log, Avoid: avoid}
}

// load reads what is known of the agreement.
func (r *run) load(ctx context.Context) error {
	name := r.o.Agreement.Name
	err := r.o.Store.Read(ctx, func(tx Reader) (err error) {
		r.state, err = tx.SyncAgreement(name)
		return err
	})
	if err != nil {
		return r.storeError("reading what is known of the directory", err)
	}
	r.state.Name = name
	if r.state.Seed == 0 {
		// Random: whoever edits his own entry must not be able to make a change
		// that has the same hash.
		var seed [8]byte
		rand.Read(seed[:]) // never fails
		r.state.Seed = binary.LittleEndian.Uint64(seed[:]) | 1
	}
	return nil
}

// loadIndex reads everyone whom the agreement has. Only a full answer removes
// those whose grace is over.
func (r *run) loadIndex(ctx context.Context) error {
	grace := r.o.Agreement.Grace
	if r.since != nil {
		grace = 0
	}
	err := r.o.Store.Read(ctx, func(tx Reader) (err error) {
		r.index, err = loadIndex(tx, r.state.Name, r.grown(), grace)
		return err
	})
	if err != nil {
		return r.storeError("reading who is held", err)
	}
	r.o.OnIndex(len(r.index.held) * int(unsafe.Sizeof(heldPerson{})))
	return nil
}

// grown is how much longer those who are absent are so: observed time. A clock
// that jumps, or a directory that was dead for days, counts for no more than
// two intervals.
func (r *run) grown() time.Duration {
	if r.state.CompletedAt.IsZero() {
		return 0
	}
	most := 2 * r.o.Agreement.Interval
	if r.o.Agreement.Interval <= 0 {
		most = 24 * time.Hour // synchronized by hand, or by cron
	}
	return max(0, min(r.start.Sub(r.state.CompletedAt), most))
}

// checkIdentity refuses a directory that is another one than last time.
func (r *run) checkIdentity() error {
	s, f, name := &r.state, r.facts, r.o.Agreement.Name
	if s.KeyAttribute != "" && s.KeyAttribute != f.KeyAttribute && !r.o.AdoptKeys {
		return configError(fmt.Errorf("%s: %s identifies people by %s, and until now they were by %s: everyone would be somebody new; `dirpin sync --adopt-keys %s` takes the same user id for the same person",
			name, f.Server, f.KeyAttribute, s.KeyAttribute, name))
	}
	if !sameDirectory(s.Directory, f.Identity) && !r.o.AdoptKeys {
		return configError(fmt.Errorf("%s: %s is another directory (%s) than the one synchronized until now (%s): give it an agreement of its own, or `dirpin sync --adopt-keys %s` takes the same user id for the same person",
			name, f.Server, f.Identity, s.Directory, name))
	}
	s.Kind, s.KeyAttribute = f.Kind, f.KeyAttribute
	if _, key := splitIdentity(f.Identity); key != "" || s.Directory == "" || r.o.AdoptKeys {
		s.Directory = f.Identity
	}
	return nil
}

// sameDirectory compares identities as far as both are known: the key of the
// naming context may be hidden from the bind account.
func sameDirectory(a, b string) bool {
	if a == "" || b == "" {
		return true
	}
	contextA, keyA := splitIdentity(a)
	contextB, keyB := splitIdentity(b)
	return contextA == contextB && (keyA == keyB || keyA == "" || keyB == "")
}

// splitIdentity parts the naming context from the key of its entry, if that is
// known.
func splitIdentity(id string) (context, key string) {
	i := strings.LastIndexByte(id, ' ')
	if i < 0 {
		return id, ""
	}
	if _, err := parseKey(id[i+1:]); err != nil {
		return id, ""
	}
	return id[:i], id[i+1:]
}

// seen counts what an answer shows. It is written by the goroutine that reads
// the directory, usable by that which writes the store too.
type seen struct {
	entries   int
	unchanged int
	usable    atomic.Int64 // entries that could be users
	anew      bool         // the answer was begun anew
}

// known looks at an entry before it is a person, on the goroutine that reads
// the directory: most have not changed, and are done with.
func (r *run) known(key [16]byte, hash uint64) bool {
	if r.seen.entries++; r.seen.entries%1000 == 0 {
		r.o.OnProgress(r.seen.entries)
	}
	i := r.index.find(key)
	if i < 0 {
		return false
	}
	r.index.set(i, flagSeen)
	switch {
	case r.index.is(i, flagExcluded):
		return true
	case r.o.Full || !r.index.settled(i, hash):
		return false
	}
	r.seen.unchanged++
	r.seen.usable.Add(1)
	return true
}

// reset begins a full answer.
func (s *seen) reset() {
	s.entries, s.unchanged, s.anew = 0, 0, false
	s.usable.Store(0)
}

// again forgets what was known of an answer that begins anew. Whoever was
// written in the meantime comes again, unchanged.
func (r *run) again() {
	r.index.forgetSeen()
	r.seen.entries, r.seen.unchanged = 0, 0
	r.seen.anew = true
}

// countSeen adds what the answer showed to the result.
func (r *run) countSeen() {
	r.result.Entries = r.seen.entries
	r.result.Unchanged += r.seen.unchanged
	if r.seen.anew { // whoever was written before came again, unchanged
		others := r.result.Added + r.result.Updated + r.result.Returned + len(r.rejects) + len(r.waiting)
		r.result.Unchanged = max(0, min(r.result.Unchanged, r.result.Entries-others))
	}
	f := r.dir.Facts()
	r.result.Referrals = f.Referrals
	switch {
	case f.Unpaged:
		r.state.Paging = unpaged
	case f.Cut:
		r.state.Paging = paged
	}
}

// How the last answer came that was asked for without pages.
const (
	unpaged = "unpaged"
	paged   = "paged"
)

// unpaged tells whether everything may be asked for at once: that is faster,
// but not where the server has cut such an answer.
func (r *run) unpaged() bool {
	return r.state.Paging != paged || r.state.ScopeFP != r.facts.ScopeFP
}

// take receives one entry of the answer that is not known.
func (r *run) take(ctx context.Context, e *Entry) error {
	key, err := parseKey(e.Person.Key)
	if err != nil {
		return directoryError(fmt.Errorf("%s: %s: %w", r.o.Agreement.Name, r.facts.Server, err))
	}
	if e.Refuse == nil {
		r.seen.usable.Add(1)
	}
	if _, again := r.batch[key]; !again {
		r.order = append(r.order, key)
	}
	r.batch[key] = e // of several mentions the last
	if len(r.batch) < batchSize {
		return nil
	}
	return r.writeBatch(ctx)
}

// flush writes what is left, and makes all of it last.
func (r *run) flush(ctx context.Context) error {
	if err := r.writeBatch(ctx); err != nil {
		return err
	}
	if err := r.writes.commit(r); err != nil {
		return r.storeError("writing what the directory says", err)
	}
	r.fresh = nil
	return nil
}

// enoughUseless is how many entries in a row may be none of a user, from the
// first one on, before the answer is given up: they are held in memory.
const enoughUseless = 20_000

func (r *run) nobodyUsable(which string, n int) error {
	return directoryError(fmt.Errorf("%s: %s: "+which+" has a user id that can be taken: the bind account may not read it, or `attributes` names another one; nothing was changed",
		r.state.Name, r.facts.Server, n))
}

// writeBatch hands the batch to the transaction at hand. Nothing is written
// while every entry so far is one that cannot be a user: then the answer as a
// whole is at fault.
func (r *run) writeBatch(ctx context.Context) error {
	switch {
	case len(r.batch) == 0:
		return nil
	case r.seen.usable.Load() == 0 && len(r.batch) < enoughUseless:
		return nil
	case r.seen.usable.Load() == 0:
		return r.nobodyUsable("none of the first %d entries", len(r.batch))
	}
	for {
		p, err := r.write(ctx)
		if row := new(roster.RowError); errors.As(err, &row) {
			if bad := r.rejectRow(row); bad {
				continue
			}
		}
		if err != nil {
			return r.storeError("writing what the directory says", err)
		}
		r.account(p)
		clear(r.batch)
		r.order = r.order[:0]
		return nil
	}
}

func (r *run) storeError(doing string, err error) error {
	return fmt.Errorf("%s: %s: %w", r.o.Agreement.Name, doing, err)
}

// rejectRow makes a reject of the one entry that the store cannot take, so
// that the others are not held up for ever.
func (r *run) rejectRow(row *roster.RowError) bool {
	key, err := parseKey(row.Key)
	e := r.batch[key]
	if err != nil || e == nil || e.Refuse != nil {
		return false
	}
	r.o.Log.Error(fmt.Sprintf("%s: an entry cannot be stored", r.o.Agreement.Name), "dn", e.Person.DN, "error", row.Err)
	e.Refuse = &roster.Reject{Key: row.Key, DN: e.Person.DN, UserID: e.Person.UserID, Reason: "fault", Detail: "the store cannot take it"}
	return true
}

// write decides about the batch and, in the same transaction, does it.
func (r *run) write(ctx context.Context) (p plan, err error) {
	if r.o.DryRun {
		return p, r.o.Store.Read(ctx, func(tx Reader) error {
			p, err = r.decide(tx)
			return err
		})
	}
	err = r.writes.do(ctx, r, len(r.batch), func(tx Writer) error {
		var added bool
		if p, added, err = r.writeNew(tx); added || err != nil {
			return err
		}
		return tx.SyncTry(func() (err error) {
			if p, err = r.decide(tx); err != nil {
				return err
			}
			return tx.SyncApply(r.state.Name, p.Changes)
		})
	})
	return p, err
}

// writeNew writes a batch of new people, about whom nothing else is to be kept.
// The store is not asked whether they are new: it takes no key and no user id
// twice, and if one is taken nothing is written and all of it is decided again
// with what is stored.
func (r *run) writeNew(tx Writer) (p plan, added bool, err error) {
	if r.since != nil { // the index holds some people only
		return p, false, nil
	}
	for key, e := range r.batch {
		if e == nil || e.Refuse != nil || len(e.Faults) > 0 || r.index.find(key) >= 0 {
			return p, false, nil
		}
	}
	d := r.differ()
	d.plan.Put, d.plan.Admit = r.fresh[:0], make([]string, 0, len(r.batch))
	for _, k := range r.order {
		d.entry(r.batch[k])
	}
	r.fresh = d.plan.Put
	if len(d.plan.Put) < len(r.batch) {
		return p, false, nil
	}
	added, err = tx.SyncAdd(r.state.Name, d.plan.Put)
	if added {
		err = tx.SyncApply(r.state.Name, roster.Changes{Admit: d.plan.Admit})
	}
	return d.plan, added, err
}

func (r *run) differ() *differ {
	return &differ{agreement: r.state.Name, adoptLocal: r.o.Agreement.AdoptLocal, server: r.facts.Server, now: r.start, first: r.state.CompletedAt.IsZero(),
		claimed: func(folded string) string { return r.claims[folded] },
		people:  make(map[string]*roster.Person), claimants: make(map[string]*roster.Person)}
}

// advance begins a writing transaction; the first one of an agreement also
// keeps what the directory is, and the seed of its hashes.
func (r *run) advance(tx Writer, state *roster.Agreement) error {
	if err := tx.SyncAdvance(state.Name, state.Seq); err != nil {
		return err
	}
	state.Seq++
	return tx.SyncSave(*state)
}

// decide reads what is stored about the batch and compares.
func (r *run) decide(tx Reader) (plan, error) {
	d := r.differ()
	keys := make([]string, 0, len(r.order))
	var folded []string
	for _, k := range r.order {
		e := r.batch[k]
		if e == nil {
			continue // gone again
		}
		keys = append(keys, e.Person.Key)
		if e.Person.UserID != "" {
			folded = append(folded, user.Fold(e.Person.UserID))
		}
	}
	people, err := tx.SyncPeople(keys)
	if err != nil {
		return d.plan, err
	}
	for i := range people {
		d.people[people[i].Key] = &people[i]
	}
	claimants, err := tx.SyncClaimants(folded)
	if err != nil {
		return d.plan, err
	}
	for i := range claimants {
		d.claimants[user.Fold(claimants[i].UserID)] = &claimants[i]
	}
	excluded, err := r.excluded(tx, keys)
	if err != nil {
		return d.plan, err
	}
	for _, k := range r.order {
		if e := r.batch[k]; e != nil && !excluded[e.Person.Key] {
			d.entry(e)
		}
	}
	return d.plan, nil
}

// account adds a plan that was carried out to the result.
func (r *run) account(p plan) {
	r.result.Added += p.added
	r.result.Updated += p.updated
	r.result.Unchanged += p.unchanged
	r.result.Returned += p.returned
	for _, x := range p.Reject {
		if k, err := parseKey(x.Key); err == nil {
			r.rejects[k] = true
		}
	}
	if r.since != nil { // everything may still be read in this run
		for _, key := range p.changed {
			r.counted[key] = true
		}
	}
	for _, key := range p.waiting {
		if k, err := parseKey(key); err == nil {
			r.waiting[k] = true
		}
	}
	if r.o.DryRun {
		for _, x := range p.Put {
			r.claims[user.Fold(x.UserID)] = x.Key
		}
		r.parked = append(r.parked, p.Park...)
		r.refuse = append(r.refuse, p.Reject...)
	}
	r.writes.news = append(r.writes.news, p.news...)
	if r.o.DryRun {
		r.tellNews()
	}
}
