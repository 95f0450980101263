package ldapsync

import (
	"fmt"
	"slices"
	"strings"

	"github.com/dirpin/dirpin/internal/roster"
	"github.com/dirpin/dirpin/internal/user"
)

// idMove is a person who is to get another user id.
type idMove struct {
	person roster.Person
	loss   roster.Loss   // Value is the new id
	rest   []roster.Loss // that stay pending besides
}

// settle decides who gets the new user id: swaps and chains do, as long as
// nobody ends up with the id of somebody who stays. holders says which ids are
// had by people outside of the moves. The rest keep their ids.
func settle(moves []idMove, holders map[string]bool) (move, stay []idMove) {
	slices.SortFunc(moves, func(a, b idMove) int { return strings.Compare(a.person.Key, b.person.Key) })
	wants := make(map[string][]int) // folded new id → moves
	for i, m := range moves {
		id := user.Fold(m.loss.Value)
		wants[id] = append(wants[id], i)
	}
	fails := make([]bool, len(moves))
	var failed []int // whose old id stays taken
	fail := func(i int) {
		if !fails[i] {
			fails[i] = true
			failed = append(failed, i)
		}
	}
	for id, who := range wants {
		for n, i := range who {
			if n > 0 || holders[id] {
				fail(i)
			}
		}
	}
	for len(failed) > 0 {
		i := failed[0]
		failed = failed[1:]
		for _, j := range wants[user.Fold(moves[i].person.UserID)] {
			fail(j)
		}
	}
	for i, m := range moves {
		if fails[i] {
			stay = append(stay, m)
		} else {
			move = append(move, m)
		}
	}
	return move, stay
}

// refuseImpossible refuses the changes of user ids that cannot be, whatever
// the guard says: their target is somebody else's who stays. They are no
// losses and must not hold up those that are.
func (e *ending) refuseImpossible() error {
	leaving := make(map[string]bool)
	var of []roster.Loss // the key at hand
	var moves []idMove
	next := func() {
		i := slices.IndexFunc(of, func(l roster.Loss) bool { return l.Kind == roster.LossUserID })
		if i >= 0 {
			l := of[i]
			moves = append(moves, idMove{person: roster.Person{User: user.User{Key: l.Key, UserID: l.UserID, DN: l.DN}}, loss: l, rest: slices.Delete(slices.Clone(of), i, i+1)})
		}
		of = nil
	}
	err := e.tx.SyncPending(e.state.Name, "", func(l roster.Loss) error {
		if len(of) > 0 && of[0].Key != l.Key {
			next()
		}
		of = append(of, l)
		leaving[l.Key] = leaving[l.Key] || l.Kind == roster.LossRemoved || l.Kind == roster.LossReplaced
		return nil
	})
	if err != nil {
		return err
	}
	next()
	if len(moves) == 0 {
		return nil
	}
	holders, err := e.holders(moves, leaving)
	if err != nil {
		return err
	}
	_, stay := settle(moves, holders)
	var c roster.Changes
	e.refuseMoves(&c, stay)
	return e.tx.SyncApply(e.state.Name, c)
}

// holders returns which of the wanted ids are had by people who neither move
// nor leave.
func (e *ending) holders(moves []idMove, leaving map[string]bool) (map[string]bool, error) {
	ids := make([]string, len(moves))
	moving := make(map[string]bool)
	for i, m := range moves {
		ids[i] = user.Fold(m.loss.Value)
		moving[m.person.Key] = true
	}
	holders := make(map[string]bool)
	return holders, inChunks(ids, func(part []string) error {
		people, err := e.tx.SyncClaimants(part)
		for _, p := range people {
			if p.Key == "" || !moving[p.Key] && !leaving[p.Key] {
				holders[user.Fold(p.UserID)] = true
			}
		}
		return err
	})
}

// refuseMoves makes rejects of the moves; what else is pending of the people
// stays so.
func (e *ending) refuseMoves(c *roster.Changes, moves []idMove) {
	for _, m := range moves {
		c.Reject = append(c.Reject, roster.Reject{Agreement: e.state.Name, Key: m.person.Key, DN: m.person.DN, UserID: m.person.UserID, Reason: reasonTaken, Partial: true, Since: e.start,
			Detail: fmt.Sprintf("the entry now says %s, which is somebody else's; the user keeps %s", m.loss.Value, m.person.UserID)})
		c.Mentioned = append(c.Mentioned, m.person.Key)
		for _, l := range m.rest {
			l.Hash = 0 // even when these are applied the entry differs
			c.Park = append(c.Park, l)
		}
		if len(m.rest) == 0 {
			e.countWaiting(m.person.Key, false)
		}
	}
}

// settleIDs carries out the changes of user ids that the guard let through.
func (e *ending) settleIDs() error {
	if len(e.moves) == 0 {
		return nil
	}
	holders, err := e.holders(e.moves, nil)
	if err != nil {
		return err
	}
	move, stay := settle(e.moves, holders)
	var c roster.Changes
	for _, m := range move {
		p := m.person
		p.UserID = m.loss.Value
		if len(m.rest) == 0 {
			p.Hash = m.loss.Hash
		}
		c.Put = append(c.Put, p)
		m.loss.Since = e.start
		c.Applied = append(c.Applied, m.loss)
		e.count(m.loss)
		c.Mentioned = append(c.Mentioned, m.person.Key)
		c.Park = append(c.Park, m.rest...)
	}
	e.refuseMoves(&c, stay)
	return e.tx.SyncApply(e.state.Name, c)
}
