package watch

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// stamp is how times stand in names.
const stamp = "20060102T150405Z"

// claim is a file that was taken out of the folder and is ours until it is in
// accepted or rejected. Its box is "<node>-<time>-<random>".
type claim struct {
	box   string
	name  string // as it was dropped
	at    time.Time
	due   time.Time // when to work on it next
	order int
	until time.Time // of what it needs: a signature or a list that is not there yet
}

func (c *claim) path() string { return filepath.Join(claimsDir, c.box, c.name) }

// id is the name of the claim in the job's row. Names of files are any bytes.
func (c *claim) id() string {
	sum := sha256.Sum256([]byte(c.name))
	return fmt.Sprintf("%s-%x", c.box, sum[:6])
}

// boxOf splits the name of a box.
func boxOf(name string) (node string, at time.Time, ok bool) {
	parts := strings.Split(name, "-")
	if len(parts) < 3 {
		return "", at, false
	}
	at, err := time.Parse(stamp, parts[len(parts)-2])
	return strings.Join(parts[:len(parts)-2], "-"), at, err == nil
}

// adopt finds claims that nobody works on: those that this node left when it
// died, and those of nodes that show no sign of life. It shows one itself.
func (f *Folder) adopt(_ context.Context, d *dir) (time.Time, error) {
	folder, err := d.Open(claimsDir)
	if err != nil {
		return time.Time{}, err
	}
	entries, err := folder.ReadDir(-1)
	folder.Close()
	if err != nil {
		return time.Time{}, err
	}
	if err := f.live(d); err != nil {
		return time.Time{}, err
	}
	var now time.Time // of the file server
	for _, e := range entries {
		node, at, ok := boxOf(e.Name())
		if !ok || !e.IsDir() {
			continue
		}
		if node != f.o.Node {
			if now.IsZero() {
				if now, err = f.serverTime(d); err != nil {
					return time.Time{}, err
				}
			}
			fi, err := d.Lstat(filepath.Join(claimsDir, e.Name()))
			if err != nil || now.Sub(fi.ModTime()) < f.o.Lease {
				continue
			}
			f.o.Log.Warn("watch folder: another node left a file that it had claimed; it is taken over", "folder", f.w.Name, "claim", e.Name())
		}
		if err := f.adoptBox(d, e.Name(), at); err != nil {
			return time.Time{}, err
		}
	}
	return time.Time{}, nil
}

func (f *Folder) adoptBox(d *dir, box string, at time.Time) error {
	folder, err := d.Open(filepath.Join(claimsDir, box))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	names, err := folder.Readdirnames(-1)
	folder.Close()
	if err != nil {
		return err
	}
	slices.Sort(names)
	left := 0
	for i, name := range names {
		if strings.HasPrefix(name, ".") {
			continue // a sign of life
		}
		if strings.HasSuffix(name, ".sig") {
			continue // goes with its file
		}
		left++
		if c := (&claim{box: box, name: name, at: at, due: f.o.Now(), order: i}); f.claims[c.id()] == nil {
			f.claims[c.id()] = c
		}
	}
	if left == 0 {
		return f.removeBox(d, box)
	}
	return nil
}

// removeBox removes a box that has nothing left in it but signatures.
func (f *Folder) removeBox(d *dir, box string) error {
	for _, c := range f.claims {
		if c.box == box {
			return nil
		}
	}
	if err := d.RemoveAll(filepath.Join(claimsDir, box)); err != nil {
		return fmt.Errorf("removing a claim: %w", err)
	}
	return nil
}

// sign is the file by which a box shows that its node lives.
const sign = ".alive"

// live shows that the claims of this node are worked on.
func (f *Folder) live(d *dir) error {
	if len(f.claims) == 0 || f.o.Now().Sub(f.beat) < f.o.Lease/4 {
		return nil
	}
	f.beat = f.o.Now()
	boxes := make(map[string]bool)
	for _, c := range f.claims {
		if boxes[c.box] {
			continue
		}
		boxes[c.box] = true
		if err := d.touch(filepath.Join(claimsDir, c.box, sign)); err != nil {
			return err
		}
	}
	return nil
}

// touch makes a file and removes it, which changes its folder's time by the clock
// of whoever keeps the folder.
func (d *dir) touch(name string) error {
	f, err := d.OpenFile(name, os.O_CREATE|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	return errors.Join(f.Close(), d.Remove(name))
}

// serverTime returns the time of whoever keeps the folder.
func (f *Folder) serverTime(d *dir) (time.Time, error) {
	name := filepath.Join(claimsDir, ".now-"+random())
	file, err := d.OpenFile(name, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err != nil {
		return time.Time{}, err
	}
	fi, err := file.Stat()
	if err = errors.Join(err, file.Close(), d.Remove(name)); err != nil {
		return time.Time{}, err
	}
	return fi.ModTime(), nil
}
