package store

import (
	"context"
	"database/sql"
	"errors"
	"path/filepath"
	"testing"
	"time"

	"github.com/pressly/goose/v3"

	"github.com/dirpin/dirpin/internal/lab"
	"github.com/dirpin/dirpin/internal/outcome"
)

// From one of several systems to the next the user stays in flight, what was
// sent to the first is remembered by system, and its lost answer keeps other
// items away, not this one.
func TestFromOneSystemToTheNext(t *testing.T) {
	each(t, func(t *testing.T, open opener) {
		c := &clock{time.Date(2026, 11, 24, 2, 0, 0, 0, time.UTC)}
		s := open(t, c)
		ref := addUser(t, s, "jdoe")
		first, second := addJob(t, s, ref), addJob(t, s, ref)
		subject := func() (b bool) {
			write(t, s, func(tx *Tx) error {
				return tx.Subjects([]int64{ref}, func(s *Subject) { b = s.Before })
			})
			return b
		}
		at := func(job int64, system string) *Journalled {
			return &Journalled{UserRef: ref, Job: job, Seq: 1, Kind: PIN, RequestID: system + time.Duration(job).String(), System: system, Body: []byte("sealed"), Before: subject()}
		}
		last := func(system, want string) {
			t.Helper()
			write(t, s, func(tx *Tx) error {
				if id, err := tx.LastSent(ref, system); err != nil || id != want {
					t.Errorf("the last request to %s is %q, want %q, %v", system, id, want, err)
				}
				return nil
			})
		}
		refused := func(what string, j *Journalled) {
			t.Helper()
			var e *ClaimedError
			if err := s.Write(context.Background(), func(tx *Tx) error { return tx.Journal(j) }); !errors.As(err, &e) {
				t.Errorf("%s: got %v", what, err)
			}
		}
		hq := at(first, "hq")
		write(t, s, func(tx *Tx) error { return tx.Journal(hq) })
		write(t, s, func(tx *Tx) error { return tx.Hold(hq, tx.Now().Add(20*time.Second).UnixMilli()) })
		refused("another job between the two", at(second, "hq"))
		write(t, s, func(tx *Tx) error {
			todo, err := tx.ToDo(first, 0, 1, 10)
			if err == nil && (todo[0].Sent == nil || !todo[0].Sent.Held() || todo[0].Sent.Body != nil) {
				t.Errorf("between the two: %+v", todo[0].Sent)
			}
			return err
		})
		branch := at(first, "branch")
		write(t, s, func(tx *Tx) error { return tx.Journal(branch) })
		last("hq", hq.RequestID)
		last("branch", branch.RequestID)
		// Accepted: out of the journal; the answer that hq owes keeps others away.
		write(t, s, func(tx *Tx) error {
			r := NewResults(first)
			r.Settled(ref)
			return tx.WriteResults(r)
		})
		refused("another job while a request may arrive", at(second, "branch"))
		none := at(second, "")
		write(t, s, func(tx *Tx) error {
			var e *ClaimedError
			if err := tx.FreeFor(none); !errors.As(err, &e) {
				t.Errorf("a change without a request: %v", err)
			}
			if job, err := tx.InFlight(ref); job != first || err != nil {
				t.Errorf("in flight: %d, %v", job, err)
			}
			return nil
		})
		c.now = c.now.Add(20 * time.Second)
		other := at(second, "hq")
		write(t, s, func(tx *Tx) error { return tx.Journal(other) })
		last("hq", other.RequestID)
		// Another system's request stands aside for it, and can be asked for.
		write(t, s, func(tx *Tx) error { return tx.Quarantine(other, tx.Now().Add(time.Second)) })
		c.now = c.now.Add(2 * time.Second)
		third := at(addJob(t, s, ref), "branch")
		write(t, s, func(tx *Tx) error { return tx.Journal(third) })
		last("hq", other.RequestID)
		write(t, s, func(tx *Tx) error { return tx.HoldUnsent(third) })
		last("branch", "")
		write(t, s, func(tx *Tx) error { return tx.ForgetSettled(time.Hour) })
	})
}

