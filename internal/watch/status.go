package watch

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"github.com/dirpin/dirpin/internal/store"
	"github.com/dirpin/dirpin/resetjob"
)

// status is what the status file of a job file says.
type status struct {
	text  string
	meter resetjob.Meter
	job   int64 // that the meter measures
}

// tellEvery is how often a status file follows its job.
const tellEvery = time.Second

// telling is a status file that is to be written.
type telling struct {
	s    *status
	base string
	text string
	over []int64 // jobs of which nothing more is to be told
	err  error
}

// tell writes how the jobs of the folder stand beside their files.
func (f *Folder) tell(ctx context.Context, d *dir) (time.Time, error) {
	drops, err := f.jobs.Drops(ctx, f.w.Name)
	if err != nil {
		return time.Time{}, err
	}
	var next time.Time
	var all []*telling
	there, byBase := make(map[string]bool, len(drops)), make(map[string]*telling, len(drops))
	for _, drop := range drops {
		base := keptOf(drop.File)
		there[base] = true
		if j := drop.Job; j.State != store.Scheduled && j.State != store.Held {
			next = f.o.Now().Add(tellEvery)
		}
		if f.claimed(drop.File.Claim) {
			continue // its file is not in accepted yet
		}
		if byBase[base] == nil { // a schedule may have a run and its next
			byBase[base] = &telling{s: f.statusOf(base), base: base}
			all = append(all, byBase[base])
		}
		f.say(byBase[base], drop)
	}
	for base := range f.status {
		if !there[base] {
			delete(f.status, base)
		}
	}
	var told []int64
	for part := range slices.Chunk(all, together) {
		d.writeStatus(part)
		for _, t := range part {
			err = errors.Join(err, t.err)
			if t.err == nil {
				told = append(told, t.over...)
			}
		}
	}
	if len(told) > 0 {
		err2 := d.sync(acceptedDir)
		if err2 == nil {
			err2 = f.jobs.Told(ctx, told...)
		}
		err = errors.Join(err, err2)
	}
	return next, err
}

// keptOf returns the path in accepted of the file that became a job.
func keptOf(j *store.Job) string {
	return keptName(acceptedDir, j.Created, fmt.Sprint(j.ID), filepath.Base(j.File))
}

// over tells whether nothing more is to be told of a job.
func over(j *store.Job) bool { return j.State.Ended() && j.Stage == store.StageClosed }

func (f *Folder) claimed(id string) bool { return id != "" && f.claims[id] != nil }

func (f *Folder) statusOf(base string) *status {
	s := f.status[base]
	if s == nil {
		s = &status{}
		f.status[base] = s
	}
	return s
}

// say adds how a job stands to what its file's status is to say.
func (f *Folder) say(t *telling, drop resetjob.Drop) {
	j := drop.Job
	if t.text == "" && drop.Last != nil && drop.Last.ID != j.ID {
		t.text = lastWords(drop.Last)
	}
	if over(j) {
		t.text += lastWords(j)
		t.over = append(t.over, j.ID)
		return
	}
	if j.State != store.Scheduled && t.s.job != j.ID {
		t.s.job, t.s.meter = j.ID, resetjob.Meter{}
	}
	t.text += printable(t.s.meter.Line(j, f.jobs.Why(j), f.o.Now())) + "\n"
}

// writeStatus writes the status files that have something new to say.
func (d *dir) writeStatus(all []*telling) {
	var writing sync.WaitGroup
	for _, t := range all {
		if t.text == t.s.text {
			continue
		}
		writing.Go(func() {
			if err := d.write(t.base+".status.txt", forPeople(t.text), len(t.over) > 0); err != nil {
				t.err = fmt.Errorf("writing %s.status.txt: %w", t.base, err)
				return
			}
			t.s.text = t.text
		})
	}
	writing.Wait()
}

// lastWords is what remains to be said of a job that has ended.
func lastWords(j *store.Job) string {
	text := fmt.Sprintf("job %d %s", j.ID, j.State)
	if j.Reason != "" {
		text += ": " + printable(j.Reason)
	}
	text += "\n"
	if line := resetjob.UncertainLine(j.Counts); line != "" {
		text += line + "\n"
	}
	return text + resetjob.CountLine(j.Counts) + "\n" + j.Report + "\n"
}
