package store

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"testing"
	"time"

	"github.com/dirpin/dirpin/internal/lab"
	"github.com/dirpin/dirpin/internal/user"
)

// Everything is moved from one kind to the other and back.
func TestMove(t *testing.T) {
	ctx := context.Background()
	first := openWith(t, nil, Options{Path: filepath.Join(t.TempDir(), "a.db")})
	c := []byte{0, 1, 0xff}
	ref := addUser(t, first, "Zoë \\N \\. \t\"")
	gone := addUser(t, first, "gone")
	job := addJob(t, first, ref)
	write(t, first, func(tx *Tx) error {
		return errors.Join(tx.RemoveUser(gone),
			tx.AddKeyChecks(map[string][]byte{"k1": c}),
			tx.SealJob(&Job{ID: job, Key: c, PIN: c}),
			tx.CommitSecret(ref, PIN, NewSecret{Hash: "h", Tag: c, KeepHistory: 3, Job: job}),
			tx.Journal(&Journalled{UserRef: ref, Job: job, Seq: 1, Kind: PIN, RequestID: "r", System: "vm", Body: c}),
			tx.AddOwner(Owner{ID: "o"}),
			tx.SetIncarnation(Incarnation{ID: "x", Generation: 4, LastJob: 57, Installation: "i"}))
	})
	check := func(what string, s *Store, generation int64) {
		t.Helper()
		write(t, s, func(tx *Tx) error {
			u, err := tx.User("zoë \\n \\. \t\"")
			if err != nil {
				return err
			}
			keys, err1 := tx.KeyChecks()
			j, err2 := tx.Job(job)
			tags, err3 := tx.History(ref, PIN, 5)
			todo, err4 := tx.ToDo(job, 0, 1, 1)
			in, err5 := tx.Incarnation()
			owners, err6 := tx.Owners()
			if err := errors.Join(err1, err2, err3, err4, err5, err6); err != nil {
				return err
			}
			if u.ID != ref || !bytes.Equal(keys["k1"], c) || !bytes.Equal(j.Key, c) || j.Password != nil || len(tags) != 1 || !bytes.Equal(todo[0].Sent.Body, c) || len(owners) != 0 {
				t.Errorf("%s: %+v, keys %v, job %+v, history %v, to do %+v, owners %v", what, u, keys, j, tags, todo, owners)
			}
			if in.ID != "x" || in.Generation != generation || in.LastJob != 57 || in.Moved() != "" {
				t.Errorf("%s: incarnation %+v", what, in)
			}
			if g, known, err := tx.InstallationAt("i"); g != 4 || !known || err != nil {
				t.Errorf("%s: the installation is at %d, %v", what, g, err)
			}
			return nil
		})
		if n := addUser(t, s, what); n <= gone {
			t.Errorf("%s: user number %d was used before", what, n)
		} else {
			gone = n
		}
	}
	second := openWith(t, nil, Options{URL: lab.SharedPostgres(t).Schema(t)})
	if _, err := first.Move(ctx, second); err != nil {
		t.Fatal(err)
	}
	check("on PostgreSQL", second, 5)
	var moved *MovedError
	if _, err := Open(ctx, Options{Path: first.Path()}); !errors.As(err, &moved) || moved.To != second.Name() {
		t.Errorf("the database that was moved opens: %v", err)
	}
	back := openWith(t, nil, Options{Path: filepath.Join(t.TempDir(), "b.db")})
	addUser(t, back, "somebody")
	var full *NotEmptyError
	if _, err := second.Move(ctx, back); !errors.As(err, &full) || full.Table != "users" {
		t.Errorf("a database with users was copied over: %v", err)
	}
	write(t, back, func(tx *Tx) error { _, err := tx.exec("DELETE FROM users"); return err })
	counts, err := second.Move(ctx, back)
	if err != nil || counts["users"] != 2 {
		t.Fatalf("%v, %v", counts, err)
	}
	check("on SQLite again", back, 6)
}

func BenchmarkMoveToPostgres(b *testing.B) {
	const n = 20_000
	for b.Loop() {
		from := openWith(b, nil, Options{Path: filepath.Join(b.TempDir(), "a.db")})
		write(b, from, func(tx *Tx) error {
			for i := range n {
				if err := tx.AddUser(&user.User{UserID: fmt.Sprint("u", i), LastName: "De Smet", Departments: []string{"12"}, Status: user.Local}); err != nil {
					return err
				}
			}
			return nil
		})
		to := openWith(b, nil, Options{URL: lab.SharedPostgres(b).Schema(b)})
		began := time.Now()
		if _, err := from.Move(context.Background(), to); err != nil {
			b.Fatal(err)
		}
		b.ReportMetric(n/time.Since(began).Seconds(), "rows/s")
	}
}
