package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"

	"github.com/spf13/cobra"

	"github.com/dirpin/dirpin/config"
	"github.com/dirpin/dirpin/internal/daemon"
	"github.com/dirpin/dirpin/internal/incarnation"
	"github.com/dirpin/dirpin/internal/store"
	"github.com/dirpin/dirpin/resetjob"
)

func newBackupCommand(a *app) *cobra.Command {
	return &cobra.Command{
		Use: "backup FILE", Short: "Copy the database, consistent while the service runs", Args: cobra.ExactArgs(1),
		Long: `Copy the database to FILE, which must not exist; it is consistent while the service
and jobs run, and delays nobody. Hashes, history and reports' figures are in it.
The key ring is not: back that up apart, once and after each keys rotate. Nor are
the values of jobs, sealed as they are: after a restore nothing is sent again.`,
		RunE: func(cmd *cobra.Command, args []string) error { return runBackup(cmd.Context(), a, args[0]) },
	}
}

func runBackup(ctx context.Context, a *app, path string) error {
	// Whoever called may write where the owner of the state folder may not.
	f, err := os.OpenFile(path, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if errors.Is(err, os.ErrExist) {
		return usagef("%s exists already: a backup overwrites nothing", path)
	}
	if err != nil {
		return withCode(exitUsage, err)
	}
	err = a.withSession(ctx, func(s *session) error { return s.store.BackupTo(ctx, f) })
	if err == nil {
		err = f.Sync()
	}
	var size int64
	if fi, serr := f.Stat(); serr == nil {
		size = fi.Size()
	}
	if err = errors.Join(err, f.Close()); err != nil {
		if rerr := os.Remove(path); rerr != nil {
			err = errors.Join(err, fmt.Errorf("%s is no whole backup: remove it", path))
		}
		if errors.Is(err, store.ErrNoBackup) {
			return withCode(exitUsage, err)
		}
		return err
	}
	fmt.Fprintf(a.err, "%s holds the database (%d MiB). Keep the key ring apart from it.\n", path, (size+1<<20-1)>>20)
	return nil
}

func newRestoreCommand(a *app) *cobra.Command {
	return &cobra.Command{
		Use: "restore FILE", Short: "Put a backup in the place of the database", Args: cobra.ExactArgs(1),
		Long: `Put a backup in the place of the database. The service must be stopped, and no job
run in the foreground. The database that is there is kept beside it under another
name. The next start synchronizes and reads, and pushes nothing, until somebody has
looked and said: dirpin jobs release --restored.`,
		RunE: func(cmd *cobra.Command, args []string) error { return runRestore(cmd.Context(), a, args[0]) },
	}
}

func runRestore(ctx context.Context, a *app, path string) error {
	in, err := os.Open(path) // as whoever called
	if err != nil {
		return withCode(exitUsage, err)
	}
	defer in.Close()
	cfg, err := a.loadConfig()
	if err != nil {
		return err
	}
	if cfg.Store.SQLite == "" {
		return withCode(exitUsage, store.ErrNoBackup)
	}
	lock, err := daemon.TakeLock(cfg)
	if running := new(daemon.RunningError); errors.As(err, &running) {
		return withCode(exitRunning, fmt.Errorf("%w; stop the service first", err))
	}
	if err != nil {
		return err
	}
	defer lock.Release()
	if err := nobodyWorks(ctx, a, cfg); err != nil {
		return err
	}
	db := cfg.Store.SQLite
	if real, err := filepath.EvalSymlinks(db); err == nil {
		db = real
	}
	next, err := copyBeside(in, db)
	if err != nil {
		return err
	}
	defer os.Remove(next) // gone when it is in place
	if err := a.fits(ctx, cfg, next); err != nil {
		return usagef("%s cannot be restored: %v", path, err)
	}
	// Before it is in place: a kill in between leaves a database that is held
	// though it need not be, not one that is not held though it must.
	if err := outdate(cfg); err != nil {
		return err
	}
	kept, err := store.Replace(ctx, db, next, fmt.Sprintf("%s.before-restore-%s", db, time.Now().UTC().Format("20060102T150405Z")))
	if err != nil {
		return err
	}
	fmt.Fprintf(a.err, "The database is that of %s now.\n", path)
	if kept != "" {
		fmt.Fprintf(a.err, "The former one is %s: it holds hashes, remove it when it is not needed any more.\n", kept)
	}
	fmt.Fprintln(a.err, "Nothing is pushed until: dirpin jobs list, dirpin jobs cancel what is done with, dirpin jobs release --restored")
	return nil
}

// nobodyWorks refuses to take the database away from whoever works with it. One
// that cannot be opened has nobody.
func nobodyWorks(ctx context.Context, a *app, cfg *config.Config) error {
	if _, err := os.Stat(cfg.Store.SQLite); errors.Is(err, os.ErrNotExist) {
		return nil
	}
	s, err := store.Open(ctx, store.Options{Path: cfg.Store.SQLite})
	if err != nil {
		a.log.Warn("the database that is replaced cannot be opened", "error", err)
		return nil
	}
	defer s.Close()
	living, err := resetjob.Recover(ctx, s)
	if err != nil {
		a.log.Warn("the database that is replaced cannot be read", "error", err)
		return nil
	}
	for _, o := range living {
		return withCode(exitRunning, fmt.Errorf("process %d on %s works on jobs: wait for it, or stop it", o.PID, o.Host))
	}
	return nil
}

// copyBeside copies the backup to where it can be renamed into place, and makes
// it durable there.
func copyBeside(in io.Reader, db string) (string, error) {
	out, err := os.CreateTemp(filepath.Dir(db), ".restore-*")
	if err != nil {
		return "", err
	}
	_, err = io.Copy(out, in)
	if err = errors.Join(err, out.Sync(), out.Close()); err != nil {
		return "", errors.Join(fmt.Errorf("copying the backup: %w", err), os.Remove(out.Name()))
	}
	return out.Name(), nil
}

// fits tells why a database cannot be this installation's.
func (a *app) fits(ctx context.Context, cfg *config.Config, path string) error {
	keys, err := store.Inspect(ctx, path)
	if err != nil {
		return err
	}
	ring, err := loadRing(cfg)
	if err != nil {
		return err
	}
	if err := ring.Verify(keys); err != nil {
		return fmt.Errorf("the key ring %s does not fit it: %w; put the key ring of that time back too", cfg.KeyFile.File, err)
	}
	return nil
}

// outdate lets every database be older than this installation.
func outdate(cfg *config.Config) error {
	m := incarnation.NewMarker(cfg.StateDir, cfg.Store.SQLite)
	last, err := m.Last()
	if err != nil || last.ID == "" { // without a marker a database with jobs is taken for a copy anyway
		return err
	}
	last.Generation++
	return m.Write(last)
}
