package winservice

import (
	"context"
	"errors"
	"fmt"
	"time"
	"unsafe"

	"golang.org/x/sys/windows"
	"golang.org/x/sys/windows/svc"
	"golang.org/x/sys/windows/svc/mgr"
)

var (
	// ErrDenied says that it takes an administrator.
	ErrDenied = errors.New("access denied: run it in a prompt of an administrator")
	// ErrNoManager says that somebody else than the service manager started this.
	ErrNoManager = errors.New("the service manager has not started this: use dirpin service start, or dirpin serve for the foreground")
	// ErrNotInstalled says that there is no such service.
	ErrNotInstalled = errors.New("the service is not installed: dirpin service install")
)

// Account is whose rights the service has where nothing else is said: an account
// of its own, that Windows keeps and that has no password.
const Account = `NT SERVICE\` + Name

const (
	display     = "dirpin"
	description = "Keeps a local copy of the organisation's LDAP users, and resets their passwords and PINs."
)

// Setup is how the service is to be.
type Setup struct {
	Program  string   // its path
	Args     []string // to it
	Account  string   // "": Account
	Password string   // of an account that has one
}

// The service manager starts a service that vanished again after 5 s, then 30 s,
// then each minute. It begins to count anew after a day.
var recovery = []mgr.RecoveryAction{
	{Type: mgr.ServiceRestart, Delay: 5 * time.Second},
	{Type: mgr.ServiceRestart, Delay: 30 * time.Second},
	{Type: mgr.ServiceRestart, Delay: time.Minute},
}

const (
	recoveryReset = 24 * time.Hour
	// preShutdown is how long Windows waits for the service when it shuts down: as
	// long as a push may take.
	preShutdown = 3 * time.Minute
)

// service is the installed service, opened.
type service struct {
	*mgr.Service
	manager *mgr.Mgr
}

// open opens the service for what the rights say. Windows' own rule is that
// everybody may ask how a service is, and administrators may do the rest.
func open(access uint32) (*service, error) {
	m, err := connect(windows.SC_MANAGER_CONNECT)
	if err != nil {
		return nil, err
	}
	name, err := windows.UTF16PtrFromString(Name)
	if err != nil {
		return nil, errors.Join(err, m.Disconnect())
	}
	h, err := windows.OpenService(m.Handle, name, access)
	if err != nil {
		return nil, errors.Join(reason(err), m.Disconnect())
	}
	return &service{&mgr.Service{Name: Name, Handle: h}, m}, nil
}

func (s *service) close() {
	s.Service.Close()
	s.manager.Disconnect()
}

func connect(access uint32) (*mgr.Mgr, error) {
	h, err := windows.OpenSCManager(nil, nil, access)
	if err != nil {
		return nil, fmt.Errorf("asking the service manager: %w", reason(err))
	}
	return &mgr.Mgr{Handle: h}, nil
}

// reason says what an error of the service manager means, where that is not plain.
func reason(err error) error {
	switch {
	case errors.Is(err, windows.ERROR_ACCESS_DENIED):
		return ErrDenied
	case errors.Is(err, windows.ERROR_SERVICE_DOES_NOT_EXIST):
		return ErrNotInstalled
	case errors.Is(err, windows.ERROR_SERVICE_LOGON_FAILED):
		return fmt.Errorf(`%w: is its password right, and has its account the right "Log on as a service" (secpol.msc, Local Policies, User Rights Assignment)?`, err)
	case errors.Is(err, windows.ERROR_SERVICE_MARKED_FOR_DELETE):
		return fmt.Errorf("%w: close the Services window and whatever else looks at it, or restart Windows", err)
	}
	return err
}

// Install makes the service, or makes it what it is to be where there is one. It
// starts with Windows.
func Install(s Setup) error {
	if s.Account == "" {
		s.Account = Account
	}
	m, err := connect(windows.SC_MANAGER_CONNECT | windows.SC_MANAGER_CREATE_SERVICE)
	if err != nil {
		return err
	}
	defer m.Disconnect()
	v, err := m.OpenService(Name)
	switch {
	case err == nil:
		err = s.change(v)
	case errors.Is(err, windows.ERROR_SERVICE_DOES_NOT_EXIST):
		v, err = m.CreateService(Name, s.Program, mgr.Config{
			ServiceType: windows.SERVICE_WIN32_OWN_PROCESS, StartType: mgr.StartAutomatic, ErrorControl: mgr.ErrorNormal,
			ServiceStartName: s.Account, Password: s.Password, DisplayName: display, Description: description,
		}, s.Args...)
	}
	if v != nil {
		defer v.Close()
	}
	if err != nil {
		return fmt.Errorf("installing the service: %w", reason(err))
	}
	return configure(v)
}

// change makes an installed service what it is to be. The like of x/sys sets more
// at once, some of which not every Windows knows.
func (s Setup) change(v *mgr.Service) error {
	command := windows.EscapeArg(s.Program)
	for _, arg := range s.Args {
		command += " " + windows.EscapeArg(arg)
	}
	var texts [4]*uint16
	for i, text := range []string{command, s.Account, s.Password, display} {
		if i == 2 && text == "" {
			continue // it has none, or keeps it
		}
		var err error
		if texts[i], err = windows.UTF16PtrFromString(text); err != nil {
			return err
		}
	}
	return windows.ChangeServiceConfig(v.Handle, windows.SERVICE_WIN32_OWN_PROCESS, mgr.StartAutomatic, mgr.ErrorNormal,
		texts[0], nil, nil, nil, texts[1], texts[2], texts[3])
}

// configure sets what a service has beside its account and its program.
func configure(v *mgr.Service) error {
	if err := v.SetRecoveryActions(recovery, uint32(recoveryReset.Seconds())); err != nil {
		return fmt.Errorf("setting what happens when the service vanishes: %w", reason(err))
	}
	patience := uint32(preShutdown.Milliseconds())
	if err := windows.ChangeServiceConfig2(v.Handle, windows.SERVICE_CONFIG_PRESHUTDOWN_INFO, (*byte)(unsafe.Pointer(&patience))); err != nil {
		return fmt.Errorf("setting how long Windows waits for the service when it shuts down: %w", reason(err))
	}
	// So that NT SERVICE\dirpin is what access lists need to name, whatever the account.
	// Wine knows no such thing, and asks no access lists either.
	kind := uint32(windows.SERVICE_SID_TYPE_UNRESTRICTED)
	err := windows.ChangeServiceConfig2(v.Handle, windows.SERVICE_CONFIG_SERVICE_SID_INFO, (*byte)(unsafe.Pointer(&kind)))
	if err != nil && !errors.Is(err, windows.ERROR_INVALID_LEVEL) {
		return fmt.Errorf("giving the service its own account beside the one that it runs as: %w", reason(err))
	}
	return nil
}

// Uninstall stops the service and removes it.
func Uninstall(ctx context.Context) error {
	if err := Stop(ctx); err != nil {
		return err
	}
	s, err := open(windows.DELETE)
	if err != nil {
		return err
	}
	defer s.close()
	return reason(s.Delete())
}

// Start starts the service and waits until it works.
func Start(ctx context.Context) error {
	s, err := open(windows.SERVICE_START | windows.SERVICE_QUERY_STATUS)
	if err != nil {
		return err
	}
	defer s.close()
	if err := s.Start(); errors.Is(err, windows.ERROR_SERVICE_ALREADY_RUNNING) {
		return nil
	} else if err != nil {
		return fmt.Errorf("starting the service: %w", reason(err))
	}
	st, err := s.await(ctx, svc.Running, svc.Stopped)
	if err == nil && st.State == svc.Stopped {
		return fmt.Errorf("starting the service: it stopped again (exit code %d)", exitCode(st))
	}
	return err
}

// Stop stops the service, where it runs, and waits until it has: pushes in hand are
// settled.
func Stop(ctx context.Context) error {
	s, err := open(windows.SERVICE_STOP | windows.SERVICE_QUERY_STATUS)
	if err != nil {
		return err
	}
	defer s.close()
	if _, err := s.Control(svc.Stop); errors.Is(err, windows.ERROR_SERVICE_NOT_ACTIVE) {
		return nil
	} else if err != nil {
		return fmt.Errorf("stopping the service: %w", reason(err))
	}
	_, err = s.await(ctx, svc.Stopped)
	return err
}

// Reload has the running service read its configuration anew.
func Reload() error {
	s, err := open(windows.SERVICE_PAUSE_CONTINUE)
	if err != nil {
		return err
	}
	defer s.close()
	if _, err := s.Control(svc.ParamChange); err != nil {
		return fmt.Errorf("telling the service: %w", reason(err))
	}
	return nil
}

// await asks until the service is in one of some states.
func (s *service) await(ctx context.Context, states ...svc.State) (svc.Status, error) {
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	for {
		st, err := s.Query()
		if err != nil {
			return st, fmt.Errorf("asking how the service is: %w", reason(err))
		}
		for _, want := range states {
			if st.State == want {
				return st, nil
			}
		}
		select {
		case <-ctx.Done():
			return st, ctx.Err()
		case <-tick.C:
		}
	}
}

// Status is how the service is.
type Status struct {
	State   svc.State
	PID     uint32
	Code    uint32 // of its last end
	Start   uint32 // mgr.StartAutomatic and the like
	Account string
}

// Ask returns how the service is; ErrNotInstalled.
func Ask() (Status, error) {
	s, err := open(windows.SERVICE_QUERY_STATUS | windows.SERVICE_QUERY_CONFIG)
	if err != nil {
		return Status{}, err
	}
	defer s.close()
	st, err := s.Query()
	if err != nil {
		return Status{}, reason(err)
	}
	start, account, err := s.setup()
	if err != nil {
		return Status{}, reason(err)
	}
	return Status{State: st.State, PID: st.ProcessId, Code: exitCode(st), Start: start, Account: account}, nil
}

// setup returns when the service starts, and as whom.
func (s *service) setup() (start uint32, account string, err error) {
	buf := make([]uint64, 1024) // 8 KiB are the most that Windows has
	c := (*windows.QUERY_SERVICE_CONFIG)(unsafe.Pointer(&buf[0]))
	size := uint32(len(buf) * 8)
	if err := windows.QueryServiceConfig(s.Handle, c, size, &size); err != nil {
		return 0, "", err
	}
	return c.StartType, windows.UTF16PtrToString(c.ServiceStartName), nil
}

// exitCode is dirpin's own where it said one, else Windows'.
func exitCode(st svc.Status) uint32 {
	switch windows.Errno(st.Win32ExitCode) {
	case windows.ERROR_SERVICE_SPECIFIC_ERROR:
		return st.ServiceSpecificExitCode
	case windows.ERROR_SERVICE_NEVER_STARTED:
		return 0
	}
	return st.Win32ExitCode
}
