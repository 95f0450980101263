// Package store is the database: users, credentials, jobs, their items and
// legs, agreements. It keeps records and moves them by compare-and-set; what
// is to happen is decided by the packages that use it.
//
// Every change is one transaction (Store.Write) on the single writing
// connection, which SQLite allows no more of; reads (Store.Read) see a
// snapshot and never wait for it.
package store

import (
	"context"
	"database/sql"
	"embed"
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/mattn/go-sqlite3" // the driver, and its error codes
	"github.com/pressly/goose/v3"
)

//go:embed migrations/*.sql
var migrations embed.FS

// schemaVersion is the number of the newest migration.
const schemaVersion = 7

// ErrNotFound says that there is no such user, job or agreement.
var ErrNotFound = errors.New("not found")

// ErrExists says that the user id is taken.
var ErrExists = errors.New("exists already")

// NewerError says that the database was written by a newer dirpin.
type NewerError struct {
	Path     string
	Has, Can int64
}

func (e *NewerError) Error() string {
	return fmt.Sprintf("%s: the database has schema %d and this dirpin knows %d: use the newer dirpin that wrote it, or restore the backup made before its upgrade", e.Path, e.Has, e.Can)
}

// Store is an open database. It is safe for concurrent use.
type Store struct {
	path  string
	write *writer
	read  *sql.DB
	now   func() time.Time
}

// Options say how a database is opened.
type Options struct {
	Path string           // of the SQLite file; made when it is not there
	Now  func() time.Time // time.Now when nil
	Busy time.Duration    // how long to wait for another process' write; 10 s when 0
}

// Open opens the database, making or upgrading it as needed. Before an upgrade
// a copy is left beside it.
func Open(ctx context.Context, o Options) (*Store, error) {
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Busy == 0 {
		o.Busy = 10 * time.Second
	}
	if err := create(o.Path); err != nil {
		return nil, fmt.Errorf("opening the database: %w", err)
	}
	if err := refuseNetwork(o.Path); err != nil {
		return nil, err
	}
	s := &Store{path: o.Path, now: o.Now}
	var err error
	if s.read, err = sql.Open("sqlite3", dsn(o, "_query_only=true")); err != nil {
		return nil, fmt.Errorf("opening the database %s: %w", o.Path, err)
	}
	s.read.SetMaxOpenConns(8)
	s.read.SetMaxIdleConns(4)
	if s.write, err = openWriter(ctx, dsn(o, "_txlock=immediate"), s.migrate); err != nil {
		s.read.Close()
		return nil, explain(o.Path, err)
	}
	return s, nil
}

// create makes an empty database that only its owner can read; SQLite gives
// its journals the same mode.
func create(path string) error {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_EXCL|os.O_RDWR, 0o600)
	if errors.Is(err, fs.ErrExist) {
		return nil
	}
	if err != nil {
		return err
	}
	return f.Close()
}

// dsn gives every pooled connection its settings.
func dsn(o Options, more string) string {
	abs, err := filepath.Abs(o.Path)
	if err != nil {
		abs = o.Path
	}
	u := url.URL{Scheme: "file", Path: filepath.ToSlash(abs)}
	return u.String() + "?_journal_mode=WAL&_synchronous=FULL&_foreign_keys=on&_secure_delete=on&_cache_size=-8000&_busy_timeout=" +
		strconv.FormatInt(o.Busy.Milliseconds(), 10) + "&" + more
}

// Close closes the database. A transaction that is under way ends first.
func (s *Store) Close() error { return errors.Join(s.read.Close(), s.write.close()) }

// Path returns the path of the database file.
func (s *Store) Path() string { return s.path }

// Now returns the store's time.
func (s *Store) Now() time.Time { return s.now() }

