package voicemail

import (
	"errors"
	"slices"

	"github.com/dirpin/dirpin/internal/user"
)

// Errors of Route. They mean different things: with ErrNoSystems a PIN is
// committed at once, with ErrNoneMatches the user fails.
var (
	ErrNoSystems   = errors.New("no voicemail system is configured")
	ErrNoneMatches = errors.New("voicemail systems are configured, but the `for` of none matches this user")
)

// Mode says which voicemail systems a user goes to whom several match, and when
// a PIN is committed then.
type Mode string

// The modes.
const (
	First Mode = "first" // the first, and no other
	All   Mode = "all"   // all, and it is committed when all have accepted
	Any   Mode = "any"   // all, and it is committed as soon as one has accepted
)

// Router knows which voicemail systems a user belongs to.
type Router struct {
	Mode    Mode // "" is First
	systems []*System
}

// NewRouter takes the systems in the order of the configuration.
func NewRouter(systems ...*System) *Router { return &Router{systems: systems} }

// Systems returns all of them.
func (r *Router) Systems() []*System { return r.systems }

// Route returns the systems whose `for` matches u, in the order of the
// configuration: at least one, and no more than one where the mode is First. An
// entry of type none says that its users need no mailbox: of several it counts
// only where there is no other.
func (r *Router) Route(u *user.User) ([]*System, error) {
	if len(r.systems) == 0 {
		return nil, ErrNoSystems
	}
	var all []*System
	for i, s := range r.systems {
		switch {
		case !s.serves.Match(u):
		case r.Mode == First, r.Mode == "":
			return r.systems[i : i+1 : i+1], nil
		default:
			all = append(all, s)
		}
	}
	if len(all) == 0 {
		return nil, ErrNoneMatches
	}
	if i := slices.IndexFunc(all, (*System).NeedsPush); i < 0 {
		return all[:1], nil
	}
	return slices.DeleteFunc(all, func(s *System) bool { return !s.NeedsPush() }), nil
}

// Close closes every system; no push may be under way.
func (r *Router) Close() error {
	var errs []error
	for _, s := range r.systems {
		errs = append(errs, s.Close())
	}
	return errors.Join(errs...)
}
