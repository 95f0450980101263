package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/dirpin/dirpin/internal/store"
	"github.com/dirpin/dirpin/ldapsync"
	"github.com/spf13/cobra"
)

func newUsersAdoptCommand(a *app) *cobra.Command {
	return &cobra.Command{
		Use: "adopt ID", Short: "Give a local user to the directory entry with the same user id", Args: cobra.ExactArgs(1),
		Long: `Make a local user that of the directory's entry which claims the same user id.
The PIN stays, the local password goes: the directory has it.`,
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.withStore(cmd.Context(), func(s *store.Store) error {
				got, err := ldapsync.Adopt(cmd.Context(), s, args[0])
				switch {
				case err != nil:
					return refusedCode(err)
				case got.Waits:
					fmt.Fprintf(a.err, "User %s was converted once. Its entry in %s is looked at again: run dirpin sync %[2]s, then dirpin users adopt %[1]s once more.\n", args[0], got.Agreement)
				default:
					fmt.Fprintf(a.err, "User %s belongs to %s now.\n", args[0], got.Agreement)
				}
				return nil
			})
		},
	}
}

func newUsersConvertCommand(a *app) *cobra.Command {
	var local bool
	cmd := &cobra.Command{
		Use: "convert ID --local", Short: "Make a local user of one that comes from a directory", Args: cobra.ExactArgs(1),
		Long: `Make a local user of one that comes from a directory. The PIN stays, and the
directory's entry is left alone from now on; users adopt undoes it.`,
		RunE: func(cmd *cobra.Command, args []string) error {
			if !local {
				return usagef("users convert: say --local")
			}
			return a.withStore(cmd.Context(), func(s *store.Store) error {
				if err := ldapsync.Convert(cmd.Context(), s, args[0]); err != nil {
					return refusedCode(err)
				}
				fmt.Fprintf(a.err, "User %s is a local user now. It has no password: dirpin users reset %[1]s --password\n", args[0])
				return nil
			})
		},
	}
	cmd.Flags().BoolVar(&local, "local", false, "to a local user")
	return cmd
}

// exportJSON is all that is held about a person. Hashes, and values that wait
// sealed, are nobody's data to read: that they are there is said.
type exportJSON struct {
	showJSON
	Items  []itemJSON `json:"jobs"`
	Losses []lossJSON `json:"synchronization"`
}

type itemJSON struct {
	Job    int64  `json:"job"`
	Name   string `json:"name"`
	State  string `json:"state"`
	Result string `json:"result"`
	Code   string `json:"code"`
	Detail string `json:"detail"`
	Time   string `json:"time"`
}

type lossJSON struct {
	Agreement string `json:"agreement"`
	Change    string `json:"change"`
	Field     string `json:"field"`
	Value     string `json:"value"`
	DN        string `json:"dn"`
	Time      string `json:"time"`
	Pending   bool   `json:"pending"`
}

func newUsersExportCommand(a *app) *cobra.Command {
	return &cobra.Command{
		Use: "export ID", Short: "Print all that is held about a person, as JSON", Args: cobra.ExactArgs(1),
		Long: `Print all that is held about a person, as JSON: the user, what is known of PIN and
password (never the values, nor their hashes), the results of jobs, and what
synchronizations changed. Reports of jobs hold user id, names and result too.`,
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.withStore(cmd.Context(), func(s *store.Store) error {
				return s.Read(cmd.Context(), func(tx *store.Tx) error { return runUsersExport(a, tx, args[0]) })
			})
		},
	}
}

func runUsersExport(a *app, tx *store.Tx, id string) error {
	u, err := findUser(tx, id)
	if err != nil {
		return err
	}
	shown, err := showOf(tx, u)
	if err != nil {
		return err
	}
	v := exportJSON{showJSON: *shown, Items: []itemJSON{}, Losses: []lossJSON{}}
	err = tx.HeldItems(u.ID, func(h *store.HeldItem) error {
		v.Items = append(v.Items, itemJSON{h.Job, h.Name, h.State, h.Result, h.Code, h.Detail, milliStamp(h.At)})
		return nil
	})
	err = errors.Join(err, tx.HeldLosses(u, func(h *store.HeldLoss) error {
		v.Losses = append(v.Losses, lossJSON{h.Agreement, h.Kind, h.Field, h.Value, h.DN, milliStamp(h.At), h.Pending})
		return nil
	}))
	if err != nil {
		return err
	}
	enc := json.NewEncoder(a.out)
	enc.SetIndent("", "  ")
	enc.SetEscapeHTML(false)
	return enc.Encode(v)
}

func milliStamp(ms int64) string {
	if ms == 0 {
		return ""
	}
	return stamp(time.UnixMilli(ms))
}
