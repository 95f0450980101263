package voicemail

import (
	"errors"

	"github.com/dirpin/dirpin/internal/user"
)

// Errors of Route. They mean different things: with ErrNoSystems a PIN is
// committed at once, with ErrNoneMatches the user fails.
var (
	ErrNoSystems   = errors.New("no voicemail system is configured")
	ErrNoneMatches = errors.New("voicemail systems are configured, but the `for` of none matches this user")
)

// Router knows which voicemail system a user belongs to.
type Router struct{ systems []*System }

// NewRouter takes the systems in the order of the configuration.
func NewRouter(systems ...*System) *Router { return &Router{systems} }

// Systems returns all of them.
func (r *Router) Systems() []*System { return r.systems }

// Route returns the first system whose `for` matches u.
func (r *Router) Route(u *user.User) (*System, error) {
	if len(r.systems) == 0 {
		return nil, ErrNoSystems
	}
	for _, s := range r.systems {
		if s.serves.Match(u) {
			return s, nil
		}
	}
	return nil, ErrNoneMatches
}

// Close closes every system; no push may be under way.
func (r *Router) Close() error {
	var errs []error
	for _, s := range r.systems {
		errs = append(errs, s.Close())
	}
	return errors.Join(errs...)
}
