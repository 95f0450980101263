package resetjob

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/dirpin/dirpin/internal/store"
)

// DropOptions are those of job files that were dropped into a watch folder.
func (e *Env) DropOptions(folder string) ParseOptions {
	w, _ := e.folder(folder)
	return ParseOptions{Now: e.Store.Now(), Signed: w.Signers != "", PlainAllowed: w.Plain, Agreements: e.Config.Agreements,
		Ceilings: Ceilings(e.Config, &w), Allow: w.Allow, Credentials: e.Config.Credentials, Mail: e.Config.Mail,
		CheckGiven: CheckGivenBy(&e.Config.Credentials), OpenSealed: e.Ring.OpenSealed}
}

// Claimed returns the job that was made of the file claimed under that name in
// the watch folder; nil where none was.
func (e *Env) Claimed(ctx context.Context, folder, claim string) (j *store.Job, err error) {
	err = e.Store.Read(ctx, func(tx *store.Tx) (err error) { j, err = tx.ClaimedJob(folder, claim); return err })
	return j, err
}

// Drop is what became of a file that was dropped.
type Drop struct {
	Job  *store.Job // of which there is news
	File *store.Job // that was made of the file itself: the first of a schedule
	Last *store.Job // the last run of the schedule that has ended; nil: none has
}

// Drops returns the jobs of a watch folder of whose end nobody was told (Told),
// the oldest first.
func (e *Env) Drops(ctx context.Context, folder string) (drops []Drop, err error) {
	err = e.Store.Read(ctx, func(tx *store.Tx) error {
		jobs, err := tx.Untold(folder)
		if err != nil {
			return err
		}
		drops = make([]Drop, 0, len(jobs))
		for _, j := range jobs {
			d := Drop{Job: j, File: j}
			if j.Series != 0 {
				if d.Last, err = tx.LastRun(j.Series); err != nil {
					return err
				}
			}
			if j.Claim == "" {
				if d.File, err = tx.Job(j.Series); errors.Is(err, store.ErrNotFound) {
					continue // its first run is forgotten by now
				} else if err != nil {
					return err
				}
			}
			drops = append(drops, d)
		}
		return nil
	})
	return drops, err
}

// Told notes that whoever dropped their files was told how these jobs have ended.
func (e *Env) Told(ctx context.Context, jobs ...int64) error {
	return e.Store.Write(ctx, func(tx *store.Tx) error {
		for _, id := range jobs {
			if err := tx.Told(id); err != nil {
				return err
			}
		}
		return nil
	})
}

// ClearList takes the secrets out of the csv of a job, in the folder of lists,
// where it is still the one that the job was made with. The job keeps what it
// needs, sealed.
func (e *Env) ClearList(ctx context.Context, j *store.Job) error {
	def, err := DecodeJob(j.Definition)
	if err != nil || def.Select.CSV == nil {
		return err
	}
	l, err := e.stored(ctx, j.ID)
	if err != nil || l.people.csv == nil {
		return err
	}
	w, _ := e.folder(j.Folder)
	lists, err := OpenLists(w.Lists)
	if err != nil {
		return err
	}
	defer lists.Close()
	content, err := lists.Read(&List{Name: def.Select.CSV.Name})
	if errors.Is(err, ErrListMissing) {
		return nil
	}
	if err != nil {
		return err
	}
	defer content.Clear()
	if !bytes.Equal(content.Bytes(), l.list) {
		return nil // another one lies there by now
	}
	if err := lists.replace(def.Select.CSV.Name, l.people.csv.redacted()); err != nil {
		return fmt.Errorf("taking the secrets out of %s: %w", filepath.Join(w.Lists, def.Select.CSV.Name), err)
	}
	return nil
}

// replace puts a text in the place of a list.
func (l *Lists) replace(name, text string) error {
	was, err := l.root.Lstat(name)
	if err != nil {
		return err
	}
	const aside = ".clearing.tmp"
	if err := l.root.Remove(aside); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	f, err := l.root.OpenFile(aside, os.O_CREATE|os.O_EXCL|os.O_WRONLY, was.Mode().Perm())
	if err != nil {
		return err
	}
	_, err = f.WriteString(text)
	if err = errors.Join(err, f.Sync(), f.Close()); err == nil {
		err = l.root.Rename(aside, name)
	}
	if err != nil {
		return errors.Join(err, l.root.Remove(aside))
	}
	return syncDir(l.dir)
}
