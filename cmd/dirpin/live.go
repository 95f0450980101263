package main

import (
	"context"
	"errors"
	"fmt"

	"github.com/dirpin/dirpin/config"
	"github.com/dirpin/dirpin/internal/user"
	"github.com/dirpin/dirpin/ldapsync"
)

// directory returns what every work on an agreement's directory begins with.
func (a *app) directory(s *session, ag *config.Agreement) (ldapsync.Options, error) {
	o := ldapsync.Options{Agreement: *ag, Store: ldapsync.Over(s.store), Log: a.log, Configured: []string{}}
	for _, c := range s.cfg.Agreements {
		o.Configured = append(o.Configured, c.Name)
	}
	if ag.Bind.Password != (config.Secret{}) {
		var err error
		if o.Password, err = ag.Bind.Password.Resolve(s.ring.OpenSealed); err != nil {
			return o, withCode(exitUsage, fmt.Errorf("%s: reading the bind password: %w", ag.Name, err))
		}
	}
	return o, nil
}

// live asks directories themselves, for jobs and for `find --agreement`.
type live struct {
	a *app
	s *session
}

func (l live) Select(ctx context.Context, agreement string, q *user.Query, yield func(*user.User) error) error {
	chosen, err := chosen(l.s.cfg.Agreements, []string{agreement})
	if err != nil {
		return err
	}
	o, err := l.a.directory(l.s, &chosen[0])
	if err != nil {
		return err
	}
	return directoryCode(ldapsync.Select(ctx, o, q, yield))
}

// directoryCode gives what a directory, or the configuration of one, is at
// fault in its exit code.
func directoryCode(err error) error {
	switch {
	case errors.Is(err, ldapsync.ErrConfig):
		return withCode(exitUsage, err)
	case errors.Is(err, ldapsync.ErrDirectory), errors.Is(err, ldapsync.ErrBusy):
		return withCode(exitCouldNotRun, err)
	}
	return err
}
