package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"time"

	"github.com/dirpin/dirpin/internal/outcome"
	"github.com/dirpin/dirpin/internal/store"
	"github.com/dirpin/dirpin/resetjob"
	"github.com/spf13/cobra"
)

func newJobsCommand(a *app) *cobra.Command {
	cmd := &cobra.Command{Use: "jobs", Short: "Add, list, schedule, hold, release, retry, deliver and cancel jobs", Args: groupArgs, RunE: func(*cobra.Command, []string) error { return nil }}
	one := func(use, short string, with opener, run func(context.Context, *app, *session, *resetjob.Env, int64) error) *cobra.Command {
		return &cobra.Command{Use: use, Short: short, Args: cobra.ExactArgs(1),
			RunE: func(cmd *cobra.Command, args []string) error { return a.oneJob(cmd, args[0], with, run) }}
	}
	cmd.AddCommand(
		&cobra.Command{Use: "list", Short: "List jobs, the newest first", Args: cobra.NoArgs,
			RunE: func(cmd *cobra.Command, _ []string) error { return runJobsList(cmd.Context(), a) }},
		newJobsAddCommand(a),
		newJobsShowCommand(a),
		one("log ID", "Show a job's log", a.withJobs, runJobsLog),
		newJobsScheduleCommand(a),
		one("hold ID", "Keep a job from beginning, or from going on", a.withJobs, runJobsHold),
		newJobsReleaseCommand(a),
		newJobsCancelCommand(a),
		newJobsRetryCommand(a),
		one("deliver ID", "Send the mails of a job again that did not arrive", a.withRunning, runJobsDeliver),
	)
	return cmd
}

// oneJob runs a command about the job of that number.
func (a *app) oneJob(cmd *cobra.Command, number string, with opener, run func(context.Context, *app, *session, *resetjob.Env, int64) error) error {
	id, err := strconv.ParseInt(number, 10, 64)
	if err != nil || id < 1 {
		return usagef("%s: a job is named by its number, as in dirpin jobs list", cmd.CommandPath())
	}
	return with(cmd.Context(), func(s *session, env *resetjob.Env) error {
		err := run(cmd.Context(), a, s, env, id)
		if errors.Is(err, store.ErrNotFound) {
			return usagef("there is no job %d: dirpin jobs list", id)
		}
		return err
	})
}

func runJobsList(ctx context.Context, a *app) error {
	return a.withJobs(ctx, func(s *session, _ *resetjob.Env) error {
		return s.store.Read(ctx, func(tx *store.Tx) error {
			if a.json {
				enc := json.NewEncoder(a.out)
				return tx.Jobs(func(j *store.Job) error { return enc.Encode(resetjob.JobJSON(j)) })
			}
			t := newTable(a.out, "Job", "Name", "State", "Created", "Due", "Selected", "Updated", "Skipped", "Flagged", "Failed", "Not run")
			err := tx.Jobs(func(j *store.Job) error {
				c := j.Counts
				return t.row(itoa(j.ID), j.Name, string(j.State), stamp(j.Created), due(j), itoa(c.Selected), itoa(c.Updated), itoa(c.Skipped), itoa(c.Flagged), itoa(c.Failed), itoa(c.NotRun))
			})
			return errors.Join(err, t.flush())
		})
	})
}

func readJob(ctx context.Context, s *session, id int64) (*store.Job, error) {
	var j *store.Job
	err := s.store.Read(ctx, func(tx *store.Tx) (err error) {
		j, err = tx.Job(id)
		return err
	})
	return j, err
}

