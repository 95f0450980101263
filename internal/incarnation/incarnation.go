// Package incarnation notices that a database is not the one that this
// installation used last: a backup that was restored, a copy on another
// machine, a file that was put in its place. Such a database believes in pushes
// that others have overtaken, and must not repeat them.
//
// The installation's own memory is a small file in the state folder, the
// marker. Database and marker hold the same random id and a generation, raised
// in the database first and then in the marker, at each start of a process that
// pushes, beginning with the second, and at the end of each job. A database behind its marker was restored;
// a marker one behind its database was cut in between, and is put right. A
// machine that was rolled back as a whole takes both along and cannot be
// noticed so.
package incarnation

import (
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
)

// State is what database and marker both hold.
type State struct {
	ID         string `json:"id"`
	Generation int64  `json:"generation"`
	LastJob    int64  `json:"last_job"`

	// Of the installations that share a database on a server, which one this is.
	Installation string `json:"installation,omitempty"`
}

// NewID draws the id of an incarnation.
func NewID() string {
	var b [16]byte
	rand.Read(b[:])
	return hex.EncodeToString(b[:])
}

// mark is the content of the marker.
type mark struct {
	Comment string `json:"_"`
	State
	Machine string `json:"machine"` // where the marker was written
	File    string `json:"file"`    // device and number of the database's file
}

const comment = "By this file dirpin tells whether its database is the one that it used last. Leave it where it is: neither copy nor restore it with the database."

// Marker is the file in the state folder.
type Marker struct {
	path     string
	database string
	machine  func() string
}

// NewMarker returns the marker of a state folder and its database file.
func NewMarker(stateDir, database string) *Marker {
	return &Marker{path: filepath.Join(stateDir, "incarnation"), database: database, machine: machineID}
}

// read returns nil where there is no marker.
func (m *Marker) read() (*mark, error) {
	data, err := os.ReadFile(m.path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("reading the marker of this installation: %w", err)
	}
	k := new(mark)
	if err := json.Unmarshal(data, k); err != nil || k.ID == "" {
		return nil, fmt.Errorf("reading the marker of this installation: %s is damaged: put it back from a backup of the state folder, or remove it and then run `dirpin jobs release --restored`", m.path)
	}
	return k, nil
}

// Last returns what the marker holds; the zero State where there is none.
func (m *Marker) Last() (State, error) {
	k, err := m.read()
	if err != nil || k == nil {
		return State{}, err
	}
	return k.State, nil
}

// Suspect says why the database, which holds the given state, is not the one
// that this installation used last; "" where it is. A database that is empty
// has nothing to repeat.
func (m *Marker) Suspect(db State, empty bool) (string, error) {
	k, err := m.read()
	switch {
	case err != nil:
		return "", err
	case k == nil && (db.ID == "" || db.Generation == 0):
		return "", nil // the first start, or one that was cut before the marker was there
	case k == nil && empty, k != nil && db.ID == "" && empty:
		return "", nil // a new database
	case k == nil:
		return "there is no " + m.path + ": the database was copied or restored without it", nil
	case db.ID == "":
		return "the database is from before this installation was marked: an old backup", nil
	case db.ID != k.ID:
		return "the database belongs to another installation, or to one from before a restore", nil
	case db.Generation < k.Generation || db.LastJob < k.LastJob:
		return fmt.Sprintf("the database is older than this installation: it stands at start %d and job %d, the installation was at start %d and job %d", db.Generation, db.LastJob, k.Generation, k.LastJob), nil
	}
	// Either alone is a container that was started again, or a move.
	file := fileID(m.database)
	if k.Machine != "" && k.Machine != m.machine() && k.File != "" && file != "" && k.File != file {
		return "state folder and database were copied to another machine", nil
	}
	return "", nil
}

// Write makes the marker hold the state, durably.
func (m *Marker) Write(s State) error {
	data, err := json.MarshalIndent(mark{Comment: comment, State: s, Machine: m.machine(), File: fileID(m.database)}, "", "  ")
	if err != nil {
		return err
	}
	if err := replace(m.path, append(data, '\n')); err != nil {
		return fmt.Errorf("writing the marker of this installation: %w", err)
	}
	return nil
}

// replace writes the file beside its place and renames it over. A marker that a
// power cut takes back would not know a database that was restored, nor would
// there be one beside a database that was marked.
func replace(path string, data []byte) error {
	f, err := os.CreateTemp(filepath.Dir(path), ".incarnation-*")
	if err != nil {
		return err
	}
	defer os.Remove(f.Name()) // gone after the rename
	_, err = f.Write(data)
	if err = errors.Join(err, f.Sync(), f.Close()); err != nil {
		return err
	}
	if err := os.Rename(f.Name(), path); err != nil {
		return err
	}
	return syncFolder(filepath.Dir(path))
}
