package main

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"strings"

	"github.com/dirpin/dirpin/internal/credential"
	"github.com/dirpin/dirpin/internal/outcome"
	"github.com/dirpin/dirpin/internal/secret"
	"github.com/dirpin/dirpin/internal/store"
	"github.com/dirpin/dirpin/internal/user"
	"github.com/dirpin/dirpin/resetjob"
	"github.com/spf13/cobra"
)

func newUsersResetCommand(a *app) *cobra.Command {
	var pin, password bool
	var generate int
	cmd := &cobra.Command{
		Use: "reset ID (--pin|--password)", Short: "Reset one user's PIN or password", Args: cobra.ExactArgs(1),
		Long: `Reset one user's PIN or password: a job of one user. The value is read from stdin,
or from a hidden prompt; --generate draws one and prints it, once, on stdout.`,
		RunE: func(cmd *cobra.Command, args []string) error {
			if pin == password {
				return usagef("users reset: either --pin or --password")
			}
			kind := credential.PIN
			if password {
				kind = credential.Password
			}
			return runUsersReset(cmd.Context(), a, args[0], kind, generate)
		},
	}
	f := cmd.Flags()
	f.BoolVar(&pin, "pin", false, "reset the PIN")
	f.BoolVar(&password, "password", false, "reset the password")
	f.IntVar(&generate, "generate", 0, "draw a value of `N` characters")
	return cmd
}

func runUsersReset(ctx context.Context, a *app, id string, kind credential.Kind, generate int) error {
	var given secret.Value
	if generate == 0 {
		var err error
		if given, err = a.readSecret("New " + string(kind) + ": "); err != nil {
			return err
		}
	}
	return a.withRunning(ctx, func(s *session, env *resetjob.Env) error {
		u, err := settledUser(ctx, s, env, id)
		if err != nil {
			return err
		}
		value := given
		if generate != 0 {
			g, err := credential.NewGenerator(kind, generate, kind.Policy(&s.cfg.Credentials), nil)
			if err != nil {
				return withCode(exitUsage, err)
			}
			if value, err = g.Next(credential.PersonOf(u)); err != nil {
				return err
			}
		}
		job, err := env.Submit(ctx, resetOf(u, kind, value), submitter())
		if err != nil {
			return err
		}
		job, err = env.Run(ctx, job.ID, a.sayPauses())
		var cut *resetjob.InterruptedError
		if errors.As(err, &cut) {
			fmt.Fprintf(a.err, "dirpin: interrupted; settle it with: dirpin jobs cancel %d, or go on with: dirpin users reset %s\n", cut.Job, id)
			return &exitError{code: interruptCode(ctx)}
		}
		if err != nil {
			return err
		}
		return a.resetResult(ctx, s, job, u, value, generate != 0)
	})
}

// sayPauses says, once each, why a reset waits.
func (a *app) sayPauses() func(resetjob.Progress) {
	said := ""
	return func(p resetjob.Progress) {
		if p.Paused != "" && p.Paused != said {
			said = p.Paused
			fmt.Fprintln(a.err, printable(said))
		}
	}
}

// settledUser returns the user, after a reset of it that was cut is settled.
func settledUser(ctx context.Context, s *session, env *resetjob.Env, id string) (*user.User, error) {
	var u *user.User
	var cut int64
	err := s.store.Read(ctx, func(tx *store.Tx) (err error) {
		if u, err = findUser(tx, id); err != nil {
			return err
		}
		job, err := tx.InFlight(u.ID)
		if err != nil || job == 0 {
			return err
		}
		j, err := tx.Job(job)
		if err == nil && j.Owner == "" && j.File == "" {
			cut = job
		}
		return err
	})
	if err == nil && cut != 0 {
		_, err = env.Run(ctx, cut, nil)
	}
	return u, err
}

func resetOf(u *user.User, kind credential.Kind, v secret.Value) *resetjob.Submission {
	yes := true
	job := &resetjob.Job{Name: "reset-" + string(kind),
		Select:       resetjob.Select{Source: resetjob.SourceStore, Query: &user.Query{Where: []user.Term{{Cond: &user.Condition{Field: user.FieldUserID, Op: user.IsExactly, Text: []string{u.UserID}}}}}},
		Reset:        resetjob.Reset{Settings: resetjob.Settings{MustChange: &yes, ClearFailedAttempts: &yes}},
		LDAPSynced:   resetjob.Treatment{Password: resetjob.ActionSkip, PIN: resetjob.ActionReset},
		LDAPInactive: resetjob.Treatment{Password: resetjob.ActionSkip, PIN: resetjob.ActionSkip},
		Run:          resetjob.Run{Now: true}, Deliver: resetjob.Deliver{None: true}}
	value := &resetjob.Value{Given: v}
	if kind == credential.PIN {
		job.Reset.PIN = value
	} else {
		job.Reset.Password = value
	}
	// Each reset is a job of its own, however alike two are.
	fingerprint := make([]byte, 32)
	rand.Read(fingerprint)
	return resetjob.NewSubmission(job, fingerprint)
}

// resetResult says how the reset ended. A value that was drawn is printed once
// it is the user's, or may be.
func (a *app) resetResult(ctx context.Context, s *session, job *store.Job, u *user.User, v secret.Value, drawn bool) error {
	var row store.ReportRow
	err := s.store.Read(ctx, func(tx *store.Tx) error {
		return tx.Report(job.ID, func(r *store.ReportRow) error { row = *r; return nil })
	})
	if err != nil {
		return err
	}
	if drawn && (row.Result == outcome.Updated || row.Code.Uncertain()) {
		fmt.Fprintln(a.out, v.Reveal())
	}
	switch {
	case row.Result == outcome.Updated:
		fmt.Fprintf(a.err, "%s: %s\n", u.UserID, row.Code)
		return nil
	case row.Code.Uncertain():
		fmt.Fprintf(a.err, "%s: uncertain: the mailbox may have the new PIN, the local one is unchanged (%s). The same value again: dirpin jobs retry %d\n", u.UserID, row.Code, job.ID)
	default:
		fmt.Fprintf(a.err, "%s: %s %s %s\n", u.UserID, row.Result, row.Code, strings.TrimSpace(row.Detail))
	}
	return &exitError{code: exitSomeFailed}
}
