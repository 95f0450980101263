package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"syscall"

	"github.com/dirpin/dirpin/internal/store"
	"github.com/dirpin/dirpin/resetjob"
	"github.com/spf13/cobra"
)

type runOptions struct {
	dryRun bool
	yes    bool
}

func newRunCommand(a *app) *cobra.Command {
	var o runOptions
	cmd := &cobra.Command{
		Use:   "run JOBFILE",
		Short: "Run one job now, in the foreground",
		Long: `Run one job now, whatever its run: says. The plan is shown first, and on a
terminal you are asked; elsewhere --yes is needed.

A job that was cut, by Ctrl-C, a kill or a power failure, goes on when the same
file is run again, under the same number: nobody is changed twice.`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error { return runRun(cmd.Context(), a, args[0], o) },
	}
	cmd.Flags().BoolVar(&o.dryRun, "dry-run", false, "print the plan, each user, and change nothing")
	cmd.Flags().BoolVar(&o.yes, "yes", false, "do not ask")
	return cmd
}

func runRun(ctx context.Context, a *app, path string, o runOptions) error {
	with := a.withRunning
	if o.dryRun {
		with = a.withJobs
	}
	return a.withSubmission(ctx, path, with, func(s *session, env *resetjob.Env, sub *resetjob.Submission) error {
		for _, w := range sub.Warnings {
			fmt.Fprintln(a.err, w)
		}
		if o.dryRun {
			return dryRun(ctx, a, env, sub)
		}
		job, err := a.jobToRun(ctx, env, sub, o)
		if err != nil {
			return err
		}
		return a.runJob(ctx, env, job, "dirpin run "+path)
	})
}

// jobToRun finds the job of the file that was cut, or makes a new one; either
// after asking.
func (a *app) jobToRun(ctx context.Context, env *resetjob.Env, sub *resetjob.Submission, o runOptions) (int64, error) {
	cut, err := env.Unfinished(ctx, sub.Fingerprint)
	if err != nil {
		return 0, err
	}
	if cut != nil {
		return a.goOn(ctx, cut, o)
	}
	plan, err := env.Plan(ctx, sub, nil)
	if err != nil {
		return 0, err
	}
	fmt.Fprintf(a.err, "Job %s: %s\n", sub.Job.Name, plan)
	if verdict, held := plan.Held(env.Config, sub.Job); held {
		fmt.Fprintf(a.err, "It will be held: %s\n", verdict)
	}
	if err := a.confirm(fmt.Sprintf("Change %d users?", plan.Todo), o.yes); err != nil {
		return 0, err
	}
	j, err := env.Submit(ctx, sub, submitter())
	if errors.Is(err, resetjob.ErrIDUsed) {
		return 0, withCode(exitUsage, err)
	}
	if errors.Is(err, resetjob.ErrBusy) {
		return 0, withCode(exitRunning, err)
	}
	if err != nil {
		return 0, err
	}
	return j.ID, nil
}

func (a *app) goOn(ctx context.Context, cut *store.Job, o runOptions) (int64, error) {
	left := cut.Counts.Selected - cut.Counts.Final()
	switch {
	case cut.State == store.Held:
		return cut.ID, nil // running it says why it is held, and changes nobody
	case cut.State.Ended():
		fmt.Fprintf(a.err, "Job %d is done but for its report.\n", cut.ID)
		return cut.ID, nil
	case cut.Stage == store.StageOpening && cut.Reason == "":
		fmt.Fprintf(a.err, "Job %d waits and has not begun.\n", cut.ID)
	case cut.Stage == store.StageOpening:
		fmt.Fprintf(a.err, "Job %d was cut before it changed anybody; it starts over.\n", cut.ID)
	case cut.Started.IsZero():
		fmt.Fprintf(a.err, "Job %d was accepted before and has not begun: %d users are selected.\n", cut.ID, cut.Counts.Selected)
	default:
		fmt.Fprintf(a.err, "Job %d was cut: %d of %d users are left. %s\n", cut.ID, left, cut.Counts.Selected, resetjob.CountLine(cut.Counts))
	}
	return cut.ID, a.confirm(fmt.Sprintf("Go on with job %d?", cut.ID), o.yes)
}