func runJobsShow(ctx context.Context, a *app, s *session, env *resetjob.Env, id int64) error {
	j, err := readJob(ctx, s, id)
	if err != nil {
		return err
	}
	if a.json {
		return json.NewEncoder(a.out).Encode(resetjob.JobJSON(j))
	}
	var left, by, resting int64
	var until time.Time
	err = s.store.Read(ctx, func(tx *store.Tx) (err error) {
		if left, by, err = tx.Retries(id); err == nil && j.Stage == store.StageOpen {
			resting, until, err = tx.Resting(id)
		}
		return err
	})
	if err != nil {
		return err
	}
	retries, retried, rest := "", "", ""
	if resting > 0 {
		rest = fmt.Sprintf("%d users wait, until %s at the latest: the answer to an earlier request of theirs was lost, and it may still be carried out", resting, stamp(until))
	}
	if j.RetryOf != 0 {
		retries = "job " + itoa(j.RetryOf)
	}
	if by != 0 {
		retried = "by job " + itoa(by)
	}
	for _, l := range [][2]string{{"Job", itoa(j.ID)}, {"Name", j.Name}, {"State", string(j.State)}, {"", describeState(env, j)}, {"", rest},
		{"Folder", j.Folder}, {"File", j.File}, {"Submitted by", j.Submitter}, {"Created", stamp(j.Created)}, {"Due", resetjob.DescribeTime(j)}, {"Started", stamp(j.Started)}, {"Ended", stamp(j.Ended)}, {"Retries", retries}, {"Retried", retried}, {"Report", j.Report}} {
		if l[1] != "" {
			fmt.Fprintf(a.out, "%-13s %s\n", l[0], printable(l[1]))
		}
	}
	var systems map[string]map[outcome.Code]int64
	if err := s.store.Read(ctx, func(tx *store.Tx) (err error) { systems, err = tx.SystemCodes(id); return err }); err != nil {
		return err
	}
	fmt.Fprint(a.out, resetjob.SystemLines(systems))
	if line := resetjob.UncertainLine(j.Counts); line != "" {
		fmt.Fprintln(a.out, line)
	}
	if err := a.showDeliveries(ctx, env, id); err != nil {
		return err
	}
	fmt.Fprintln(a.out, resetjob.CountLine(j.Counts))
	if left > 0 && j.Stage == store.StageClosed && j.Key != nil {
		fmt.Fprintf(a.out, "%d can be tried again: dirpin jobs retry %d\n", left, id)
	}
	return nil
}

// due is when a job that waits for its time starts.
func due(j *store.Job) string {
	if !j.Waits() || j.State.Ended() {
		return ""
	}
	return stamp(j.Due)
}

// goOn is the command by which an unfinished job goes on.
func goOn(j *store.Job) string {
	switch {
	case j.RetryOf != 0:
		return fmt.Sprintf("dirpin jobs retry %d", j.RetryOf)
	case j.Folder != "" || j.Series != 0:
		return "dirpin serve"
	case j.File == "":
		return fmt.Sprintf("dirpin jobs cancel %d, which settles what is open", j.ID)
	}
	return "dirpin run " + j.File
}

// describeState says why a job is where it is, and how it goes on.
func describeState(env *resetjob.Env, j *store.Job) string {
	switch {
	case j.State == store.Held:
		return env.DescribeHold(j)
	case j.State == store.Queued && j.Reason != "":
		left := ""
		if j.Stage == store.StageOpen {
			left = fmt.Sprintf("; %d of %d users are left", j.Counts.Selected-j.Counts.Final(), j.Counts.Selected)
		}
		return j.Reason + left + "; go on with: " + goOn(j)
	case j.State == store.Scheduled && j.Reason != "":
		return j.Reason
	case j.State == store.Queued && j.Owner == "":
		return "go on with: " + goOn(j)
	case j.State.Ended() && j.Stage != store.StageClosed && j.Owner == "":
		return "its report is not written yet; do it with: " + goOn(j)
	}
	return j.Reason
}

