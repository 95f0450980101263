package hooks

import (
	"database/sql"
	"fmt"
	"strings"
	"testing"

	_ "github.com/mattn/go-sqlite3" // the driver
)

// sqlite returns what runs statements on a database, and gives the first column
// of a query.
func sqlite(t *testing.T, path string) func(string) string {
	t.Helper()
	db, err := sql.Open("sqlite3", path+"?_busy_timeout=5000")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { db.Close() })
	return func(q string) string {
		t.Helper()
		if !strings.HasPrefix(q, "SELECT") {
			if _, err := db.Exec(q); err != nil {
				t.Fatal(err)
			}
			return ""
		}
		var v any
		if err := db.QueryRow(q).Scan(&v); err != nil {
			t.Fatal(err)
		}
		return fmt.Sprint(v)
	}
}
