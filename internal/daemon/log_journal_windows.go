package daemon

import (
	"errors"
	"log/slog"
)

// newJournal has no journal to log to.
func newJournal(slog.Leveler) (slog.Handler, error) {
	return nil, errors.New("there is no systemd on Windows: leave it out for the Event Log, or say text or json with a file")
}
