package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"time"

	"github.com/mattn/go-sqlite3" // the driver, and its error codes
)

// openSQLite opens a file. There is one writing connection, SQLite allows no
// more of them, and a pool of those that read. Each of these would keep what it
// has read: the system has that too, and 2 MB hold the upper pages of a million
// users.
func openSQLite(ctx context.Context, o Options) (*Store, error) {
	if o.Now == nil {
		o.Now = time.Now
	}
	if err := create(o.Path); err != nil {
		return nil, fmt.Errorf("opening the database: %w", err)
	}
	if err := refuseNetwork(o.Path); err != nil {
		return nil, err
	}
	if err := extend(); err != nil {
		return nil, err
	}
	s := &Store{dialect: sqlite, name: o.Path, path: o.Path, now: o.Now}
	var err error
	if s.read, err = sql.Open("sqlite3", dsn(o, "_query_only=true&_cache_size=-2000")); err != nil {
		return nil, fmt.Errorf("opening the database %s: %w", o.Path, err)
	}
	s.read.SetMaxOpenConns(8)
	s.read.SetMaxIdleConns(4)
	if s.write, err = openWriter(ctx, dsn(o, "_txlock=immediate&_auto_vacuum=incremental&_cache_size=-8000"), s.migrate); err != nil {
		s.read.Close()
		return nil, s.Explain(err)
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
	return fileURI(abs, "_journal_mode=WAL&_synchronous=FULL&_foreign_keys=on&_secure_delete=on&_busy_timeout="+
		strconv.FormatInt(o.Busy.Milliseconds(), 10)+"&"+more)
}

// unchanging opens a file that nobody writes, and leaves nothing beside it.
func unchanging(path string) string {
	return fileURI(path, "mode=ro&immutable=1")
}

// fileURI is how SQLite is told of a file and how to open it, whatever characters
// the path has: file:///C:/ProgramData/… on Windows.
func fileURI(path, query string) string {
	path = filepath.ToSlash(path)
	if filepath.VolumeName(path) != "" {
		path = "/" + path
	}
	u := url.URL{Scheme: "file", Path: path, RawQuery: query}
	return u.String()
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

// isDamaged tells whether the file is none of SQLite's, or a damaged one.
func isDamaged(err error) bool {
	var e sqlite3.Error
	return errors.As(err, &e) && (e.Code == sqlite3.ErrCorrupt || e.Code == sqlite3.ErrNotADB)
}

// compactable has an older database give space back as it is freed (Vacuum):
// that is decided when a database is written as a whole.
func compactable(ctx context.Context, db queryer) error {
	var mode int
	if err := db.QueryRowContext(ctx, "PRAGMA auto_vacuum").Scan(&mode); err != nil || mode != 0 {
		return err
	}
	_, err := db.ExecContext(ctx, "VACUUM")
	return err
}

// explainSQLite says what an administrator can do about the errors of the database
// that are not dirpin's.
func explainSQLite(path string, err error) error {
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
