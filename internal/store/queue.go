package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
)

// Open calls each for every job that somebody has to work on, the oldest first:
// it waits in the queue, runs, or has ended without its report.
func (t *Tx) Open(each func(*Job) error) error {
	return t.jobs("SELECT "+jobColumns+" FROM jobs WHERE stage <> 'closed' AND state NOT IN ('held', 'scheduled') ORDER BY id", nil, each)
}

// Watch notices that something was written to the database, by this process or
// another one; on PostgreSQL, to any database of the server. It is not safe for
// concurrent use.
type Watch struct {
	conn  *sql.Conn
	query string
	last  string
}

// Watch begins to watch.
func (s *Store) Watch(ctx context.Context) (*Watch, error) {
	conn, err := s.read.Conn(ctx)
	if err != nil {
		return nil, err
	}
	w := &Watch{conn: conn, query: s.dialect.dataVersion()}
	if _, err := w.Changed(ctx); err != nil {
		return nil, errors.Join(err, conn.Close())
	}
	return w, nil
}

// Changed tells whether something was written since the last call. It costs
// some microseconds and reads no table.
func (w *Watch) Changed(ctx context.Context) (bool, error) {
	var now string
	if err := w.conn.QueryRowContext(ctx, w.query).Scan(&now); err != nil {
		return false, fmt.Errorf("asking whether the database has changed: %w", err)
	}
	changed := now != w.last
	w.last = now
	return changed, nil
}

// dataVersion asks for something that changes with every write.
func (d dialect) dataVersion() string {
	if d == postgres {
		return "SELECT pg_snapshot_xmax(pg_current_snapshot())::text"
	}
	return "PRAGMA data_version"
}

// Close ends the watching.
func (w *Watch) Close() error { return w.conn.Close() }
