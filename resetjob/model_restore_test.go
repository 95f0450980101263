package resetjob

import (
	"bytes"
	"context"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"time"

	"pgregory.net/rapid"

	"github.com/dirpin/dirpin/internal/incarnation"
	"github.com/dirpin/dirpin/internal/store"
)

// copyAside copies the database's files, as they are at this moment.
func (w *world) copyAside(rt *rapid.T) {
	if !w.broken.IsZero() || w.bad != 0 {
		rt.Skip()
	}
	w.copied = filepath.Join(w.dir, "copy")
	w.must(os.MkdirAll(w.copied, 0o700))
	os.Remove(filepath.Join(w.copied, "dirpin.db-wal"))
	w.must(copyFile(w.db, filepath.Join(w.copied, "dirpin.db")))
	if _, err := os.Stat(w.db + "-wal"); err == nil {
		w.must(copyFile(w.db+"-wal", filepath.Join(w.copied, "dirpin.db-wal")))
	}
	w.copiedGen, w.sinceCopy, w.copiedAt, w.copiedOpened = w.generation(), 0, time.Now(), maps.Clone(w.opened)
	w.say("the database is copied")
}

// restore puts the copy back; nothing runs then.
func (w *world) restore(rt *rapid.T) {
	if w.copied == "" {
		rt.Skip()
	}
	if w.sinceCopy > 0 && w.generation() == w.copiedGen && w.lastSent.Sub(w.copiedAt) < 2*advanceEvery {
		rt.Skip() // a copy that is so young is not known as one
	}
	for _, p := range w.living() {
		p.kill("to restore the database")
	}
	w.mendAll()
	w.must(w.raw.Close())
	for _, suffix := range []string{"", "-wal", "-shm"} {
		os.Remove(w.db + suffix)
	}
	w.must(copyFile(filepath.Join(w.copied, "dirpin.db"), w.db))
	if _, err := os.Stat(filepath.Join(w.copied, "dirpin.db-wal")); err == nil {
		w.must(copyFile(filepath.Join(w.copied, "dirpin.db-wal"), w.db+"-wal"))
	}
	w.observe()
	w.mu.Lock()
	defer w.mu.Unlock()
	w.lineage++
	w.seen, w.opened, w.denied = nil, maps.Clone(w.copiedOpened), map[string]time.Time{}
	if w.sinceCopy > 0 || w.generation() > w.copiedGen {
		w.restored, w.forgotten = time.Now(), w.lineage // and has forgotten something
	}
	w.refind()
	w.tell("the copy is put back")
}

// generation is what the marker of the installation holds.
func (w *world) generation() int64 {
	last, err := incarnation.NewMarker(w.dir, w.db).Last()
	w.must(err)
	return last.Generation
}

// refind brings the restored database up to date with the people, as the next
// synchronization does.
func (w *world) refind() {
	for _, p := range w.people {
		p.ref = 0
		if p.key == "" {
			w.raw.QueryRow("SELECT id FROM users WHERE entry_key IS NULL AND user_id IN (?, ?)", p.alias, p.born).Scan(&p.ref)
		} else {
			w.raw.QueryRow("SELECT id FROM users WHERE entry_key IN (?, 'key-'||?)", p.key, p.born).Scan(&p.ref)
			w.exec("UPDATE users SET user_id_f = NULL WHERE id = ?", p.ref)
		}
	}
	for _, p := range w.people {
		if p.ref == 0 {
			w.insertPerson(p)
		}
		w.exec("UPDATE users SET user_id = ?1, user_id_f = ?1, entry_key = nullif(?2, '') WHERE id = ?3", p.alias, p.key, p.ref)
	}
}

// releaseRestored is dirpin jobs release --restored.
func (w *world) releaseRestored(rt *rapid.T) {
	if w.restored.IsZero() {
		rt.Skip()
	}
	w.letGo()
}

// drill restores the database to before a job, or to its middle, and lets the
// job go on.
func (w *world) drill(rt *rapid.T) {
	if len(w.living()) > 0 || w.jobs >= 5 || !w.broken.IsZero() || w.bad != 0 || !w.restored.IsZero() {
		rt.Skip()
	}
	file := w.jobFile(rt)
	at := rapid.SampledFrom([]string{"opening", "written", "pushed", "its middle"}).Draw(rt, "copied at")
	if at == "its middle" {
		w.copyWhileBusy(rt, file)
	} else {
		w.startFile(file, at, 1).within(5 * time.Minute)
		w.copyAside(rt)
	}
	job := w.pick(rt, func(j *seenJob) bool { return j.stage != store.StageClosed })
	if at != "its middle" {
		w.startGoOn(job.id, "", 0).within(5 * time.Minute)
	}
	w.pause(rt)
	w.restore(rt)
	for range 2 {
		<-w.letGo().done
		w.sit(10 * time.Minute)
	}
	w.startGoOn(job.id, "", 0)
}

