package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/dirpin/dirpin/internal/credential"
	"github.com/dirpin/dirpin/internal/logon"
	"github.com/dirpin/dirpin/internal/secret"
	"github.com/dirpin/dirpin/internal/store"
	"github.com/spf13/cobra"
)

func newVerifyCommand(a *app) *cobra.Command {
	var pin, password bool
	cmd := &cobra.Command{
		Use: "verify USER (--pin|--password)", Short: "Verify a user's PIN or password",
		Long: `Read a PIN or password from stdin, or from a hidden prompt, and say whether it is
the user's. Wrong ones count, and lock.

Exit codes: 0 right, 10 wrong or unknown user, 11 locked, 12 expired.`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if pin == password {
				return usagef("verify: either --pin or --password")
			}
			kind := store.PIN
			if password {
				kind = store.Password
			}
			v, err := a.readSecret("Value: ")
			if err != nil {
				return err
			}
			return runVerify(cmd.Context(), a, args[0], kind, v)
		},
	}
	cmd.Flags().BoolVar(&pin, "pin", false, "verify the PIN")
	cmd.Flags().BoolVar(&password, "password", false, "verify the password")
	return cmd
}

func runVerify(ctx context.Context, a *app, id, kind string, v secret.Value) error {
	return a.withSession(ctx, func(s *session) error {
		l := logon.Verifier{Store: s.store, Hasher: credential.NewHasher(s.ring, newParams()), Lockout: s.cfg.Credentials.Lockout,
			Expires: credential.Kind(kind).Policy(&s.cfg.Credentials).Expires}
		r, err := l.Verify(ctx, id, kind, v)
		if errors.Is(err, credential.ErrUnknownKey) {
			return withCode(exitCouldNotRun, err)
		}
		if err != nil {
			return err
		}
		if a.json {
			json.NewEncoder(a.out).Encode(struct {
				Result     logon.Result `json:"result"`
				MustChange bool         `json:"must_change"`
			}{r.Result, r.MustChange})
		} else {
			fmt.Fprintln(a.out, r.Result)
		}
		switch r.Result {
		case logon.Right:
			return nil
		case logon.Locked:
			return &exitError{code: exitLocked}
		case logon.Expired:
			return &exitError{code: exitExpired}
		}
		return &exitError{code: exitWrong}
	})
}
