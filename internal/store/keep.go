package store

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// OldJobs returns up to limit jobs that ended before that time and are of no use
// to others: none that is still tried again.
func (t *Tx) OldJobs(before time.Time, limit int) (ids []int64, err error) {
	err = t.scanAll(`SELECT id FROM jobs WHERE stage = 'closed' AND ended > 0 AND ended < ?
		AND NOT EXISTS (SELECT 1 FROM jobs r WHERE r.retry_of = jobs.id AND r.stage <> 'closed') ORDER BY id LIMIT ?`, []any{milli(before), limit},
		func(r rowScanner) error {
			var id int64
			err := r.Scan(&id)
			ids = append(ids, id)
			return err
		})
	return ids, err
}

// RemoveJob forgets up to limit items of a job, or the job itself when it has
// none left; it tells whether there is more to forget.
func (t *Tx) RemoveJob(id int64, limit int) (more bool, err error) {
	if more, err = t.DropItems(id, limit); err != nil || more {
		return more, err
	}
	if _, err = t.exec("DELETE FROM jobs WHERE id = ?", id); err != nil {
		return false, fmt.Errorf("forgetting job %d: %w", id, err)
	}
	return false, nil
}

// ReportRemoved notes that a report is not there any more.
func (t *Tx) ReportRemoved(folder string) error {
	_, err := t.exec("UPDATE jobs SET report = '' WHERE report = ?", folder)
	return err
}

const (
	vacuumPages = 500  // given back at a time: some milliseconds
	vacuumFrom  = 2000 // free pages: fewer will be used again soon
)

// Vacuum gives space that is not used any more back to the file system, a little
// at a time so that nobody waits for it. It returns how many bytes it was.
// PostgreSQL sees to that itself.
func (s *Store) Vacuum(ctx context.Context) (freed int64, err error) {
	if s.dialect == postgres {
		return 0, nil
	}
	for {
		n, size, err := s.vacuumSome(ctx)
		freed += n * size
		if err != nil || n == 0 {
			return freed, err
		}
		select {
		case <-ctx.Done():
			return freed, ctx.Err()
		case <-time.After(20 * time.Millisecond):
		}
	}
}

func (s *Store) vacuumSome(ctx context.Context) (pages, size int64, err error) {
	if err := s.write.take(ctx); err != nil {
		return 0, 0, err
	}
	defer s.write.give()
	var before, after int64
	free := func(to *int64) error {
		return s.write.conn.QueryRowContext(ctx, "PRAGMA freelist_count").Scan(to)
	}
	if err := s.write.conn.QueryRowContext(ctx, "PRAGMA page_size").Scan(&size); err != nil {
		return 0, 0, err
	}
	if err := free(&before); err != nil {
		return 0, 0, err
	}
	if before < vacuumFrom {
		// What was erased goes from the journal too.
		_, err := s.write.conn.ExecContext(ctx, "PRAGMA wal_checkpoint(TRUNCATE)")
		return 0, 0, err
	}
	// Each row that it returns is a page: it must be read to its end.
	rows, err := s.write.conn.QueryContext(ctx, fmt.Sprintf("PRAGMA incremental_vacuum(%d)", vacuumPages))
	if err != nil {
		return 0, 0, s.Explain(err)
	}
	for rows.Next() {
	}
	if err := errors.Join(rows.Err(), rows.Close()); err != nil {
		return 0, 0, s.Explain(err)
	}
	if err := free(&after); err != nil {
		return 0, 0, err
	}
	return before - after, size, nil
}