// migrate brings the schema up to date.
func (s *Store) migrate(ctx context.Context, db *sql.DB) error {
	has, err := schema(ctx, db)
	if err != nil {
		return err
	}
	switch {
	case has == schemaVersion:
		return nil
	case has > schemaVersion:
		return &NewerError{Path: s.path, Has: has, Can: schemaVersion}
	case has > 0:
		if err := backup(ctx, db, fmt.Sprintf("%s.before-schema-%d", s.path, schemaVersion)); err != nil {
			return fmt.Errorf("copying the database before its upgrade: %w", err)
		}
	}
	sub, err := fs.Sub(migrations, "migrations")
	if err != nil {
		return err
	}
	p, err := goose.NewProvider(goose.DialectSQLite3, db, sub, goose.WithDisableGlobalRegistry(true))
	if err != nil {
		return fmt.Errorf("reading the migrations: %w", err)
	}
	if _, err := p.Up(ctx); err != nil {
		// Another process may have made the same step at the same moment.
		if has, err2 := schema(ctx, db); err2 == nil && has == schemaVersion {
			return nil
		}
		return fmt.Errorf("upgrading the database to schema %d: %w", schemaVersion, err)
	}
	return nil
}

// queryer is a database or a connection to it.
type queryer interface {
	ExecContext(ctx context.Context, query string, args ...any) (sql.Result, error)
	QueryRowContext(ctx context.Context, query string, args ...any) *sql.Row
}

// schema returns the version that the database has; 0 for an empty one.
func schema(ctx context.Context, db queryer) (int64, error) {
	var n int
	if err := db.QueryRowContext(ctx, "SELECT count(*) FROM sqlite_master WHERE name = 'goose_db_version'").Scan(&n); err != nil {
		return 0, err
	}
	if n == 0 {
		return 0, nil
	}
	var has sql.NullInt64
	err := db.QueryRowContext(ctx, "SELECT max(version_id) FROM goose_db_version WHERE is_applied").Scan(&has)
	return has.Int64, err
}

// Backup writes a consistent copy of the database to path, which must not
// exist.
func (s *Store) Backup(ctx context.Context, path string) error {
	if err := s.write.take(ctx); err != nil {
		return err
	}
	defer s.write.give()
	return backup(ctx, s.write.conn, path)
}

func backup(ctx context.Context, db queryer, path string) error {
	if err := create(path); err != nil {
		return err
	}
	if fi, err := os.Stat(path); err != nil || fi.Size() != 0 {
		return errors.Join(err, fmt.Errorf("%s: %w", path, fs.ErrExist))
	}
	_, err := db.ExecContext(ctx, "VACUUM INTO ?", path)
	return err
}

// Tx is a transaction. Its methods are the store's vocabulary.
type Tx struct {
	tx       *sql.Tx
	path     string          // of the database, for messages
	ctx      context.Context // not cancelled in the middle of a statement
	now      int64           // the one time of the transaction, in milliseconds
	prepared preparer        // of statements that outlive the transaction; nil: each has its own
	st       map[string]*sql.Stmt
	noFlags  int // whether nobody is on the work list: 0 not asked yet, 1 nobody, -1 somebody
}

// Write runs fn in a transaction that sees and changes everything alone. When
// fn returns an error nothing has changed.
func (s *Store) Write(ctx context.Context, fn func(*Tx) error) error {
	if err := s.write.take(ctx); err != nil {
		return err
	}
	defer s.write.give()
	return s.in(ctx, s.write.conn, s.write, fn)
}

// Read runs fn in a transaction that sees one state of everything and changes
// nothing.
func (s *Store) Read(ctx context.Context, fn func(*Tx) error) error {
	return s.in(ctx, s.read, nil, fn)
}

type beginner interface {
	BeginTx(ctx context.Context, o *sql.TxOptions) (*sql.Tx, error)
}

func (s *Store) in(ctx context.Context, db beginner, prepared preparer, fn func(*Tx) error) (err error) {
	if err := ctx.Err(); err != nil {
		return err
	}
	// database/sql rolls back behind our back when a context ends, and the
	// driver starts a goroutine a statement to watch it: neither is wanted for
	// transactions of milliseconds.
	whole := context.WithoutCancel(ctx)
	sqltx, err := db.BeginTx(whole, nil)
	if err != nil {
		return explain(s.path, err)
	}
	tx := &Tx{tx: sqltx, path: s.path, ctx: whole, now: s.now().UnixMilli(), prepared: prepared}
	defer func() {
		tx.closeStatements()
		if p := recover(); p != nil {
			sqltx.Rollback()
			panic(p)
		}
		if err != nil {
			sqltx.Rollback()
			err = explain(s.path, err)
			return
		}
		if err = sqltx.Commit(); err != nil {
			err = explain(s.path, fmt.Errorf("committing: %w", err))
		}
	}()
	return fn(tx)
}

