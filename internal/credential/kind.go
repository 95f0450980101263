package credential

import "github.com/dirpin/dirpin/config"

// Kind says which of a user's secrets is meant. Its text is what the store and
// the job file hold.
type Kind string

// The kinds.
const (
	PIN      Kind = "pin"
	Password Kind = "password"
)

// Policy returns the part of the configuration that is about this kind.
func (k Kind) Policy(c *config.Credentials) config.Policy {
	if k == PIN {
		return c.PIN
	}
	return c.Password
}

// maxBytes bounds every value, so that a megabyte of password costs nothing
// but a refusal.
const maxBytes = 1024
