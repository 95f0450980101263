package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/dirpin/dirpin/config"
	"github.com/dirpin/dirpin/internal/credential"
	"github.com/dirpin/dirpin/internal/store"
	"github.com/dirpin/dirpin/resetjob"
	"github.com/spf13/cobra"
)

// loadRing reads the key ring that the configuration names.
func loadRing(cfg *config.Config) (*credential.Ring, error) {
	path := cfg.KeyFile.File
	if path == "" {
		v, err := cfg.KeyFile.Resolve(nil)
		if err != nil {
			return nil, usagef("reading the key ring: %v", err)
		}
		ring, err := credential.ParseRing([]byte(v.Reveal()))
		return ring, withCode(exitUsage, err)
	}
	ring, err := credential.LoadRing(path)
	switch {
	case errors.Is(err, os.ErrNotExist):
		return nil, usagef("there is no key ring at %s: put it back from your backup; dirpin init makes the first one for a new installation", path)
	case errors.Is(err, os.ErrPermission):
		return nil, usagef("%v: %s", err, runAs)
	}
	return ring, withCode(exitUsage, err)
}

func newKeysCommand(a *app) *cobra.Command {
	cmd := &cobra.Command{Use: "keys", Short: "The key ring", Args: groupArgs, RunE: func(*cobra.Command, []string) error { return nil }}
	cmd.AddCommand(
		&cobra.Command{Use: "new", Short: "Make a key ring where there is none", Args: cobra.NoArgs,
			RunE: func(cmd *cobra.Command, _ []string) error { return runKeysNew(cmd.Context(), a) }},
		&cobra.Command{Use: "list", Short: "List the keys", Args: cobra.NoArgs,
			RunE: func(*cobra.Command, []string) error { return runKeysList(a) }},
		&cobra.Command{Use: "rotate", Short: "Add a key, under which all new values are made", Args: cobra.NoArgs,
			Long: `Add a key, under which all new values are made. The old keys stay: PINs that were
hashed under them can be verified. While a process works on jobs that began before
the key was there, the key waits: run the command again when it is done.`,
			RunE: func(cmd *cobra.Command, _ []string) error { return runKeysRotate(cmd.Context(), a) }},
		&cobra.Command{Use: "public", Short: "Print the recipient for sealing", Args: cobra.NoArgs,
			RunE: func(*cobra.Command, []string) error {
				cfg, err := a.loadConfig()
				if err != nil {
					return err
				}
				ring, err := loadRing(cfg)
				if err != nil {
					return err
				}
				fmt.Fprintln(a.out, ring.Recipient())
				return nil
			}},
	)
	return cmd
}

// runKeysNew refuses beside a database that has keys already: with others all
// its PINs would be wrong.
func runKeysNew(ctx context.Context, a *app) error {
	cfg, err := a.loadConfig()
	if err != nil {
		return err
	}
	if cfg.KeyFile.File == "" {
		return usagef("key_file is no path: the key ring belongs to whoever keeps that secret")
	}
	if _, err := os.Stat(cfg.Store.SQLite); err == nil || cfg.Store.URL != "" {
		if err := refuseOldDatabase(ctx, cfg); err != nil {
			return err
		}
	}
	ring, err := credential.NewRing(nil, time.Now())
	if err != nil {
		return err
	}
	if err := credential.CreateRing(cfg.KeyFile.File, ring); err != nil {
		return withCode(exitUsage, err)
	}
	fmt.Fprintf(a.err, "Made %s. Back it up apart from the database: without it no PIN can be verified.\n", cfg.KeyFile.File)
	return nil
}

func refuseOldDatabase(ctx context.Context, cfg *config.Config) error {
	options, err := storeOptions(cfg)
	if err != nil {
		return err
	}
	s, err := store.Open(ctx, options)
	if err != nil {
		return storeError(err)
	}
	defer s.Close()
	return s.Read(ctx, func(tx *store.Tx) error {
		want, err := tx.KeyChecks()
		for id := range want {
			return usagef("the database %s was made with key %s: put that key ring back at %s; a new one would make every PIN in it wrong", s.Name(), id, cfg.KeyFile.File)
		}
		return err
	})
}

