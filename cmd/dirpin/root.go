package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/dirpin/dirpin/config"
	"github.com/dirpin/dirpin/internal/credential"
	"github.com/dirpin/dirpin/internal/secret"
	"github.com/dirpin/dirpin/internal/store"
	"github.com/dirpin/dirpin/internal/strictyaml"
	"github.com/dirpin/dirpin/internal/voicemail"
	"github.com/spf13/cobra"
)

type stdio struct {
	in  io.Reader
	out io.Writer
	err io.Writer
}

// app is what every command shares: the streams, the global flags, and what is
// opened for it.
type app struct {
	stdio
	config   string
	json     bool
	quiet    bool
	logLevel string
	log      *slog.Logger
	observe  func(system string) func(voicemail.Answer, time.Duration) // is told of attempts; nil: nobody is
}

// execute runs one command line and returns its exit code.
func execute(ctx context.Context, args []string, io stdio) (code int) {
	a := &app{stdio: io}
	defer func() {
		if p := recover(); p != nil {
			// The value of a panic may be anything; its text is for developers.
			fmt.Fprintf(io.err, "dirpin: internal fault: %v\n%s\nPlease report this, with the version: dirpin %s\n", p, stack(), version)
			code = exitInternal
		}
	}()
	root := newRootCommand(a)
	root.SetArgs(args)
	err := root.ExecuteContext(ctx)
	if ctx.Err() != nil && errors.Is(err, context.Canceled) {
		err = &exitError{interruptCode(ctx), errors.New("interrupted")}
	}
	code = exitCode(err)
	var faults strictyaml.Faults
	var e *exitError
	switch {
	case err == nil, errors.As(err, &e) && e.err == nil:
	case errors.As(err, &faults):
		fmt.Fprintln(io.err, faults.Error())
	default:
		fmt.Fprintf(io.err, "dirpin: %v\n", err)
	}
	return code
}

func newRootCommand(a *app) *cobra.Command {
	root := &cobra.Command{
		Use:   "dirpin",
		Short: "Keep a local copy of LDAP users and reset their PINs and passwords in bulk, safely",
		Long: `dirpin keeps an up-to-date local copy of an organisation's LDAP users and resets
their passwords and PINs in bulk. Each PIN is pushed to the voicemail system
first; only what that system accepted is committed here.

The configuration is --config, else $DIRPIN_CONFIG, else ` + defaultConfig() + `.

` + exitHelp,
		SuggestionsMinimumDistance: 2, // letters that a mistyped command may differ by

		SilenceErrors: true,
		SilenceUsage:  true,
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) == 0 {
				return nil
			}
			return usagef("%q is no command of dirpin%s", args[0], suggest(cmd, args[0]))
		},
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
		PersistentPreRunE: func(*cobra.Command, []string) error {
			level := slog.LevelWarn
			if a.logLevel != "" {
				if err := level.UnmarshalText([]byte(a.logLevel)); err != nil {
					return usagef("--log-level: debug, info, warn or error, not %q", a.logLevel)
				}
			}
			a.log = slog.New(slog.NewTextHandler(a.err, &slog.HandlerOptions{Level: level}))
			return nil
		},
	}
	root.SetIn(a.in)
	root.SetOut(a.out)
	root.SetErr(a.err)
	root.SetFlagErrorFunc(func(cmd *cobra.Command, err error) error {
		return usagef("%s: %v (dirpin help %s)", cmd.CommandPath(), err, strings.TrimPrefix(cmd.CommandPath(), "dirpin "))
	})
	f := root.PersistentFlags()
	f.StringVar(&a.config, "config", "", "the configuration `FILE`")
	f.BoolVar(&a.json, "json", false, "print JSON")
	f.BoolVar(&a.quiet, "quiet", false, "print no progress")
	f.StringVar(&a.logLevel, "log-level", "", "debug, info, warn or error")
	root.AddCommand(
		newInitCommand(a), newCheckCommand(a), newServeCommand(a), newSyncCommand(a), newAgreementsCommand(a), newFindCommand(a),
		newRunCommand(a), newExplainCommand(a), newUsersCommand(a), newJobsCommand(a),
		newVerifyCommand(a), newDoctorCommand(a), newKeysCommand(a), newStoreCommand(a), newSealCommand(a), newBackupCommand(a), newRestoreCommand(a), newSchemaCommand(a),
		newDemoCommand(a), newVersionCommand(a),
	)
	root.AddCommand(serviceCommands(a)...)
	root.AddCommand(buildCommands(a)...)
	usageForArgs(root)
	return root
}

// usageForArgs makes the errors of cobra's own argument checks errors of
// usage, for every command.
func usageForArgs(cmd *cobra.Command) {
	if check := cmd.Args; check != nil {
		cmd.Args = func(c *cobra.Command, args []string) error {
			err := check(c, args)
			var e *exitError
			if err == nil || errors.As(err, &e) {
				return err
			}
			return usagef("%s: %v; usage: %s", c.CommandPath(), err, c.UseLine())
		}
	}
	for _, c := range cmd.Commands() {
		usageForArgs(c)
	}
}

