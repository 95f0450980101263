package store

import (
	"context"
	"path/filepath"
	"testing"
	"time"

	"github.com/dirpin/dirpin/internal/lab"
)

func TestMain(m *testing.M) { lab.Main(m) }

// clock is a time that tests move.
type clock struct{ now time.Time }

// opener opens a new database, whose time is the clock's unless that is nil.
type opener func(t testing.TB, c *clock) *Store

// each runs a test on each kind of database.
func each(t *testing.T, test func(t *testing.T, open opener)) {
	t.Run("sqlite", func(t *testing.T) {
		test(t, func(t testing.TB, c *clock) *Store {
			return openWith(t, c, Options{Path: filepath.Join(t.TempDir(), "dirpin.db")})
		})
	})
	t.Run("postgres", func(t *testing.T) {
		test(t, func(t testing.TB, c *clock) *Store {
			return openWith(t, c, Options{URL: lab.SharedPostgres(t).Schema(t)})
		})
	})
}

func openWith(t testing.TB, c *clock, o Options) *Store {
	t.Helper()
	if c != nil {
		o.Now = func() time.Time { return c.now }
	}
	s, err := Open(context.Background(), o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s
}
