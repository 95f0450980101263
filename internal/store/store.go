// Package store is the database: users, credentials, jobs, their items and
// legs, agreements. It keeps records and moves them by compare-and-set; what
// is to happen is decided by the packages that use it.
//
// Every change is one transaction (Store.Write) that sees and changes
// everything alone; reads (Store.Read) see a snapshot and never wait for it.
//
// # Two dialects
//
// The database is SQLite or PostgreSQL. A query is written once, for both, and
// its tests run on both (each, in this package). It keeps to what they have in
// common:
//
//   - ? or ?1 stand for what a query is given. PostgreSQL wants to know the type
//     of each: where nothing beside it tells (SELECT ?, in INSERT … SELECT too),
//     write CAST(? AS BIGINT). A number is no truth value.
//   - In ON CONFLICT DO UPDATE a column is written with its table, and the
//     conflict with its columns. Claims are ON CONFLICT DO NOTHING, or counted:
//     an error ends a transaction on PostgreSQL, but within SyncTry.
//   - count(*) FILTER (WHERE …) instead of sum(…) of conditions, IS NOT DISTINCT
//     FROM instead of IS, a name for each sub-query in FROM; || ” instead of a
//     unary + to keep an index out.
//   - New rows that get their number are written with Tx.insert. Rows are read
//     to their end, or closed, before the transaction is used again.
//   - Statements of which nothing is asked before the next one are put (Tx.put):
//     to a server they go together. Numbers in a list are asked for by
//     dialect.among.
//   - What truly differs is a method of dialect.
//
// A migration is one file in migrations, in SQLite's words for types: on
// PostgreSQL INTEGER, BLOB, TEXT, AUTOINCREMENT and WITHOUT ROWID are replaced
// (postgresWords). Where that is not enough the same file name in
// migrations/postgres stands in its place.
package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"path/filepath"
	"time"

	"github.com/dirpin/dirpin/internal/secret"
)

// ErrNotFound says that there is no such user, job or agreement.
var ErrNotFound = errors.New("not found")

// ErrExists says that the user id is taken.
var ErrExists = errors.New("exists already")

// Store is an open database. It is safe for concurrent use.
type Store struct {
	dialect dialect
	name    string // for people: the path, or the address without a password
	path    string // of the SQLite file
	write   *writer
	read    *sql.DB
	now     func() time.Time
	server  *server // PostgreSQL's
}

// Options say how a database is opened: at a path, or at an address.
type Options struct {
	Path     string           // of the SQLite file; made when it is not there
	URL      string           // postgres://…
	Password secret.Value     // for URL; zero: whatever libpq would take
	Dir      string           // for URL: where this installation keeps its locks; "": it has none
	Now      func() time.Time // when nil, time.Now or the server's time
	Busy     time.Duration    // how long to wait for another process' write; when 0 10 s, on a server until one that fell silent has lost the lock
}

const defaultBusy = 10 * time.Second

// Open opens the database, making or upgrading it as needed.
func Open(ctx context.Context, o Options) (*Store, error) {
	open, busy := openSQLite, defaultBusy
	if o.URL != "" {
		open, busy = openPostgres, silentFor+5*time.Second
	}
	if o.Busy == 0 {
		o.Busy = busy
	}
	s, err := open(ctx, o)
	if err != nil {
		return nil, err
	}
	if err := s.refuseMoved(ctx); err != nil {
		return nil, errors.Join(err, s.Close())
	}
	return s, nil
}

// Close closes the database. A transaction that is under way ends first.
func (s *Store) Close() error { return errors.Join(s.read.Close(), s.write.close()) }

// Name says where the database is: its path, or its address without a
// password.
func (s *Store) Name() string { return s.name }

// Path returns the path of the database file; "" where it is none.
func (s *Store) Path() string { return s.path }

// LockBase returns the beginning of the path of the locks that processes hold
// for as long as they work with the database: beside the real file, links
// resolved, so that two configurations with one database meet. "" where there
// are none.
//
// On PostgreSQL no lock is everybody's: those are for the processes of one
// installation, which need not wait for the lease of a dead one.
func (s *Store) LockBase() (string, error) {
	if s.dialect == sqlite {
		return filepath.EvalSymlinks(s.path)
	}
	if s.server.dir == "" {
		return "", nil
	}
	return filepath.Join(s.server.dir, "postgres"), nil
}

// Leases tells whether an owner that holds no lock here may live elsewhere, for
// as long as its lease.
func (s *Store) Leases() bool { return s.dialect == postgres }

// Now returns the store's time.
func (s *Store) Now() time.Time { return s.now() }

// Write runs fn in a transaction that sees and changes everything alone. When
// fn returns an error nothing has changed.
func (s *Store) Write(ctx context.Context, fn func(*Tx) error) error {
	if err := s.write.take(ctx); err != nil {
		return err
	}
	defer s.write.give()
	if s.dialect == postgres {
		return s.writePostgres(ctx, fn)
	}
	return s.begin(ctx, s.write.conn, nil, &Tx{prepared: s.write}, fn)
}

// Read runs fn in a transaction that sees one state of everything and changes
// nothing.
func (s *Store) Read(ctx context.Context, fn func(*Tx) error) error {
	if s.dialect == postgres {
		return s.readPostgres(ctx, fn)
	}
	return s.begin(ctx, s.read, nil, &Tx{}, fn)
}

type beginner interface {
	BeginTx(ctx context.Context, o *sql.TxOptions) (*sql.Tx, error)
}

// begin begins a transaction and runs fn in it.
func (s *Store) begin(ctx context.Context, db beginner, o *sql.TxOptions, tx *Tx, fn func(*Tx) error) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	// database/sql rolls back behind our back when a context ends, and the
	// driver starts a goroutine a statement to watch it: neither is wanted for
	// transactions of milliseconds.
	tx.ctx, tx.ended = context.WithoutCancel(ctx), ctx.Done()
	var err error
	if tx.tx, err = db.BeginTx(tx.ctx, o); err != nil {
		return s.failed(tx, err)
	}
	tx.dialect, tx.name, tx.now = s.dialect, s.name, s.now().UnixMilli()
	return s.run(tx, fn)
}

// run ends the transaction as fn does.
func (s *Store) run(tx *Tx, fn func(*Tx) error) (err error) {
	defer func() {
		tx.closeStatements()
		if p := recover(); p != nil {
			tx.tx.Rollback()
			panic(p)
		}
		if err != nil {
			err = s.failed(tx, err)
			tx.tx.Rollback()
			return
		}
		if err = tx.tx.Commit(); err != nil {
			err = s.notCommitted(tx, fmt.Errorf("committing: %w", err))
		}
	}()
	if err = fn(tx); err == nil {
		err = tx.send()
	}
	return err
}

// failed explains why a transaction failed: whatever fn says, where the
// connection is gone that is why.
func (s *Store) failed(tx *Tx, err error) error {
	if tx.conn != nil && gone(tx.conn) {
		return &AwayError{s.name, err}
	}
	return s.Explain(err)
}

// Explain says what an administrator can do about the errors of the database that
// are not dirpin's. Those met in a pool of Shared are to be explained by whoever
// meets them.
func (s *Store) Explain(err error) error {
	if s.dialect == postgres {
		return explainPostgres(s.name, err)
	}
	return explainSQLite(s.path, err)
}
