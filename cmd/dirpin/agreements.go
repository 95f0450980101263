package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/dirpin/dirpin/config"
	"github.com/dirpin/dirpin/internal/store"
	"github.com/dirpin/dirpin/ldapsync"
	"github.com/spf13/cobra"
)

func newAgreementsCommand(a *app) *cobra.Command {
	cmd := &cobra.Command{Use: "agreements", Short: "The directories from which users come", Args: groupArgs, RunE: func(*cobra.Command, []string) error { return nil }}
	cmd.AddCommand(newAgreementsListCommand(a), newAgreementsRemoveCommand(a))
	return cmd
}

// agreementJSON is an agreement of `agreements list --json`.
type agreementJSON struct {
	Name      string `json:"name"`
	State     string `json:"state"`
	Kind      string `json:"kind"`
	Base      string `json:"base"`
	Server    string `json:"server"`
	Completed string `json:"completed"`
	Active    int    `json:"active"`
	Inactive  int    `json:"inactive"`
	Pending   int    `json:"pending"`
	Refused   int    `json:"refused"`
	Error     string `json:"error"`         // of the service's last try; "": it went well
	Since     string `json:"failing_since"` // the first of the tries that failed
	Failures  int    `json:"failures"`      // in a row
}

func newAgreementsListCommand(a *app) *cobra.Command {
	return &cobra.Command{
		Use: "list", Short: "List agreements, those too that are configured no more", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return a.withSession(cmd.Context(), func(s *session) error { return runAgreementsList(cmd.Context(), a, s) })
		},
	}
}

func runAgreementsList(ctx context.Context, a *app, s *session) error {
	known, err := ldapsync.Agreements(ctx, s.store)
	if err != nil {
		return err
	}
	for _, c := range s.cfg.Agreements {
		if !slices.ContainsFunc(known, func(k ldapsync.Known) bool { return k.Name == c.Name }) {
			k := ldapsync.Known{}
			k.Name = c.Name
			known = append(known, k)
		}
	}
	slices.SortFunc(known, func(x, y ldapsync.Known) int { return strings.Compare(x.Name, y.Name) })
	failing := make(map[string]store.SyncState)
	err = s.store.Read(ctx, func(tx *store.Tx) error {
		all, err := tx.SyncStates()
		for _, st := range all {
			if st.Error != "" {
				failing[st.Agreement] = st
			}
		}
		return err
	})
	if err != nil {
		return err
	}
	enc := json.NewEncoder(a.out)
	var t *table
	if !a.json {
		t = newTable(a.out, "Agreement", "State", "Kind", "Base", "Last complete answer", "From", "Active", "Inactive", "Pending", "Refused", "Trouble")
	}
	for _, k := range known {
		v := agreementJSON{k.Name, "orphaned", k.Kind, "", k.Server, stamp(k.CompletedAt), k.Active, k.Inactive, k.Pending, k.Refused, "", "", 0}
		trouble := ""
		if f, ok := failing[k.Name]; ok {
			v.Error, v.Since, v.Failures = f.Error, stamp(f.Since), f.Failures
			trouble = fmt.Sprintf("%d tries failed since %s: %s", f.Failures, v.Since, f.Error)
		}
		if i := slices.IndexFunc(s.cfg.Agreements, func(c config.Agreement) bool { return c.Name == k.Name }); i >= 0 {
			if v.State, v.Base = "configured", s.cfg.Agreements[i].Base; v.Completed == "" {
				v.State = "never synchronized"
			}
		}
		if a.json {
			enc.Encode(v)
			continue
		}
		t.row(v.Name, v.State, v.Kind, v.Base, v.Completed, v.Server, fmt.Sprint(v.Active), fmt.Sprint(v.Inactive), fmt.Sprint(v.Pending), fmt.Sprint(v.Refused), printable(trouble))
	}
	if t == nil {
		return nil
	}
	return t.flush()
}

func newAgreementsRemoveCommand(a *app) *cobra.Command {
	var keep, remove bool
	cmd := &cobra.Command{
		Use: "remove NAME (--keep-as-local | --remove-users)", Short: "End an agreement that is configured no more", Args: cobra.ExactArgs(1),
		Long: `End an agreement that was taken out of the configuration. Until then its users
stay as they are, and jobs treat them as inactive. They become local users, with
their PINs, or are removed with all that they have. An agreement that was only
renamed needs this not: say renamed_from in the configuration.`,
		RunE: func(cmd *cobra.Command, args []string) error {
			if keep == remove {
				return usagef("agreements remove: say what becomes of the users: --keep-as-local or --remove-users")
			}
			return a.withSession(cmd.Context(), func(s *session) error { return runAgreementsRemove(cmd.Context(), a, s, args[0], keep) })
		},
	}
	cmd.Flags().BoolVar(&keep, "keep-as-local", false, "the users become local ones")
	cmd.Flags().BoolVar(&remove, "remove-users", false, "the users are removed, with their PINs")
	return cmd
}

func runAgreementsRemove(ctx context.Context, a *app, s *session, name string, keep bool) error {
	if slices.ContainsFunc(s.cfg.Agreements, func(c config.Agreement) bool { return c.Name == name }) {
		return usagef("%s is still configured: take it out of %s first", name, a.configPath())
	}
	if slices.ContainsFunc(s.cfg.Agreements, func(c config.Agreement) bool { return c.RenamedFrom == name }) {
		return usagef("%s is named by renamed_from: dirpin sync moves its users over", name)
	}
	if !keep && isTerminal(a.in) {
		fmt.Fprintf(a.err, "Remove every user of %s, with their PINs? [y/N] ", name)
		line, err := bufio.NewReader(a.in).ReadString('\n')
		if answer := strings.ToLower(strings.TrimSpace(line)); err != nil || answer != "y" && answer != "yes" {
			return usagef("nothing was done")
		}
	}
	n, err := ldapsync.Remove(ctx, s.store, name, keep)
	if err != nil {
		return refusedCode(err)
	}
	what := "were removed"
	if keep {
		what = "are local users now"
	}
	fmt.Fprintf(a.err, "Agreement %s is ended: %d users %s.\n", name, n, what)
	return nil
}

// refusedCode gives what cannot be done as things stand the code of usage.
func refusedCode(err error) error {
	if errors.Is(err, ldapsync.ErrRefused) {
		return withCode(exitUsage, err)
	}
	return err
}

// orphanText says what an agreement that is configured no more means.
func orphanText(name string) string {
	return fmt.Sprintf("agreement %s is configured no more: its users stay as they are, and jobs treat them as inactive; say renamed_from, or end it with dirpin agreements remove %[1]s", name)
}

// orphans returns the agreements that have users and are configured no more.
func orphans(ctx context.Context, s *session) ([]string, error) {
	known, err := ldapsync.Agreements(ctx, s.store)
	var names []string
	for _, k := range known {
		if k.Active+k.Inactive > 0 && !slices.ContainsFunc(s.cfg.Agreements, func(c config.Agreement) bool { return c.Name == k.Name || c.RenamedFrom == k.Name }) {
			names = append(names, k.Name)
		}
	}
	return names, err
}
