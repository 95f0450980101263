package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/pressly/goose/v3"

	"github.com/dirpin/dirpin/internal/outcome"
	"github.com/dirpin/dirpin/internal/user"
)

func write(t testing.TB, s *Store, fn func(*Tx) error) {
	t.Helper()
	if err := s.Write(context.Background(), fn); err != nil {
		t.Fatal(err)
	}
}

// addJob makes a job of n users, one item each, and returns its number.
func addJob(t testing.TB, s *Store, users ...int64) int64 {
	t.Helper()
	j := &Job{Name: "test", Fingerprint: []byte{1}, Definition: []byte("{}"), State: Running, Stage: StageOpen}
	write(t, s, func(tx *Tx) error {
		if err := tx.AddJob(j, 0); err != nil {
			return err
		}
		for i, ref := range users {
			it := &Item{Seq: int64(i + 1), UserRef: ref, UserID: "x", State: Pending, Legs: []Leg{{Kind: PIN, State: Pending}}}
			if err := tx.AddItem(j.ID, it); err != nil {
				return err
			}
		}
		return tx.AddCounts(j.ID, Counts{Selected: int64(len(users))}, 0)
	})
	return j.ID
}

func addUser(t testing.TB, s *Store, id string) int64 {
	t.Helper()
	u := &user.User{UserID: id, Status: user.Local}
	write(t, s, func(tx *Tx) error { return tx.AddUser(u) })
	return u.ID
}

func TestOneItemOfAUserIsInFlight(t *testing.T) {
	each(t, func(t *testing.T, open opener) {
		c := &clock{time.Date(2026, 11, 24, 2, 0, 0, 0, time.UTC)}
		s := open(t, c)
		ref := addUser(t, s, "jdoe")
		first, second := addJob(t, s, ref), addJob(t, s, ref)
		one := &Journalled{UserRef: ref, Job: first, Seq: 1, Kind: PIN, RequestID: "one", System: "vm", Body: []byte("sealed")}
		two := &Journalled{UserRef: ref, Job: second, Seq: 1, Kind: PIN, RequestID: "two", System: "vm"}
		claimed := func(what string, j *Journalled) *ClaimedError {
			t.Helper()
			var e *ClaimedError
			err := s.Write(context.Background(), func(tx *Tx) error {
				if err := tx.Free(ref, ""); !errors.As(err, &e) {
					t.Errorf("%s: the user is free (%v)", what, err)
				}
				return tx.Journal(j)
			})
			if !errors.As(err, &e) {
				t.Fatalf("%s: got %v", what, err)
			}
			return e
		}
		write(t, s, func(tx *Tx) error { return tx.Journal(one) })
		if e := claimed("in flight", two); e.Job != first || !e.Until.IsZero() {
			t.Errorf("in flight: %+v", e)
		}
		write(t, s, func(tx *Tx) error {
			todo, err := tx.ToDo(first, 0, 1, 10)
			if err == nil && (len(todo) != 1 || todo[0].Sent == nil || todo[0].Sent.RequestID != "one" || string(todo[0].Sent.Body) != "sealed") {
				t.Errorf("what is in flight reads as %+v", todo)
			}
			pending, pushing, err2 := tx.CountOpen(first)
			if pending != 0 || pushing != 1 {
				t.Errorf("%d pending, %d pushing", pending, pushing)
			}
			return errors.Join(err, err2)
		})
		if err := s.Write(context.Background(), func(tx *Tx) error { return tx.RemoveUser(ref) }); !errors.Is(err, ErrInFlight) {
			t.Errorf("a user in flight was removed: %v", err)
		}
		// The answer was lost: nobody else before 20 s have passed, but the same
		// request.
		write(t, s, func(tx *Tx) error { return tx.Quarantine(one, tx.Now().Add(20*time.Second)) })
		if e := claimed("quarantine", two); !e.Until.Equal(c.now.Add(20 * time.Second)) {
			t.Errorf("quarantine: %+v", e)
		}
		resting := func(what string, job, want int64) {
			t.Helper()
			write(t, s, func(tx *Tx) error {
				n, until, err := tx.Resting(job)
				if n != want || n > 0 && !until.Equal(c.now.Add(20*time.Second)) {
					t.Errorf("%s: %d users rest until %v", what, n, until)
				}
				return err
			})
		}
		resting("another job", second, 1)
		resting("the same request", first, 0)
		write(t, s, func(tx *Tx) error { return tx.Journal(one) })
		write(t, s, func(tx *Tx) error { return tx.Quarantine(one, tx.Now().Add(20*time.Second)) })
		c.now = c.now.Add(20 * time.Second)
		resting("afterwards", second, 0)
		write(t, s, func(tx *Tx) error { return tx.Journal(two) })
		write(t, s, func(tx *Tx) error { return tx.Unjournal(two) })
		write(t, s, func(tx *Tx) error {
			if n, err := tx.InFlight(ref); err != nil || n != 0 {
				t.Errorf("in flight after it was given back: %d, %v", n, err)
			}
			todo, err := tx.ToDo(second, 0, 1, 10)
			if err == nil && (todo[0].Sent != nil || todo[0].Legs[0].RequestID != "two") {
				t.Errorf("given back as %+v", todo[0])
			}
			return err
		})
	})
}

