package main

import (
	"database/sql"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/dirpin/dirpin/internal/store"
)

// round does one of the things that an administrator, a clock or bad luck may
// do.
func (c *crash) round() {
	if c.rng.IntN(4) == 0 {
		c.newFaults()
	}
	n := c.rng.IntN(100)
	if n < 25 && len(c.all(unclosed)) > 4 {
		n = 30
	}
	switch {
	case n < 25:
		c.run(c.fate(), "run", c.newJob()+".yaml", "--yes")
	case n < 50:
		c.goOn(c.fate())
	case n < 65:
		c.retry(c.fate())
	case n < 72:
		c.cancel()
	case n < 88:
		c.together()
	case n < 92:
		c.run(c.fate(), "users", "reset", pick(c, people), "--pin", "--generate", "6")
	case n < 95:
		c.locked()
	case n < 98:
		c.takeBackup()
	default:
		c.restore()
	}
	c.mend()
	if c.rng.IntN(15) == 0 {
		c.checker("--open")
	}
}

// newFaults draws how the voicemail systems misbehave from now on.
func (c *crash) newFaults() {
	if c.rng.IntN(4) == 0 {
		c.faults(nil)
		return
	}
	mix := map[string]any{"idempotent": c.rng.IntN(3) > 0}
	for _, name := range []string{"lost-before", "lost-after", "late", "500-before", "500-after", "408-after", "foreign-after", "cut-after",
		"signal-before", "signal-after", "hang-before", "hang-after", "busy", "early", "reject", "unreachable", "slow"} {
		if c.rng.IntN(4) == 0 {
			mix[name] = 0.01 + 0.05*c.rng.Float64()
		}
	}
	if c.rng.IntN(4) == 0 {
		mix["late"] = 0.3 // which nothing but the rest of a user keeps off the next request
	}
	if c.rng.IntN(6) == 0 {
		mix[pick(c, []string{"denied", "html-before"})] = 0.005
	}
	c.faults(mix)
}

// mend does what the program asks for when it stopped: a latch is lifted, a
// restored database released.
func (c *crash) mend() {
	if err := os.Remove(filepath.Join(c.dir, "state", "key.new")); err != nil && !os.IsNotExist(err) { // of a rotation that was killed
		c.Error(err)
	}
	var latches []store.Latch
	c.read(func(tx *store.Tx) (err error) { latches, err = tx.Latches(); return err })
	if len(latches) == 0 || c.rng.IntN(2) == 0 {
		return
	}
	for try := 1; ; try++ {
		code, out := c.run(fate{wait: true}, "doctor")
		if code == 0 && strings.Contains(out, "it is used again") {
			return
		}
		if try == 5 {
			c.Errorf("doctor: exit %d\n%s", code, out)
			return
		}
	}
}

func (c *crash) goOn(f fate) {
	if left := c.unfinished(); len(left) > 0 {
		c.goOnWith(left[0], f)
	}
}

// unfinished returns the jobs that can go on, those first that have users in
// flight: the others wait for these.
func (c *crash) unfinished() []*store.Job {
	flying := map[int64]bool{}
	c.query("SELECT DISTINCT job FROM journal WHERE until = 0", func(rows *sql.Rows) error {
		var job int64
		defer func() { flying[job] = true }()
		return rows.Scan(&job)
	})
	left := c.all(unclosed)
	c.rng.Shuffle(len(left), func(i, k int) { left[i], left[k] = left[k], left[i] })
	slices.SortStableFunc(left, func(a, b *store.Job) int {
		switch {
		case flying[a.ID] == flying[b.ID]:
			return 0
		case flying[a.ID]:
			return -1
		}
		return 1
	})
	return left
}

// query reads what the program has no words for.
func (c *crash) query(text string, each func(*sql.Rows) error) {
	c.Helper()
	db := c.database()
	defer db.Close()
	rows, err := db.Query(text)
	if err != nil {
		c.Fatal(err)
	}
	defer rows.Close()
	for rows.Next() {
		if err := each(rows); err != nil {
			c.Fatal(err)
		}
	}
	if err := rows.Err(); err != nil {
		c.Fatal(err)
	}
}

