package ldapsync

import (
	"errors"
	"slices"
	"time"

	"github.com/dirpin/dirpin/internal/roster"
	"github.com/dirpin/dirpin/internal/user"
)

// window returns when the guard's window began.
func (e *ending) window() time.Time { return e.start.Add(-e.o.Agreement.Guard.Window) }

// errEnough ends a reading that has what it wanted.
var errEnough = errors.New("enough")

// applyPending goes through everything that is pending, some keys at a time,
// and applies what the guard lets through. Changed user ids are put aside:
// they are settled last.
func (e *ending) applyPending() error {
	for after := ""; ; {
		losses := make(map[string][]roster.Loss)
		var keys []string
		err := e.tx.SyncPending(e.state.Name, after, func(l roster.Loss) error {
			if losses[l.Key] == nil {
				if len(keys) == chunk {
					return errEnough
				}
				keys = append(keys, l.Key)
			}
			losses[l.Key] = append(losses[l.Key], l)
			return nil
		})
		if err != nil && !errors.Is(err, errEnough) {
			return err
		}
		if len(keys) == 0 {
			return nil
		}
		after = keys[len(keys)-1]
		people, err := e.tx.SyncPeople(keys)
		if err != nil {
			return err
		}
		var c roster.Changes
		for _, p := range people {
			e.applyTo(&c, p, losses[p.Key])
			delete(losses, p.Key)
		}
		for key := range losses { // of nobody any more
			c.Mentioned = append(c.Mentioned, key)
		}
		if err := e.tx.SyncApply(e.state.Name, c); err != nil {
			return err
		}
	}
}

// applyTo applies what one person loses.
func (e *ending) applyTo(c *roster.Changes, p roster.Person, losses []roster.Loss) {
	if p.Agreement != e.state.Name {
		c.Mentioned = append(c.Mentioned, p.Key)
		return
	}
	before := p
	key := p.Key
	var stay []roster.Loss
	changed, gone := false, false
	for _, l := range losses {
		l.Accepted = held(e.holds, l)
		blocked := p.InFlight && l.Kind != roster.LossBlank
		switch {
		case held(e.result.Held, l) || blocked || e.only != "" && l.Kind != e.only:
			stay = append(stay, l)
			e.countWaiting(key, false)
			continue
		case l.Kind == roster.LossUserID:
			stay = append(stay, l)
			continue
		}
		if l.Kind == roster.LossReplaced && e.o.AdoptKeys && !e.adopt(c, &p, l) {
			stay = append(stay, l)
			continue
		}
		gone = gone || l.Kind == roster.LossRemoved || l.Kind == roster.LossReplaced && !e.o.AdoptKeys
		changed = true
		applyLoss(&p, l)
		l.Since = e.start
		c.Applied = append(c.Applied, l)
		e.count(l)
	}
	if len(stay) == 0 && len(losses) > 0 && p.Key == key {
		p.Hash = losses[0].Hash
	}
	switch {
	case gone:
		c.Remove = append(c.Remove, before)
	case changed || p.Hash != before.Hash:
		c.Put = append(c.Put, p)
	}
	if len(stay) < len(losses) {
		c.Mentioned = append(c.Mentioned, key)
		if !gone {
			c.Park = append(c.Park, stay...)
		}
	}
	for i, l := range stay {
		if l.Kind == roster.LossUserID && !held(e.result.Held, l) && !p.InFlight && !gone {
			e.moves = append(e.moves, idMove{person: p, loss: l, rest: slices.Delete(slices.Clone(stay), i, i+1)})
		}
	}
}

// applyLoss changes the person.
func applyLoss(p *roster.Person, l roster.Loss) {
	switch l.Kind {
	case roster.LossAbsent:
		p.Status, p.InactiveReason, p.Absent = user.Inactive, user.Absent, 0
	case roster.LossDisabled:
		p.Status, p.InactiveReason, p.Absent = user.Inactive, user.Disabled, 0
	case roster.LossExpired:
		p.Status, p.InactiveReason, p.Absent = user.Inactive, user.Expired, 0
	case roster.LossBlank:
		empty(p, l.Field)
	}
}

// adopt makes the person the one of the new entry, which claims the same user
// id. Credentials stay.
func (e *ending) adopt(c *roster.Changes, p *roster.Person, l roster.Loss) bool {
	next, ok := e.adoptees[l.Value]
	if !ok {
		return false
	}
	next.ID, next.Agreement = p.ID, e.state.Name
	*p = next
	c.Admit = append(c.Admit, l.Value)
	return true
}

// loadAdoptees reads the entries that may be adopted.
func (e *ending) loadAdoptees() error {
	if !e.o.AdoptKeys {
		return nil
	}
	e.adoptees = make(map[string]roster.Person)
	return e.tx.SyncRejects(e.state.Name, func(x roster.Reject) error {
		if x.Reason == reasonTaken && x.Person.Key == x.Key {
			e.adoptees[x.Key] = x.Person
		}
		return nil
	})
}

// admit makes users of the rejected entries whose user id is free by now.
func (e *ending) admit() error {
	claims, err := e.takenClaims(e.tx)
	if err != nil {
		return err
	}
	free := make(map[string]bool) // keys
	given := make(map[string]bool)
	err = inChunks(claims, func(part []claim) error {
		ids := make([]string, len(part))
		for i, c := range part {
			ids[i] = c.folded
		}
		owners, err := e.tx.SyncClaimants(ids)
		for _, p := range owners {
			given[user.Fold(p.UserID)] = true
		}
		for _, c := range part {
			if !given[c.folded] {
				given[c.folded], free[c.key] = true, true
			}
		}
		return err
	})
	if err != nil || len(free) == 0 {
		return err
	}
	var admitted []roster.Person
	err = e.tx.SyncRejects(e.state.Name, func(x roster.Reject) error {
		if free[x.Key] && x.Person.Key == x.Key {
			admitted = append(admitted, x.Person)
		}
		return nil
	})
	if err != nil {
		return err
	}
	return inChunks(admitted, func(part []roster.Person) error {
		c := roster.Changes{Put: part}
		for _, p := range part {
			c.Admit = append(c.Admit, p.Key)
			e.result.Added++
			e.news = append(e.news, Change{e.state.Name, "added", p.UserID, p.DN, ""})
		}
		return e.tx.SyncApply(e.state.Name, c)
	})
}
