package watch

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"strings"
	"time"
)

// Forget removes what has lain in accepted and rejected for longer than it is to
// be kept; 0 is for ever. What belongs to a job that has not ended stays. It may
// be called beside Run, and returns how many files it removed.
func (f *Folder) Forget(ctx context.Context, accepted, rejected time.Duration) (int, error) {
	d, err := f.open()
	if err != nil {
		return 0, err
	}
	defer d.Close()
	drops, err := f.jobs.Drops(ctx, f.w.Name)
	if err != nil {
		return 0, err
	}
	wanted := make(map[string]bool, len(drops))
	for _, drop := range drops {
		wanted[keptOf(drop.File)] = true
	}
	removed := 0
	for folder, keep := range map[string]time.Duration{acceptedDir: accepted, rejectedDir: rejected} {
		if keep == 0 {
			continue
		}
		n, err := f.forget(d, folder, f.o.Now().Add(-keep), wanted)
		removed += n
		if err != nil {
			return removed, fmt.Errorf("removing old files from %s: %w", filepath.Join(d.path, folder), err)
		}
	}
	return removed, nil
}

func (f *Folder) forget(d *dir, folder string, before time.Time, wanted map[string]bool) (removed int, err error) {
	opened, err := d.Open(folder)
	if err != nil {
		return 0, err
	}
	names, err := opened.Readdirnames(-1)
	opened.Close()
	if err != nil {
		return 0, err
	}
	for _, name := range names {
		when, _, _ := strings.Cut(name, "-")
		at, err := time.Parse(stamp, when)
		path := filepath.Join(folder, name)
		if err != nil || !at.Before(before) || wanted[strings.TrimSuffix(path, ".status.txt")] {
			continue // not of ours, or wanted
		}
		if err := d.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return removed, err
		}
		removed++
	}
	return removed, nil
}
