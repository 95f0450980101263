package ldapsync

import (
	"context"
	"fmt"

	"github.com/dirpin/dirpin/internal/roster"
	"github.com/dirpin/dirpin/internal/user"
)

// chunk is how many people are read at a time at the end of a run.
const chunk = 1000

// absences are what a complete answer says about those whom it did not have.
type absences struct {
	replaced  map[rawKey]roster.Reject // of an old key: the new entry that claims its user id
	elsewhere map[rawKey]string        // agreement that waits to take the person over
}

// findAbsences looks for those who are not simply gone.
func (r *run) findAbsences(ctx context.Context) (absences, error) {
	a := absences{replaced: make(map[rawKey]roster.Reject), elsewhere: make(map[rawKey]string)}
	none := true
	r.index.unseen(func(int) { none = false })
	if none {
		return a, nil
	}
	err := r.o.Store.Read(ctx, func(tx Reader) error {
		if err := tx.SyncRejects("", func(x roster.Reject) error {
			if k, err := parseKey(x.Key); err == nil && x.Agreement != r.state.Name && x.Reason == reasonOwned {
				if i := r.index.find(k); i >= 0 && !r.index.is(i, flagSeen) {
					a.elsewhere[k] = x.Agreement
				}
			}
			return nil
		}); err != nil {
			return err
		}
		claims, err := r.takenClaims(tx)
		if err != nil {
			return err
		}
		return inChunks(claims, func(part []claim) error { return r.findReplaced(tx, part, a.replaced) })
	})
	return a, err
}

// claim is a rejected entry that wants a user id which somebody has.
type claim struct{ key, folded string }

// takenClaims returns the claims of this run's rejects, in the order of keys.
func (r *run) takenClaims(tx Reader) ([]claim, error) {
	var claims []claim
	each := func(x roster.Reject) error {
		if k, err := parseKey(x.Key); err == nil && x.Reason == reasonTaken && !x.Partial && r.stands(k) {
			claims = append(claims, claim{x.Key, user.Fold(x.UserID)})
		}
		return nil
	}
	if r.o.DryRun {
		for _, x := range r.refuse {
			each(x)
		}
		return claims, nil
	}
	return claims, tx.SyncRejects(r.state.Name, each)
}

// findReplaced finds the claims on the ids of people who have left.
func (r *run) findReplaced(tx Reader, claims []claim, replaced map[rawKey]roster.Reject) error {
	ids := make([]string, len(claims))
	for i, c := range claims {
		ids[i] = c.folded
	}
	owners, err := tx.SyncClaimants(ids)
	if err != nil {
		return err
	}
	left := make(map[string]rawKey) // folded id of one who has left
	for _, p := range owners {
		k, err := parseKey(p.Key)
		if err != nil || p.Agreement != r.state.Name {
			continue
		}
		if i := r.index.find(k); i >= 0 && !r.index.is(i, flagSeen, flagExcluded) {
			left[user.Fold(p.UserID)] = k
		}
	}
	for _, c := range claims {
		if old, ok := left[c.folded]; ok {
			if _, taken := replaced[old]; !taken {
				replaced[old] = roster.Reject{Key: c.key}
			}
		}
	}
	return nil
}

// kindOf returns what becomes of somebody whom the answer did not have; "" for
// nothing.
func (a absences) kindOf(x *index, i int) roster.Kind {
	_, replaced := a.replaced[x.held[i].key]
	switch {
	case a.elsewhere[x.held[i].key] != "":
		return ""
	case replaced:
		return roster.LossReplaced
	case x.is(i, flagDue):
		return roster.LossRemoved
	case x.is(i, flagInactive):
		return ""
	}
	return roster.LossAbsent
}