// SQL returns the transaction itself, for a queue whose rows are to be written
// with ours or not at all.
func (t *Tx) SQL() *sql.Tx { return t.tx }

// Now returns the one time of the transaction.
func (t *Tx) Now() time.Time { return time.UnixMilli(t.now).UTC() }

// stmt prepares a statement, once a transaction where nobody keeps it for
// longer.
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

// exec runs a statement and returns how many rows it changed.
func (t *Tx) exec(query string, args ...any) (int64, error) {
	s, err := t.stmt(query)
	if err != nil {
		return 0, err
	}
	r, err := s.ExecContext(t.ctx, args...)
	if err != nil {
		return 0, err
	}
	return r.RowsAffected()
}

// insert runs an INSERT and returns the new row's number. RETURNING would do
// the same, at nearly twice the price a row.
func (t *Tx) insert(query string, args ...any) (int64, error) {
	s, err := t.stmt(query)
	if err != nil {
		return 0, err
	}
	r, err := s.ExecContext(t.ctx, args...)
	if err != nil {
		return 0, err
	}
	return r.LastInsertId()
}

// row runs a query for one row.
func (t *Tx) row(query string, args ...any) rowScanner {
	s, err := t.stmt(query)
	if err != nil {
		return errRow{err}
	}
	return s.QueryRowContext(t.ctx, args...)
}

// rows runs a query for many rows.
func (t *Tx) rows(query string, args ...any) (*sql.Rows, error) {
	s, err := t.stmt(query)
	if err != nil {
		return nil, err
	}
	return s.QueryContext(t.ctx, args...)
}

type rowScanner interface{ Scan(...any) error }

type errRow struct{ err error }

func (r errRow) Scan(...any) error { return r.err }

// explain says what an administrator can do about the errors of the database
// that are not dirpin's.
func explain(path string, err error) error {
	var e sqlite3.Error
	if !errors.As(err, &e) {
		return err
	}
	switch e.Code {
	case sqlite3.ErrBusy, sqlite3.ErrLocked:
		return fmt.Errorf("%s: %w: another process holds the database's write lock (fuser %s); try again when it is done", path, err, path)
	case sqlite3.ErrFull:
		return fmt.Errorf("%s: %w: free some space on that file system; nothing of this step was written", path, err)
	case sqlite3.ErrNotADB, sqlite3.ErrCorrupt:
		return fmt.Errorf("%s: %w: restore it from a backup (dirpin restore)", path, err)
	case sqlite3.ErrReadonly, sqlite3.ErrCantOpen, sqlite3.ErrPerm, sqlite3.ErrAuth:
		return fmt.Errorf("%s: %w: run as root or dirpin, and see that the file, its folder and the -wal and -shm files beside it belong to that account", path, err)
	case sqlite3.ErrIoErr:
		return fmt.Errorf("%s: %w: the disk or file system failed; see the kernel's log and the free space", path, err)
	}
	return fmt.Errorf("%s: %w", path, err)
}

func isUnique(err error) bool {
	var e sqlite3.Error
	return errors.As(err, &e) && (e.ExtendedCode == sqlite3.ErrConstraintUnique || e.ExtendedCode == sqlite3.ErrConstraintPrimaryKey)
}

// IsRowFault tells whether one row is at fault, not the database: the same
// transaction without it would succeed.
func IsRowFault(err error) bool {
	var e sqlite3.Error
	return errors.As(err, &e) && (e.Code == sqlite3.ErrConstraint || e.Code == sqlite3.ErrTooBig || e.Code == sqlite3.ErrMismatch)
}

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
