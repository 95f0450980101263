package main

import (
	"context"
	"errors"
	"fmt"

	"github.com/dirpin/dirpin/internal/store"
	"github.com/dirpin/dirpin/resetjob"
	"github.com/spf13/cobra"
)

func newUsersEraseCommand(a *app) *cobra.Command {
	var yes bool
	cmd := &cobra.Command{
		Use: "erase ID", Short: "Erase a person from users, jobs and reports", Args: cobra.ExactArgs(1),
		Long: `Erase a person, who may be gone already, from users, from what synchronizations and
jobs remember, and from the reports of jobs, which keep that somebody was changed
and how that went. It cannot be undone. What is sealed for others, and backups,
cannot be changed: that is said. An entry that a directory still has is left alone
from now on; users export shows first what is held.`,
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := a.confirm(fmt.Sprintf("Erase %s for ever?", args[0]), yes); err != nil {
				return err
			}
			return a.withStore(cmd.Context(), func(s *store.Store) error { return runUsersErase(cmd.Context(), a, s, args[0]) })
		},
	}
	cmd.Flags().BoolVar(&yes, "yes", false, "do not ask")
	return cmd
}

func runUsersErase(ctx context.Context, a *app, s *store.Store, id string) error {
	e, err := resetjob.Erase(ctx, s, id)
	switch {
	case errors.Is(err, store.ErrNotFound), errors.Is(err, resetjob.ErrCannotErase), errors.Is(err, store.ErrInFlight):
		return withCode(exitUsage, err)
	case err != nil:
		return err
	}
	fmt.Fprintf(a.err, "%s is erased: from the users, %d jobs and %d reports.\n", id, e.Jobs, e.Reports)
	for _, left := range e.Left {
		fmt.Fprintf(a.err, "Not changed: %s.\n", left)
	}
	return nil
}
