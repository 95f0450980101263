package resetjob

import (
	"log/slog"

	"github.com/dirpin/dirpin/config"
	"github.com/dirpin/dirpin/internal/credential"
	"github.com/dirpin/dirpin/internal/store"
	"github.com/dirpin/dirpin/internal/voicemail"
)

// Env is what jobs run with.
type Env struct {
	Config *config.Config
	Ring   *credential.Ring
	Hasher *credential.Hasher
	Store  *store.Store
	Router *voicemail.Router
	Owner  *Owner
	Log    *slog.Logger
}

// legContext binds a sealed value to its row, so that it cannot be moved to
// another one.
func legContext(what string, job, seq int64) []byte { return credential.Context(nil, what, job, seq) }
