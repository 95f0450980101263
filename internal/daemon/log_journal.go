//go:build !windows

package daemon

import (
	"log/slog"
	"strings"

	slogjournal "github.com/systemd/slog-journal"
)

// newJournal logs to systemd's journal, fields as fields.
func newJournal(level slog.Leveler) (slog.Handler, error) {
	return slogjournal.NewHandler(&slogjournal.Options{Level: level, ReplaceAttr: func(_ []string, a slog.Attr) slog.Attr {
		a.Key = journalField(a.Key)
		return a
	}, ReplaceGroup: journalField})
}

// journalField is the name of a field of the journal: upper case, with _ for
// whatever else stands there (systemd.journal-fields(7)).
func journalField(key string) string {
	return strings.Map(func(c rune) rune {
		switch {
		case 'a' <= c && c <= 'z':
			return c - 'a' + 'A'
		case 'A' <= c && c <= 'Z', '0' <= c && c <= '9':
			return c
		}
		return '_'
	}, key)
}
