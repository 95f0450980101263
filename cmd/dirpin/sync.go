package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"runtime/debug"
	"slices"
	"strings"
	"time"

	"github.com/dirpin/dirpin/config"
	"github.com/dirpin/dirpin/ldapsync"
	"github.com/spf13/cobra"
)

type syncOptions struct {
	full, dryRun, acceptRemovals, adoptKeys bool
}

func newSyncCommand(a *app) *cobra.Command {
	var o syncOptions
	cmd := &cobra.Command{
		Use: "sync [AGREEMENT…]", Short: "Synchronize with the directories now",
		Long: `Synchronize the agreements named, or all. What a directory newly shows is taken
over at once. Losses (users who leave or are disabled, fields that are emptied,
user ids that change) wait until the answer is complete; when there are more than
the guard allows, nobody loses anything and the exit code is 3.`,
		RunE: func(cmd *cobra.Command, args []string) error { return runSync(cmd.Context(), a, args, o) },
	}
	f := cmd.Flags()
	f.BoolVar(&o.full, "full", false, "read everything, and compare every field")
	f.BoolVar(&o.dryRun, "dry-run", false, "say what would change, and change nothing")
	f.BoolVar(&o.acceptRemovals, "accept-removals", false, "apply what the guard holds, this once")
	f.BoolVar(&o.adoptKeys, "adopt-keys", false, "entries with new keys and known user ids are the same people, this once")
	return cmd
}

func runSync(ctx context.Context, a *app, names []string, o syncOptions) error {
	collectFor(0)
	return a.withSession(ctx, func(s *session) error {
		agreements, err := chosen(s.cfg.Agreements, names)
		if err != nil {
			return err
		}
		if o.adoptKeys && len(agreements) != 1 {
			return usagef("sync: --adopt-keys takes one agreement at a time: name it")
		}
		left, err := orphans(ctx, s)
		if err != nil {
			return err
		}
		for _, name := range left {
			fmt.Fprintf(a.err, "dirpin: warning: %s\n", orphanText(name))
		}
		worst := exitOK
		for i := range agreements {
			code := a.syncOne(ctx, s, &agreements[i], o)
			if severity(code) > severity(worst) {
				worst = code
			}
			if ctx.Err() != nil {
				return &exitError{code: interruptCode(ctx)}
			}
		}
		if worst != exitOK {
			return &exitError{code: worst}
		}
		return nil
	})
}

// collectFor has the heap grow by two fifths before it is collected: 4 to 6 MiB
// less at the peak of a first sync, for some 0.05 s of CPU. An index in which
// there is nothing to collect does not let the rest grow by more.
func collectFor(index int) {
	const percent, rest = 40, 6 << 20
	debug.SetGCPercent(percent * rest / (rest + index))
}

func chosen(all []config.Agreement, names []string) ([]config.Agreement, error) {
	if len(all) == 0 {
		return nil, usagef("the configuration has no agreements: fill in the example below `agreements` there (docs/directory.md), or bring users in with dirpin users import FILE.csv")
	}
	if len(names) == 0 {
		return all, nil
	}
	var some []config.Agreement
	for _, n := range names {
		i := slices.IndexFunc(all, func(c config.Agreement) bool { return c.Name == n })
		if i < 0 {
			var have []string
			for _, c := range all {
				have = append(have, c.Name)
			}
			return nil, usagef("there is no agreement %s: %s", n, strings.Join(have, ", "))
		}
		some = append(some, all[i])
	}
	return some, nil
}

// severity orders the outcomes of several agreements: 4 before 3 before 1.
func severity(code int) int {
	switch code {
	case exitOK:
		return 0
	case exitHeld:
		return 2
	case exitCouldNotRun:
		return 3
	}
	return 4
}

// syncOne synchronizes one agreement, prints what came of it, and returns its
// exit code.
func (a *app) syncOne(ctx context.Context, s *session, ag *config.Agreement, o syncOptions) int {
	opt, err := a.directory(s, ag)
	if err != nil {
		fmt.Fprintf(a.err, "dirpin: %v\n", err)
		return exitCode(err)
	}
	opt.Full, opt.DryRun, opt.AcceptRemovals, opt.AdoptKeys = o.full, o.dryRun, o.acceptRemovals, o.adoptKeys
	enc := json.NewEncoder(a.out)
	opt.OnChange = func(c ldapsync.Change) {
		if a.json {
			enc.Encode(c)
			return
		}
		text := fmt.Sprintf("%s: %s %s", c.Agreement, c.Change, c.UserID)
		if c.Reason != "" {
			text += " (" + c.Reason + ")"
		}
		fmt.Fprintln(a.out, printable(text))
	}
	opt.OnProgress, opt.OnIndex = a.syncProgress(ag.Name), collectFor
	r, err := ldapsync.Sync(ctx, opt)
	switch {
	case err != nil && ctx.Err() != nil:
		fmt.Fprintf(a.err, "dirpin: %s: interrupted; nobody lost anything\n", ag.Name)
		return interruptCode(ctx)
	case errors.Is(err, ldapsync.ErrConfig):
		fmt.Fprintf(a.err, "dirpin: %v\n", err)
		return exitUsage
	case err != nil:
		fmt.Fprintf(a.err, "dirpin: %v\n", err)
		return exitCouldNotRun
	}
	a.printSync(r, enc)
	if len(r.Held) > 0 {
		return exitHeld
	}
	return exitOK
}

// syncJSON is an agreement of `sync --json`.
type syncJSON struct {
	Agreement   string `json:"agreement"`
	Added       int    `json:"added"`
	Updated     int    `json:"updated"`
	Unchanged   int    `json:"unchanged"`
	Deactivated int    `json:"deactivated"`
	Returned    int    `json:"returned"`
	Removed     int    `json:"removed"`
	Refused     int    `json:"refused"`
	Pending     int    `json:"pending"`
	Rate        int    `json:"entries_per_second"`
	Feed        string `json:"feed"` // full, syncrepl, dirsync, usn
	Full        bool   `json:"full"` // everything was read
}

func (a *app) printSync(r ldapsync.Result, enc *json.Encoder) {
	if a.json {
		enc.Encode(syncJSON{r.Agreement, r.Added, r.Updated, r.Unchanged, r.Deactivated, r.Returned, r.Removed, r.Refused, r.Pending, int(r.EntriesPerSecond()), r.Feed, r.Full})
	} else {
		note, how := "", r.Feed
		if r.Full && r.Feed != ldapsync.FeedFull {
			how += ", everything"
		}
		if r.DryRun {
			note = " Dry run: nothing was changed."
		}
		fmt.Fprintf(a.out, "%s: added %d, updated %d, unchanged %d, deactivated %d, returned %d, removed %d, refused %d, pending %d (%d entries from %s, %s, %.0f/s).%s\n",
			r.Agreement, r.Added, r.Updated, r.Unchanged, r.Deactivated, r.Returned, r.Removed, r.Refused, r.Pending, r.Entries, r.Server, how, r.EntriesPerSecond(), note)
	}
	for _, h := range r.Held {
		fmt.Fprintf(a.err, "dirpin: %s: held: %s\n", r.Agreement, h)
	}
}

func (a *app) syncProgress(name string) func(int) {
	last := time.Now()
	begun := last
	return func(n int) {
		if a.quiet || time.Since(last) < saidEvery {
			return
		}
		last = time.Now()
		fmt.Fprintf(a.err, "%s: %d entries, %.0f/s\n", name, n, float64(n)/time.Since(begun).Seconds())
	}
}
