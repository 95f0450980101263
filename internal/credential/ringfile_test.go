package credential

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"
)

func TestSaveAndLoad(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "key")
	ring := newTestRing(t, 1)
	if err := CreateRing(path, ring); err != nil {
		t.Fatal(err)
	}
	if err := CreateRing(path, newTestRing(t, 2)); !errors.Is(err, fs.ErrExist) {
		t.Errorf("an existing ring: got %v", err)
	}
	next := rotated(t, ring, 2)
	if err := SaveRing(path, next); err != nil {
		t.Fatal(err)
	}
	got, err := LoadRing(path)
	if err != nil {
		t.Fatal(err)
	}
	if got.Primary() != next.Primary() || len(got.Keys()) != 2 {
		t.Errorf("got %v", got)
	}
	onlyFile(t, dir, "key")
}

func onlyFile(t *testing.T, dir, name string) {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	if len(entries) != 1 || entries[0].Name() != name {
		t.Errorf("left behind: %v", entries)
	}
}

func TestLoadMissing(t *testing.T) {
	_, err := LoadRing(filepath.Join(t.TempDir(), "key"))
	if !errors.Is(err, fs.ErrNotExist) || !strings.Contains(err.Error(), "dirpin keys new") {
		t.Errorf("got %v", err)
	}
}

func TestLoadDamagedNamesTheFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "key")
	if err := os.WriteFile(path, []byte("# x\nkey\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := LoadRing(path); err == nil || !strings.Contains(err.Error(), path+": line 2: ") {
		t.Errorf("got %v", err)
	}
	// A damaged ring is not replaced either: its keys would be gone for good.
	if err := SaveRing(path, newTestRing(t, 1)); err == nil || !strings.Contains(err.Error(), "line 2") {
		t.Errorf("got %v", err)
	}
	onlyFile(t, filepath.Dir(path), "key")
}

func TestSaveLosesNoKey(t *testing.T) {
	path := filepath.Join(t.TempDir(), "key")
	ring := newTestRing(t, 1)
	if err := CreateRing(path, ring); err != nil {
		t.Fatal(err)
	}
	mine, theirs := rotated(t, ring, 2), rotated(t, ring, 3)
	if err := SaveRing(path, theirs); err != nil {
		t.Fatal(err)
	}
	if err := SaveRing(path, mine); !errors.Is(err, ErrChanged) || !strings.Contains(err.Error(), theirs.Primary()) {
		t.Errorf("got %v", err)
	}
	// Nor does a key of the same id stand in for another.
	var forged []*key
	for _, k := range theirs.keys {
		other := *k
		other.secret[0] ^= 1
		forged = append(forged, &other)
	}
	if err := SaveRing(path, &Ring{keys: forged, primary: forged[0], identities: theirs.identities}); !errors.Is(err, ErrChanged) {
		t.Errorf("other keys of the same ids: got %v", err)
	}
	got, err := LoadRing(path)
	if err != nil || got.Verify(theirs.Checks()) != nil {
		t.Errorf("got %v, %v", got, err)
	}
}

// Whoever is told that the key was added must find it in the file afterwards.
func TestSaveConcurrently(t *testing.T) {
	path := filepath.Join(t.TempDir(), "key")
	if err := CreateRing(path, newTestRing(t, 1)); err != nil {
		t.Fatal(err)
	}
	saved := make(chan string, 100)
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for range 10 {
				ring, err := LoadRing(path)
				if err != nil {
					t.Error(err)
					return
				}
				if ring, err = ring.Rotate(nil, time.Now()); err != nil {
					t.Error(err)
					return
				}
				if SaveRing(path, ring) == nil {
					saved <- ring.Primary()
				}
			}
		})
	}
	wg.Wait()
	close(saved)
	got, err := LoadRing(path)
	if err != nil {
		t.Fatal(err)
	}
	n := 0
	for id := range saved {
		n++
		if got.named(id) == nil {
			t.Errorf("key %s was saved and is lost", id)
		}
	}
	if n == 0 || len(got.Keys()) != n+1 {
		t.Errorf("%d saved, %d in the file", n, len(got.Keys()))
	}
}

func TestSaveFindsAnotherAtWork(t *testing.T) {
	path := filepath.Join(t.TempDir(), "key")
	if err := CreateRing(path, newTestRing(t, 1)); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path+".new", []byte("theirs"), 0o600); err != nil {
		t.Fatal(err)
	}
	err := SaveRing(path, newTestRing(t, 2))
	if err == nil || !strings.Contains(err.Error(), path+".new is in the way") {
		t.Errorf("got %v", err)
	}
	if b, _ := os.ReadFile(path + ".new"); string(b) != "theirs" {
		t.Error("the other's file was touched")
	}
}

func TestSaveKeepsALink(t *testing.T) {
	dir := t.TempDir()
	real := filepath.Join(dir, "real")
	ring := newTestRing(t, 1)
	if err := CreateRing(real, ring); err != nil {
		t.Fatal(err)
	}
	link := filepath.Join(dir, "key")
	if err := os.Symlink(real, link); err != nil {
		t.Fatal(err)
	}
	if err := SaveRing(link, rotated(t, ring, 2)); err != nil {
		t.Fatal(err)
	}
	if info, err := os.Lstat(link); err != nil || info.Mode()&fs.ModeSymlink == 0 {
		t.Error("the link became a file")
	}
	if got, err := LoadRing(real); err != nil || len(got.Keys()) != 2 {
		t.Errorf("got %v, %v", got, err)
	}
}
