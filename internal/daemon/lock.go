package daemon

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/gofrs/flock"

	"github.com/dirpin/dirpin/config"
)

// RunningError says that another daemon holds the state folder or the database.
type RunningError struct {
	Path string // of the lock
	By   string // who holds it, as it has said itself
}

func (e *RunningError) Error() string {
	by := e.By
	if by == "" {
		by = "another process"
	}
	return fmt.Sprintf("another dirpin serve is running: %s holds %s", by, e.Path)
}

// Lock is the right to be the daemon of a state folder and of a database. It
// ends with the process.
type Lock []*flock.Flock

// TakeLock takes it, or returns a *RunningError. The locks lie beside the real
// database and in the real state folder, so that two configurations meet that
// share either, whatever links lead there.
func TakeLock(cfg *config.Config) (l Lock, err error) {
	dirs := []string{cfg.StateDir}
	if cfg.Store.SQLite != "" {
		dirs = append(dirs, realFolder(cfg.Store.SQLite))
	}
	taken := map[string]bool{}
	for _, dir := range dirs {
		real, err := filepath.EvalSymlinks(dir)
		if errors.Is(err, fs.ErrNotExist) {
			err = fmt.Errorf("there is no folder %s: dirpin init makes it", dir)
		}
		if err != nil {
			return nil, errors.Join(err, l.Release())
		}
		path := filepath.Join(real, "serve.lock")
		if taken[path] {
			continue
		}
		taken[path] = true
		f, err := lockFile(path)
		if err != nil {
			return nil, errors.Join(err, l.Release())
		}
		l = append(l, f)
	}
	return l, nil
}

// realFolder is the folder of the real file; the file need not be there.
func realFolder(path string) string {
	if real, err := filepath.EvalSymlinks(path); err == nil {
		path = real
	}
	return filepath.Dir(path)
}

const lockPatience = time.Second

func lockFile(path string) (*flock.Flock, error) {
	f := flock.New(path, flock.SetFlag(os.O_CREATE|os.O_RDWR), flock.SetPermissions(0o640))
	// A daemon that was killed while it started a hook holds its lock a moment
	// longer, in the child that has not become the hook yet.
	patience, cancel := context.WithTimeout(context.Background(), lockPatience)
	defer cancel()
	ok, err := f.TryLockContext(patience, lockPatience/20)
	if err != nil && !errors.Is(err, context.DeadlineExceeded) {
		return nil, fmt.Errorf("locking %s: %w", path, err)
	}
	if !ok {
		by, _ := os.ReadFile(holderFile(path))
		return nil, &RunningError{Path: path, By: strings.TrimSpace(string(by))}
	}
	host, _ := os.Hostname() // for people
	text := fmt.Sprintf("process %d on %s, since %s\n", os.Getpid(), host, time.Now().UTC().Format(time.RFC3339))
	if err := os.WriteFile(holderFile(path), []byte(text), 0o640); err != nil {
		return nil, errors.Join(fmt.Errorf("locking %s: %w", path, err), f.Close())
	}
	return f, nil
}

// Release gives the locks back. Their files stay: whoever removed one could let
// two others in.
func (l Lock) Release() error {
	var errs []error
	for _, f := range l {
		errs = append(errs, f.Close())
	}
	return errors.Join(errs...)
}
