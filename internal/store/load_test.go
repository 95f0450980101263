package store

import (
	"fmt"
	"testing"
	"time"

	"github.com/dirpin/dirpin/internal/lab"
	"github.com/dirpin/dirpin/internal/roster"
	"github.com/dirpin/dirpin/internal/user"
)

// BenchmarkFirstLoad prints how many users a second a first synchronization
// stores, on both databases in one run.
func BenchmarkFirstLoad(b *testing.B) {
	const n, batch = 50_000, 1000
	for kind, place := range map[string]func() Options{
		"sqlite":   func() Options { return Options{Path: b.TempDir() + "/dirpin.db"} },
		"postgres": func() Options { return Options{URL: lab.NewPostgres(b).Schema(b)} },
	} {
		b.Run(kind, func(b *testing.B) {
			for b.Loop() {
				s := openWith(b, nil, place())
				began := time.Now()
				write(b, s, func(tx *Tx) error {
					for at := 0; at < n; at += batch {
						people := make([]roster.Person, batch)
						for i := range people {
							id := fmt.Sprintf("u%07d", at+i)
							people[i] = roster.Person{Hash: uint64(at + i + 1), DNNorm: "uid=" + id + ",ou=people,dc=example,dc=com", ManagerDN: "uid=u0000001,ou=people,dc=example,dc=com",
								User: user.User{UserID: id, FirstName: "Anna", LastName: fmt.Sprint("Maes ", i%700), Departments: []string{fmt.Sprint(i % 50)}, Mail: id + "@example.com",
									Status: user.Active, Agreement: "corp", Key: fmt.Sprintf("%032x", at+i), DN: "uid=" + id + ",ou=people,dc=example,dc=com"}}
						}
						if done, err := tx.SyncAdd("corp", people); err != nil || !done {
							return fmt.Errorf("stored: %v, %w", done, err)
						}
					}
					return nil
				})
				b.ReportMetric(n/time.Since(began).Seconds(), "rows/s")
			}
		})
	}
}
