// Package labstore gives tests a store of their own. It is SQLite, or
// PostgreSQL where the environment has DIRPIN_TEST_STORE=postgres: `make test`
// runs the packages whose tests use it on both.
package labstore

import (
	"context"
	"os"
	"path/filepath"
	"testing"

	"github.com/dirpin/dirpin/internal/lab"
	"github.com/dirpin/dirpin/internal/store"
)

// Postgres tells whether stores are on PostgreSQL.
func Postgres() bool { return os.Getenv("DIRPIN_TEST_STORE") == "postgres" }

// Place returns where a new store can be opened: a path below dir, or the
// address of an empty schema of the test's own.
func Place(t testing.TB, dir string) store.Options {
	t.Helper()
	if Postgres() {
		return store.Options{URL: lab.SharedPostgres(t).Schema(t)}
	}
	return store.Options{Path: filepath.Join(dir, "dirpin.db")}
}

// Open opens a new store, and closes it when the test ends.
func Open(t testing.TB) *store.Store {
	t.Helper()
	return At(t, Place(t, t.TempDir()))
}

// At opens a store, and closes it when the test ends.
func At(t testing.TB, o store.Options) *store.Store {
	t.Helper()
	s, err := store.Open(context.Background(), o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s
}
