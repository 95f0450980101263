package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/dirpin/dirpin/config"
	"github.com/dirpin/dirpin/internal/daemon"
	"github.com/dirpin/dirpin/internal/secret"
	"github.com/dirpin/dirpin/internal/store"
	"github.com/dirpin/dirpin/resetjob"
	"github.com/spf13/cobra"
)

func newStoreCommand(a *app) *cobra.Command {
	cmd := &cobra.Command{Use: "store", Short: "The database", Args: groupArgs, RunE: func(*cobra.Command, []string) error { return nil }}
	var password string
	move := &cobra.Command{
		Use: "copy URL", Short: "Move everything to another database, of whichever kind", Args: cobra.ExactArgs(1),
		Long: `Move everything to another database, which must be empty: postgres://…, or sqlite for
the file in the state folder. The service must be stopped, and no job run in the
foreground. The former database is left as it is, marked as moved: dirpin refuses
to open it. The key ring stays where it is; the new database needs the same one.`,
		Example: `  dirpin store copy 'postgres://dirpin@db.example.com/dirpin?sslmode=verify-full'`,
		RunE: func(cmd *cobra.Command, args []string) error {
			return runStoreCopy(cmd.Context(), a, args[0], password)
		},
	}
	move.Flags().StringVar(&password, "password-file", "", "the `FILE` with the password of the role (else PGPASSFILE)")
	cmd.AddCommand(move)
	return cmd
}

func runStoreCopy(ctx context.Context, a *app, to, passwordFile string) error {
	return a.withSession(ctx, func(s *session) error {
		lock, err := daemon.TakeLock(s.cfg)
		if running := new(daemon.RunningError); errors.As(err, &running) {
			return withCode(exitRunning, fmt.Errorf("%w; stop the service first", err))
		}
		if err != nil {
			return err
		}
		defer lock.Release()
		living, err := resetjob.Recover(ctx, s.store)
		if err != nil {
			return withCode(exitCouldNotRun, err)
		}
		for _, o := range living {
			return withCode(exitRunning, fmt.Errorf("process %d on %s works on jobs: wait for it, or stop it", o.PID, o.Host))
		}
		o, err := target(s.cfg, to, passwordFile)
		if err != nil {
			return err
		}
		if o.Path == s.store.Path() && o.URL == "" || o.URL != "" && o.URL == s.cfg.Store.URL {
			return usagef("%s is the database in use", s.store.Name())
		}
		next, err := store.Open(ctx, o)
		if err != nil {
			return storeError(err)
		}
		defer next.Close()
		counts, err := s.store.Move(ctx, next)
		if full := new(store.NotEmptyError); errors.As(err, &full) {
			return withCode(exitUsage, err)
		}
		if err != nil {
			return withCode(exitCouldNotRun, fmt.Errorf("nothing was moved: %w", err))
		}
		return a.tellMoved(s.store.Name(), next.Name(), o, counts)
	})
}

// target is where a copy goes.
func target(cfg *config.Config, to, passwordFile string) (store.Options, error) {
	o := store.Options{Dir: cfg.StateDir}
	if to == "sqlite" {
		o.Path = filepath.Join(cfg.StateDir, "dirpin.db")
		return o, nil
	}
	u, err := url.Parse(to)
	if err != nil || u.Scheme != "postgres" && u.Scheme != "postgresql" {
		return o, usagef("copy to what? postgres://user@host/db?sslmode=verify-full, or sqlite")
	}
	if password, has := u.User.Password(); has {
		o.Password = secret.New(password)
		u.User = url.User(u.User.Username())
	}
	if o.URL = u.String(); passwordFile != "" {
		text, err := os.ReadFile(passwordFile)
		if err != nil {
			return o, withCode(exitUsage, err)
		}
		o.Password = secret.New(strings.TrimRight(string(text), "\r\n"))
	}
	return o, nil
}

func (a *app) tellMoved(from, to string, o store.Options, counts map[string]int64) error {
	var rows int64
	for _, table := range slices.Sorted(maps.Keys(counts)) {
		rows += counts[table]
		if a.json {
			continue
		}
		if n := counts[table]; n > 0 {
			fmt.Fprintf(a.out, "%-20s %d\n", table, n)
		}
	}
	if a.json {
		if err := json.NewEncoder(a.out).Encode(struct {
			From string           `json:"from"`
			To   string           `json:"to"`
			Rows map[string]int64 `json:"rows"`
		}{from, to, counts}); err != nil {
			return err
		}
	}
	value := o.URL
	if value == "" {
		value = "sqlite"
	}
	fmt.Fprintf(a.err, "%d rows are in %s. Now write into the configuration:\n  store: %s\nThe former database, %s, is not opened any more; remove it when the new one is backed up.\n", rows, to, value, from)
	return nil
}