func runKeysList(a *app) error {
	cfg, err := a.loadConfig()
	if err != nil {
		return err
	}
	ring, err := loadRing(cfg)
	if err != nil {
		return err
	}
	t := newTable(a.out, "Key", "Created", "")
	enc := json.NewEncoder(a.out)
	for _, k := range ring.Keys() {
		if a.json {
			enc.Encode(struct {
				ID      string `json:"id"`
				Created string `json:"created"`
				Primary bool   `json:"primary"`
				Next    bool   `json:"next"`
			}{k.ID, stamp(k.Created), k.Primary, k.Next})
			continue
		}
		use := ""
		switch {
		case k.Primary:
			use = "primary"
		case k.Next:
			use = "next"
		}
		t.row(k.ID, stamp(k.Created), use)
	}
	if a.json {
		return nil
	}
	return t.flush()
}

func runKeysRotate(ctx context.Context, a *app) error {
	return a.withSession(ctx, func(s *session) error {
		if s.cfg.KeyFile.File == "" {
			return usagef("key_file is no path: rotate the key ring where that secret is kept")
		}
		ring, err := s.ring.Add(nil, time.Now())
		if err != nil {
			return err
		}
		// The key is durable before the database asks for it, or a kill in between
		// would leave a database that no ring fits. It is not used before the
		// database knows it, so that a ring without it, put back from a backup, is
		// refused then.
		if err := credential.SaveRing(s.cfg.KeyFile.File, ring); err != nil {
			return err
		}
		if err := s.store.Write(ctx, func(tx *store.Tx) error { return tx.AddKeyChecks(ring.Checks()) }); err != nil {
			return err
		}
		lacking, err := whoLacks(ctx, s.store, ring.Next())
		if err != nil {
			return err
		}
		if lacking != "" {
			fmt.Fprintf(a.err, "Key %s is in %s, and is used when every process has it.\n", ring.Next(), s.cfg.KeyFile.File)
			return withCode(exitCouldNotRun, fmt.Errorf("%s began before the key was there: run dirpin keys rotate again when it is done", lacking))
		}
		ring = ring.Promote()
		if err := credential.SaveRing(s.cfg.KeyFile.File, ring); err != nil {
			return err
		}
		n, err := reseal(ctx, s.store, ring)
		if err != nil {
			return err
		}
		fmt.Fprintf(a.err, "Key %s is now the primary one; the values of %d jobs are sealed under it. Back up %s again.\n", ring.Primary(), n, s.cfg.KeyFile.File)
		return nil
	})
}

// whoLacks names a process that works on jobs without the key; "" where there
// is none. What others make under the key it could not read, and it would take a
// former PIN for a new one.
func whoLacks(ctx context.Context, s *store.Store, key string) (string, error) {
	living, err := resetjob.Recover(ctx, s)
	if err != nil {
		return "", withCode(exitCouldNotRun, err)
	}
	for _, o := range living {
		if !slices.Contains(strings.Split(o.Keys, ","), key) {
			return fmt.Sprintf("process %d on %s", o.PID, o.Host), nil
		}
	}
	return "", nil
}

// reseal seals the keys of jobs under the primary key.
func reseal(ctx context.Context, s *store.Store, ring *credential.Ring) (n int, err error) {
	err = s.Write(ctx, func(tx *store.Tx) error {
		n = 0
		return tx.ResealJobs(func(id int64, sealed []byte) ([]byte, error) {
			again, changed, err := ring.ResealJobKey(id, sealed)
			if changed {
				n++
			}
			return again, err
		})
	})
	return n, err
}

func newSealCommand(a *app) *cobra.Command {
	var to string
	cmd := &cobra.Command{
		Use: "seal", Short: "Seal a value for a job file", Args: cobra.NoArgs,
		Long: `Read a value from stdin, or from a hidden prompt, and print it sealed, for a job
file's {sealed: …}. Only dirpin can open it. The public key is enough: it is in
seal.pub beside the configuration, or --to. It is age: age -a -r RECIPIENT makes
the same.`,
		Example: `  printf 471108 | dirpin seal`,
		RunE: func(*cobra.Command, []string) error {
			recipient, err := a.recipient(to)
			if err != nil {
				return err
			}
			v, err := a.readSecret("Value: ")
			if err != nil {
				return err
			}
			sealed, err := credential.SealTo(recipient, v)
			if err != nil {
				return withCode(exitUsage, err)
			}
			fmt.Fprintln(a.out, sealed)
			return nil
		},
	}
	cmd.Flags().StringVar(&to, "to", "", "the `RECIPIENT`, age1…")
	return cmd
}

func newVersionCommand(a *app) *cobra.Command {
	return &cobra.Command{Use: "version", Short: "Print the version", Args: cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			if a.json {
				return json.NewEncoder(a.out).Encode(map[string]string{"version": version})
			}
			fmt.Fprintln(a.out, "dirpin", version)
			return nil
		}}
}
