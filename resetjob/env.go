package resetjob

import (
	"log/slog"
	"slices"

	"github.com/dirpin/dirpin/config"
	"github.com/dirpin/dirpin/internal/credential"
	"github.com/dirpin/dirpin/internal/delivery"
	"github.com/dirpin/dirpin/internal/incarnation"
	"github.com/dirpin/dirpin/internal/outcome"
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

	// Directories are where passwords are written back, by agreement.
	Directories map[string]*voicemail.System

	Mail *delivery.Mailer // nil: none is configured
	Hook *delivery.Hook   // told of each job's end; nil: none is configured

	Live   Live // directories, for jobs that select from one
	Owner  *Owner
	Marker *incarnation.Marker // of this installation; nil: nobody asks whether the database was restored
	Log    *slog.Logger

	// TakeTurns lets Run return a *TurnError where an earlier job has users of
	// this one left to change; else both run, and wait for each other user by user.
	TakeTurns bool

	// Ended is told how many items have ended with which code, after that was
	// written. May be nil.
	Ended func(outcome.Code, int64)

	// Batch is how many items a batch has; 0: BatchSize. Tests make it small, so
	// that processes share small jobs.
	Batch int64

	// Step is told before and after each step that a kill could part, by the
	// names in DESIGN.md, on whatever goroutine takes it. Tests die in it; nil
	// otherwise.
	Step func(name string)

	advances rounds
	reported reported
}

// Systems returns everything that legs are pushed to.
func (e *Env) Systems() []*voicemail.System {
	all := slices.Clone(e.Router.Systems())
	for _, d := range e.Directories {
		all = append(all, d)
	}
	return all
}

func (e *Env) ended(code outcome.Code, n int64) {
	if e.Ended != nil && n > 0 {
		e.Ended(code, n)
	}
}

func (e *Env) step(name string) {
	if e.Step != nil {
		e.Step(name)
	}
}

// legContext binds a sealed value to its row, so that it cannot be moved to
// another one.
func legContext(what string, job, seq int64) []byte { return credential.Context(nil, what, job, seq) }
