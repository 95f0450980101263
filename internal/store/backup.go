package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
)

// ErrNoBackup says that a database on a server is backed up there.
var ErrNoBackup = errors.New("the database is on a PostgreSQL server: back it up and restore it there (pg_dump, pg_restore, or its continuous archive)")

// withoutValues are the statements that leave out of a copy what is sealed, and
// what has a meaning in the database that it was made of alone. A value that was
// erased must not live on in a backup, and one that was not is of no use to a
// restored database: nothing is sent again there.
var withoutValues = []string{
	"UPDATE jobs SET job_key = NULL, pin = NULL, password = NULL",
	"UPDATE job_lists SET content = NULL WHERE content IS NOT NULL",
	"UPDATE legs SET value = NULL, body = NULL WHERE value IS NOT NULL OR body IS NOT NULL",
	"UPDATE parts SET body = NULL WHERE body IS NOT NULL",
	"UPDATE journal SET body = NULL WHERE body IS NOT NULL",
	"DELETE FROM leases", "DELETE FROM pauses", "DELETE FROM orders", "DELETE FROM sync_states",
}

// BackupTo writes a consistent copy of the database to w, without the values of
// jobs that are sealed in it. Nobody waits for it: it is made of a snapshot, in
// a file beside the database that is gone afterwards.
func (s *Store) BackupTo(ctx context.Context, w io.Writer) (err error) {
	if s.dialect == postgres {
		return ErrNoBackup
	}
	dir, err := os.MkdirTemp(filepath.Dir(s.path), ".backup-*")
	if err != nil {
		return fmt.Errorf("backing up: %w", err)
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	path := filepath.Join(dir, "copy")
	if err := s.copyTo(ctx, path); err != nil {
		return fmt.Errorf("copying the database: %w", s.Explain(err))
	}
	if err := forgetValues(ctx, path); err != nil {
		return fmt.Errorf("leaving the values out of the copy: %w", err)
	}
	f, err := os.Open(path)
	if err != nil {
		return fmt.Errorf("backing up: %w", err)
	}
	defer f.Close()
	_, err = io.Copy(w, f)
	return err
}

func (s *Store) copyTo(ctx context.Context, path string) error {
	db, err := sql.Open("sqlite3", dsn(Options{Path: s.path, Busy: defaultBusy}, "mode=ro"))
	if err != nil {
		return err
	}
	defer db.Close()
	return backup(ctx, db, path)
}

func forgetValues(ctx context.Context, path string) (err error) {
	db, err := sql.Open("sqlite3", fileURI(path, "_secure_delete=on&_foreign_keys=off&_journal_mode=OFF&_synchronous=OFF"))
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, db.Close()) }()
	db.SetMaxOpenConns(1)
	queries := append([]string(nil), withoutValues...)
	rows, err := db.QueryContext(ctx, "SELECT name FROM sqlite_master WHERE type = 'table' AND name LIKE 'river\\_%' ESCAPE '\\' AND name <> 'river_migration'")
	if err != nil {
		return err
	}
	for rows.Next() {
		var name string
		if err := rows.Scan(&name); err != nil {
			rows.Close()
			return err
		}
		queries = append(queries, `DELETE FROM "`+name+`"`)
	}
	if err := errors.Join(rows.Err(), rows.Close()); err != nil {
		return err
	}
	for _, q := range append(queries, "VACUUM") {
		if _, err := db.ExecContext(ctx, q); err != nil {
			return err
		}
	}
	return nil
}

// Inspect tells whether the file is a whole database of ours, that this program
// can open: its schema, and what each key of its key ring computes.
func Inspect(ctx context.Context, path string) (keys map[string][]byte, err error) {
	db, err := sql.Open("sqlite3", unchanging(path))
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, db.Close()) }()
	var check string
	if err := db.QueryRowContext(ctx, "PRAGMA quick_check(1)").Scan(&check); err != nil {
		return nil, fmt.Errorf("it is no SQLite database, or a damaged one: %w", err)
	}
	if check != "ok" {
		return nil, fmt.Errorf("it is damaged: %s", check)
	}
	s := &Store{dialect: sqlite, name: path, path: path}
	switch has, err := s.schema(ctx, db); {
	case err != nil:
		return nil, err
	case has == 0:
		return nil, errors.New("it is no database of dirpin")
	case has > schemaVersion:
		return nil, &NewerError{Path: path, Has: has, Can: schemaVersion}
	}
	keys = make(map[string][]byte)
	rows, err := db.QueryContext(ctx, "SELECT key_id, check_value FROM key_checks")
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	for rows.Next() {
		var id string
		var value []byte
		if err := rows.Scan(&id, &value); err != nil {
			return nil, err
		}
		keys[id] = value
	}
	return keys, rows.Err()
}

// Replace puts a database file, made durable already, in the place of another,
// which is kept under the name aside; "" where there was none. Whoever is killed
// meanwhile leaves one of the two in place, whole. Nobody may have either open.
func Replace(ctx context.Context, path, with, aside string) (kept string, err error) {
	if _, err := os.Stat(path); err == nil {
		if err := settleFile(ctx, path); err != nil {
			return "", err
		}
		if err := os.Link(path, aside); err != nil {
			return "", fmt.Errorf("keeping the former database: %w", err)
		}
		kept = aside
	} else if !errors.Is(err, os.ErrNotExist) {
		return "", err
	}
	if err := os.Rename(with, path); err != nil {
		return kept, fmt.Errorf("putting the database in place: %w", err)
	}
	return kept, syncFolder(filepath.Dir(path))
}

// settleFile makes the database one file: a journal that is left beside it would
// be taken for the next one's. One that is damaged keeps its journal under
// another name.
func settleFile(ctx context.Context, path string) error {
	db, err := sql.Open("sqlite3", dsn(Options{Path: path, Busy: defaultBusy}, "_txlock=immediate"))
	if err != nil {
		return err
	}
	db.SetMaxOpenConns(1)
	var mode string
	err = errors.Join(db.QueryRowContext(ctx, "PRAGMA journal_mode = DELETE").Scan(&mode), db.Close())
	if err != nil && !isDamaged(err) {
		return fmt.Errorf("closing the former database: %w", explainSQLite(path, err))
	}
	for _, end := range []string{"-wal", "-shm"} {
		if err := os.Rename(path+end, path+".damaged"+end); err != nil && !errors.Is(err, os.ErrNotExist) {
			return err
		}
	}
	return nil
}
