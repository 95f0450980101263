package winservice

import (
	"context"
	"errors"
	"os"
	"time"

	"golang.org/x/sys/windows"
	"golang.org/x/sys/windows/svc"
)

// Program is the work of the service.
type Program struct {
	// Work works until ctx ends, and returns dirpin's exit code. It calls ready when
	// it works, and reads its configuration anew when reload says so.
	Work func(ctx context.Context, ready func(), reload <-chan struct{}) (code int)
	// Again tells whether Windows shall start the service again after a code.
	Again func(code int) bool
}

// Run is the service until the service manager stops it, or the program ends. It
// does not return where the service is to be started again.
func (p Program) Run(ctx context.Context) error {
	err := svc.Run(Name, &handler{Program: p, ctx: ctx, exit: os.Exit})
	if errors.Is(err, windows.ERROR_FAILED_SERVICE_CONTROLLER_CONNECT) {
		return ErrNoManager
	}
	return err
}

// signOfLife is how often the service manager is told that starting or stopping
// goes on; it waits for hint.
const (
	signOfLife = 3 * time.Second
	hint       = 4 * signOfLife
)

const accepted = svc.AcceptStop | svc.AcceptShutdown | svc.AcceptPreShutdown | svc.AcceptParamChange

type handler struct {
	Program
	ctx  context.Context
	exit func(int)
}

// Execute is one run of the service; svc calls it.
func (h *handler) Execute(_ []string, requests <-chan svc.ChangeRequest, says chan<- svc.Status) (specific bool, code uint32) {
	now := svc.Status{State: svc.StartPending, WaitHint: uint32(hint.Milliseconds())}
	says <- now
	ctx, stop := context.WithCancel(h.ctx)
	defer stop()
	ready, reload, ended := make(chan struct{}, 1), make(chan struct{}, 1), make(chan int, 1)
	go func() {
		ended <- h.Work(ctx, func() { ready <- struct{}{} }, reload)
	}()
	life := time.NewTicker(signOfLife)
	defer life.Stop()
	for {
		select {
		case code := <-ended:
			// Who told it to stop wants it stopped, whatever was wrong at the end.
			if code != 0 && now.State != svc.StopPending && h.Again(code) {
				h.exit(code)
			}
			return code != 0, uint32(code)
		case <-ready:
			if now.State == svc.StartPending {
				now = svc.Status{State: svc.Running, Accepts: accepted}
				says <- now
			}
		case <-life.C:
			if now.State != svc.Running {
				now.CheckPoint++
				says <- now
			}
		case r := <-requests:
			switch r.Cmd {
			case svc.Interrogate:
				says <- now
			case svc.ParamChange:
				select {
				case reload <- struct{}{}:
				default: // one waits already: it will read what is there then
				}
			case svc.Stop, svc.Shutdown, svc.PreShutdown:
				now = svc.Status{State: svc.StopPending, WaitHint: uint32(hint.Milliseconds())}
				says <- now
				stop()
			}
		}
	}
}