func (c *crash) database() *sql.DB {
	db, err := sql.Open("sqlite3", "file:"+c.dir+"/state/dirpin.db?_busy_timeout=10000")
	if err != nil {
		c.Fatal(err)
	}
	return db
}

func (c *crash) goOnWith(j *store.Job, f fate) {
	switch {
	case j.State == store.Held && j.Reason == store.ReasonRestored:
		c.run(f, "jobs", "release", "--restored")
	case j.State == store.Held:
		c.run(f, "jobs", "release", fmt.Sprint(j.ID))
	case j.File == "" && j.RetryOf == 0: // of users reset
		c.run(f, "jobs", "cancel", fmt.Sprint(j.ID))
	default:
		c.run(f, goOnArgs(j)...)
	}
}

func (c *crash) retry(f fate) {
	left := c.all(func(j *store.Job) bool {
		return !unclosed(j) && j.Key != nil && j.Counts.Failed+j.Counts.NotRun > 0
	})
	if j := pick(c, left[:min(4, len(left))]); j != nil {
		c.run(f, "jobs", "retry", fmt.Sprint(j.ID), "--yes")
	}
}

func (c *crash) cancel() {
	if j := pick(c, c.all(unclosed)); j != nil {
		c.run(c.fate(), "jobs", "cancel", fmt.Sprint(j.ID))
	}
}

// together runs several processes at once, on users that overlap.
func (c *crash) together() {
	first, second := c.newJob(), c.newJob()
	todo := [][]string{{"run", first + ".yaml", "--yes"}, {"run", second + ".yaml", "--yes"}}
	more := [][]string{{"run", first + ".yaml", "--yes"}, {"keys", "rotate"}, {"jobs", "list"}, {"doctor"}, {"find"}}
	todo = append(todo, pick(c, more))
	for _, j := range c.all(unclosed) {
		if c.rng.IntN(3) == 0 {
			todo = append(todo, pick(c, [][]string{goOnArgs(j), {"jobs", "cancel", fmt.Sprint(j.ID)}, {"jobs", "show", fmt.Sprint(j.ID)}}))
		}
	}
	fates := make([]fate, len(todo))
	for i := range fates {
		fates[i] = c.fate()
	}
	var all sync.WaitGroup
	for i, args := range todo[:min(4, len(todo))] {
		if args[0] == "run" && args[1] == "" {
			continue // of users reset
		}
		all.Go(func() { c.run(fates[i], args...) })
	}
	all.Go(func() { c.dirpin("000000", "verify", people[0], "--pin") })
	all.Wait()
}

// locked holds the write lock of the database while a job runs.
func (c *crash) locked() {
	s, err := store.Open(c.Context(), store.Options{Path: c.dir + "/state/dirpin.db"})
	if err != nil {
		c.Fatal(err)
	}
	defer s.Close()
	hold := time.Duration(500+c.rng.IntN(2500)) * time.Millisecond
	if c.length > time.Minute && c.rng.IntN(4) == 0 {
		hold = 14 * time.Second // no push may start on a beat as old as that
	}
	var all sync.WaitGroup
	name := c.newJob()
	f := c.fate()
	wait := time.Duration(c.rng.IntN(300)) * time.Millisecond
	all.Go(func() { c.run(f, "run", name+".yaml", "--yes") })
	time.Sleep(wait) // somewhere in its course
	err = s.Write(c.Context(), func(*store.Tx) error { time.Sleep(hold); return nil })
	if err != nil {
		c.Error(err)
	}
	all.Wait()
}

// backup is a copy of the database's files that nobody had open.
type backup struct {
	at  float64
	dir string
}

