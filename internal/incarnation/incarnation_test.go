package incarnation

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// world is a state folder with a marker, on a machine that tests rename.
func world(t *testing.T) (m *Marker, machine *string) {
	t.Helper()
	dir := t.TempDir()
	m = NewMarker(dir, filepath.Join(dir, "dirpin.db"))
	name := "one"
	m.machine = func() string { return name }
	database(t, m)
	return m, &name
}

// database puts a new file in the place of the database.
func database(t *testing.T, m *Marker) {
	t.Helper()
	aside := m.database + ".new"
	if err := os.WriteFile(aside, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(aside, m.database); err != nil {
		t.Fatal(err)
	}
}

func TestSuspect(t *testing.T) {
	at := State{ID: "a", Generation: 7, LastJob: 57}
	for _, tt := range []struct {
		name   string
		db     State
		empty  bool
		before func(t *testing.T, m *Marker, machine *string)
		want   string // part of the reason; "": none
	}{
		{name: "the same", db: at},
		{name: "cut before the marker was written", db: State{ID: "a", Generation: 8, LastJob: 58}},
		{name: "an older backup", db: State{ID: "a", Generation: 6, LastJob: 57}, want: "is older"},
		{name: "a backup from before the last job", db: State{ID: "a", Generation: 7, LastJob: 56}, want: "is older"},
		{name: "another installation's", db: State{ID: "b", Generation: 9, LastJob: 99}, want: "another installation"},
		{name: "a backup from before it was marked", db: State{}, want: "from before"},
		{name: "a new database", db: State{}, empty: true},
		{name: "no marker", db: at, want: "copied or restored without it",
			before: func(t *testing.T, m *Marker, _ *string) { os.Remove(m.path) }},
		{name: "the first start", db: State{},
			before: func(t *testing.T, m *Marker, _ *string) { os.Remove(m.path) }},
		{name: "the first start, cut before the marker was written", db: State{ID: "a", Generation: 0, LastJob: 0},
			before: func(t *testing.T, m *Marker, _ *string) { os.Remove(m.path) }},
		{name: "a container that was started again", db: at,
			before: func(_ *testing.T, _ *Marker, machine *string) { *machine = "two" }},
		{name: "moved within the machine", db: at,
			before: func(t *testing.T, m *Marker, _ *string) { database(t, m) }},
		{name: "copied to another machine", db: at, want: "another machine",
			before: func(t *testing.T, m *Marker, machine *string) { *machine = "two"; database(t, m) }},
	} {
		t.Run(tt.name, func(t *testing.T) {
			m, machine := world(t)
			if err := m.Write(at); err != nil {
				t.Fatal(err)
			}
			if tt.before != nil {
				tt.before(t, m, machine)
			}
			got, err := m.Suspect(tt.db, tt.empty)
			if err != nil || (got == "") != (tt.want == "") || !strings.Contains(got, tt.want) {
				t.Errorf("got %q, %v; want %q", got, err, tt.want)
			}
		})
	}
}

func TestDamagedMarker(t *testing.T) {
	m, _ := world(t)
	for _, text := range []string{"", "{", "{}", "null", "\x00\x00"} {
		if err := os.WriteFile(m.path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := m.Suspect(State{ID: "a"}, false); err == nil || !strings.Contains(err.Error(), m.path) {
			t.Errorf("%q: %v", text, err)
		}
	}
}

func TestMarkerIsReplacedWhole(t *testing.T) {
	m, _ := world(t)
	for n := range int64(3) {
		if err := m.Write(State{ID: "a", Generation: n}); err != nil {
			t.Fatal(err)
		}
	}
	if last, err := m.Last(); err != nil || last.Generation != 2 {
		t.Errorf("%+v, %v", last, err)
	}
	left, err := filepath.Glob(filepath.Join(filepath.Dir(m.path), ".incarnation-*"))
	if err != nil || len(left) > 0 {
		t.Errorf("left behind: %v, %v", left, err)
	}
}
