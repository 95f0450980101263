package main

import (
	"context"
	"crypto/rand"
	"encoding/base64"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"runtime/debug"

	"github.com/spf13/cobra"

	"github.com/dirpin/dirpin/config"
	"github.com/dirpin/dirpin/internal/credential"
	"github.com/dirpin/dirpin/internal/daemon"
	"github.com/dirpin/dirpin/internal/incarnation"
	"github.com/dirpin/dirpin/internal/secret"
	"github.com/dirpin/dirpin/internal/store"
	"github.com/dirpin/dirpin/resetjob"
)

func newServeCommand(a *app) *cobra.Command {
	cmd := &cobra.Command{
		Use: "serve", Short: "Run as the service: synchronize, and work on jobs", Args: cobra.NoArgs,
		Long: `Run in the foreground as the service does: keep the agreements synchronized and
work on jobs. SIGHUP reads the configuration anew, all of it or nothing, and opens
the log file anew. SIGTERM and Ctrl-C settle the pushes in hand and leave the rest
for the next start; the exit code is 0 then.`,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return supervise(cmd, func(ctx context.Context, s supervisor) error { return runServe(ctx, a, s) })
		},
	}
	serveFlags(cmd)
	return cmd
}

// serveMemory keeps an idle daemon small; jobs may take more, at the price of
// collecting garbage more often.
const serveMemory = 256 << 20

// supervisor is what stands above the service where that is more than signals:
// Windows' service manager.
type supervisor struct {
	reload <-chan struct{}                 // asks for the configuration to be read anew
	ready  func()                          // wants to be told that the service works; nil: does not
	log    func(slog.Leveler) slog.Handler // nil: stderr
}

func runServe(ctx context.Context, a *app, s supervisor) error {
	debug.SetGCPercent(25) // as for jobs, see withJobs
	debug.SetMemoryLimit(serveMemory)
	err := daemon.Run(ctx, daemon.Options{
		Version: version, Stderr: a.err, LogLevel: a.logLevel,
		Load: a.loadConfig,
		Open: func(ctx context.Context, cfg *config.Config) (*store.Store, error) { return a.openStore(ctx, cfg) },
		Make: a.daemonParts, Step: atStep, Wall: wallClock, Hup: s.reload, Log: s.log, Ready: s.ready,
	})
	var running *daemon.RunningError
	if errors.As(err, &running) {
		return withCode(exitRunning, err)
	}
	return err
}

// daemonParts makes what the daemon works with, as commands do for themselves.
func (a *app) daemonParts(ctx context.Context, m *daemon.Making) (*daemon.Parts, error) {
	ring, err := loadRing(m.Config)
	if err != nil {
		return nil, err
	}
	if err := checkKeys(ctx, m.Store, ring, m.Config); err != nil {
		return nil, err
	}
	b := &app{stdio: a.stdio, config: a.config, log: m.Log, observe: m.Observe}
	s := &session{m.Config, ring, m.Store}
	router, err := b.router(s)
	if err != nil {
		return nil, withCode(exitUsage, err)
	}
	directories, err := b.directories(s)
	if err != nil {
		return nil, errors.Join(err, router.Close())
	}
	mail, hook, err := couriers(m.Config, ring.OpenSealed)
	if err != nil {
		return nil, withCode(exitUsage, errors.Join(err, router.Close()))
	}
	return &daemon.Parts{
		Env: &resetjob.Env{Config: m.Config, Ring: ring, Hasher: credential.NewHasher(ring, newParams()), Store: m.Store, Router: router, Directories: directories, Mail: mail, Hook: hook, Batch: batchItems,
			Live: live{b, s}, Marker: incarnation.NewMarker(m.Config.StateDir, m.Store.Path())},
		BindPassword: func(ag *config.Agreement) (secret.Value, error) {
			if ag.Bind.Password.IsZero() {
				return secret.Value{}, nil
			}
			return ag.Bind.Password.Resolve(ring.OpenSealed)
		},
		MetricsToken: func() (secret.Value, error) { return metricsToken(m.Config, ring) },
		Close: func() error {
			errs := []error{router.Close()}
			if hook != nil {
				hook.Close()
			}
			for _, d := range directories {
				errs = append(errs, d.Close())
			}
			return errors.Join(errs...)
		},
	}, nil
}

// metricsToken returns what /metrics asks for. Where the configuration names
// none it is drawn once, and kept where the service's account can read it.
func metricsToken(cfg *config.Config, ring *credential.Ring) (secret.Value, error) {
	if t := cfg.HTTP.MetricsToken; !t.IsZero() {
		v, err := t.Resolve(ring.OpenSealed)
		if err != nil {
			return v, withCode(exitUsage, fmt.Errorf("http: metrics_token: %w", err))
		}
		return v, nil
	}
	path := filepath.Join(cfg.StateDir, "metrics.token")
	v, err := (config.Secret{File: path}).Resolve(nil)
	if !errors.Is(err, fs.ErrNotExist) {
		return v, err
	}
	var b [24]byte
	rand.Read(b[:]) // never fails
	text := base64.RawURLEncoding.EncodeToString(b[:])
	f, err := os.CreateTemp(cfg.StateDir, ".metrics.token-*") // readable by its owner alone
	if err != nil {
		return v, fmt.Errorf("making the token of /metrics: %w", err)
	}
	defer os.Remove(f.Name()) // gone after the rename
	_, err = f.WriteString(text + "\n")
	if err = errors.Join(err, f.Sync(), f.Close()); err == nil {
		err = os.Rename(f.Name(), path)
	}
	if err != nil {
		return v, fmt.Errorf("making the token of /metrics: %w", err)
	}
	return secret.New(text), nil
}
