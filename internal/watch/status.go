package watch

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
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

// tell writes how the jobs of the folder stand beside their files.
func (f *Folder) tell(ctx context.Context, d *dir) (time.Time, error) {
	drops, err := f.jobs.Drops(ctx, f.w.Name)
	if err != nil {
		return time.Time{}, err
	}
	var next time.Time
	var problem error
	var told []int64
	there := make(map[string]bool, len(drops))
	for _, drop := range drops {
		j := drop.Job
		base := keptOf(drop.File)
		there[base] = true
		if j.State != store.Scheduled && j.State != store.Held {
			next = f.o.Now().Add(tellEvery)
		}
		if f.claimed(drop.File.Claim) {
			continue // its file is not in accepted yet
		}
		err := f.tellOne(d, drop, base)
		if err == nil && over(j) {
			told = append(told, j.ID)
		}
		problem = errors.Join(problem, err)
	}
	if len(told) > 0 {
		err := d.sync(acceptedDir)
		if err == nil {
			err = f.jobs.Told(ctx, told...)
		}
		problem = errors.Join(problem, err)
	}
	for base := range f.status {
		if !there[base] {
			delete(f.status, base)
		}
	}
	return next, problem
}

// keptOf returns the path in accepted of the file that became a job.
func keptOf(j *store.Job) string {
	return keptName(acceptedDir, j.Created, fmt.Sprint(j.ID), filepath.Base(j.File))
}

// over tells whether nothing more is to be told of a job.
func over(j *store.Job) bool { return j.State.Ended() && j.Stage == store.StageClosed }

func (f *Folder) claimed(id string) bool { return id != "" && f.claims[id] != nil }

// tellOne writes the status file of a job file where it has something new to
// say.
func (f *Folder) tellOne(d *dir, drop resetjob.Drop, base string) error {
	s := f.status[base]
	if s == nil {
		s = &status{}
		f.status[base] = s
	}
	if s.job != drop.Job.ID {
		s.job, s.meter = drop.Job.ID, resetjob.Meter{}
	}
	text := ""
	if drop.Last != nil && drop.Last.ID != drop.Job.ID {
		text = lastWords(drop.Last)
	}
	if over(drop.Job) {
		text += lastWords(drop.Job)
	} else {
		text += printable(s.meter.Line(drop.Job, f.jobs.Why(drop.Job), f.o.Now())) + "\n"
	}
	if text == s.text {
		return nil
	}
	if err := d.write(base+".status.txt", forPeople(text), over(drop.Job)); err != nil {
		return fmt.Errorf("saying how job %d stands: %w", drop.Job.ID, err)
	}
	s.text = text
	return nil
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
