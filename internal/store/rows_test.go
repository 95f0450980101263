package store

import (
	"context"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/dirpin/dirpin/internal/roster"
	"github.com/dirpin/dirpin/internal/user"
)

// scratch opens an SQLite database with a table beside those of dirpin.
func scratch(t *testing.T) *Store {
	s := openWith(t, nil, Options{Path: filepath.Join(t.TempDir(), "dirpin.db")})
	write(t, s, func(tx *Tx) error {
		_, err := tx.exec("CREATE TABLE scratch (a TEXT UNIQUE, b INTEGER, c BOOLEAN, d TEXT)")
		return err
	})
	return s
}

func readScratch(t *testing.T, s *Store) (found []string) {
	t.Helper()
	write(t, s, func(tx *Tx) error {
		rows, err := tx.rows("SELECT quote(a), quote(b), quote(c), quote(d) FROM scratch ORDER BY rowid")
		if err != nil {
			return err
		}
		defer rows.Close()
		for rows.Next() {
			var v [4]string
			if err := rows.Scan(&v[0], &v[1], &v[2], &v[3]); err != nil {
				return err
			}
			found = append(found, strings.Join(v[:], " "))
		}
		return rows.Err()
	})
	return found
}

func TestInsertRows(t *testing.T) {
	s := scratch(t)
	long := strings.Repeat("x", 100_000)
	var p packed
	give := func(v ...any) {
		for _, v := range v {
			switch v := v.(type) {
			case string:
				p.text(v)
			case int:
				p.number(int64(v))
			case bool:
				p.boolean(v)
			default:
				p.null()
			}
		}
	}
	give("ä\n'", -1<<63, true, nil)
	give(nil, 1<<63-1, false, "")
	give(long, 0, nil)
	orNull(&p, "")
	write(t, s, func(tx *Tx) error {
		if err := tx.insertRows("scratch", "a, b, c, d", nil); err != nil {
			return fmt.Errorf("no row: %w", err)
		}
		return tx.insertRows("scratch", "a, b, c, d", p)
	})
	want := []string{"'ä\n''' -9223372036854775808 1 NULL", "NULL 9223372036854775807 0 ''", "'" + long + "' 0 NULL NULL"}
	if got := readScratch(t, s); !slices.Equal(got, want) {
		t.Errorf("stored\n%q, want\n%q", got, want)
	}
}

// What is no row of so many values, cut anywhere, is an error, not a read
// behind the end.
func TestInsertRowsTorn(t *testing.T) {
	s := scratch(t)
	var whole packed
	whole.text("one")
	whole.number(1)
	whole.boolean(true)
	whole.text("four")
	for n := 1; n < len(whole); n++ {
		write(t, s, func(tx *Tx) error {
			if err := tx.insertRows("scratch", "a, b, c, d", whole[:n:n]); err == nil || !strings.Contains(err.Error(), "not rows of 4 values") {
				t.Errorf("%d bytes of %d: %v", n, len(whole), err)
			}
			return nil
		})
	}
	bad := append(slices.Clone(whole), 'z')
	write(t, s, func(tx *Tx) error {
		if err := tx.insertRows("scratch", "a, b, c, d", bad); err == nil {
			t.Error("another kind of value was taken")
		}
		return nil
	})
	if got := readScratch(t, s); len(got) > 1 {
		t.Errorf("stored %q", got)
	}
}

// Whoever is added with somebody whose key or user id is taken is not stored
// either, nor is anybody who was added in the same call before.
func TestSyncAddTaken(t *testing.T) {
	each(t, func(t *testing.T, open opener) {
		s := open(t, nil)
		person := func(n, id int) roster.Person {
			return roster.Person{DNNorm: fmt.Sprintf("uid=u%d", n), User: user.User{UserID: fmt.Sprintf("u%d", id), LastName: "Maes", Status: user.Active,
				Agreement: "corp", Key: fmt.Sprintf("%032x", n), DN: fmt.Sprintf("uid=u%d", n)}}
		}
		add := func(people ...roster.Person) (done bool) {
			t.Helper()
			write(t, s, func(tx *Tx) (err error) {
				done, err = tx.SyncAdd("corp", people)
				return err
			})
			return done
		}
		count := func() (n int64) {
			err := s.Read(context.Background(), func(tx *Tx) (err error) { n, err = tx.CountMatching(user.All()); return err })
			if err != nil {
				t.Fatal(err)
			}
			return n
		}
		if !add(person(1, 1), person(2, 2)) || count() != 2 {
			t.Fatalf("new people were not added: %d are there", count())
		}
		var many []roster.Person
		for i := range 3 * addAtOnce {
			many = append(many, person(10+i, 10+i))
		}
		for name, last := range map[string]roster.Person{"key": person(1, 9), "user id": person(9, 1)} {
			if add(append(slices.Clone(many), last)...) || count() != 2 {
				t.Errorf("the %s was taken, and %d people are there", name, count())
			}
		}
		if !add(many...) || count() != int64(2+len(many)) {
			t.Errorf("%d people are there", count())
		}
	})
}