// copyWhileBusy copies the database while a job waits for a busy system, and
// lets the job send more than is in the copy, without another process.
func (w *world) copyWhileBusy(rt *rapid.T, file string) {
	for _, p := range w.people {
		p.fates = append(p.fates[:p.turn:p.turn], fate{kind: tryAgain, after: 5 * time.Millisecond, late: 30 * time.Second})
	}
	w.startFile(file, "", 0)
	w.sit(time.Second)
	w.copyAside(rt)
	w.sit(40 * time.Second)
}

func (w *world) letGo() *process {
	return w.start("release --restored", "", 0, false, func(ctx context.Context, p *process) error {
		if err := p.env.EnterToLook(ctx); err != nil {
			return err
		}
		_, _, err := p.env.ReleaseRestored(ctx, "tester")
		if err == nil {
			w.mu.Lock()
			w.restored = time.Time{}
			w.mu.Unlock()
		}
		return err
	})
}

// settleAll lets everything come to its end, with luck from here on.
func (w *world) settleAll() {
	w.say("from here on nothing more goes wrong")
	w.mendAll()
	w.mu.Lock()
	for _, p := range w.people {
		p.turn = len(p.fates)
	}
	w.mu.Unlock()
	for _, p := range w.living() {
		p.dieAt = ""
	}
	w.lift()
	w.sit(20 * time.Minute)
	w.lift()
	for n := 0; !w.restored.IsZero() && n < 3; n++ {
		<-w.letGo().done
		w.sit(10 * time.Minute)
	}
	for n := 0; n < 4 && w.finish(); n++ {
	}
	w.sit(10 * time.Minute)
	if w.violated != "" {
		return
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	s := w.look()
	for id, j := range s.jobs {
		if j.stage != store.StageClosed {
			w.wrong("job %d never ends: %s, %s, %s", id, j.state, j.stage, j.reason)
		}
	}
	for _, j := range s.journal {
		if j.until == 0 {
			w.wrong("%v is in flight for ever", j.legID)
		}
	}
	w.secrecy()
}

// sit lets time pass, and looks.
func (w *world) sit(d time.Duration) {
	time.Sleep(d)
	w.check()
}

// finish runs every job that is not closed, all at once: some wait for others.
// It tells whether there was one.
func (w *world) finish() bool {
	w.mu.Lock()
	s := w.look()
	w.mu.Unlock()
	var ps []*process
	for _, id := range slices.Sorted(maps.Keys(s.jobs)) {
		if s.jobs[id].stage != store.StageClosed {
			ps = append(ps, w.start(fmt.Sprintf("go on with job %d", id), "", 0, true, func(ctx context.Context, p *process) error {
				if err := p.release(ctx, id); err != nil {
					return err
				}
				return p.runJob(ctx, id)
			}))
		}
	}
	patience := time.After(3 * time.Hour)
	for _, p := range ps {
		select {
		case <-p.done:
		case <-patience:
			w.mu.Lock()
			w.wrong("%s goes on for hours", p.name)
			w.mu.Unlock()
			return false
		}
	}
	w.check()
	return len(ps) > 0 && w.violated == ""
}

// release lets the job go on if it is held.
func (p *process) release(ctx context.Context, id int64) error {
	return p.store.Write(ctx, func(tx *store.Tx) error {
		j, err := tx.Job(id)
		if err != nil || j.State != store.Held {
			return err
		}
		return tx.ReleaseJob(j)
	})
}

// secrecy: no value stands in a file.
func (w *world) secrecy() {
	files := []string{w.db, w.db + "-wal"}
	filepath.WalkDir(filepath.Join(w.dir, "reports"), func(path string, d os.DirEntry, err error) error {
		if err == nil && !d.IsDir() {
			files = append(files, path)
		}
		return nil
	})
	for _, path := range files {
		data, err := os.ReadFile(path)
		if err != nil {
			continue
		}
		w.silent(path, data)
	}
	w.silent("the log", []byte(w.log.text.String()))
}

func (w *world) silent(where string, data []byte) {
	for v := range w.values {
		if bytes.Contains(data, []byte(v)) {
			w.wrong("%s stands in %s", v, where)
		}
	}
}

// bury ends every process, and waits until the last goroutine of the dead has
// noticed.
func (w *world) bury() {
	for _, p := range w.living() {
		p.kill("at the end of the story")
	}
	for _, p := range w.processes {
		<-p.done
	}
	if w.cfg != nil {
		time.Sleep(2 * w.cfg.Voicemail[0].Timeout)
	}
	for len(w.network) > 0 {
		time.Sleep(time.Second)
	}
}
