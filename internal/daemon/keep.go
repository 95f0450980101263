package daemon

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"time"

	"github.com/dirpin/dirpin/config"
	"github.com/dirpin/dirpin/internal/clock"
	"github.com/dirpin/dirpin/internal/store"
)

const (
	careEvery = time.Hour
	careFirst = time.Minute // after the start
	keepChunk = 5000        // items that are forgotten in one transaction
	keepJobs  = 100         // jobs that are looked for at a time
)

// care looks after what grows: values that nobody needs any more, jobs, reports
// and job files that are older than they are kept, and the space that is free by
// it. It ends with ctx.
func (d *daemon) care(ctx context.Context) {
	hourly(ctx, d.read, func() {
		if err := d.careOnce(ctx); err != nil && ctx.Err() == nil {
			d.log.Error("clearing up", "error", err)
		}
	})
}

// hourly does something every hour, but not by a clock that was set since the
// last time: a clock that is years ahead would have everything removed before the
// loop of the daemon has looked at it.
func hourly(ctx context.Context, read func() clock.Reading, do func()) {
	guard := clock.NewGuard(time.Time{})
	guard.See(read())
	next := time.NewTimer(careFirst)
	defer next.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-next.C:
		}
		if doubt, again := guard.See(read()); doubt != "" {
			next.Reset(again)
			continue
		}
		next.Reset(careEvery)
		do()
	}
}

func (d *daemon) careOnce(ctx context.Context) error {
	d.mu.Lock()
	g, restored, doubt := d.gen, d.restored, d.doubt
	if restored || doubt != "" || g.working.Err() != nil { // nothing goes by a clock that is not believed
		d.mu.Unlock()
		return nil
	}
	g.shifts.Add(1) // it runs jobs, to write their reports
	keep, folders := d.cfg.Keep, d.cfg.Watch
	d.mu.Unlock()
	err := g.Env.Tidy(ctx)
	g.shifts.Done()
	k := keeper{store: d.store, keep: keep, folders: folders, now: d.store.Now()}
	return errors.Join(err, k.run(ctx, d))
}

// keeper removes what is older than it is kept.
type keeper struct {
	store   *store.Store
	keep    config.Keep
	folders []config.Watch
	now     time.Time

	jobs, reports, files int
	freed                int64
}

func (k *keeper) run(ctx context.Context, d *daemon) error {
	errs := []error{k.oldJobs(ctx)}
	for _, w := range k.folders {
		errs = append(errs, k.oldReports(ctx, w.Reports), k.oldFiles(filepath.Join(w.Dir, "accepted"), k.keep.Accepted), k.oldFiles(filepath.Join(w.Dir, "rejected"), k.keep.Rejected))
	}
	var err error
	k.freed, err = k.store.Vacuum(ctx)
	if k.jobs+k.reports+k.files > 0 || k.freed > 0 {
		d.log.Info("cleared up what is older than keep", "jobs", k.jobs, "reports", k.reports, "job_files", k.files, "freed_bytes", k.freed)
	}
	return errors.Join(append(errs, err)...)
}

func (k *keeper) oldJobs(ctx context.Context) error {
	if k.keep.Jobs == 0 {
		return nil
	}
	for {
		var ids []int64
		err := k.store.Read(ctx, func(tx *store.Tx) (err error) {
			ids, err = tx.OldJobs(k.now.Add(-k.keep.Jobs), keepJobs)
			return err
		})
		if err != nil || len(ids) == 0 {
			return err
		}
		for _, id := range ids {
			for more := true; more; {
				if err := k.store.Write(ctx, func(tx *store.Tx) (err error) { more, err = tx.RemoveJob(id, keepChunk); return err }); err != nil {
					return err
				}
			}
			k.jobs++
		}
	}
}

// reportName is the beginning of a report's folder: the number of its job.
var reportName = regexp.MustCompile(`^[0-9]+-`)

// oldReports removes reports. A folder without a report's files is somebody
// else's.
func (k *keeper) oldReports(ctx context.Context, dir string) error {
	if k.keep.Reports == 0 {
		return nil
	}
	entries, err := readFolder(dir)
	if err != nil {
		return err
	}
	for _, e := range entries {
		path := filepath.Join(dir, e.Name())
		fi, err := os.Lstat(filepath.Join(path, "report.json"))
		if !e.IsDir() || !reportName.MatchString(e.Name()) || err != nil || !fi.Mode().IsRegular() || k.now.Sub(fi.ModTime()) < k.keep.Reports {
			continue
		}
		// The database first: what it says is there must be.
		if err := k.store.Write(ctx, func(tx *store.Tx) error { return tx.ReportRemoved(path) }); err != nil {
			return err
		}
		if err := os.RemoveAll(path); err != nil {
			return fmt.Errorf("removing an old report: %w", err)
		}
		k.reports++
	}
	return nil
}

// fileTime is the time by which the name of an accepted or rejected file begins,
// and those of what lies beside it.
const fileTime = "20060102T150405Z"

func (k *keeper) oldFiles(dir string, keep time.Duration) error {
	if keep == 0 {
		return nil
	}
	entries, err := readFolder(dir)
	if err != nil {
		return err
	}
	for _, e := range entries {
		stamp, _, _ := strings.Cut(e.Name(), "-")
		at, err := time.Parse(fileTime, stamp)
		if err != nil || !e.Type().IsRegular() || k.now.Sub(at) < keep {
			continue
		}
		if err := os.Remove(filepath.Join(dir, e.Name())); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("removing an old job file: %w", err)
		}
		k.files++
	}
	return nil
}

// readFolder returns what is in a folder; nothing where there is none.
func readFolder(dir string) ([]os.DirEntry, error) {
	entries, err := os.ReadDir(dir)
	if errors.Is(err, fs.ErrNotExist) {
		err = nil
	}
	if err != nil {
		return nil, fmt.Errorf("looking for what is older than keep: %w", err)
	}
	return entries, nil
}
