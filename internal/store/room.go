package store

import (
	"fmt"
	"os"
)

// minRoom is what is left free for everybody else.
const minRoom = 64 << 20

// NoRoomError says that the file system of the database is nearly full.
type NoRoomError struct {
	Path       string
	Free, Need int64 // bytes
}

func (e *NoRoomError) Error() string {
	return fmt.Sprintf("%s: only %d MiB are free on that file system, and at least %d are wanted before anything more is pushed: free some space", e.Path, e.Free>>20, (e.Need+1<<20-1)>>20)
}

// Room returns a *NoRoomError when less is free beside the database than a
// group of results may need: what was accepted elsewhere must be able to be
// committed here. Where the file system doesn't tell, there is room.
func (s *Store) Room() error {
	if s.dialect == postgres {
		return nil // the server's disk is not to be seen from here
	}
	free, ok := freeSpace(s.path)
	if !ok {
		return nil
	}
	need := int64(minRoom)
	if wal, err := os.Stat(s.path + "-wal"); err == nil {
		need += 2 * wal.Size()
	}
	if free < need {
		return &NoRoomError{Path: s.path, Free: free, Need: need}
	}
	return nil
}
