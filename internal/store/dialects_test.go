package store

import (
	"context"
	"fmt"
	"path/filepath"
	"testing"
	"time"

	"github.com/dirpin/dirpin/internal/lab"
	"github.com/dirpin/dirpin/internal/outcome"
	"github.com/dirpin/dirpin/internal/user"
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

// A server that has never looked at a table takes a job for small, and would
// read all of it for a few of its items.
func TestResultsReadFewRowsOfJob(t *testing.T) {
	s := openWith(t, nil, Options{URL: lab.SharedPostgres(t).Schema(t)})
	refs := make([]int64, 2000)
	write(t, s, func(tx *Tx) error {
		for i := range refs {
			u := user.User{UserID: fmt.Sprint("u", i), Status: user.Local}
			if err := tx.AddUser(&u); err != nil {
				return err
			}
			refs[i] = u.ID
		}
		return nil
	})
	job := addJob(t, s, refs...)
	for _, n := range []int{3, amongMost} {
		first := int64(n) * 10
		read := func(table string, do func(*Tx) error) {
			t.Helper()
			var rows int64
			write(t, s, func(tx *Tx) error {
				if err := do(tx); err != nil {
					return err
				}
				return tx.row("SELECT seq_tup_read + idx_tup_fetch FROM pg_stat_xact_user_tables WHERE relid = CAST(? AS text)::regclass", table).Scan(&rows)
			})
			if rows > 5*int64(n) {
				t.Errorf("%d rows of %s are read for %d of its %d", rows, table, n, len(refs))
			}
		}
		results := func(r *Results, add func(seq int64)) func(*Tx) error {
			for i := range n {
				add(first + int64(i))
			}
			return func(tx *Tx) error { return tx.WriteResults(r) }
		}
		r := NewResults(job)
		read("items", results(r, func(seq int64) {
			r.Item(&Item{Seq: seq, Result: outcome.Updated, Code: outcome.OK, Status: "local"})
		}))
		r = NewResults(job)
		read("legs", results(r, func(seq int64) {
			r.Leg(seq, &Leg{Kind: PIN, Result: outcome.Updated, Code: outcome.OK, System: "vm"})
		}))
		if n <= amongFew { // many of so few users are better read by reading all
			read("users", func(tx *Tx) error { return tx.Subjects(refs[first:first+int64(n)], func(*Subject) {}) })
		}
	}
}