func TestResultsAreWrittenOnceAndTogether(t *testing.T) {
	each(t, func(t *testing.T, open opener) {
		s := open(t, nil)
		var refs []int64
		for i := range 150 { // more than one statement takes
			refs = append(refs, addUser(t, s, "u"+string(rune('A'+i%26))+time.Duration(i).String()))
		}
		job := addJob(t, s, refs...)
		results := func() *Results {
			r := NewResults(job)
			for i, ref := range refs {
				leg := Leg{Kind: PIN, Result: outcome.Updated, Code: outcome.OK, System: "vm"}
				if i == 7 {
					leg = Leg{Kind: PIN, Result: outcome.Failed, Code: outcome.VoicemailTimeout, System: "vm", RequestID: "seven", Body: []byte("sealed"), Attempts: 3, Lost: 2}
				}
				r.Leg(int64(i+1), &leg)
				r.Item(&Item{Seq: int64(i + 1), Result: leg.Result, Code: leg.Code, Status: "local"})
				r.Settled(ref)
			}
			return r
		}
		write(t, s, func(tx *Tx) error {
			for i, ref := range refs {
				if err := tx.Journal(&Journalled{UserRef: ref, Job: job, Seq: int64(i + 1), Kind: PIN, RequestID: "r" + time.Duration(i).String()}); err != nil {
					return err
				}
			}
			return tx.WriteResults(results())
		})
		write(t, s, func(tx *Tx) error {
			codes, err := tx.CodeCounts(job)
			if codes[outcome.OK] != 149 || codes[outcome.VoicemailTimeout] != 1 {
				t.Errorf("codes %v", codes)
			}
			if pending, pushing, _ := tx.CountOpen(job); pending+pushing != 0 {
				t.Errorf("%d pending and %d pushing are left", pending, pushing)
			}
			return err
		})
		// A second result of an item is nobody's to write.
		if err := s.Write(context.Background(), func(tx *Tx) error { return tx.WriteResults(results()) }); !errors.Is(err, ErrStale) {
			t.Errorf("a second result: %v", err)
		}
		// What was lost is kept for a retry, and for nobody else.
		by := addJob(t, s)
		write(t, s, func(tx *Tx) error {
			if n, err := tx.MarkRetried(job, by); n != 1 || err != nil {
				t.Errorf("%d items were handed on, %v", n, err)
			}
			if n, err := tx.MarkRetried(job, by); n != 0 || err != nil {
				t.Errorf("%d items were handed on twice, %v", n, err)
			}
			n := 0
			err := tx.RetriedItems(job, by, func(it *Retried) error {
				n++
				if l := it.Legs[0]; it.Seq != 8 || it.User == nil || l.RequestID != "seven" || string(l.Body) != "sealed" || l.Lost != 2 {
					t.Errorf("retried: %+v", it)
				}
				return nil
			})
			if n != 1 {
				t.Errorf("%d items are retried", n)
			}
			return err
		})
	})
}

// A database of the first schema with a push in flight keeps it.
func TestUpgradeKeepsWhatIsInFlight(t *testing.T) {
	path := filepath.Join(t.TempDir(), "dirpin.db")
	db, err := sql.Open("sqlite3", path)
	if err != nil {
		t.Fatal(err)
	}
	p, err := goose.NewProvider(goose.DialectSQLite3, db, mustSub(t), goose.WithDisableGlobalRegistry(true))
	if err == nil {
		_, err = p.UpTo(context.Background(), 1)
	}
	if err != nil {
		t.Fatal(err)
	}
	for _, q := range []string{
		`INSERT INTO users (id, user_id, user_id_f, first_name, first_name_f, middle_name, middle_name_f, last_name, last_name_f, manager, manager_f,
			department, department_f, departments, mail, mail_f, telephone, telephone_f, language, status, entry_key, changed_at)
			VALUES (5, 'jdoe', 'jdoe', '', '', '', '', '', '', '', '', '', '', 0, '', '', '', '', '', 'ldap-active', 'key5', 0)`,
		`INSERT INTO jobs (id, name, fingerprint, definition, submitter, state, stage, created) VALUES (3, 'old', x'01', '{}', 'root', 'running', 'open', 0)`,
		`INSERT INTO items (job, seq, user_ref, user_id, state) VALUES (3, 1, 5, 'jdoe', 'pushing')`,
		`INSERT INTO legs (job, seq, kind, state, request_id, system, body, attempts, lost, first_at) VALUES (3, 1, 'pin', 'pushing', 'old-id', 'vm', x'beef', 2, 1, 777)`,
		`INSERT INTO in_flight (user_ref, job, seq) VALUES (5, 3, 1)`,
	} {
		if _, err := db.Exec(q); err != nil {
			t.Fatal(err)
		}
	}
	db.Close()
	s, err := Open(context.Background(), Options{Path: path})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	write(t, s, func(tx *Tx) error {
		todo, err := tx.ToDo(3, 0, 1, 10)
		if err == nil {
			j := todo[0].Sent
			if j == nil || j.RequestID != "old-id" || j.EntryKey != "key5" || j.Attempts != 2 || j.Lost != 1 || j.FirstAt != 777 || len(j.Body) != 2 {
				t.Errorf("in flight after the upgrade: %+v", j)
			}
		}
		return err
	})
	if !strings.Contains(strings.Join(glob(t, path+".before-*"), " "), "before-schema") {
		t.Error("no copy was left before the upgrade")
	}
}

