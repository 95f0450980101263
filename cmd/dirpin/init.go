package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/dirpin/dirpin/config"
	"github.com/dirpin/dirpin/internal/credential"
	"github.com/spf13/cobra"
)

func newInitCommand(a *app) *cobra.Command {
	var stateDir string
	cmd := &cobra.Command{
		Use: "init", Short: "Make a configuration, the state folders and a key ring", Args: cobra.NoArgs,
		Long: `Make a commented configuration at --config, the state folders, a key ring (only
its owner may read it) and, beside the configuration, seal.pub, with which
anybody may seal values for job files. Nothing that exists is overwritten.`,
		RunE: func(*cobra.Command, []string) error { return runInit(a, stateDir) },
	}
	cmd.Flags().StringVar(&stateDir, "state-dir", config.DefaultStateDir(), "the state `DIR`: database, key ring, watch folder, reports")
	return cmd
}

func runInit(a *app, stateDir string) error {
	path, err := filepath.Abs(a.configPath())
	if err != nil {
		return err
	}
	if stateDir, err = filepath.Abs(stateDir); err != nil {
		return err
	}
	key := filepath.Join(stateDir, "key")
	for _, p := range []string{path, key, sealPub(path), filepath.Join(stateDir, "dirpin.db")} {
		if _, err := os.Lstat(p); err == nil {
			return usagef("%s exists already: dirpin init overwrites nothing", p)
		} else if !errors.Is(err, os.ErrNotExist) {
			return withCode(exitUsage, err)
		}
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return withCode(exitUsage, err)
	}
	for _, d := range []struct {
		name string
		mode os.FileMode
	}{{"", 0o750}, {"jobs", 0o750}, {"lists", 0o750}, {"reports", 0o750}} {
		if err := makeDir(filepath.Join(stateDir, d.name), d.mode); err != nil {
			return withCode(exitUsage, err)
		}
	}
	ring, err := credential.NewRing(nil, time.Now())
	if err != nil {
		return err
	}
	if err := credential.CreateRing(key, ring); err != nil {
		return withCode(exitUsage, err)
	}
	if err := writeNew(sealPub(path), []byte("# Anybody may seal values for job files with this: dirpin seal, or age -a -r RECIPIENT\n"+ring.Recipient()+"\n"), 0o644); err != nil {
		return withCode(exitUsage, err)
	}
	// The configuration comes last: while it is missing, init may be run again
	// once what is left of this one is removed.
	if err := writeNew(path, config.Template(stateDir), 0o640); err != nil {
		return withCode(exitUsage, err)
	}
	if err := giveAway(stateDir, []string{stateDir, key, filepath.Join(stateDir, "jobs"), filepath.Join(stateDir, "lists"), filepath.Join(stateDir, "reports")}, path); err != nil {
		return withCode(exitUsage, err)
	}
	fmt.Fprintf(a.err, `Made %s, %s and %s.
Next: edit %s, then
  dirpin check            is it right?
  dirpin sync             bring the users in (or: dirpin users import users.csv)
  dirpin run job.yaml     the first job; --dry-run shows the plan
Back up %s apart from the database: without it no PIN can be verified.
`, path, stateDir, sealPub(path), path, key)
	return nil
}

func makeDir(path string, mode os.FileMode) error {
	if err := os.MkdirAll(path, mode); err != nil {
		return err
	}
	return os.Chmod(path, mode)
}

func writeNew(path string, data []byte, mode os.FileMode) error {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_EXCL|os.O_WRONLY, mode)
	if err != nil {
		return err
	}
	_, err = f.Write(data)
	return errors.Join(err, f.Chmod(mode), f.Sync(), f.Close())
}
