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
	store *Store
	conn  *sql.Conn // nil: it broke
	query string
	last  string
}

// Watch begins to watch.
func (s *Store) Watch(ctx context.Context) (*Watch, error) {
	w := &Watch{store: s, query: s.dialect.dataVersion()}
	_, err := w.Changed(ctx)
	return w, errors.Join(err, w.closeAfter(err))
}

// Changed tells whether something was written since the last call. It costs
// some microseconds and reads no table. A server that is out of reach is an
// *AwayError; the next call connects anew.
func (w *Watch) Changed(ctx context.Context) (bool, error) {
	now, err := w.ask(ctx)
	if err != nil {
		return false, errors.Join(fmt.Errorf("asking whether the database has changed: %w", w.store.Explain(err)), w.closeAfter(err))
	}
	changed := now != w.last
	w.last = now
	return changed, nil
}

func (w *Watch) ask(ctx context.Context) (now string, err error) {
	if w.conn == nil {
		if w.conn, err = w.store.read.Conn(ctx); err != nil {
			w.conn = nil
			return "", err
		}
		w.last = ""
	}
	err = w.conn.QueryRowContext(ctx, w.query).Scan(&now)
	if err != nil && w.store.dialect == postgres && gone(w.conn) {
		err = &AwayError{w.store.name, err}
	}
	return now, err
}

// closeAfter gives up a connection that an error may have broken.
func (w *Watch) closeAfter(err error) error {
	if err == nil || w.conn == nil {
		return nil
	}
	broken := w.conn
	w.conn = nil
	if err := broken.Close(); err != nil && !errors.Is(err, sql.ErrConnDone) {
		return err
	}
	return nil
}

// dataVersion asks for something that changes with every write.
func (d dialect) dataVersion() string {
	if d == postgres {
		return "SELECT pg_snapshot_xmax(pg_current_snapshot())::text"
	}
	return "PRAGMA data_version"
}

// Close ends the watching.
func (w *Watch) Close() error {
	if w.conn == nil {
		return nil
	}
	return w.conn.Close()
}
