package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/spf13/cobra"
	"golang.org/x/sys/windows/svc"
	"golang.org/x/sys/windows/svc/mgr"

	"github.com/dirpin/dirpin/config"
	"github.com/dirpin/dirpin/internal/winservice"
)

func serviceCommands(a *app) []*cobra.Command {
	cmd := &cobra.Command{
		Use: "service", Short: "Install and control the Windows service", Args: cobra.ArbitraryArgs, RunE: groupArgs,
		Long: `Install and control the service that runs dirpin serve, the same that the MSI
installs. It has an account of its own, NT SERVICE\dirpin, starts with Windows, and
logs to the Event Log (Application, source dirpin) unless log: names a file.`,
	}
	w := &windowsService{app: a}
	cmd.AddCommand(w.installCommand(), w.credentialCommand())
	add := func(use, short string, run func(context.Context) error) {
		cmd.AddCommand(&cobra.Command{Use: use, Short: short, Args: cobra.NoArgs, RunE: func(cmd *cobra.Command, _ []string) error {
			return serviceError(run(cmd.Context()))
		}})
	}
	add("uninstall", "Stop and remove the service; configuration and state stay", w.uninstall)
	add("start", "Start the service", w.start)
	add("stop", "Stop the service: pushes in hand are settled", w.stop)
	add("reload", "Have the service read its configuration anew, if it has no fault", w.reload)
	add("status", "Show whether the service runs", w.status)
	return []*cobra.Command{cmd}
}

// windowsService is the service, from outside.
type windowsService struct{ *app }

// serviceError gives errors of the service manager their code.
func serviceError(err error) error {
	var coded *exitError
	switch {
	case err == nil, errors.As(err, &coded), errors.Is(err, context.Canceled):
		return err
	case errors.Is(err, winservice.ErrDenied), errors.Is(err, winservice.ErrNotInstalled), errors.Is(err, winservice.ErrNoManager):
		return withCode(exitUsage, err)
	}
	return withCode(exitCouldNotRun, err)
}

func (w *windowsService) installCommand() *cobra.Command {
	var s winservice.Setup
	cmd := &cobra.Command{
		Use: "install", Short: "Install the service and have it start with Windows", Args: cobra.NoArgs,
		Long: `Install the service, or change what is installed. --account runs it as another
account than its own: LocalSystem, a managed account (CORP\svc-dirpin$), or an
ordinary one, whose password is read from a prompt or stdin.`,
		RunE: func(*cobra.Command, []string) error { return serviceError(w.install(s)) },
	}
	cmd.Flags().StringVar(&s.Account, "account", winservice.Account, "the `ACCOUNT` that the service runs as")
	return cmd
}

