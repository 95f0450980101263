package winservice

import (
	"context"
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"

	"golang.org/x/sys/windows/svc"
)

// run drives the service as the service manager does.
type run struct {
	requests chan svc.ChangeRequest
	says     chan svc.Status
	end      chan int // ends the work with a code
	reloads  chan struct{}
	done     chan uint32 // dirpin's code, when it says that it stopped
	vanished chan int
	ready    func()
	stopped  bool
}

func start(t *testing.T) *run {
	r := &run{requests: make(chan svc.ChangeRequest), says: make(chan svc.Status, 100), end: make(chan int), reloads: make(chan struct{}, 10),
		done: make(chan uint32, 1), vanished: make(chan int, 1)}
	begun := make(chan struct{})
	h := &handler{ctx: t.Context(), Program: Program{
		Again: func(code int) bool { return code != 2 },
		Work: func(ctx context.Context, ready func(), reload <-chan struct{}) int {
			r.ready = ready
			close(begun)
			for {
				select {
				case <-reload:
					r.reloads <- struct{}{}
				case <-ctx.Done():
					r.stopped = true
					return <-r.end
				case code := <-r.end:
					return code
				}
			}
		},
	}}
	h.exit = func(code int) { r.vanished <- code }
	go func() {
		specific, code := h.Execute(nil, r.requests, r.says)
		if specific != (code != 0) {
			t.Errorf("code %d, specific %v", code, specific)
		}
		r.done <- code
	}()
	<-begun
	return r
}

func (r *run) last() svc.Status {
	synctest.Wait()
	var st svc.Status
	for {
		select {
		case st = <-r.says:
		default:
			return st
		}
	}
}

func TestStopsInOrder(t *testing.T) {
	for _, control := range []svc.Cmd{svc.Stop, svc.Shutdown, svc.PreShutdown} {
		synctest.Test(t, func(t *testing.T) {
			r := start(t)
			if st := r.last(); st.State != svc.StartPending || st.Accepts != 0 {
				t.Errorf("at the start: %+v", st)
			}
			r.ready()
			if st := r.last(); st.State != svc.Running || st.Accepts != svc.AcceptStop|svc.AcceptShutdown|svc.AcceptPreShutdown|svc.AcceptParamChange {
				t.Errorf("when it works: %+v", st)
			}
			r.requests <- svc.ChangeRequest{Cmd: control}
			if st := r.last(); st.State != svc.StopPending || !r.stopped {
				t.Errorf("told to stop: %+v, told its work %v", st, r.stopped)
			}
			r.requests <- svc.ChangeRequest{Cmd: svc.Interrogate}
			if st := r.last(); st.State != svc.StopPending {
				t.Errorf("asked: %+v", st)
			}
			r.end <- 0
			if code := <-r.done; code != 0 {
				t.Errorf("code %d", code)
			}
		})
	}
}

// A start or a stop that takes long is not taken for a hang.
func TestSaysThatItGoesOn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := start(t)
		var was uint32
		for range 3 {
			st := <-r.says
			if st.State != svc.StartPending || st.WaitHint == 0 || st.CheckPoint <= was && was > 0 {
				t.Errorf("%+v after %d", st, was)
			}
			was = st.CheckPoint
		}
		r.end <- 0
		<-r.done
	})
}

func TestReload(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := start(t)
		r.ready()
		r.requests <- svc.ChangeRequest{Cmd: svc.ParamChange}
		<-r.reloads
		if st := r.last(); st.State != svc.Running {
			t.Errorf("%+v", st)
		}
		r.end <- 0
		<-r.done
	})
}

func TestWhoStartsItAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := start(t)
		r.end <- 2 // a faulty configuration: it says that it stopped, with the code
		if code := <-r.done; code != 2 {
			t.Errorf("code %d", code)
		}
		select {
		case code := <-r.vanished:
			t.Errorf("it vanished with code %d", code)
		default:
		}
		r = start(t)
		r.end <- 4 // a database out of reach: it vanishes, for Windows to start it again
		if code := <-r.vanished; code != 4 {
			t.Errorf("code %d", code)
		}
		<-r.done // the process has ended there

		r = start(t)
		r.ready()
		r.requests <- svc.ChangeRequest{Cmd: svc.Stop}
		r.end <- 4 // told to stop: it stays down
		if code := <-r.done; code != 4 {
			t.Errorf("code %d", code)
		}
		select {
		case code := <-r.vanished:
			t.Errorf("told to stop, it vanished with code %d", code)
		default:
		}
	})
}

func TestEventHandler(t *testing.T) {
	l, err := OpenEventLog()
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	log := slog.New(l.Handler(slog.LevelInfo)).With("agreement", "corp").WithGroup("g")
	log.Info("ready", "a", 1)
	log.Warn(strings.Repeat("ä\x00", 40_000))
	if log.Enabled(t.Context(), slog.LevelDebug) {
		t.Error("debug is logged at info")
	}
}
