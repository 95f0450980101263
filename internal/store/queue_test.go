package store

import (
	"testing"
	"time"

	"github.com/dirpin/dirpin/internal/user"
)

func add(t *testing.T, s *Store, jobs ...*Job) {
	t.Helper()
	for _, j := range jobs {
		j.Fingerprint, j.Definition = []byte(j.Name), []byte("{}")
		if j.Stage == "" {
			j.Stage = StageOpening
		}
		if err := s.Write(t.Context(), func(tx *Tx) error { return tx.AddJob(j, 0) }); err != nil {
			t.Fatal(err)
		}
	}
}

// Whoever looks for work finds what waits and runs, and what has ended without a
// report, in the order of submission.
func TestOpenJobs(t *testing.T) {
	each(t, func(t *testing.T, open opener) {
		s := open(t, nil)
		add(t, s, &Job{Name: "done", State: Done, Stage: StageClosed}, &Job{Name: "held", State: Held}, &Job{Name: "waits", State: Queued},
			&Job{Name: "scheduled", State: Scheduled, Due: time.Now()}, &Job{Name: "no report", State: Cancelled}, &Job{Name: "runs", State: Running})
		var names []string
		err := s.Read(t.Context(), func(tx *Tx) error {
			return tx.Open(func(j *Job) error { names = append(names, j.Name); return nil })
		})
		if err != nil || len(names) != 3 || names[0] != "waits" || names[1] != "no report" || names[2] != "runs" {
			t.Errorf("%q, %v", names, err)
		}
	})
}

func TestFigures(t *testing.T) {
	each(t, func(t *testing.T, open opener) {
		c := &clock{time.Now().Truncate(time.Millisecond)}
		s := open(t, c)
		add(t, s, &Job{Name: "a", State: Queued}, &Job{Name: "b", State: Running}, &Job{Name: "c", State: Incomplete, Stage: StageClosed})
		err := s.Write(t.Context(), func(tx *Tx) error {
			if err := tx.SealJob(&Job{ID: 3, Key: []byte("k")}); err != nil {
				return err
			}
			if err := tx.AddCounts(2, Counts{Selected: 10, Updated: 3, Failed: 1}, 0); err != nil {
				return err
			}
			if err := tx.AddCounts(3, Counts{Selected: 4, Failed: 4, Uncertain: 2}, 0); err != nil {
				return err
			}
			if err := tx.SetLatch(Latch{System: "vm", Fingerprint: []byte{1}}); err != nil {
				return err
			}
			return tx.AddUser(&user.User{UserID: "anna", LastName: "A", Status: user.Local})
		})
		if err != nil {
			t.Fatal(err)
		}
		c.now = c.now.Add(time.Minute)
		var f Figures
		var users []StatusCount
		err = s.Read(t.Context(), func(tx *Tx) (err error) {
			if f, err = tx.Figures(); err == nil {
				users, err = tx.CountByStatus()
			}
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
		if f.Jobs[Queued] != 1 || f.Jobs[Held] != 0 || len(f.Jobs) != 11 || f.QueueAge != time.Minute || f.Uncertain != 2 || f.Left != 6 || !f.Latched["vm"] {
			t.Errorf("%+v", f)
		}
		if len(users) != 1 || users[0] != (StatusCount{"", user.Local, 1}) {
			t.Errorf("%+v", users)
		}
	})
}

// Since stays while it goes as it went; what is configured no more is forgotten.
func TestSyncStates(t *testing.T) {
	each(t, func(t *testing.T, open opener) {
		c := &clock{time.UnixMilli(1_000_000).UTC()}
		s := open(t, c)
		for _, failure := range []string{"", "", "no route", "refused", "refused"} {
			c.now = c.now.Add(time.Minute)
			if err := s.Write(t.Context(), func(tx *Tx) error { return tx.SetSyncState("corp", failure) }); err != nil {
				t.Fatal(err)
			}
		}
		states := func() (all []SyncState) {
			t.Helper()
			if err := s.Read(t.Context(), func(tx *Tx) (err error) { all, err = tx.SyncStates(); return err }); err != nil {
				t.Fatal(err)
			}
			return all
		}
		want := SyncState{"corp", time.UnixMilli(1_000_000).Add(3 * time.Minute).UTC(), 3, "refused"}
		if got := states(); len(got) != 1 || got[0] != want {
			t.Errorf("%+v", got)
		}
		for _, names := range [][]string{{"corp", "other"}, {}} {
			if err := s.Write(t.Context(), func(tx *Tx) error { return tx.ForgetSyncStates(names) }); err != nil {
				t.Fatal(err)
			}
			if got := states(); len(got) != len(names)/2 {
				t.Errorf("of %q: %+v", names, got)
			}
		}
	})
}
