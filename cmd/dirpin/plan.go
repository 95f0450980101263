package main

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"

	"github.com/dirpin/dirpin/internal/outcome"
	"github.com/dirpin/dirpin/internal/store"
	"github.com/dirpin/dirpin/internal/user"
	"github.com/dirpin/dirpin/resetjob"
	"github.com/spf13/cobra"
)

// plannedJSON is a user of `run --dry-run --json`.
type plannedJSON struct {
	UserID    string         `json:"user_id"`
	Result    outcome.Result `json:"result"`
	Code      outcome.Code   `json:"code"`
	Password  outcome.Code   `json:"password"`
	PIN       outcome.Code   `json:"pin"`
	Voicemail string         `json:"voicemail"`
	Detail    string         `json:"detail"`
}

// dryRun prints what the job would do to each user, and the counts.
func dryRun(ctx context.Context, a *app, env *resetjob.Env, sub *resetjob.Submission) error {
	var each func(*resetjob.Planned) error
	out := bufio.NewWriterSize(a.out, 64<<10)
	enc := json.NewEncoder(out)
	var t *table
	if a.json {
		each = func(p *resetjob.Planned) error {
			return enc.Encode(plannedJSON{name(p), p.Result, p.Code, p.Password, p.PIN, p.System, p.Detail})
		}
	} else {
		t = newTable(a.out, "User ID", "Name", "LDAP Sync Status", "PIN", "Password", "Voicemail", "Result", "Detail")
		each = func(p *resetjob.Planned) error {
			u := p.User
			if u == nil {
				u = &user.User{}
			}
			return t.row(name(p), u.FirstName+" "+u.LastName, u.Status.Label(), would(p.PIN), would(p.Password), p.System, string(p.Result), p.Detail)
		}
	}
	plan, err := env.Plan(ctx, sub, each)
	if err != nil {
		return err
	}
	why, held := plan.Held(env.Config, sub.Job)
	if a.json {
		enc.Encode(struct {
			Counts store.Counts `json:"counts"`
		}{plan.Counts})
	} else if err := t.flush(); err != nil {
		return err
	}
	if err := out.Flush(); err != nil {
		return err
	}
	if !a.json {
		fmt.Fprintf(a.out, "\nPlan of %s: %s Nothing was changed.\n", sub.Job.Name, plan)
	}
	if held {
		return withCode(exitHeld, fmt.Errorf("the job would be held: %s", why))
	}
	return nil
}

func name(p *resetjob.Planned) string {
	if p.User != nil {
		return p.User.UserID
	}
	return p.Written
}

// would says what would happen to a secret.
func would(c outcome.Code) string {
	switch c {
	case "":
		return "-"
	case outcome.OK:
		return "reset"
	}
	return string(c)
}

func newExplainCommand(a *app) *cobra.Command {
	return &cobra.Command{
		Use: "explain JOBFILE USER", Short: "Say why a job selects a user or not, and what would happen",
		Args: cobra.ExactArgs(2),
		RunE: func(cmd *cobra.Command, args []string) error { return runExplain(cmd.Context(), a, args[0], args[1]) },
	}
}

func runExplain(ctx context.Context, a *app, path, id string) error {
	return a.withSubmission(ctx, path, a.withJobs, func(_ *session, env *resetjob.Env, sub *resetjob.Submission) error {
		x, err := env.Explain(ctx, sub, id)
		if err != nil {
			return err
		}
		if a.json {
			return json.NewEncoder(a.out).Encode(x)
		}
		for _, l := range x.Lines {
			fmt.Fprintln(a.out, printable(l))
		}
		return nil
	})
}

// findJob lists whom a job file selects.
func findJob(ctx context.Context, a *app, path string, p *userPrinter) error {
	return a.withSubmission(ctx, path, a.withJobs, func(_ *session, env *resetjob.Env, sub *resetjob.Submission) error {
		return env.Selected(ctx, sub, func(u *user.User, written string, line int) error {
			if u == nil {
				fmt.Fprintf(a.err, "line %d names nobody here: %s\n", line, printable(written))
				return nil
			}
			return p.print(ctx, u, nil)
		})
	})
}
