package winservice

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"

	"golang.org/x/sys/windows/registry"
	"golang.org/x/sys/windows/svc/eventlog"
)

const source = `SYSTEM\CurrentControlSet\Services\EventLog\Application\` + Name

// RegisterSource makes the service's source in the Event Log, whose messages are
// those of Windows' own EventCreate.exe: a number and a text.
func RegisterSource() error {
	k, err := registry.OpenKey(registry.LOCAL_MACHINE, source, registry.QUERY_VALUE)
	if err == nil {
		return k.Close()
	}
	if err := eventlog.InstallAsEventCreate(Name, eventlog.Error|eventlog.Warning|eventlog.Info); err != nil {
		return fmt.Errorf("registering the source of the Event Log: %w", reason(err))
	}
	return nil
}

// RemoveSource removes it; what was logged stays.
func RemoveSource() error {
	if err := eventlog.Remove(Name); err != nil && !errors.Is(err, registry.ErrNotExist) {
		return fmt.Errorf("removing the source of the Event Log: %w", reason(err))
	}
	return nil
}

// EventLog is the Event Log, opened.
type EventLog struct {
	mu  sync.Mutex
	log *eventlog.Log
}

// OpenEventLog opens the Event Log to write. That works without a source too, but
// then texts are shown with a complaint before them.
func OpenEventLog() (*EventLog, error) {
	l, err := eventlog.Open(Name)
	if err != nil {
		return nil, fmt.Errorf("opening the Event Log: %w", err)
	}
	return &EventLog{log: l}, nil
}

// maxText is how much a text of an event may have, in UTF-16.
const maxText = 31_000

// Report writes an event.
func (l *EventLog) Report(level slog.Level, id uint32, text string) error {
	text = strings.ReplaceAll(text, "\x00", "�")
	if len(text) > maxText {
		text = strings.ToValidUTF8(text[:maxText], "") + "…"
	}
	text = strings.ReplaceAll(strings.ReplaceAll(text, "\r\n", "\n"), "\n", "\r\n")
	l.mu.Lock()
	defer l.mu.Unlock()
	switch {
	case level >= slog.LevelError:
		return l.log.Error(id, text)
	case level >= slog.LevelWarn:
		return l.log.Warning(id, text)
	}
	return l.log.Info(id, text)
}

// Close closes it.
func (l *EventLog) Close() error { return l.log.Close() }

// Handler returns a handler of the log that writes events.
func (l *EventLog) Handler(level slog.Leveler) slog.Handler {
	h := &eventHandler{log: l, mu: new(sync.Mutex), buf: new(bytes.Buffer)}
	// The text handler writes what is said beside the message; the Event Log has
	// the time and the level of its own.
	h.fields = slog.NewTextHandler(h.buf, &slog.HandlerOptions{Level: level, ReplaceAttr: func(groups []string, a slog.Attr) slog.Attr {
		if len(groups) == 0 && (a.Key == slog.TimeKey || a.Key == slog.LevelKey || a.Key == slog.MessageKey) {
			return slog.Attr{}
		}
		return a
	}})
	return h
}

type eventHandler struct {
	log    *EventLog
	mu     *sync.Mutex
	buf    *bytes.Buffer
	fields slog.Handler
}

func (h *eventHandler) Enabled(ctx context.Context, level slog.Level) bool {
	return h.fields.Enabled(ctx, level)
}

func (h *eventHandler) Handle(ctx context.Context, r slog.Record) error {
	h.mu.Lock()
	h.buf.Reset()
	err := h.fields.Handle(ctx, r)
	text := strings.TrimSpace(r.Message + "\n" + h.buf.String())
	h.mu.Unlock()
	return errors.Join(err, h.log.Report(r.Level, eventID(r.Message, r.Level), text))
}

func (h *eventHandler) WithAttrs(attrs []slog.Attr) slog.Handler {
	return &eventHandler{h.log, h.mu, h.buf, h.fields.WithAttrs(attrs)}
}

func (h *eventHandler) WithGroup(name string) slog.Handler {
	return &eventHandler{h.log, h.mu, h.buf, h.fields.WithGroup(name)}
}
