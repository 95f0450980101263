package main

import (
	"context"
	"errors"
	"fmt"

	"github.com/dirpin/dirpin/internal/store"
	"github.com/dirpin/dirpin/resetjob"
	"github.com/spf13/cobra"
)

func newJobsRetryCommand(a *app) *cobra.Command {
	var yes bool
	cmd := &cobra.Command{
		Use: "retry ID", Short: "Try again whoever failed or was not run",
		Long: `Try again, in a new job, whoever failed or was not run and is not tried again yet.

Where an answer was lost the same value is sent again under the same request id.
Where surely nothing happened, a value that was drawn is drawn anew, and one that
was given is sent again. Whoever a later job has changed meanwhile is left alone.
A retry that was cut goes on when the command is given again.`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.oneJob(cmd, args[0], a.withRunning, func(ctx context.Context, a *app, s *session, env *resetjob.Env, id int64) error {
				return runJobsRetry(ctx, a, s, env, id, yes)
			})
		},
	}
	cmd.Flags().BoolVar(&yes, "yes", false, "do not ask")
	return cmd
}

func runJobsRetry(ctx context.Context, a *app, s *session, env *resetjob.Env, id int64, yes bool) error {
	var job, cut *store.Job
	var left int64
	err := s.store.Read(ctx, func(tx *store.Tx) (err error) {
		if job, err = tx.Job(id); err != nil {
			return err
		}
		if left, _, err = tx.Retries(id); err != nil {
			return err
		}
		n, err := tx.UnfinishedRetry(id)
		if err == nil && n != 0 {
			cut, err = tx.Job(n)
		}
		return err
	})
	if err != nil {
		return err
	}
	next := ""
	if cut == nil {
		if left > 0 && job.Counts.Uncertain > 0 {
			next = fmt.Sprintf(" %d of all that failed are uncertain: the same value is sent to them again.", job.Counts.Uncertain)
		}
		if left > 0 {
			if err := a.confirm(fmt.Sprintf("Job %d, %s: try %d users again?%s", id, job.Name, left, next), yes); err != nil {
				return err
			}
		}
		if cut, err = env.Retry(ctx, id, submitter()); err != nil {
			var not *resetjob.NotRetriableError
			if errors.As(err, &not) {
				return withCode(exitUsage, err)
			}
			return err
		}
		fmt.Fprintf(a.err, "Job %d tries again whom job %d has left: %d.\n", cut.ID, id, left)
	} else if _, err := a.goOn(ctx, cut, runOptions{yes: yes}); err != nil {
		return err
	}
	return a.runJob(ctx, env, cut.ID, goOn(cut))
}

func newJobsReleaseCommand(a *app) *cobra.Command {
	var restored bool
	cmd := &cobra.Command{
		Use: "release (ID|--restored)", Short: "Let a job go on that is held",
		Long: `Let a job go on that a guard holds. With --restored: the database was restored from
a backup, or copied, and every unfinished job is held; this makes the database
this installation's, and lets all of them go on.`,
		Args: cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if restored != (len(args) == 0) {
				return usagef("jobs release: either the number of a job, or --restored")
			}
			if restored {
				return a.withOwner(cmd.Context(), func(_ *session, env *resetjob.Env) error {
					return runReleaseRestored(cmd.Context(), a, env)
				})
			}
			return a.oneJob(cmd, args[0], a.withJobs, runJobsRelease)
		},
	}
	cmd.Flags().BoolVar(&restored, "restored", false, "after a restore: let all jobs go on that it holds")
	return cmd
}

func runReleaseRestored(ctx context.Context, a *app, env *resetjob.Env) error {
	// What was restored is noticed by whoever works on jobs first: this may be
	// the one.
	if err := env.EnterToLook(ctx); err != nil {
		return withCode(exitCouldNotRun, err)
	}
	n, was, err := env.ReleaseRestored(ctx, submitter())
	var resting *resetjob.RestingError
	if errors.As(err, &resting) {
		return withCode(exitHeld, err)
	}
	if err != nil {
		return err
	}
	if !was {
		return usagef("the database was not restored: nothing is held for that")
	}
	fmt.Fprintf(a.err, "The restored database is in use again. %d jobs go on when they are run: dirpin jobs list\n", n)
	return nil
}
