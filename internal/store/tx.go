package store

import (
	"context"
	"database/sql"
	"strings"
	"time"
)

// Tx is a transaction. Its methods are the store's vocabulary.
type Tx struct {
	dialect  dialect
	tx       *sql.Tx
	name     string          // of the database, for messages
	ctx      context.Context // not cancelled in the middle of a statement
	now      int64           // the one time of the transaction, in milliseconds
	prepared preparer        // of statements that outlive the transaction; nil: each has its own
	st       map[string]*sql.Stmt
	conn     *sql.Conn       // on PostgreSQL
	xid      string          // its number there; "" of one that reads
	ended    <-chan struct{} // whoever wants it, does not any more
	naming   map[string]int  // nobodyNames, by agreement: 0 not asked yet, 1 somebody may, -1 nobody
	packed   []packed        // room for rows of SyncAdd
	queued   queued          // on PostgreSQL: what was put and is not sent yet
	noFlags  int             // whether nobody is on the work list: 0 not asked yet, 1 nobody, -1 somebody
}

// Now returns the one time of the transaction.
func (t *Tx) Now() time.Time { return time.UnixMilli(t.now).UTC() }

// stmt prepares a statement, once a transaction where nobody keeps it for
// longer. On PostgreSQL the driver keeps them, by connection.
func (t *Tx) stmt(query string) (*sql.Stmt, error) {
	if t.prepared != nil {
		return t.prepared.prepare(t.ctx, query)
	}
	if s := t.st[query]; s != nil {
		return s, nil
	}
	s, err := t.tx.PrepareContext(t.ctx, query)
	if err != nil {
		return nil, err
	}
	if t.st == nil {
		t.st = make(map[string]*sql.Stmt)
	}
	t.st[query] = s
	return s, nil
}

func (t *Tx) closeStatements() {
	for _, s := range t.st {
		s.Close()
	}
}

func (t *Tx) run(query string, args []any) (sql.Result, error) {
	if t.dialect == postgres {
		if err := t.send(); err != nil {
			return nil, err
		}
		return t.tx.ExecContext(t.ctx, t.dialect.sql(query), args...)
	}
	s, err := t.stmt(query)
	if err != nil {
		return nil, err
	}
	return s.ExecContext(t.ctx, args...)
}

// exec runs a statement and returns how many rows it changed.
func (t *Tx) exec(query string, args ...any) (int64, error) {
	r, err := t.run(query, args)
	if err != nil {
		return 0, err
	}
	return r.RowsAffected()
}

// insert runs an INSERT into a table that has an id, and returns the new row's.
// On SQLite RETURNING would do the same, at nearly twice the price a row.
func (t *Tx) insert(query string, args ...any) (id int64, err error) {
	if t.dialect == postgres {
		err = t.row(query+" RETURNING id", args...).Scan(&id)
		return id, err
	}
	r, err := t.run(query, args)
	if err != nil {
		return 0, err
	}
	return r.LastInsertId()
}

// row runs a query for one row.
func (t *Tx) row(query string, args ...any) rowScanner {
	if t.dialect == postgres {
		if err := t.send(); err != nil {
			return errRow{err}
		}
		return t.tx.QueryRowContext(t.ctx, t.dialect.sql(query), args...)
	}
	s, err := t.stmt(query)
	if err != nil {
		return errRow{err}
	}
	return s.QueryRowContext(t.ctx, args...)
}

// rows runs a query for many rows.
func (t *Tx) rows(query string, args ...any) (*sql.Rows, error) {
	if t.dialect == postgres {
		if err := t.send(); err != nil {
			return nil, err
		}
		return t.tx.QueryContext(t.ctx, t.dialect.sql(query), args...)
	}
	s, err := t.stmt(query)
	if err != nil {
		return nil, err
	}
	return s.QueryContext(t.ctx, args...)
}

type rowScanner interface{ Scan(...any) error }

type errRow struct{ err error }

func (r errRow) Scan(...any) error { return r.err }

// placeholders returns n question marks, with commas between them.
func placeholders(n int) string {
	return strings.TrimSuffix(strings.Repeat("?,", n), ",")
}

func milli(t time.Time) int64 {
	if t.IsZero() {
		return 0
	}
	return t.UnixMilli()
}

func fromMilli(ms int64) time.Time {
	if ms == 0 {
		return time.Time{}
	}
	return time.UnixMilli(ms).UTC()
}