// hasPassword tells whether an account is one whose password Windows asks for.
func hasPassword(account string) bool {
	domain, _, qualified := strings.Cut(strings.ToUpper(account), `\`)
	return !strings.HasSuffix(account, "$") && !strings.EqualFold(account, "LocalSystem") &&
		!(qualified && (domain == "NT SERVICE" || domain == "NT AUTHORITY"))
}

func (w *windowsService) install(s winservice.Setup) error {
	if _, err := config.Load(w.configPath()); errors.Is(err, os.ErrNotExist) {
		fmt.Fprintf(w.err, "There is no configuration at %s yet: make one with dirpin init before the service is started.\n", w.configPath())
	} else if err != nil {
		fmt.Fprintf(w.err, "%v\nThe service will not start with this configuration.\n", err)
	}
	var err error
	if s.Program, err = os.Executable(); err != nil {
		return err
	}
	if w.configPath() != defaultConfig() {
		path, err := filepath.Abs(w.configPath())
		if err != nil {
			return err
		}
		s.Args = append(s.Args, "--config", path)
	}
	s.Args = append(s.Args, "serve", "--"+asService)
	if hasPassword(s.Account) {
		password, err := w.readSecret("Password of " + s.Account + ": ")
		if err != nil {
			return err
		}
		s.Password = password.Reveal()
	}
	if err := winservice.RegisterSource(); err != nil {
		return err
	}
	if err := winservice.Install(s); err != nil {
		return err
	}
	fmt.Fprintf(w.err, "The service starts with Windows, as %s; dirpin service start starts it now.\n", s.Account)
	return nil
}

func (w *windowsService) uninstall(ctx context.Context) error {
	if err := winservice.Uninstall(ctx); err != nil {
		return err
	}
	if err := winservice.RemoveSource(); err != nil {
		return err
	}
	fmt.Fprintln(w.err, "The service is removed; configuration and state stay.")
	return nil
}

// seeLog is where the service says why.
const seeLog = "the Event Log says why: eventvwr, Windows Logs, Application, source dirpin"

func (w *windowsService) start(ctx context.Context) error {
	if _, err := w.loadConfig(); err != nil {
		return err
	}
	if err := winservice.Start(ctx); err != nil {
		return fmt.Errorf("%w; %s", err, seeLog)
	}
	fmt.Fprintln(w.err, "The service runs.")
	return nil
}

func (w *windowsService) stop(ctx context.Context) error {
	if err := winservice.Stop(ctx); err != nil {
		return err
	}
	fmt.Fprintln(w.err, "The service is stopped.")
	return nil
}

func (w *windowsService) reload(context.Context) error {
	cfg, err := w.loadConfig()
	if err != nil {
		return withCode(exitUsage, fmt.Errorf("not reloaded, the service keeps the configuration that it has:\n%w", err))
	}
	w.printFaults(cfg.Warnings)
	if err := winservice.Reload(); err != nil {
		return err
	}
	fmt.Fprintln(w.err, "The service reads its configuration anew; its log says what became of it.")
	return nil
}

func (w *windowsService) status(context.Context) error {
	st, err := winservice.Ask()
	if errors.Is(err, winservice.ErrNotInstalled) {
		st, err = winservice.Status{}, nil
	}
	if err != nil {
		return err
	}
	s := stateOf(st)
	if w.json {
		err = json.NewEncoder(w.out).Encode(s)
	} else {
		err = printState(w.out, s, st.Account)
	}
	if err == nil && s.Active != "active" {
		err = &exitError{code: exitCouldNotRun}
	}
	return err
}

// stateOf says in systemd's words how the service is. A state of zero is none.
func stateOf(st winservice.Status) serviceState {
	s := serviceState{Service: winservice.Name, Loaded: "loaded", Enabled: "disabled", Result: "success", Code: strconv.Itoa(int(st.Code))}
	if st.PID != 0 {
		s.PID = strconv.Itoa(int(st.PID))
	}
	if st.Code != 0 {
		s.Result = "exit-code"
	}
	switch st.Start {
	case mgr.StartAutomatic:
		s.Enabled = "enabled"
	case mgr.StartManual:
		s.Enabled = "manual"
	}
	switch st.State {
	case svc.Running:
		s.Active = "active"
	case svc.StartPending:
		s.Active = "activating"
	case svc.StopPending:
		s.Active = "deactivating"
	case svc.Stopped:
		s.Active = "inactive"
		if st.Code != 0 {
			s.Active = "failed"
		}
	default:
		s.Loaded, s.Enabled, s.Active, s.Result, s.Code = "not-found", "", "inactive", "", ""
	}
	return s
}

func printState(out io.Writer, s serviceState, account string) error {
	var err error
	switch {
	case s.Loaded == "not-found":
		_, err = fmt.Fprintln(out, "not installed: dirpin service install")
	case s.PID != "":
		_, err = fmt.Fprintf(out, "%s, process %s, as %s, %s at boot\n", s.Active, s.PID, account, s.Enabled)
	default:
		_, err = fmt.Fprintf(out, "%s, as %s, %s at boot\n", s.Active, account, s.Enabled)
	}
	if s.Active == "failed" {
		_, err = fmt.Fprintf(out, "exit code %s; %s\n", s.Code, seeLog)
	}
	return err
}

func (w *windowsService) credentialCommand() *cobra.Command {
	return &cobra.Command{
		Use: "credential NAME", Short: "Keep a secret for {credential: NAME}, sealed for this machine", Args: cobra.ExactArgs(1),
		Long: `Keep a secret for {credential: NAME} in the configuration. The value comes from a
hidden prompt or stdin. It is sealed with DPAPI for this machine, and only
administrators and the service may read the file.`,
		RunE: func(_ *cobra.Command, args []string) error {
			v, err := w.readSecret("Value of " + args[0] + ": ")
			if err != nil {
				return err
			}
			path, err := config.WriteCredential(args[0], v)
			if err != nil {
				return withCode(exitUsage, fmt.Errorf("keeping the credential %s: %w", args[0], err))
			}
			fmt.Fprintf(w.err, "Made %s: {credential: %s} in the configuration is its value.\n", path, args[0])
			return nil
		},
	}
}
