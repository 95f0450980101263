//go:build !windows

package resetjob

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

func TestListsFIFODoesNotHang(t *testing.T) {
	t.Parallel()
	lists, dir := openTestLists(t)
	if err := syscall.Mkfifo(filepath.Join(dir, "fifo"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := readOrHang(t, lists, "fifo"); err == nil || !strings.Contains(err.Error(), "no regular file") {
		t.Errorf("got %v", err)
	}
}

func readOrHang(t *testing.T, lists *Lists, name string) error {
	t.Helper()
	done := make(chan error, 1)
	go func() {
		_, err := lists.Read(&List{Name: name})
		done <- err
	}()
	select {
	case err := <-done:
		return err
	case <-time.After(10 * time.Second):
		t.Fatal("Read hangs")
		return nil
	}
}

// Somebody swaps or writes the file while it is read.
func TestListsChangeUnderway(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name, step string
		change     func(path string) error
	}{
		{"link out of the folder", "lstat", func(path string) error { return errors.Join(os.Remove(path), os.Symlink("/etc/passwd", path)) }},
		{"link to a neighbour", "lstat", func(path string) error { return errors.Join(os.Remove(path), os.Symlink("other.txt", path)) }},
		{"FIFO", "lstat", func(path string) error { return errors.Join(os.Remove(path), syscall.Mkfifo(path, 0o600)) }},
		{"another file", "lstat", func(path string) error { return os.Rename(filepath.Join(filepath.Dir(path), "other.txt"), path) }},
		{"grown", "open", func(path string) error { return appendFile(path, "adoe\n") }},
		{"cut", "open", func(path string) error { return os.Truncate(path, 2) }},
		{"written over", "open", func(path string) error {
			return errors.Join(os.WriteFile(path, []byte("jdoe12\n"), 0o600), os.Chtimes(path, time.Time{}, time.Unix(1, 0)))
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			lists, dir := openTestLists(t)
			path := filepath.Join(dir, "l.txt")
			writeTestFile(t, path, "jsmith\n")
			writeTestFile(t, filepath.Join(dir, "other.txt"), "adoe\n")
			lists.after = func(step string) {
				if step != tt.step {
					return
				}
				if err := tt.change(path); err != nil {
					t.Error(err)
				}
			}
			if err := readOrHang(t, lists, "l.txt"); err == nil || errors.Is(err, ErrListMissing) {
				t.Errorf("got %v", err)
			}
		})
	}
}

func appendFile(path, text string) error {
	f, err := os.OpenFile(path, os.O_APPEND|os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	_, err = f.WriteString(text)
	return errors.Join(err, f.Close())
}
