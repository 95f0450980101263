package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/dirpin/dirpin/internal/store"
	"github.com/dirpin/dirpin/resetjob"
	"github.com/spf13/cobra"
)

func newJobsAddCommand(a *app) *cobra.Command {
	return &cobra.Command{
		Use: "add FILE", Short: "Submit a job file, which runs when it says", Args: cobra.ExactArgs(1),
		Long: `Submit a job file. It runs when its run: says, now where it says nothing, by the
service; without one it waits. The file and its list are read once, and not
needed afterwards; under cron the list is read again at each run.`,
		RunE: func(cmd *cobra.Command, args []string) error { return runJobsAdd(cmd.Context(), a, args[0]) },
	}
}

func runJobsAdd(ctx context.Context, a *app, path string) error {
	file, data, err := readJobFile(path)
	if err != nil {
		return err
	}
	return a.withJobs(ctx, func(s *session, env *resetjob.Env) error {
		err := env.Enter(ctx)
		if restored := new(resetjob.RestoredError); errors.As(err, &restored) {
			return withCode(exitHeld, err)
		} else if err != nil {
			return withCode(exitCouldNotRun, err)
		}
		o := parseOptions(s.cfg, s.ring)
		o.Foreground, o.AllowReferences, o.Resolve = false, false, nil
		sub, err := resetjob.Load(file, data, s.cfg.Watch[0].Lists, o)
		if err != nil {
			return withCode(exitUsage, err)
		}
		for _, w := range sub.Warnings {
			fmt.Fprintln(a.err, w)
		}
		accepted, err := env.Accept(ctx, sub, resetjob.Origin{Submitter: submitter()})
		if same := new(resetjob.SameError); errors.As(err, &same) || errors.Is(err, resetjob.ErrIDUsed) {
			return withCode(exitUsage, err)
		}
		if err != nil {
			return err
		}
		return a.sayJob(env, accepted.Job)
	})
}

// sayJob says what became of a job that was added or got another time.
func (a *app) sayJob(env *resetjob.Env, j *store.Job) error {
	if a.json {
		return json.NewEncoder(a.out).Encode(resetjob.JobJSON(j))
	}
	text := ""
	switch j.State {
	case store.Scheduled:
		text = " for " + resetjob.DescribeTime(j)
	case store.Held:
		text = ": " + env.DescribeHold(j)
	}
	_, err := fmt.Fprintf(a.out, "Job %d %s%s\n", j.ID, j.State, text)
	return err
}

type scheduleOptions struct {
	now                       bool
	at, cron, timezone, until string
}

func newJobsScheduleCommand(a *app) *cobra.Command {
	var o scheduleOptions
	cmd := &cobra.Command{
		Use: "schedule ID (--now|--at TIME|--cron EXPR --timezone TZ [--until TIME])", Short: "Give a job that has not begun another time", Args: cobra.ExactArgs(1),
		Long: `Give a job that has not begun another time. Times are as in 2026-12-01T02:00:00+01:00.
The next run of a schedule that gets --now runs now, and the schedule stays as it is.`,
		RunE: func(cmd *cobra.Command, args []string) error {
			run, err := o.run()
			if err != nil {
				return err
			}
			return a.oneJob(cmd, args[0], a.withJobs, func(ctx context.Context, a *app, _ *session, env *resetjob.Env, id int64) error {
				j, err := env.Schedule(ctx, id, run, submitter())
				if err != nil {
					return cannot(err)
				}
				return a.sayJob(env, j)
			})
		},
	}
	f := cmd.Flags()
	f.BoolVar(&o.now, "now", false, "as soon as it is its turn")
	f.StringVar(&o.at, "at", "", "once, at that `TIME`")
	f.StringVar(&o.cron, "cron", "", "again and again, by an `EXPRESSION` of five fields")
	f.StringVar(&o.timezone, "timezone", "", "the `ZONE` of the expression, such as Europe/Berlin")
	f.StringVar(&o.until, "until", "", "not after that `TIME`")
	return cmd
}

func (o *scheduleOptions) run() (resetjob.Run, error) {
	said := 0
	for _, s := range []bool{o.now, o.at != "", o.cron != ""} {
		if s {
			said++
		}
	}
	switch {
	case said != 1:
		return resetjob.Run{}, usagef("jobs schedule: exactly one of --now, --at and --cron is needed")
	case (o.cron == "") != (o.timezone == ""):
		return resetjob.Run{}, usagef("jobs schedule: --cron and --timezone go together")
	case o.until != "" && o.cron == "":
		return resetjob.Run{}, usagef("jobs schedule: --until goes with --cron only")
	}
	run := resetjob.Run{Now: o.now, Cron: o.cron, Timezone: o.timezone}
	for _, x := range []struct {
		flag, text string
		to         *time.Time
	}{{"at", o.at, &run.At}, {"until", o.until, &run.Until}} {
		if x.text == "" {
			continue
		}
		t, err := time.Parse(time.RFC3339, x.text)
		if err != nil {
			return run, usagef("--%s: a time with its offset is needed, such as 2026-12-01T02:00:00+01:00", x.flag)
		}
		*x.to = t
	}
	return run, nil
}

func newJobsCancelCommand(a *app) *cobra.Command {
	var next bool
	cmd := &cobra.Command{
		Use: "cancel ID", Short: "Cancel a job: whoever is not changed yet stays as they are", Args: cobra.ExactArgs(1),
		Long: `Cancel a job: whoever is not changed yet stays as they are. Cancelling a run of a
schedule ends that run; cancelling the run that waits for its time ends the
schedule. With --next only the schedule's next time is left out.`,
		RunE: func(cmd *cobra.Command, args []string) error {
			if !next {
				return a.oneJob(cmd, args[0], a.withOwner, runJobsCancel)
			}
			return a.oneJob(cmd, args[0], a.withJobs, func(ctx context.Context, a *app, _ *session, env *resetjob.Env, id int64) error {
				j, err := env.CancelNext(ctx, id, submitter())
				if err != nil {
					return cannot(err)
				}
				return a.sayJob(env, j)
			})
		},
	}
	cmd.Flags().BoolVar(&next, "next", false, "leave out the next time of the job's schedule")
	return cmd
}

func newJobsShowCommand(a *app) *cobra.Command {
	var watch bool
	cmd := &cobra.Command{
		Use: "show ID", Short: "Show one job", Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			run := runJobsShow
			if watch {
				run = runJobsWatch
			}
			return a.oneJob(cmd, args[0], a.withJobs, run)
		},
	}
	cmd.Flags().BoolVar(&watch, "watch", false, "say how far it is until it has ended or is held, and exit as run does")
	return cmd
}

// watchEvery is how often a job that is watched is looked at.
const watchEvery = time.Second

func runJobsWatch(ctx context.Context, a *app, s *session, env *resetjob.Env, id int64) error {
	var meter resetjob.Meter
	said := ""
	tick := time.NewTicker(watchEvery)
	defer tick.Stop()
	for {
		j, err := readJob(ctx, s, id)
		if err != nil {
			return err
		}
		switch {
		case j.State.Ended() && j.Stage == store.StageClosed:
			return a.ended(ctx, env, j)
		case j.State == store.Held:
			return withCode(exitHeld, &resetjob.HeldError{Job: id, Reason: env.DescribeHold(j)})
		}
		if line := meter.Line(j, env.Why(j), time.Now()); line != said {
			said = line
			if a.json {
				err = json.NewEncoder(a.out).Encode(resetjob.JobJSON(j))
			} else {
				_, err = fmt.Fprintln(a.out, printable(line))
			}
			if err != nil {
				return err
			}
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-tick.C:
		}
	}
}
