package credential

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
)

var (
	// ErrDenied says that whoever runs dirpin can't read the key ring.
	ErrDenied = errors.New("permission denied: " + runAs)
	// ErrExposed says that others can read, or own, the key ring.
	ErrExposed = errors.New("the key ring is not private")
	// ErrChanged says that the key ring was changed by somebody else.
	ErrChanged = errors.New("somebody else changed the key ring meanwhile")
)

// LoadRing reads the ring of a key file. It refuses a file that others can
// read or own, as sshd does.
func LoadRing(path string) (*Ring, error) {
	f, err := openRing(path)
	switch {
	case errors.Is(err, fs.ErrPermission):
		return nil, fmt.Errorf("reading the key ring %s: %w", path, ErrDenied)
	case errors.Is(err, fs.ErrNotExist):
		return nil, fmt.Errorf("reading the key ring %s: %w: put back its copy, or set key_file; an installation without a database makes one by `dirpin keys new`", path, fs.ErrNotExist)
	case err != nil:
		return nil, fmt.Errorf("reading the key ring: %w", err)
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return nil, fmt.Errorf("reading the key ring: %w", err)
	}
	if !info.Mode().IsRegular() {
		return nil, fmt.Errorf("reading the key ring %s: not a regular file", path)
	}
	if err := checkPrivate(path, f, info); err != nil {
		return nil, fmt.Errorf("reading the key ring %s: %w", path, err)
	}
	data, err := io.ReadAll(io.LimitReader(f, maxRing+1))
	if err != nil {
		return nil, fmt.Errorf("reading the key ring: %w", err)
	}
	defer clear(data)
	r, err := ParseRing(data)
	if err != nil {
		return nil, fmt.Errorf("reading the key ring %s: %w", path, err)
	}
	return r, nil
}

// CreateRing writes a new key file, readable by its owner alone. It never
// overwrites one: fs.ErrExist.
func CreateRing(path string, r *Ring) error {
	return writeRing(path, r, func(string) error {
		if _, err := os.Lstat(path); err == nil {
			return fmt.Errorf("%s: %w; a key ring is never overwritten", path, fs.ErrExist)
		} else if !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		return nil
	})
}

// SaveRing replaces the key file at once and durably, and keeps its owner and
// mode. It refuses, with ErrChanged, to lose a key that the file has and r
// lacks: two that rotate at the same time both keep their keys or one fails.
func SaveRing(path string, r *Ring) error {
	return writeRing(path, r, func(target string) error {
		held, err := LoadRing(target)
		if err != nil {
			return err
		}
		for _, k := range held.keys {
			if own := r.key(k.id); own == nil || own.secret != k.secret {
				return fmt.Errorf("%w: it holds key %s, which would be lost; run the command again", ErrChanged, k.name())
			}
		}
		return nil
	})
}

// writeRing writes the ring beside the file and renames it over it, if may
// says so. The file beside it, made by one process alone, is the lock: whoever
// finds it there keeps off.
func writeRing(path string, r *Ring, may func(target string) error) (err error) {
	defer func() {
		if err != nil {
			err = fmt.Errorf("writing the key ring: %w", err)
		}
	}()
	target := path
	if resolved, err := filepath.EvalSymlinks(path); err == nil {
		target = resolved // the link stays a link
	}
	aside := target + ".new"
	f, err := createPrivate(target, aside)
	if errors.Is(err, fs.ErrExist) {
		return fmt.Errorf("%s is in the way: another `dirpin keys` is at work, or one was cut off; remove the file if none is", aside)
	}
	if errors.Is(err, fs.ErrPermission) {
		return fmt.Errorf("%s: %w", aside, ErrDenied)
	}
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			os.Remove(aside)
		}
	}()
	defer f.Close()
	if err := may(target); err != nil {
		return err
	}
	data := r.Marshal()
	defer clear(data)
	if _, err := f.Write(data); err != nil {
		return err
	}
	if err := f.Sync(); err != nil {
		return err
	}
	if err := f.Close(); err != nil {
		return err
	}
	if err := os.Rename(aside, target); err != nil {
		return err
	}
	return syncDir(filepath.Dir(target))
}
