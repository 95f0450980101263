package daemon

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"os"
	"sync"
	"sync/atomic"

	"github.com/dirpin/dirpin/config"
)

// output is where the log goes. Loggers that were made of it before follow when
// level, format or file change.
type output struct {
	stderr io.Writer
	system func(slog.Leveler) slog.Handler // takes the place of stderr; nil: nothing does
	level  *slog.LevelVar
	forced bool // the command line says the level

	mu   sync.Mutex
	file *os.File // nil: stderr or the journal
	now  atomic.Pointer[slog.Handler]
}

// newOutput logs to stderr, or to what the system has in its place, until
// something else is said. level is what the
// command line asks for; "": the configuration's.
func newOutput(stderr io.Writer, system func(slog.Leveler) slog.Handler, level string) (*output, error) {
	o := &output{stderr: stderr, system: system, level: new(slog.LevelVar)}
	if level != "" {
		if err := o.level.UnmarshalText([]byte(level)); err != nil {
			return nil, fmt.Errorf("log level: %w", err)
		}
		o.forced = true
	}
	h, _, err := o.open(config.Log{})
	if err != nil {
		return nil, err
	}
	o.now.Store(&h)
	return o, nil
}

func (o *output) logger() *slog.Logger { return slog.New(&handler{out: o}) }

// set takes up what the configuration says, and opens the file anew: it may have
// been moved away. On an error everything stays.
func (o *output) set(c config.Log) error {
	o.mu.Lock()
	defer o.mu.Unlock()
	h, file, err := o.open(c)
	if err != nil {
		return err
	}
	if !o.forced {
		o.level.UnmarshalText([]byte(c.Level)) // one of four words
	}
	o.now.Store(&h)
	if o.file != nil {
		o.file.Close() // a line that is being written ends in nothing worse than an error
	}
	o.file = file
	return nil
}

func (o *output) open(c config.Log) (h slog.Handler, file *os.File, err error) {
	opts := &slog.HandlerOptions{Level: o.level}
	if c.Format == "journald" {
		h, err = newJournal(o.level)
		if err != nil {
			return nil, nil, fmt.Errorf("log: format journald: %w", err)
		}
		return h, nil, nil
	}
	if c.File == "" && o.system != nil {
		return o.system(o.level), nil, nil
	}
	w := o.stderr
	if c.File != "" {
		file, err = os.OpenFile(c.File, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o640)
		if err != nil {
			return nil, nil, fmt.Errorf("log: opening the file: %w", err)
		}
		w = file
	}
	if c.Format == "json" {
		return slog.NewJSONHandler(w, opts), file, nil
	}
	return slog.NewTextHandler(w, opts), file, nil
}

func (o *output) close() error {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.file == nil {
		return nil
	}
	return o.file.Close()
}

// handler hands records to whatever the output is at that moment.
type handler struct {
	out   *output
	with  func(slog.Handler) slog.Handler // groups and attributes; nil: none
	built atomic.Pointer[built]
}

type built struct {
	of *slog.Handler
	h  slog.Handler
}

func (h *handler) current() slog.Handler {
	of := h.out.now.Load()
	if h.with == nil {
		return *of
	}
	if b := h.built.Load(); b != nil && b.of == of {
		return b.h
	}
	b := &built{of, h.with(*of)}
	h.built.Store(b)
	return b.h
}

func (h *handler) Enabled(ctx context.Context, l slog.Level) bool { return l >= h.out.level.Level() }

func (h *handler) Handle(ctx context.Context, r slog.Record) error {
	return h.current().Handle(ctx, r)
}

func (h *handler) then(f func(slog.Handler) slog.Handler) slog.Handler {
	before := h.with
	if before == nil {
		return &handler{out: h.out, with: f}
	}
	return &handler{out: h.out, with: func(s slog.Handler) slog.Handler { return f(before(s)) }}
}

func (h *handler) WithAttrs(attrs []slog.Attr) slog.Handler {
	return h.then(func(s slog.Handler) slog.Handler { return s.WithAttrs(attrs) })
}

func (h *handler) WithGroup(name string) slog.Handler {
	return h.then(func(s slog.Handler) slog.Handler { return s.WithGroup(name) })
}