// Whatever an earlier upgrade has left, the next one goes through, and the copy
// is the database of the oldest schema.
func TestUpgradeThatWasCut(t *testing.T) {
	ctx := context.Background()
	path := filepath.Join(t.TempDir(), "dirpin.db")
	kept := fmt.Sprintf("%s.before-schema-%d", path, schemaVersion)
	upTo := func(schema int64) {
		t.Helper()
		db, err := sql.Open("sqlite3", path)
		if err != nil {
			t.Fatal(err)
		}
		defer db.Close()
		p, err := goose.NewProvider(goose.DialectSQLite3, db, mustSub(t), goose.WithDisableGlobalRegistry(true))
		if err == nil {
			_, err = p.UpTo(ctx, schema)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	open := func(what string, want int64) {
		t.Helper()
		s, err := Open(ctx, Options{Path: path})
		if err != nil {
			t.Fatalf("%s: %v", what, err)
		}
		s.Close()
		if is, err := schemaOf(ctx, kept); err != nil || is != want {
			t.Errorf("%s: the copy has schema %d, want %d, %v", what, is, want, err)
		}
		if left := glob(t, filepath.Join(filepath.Dir(path), ".backup-*")); len(left) > 0 {
			t.Errorf("%s: left behind: %q", what, left)
		}
		if err := os.Remove(path); err != nil {
			t.Fatal(err)
		}
	}
	upTo(2)
	if err := os.WriteFile(kept, []byte("half of a copy"), 0o600); err != nil {
		t.Fatal(err)
	}
	open("after half a copy", 2)
	upTo(4)
	open("cut between two migrations", 2)
	upTo(1)
	open("after somebody went back", 1)
}

// What is put is there for whoever asks next, and each of several that are
// journalled together has its own answer.
func TestJournalAll(t *testing.T) {
	each(t, func(t *testing.T, open opener) {
		s := open(t, nil)
		refs := []int64{addUser(t, s, "free"), addUser(t, s, "taken"), addUser(t, s, "elsewhere"), addUser(t, s, "free too")}
		other, job := addJob(t, s, refs...), addJob(t, s, refs...)
		leg := func(job int64, i int, system string) *Journalled {
			return &Journalled{UserRef: refs[i], Job: job, Seq: int64(i + 1), Kind: PIN, RequestID: fmt.Sprint("r", job, i), System: system}
		}
		write(t, s, func(tx *Tx) error {
			before := leg(other, 2, "old")
			return errors.Join(tx.Journal(leg(other, 1, "vm")), tx.Journal(before), tx.Quarantine(before, tx.Now().Add(-time.Second)))
		})
		write(t, s, func(tx *Tx) error {
			if err := tx.CommitSecret(refs[0], PIN, NewSecret{Hash: "h", Job: job}); err != nil {
				return err
			}
			if c, err := tx.Credential(refs[0], PIN); err != nil || c.Hash != "h" {
				t.Errorf("what was put is not there: %+v, %v", c, err)
			}
			errs, err := tx.JournalAll([]*Journalled{leg(job, 0, "vm"), leg(job, 1, "vm"), leg(job, 2, "vm"), leg(job, 3, "vm")})
			if err != nil {
				return err
			}
			for i, err := range errs {
				claimed := new(ClaimedError)
				if taken := errors.As(err, &claimed) && claimed.Job == other; taken != (i == 1) || err != nil && !taken {
					t.Errorf("%d: %v", i, err)
				}
			}
			return nil
		})
		write(t, s, func(tx *Tx) error {
			for i, want := range []int64{job, other, job, job} {
				if in, err := tx.InFlight(refs[i]); in != want || err != nil {
					t.Errorf("user %d is in flight of job %d, not %d: %v", i, in, want, err)
				}
			}
			if id, err := tx.LastSent(refs[2], "old"); id != fmt.Sprint("r", other, 2) || err != nil {
				t.Errorf("what was sent elsewhere is forgotten: %q, %v", id, err)
			}
			return nil
		})
		// A statement that fails when it is sent is the transaction's failure.
		err := s.Write(context.Background(), func(tx *Tx) error { return tx.CommitSecret(1<<40, PIN, NewSecret{Hash: "h", Job: job}) })
		if !IsRowFault(err) || !strings.Contains(err.Error(), fmt.Sprint("committing the secret of user ", int64(1)<<40)) {
			t.Errorf("a secret of nobody: %v", err)
		}
	})
}
