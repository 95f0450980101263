package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"slices"
	"strings"

	"github.com/dirpin/dirpin/config"
	"github.com/dirpin/dirpin/packaging/systemd"
)

func (s *systemctl) install(ctx context.Context, cfg *config.Config) error {
	if s.root == "" && os.Geteuid() != 0 {
		return usagef("installing the service: run as root")
	}
	if err := s.account(ctx); err != nil {
		return err
	}
	if err := s.writeUnit(); err != nil {
		return withCode(exitUsage, fmt.Errorf("installing the service: %w", err))
	}
	if err := s.writePaths(cfg); err != nil {
		return withCode(exitUsage, fmt.Errorf("installing the service: %w", err))
	}
	if s.running() {
		if err := s.run(ctx, nil, "daemon-reload"); err != nil {
			return err
		}
	}
	if err := s.run(ctx, nil, "--quiet", "enable", unitName); err != nil {
		return err
	}
	fmt.Fprintln(s.err, "The service starts with the machine; dirpin service start starts it now.")
	return nil
}

// account makes the service's account where there is none.
func (s *systemctl) account(ctx context.Context) error {
	if s.root == "" {
		if _, err := user.Lookup("dirpin"); err == nil {
			return nil
		}
	}
	cmd := exec.CommandContext(ctx, "systemd-sysusers", "--root="+s.root, "-")
	if s.root == "" {
		cmd = exec.CommandContext(ctx, "systemd-sysusers", "-")
	}
	cmd.Stdin = strings.NewReader(systemd.Sysusers)
	if out, err := cmd.CombinedOutput(); err != nil {
		return withCode(exitCouldNotRun, fmt.Errorf("making the account dirpin with systemd-sysusers: %w: %s; or make it yourself: useradd --system --home-dir /var/lib/dirpin --shell /usr/sbin/nologin dirpin", err, bytes.TrimSpace(out)))
	}
	fmt.Fprintln(s.err, "Made the account dirpin.")
	return nil
}

// writeUnit writes the unit, unless the packages' is there and runs what is
// meant.
func (s *systemctl) writeUnit() error {
	program, err := os.Executable()
	if err != nil {
		return err
	}
	if program, err = filepath.EvalSymlinks(program); err != nil {
		return err
	}
	conf := ""
	if s.configPath() != defaultConfig() {
		if conf, err = filepath.Abs(s.configPath()); err != nil {
			return err
		}
	}
	if packaged := s.packaged(); packaged != "" {
		if program != systemd.Packaged || conf != "" {
			return fmt.Errorf("%s belongs to a package and runs %s with %s: change it with systemctl edit dirpin, or remove the package", packaged, systemd.Packaged, defaultConfig())
		}
		return nil
	}
	if err := replaceFile(s.root+localUnit, systemd.Unit(program, conf)); err != nil {
		return err
	}
	fmt.Fprintf(s.err, "Made %s.\n", localUnit)
	return nil
}

// packaged returns the unit of the packages, or "".
func (s *systemctl) packaged() string {
	for _, p := range packagedUnits() {
		if _, err := os.Lstat(s.root + p); err == nil {
			return p
		}
	}
	return ""
}

// writePaths opens for the service what the configuration has elsewhere.
func (s *systemctl) writePaths(cfg *config.Config) error {
	paths := outsidePaths(cfg)
	if len(paths) == 0 {
		return removeFile(s.root + pathsFile)
	}
	if err := replaceFile(s.root+pathsFile, systemd.Paths(paths)); err != nil {
		return err
	}
	fmt.Fprintf(s.err, "Made %s: the service may write to %s.\n", pathsFile, strings.Join(paths, ", "))
	return nil
}

// outsidePaths are the folders that the service writes to and that are not its
// own, each once.
func outsidePaths(cfg *config.Config) []string {
	all := []string{cfg.StateDir}
	if cfg.Store.SQLite != "" {
		all = append(all, filepath.Dir(cfg.Store.SQLite))
	}
	if cfg.Log.File != "" {
		all = append(all, filepath.Dir(cfg.Log.File))
	}
	for _, w := range cfg.Watch {
		all = append(all, w.Dir, w.Reports)
	}
	slices.Sort(all)
	var out []string
	own := []string{"/var/lib/dirpin", "/var/log/dirpin"}
	for _, p := range all {
		if within(p, own) || within(p, out) {
			continue
		}
		out = append(out, p)
	}
	return out
}

func within(path string, folders []string) bool {
	return slices.ContainsFunc(folders, func(f string) bool { return path == f || strings.HasPrefix(path, f+"/") })
}

func (s *systemctl) uninstall(ctx context.Context, _ *config.Config) error {
	if s.root == "" && os.Geteuid() != 0 {
		return usagef("removing the service: run as root")
	}
	if p := s.packaged(); p != "" {
		return usagef("%s belongs to a package, which removes it; to keep the service from starting: systemctl disable --now dirpin", p)
	}
	if _, err := os.Lstat(s.root + localUnit); errors.Is(err, fs.ErrNotExist) {
		return usagef("the service is not installed: there is no %s", localUnit)
	}
	if s.running() {
		if err := s.run(ctx, nil, "stop", unitName); err != nil {
			return err
		}
	}
	if err := s.run(ctx, nil, "--quiet", "disable", unitName); err != nil {
		return err
	}
	if err := errors.Join(removeFile(s.root+pathsFile), removeFile(s.root+localUnit)); err != nil {
		return withCode(exitUsage, fmt.Errorf("removing the service: %w", err))
	}
	os.Remove(filepath.Dir(s.root + pathsFile)) // stays while drop-ins of others are in it
	if s.running() {
		if err := s.run(ctx, nil, "daemon-reload"); err != nil {
			return err
		}
	}
	fmt.Fprintln(s.err, "The service is removed; configuration, state and the account dirpin stay.")
	return nil
}

// replaceFile writes a file of root's that anybody may read: all of it, or
// nothing.
func replaceFile(path, text string) error {
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return err
	}
	tmp := path + ".new"
	if err := removeFile(tmp); err != nil { // of a run that was cut
		return err
	}
	if err := writeNew(tmp, []byte(text), 0o644); err != nil {
		return err
	}
	return os.Rename(tmp, path)
}

func removeFile(path string) error {
	if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}
