package watch

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// ignored tells whether a name is none of a file that is meant for us.
func ignored(name string) bool {
	lower := strings.ToLower(name)
	switch {
	case strings.HasPrefix(name, "."), strings.HasPrefix(name, "~$"), strings.HasSuffix(name, "~"),
		lower == "desktop.ini", lower == "thumbs.db", lower == acceptedDir, lower == rejectedDir:
		return true
	}
	switch filepath.Ext(lower) {
	case ".tmp", ".part", ".sig", ".asc":
		return true
	}
	return false
}

// isJobFile tells whether a name is that of a job file.
func isJobFile(name string) bool {
	switch strings.ToLower(filepath.Ext(name)) {
	case ".yaml", ".yml", ".json":
		return true
	}
	return false
}

// seen is a file in the folder that is awaited to be complete.
type seen struct {
	info  fs.FileInfo
	since time.Time // of its last change, as we saw it
}

// same tells whether a file did not change between two looks.
func same(a, b fs.FileInfo) bool {
	return os.SameFile(a, b) && a.Size() == b.Size() && a.ModTime().Equal(b.ModTime()) && a.Mode() == b.Mode()
}

// look finds the files that are complete and claims them.
func (f *Folder) look(_ context.Context, d *dir) (time.Time, error) {
	names, err := f.names(d)
	if err != nil {
		return time.Time{}, err
	}
	now := f.o.Now()
	there := make(map[string]bool, len(names))
	for _, name := range names {
		signature := f.w.Signers != "" && strings.HasSuffix(name, ".sig")
		if ignored(name) && !signature {
			continue
		}
		fi, err := d.Lstat(name)
		if err != nil || fi.IsDir() {
			continue // gone meanwhile
		}
		there[name] = true
		if s := f.seen[name]; s == nil || !same(s.info, fi) {
			f.seen[name] = &seen{info: fi, since: now}
		}
	}
	var next time.Time
	var ripe []string
	for name, s := range f.seen {
		if !there[name] {
			delete(f.seen, name)
			continue
		}
		if strings.HasSuffix(name, ".sig") {
			continue
		}
		at := s.since.Add(f.w.Settle)
		if f.w.Signers != "" {
			at = f.signedAt(name, s)
		}
		if !at.After(now) {
			ripe = append(ripe, name)
		} else if next.IsZero() || at.Before(next) {
			next = at
		}
	}
	if len(ripe) == 0 {
		return next, nil
	}
	// In the order in which they were dropped, as far as that can be told.
	slices.SortFunc(ripe, func(a, b string) int {
		return cmp.Or(f.seen[a].info.ModTime().Compare(f.seen[b].info.ModTime()), cmp.Compare(a, b))
	})
	return next, f.claim(d, ripe)
}

// names returns what lies in the folder.
func (f *Folder) names(d *dir) ([]string, error) {
	folder, err := d.Open(".")
	if err != nil {
		return nil, err
	}
	defer folder.Close()
	return folder.Readdirnames(-1)
}

// signedAt returns when a file that needs a signature is taken: when both are
// complete, or when the signature does not come.
func (f *Folder) signedAt(name string, s *seen) time.Time {
	if sig := f.seen[name+".sig"]; sig != nil {
		return later(s.since, sig.since).Add(f.w.Settle)
	}
	return s.since.Add(max(f.w.Settle, f.o.Await))
}

func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}

// busyFor is how long a file may be open in another program before that is said.
const busyFor = time.Minute

// claim takes files out of the folder: a rename, of which only one process can
// do each. They are claimed in one folder of their own, so that what is
// claimed at once is made durable at once.
func (f *Folder) claim(d *dir, names []string) error {
	now := f.o.Now()
	box := fmt.Sprintf("%s-%s-%s", f.o.Node, now.UTC().Format(stamp), random())
	if err := d.Mkdir(filepath.Join(claimsDir, box), 0o700); err != nil {
		return fmt.Errorf("claiming %d files: %w", len(names), err)
	}
	f.o.Step("claim")
	var problem error
	var taken []*claim
	for _, name := range names {
		c := &claim{box: box, name: name, at: now, due: now, order: len(taken)}
		err := d.Rename(name, c.path())
		// The rename of a network file system may have worked whatever it says.
		if _, err2 := d.Lstat(c.path()); err2 != nil {
			if err != nil && !errors.Is(err, fs.ErrNotExist) && !(busy(err) && now.Sub(f.seen[name].since) < busyFor) {
				problem = fmt.Errorf("claiming %s: %w", printable(name), err)
			}
			continue // another process was faster, or it was removed
		}
		if f.w.Signers != "" {
			_ = d.Rename(name+".sig", c.path()+".sig") // not there: it is missing, which is said later
			delete(f.seen, name+".sig")
		}
		delete(f.seen, name)
		taken = append(taken, c)
		f.o.Step("claimed")
	}
	if len(taken) == 0 {
		return errors.Join(problem, d.Remove(filepath.Join(claimsDir, box)))
	}
	// A job whose claim is forgotten by a power failure would be made again.
	for _, name := range []string{filepath.Join(claimsDir, box), claimsDir, "."} {
		if err := d.sync(name); err != nil {
			return fmt.Errorf("claiming %d files: %w", len(taken), err) // they are found there by the next look
		}
	}
	for _, c := range taken {
		f.claims[c.id()] = c
	}
	return problem
}
