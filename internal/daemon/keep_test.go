package daemon

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/dirpin/dirpin/config"
	"github.com/dirpin/dirpin/internal/clock"
	"github.com/dirpin/dirpin/internal/store"
)

// What is older than it is kept goes, and nothing that is not ours.
func TestKeeper(t *testing.T) {
	dir := t.TempDir()
	now := time.Now()
	s, err := store.Open(t.Context(), store.Options{Path: filepath.Join(dir, "db"), Now: func() time.Time { return now }})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	reports, accepted, rejected := filepath.Join(dir, "reports"), filepath.Join(dir, "jobs/accepted"), filepath.Join(dir, "jobs/rejected")
	write := func(path string, age time.Duration) {
		t.Helper()
		if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o700), os.WriteFile(path, []byte("{}"), 0o600), os.Chtimes(path, now, now.Add(-age))); err != nil {
			t.Fatal(err)
		}
	}
	const day = 24 * time.Hour
	stamped := func(age time.Duration, rest string) string { return now.Add(-age).UTC().Format(fileTime) + rest }
	write(reports+"/1-old/report.json", 40*day)
	write(reports+"/1-old/results.csv", 40*day)
	write(reports+"/2-new/report.json", 20*day)
	write(reports+"/2024-archive/my.txt", 400*day)
	write(reports+"/other/report.json", 400*day)
	write(accepted+"/"+stamped(10*day, "-1-a.yaml"), 0)
	write(accepted+"/"+stamped(10*day, "-1-a.yaml.status.txt"), 0)
	write(accepted+"/"+stamped(2*day, "-2-b.yaml"), 0)
	write(accepted+"/notes.txt", 400*day)
	write(rejected+"/"+stamped(2*day, "-c.yaml"), 0)
	for _, name := range []string{"a", "b"} {
		j := &store.Job{Name: name, State: store.Done, Stage: store.StageClosed, Fingerprint: []byte(name), Definition: []byte("{}")}
		err := s.Write(t.Context(), func(tx *store.Tx) error {
			if err := tx.AddJob(j, 0); err != nil {
				return err
			}
			if _, err := tx.MoveJob(j.ID, []store.State{store.Done}, store.Done, ""); err != nil {
				return err
			}
			return tx.SetReport(j.ID, reports+"/1-old")
		})
		if err != nil {
			t.Fatal(err)
		}
		if name == "a" {
			now = now.Add(3 * day)
		}
	}
	now = now.Add(-2 * day)
	k := keeper{store: s, keep: config.Keep{Jobs: 12 * time.Hour, Reports: 30 * day, Accepted: 7 * day, Rejected: day}, now: now,
		folders: []config.Watch{{Dir: filepath.Join(dir, "jobs"), Reports: reports}, {Dir: filepath.Join(dir, "none"), Reports: filepath.Join(dir, "none")}}}
	d := &daemon{log: newTestLog(t)}
	if err := k.run(t.Context(), d); err != nil {
		t.Fatal(err)
	}
	names := func(dir string) (names []string) {
		entries, err := os.ReadDir(dir)
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range entries {
			names = append(names, e.Name())
		}
		return names
	}
	if got := names(reports); !slices.Equal(got, []string{"2-new", "2024-archive", "other"}) {
		t.Errorf("reports: %q", got)
	}
	if got := names(accepted); len(got) != 2 {
		t.Errorf("accepted: %q", got)
	}
	if got := names(rejected); len(got) != 0 {
		t.Errorf("rejected: %q", got)
	}
	if k.jobs != 1 || k.reports != 1 || k.files != 3 {
		t.Errorf("%d jobs, %d reports, %d files", k.jobs, k.reports, k.files)
	}
	err = s.Read(t.Context(), func(tx *store.Tx) error {
		if _, err := tx.Job(1); !errors.Is(err, store.ErrNotFound) {
			t.Errorf("the old job: %v", err)
		}
		j, err := tx.Job(2)
		if err == nil && j.Report != "" {
			t.Errorf("its report is said to be in %s", j.Report)
		}
		return err
	})
	if err != nil {
		t.Error(err)
	}
	// Nothing is kept for ever by 0.
	k = keeper{store: s, now: now.Add(1000 * day), folders: k.folders}
	if err := k.run(t.Context(), d); err != nil || k.jobs+k.reports+k.files != 0 {
		t.Errorf("%d jobs, %d reports, %d files, %v", k.jobs, k.reports, k.files, err)
	}
}

// A clock that was set ahead does not have anything removed before it has run for
// a minute as it should, and one that is set right again meanwhile never does.
func TestNothingIsRemovedByAClockThatJumped(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		begun := time.Now()
		var off atomic.Int64 // of the clock
		read := func() clock.Reading {
			return clock.Reading{Wall: time.Now().Add(time.Duration(off.Load())), Elapsed: time.Since(begun)}
		}
		ctx, cancel := context.WithCancel(t.Context())
		var at []time.Duration
		done := make(chan struct{})
		go func() {
			defer close(done)
			hourly(ctx, read, func() {
				if by := off.Load(); by != 0 {
					t.Errorf("something is removed by a clock that is %s ahead", time.Duration(by))
				}
				at = append(at, time.Since(begun))
			})
		}()
		sleep := func(d time.Duration) {
			time.Sleep(d)
			synctest.Wait()
		}
		sleep(2 * time.Minute) // the first time
		off.Store(int64(1000 * 24 * time.Hour))
		sleep(time.Hour - 30*time.Second) // the second, which is left out
		off.Store(0)
		sleep(time.Hour)
		cancel()
		<-done
		if want := []time.Duration{time.Minute, time.Hour + 3*time.Minute}; !slices.Equal(at, want) {
			t.Errorf("cleared up at %v, want %v", at, want)
		}
	})
}
