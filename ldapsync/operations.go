package ldapsync

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/dirpin/dirpin/internal/roster"
	"github.com/dirpin/dirpin/internal/store"
	"github.com/dirpin/dirpin/internal/user"
)

// ErrRefused says that what an administrator asked for cannot be done as
// things stand. Nothing was changed; the text says why.
var ErrRefused = errors.New("refused")

func refusef(format string, args ...any) error {
	return &classed{ErrRefused, fmt.Errorf(format, args...)}
}

// raise makes every run that is under way begin anew: whoever else writes to
// users of an agreement does.
func raise(tx *store.Tx, agreement string) error {
	a, err := tx.SyncAgreement(agreement)
	if err == nil {
		err = tx.SyncAdvance(agreement, a.Seq)
	}
	return err
}

// Adoption is what Adopt came to.
type Adoption struct {
	Agreement string
	Waits     bool // the user was converted once: its entry claims it at the next synchronization, and then Adopt once more
}

// Adopt makes a local user that of the directory's entry which claims the same
// user id: the PIN stays, the local password goes.
func Adopt(ctx context.Context, s *store.Store, id string) (a Adoption, err error) {
	err = s.Write(ctx, func(tx *store.Tx) error {
		u, err := localUser(tx, id)
		if err != nil {
			return err
		}
		x, err := claimOf(tx, u)
		if err == nil && x == nil {
			a, err = include(tx, u)
			return err
		}
		if err != nil {
			return err
		}
		if job, err := tx.InFlight(u.ID); err != nil || job != 0 {
			return errors.Join(err, refusef("job %d changes user %s at this moment: try again when it is done", job, u.UserID))
		}
		a.Agreement = x.Agreement
		if err := raise(tx, x.Agreement); err != nil {
			return err
		}
		p := x.Person
		p.ID, p.Agreement, p.DropPassword = u.ID, x.Agreement, true
		if err := tx.SyncApply(x.Agreement, roster.Changes{Put: []roster.Person{p}, Admit: []string{p.Key}}); err != nil {
			return err
		}
		_, err = tx.LinkManagers()
		return err
	})
	return a, err
}

func localUser(tx *store.Tx, id string) (*user.User, error) {
	u, err := tx.User(id)
	if errors.Is(err, store.ErrNotFound) {
		return nil, refusef("there is no user %s", id)
	}
	if err == nil && u.Status != user.Local {
		return nil, refusef("user %s is no local user: it belongs to agreement %s already", u.UserID, u.Agreement)
	}
	return u, err
}

// claimOf returns the entry that waits for the user's id; nil for none.
func claimOf(tx *store.Tx, u *user.User) (*roster.Reject, error) {
	var claims []roster.Reject
	err := tx.SyncRejects("", func(x roster.Reject) error {
		if x.Reason == reasonLocal && x.Person.Key == x.Key && user.Fold(x.UserID) == user.Fold(u.UserID) {
			claims = append(claims, x)
		}
		return nil
	})
	switch {
	case err != nil:
		return nil, err
	case len(claims) == 0:
		return nil, nil
	case len(claims) == 1:
		return &claims[0], nil
	}
	var at []string
	for _, c := range claims {
		at = append(at, c.Agreement+": "+c.DN)
	}
	return nil, refusef("%d entries claim the user id %s: %s; change all but one in the directory", len(claims), u.UserID, strings.Join(at, "; "))
}

// include has the key taken up again that was left alone when the user was
// converted.
func include(tx *store.Tx, u *user.User) (Adoption, error) {
	names, err := tx.SyncInclude(u.ID)
	if err != nil {
		return Adoption{}, err
	}
	if len(names) == 0 {
		return Adoption{}, refusef("no entry of a directory claims the user id %s: dirpin sync lists those that do", u.UserID)
	}
	return Adoption{Agreement: names[0], Waits: true}, raise(tx, names[0])
}

// Convert makes a user of a directory a local one. Its PIN stays; the entry's
// key is left alone from now on, or the next full synchronization would claim
// the user id.
func Convert(ctx context.Context, s *store.Store, id string) error {
	return s.Write(ctx, func(tx *store.Tx) error {
		u, err := tx.User(id)
		if errors.Is(err, store.ErrNotFound) {
			return refusef("there is no user %s", id)
		}
		if err != nil {
			return err
		}
		if u.Status == user.Local {
			return refusef("user %s is a local user already", u.UserID)
		}
		if job, err := tx.InFlight(u.ID); err != nil || job != 0 {
			return errors.Join(err, refusef("job %d changes user %s at this moment: try again when it is done", job, u.UserID))
		}
		if err := raise(tx, u.Agreement); err != nil {
			return err
		}
		if err := tx.SyncExclude(u.Agreement, u.Key, u.ID); err != nil {
			return err
		}
		_, err = tx.SyncDetach(u.Agreement, u.ID)
		return err
	})
}

// Known is what the store holds of an agreement.
type Known struct {
	roster.Agreement
	Active, Inactive, Pending, Refused int
}

// Agreements returns what the store holds of every agreement, configured or
// not, by name.
func Agreements(ctx context.Context, s *store.Store) ([]Known, error) {
	var all []Known
	err := s.Read(ctx, func(tx *store.Tx) error {
		agreements, err := tx.SyncAgreements()
		if err != nil {
			return err
		}
		for _, a := range agreements {
			k := Known{Agreement: a}
			t, err := tx.SyncTally(a.Name, a.CompletedAt, 0)
			if err != nil {
				return err
			}
			k.Active, k.Inactive = t.Active, t.Total-t.Active
			for _, n := range t.Pending {
				k.Pending += n
			}
			if err := tx.SyncRejects(a.Name, func(x roster.Reject) error {
				if !x.Partial {
					k.Refused++
				}
				return nil
			}); err != nil {
				return err
			}
			all = append(all, k)
		}
		return nil
	})
	return all, err
}

// Remove ends an agreement that is not configured any more: its users become
// local ones, with their PINs, or go with all that they have. It returns how
// many there were.
func Remove(ctx context.Context, s *store.Store, name string, keep bool) (n int64, err error) {
	err = s.Write(ctx, func(tx *store.Tx) error {
		known, err := tx.SyncAgreements()
		if err != nil {
			return err
		}
		if !slices.ContainsFunc(known, func(a roster.Agreement) bool { return a.Name == name }) {
			return refusef("there is no agreement %s here: dirpin agreements list", name)
		}
		busy, err := tx.SyncInFlight(name)
		if err != nil {
			return err
		}
		if busy > 0 {
			return refusef("a job changes %d users of %s at this moment: try again when it is done", busy, name)
		}
		if keep {
			n, err = tx.SyncDetach(name, 0)
		} else {
			n, err = tx.SyncDrop(name)
		}
		if err != nil {
			return err
		}
		if err := tx.SyncForget(name); err != nil {
			return err
		}
		_, err = tx.LinkManagers()
		return err
	})
	return n, err
}
