package store

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"

	"github.com/mattn/go-sqlite3"
)

// Shared returns a pool for a library that keeps tables of its own in the
// database. On SQLite it is one connection. Each of its statements and transactions waits for
// its turn among those of Write. Two connections that both write would have
// SQLite poll for the lock, and one of them wait for seconds.
//
// Nothing of the pool may be used within Write: it would wait for itself. It is
// to be closed before the store is.
func (s *Store) Shared() *sql.DB {
	if s.dialect == postgres {
		return s.pool(s.server.cfg, sharedMost)
	}
	db := sql.OpenDB(&connector{dsn: s.write.dsn, turn: s.write})
	db.SetMaxOpenConns(1)
	db.SetConnMaxIdleTime(0)
	return db
}

const sharedMost = 6 // connections to a server

type connector struct {
	dsn  string
	turn *writer
	drv  sqlite3.SQLiteDriver
}

func (c *connector) Driver() driver.Driver { return &c.drv }

func (c *connector) Connect(context.Context) (driver.Conn, error) {
	conn, err := c.drv.Open(c.dsn)
	if err != nil {
		return nil, err
	}
	return &turnConn{conn: conn.(*sqlite3.SQLiteConn), turn: c.turn}, nil
}

// turnConn has the turn to write while something of it is under way. As
// database/sql sees to it, one goroutine uses it at a time.
type turnConn struct {
	conn *sqlite3.SQLiteConn
	turn *writer
	tx   bool // a transaction has the turn
}

var errNoStatements = errors.New("statements of a shared connection are not prepared")

func (c *turnConn) Prepare(string) (driver.Stmt, error) { return nil, errNoStatements }
func (c *turnConn) Begin() (driver.Tx, error) {
	return c.BeginTx(context.Background(), driver.TxOptions{})
}
func (c *turnConn) Close() error                   { return c.conn.Close() }
func (c *turnConn) Ping(ctx context.Context) error { return c.conn.Ping(ctx) }

func (c *turnConn) BeginTx(ctx context.Context, o driver.TxOptions) (driver.Tx, error) {
	if err := c.turn.take(ctx); err != nil {
		return nil, err
	}
	tx, err := c.conn.BeginTx(ctx, o)
	if err != nil {
		c.turn.give()
		return nil, err
	}
	c.tx = true
	return &turnTx{tx, c}, nil
}

type turnTx struct {
	tx driver.Tx
	c  *turnConn
}

func (t *turnTx) Commit() error   { defer t.end(); return t.tx.Commit() }
func (t *turnTx) Rollback() error { defer t.end(); return t.tx.Rollback() }

func (t *turnTx) end() {
	t.c.tx = false
	t.c.turn.give()
}

func (c *turnConn) ExecContext(ctx context.Context, query string, args []driver.NamedValue) (driver.Result, error) {
	if !c.tx {
		if err := c.turn.take(ctx); err != nil {
			return nil, err
		}
		defer c.turn.give()
	}
	return c.conn.ExecContext(ctx, query, args)
}

func (c *turnConn) QueryContext(ctx context.Context, query string, args []driver.NamedValue) (driver.Rows, error) {
	if c.tx {
		return c.conn.QueryContext(ctx, query, args)
	}
	if err := c.turn.take(ctx); err != nil {
		return nil, err
	}
	rows, err := c.conn.QueryContext(ctx, query, args)
	if err != nil {
		c.turn.give()
		return nil, err
	}
	return &turnRows{Rows: rows, turn: c.turn}, nil
}

// turnRows gives the turn back when it is closed: a query may write.
type turnRows struct {
	driver.Rows
	turn   *writer
	closed bool
}

func (r *turnRows) Close() error {
	if r.closed {
		return nil
	}
	r.closed = true
	defer r.turn.give()
	return r.Rows.Close()
}