func runJobsLog(ctx context.Context, a *app, s *session, _ *resetjob.Env, id int64) error {
	j, err := readJob(ctx, s, id)
	if err != nil {
		return err
	}
	if j.Report != "" && !a.json {
		text, err := os.ReadFile(filepath.Join(j.Report, "report.log"))
		if err == nil {
			_, err = a.out.Write(text)
			return err
		}
		fmt.Fprintf(a.err, "the report is not readable (%v); this is what the database has\n", err)
	}
	return s.store.Read(ctx, func(tx *store.Tx) error {
		lines, err := tx.JobLog(id)
		enc := json.NewEncoder(a.out)
		for _, l := range lines {
			if a.json {
				enc.Encode(struct {
					Time string `json:"time"`
					Text string `json:"text"`
				}{stamp(l.At), l.Text})
			} else {
				fmt.Fprintf(a.out, "%s  %s\n", stamp(l.At), printable(l.Text))
			}
		}
		return err
	})
}

func runJobsRelease(ctx context.Context, a *app, _ *session, env *resetjob.Env, id int64) error {
	j, err := env.Release(ctx, id, submitter())
	if err != nil {
		return cannot(err)
	}
	if j.State == store.Scheduled {
		fmt.Fprintf(a.err, "Job %d is released and starts at %s.\n", id, stamp(j.Due))
		return nil
	}
	fmt.Fprintf(a.err, "Job %d is released; the service goes on with it, or, where none runs: %s\n", id, goOn(j))
	return nil
}

// cannot gives the errors of jobs that are not as a command needs them their
// code.
func cannot(err error) error {
	if refused := new(resetjob.CannotError); errors.As(err, &refused) {
		return withCode(exitUsage, err)
	}
	return err
}

func runJobsHold(ctx context.Context, a *app, _ *session, env *resetjob.Env, id int64) error {
	j, err := env.Hold(ctx, id, submitter())
	if err != nil {
		return cannot(err)
	}
	fmt.Fprintf(a.err, "Job %d is held.\n", id)
	if j.Owner != "" {
		fmt.Fprintln(a.err, "It is running: the pushes in hand are settled there.")
	}
	return nil
}

func runJobsCancel(ctx context.Context, a *app, s *session, env *resetjob.Env, id int64) error {
	// Of a restored database nothing is pushed again, not to settle it either.
	if err := env.EnterToLook(ctx); err != nil {
		return withCode(exitCouldNotRun, err)
	}
	before, err := readJob(ctx, s, id)
	if err != nil {
		return err
	}
	j, n, moved, err := env.Cancel(ctx, id, submitter())
	switch {
	case err != nil:
		return cannot(err)
	case moved && before.Series != 0 && before.Waits():
		fmt.Fprintf(a.err, "Job %d is cancelled, and its schedule has ended.\n", id)
	case moved:
		fmt.Fprintf(a.err, "Job %d is cancelled: %d users stay as they are.\n", id, n)
	default:
		fmt.Fprintf(a.err, "Job %d is %s already; what it was cut at is settled now.\n", id, j.State)
	}
	if j.Owner != "" {
		fmt.Fprintln(a.err, "It is running: the pushes in hand are settled there, and its report is written then.")
		return nil
	}
	return a.settleCut(ctx, env, id)
}

// settleCut settles what an ended job was cut at, and writes its report.
func (a *app) settleCut(ctx context.Context, env *resetjob.Env, id int64) error {
	_, err := env.Run(ctx, id, nil)
	var cut *resetjob.InterruptedError
	switch {
	case errors.As(err, &cut):
		fmt.Fprintf(a.err, "dirpin: %v: whether their mailbox was changed is not settled; settle it with: dirpin jobs cancel %d\n", cut, id)
		return &exitError{code: interruptCode(ctx)}
	case errors.Is(err, resetjob.ErrBusy):
		return withCode(exitRunning, err)
	case err != nil && ctx.Err() == nil:
		return withCode(exitCouldNotRun, fmt.Errorf("%w; when it is mended, go on with: dirpin jobs cancel %d", err, id))
	}
	return err
}
