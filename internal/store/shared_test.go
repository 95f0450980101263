package store

import (
	"context"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/dirpin/dirpin/internal/lab"
)

// A library's own connection waits for its turn among our transactions, as they
// do for its, and none of them meets a locked database.
func TestSharedTakesTurns(t *testing.T) {
	ctx := t.Context()
	s, err := Open(ctx, Options{Path: filepath.Join(t.TempDir(), "db"), Busy: time.Millisecond})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	db := s.Shared()
	defer db.Close()
	if _, err := db.ExecContext(ctx, "CREATE TABLE theirs (n INTEGER)"); err != nil {
		t.Fatal(err)
	}
	var all sync.WaitGroup
	for range 3 {
		all.Go(func() {
			for range 50 {
				if err := s.Write(ctx, func(tx *Tx) error { return tx.setMeta("x", "y") }); err != nil {
					t.Error(err)
				}
			}
		})
		all.Go(func() {
			for range 50 {
				tx, err := db.BeginTx(ctx, nil)
				if err != nil {
					t.Error(err)
					return
				}
				if _, err := tx.Exec("INSERT INTO theirs VALUES (1)"); err != nil {
					t.Error(err)
				}
				if err := tx.Commit(); err != nil {
					t.Error(err)
				}
				var n int
				if err := db.QueryRow("UPDATE theirs SET n = 2 WHERE rowid = 1 RETURNING n").Scan(&n); err != nil || n != 2 {
					t.Error(n, err)
				}
			}
		})
	}
	all.Wait()
	var n int
	if err := db.QueryRow("SELECT count(*) FROM theirs").Scan(&n); err != nil || n != 150 {
		t.Errorf("%d rows, %v", n, err)
	}
}

// Whatever ends a shared connection's work in the middle, the turn comes back.
func TestSharedGivesTheTurnBack(t *testing.T) {
	s, err := Open(t.Context(), Options{Path: filepath.Join(t.TempDir(), "db")})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	db := s.Shared()
	defer db.Close()
	ctx, cancel := context.WithCancel(t.Context())
	tx, err := db.BeginTx(ctx, nil)
	if err != nil {
		t.Fatal(err)
	}
	cancel()
	tx.Rollback()
	for _, q := range []string{"SELECT nonsense", "UPDATE nonsense SET x = 1"} {
		if _, err := db.QueryContext(t.Context(), q); err == nil {
			t.Error(q)
		}
		if _, err := db.ExecContext(t.Context(), q); err == nil {
			t.Error(q)
		}
	}
	rows, err := db.QueryContext(t.Context(), "SELECT 1 UNION SELECT 2")
	if err != nil {
		t.Fatal(err)
	}
	rows.Next()
	rows.Close()
	done, end := context.WithTimeout(t.Context(), 5*time.Second)
	defer end()
	if err := s.Write(done, func(tx *Tx) error { return tx.setMeta("x", "y") }); err != nil {
		t.Error(err)
	}
}

// A server that was started again is watched as before.
func TestWatchOutlivesTheServer(t *testing.T) {
	ctx := t.Context()
	server := lab.NewPostgres(t)
	s := openWith(t, nil, Options{URL: server.Schema(t)})
	w, err := s.Watch(ctx)
	if err != nil {
		t.Fatal(err)
	}
	defer w.Close()
	if err := server.Crash(); err != nil {
		t.Fatal(err)
	}
	for range 2 { // the connection that broke, and one that cannot be made
		if _, err := w.Changed(ctx); !IsAway(err) {
			t.Errorf("while there is no server: %v", err)
		}
	}
	if err := server.Start(); err != nil {
		t.Fatal(err)
	}
	if changed, err := w.Changed(ctx); err != nil || !changed {
		t.Errorf("when it is there again: %v, %v", changed, err)
	}
}

func TestWatchSeesWhatOthersWrite(t *testing.T) {
	ctx := t.Context()
	for name, o := range map[string]Options{"sqlite": {Path: filepath.Join(t.TempDir(), "db")}, "postgres": {URL: lab.SharedPostgres(t).Schema(t)}} {
		s, other := openWith(t, nil, o), openWith(t, nil, o)
		w, err := s.Watch(ctx)
		if err != nil {
			t.Fatal(err)
		}
		defer w.Close()
		for i, by := range []*Store{s, other} {
			if err := by.Write(ctx, func(tx *Tx) error { return tx.setMeta("x", string(rune('a'+i))) }); err != nil {
				t.Fatal(err)
			}
			if changed, err := w.Changed(ctx); err != nil || !changed {
				t.Errorf("%s: changed: %v, %v", name, changed, err)
			}
		}
		if name == "postgres" { // others may write to the server
			continue
		}
		if changed, err := w.Changed(ctx); err != nil || changed {
			t.Errorf("%s: nothing was written: %v, %v", name, changed, err)
		}
	}
}
