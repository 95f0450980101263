package store

import (
	"context"
	"database/sql"
	"errors"
)

// writer is where one after another writes. On SQLite it is one connection, no
// more of them are allowed, whose statements stay prepared for as long as it
// lives.
type writer struct {
	dsn  string
	db   *sql.DB
	conn *sql.Conn     // SQLite's
	turn chan struct{} // holds one token while nobody writes
	st   map[string]*sql.Stmt
}

// maxPrepared bounds the statements that are kept. Queries of people are read,
// not written, so that a process has a few dozen.
const maxPrepared = 200

type preparer interface {
	prepare(ctx context.Context, query string) (*sql.Stmt, error)
}

// openWriter opens the database, lets prepare bring it up to date and keeps a
// connection to it.
func openWriter(ctx context.Context, dsn string, prepare func(context.Context, *sql.DB) error) (*writer, error) {
	db, err := sql.Open("sqlite3", dsn)
	if err != nil {
		return nil, err
	}
	db.SetMaxOpenConns(1)
	db.SetConnMaxIdleTime(0)
	w := newWriter(db)
	w.dsn = dsn
	if err = prepare(ctx, db); err == nil {
		w.conn, err = db.Conn(ctx)
	}
	if err != nil {
		db.Close()
		return nil, err
	}
	return w, nil
}

func newWriter(db *sql.DB) *writer {
	w := &writer{db: db, turn: make(chan struct{}, 1), st: make(map[string]*sql.Stmt)}
	w.turn <- struct{}{}
	return w
}

// errClosed says that the store was closed.
var errClosed = errors.New("the database is closed")

// take waits for the turn to write.
func (w *writer) take(ctx context.Context) error {
	select {
	case _, open := <-w.turn:
		if !open {
			return errClosed
		}
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (w *writer) give() { w.turn <- struct{}{} }

// prepare returns a statement; whoever calls it has the turn.
func (w *writer) prepare(ctx context.Context, query string) (*sql.Stmt, error) {
	if s := w.st[query]; s != nil {
		return s, nil
	}
	s, err := w.conn.PrepareContext(ctx, query)
	if err != nil {
		return nil, err
	}
	if len(w.st) >= maxPrepared {
		w.forget()
	}
	w.st[query] = s
	return s, nil
}

func (w *writer) forget() {
	for q, s := range w.st {
		s.Close()
		delete(w.st, q)
	}
}

func (w *writer) close() error {
	if err := w.take(context.Background()); err != nil {
		return nil // twice
	}
	close(w.turn)
	w.forget()
	var err error
	if w.conn != nil {
		err = w.conn.Close()
	}
	return errors.Join(err, w.db.Close())
}