// witness asks the directory once more about everyone who would lose
// something by not having been in the answer. Kinds that the guard will hold
// anyway need no witness.
func (r *run) witness(ctx context.Context, a absences) error {
	asks, err := r.worthAsking(ctx, a)
	if err != nil {
		return err
	}
	var people []roster.Person
	return r.eachUnseen(ctx, func(i int) bool { return asks[a.kindOf(r.index, i)] && !r.explicit(r.index.held[i].key) }, func(keys []string) error {
		err := r.o.Store.Read(ctx, func(tx Reader) (err error) {
			people, err = tx.SyncPeople(keys)
			return err
		})
		if err != nil {
			return r.storeError("reading who has left", err)
		}
		for _, p := range people {
			found, err := r.dir.Present(ctx, p.Key, p.DN)
			if err != nil {
				return err
			}
			k, err := parseKey(p.Key)
			if err == nil && found {
				r.index.set(r.index.find(k), flagSeen)
				r.spared[p.Key] = true
				delete(a.replaced, k)
				r.result.Missed++
				r.o.Log.Warn(fmt.Sprintf("%s: %s: the server's answer was incomplete: %s is there all the same", r.state.Name, r.facts.Server, p.DN))
			}
		}
		return nil
	})
}

// spare forgets that those have left whom the witness found: an earlier run may
// have said so.
func (e *ending) spare() error {
	if len(e.spared) == 0 {
		return nil
	}
	var c roster.Changes
	for key := range e.spared {
		c.Mentioned = append(c.Mentioned, key)
	}
	err := e.tx.SyncPending(e.state.Name, "", func(l roster.Loss) error {
		if e.spared[l.Key] && l.Kind != roster.LossAbsent && l.Kind != roster.LossReplaced && l.Kind != roster.LossRemoved {
			c.Park = append(c.Park, l)
		}
		return nil
	})
	if err != nil {
		return err
	}
	return e.tx.SyncApply(e.state.Name, c)
}

// tooNew tells whether somebody may be missing only because the server does not
// have all yet: it is another one than before, and who was changed shortly
// before the change of servers may not have reached it.
func (r *run) tooNew(p roster.Person) bool {
	key, err := parseKey(p.Key)
	if err != nil || r.explicit(key) || r.state.Server == "" {
		return false
	}
	lag, since := r.o.Agreement.ReplicaLag, r.state.ServerAt
	if r.state.Server != r.facts.Server {
		since = r.start
	}
	return !since.IsZero() && r.start.Sub(since) < lag && !p.ChangedAt.After(since) && since.Sub(p.ChangedAt) < lag
}

// worthAsking returns the kinds of absence that the guard may let through.
func (r *run) worthAsking(ctx context.Context, a absences) (map[roster.Kind]bool, error) {
	asks := map[roster.Kind]bool{roster.LossAbsent: true, roster.LossRemoved: true, roster.LossReplaced: true}
	if r.o.AcceptRemovals || r.o.AdoptKeys {
		return asks, nil
	}
	var t roster.Tally
	err := r.o.Store.Read(ctx, func(tx Reader) (err error) {
		t, err = tx.SyncTally(r.state.Name, r.start.Add(-r.o.Agreement.Guard.Window), r.enough())
		return err
	})
	if err != nil {
		return nil, r.storeError("counting for the guard", err)
	}
	t.Pending = make(map[roster.Measure]int)
	r.index.unseen(func(i int) {
		if k := a.kindOf(r.index, i); k != "" {
			t.Pending[roster.Measure{Kind: k}]++
		}
	})
	for _, h := range judge(r.o.Agreement.Guard, t) {
		asks[h.Measure.Kind] = false
	}
	return asks, nil
}

// eachUnseen calls f with the keys of those unseen ones that are wanted, some
// at a time.
func (r *run) eachUnseen(ctx context.Context, want func(i int) bool, f func(keys []string) error) error {
	var keys []string
	var wanted []rawKey
	r.index.unseen(func(i int) {
		if want(i) {
			wanted = append(wanted, r.index.held[i].key)
		}
	})
	return inChunks(wanted, func(part []rawKey) error {
		if err := ctx.Err(); err != nil {
			return err
		}
		keys = keys[:0]
		for _, k := range part {
			keys = append(keys, k.text(r.facts.Kind))
		}
		return f(keys)
	})
}

// inChunks calls f with some of the list at a time.
func inChunks[T any](list []T, f func([]T) error) error {
	for len(list) > 0 {
		n := min(chunk, len(list))
		if err := f(list[:n]); err != nil {
			return err
		}
		list = list[n:]
	}
	return nil
}
