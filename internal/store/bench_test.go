package store

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/dirpin/dirpin/internal/user"
)

// million makes a database of n users once and keeps it for the next run.
func filled(tb testing.TB, n int) *Store {
	tb.Helper()
	path := filepath.Join(os.TempDir(), fmt.Sprintf("dirpin-bench-%d.db", n))
	s, err := Open(context.Background(), Options{Path: path})
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { s.Close() })
	ctx := context.Background()
	var have int64
	s.Read(ctx, func(tx *Tx) (err error) { have, err = tx.CountMatching(user.All()); return err })
	if have == int64(n) {
		return s
	}
	last := []string{"Janssens", "Peeters", "Maes", "Jacobs", "Mertens", "Willems", "Claes", "Goossens", "Wouters", "De Smet", "Dubois", "Lambert", "Dupont", "Martin", "Simon"}
	start := time.Now()
	for at := 0; at < n; at += 100_000 {
		err := s.Write(ctx, func(tx *Tx) error {
			for i := at; i < min(at+100_000, n); i++ {
				u := user.User{UserID: fmt.Sprintf("u%07d", i), FirstName: fmt.Sprintf("Anna%d", i%1000), LastName: fmt.Sprintf("%s %d", last[i%len(last)], i%10_000),
					Manager: fmt.Sprintf("u%07d", i/10), Departments: []string{fmt.Sprintf("D%03d", i%500)}, Mail: fmt.Sprintf("u%07d@example.org", i),
					Telephone: fmt.Sprintf("+32 2 555 %04d", i%10000), Status: user.Local}
				if err := tx.AddUser(&u); err != nil {
					return err
				}
			}
			return nil
		})
		if err != nil {
			tb.Fatal(err)
		}
	}
	tb.Logf("%d users stored in %v", n, time.Since(start))
	return s
}

var errFirst = errors.New("first")

func BenchmarkFindMillion(b *testing.B) {
	s := filled(b, 1_000_000)
	ctx := context.Background()
	cond := func(f user.Field, op user.Op, text string) *user.Query {
		return &user.Query{Where: []user.Term{{Cond: &user.Condition{Field: f, Op: op, Text: []string{text}}}}}
	}
	for _, bb := range []struct {
		name  string
		q     *user.Query
		first bool
	}{
		{"first of begins with", cond(user.FieldLastName, user.BeginsWith, "S"), true},
		{"contains", cond(user.FieldLastName, user.Contains, "smet 777"), false},
		{"contains mail", cond(user.FieldMail, user.Contains, "0777777"), false},
		{"department is exactly", cond(user.FieldDepartment, user.IsExactly, "d012"), false},
		{"department contains", cond(user.FieldDepartment, user.Contains, "012"), false},
		{"everyone", user.All(), false},
	} {
		b.Run(bb.name, func(b *testing.B) {
			for b.Loop() {
				err := s.Read(ctx, func(tx *Tx) error {
					return tx.Find(bb.q, func(*user.User) error {
						if bb.first {
							return errFirst
						}
						return nil
					})
				})
				if err != nil && !errors.Is(err, errFirst) {
					b.Fatal(err)
				}
			}
		})
	}
}
