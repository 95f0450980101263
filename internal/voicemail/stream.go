package voicemail

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"time"

	"github.com/dirpin/dirpin/config"
)

const (
	restartFirst = 200 * time.Millisecond // after a process that did not live long
	restartMost  = 30 * time.Second
	livedLong    = 10 * time.Second
	maxLate      = 4096 // acceptances that came late and are kept
)

// streamHook keeps one process that reads a request a line and writes an answer
// a line, in any order. It is started with the first request, and again when it
// has died: at once if it had lived for long, else with backoff.
type streamHook struct {
	command  []string
	env      []string
	timeout  time.Duration
	launcher *launcher
	log      *slog.Logger
	jitter   func(time.Duration) time.Duration

	mu      sync.Mutex
	process *streamProcess // nil: none runs
	deaths  int            // in a row, young
	before  time.Time      // none is started
	died    string         // what the last one said
	late    map[string]time.Time
	closed  bool
}

func newStreamHook(cfg *config.Voicemail, opt Options) (*streamHook, error) {
	e, err := newExecHook(cfg, opt)
	if err != nil {
		return nil, err
	}
	return &streamHook{command: slices.Clone(e.command), env: e.env, timeout: cfg.Timeout, launcher: e.launcher,
		log: opt.Log.With("voicemail", cfg.Name), jitter: opt.Jitter, late: map[string]time.Time{}}, nil
}

// Close lets the process end, and kills it when it does not.
func (h *streamHook) Close() error {
	h.mu.Lock()
	h.closed = true
	p := h.process
	h.mu.Unlock()
	if p != nil {
		p.end()
	}
	h.launcher.close()
	return nil
}

// Send hands the request to the process and waits for its answer.
func (h *streamHook) Send(ctx context.Context, a Attempt) Answer {
	if h.cameLate(a.RequestID) {
		return Answer{Class: Answered, Result: Accepted, Proof: "it came late after all: accepted"}
	}
	o := &openRequest{attempt: a, answer: make(chan Answer, 1)}
	p, notThere := h.running(ctx)
	for ; notThere == nil && !p.open(o); p, notThere = h.running(ctx) {
		select { // it is ending
		case <-p.gone:
		case <-ctx.Done():
			return Answer{Class: NotSent, Message: h.command[0] + ": it is ending and takes no request"}
		}
	}
	if notThere != nil {
		return *notThere
	}
	select {
	case answer := <-o.answer:
		return answer
	case <-ctx.Done():
	}
	return p.giveUp(o)
}

// cameLate tells whether an acceptance of that request came after nobody waited
// for it any more. It counts for as long as nothing else is sent for the user:
// twice the timeout.
func (h *streamHook) cameLate(id string) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	until, ok := h.late[id]
	delete(h.late, id)
	return ok && time.Now().Before(until)
}

func (h *streamHook) keepLate(id string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	now := time.Now()
	if len(h.late) >= maxLate {
		for id, until := range h.late {
			if !now.Before(until) {
				delete(h.late, id)
			}
		}
	}
	if len(h.late) < maxLate {
		h.late[id] = now.Add(2 * h.timeout)
	}
}

// running returns the process, which it starts if need be; else why there is
// none.
func (h *streamHook) running(ctx context.Context) (*streamProcess, *Answer) {
	for {
		p, wait, answer := h.startOnce()
		if p != nil || answer != nil {
			return p, answer
		}
		t := time.NewTimer(wait)
		select {
		case <-t.C:
		case <-ctx.Done():
			t.Stop()
			h.mu.Lock()
			defer h.mu.Unlock()
			return nil, &Answer{Class: NotSent, Message: fmt.Sprintf("%s: it died %d times in a row and is started again later: %s", h.command[0], h.deaths, h.died)}
		}
	}
}

func (h *streamHook) startOnce() (p *streamProcess, wait time.Duration, answer *Answer) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.process != nil {
		return h.process, 0, nil
	}
	if h.closed {
		return nil, 0, &Answer{Class: NotSent, Message: h.command[0] + ": closed"}
	}
	if wait := time.Until(h.before); wait > 0 {
		return nil, wait, nil
	}
	p, err := h.start()
	if err != nil {
		a := notStarted(h.command[0], err)
		return nil, 0, &a
	}
	h.process = p
	return p, 0, nil
}

// ended is told by a process that it is gone, before its open requests are.
func (h *streamHook) ended(p *streamProcess, how string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.process != p {
		return
	}
	h.process, h.died = nil, how
	if h.closed {
		return
	}
	if time.Since(p.started) >= livedLong {
		h.deaths = 0
	}
	h.deaths++
	if h.deaths > 1 {
		most := restartMost
		if n := h.deaths - 2; n < 8 {
			most = min(restartMost, restartFirst<<n)
		}
		h.before = time.Now().Add(most/2 + h.jitter(most/2))
	}
	h.log.Warn("the stream hook died", "command", h.command[0], "how", how, "deaths_in_a_row", h.deaths)
}

var errNoPipe = errors.New("making the pipes of a hook")