// groupArgs refuses an unknown subcommand of a command that only has others.
func groupArgs(cmd *cobra.Command, args []string) error {
	if len(args) == 0 {
		return usagef("%s: which one? %s", cmd.CommandPath(), subcommands(cmd))
	}
	return usagef("%s: %q is none of %s", cmd.CommandPath(), args[0], subcommands(cmd))
}

func subcommands(cmd *cobra.Command) string {
	var names []string
	for _, c := range cmd.Commands() {
		names = append(names, c.Name())
	}
	return strings.Join(names, ", ")
}

func suggest(cmd *cobra.Command, arg string) string {
	if s := cmd.SuggestionsFor(arg); len(s) > 0 {
		return "; did you mean " + strings.Join(s, " or ") + "?"
	}
	return "; see dirpin help"
}

// configPath returns which configuration file is meant.
func (a *app) configPath() string {
	if a.config != "" {
		return a.config
	}
	if p := os.Getenv("DIRPIN_CONFIG"); p != "" {
		return p
	}
	return defaultConfig()
}

// loadConfig reads the configuration. As root, dirpin then becomes the owner
// of the state folder, so that no file of root's stops the service.
func (a *app) loadConfig() (*config.Config, error) {
	cfg, err := config.Load(a.configPath())
	if err != nil {
		if errors.Is(err, os.ErrNotExist) {
			return nil, usagef("there is no configuration at %s: make one with dirpin init, or name another with --config", a.configPath())
		}
		if errors.Is(err, os.ErrPermission) {
			return nil, usagef("%v: %s", err, runAs)
		}
		return nil, withCode(exitUsage, err)
	}
	if err := becomeOwner(cfg.StateDir); err != nil {
		return nil, withCode(exitUsage, err)
	}
	return cfg, nil
}

// session is an open installation: configuration, key ring and store, checked
// against each other.
type session struct {
	cfg   *config.Config
	ring  *credential.Ring
	store *store.Store
}

// withSession opens everything, runs fn and closes it.
func (a *app) withSession(ctx context.Context, fn func(*session) error) error {
	cfg, err := a.loadConfig()
	if err != nil {
		return err
	}
	ring, err := loadRing(cfg)
	if err != nil {
		return err
	}
	s, err := a.openStore(ctx, cfg)
	if err != nil {
		return err
	}
	defer s.Close()
	if checkKeys(ctx, s, ring, cfg) != nil {
		// A key may have been added since the ring was read.
		if ring, err = loadRing(cfg); err != nil {
			return err
		}
		if err := checkKeys(ctx, s, ring, cfg); err != nil {
			return err
		}
	}
	return fn(&session{cfg, ring, s})
}

// openStore opens the database of a configuration.
func (a *app) openStore(ctx context.Context, cfg *config.Config) (*store.Store, error) {
	options, err := storeOptions(cfg)
	if err != nil {
		return nil, err
	}
	s, err := store.Open(ctx, options)
	return s, storeError(err)
}

// withStore is withSession for commands that need the store alone.
func (a *app) withStore(ctx context.Context, fn func(*store.Store) error) error {
	return a.withSession(ctx, func(s *session) error { return fn(s.store) })
}

// storeOptions says where the database is, and how it is got into.
func storeOptions(cfg *config.Config) (store.Options, error) {
	o := store.Options{Path: cfg.Store.SQLite, URL: cfg.Store.URL, Dir: cfg.StateDir, Now: wallClock}
	if cfg.Store.Password.IsZero() {
		return o, nil
	}
	var err error
	o.Password, err = cfg.Store.Password.Resolve(func(sealed string) (secret.Value, error) {
		ring, err := loadRing(cfg)
		if err != nil {
			return secret.Value{}, err
		}
		return ring.OpenSealed(sealed)
	})
	if err != nil {
		return o, usagef("store: reading the password of the database: %v", err)
	}
	return o, nil
}

// storeError gives errors of opening the database their code.
func storeError(err error) error {
	if err == nil {
		return nil
	}
	var newer *store.NewerError
	var server *store.ServerError
	switch {
	case errors.As(err, &newer), errors.As(err, &server), errors.As(err, new(*store.MovedError)):
		return withCode(exitUsage, err)
	case errors.Is(err, os.ErrPermission):
		return withCode(exitUsage, fmt.Errorf("%w; %s", err, runAs))
	}
	return withCode(exitCouldNotRun, err)
}

// checkKeys refuses to start with a key ring that is not the database's: every
// PIN would be wrong, and every right one would count as an attempt.
func checkKeys(ctx context.Context, s *store.Store, ring *credential.Ring, cfg *config.Config) error {
	var want map[string][]byte
	err := s.Read(ctx, func(tx *store.Tx) (err error) {
		want, err = tx.KeyChecks()
		return err
	})
	if err != nil {
		return withCode(exitCouldNotRun, err)
	}
	if err := ring.Verify(want); err != nil {
		return usagef("the key ring %s does not fit the database %s: %v", cfg.KeyFile.File, s.Name(), err)
	}
	checks := ring.Checks()
	for id := range want {
		delete(checks, id)
	}
	if len(checks) == 0 {
		return nil
	}
	return withCode(exitCouldNotRun, s.Write(ctx, func(tx *store.Tx) error { return tx.AddKeyChecks(checks) }))
}

func itoa(n int64) string { return strconv.FormatInt(n, 10) }
