package winservice

import (
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestEventID(t *testing.T) {
	for _, c := range []struct {
		message string
		level   slog.Level
		want    uint32
	}{
		{"ready", slog.LevelInfo, 10},
		{"the job has ended", slog.LevelInfo, 30},
		{"watch folder: open C:\\x: gone", slog.LevelError, 22},
		{"something", slog.LevelInfo, OtherInfo}, {"something", slog.LevelDebug, OtherInfo},
		{"something", slog.LevelWarn, OtherWarning}, {"something", slog.LevelError, OtherError}, {"something", slog.LevelError + 4, OtherError},
	} {
		if got := eventID(c.message, c.level); got != c.want {
			t.Errorf("%q: got %d, want %d", c.message, got, c.want)
		}
	}
}

// A number belongs to one message, which the sources must still have, and the
// message comes before those that it begins like.
func TestEventsAreLogged(t *testing.T) {
	var sources strings.Builder
	for _, pattern := range []string{"../daemon/*.go", "../watch/*.go", "../voicemail/*.go", "../../cmd/dirpin/*.go"} {
		files, err := filepath.Glob(pattern)
		if err != nil || len(files) == 0 {
			t.Fatalf("%s: %v", pattern, err)
		}
		for _, name := range files {
			text, err := os.ReadFile(name)
			if err != nil {
				t.Fatal(err)
			}
			sources.Write(text)
		}
	}
	doc, err := os.ReadFile("../../docs/windows.md")
	if err != nil {
		t.Fatal(err)
	}
	ids := map[uint32]bool{}
	for _, e := range Events() {
		if ids[e.ID] || e.ID == 0 || e.ID > 1000 {
			t.Errorf("%d: twice, or none of the message file's", e.ID)
		}
		ids[e.ID] = true
		if !strings.Contains(sources.String(), `"`+e.Prefix) {
			t.Errorf("%d: nobody logs %q", e.ID, e.Prefix)
		}
		if !strings.Contains(string(doc), e.Means) {
			t.Errorf("%d: docs/windows.md does not tell of it", e.ID)
		}
	}
}