// What is forgotten, and what is not: a request of which the answer was lost,
// or that some of several systems have accepted, while it can be retried.
func TestWhatWasSentIsForgotten(t *testing.T) {
	each(t, func(t *testing.T, open opener) {
		s := open(t, nil)
		for code, kept := range map[outcome.Code]bool{outcome.OK: false, outcome.VoicemailRejected: false, outcome.VoicemailPartial: true, outcome.VoicemailTimeout: true} {
			ref := addUser(t, s, string(code))
			job := addJob(t, s, ref)
			j := &Journalled{UserRef: ref, Job: job, Seq: 1, Kind: PIN, RequestID: string(code), System: "hq"}
			write(t, s, func(tx *Tx) error {
				if _, err := tx.exec("UPDATE jobs SET job_key = ? WHERE id = ?", []byte("key"), job); err != nil {
					return err
				}
				r := NewResults(job)
				r.Leg(1, &Leg{Kind: PIN, Result: outcome.Failed, Code: code, Parts: []Part{{System: "hq"}}})
				r.Settled(ref)
				return errors.Join(tx.Journal(j), tx.Hold(j, 0), tx.WriteResults(r), tx.ForgetSettled(time.Hour))
			})
			write(t, s, func(tx *Tx) error {
				if id, err := tx.LastSent(ref, "hq"); (id != "") != kept || err != nil {
					t.Errorf("%s: kept %q, %v", code, id, err)
				}
				return tx.ForgetSent(ref, job, 1)
			})
		}
	})
}

// A database of schema 10 keeps what is in flight, what rests, and what a retry
// may ask for.
func TestUpgradeToSeveralSystems(t *testing.T) {
	ctx := context.Background()
	for name, d := range map[string]dialect{"sqlite": sqlite, "postgres": postgres} {
		t.Run(name, func(t *testing.T) {
			o := Options{Path: filepath.Join(t.TempDir(), "dirpin.db")}
			driver, dsn := "sqlite3", o.Path
			if d == postgres {
				o = Options{URL: lab.SharedPostgres(t).Schema(t)}
				driver, dsn = "pgx", o.URL
			}
			db, err := sql.Open(driver, dsn)
			if err != nil {
				t.Fatal(err)
			}
			p, err := goose.NewProvider(d.goose(), db, d.migrations(), goose.WithDisableGlobalRegistry(true))
			if err == nil {
				_, err = p.UpTo(ctx, 10)
			}
			if err != nil {
				t.Fatal(err)
			}
			for _, q := range []string{
				`INSERT INTO users (id, user_id, user_id_f, first_name, first_name_f, middle_name, middle_name_f, last_name, last_name_f, manager, manager_f,
					department, department_f, departments, mail, mail_f, telephone, telephone_f, language, status, entry_key, changed_at)
					SELECT n, 'u' || n, 'u' || n, '', '', '', '', '', '', '', '', '', '', 0, '', '', '', '', '', 'ldap-active', 'key' || n, 0 FROM (SELECT 5 AS n UNION SELECT 6 UNION SELECT 7) x`,
				`INSERT INTO jobs (id, name, fingerprint, definition, submitter, state, stage, created, job_key) VALUES (3, 'old', 'x', '{}', 'root', 'running', 'open', 0, 'k')`,
				`INSERT INTO items (job, seq, user_ref, user_id, state) VALUES (3, 1, 5, 'u5', 'pending'), (3, 2, 6, 'u6', 'final'), (3, 3, 7, 'u7', 'pending')`,
				`INSERT INTO legs (job, seq, kind, state, code) VALUES (3, 1, 'pin', 'pending', ''), (3, 2, 'pin', 'final', 'voicemail-timeout'), (3, 3, 'pin', 'pending', '')`,
				`INSERT INTO journal (user_ref, job, seq, kind, request_id, system, entry_key, attempts, lost, first_at, until, note) VALUES
					(5, 3, 1, 'pin', 'cut', 'vm', 'key5', 1, 0, 777, 0, 'note'), (6, 3, 2, 'pin', 'lost', 'vm', 'key6', 2, 1, 777, 4000000000000, '')`,
			} {
				if _, err := db.Exec(q); err != nil {
					t.Fatalf("%s: %v", q, err)
				}
			}
			db.Close()
			s, err := Open(ctx, o)
			if err != nil {
				t.Fatal(err)
			}
			defer s.Close()
			write(t, s, func(tx *Tx) error {
				todo, err := tx.ToDo(3, 0, 3, 10)
				if err != nil {
					return err
				}
				if len(todo) != 2 || todo[0].Sent == nil || todo[0].Sent.RequestID != "cut" || todo[0].Sent.Note != "note" || todo[0].Sent.Held() || todo[1].Sent != nil {
					t.Errorf("left to do: %+v", todo)
				}
				if id, err := tx.LastSent(6, "vm"); id != "lost" || err != nil {
					t.Errorf("the last request is %q, %v", id, err)
				}
				var e *ClaimedError
				if err := tx.Journal(&Journalled{UserRef: 6, Job: 3, Seq: 9, Kind: PIN, RequestID: "new", System: "other", Before: true}); !errors.As(err, &e) || e.Until.IsZero() {
					t.Errorf("while it may arrive: %v", err)
				}
				pending, pushing, err := tx.CountOpen(3)
				if pending != 1 || pushing != 1 {
					t.Errorf("%d pending, %d pushing", pending, pushing)
				}
				return err
			})
		})
	}
}
