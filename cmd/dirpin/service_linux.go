package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/dirpin/dirpin/config"
)

func serviceCommands(a *app) []*cobra.Command {
	cmd := &cobra.Command{
		Use: "service", Short: "Install and control the systemd service", Args: cobra.ArbitraryArgs, RunE: groupArgs,
		Long: `Install and control the service that runs dirpin serve: a systemd unit, the same
that the packages install. What the configuration has outside of /var/lib/dirpin
and /var/log/dirpin is opened for it when it is installed; repeat that after such
a change.`,
	}
	add := func(use, short string, run func(*systemctl, context.Context, *config.Config) error) {
		cmd.AddCommand(&cobra.Command{Use: use, Short: short, Args: cobra.NoArgs, RunE: func(cmd *cobra.Command, _ []string) error {
			s := &systemctl{app: a}
			cfg, err := s.configuration(use)
			if err != nil {
				return err
			}
			return run(s, cmd.Context(), cfg)
		}})
	}
	add("install", "Install the service and have it start with the machine", (*systemctl).install)
	add("uninstall", "Stop and remove the service; configuration and state stay", (*systemctl).uninstall)
	add("start", "Start the service", (*systemctl).start)
	add("stop", "Stop the service: pushes in hand are settled", (*systemctl).stop)
	add("reload", "Have the service read its configuration anew, if it has no fault", (*systemctl).reload)
	add("status", "Show whether the service runs, and what it does", (*systemctl).status)
	return []*cobra.Command{cmd}
}

// systemctl installs the unit and asks systemd about it. kardianos/service
// would write a SysV script where no systemd runs, and knows no drop-ins.
type systemctl struct {
	*app
	root string // of the file system; "" is /
}

const (
	unitName  = "dirpin.service"
	localUnit = "/etc/systemd/system/" + unitName
	pathsFile = "/etc/systemd/system/" + unitName + ".d/10-paths.conf"
)

func packagedUnits() []string {
	return []string{"/usr/lib/systemd/system/" + unitName, "/lib/systemd/system/" + unitName}
}

// configuration reads the configuration for commands that depend on it. The
// process stays root's, unlike with those that touch the state.
func (s *systemctl) configuration(command string) (*config.Config, error) {
	if command != "install" && command != "start" && command != "reload" {
		return nil, nil
	}
	cfg, err := config.Load(s.configPath())
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, usagef("there is no configuration at %s: make one with dirpin init, or name another with --config", s.configPath())
	case errors.Is(err, fs.ErrPermission):
		return nil, usagef("%v: run as root", err)
	case err != nil && command == "reload":
		return nil, withCode(exitUsage, fmt.Errorf("not reloaded, the service keeps the configuration that it has:\n%w", err))
	}
	return cfg, withCode(exitUsage, err)
}

func (s *systemctl) start(ctx context.Context, _ *config.Config) error {
	if err := s.ask(ctx, "start"); err != nil {
		return err
	}
	fmt.Fprintln(s.err, "The service runs.")
	return nil
}

func (s *systemctl) stop(ctx context.Context, _ *config.Config) error {
	if err := s.ask(ctx, "stop"); err != nil {
		return err
	}
	fmt.Fprintln(s.err, "The service is stopped.")
	return nil
}

func (s *systemctl) reload(ctx context.Context, cfg *config.Config) error {
	s.printFaults(cfg.Warnings)
	if err := s.ask(ctx, "reload"); err != nil {
		return err
	}
	fmt.Fprintln(s.err, "The service reads its configuration anew; its log says what became of it: journalctl -u dirpin")
	return nil
}

// ask has systemd do something with the service.
func (s *systemctl) ask(ctx context.Context, what string) error {
	if err := s.needsSystemd(); err != nil {
		return err
	}
	if err := s.run(ctx, nil, what, unitName); err != nil {
		return fmt.Errorf("%w; see journalctl -u dirpin -e", err)
	}
	return nil
}

func (s *systemctl) status(ctx context.Context, _ *config.Config) error {
	if err := s.needsSystemd(); err != nil {
		return err
	}
	var out bytes.Buffer
	if err := s.run(ctx, &out, "show", "--property=LoadState,UnitFileState,ActiveState,StateChangeTimestamp,MainPID,StatusText,Result,ExecMainStatus", unitName); err != nil {
		return err
	}
	st := parseState(out.String())
	if s.json {
		if err := json.NewEncoder(s.out).Encode(st); err != nil {
			return err
		}
	} else {
		st.print(s.out)
	}
	if st.Active != "active" && st.Active != "reloading" {
		return &exitError{code: exitCouldNotRun}
	}
	return nil
}

func parseState(show string) serviceState {
	p := map[string]string{}
	for line := range strings.Lines(show) {
		k, v, _ := strings.Cut(strings.TrimSuffix(line, "\n"), "=")
		p[k] = v
	}
	st := serviceState{Service: "dirpin", Loaded: p["LoadState"], Enabled: p["UnitFileState"], Active: p["ActiveState"], Since: p["StateChangeTimestamp"],
		PID: p["MainPID"], Status: p["StatusText"], Result: p["Result"], Code: p["ExecMainStatus"]}
	if since, err := time.Parse("Mon 2006-01-02 15:04:05 MST", st.Since); err == nil {
		st.Since = since.UTC().Format(time.RFC3339)
	}
	if st.PID == "0" {
		st.PID = ""
	}
	return st
}

func (st serviceState) print(w io.Writer) {
	switch {
	case st.Loaded == "not-found":
		fmt.Fprintln(w, "not installed: dirpin service install")
		return
	case st.PID != "":
		fmt.Fprintf(w, "%s since %s, process %s, %s at boot\n", st.Active, st.Since, st.PID, st.Enabled)
	default:
		fmt.Fprintf(w, "%s since %s, %s at boot\n", st.Active, st.Since, st.Enabled)
	}
	if st.Status != "" {
		fmt.Fprintln(w, st.Status)
	}
	if st.Active == "failed" {
		fmt.Fprintf(w, "%s, exit code %s: see journalctl -u dirpin -e\n", st.Result, st.Code)
	}
}

// running tells whether systemd is what runs this machine (sd_booted(3)).
func (s *systemctl) running() bool {
	if s.root != "" {
		return false
	}
	fi, err := os.Lstat("/run/systemd/system")
	return err == nil && fi.IsDir()
}

func (s *systemctl) needsSystemd() error {
	if s.running() {
		return nil
	}
	return withCode(exitCouldNotRun, errors.New("no systemd runs here (there is no /run/systemd/system), so there is no service to speak of: dirpin serve does the service's work in the foreground"))
}

// run runs systemctl; what it prints goes to out, where there is one.
func (s *systemctl) run(ctx context.Context, out *bytes.Buffer, args ...string) error {
	if s.root != "" {
		args = append([]string{"--root=" + s.root}, args...)
	}
	cmd := exec.CommandContext(ctx, "systemctl", args...)
	cmd.Env = append(os.Environ(), "TZ=UTC", "LC_ALL=C") // old ones take no --timestamp
	var said bytes.Buffer
	cmd.Stdout, cmd.Stderr = &said, &said
	if out != nil {
		cmd.Stdout = out
	}
	err := cmd.Run()
	switch {
	case errors.Is(err, exec.ErrNotFound):
		return withCode(exitCouldNotRun, errors.New("there is no systemctl: the service needs systemd; dirpin serve does its work in the foreground"))
	case err != nil:
		return withCode(exitCouldNotRun, fmt.Errorf("systemctl %s: %w: %s", strings.Join(args, " "), err, bytes.TrimSpace(said.Bytes())))
	}
	return nil
}