func (c *crash) takeBackup() {
	b := &backup{at: float64(time.Now().UnixMicro()) / 1e6, dir: filepath.Join(c.dir, "backup")}
	if err := os.RemoveAll(b.dir); err != nil {
		c.Fatal(err)
	}
	if err := os.Mkdir(b.dir, 0o700); err != nil {
		c.Fatal(err)
	}
	c.copyDatabase(filepath.Join(c.dir, "state"), b.dir)
	c.backup = b
}

func (c *crash) copyDatabase(from, to string) {
	for _, name := range []string{"dirpin.db", "dirpin.db-wal", "dirpin.db-shm"} {
		if err := os.Remove(filepath.Join(to, name)); err != nil && !os.IsNotExist(err) {
			c.Fatal(err)
		}
		in, err := os.Open(filepath.Join(from, name))
		if os.IsNotExist(err) {
			continue
		}
		if err != nil {
			c.Fatal(err)
		}
		out, err := os.OpenFile(filepath.Join(to, name), os.O_CREATE|os.O_WRONLY|os.O_EXCL, 0o600)
		if err == nil {
			_, err = io.Copy(out, in)
		}
		if err != nil {
			c.Fatal(err)
		}
		in.Close()
		out.Close()
	}
}

// restore puts the backup in place of the database: whatever runs then must
// notice, push nothing, and go on when it is told to.
func (c *crash) restore() {
	if c.backup == nil {
		return
	}
	before := len(c.all(func(*store.Job) bool { return true }))
	b := c.backup
	c.backup = nil
	name := c.newJob()
	c.run(fate{}, "run", name+".yaml", "--yes") // so that the backup is an old one
	c.copyDatabase(b.dir, filepath.Join(c.dir, "state"))
	c.event(map[string]any{"event": "restore", "backup": b.at})
	if c.rng.IntN(3) == 0 {
		c.cancel()
	}
	name = c.newJob()
	for range 2 {
		if code, out := c.run(fate{wait: true}, "run", name+".yaml", "--yes"); code != exitHeld || !strings.Contains(out, "jobs release --restored") {
			c.Errorf("a restored database: exit %d\n%s", code, out)
		}
	}
	if code, out := c.run(fate{}, "jobs", "release", "--restored"); code != exitHeld || !strings.Contains(out, "may still arrive") {
		c.Errorf("releasing at once: exit %d\n%s", code, out)
	}
	c.passTime()
	if code, out := c.run(fate{}, "jobs", "release", "--restored"); code != 0 {
		c.Errorf("releasing the restored database: exit %d\n%s", code, out)
	}
	c.Logf("restored: %d jobs before, %d after", before, len(c.all(func(*store.Job) bool { return true })))
}

// passTime ends what keeps users to themselves after a restore: nobody waits for
// those minutes here. What was sent before has long arrived.
func (c *crash) passTime() {
	db := c.database()
	defer db.Close()
	time.Sleep(2 * hookTimeout)
	for _, q := range []string{"UPDATE journal SET until = 1 WHERE until <> 0", "DELETE FROM meta WHERE name = 'restored_rest'"} {
		if _, err := db.Exec(q); err != nil {
			c.Fatal(err)
		}
	}
}

// settle brings every job to its end.
func (c *crash) settle() {
	c.faults(nil)
	tries := 20 + 5*len(c.all(unclosed))
	for try := 0; ; try++ {
		c.mendAll()
		left := c.unfinished()
		if len(left) == 0 || c.Failed() {
			break
		}
		if try > tries {
			c.Errorf("job %d does not end: %s %s %s", left[0].ID, left[0].State, left[0].Stage, left[0].Reason)
			break
		}
		c.goOnWith(left[0], fate{wait: try > tries/2})
	}
	for _, j := range c.all(func(j *store.Job) bool { return j.Key != nil && j.Counts.Uncertain > 0 }) {
		if c.over() && c.rng.IntN(3) > 0 || c.Failed() {
			continue
		}
		c.run(fate{}, "jobs", "retry", fmt.Sprint(j.ID), "--yes")
	}
}

func (c *crash) mendAll() {
	for range 3 {
		c.mend()
	}
}