// confirm asks on a terminal. Elsewhere nobody can be asked.
func (a *app) confirm(question string, yes bool) error {
	if yes {
		return nil
	}
	if !isTerminal(a.in) {
		return usagef("nothing was done: there is no terminal to ask on; say --yes")
	}
	fmt.Fprintf(a.err, "%s [y/N] ", question)
	line, err := bufio.NewReader(a.in).ReadString('\n')
	if answer := strings.ToLower(strings.TrimSpace(line)); err == nil && (answer == "y" || answer == "yes") {
		return nil
	}
	return usagef("nothing was done")
}

// runJob runs a job to its end and says how it ended, or by which command it
// goes on.
func (a *app) runJob(ctx context.Context, env *resetjob.Env, id int64, goOn string) error {
	bar := a.newProgress()
	job, err := env.Run(ctx, id, func(p resetjob.Progress) { bar.update(p) })
	bar.close()
	var held *resetjob.HeldError
	var cut *resetjob.InterruptedError
	switch {
	case errors.As(err, &held):
		return withCode(exitHeld, err)
	case errors.As(err, &cut):
		fmt.Fprintf(a.err, "dirpin: %v; go on with: %s\n", cut, goOn)
		return &exitError{code: interruptCode(ctx)}
	case ctx.Err() != nil && errors.Is(err, context.Canceled): // between two steps
		fmt.Fprintf(a.err, "dirpin: job %d was interrupted; go on with: %s\n", id, goOn)
		return &exitError{code: interruptCode(ctx)}
	case errors.Is(err, resetjob.ErrBusy):
		return withCode(exitRunning, err)
	case err != nil:
		return withCode(exitCouldNotRun, fmt.Errorf("%w; when it is mended, go on with: %s", err, goOn))
	}
	return a.ended(ctx, env, job)
}

// undelivered says what of a job has not reached anybody, and is an error where
// that is so: its users have values that they do not know.
func (a *app) undelivered(ctx context.Context, env *resetjob.Env, id int64) error {
	d, err := deliveries(ctx, env, id)
	if err != nil {
		return err
	}
	line := resetjob.UndeliveredLine(id, d)
	if line == "" {
		return nil
	}
	if !a.json {
		fmt.Fprintln(a.out, line)
	}
	return &exitError{code: exitSomeFailed}
}

func deliveries(ctx context.Context, env *resetjob.Env, id int64) (d store.Deliveries, err error) {
	err = env.Store.Read(ctx, func(tx *store.Tx) (err error) {
		d, err = tx.Deliveries(id)
		return err
	})
	return d, err
}

// ended prints the result of a job.
func (a *app) ended(ctx context.Context, env *resetjob.Env, job *store.Job) error {
	if a.json {
		s, err := env.Summary(ctx, job.ID)
		if err != nil {
			return err
		}
		if err := json.NewEncoder(a.out).Encode(s); err != nil {
			return err
		}
	} else {
		fmt.Fprintf(a.out, "Job %d %s: report in %s\n", job.ID, job.State, job.Report)
		if job.Reason != "" {
			fmt.Fprintf(a.out, "%s\n", printable(job.Reason))
		}
		if line := resetjob.UncertainLine(job.Counts); line != "" {
			fmt.Fprintln(a.out, line)
		}
	}
	undelivered := a.undelivered(ctx, env, job.ID)
	if !a.json {
		fmt.Fprintln(a.out, resetjob.CountLine(job.Counts))
	}
	if err := jobExit(job); err != nil {
		return err
	}
	return undelivered
}

// jobExit is the exit code of how a job ended.
func jobExit(job *store.Job) error {
	switch job.State {
	case store.Done:
		return nil
	case store.Stopped:
		if strings.HasPrefix(job.Reason, resetjob.DeniedReason) {
			return &exitError{code: exitCouldNotRun}
		}
	case store.Failed:
		return &exitError{code: exitCouldNotRun}
	}
	return &exitError{code: exitSomeFailed}
}

// interruptCode tells Ctrl-C from the end of the machine or the service.
func interruptCode(ctx context.Context) int {
	var s signalError
	if errors.As(context.Cause(ctx), &s) && s.sig == syscall.SIGTERM {
		return exitTerminated
	}
	return exitInterrupted
}
