// Package labstore gives tests a store of their own. It is SQLite, or
// PostgreSQL where the environment has DIRPIN_TEST_STORE=postgres: `make test`
// runs the packages whose tests use it on both.
package labstore

import (
	"context"
	"database/sql"
	"os"
	"path/filepath"
	"strconv"
	"strings"
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

// SQL runs a statement in the database of a store, behind its back.
func SQL(t testing.TB, o store.Options, query string, args ...any) {
	t.Helper()
	db := open(t, o, &query)
	defer db.Close()
	if _, err := db.Exec(query, args...); err != nil {
		t.Fatalf("%s: %v", query, err)
	}
}

// Count returns the number that a query asks the database of a store for.
func Count(t testing.TB, o store.Options, query string, args ...any) (n int64) {
	t.Helper()
	db := open(t, o, &query)
	defer db.Close()
	if err := db.QueryRow(query, args...).Scan(&n); err != nil {
		t.Fatalf("%s: %v", query, err)
	}
	return n
}

// open opens the database of a store, and puts a query into its words.
func open(t testing.TB, o store.Options, query *string) *sql.DB {
	t.Helper()
	driver, place := "sqlite3", "file:"+o.Path+"?_busy_timeout=5000"
	if o.URL != "" {
		driver, place = "pgx", o.URL
		for n := 1; strings.Contains(*query, "?"); n++ {
			*query = strings.Replace(*query, "?", "$"+strconv.Itoa(n), 1)
		}
	}
	db, err := sql.Open(driver, place)
	if err != nil {
		t.Fatal(err)
	}
	return db
}

// Refuse has the database refuse a change to a table, such as BEFORE INSERT,
// where the condition on NEW holds, as it refuses a bad row.
func Refuse(t testing.TB, o store.Options, event, table, when string) {
	t.Helper()
	if o.URL == "" {
		SQL(t, o, "CREATE TRIGGER bad "+event+" ON "+table+" WHEN "+when+" BEGIN SELECT raise(ABORT, 'bad row'); END")
		return
	}
	SQL(t, o, "CREATE OR REPLACE FUNCTION bad() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE check_violation USING MESSAGE = 'bad row'; END $$")
	SQL(t, o, "CREATE TRIGGER bad "+event+" ON "+table+" FOR EACH ROW WHEN ("+when+") EXECUTE FUNCTION bad()")
}

// RefuseNoMore undoes Refuse.
func RefuseNoMore(t testing.TB, o store.Options, table string) {
	t.Helper()
	if o.URL == "" {
		SQL(t, o, "DROP TRIGGER bad")
		return
	}
	SQL(t, o, "DROP TRIGGER bad ON "+table)
}
