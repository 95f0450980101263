package store

import (
	"bytes"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/dirpin/dirpin/internal/lab"
	"github.com/dirpin/dirpin/internal/user"
)

// A backup is whole and consistent while others write, and no sealed value is in
// it, not in a free page either.
func TestBackupLeavesValuesOut(t *testing.T) {
	ctx := t.Context()
	dir := t.TempDir()
	s := openWith(t, nil, Options{Path: filepath.Join(dir, "db")})
	canary := []byte("sealed-canary-8271")
	add(t, s, &Job{Name: "a", State: Queued}, &Job{Name: "b", State: Running})
	err := s.Write(ctx, func(tx *Tx) error {
		if err := tx.AddKeyChecks(map[string][]byte{"k": {1}}); err != nil {
			return err
		}
		for id := int64(1); id <= 2; id++ {
			if err := errors.Join(tx.SealJob(&Job{ID: id, Key: canary, PIN: canary, Password: canary}), tx.AddList(id, "list", bytes.Repeat(canary, 1000))); err != nil {
				return err
			}
			for seq := int64(1); seq <= 200; seq++ {
				if err := tx.AddItem(id, &Item{Seq: seq, UserRef: id*1000 + seq, UserID: "u", State: Pending, Legs: []Leg{{Kind: PIN, State: Pending, Value: canary, RequestID: "r", Body: canary, Lost: 1}}}); err != nil {
					return err
				}
			}
			if err := tx.Journal(&Journalled{UserRef: id*1000 + 1, Job: id, Seq: 1, Kind: PIN, RequestID: "r", Body: canary}); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	stop, cancel := context.WithCancel(ctx)
	var others sync.WaitGroup
	others.Go(func() { // each transaction adds two users
		for n := 0; stop.Err() == nil; n++ {
			s.Write(ctx, func(tx *Tx) error {
				return errors.Join(tx.AddUser(&user.User{UserID: fmt.Sprint("a", n), LastName: "x", Status: user.Local}), tx.AddUser(&user.User{UserID: fmt.Sprint("b", n), LastName: "x", Status: user.Local}))
			})
		}
	})
	var copied bytes.Buffer
	err = s.BackupTo(ctx, &copied)
	cancel()
	others.Wait()
	if err != nil {
		t.Fatal(err)
	}
	if bytes.Contains(copied.Bytes(), canary) {
		t.Error("a sealed value is in the backup")
	}
	path := filepath.Join(dir, "copy")
	if err := os.WriteFile(path, copied.Bytes(), 0o600); err != nil {
		t.Fatal(err)
	}
	if keys, err := Inspect(ctx, path); err != nil || len(keys) != 1 {
		t.Errorf("%v, %v", keys, err)
	}
	b := openWith(t, nil, Options{Path: path})
	err = b.Read(ctx, func(tx *Tx) error {
		n, err := tx.CountMatching(user.All())
		if n%2 != 0 {
			t.Errorf("%d users: half a transaction is in the backup", n)
		}
		j, err2 := tx.Job(2)
		if err2 == nil && (j.Key != nil || j.Name != "b") {
			t.Errorf("%+v", j)
		}
		return errors.Join(err, err2)
	})
	if err != nil {
		t.Error(err)
	}
	if left, _ := filepath.Glob(filepath.Join(dir, ".backup-*")); len(left) > 0 {
		t.Errorf("%q is left", left)
	}
	if err := openWith(t, nil, Options{URL: lab.SharedPostgres(t).Schema(t)}).BackupTo(ctx, &copied); !errors.Is(err, ErrNoBackup) {
		t.Errorf("of a server: %v", err)
	}
}

// What is no database of ours, or a damaged one, is refused before anything is
// replaced.
func TestInspectRefuses(t *testing.T) {
	dir := t.TempDir()
	good := filepath.Join(dir, "good")
	s := openWith(t, nil, Options{Path: good})
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	data, err := os.ReadFile(good)
	if err != nil {
		t.Fatal(err)
	}
	damaged := bytes.Clone(data)
	for i := len(damaged) / 4; i < len(damaged)-4096; i += 4096 { // in every page
		copy(damaged[i:], bytes.Repeat([]byte{0xa5}, 200))
	}
	for name, content := range map[string][]byte{"empty": {}, "text": []byte("user_id,last_name\nanna,A\n"), "cut": data[:len(data)/2], "damaged": damaged} {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, content, 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := Inspect(t.Context(), path); err == nil {
			t.Errorf("%s is taken", name)
		}
	}
	other := filepath.Join(dir, "other")
	db, err := sql.Open("sqlite3", other)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := db.Exec("CREATE TABLE x (y)"); err != nil {
		t.Fatal(err)
	}
	db.Close()
	if _, err := Inspect(t.Context(), other); err == nil {
		t.Error("another program's database is taken")
	}
	if _, err := Inspect(t.Context(), good); err != nil {
		t.Error(err)
	}
}

// The former database is kept whole, and no journal of it is left for the next
// one, though its last process was killed.
func TestReplace(t *testing.T) {
	dir := t.TempDir()
	path, with, aside := filepath.Join(dir, "db"), filepath.Join(dir, "with"), filepath.Join(dir, "aside")
	for i, p := range []string{path, with} {
		s := openWith(t, nil, Options{Path: p})
		if err := s.Write(t.Context(), func(tx *Tx) error { return tx.setMeta("which", fmt.Sprint(i)) }); err != nil {
			t.Fatal(err)
		}
		if i == 0 { // as a kill leaves it: with its journal
			for _, end := range []string{"", "-wal"} {
				data, err := os.ReadFile(p + end)
				if err != nil {
					t.Fatal(err)
				}
				if err := os.WriteFile(filepath.Join(dir, "killed")+end, data, 0o600); err != nil {
					t.Fatal(err)
				}
			}
		}
		s.Close()
	}
	for _, end := range []string{"", "-wal"} {
		if err := os.Rename(filepath.Join(dir, "killed")+end, path+end); err != nil {
			t.Fatal(err)
		}
	}
	kept, err := Replace(t.Context(), path, with, aside)
	if err != nil || kept != aside {
		t.Fatal(kept, err)
	}
	for p, want := range map[string]string{path: "1", aside: "0"} {
		if _, err := os.Stat(p + "-wal"); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("%s has a journal: %v", p, err)
		}
		s := openWith(t, nil, Options{Path: p})
		var got string
		if err := s.Read(t.Context(), func(tx *Tx) error { return tx.row("SELECT value FROM meta WHERE name = 'which'").Scan(&got) }); err != nil || got != want {
			t.Errorf("%s holds %q: %v", p, got, err)
		}
		s.Close()
	}
}

// Old jobs go with all that is theirs, and the file becomes smaller by it.
func TestOldJobsAndVacuum(t *testing.T) {
	each(t, func(t *testing.T, open opener) {
		c := &clock{time.Now()}
		s := open(t, c)
		ctx := t.Context()
		add(t, s, &Job{Name: "old", State: Running}, &Job{Name: "retried", State: Done}, &Job{Name: "retry", State: Queued, RetryOf: 2}, &Job{Name: "new", State: Running})
		err := s.Write(ctx, func(tx *Tx) error {
			for seq := int64(1); seq <= 5000; seq++ {
				if err := tx.AddItem(1, &Item{Seq: seq, UserRef: seq, UserID: fmt.Sprint("user", seq), State: Final, Detail: string(bytes.Repeat([]byte("x"), 2000)), Legs: []Leg{{Kind: PIN, State: Final}}}); err != nil {
					return err
				}
			}
			for _, id := range []int64{1, 2} {
				if _, err := tx.MoveJob(id, []State{Running, Done}, Done, ""); err != nil {
					return err
				}
				if err := errors.Join(tx.SetStage(id, StageClosed), tx.LogJob(id, "x")); err != nil {
					return err
				}
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
		size := func() int64 {
			if s.path == "" {
				return 0
			}
			var pages int64
			if err := s.write.conn.QueryRowContext(ctx, "PRAGMA page_count").Scan(&pages); err != nil {
				t.Fatal(err)
			}
			return pages * 4096
		}
		before := size()
		c.now = c.now.Add(time.Hour)
		var ids []int64
		chunks := 0
		err = s.Write(ctx, func(tx *Tx) (err error) {
			if ids, err = tx.OldJobs(tx.Now().Add(-2*time.Hour), 10); err != nil || len(ids) != 0 {
				t.Errorf("%v are two hours old, %v", ids, err)
			}
			ids, err = tx.OldJobs(tx.Now().Add(-time.Minute), 10)
			return err
		})
		if err != nil || len(ids) != 1 || ids[0] != 1 { // 2 is tried again
			t.Fatalf("%v, %v", ids, err)
		}
		for more := true; more; chunks++ {
			if err := s.Write(ctx, func(tx *Tx) (err error) { more, err = tx.RemoveJob(1, 1000); return err }); err != nil {
				t.Fatal(err)
			}
		}
		if chunks < 5 {
			t.Errorf("it went in %d transactions", chunks)
		}
		if err := s.Read(ctx, func(tx *Tx) error { _, err := tx.Job(1); return err }); !errors.Is(err, ErrNotFound) {
			t.Error(err)
		}
		freed, err := s.Vacuum(ctx)
		if err != nil || before > 0 && (size() > before/2 || freed < before/4) {
			t.Errorf("%d bytes before, %d after, %d freed, %v", before, size(), freed, err)
		}
		// Its number is not given again.
		j := &Job{Name: "next", State: Queued}
		if add(t, s, j); j.ID != 5 {
			t.Errorf("the next job is %d", j.ID)
		}
	})
}
