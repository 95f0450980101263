package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/stdlib"
)

// MovedError says that the database was copied to another place, and is not
// the one in use any more.
type MovedError struct{ Name, To string }

func (e *MovedError) Error() string {
	return fmt.Sprintf("%s: this database was moved to %s: name that one in the configuration (store: …)", e.Name, e.To)
}

// NotEmptyError says that there is something already where a copy was to go.
type NotEmptyError struct{ Name, Table string }

func (e *NotEmptyError) Error() string {
	return fmt.Sprintf("%s: there are rows in %s already: copy into an empty database", e.Name, e.Table)
}

const metaMoved = "moved"

// refuseMoved refuses a database that was moved.
func (s *Store) refuseMoved(ctx context.Context) error {
	var to string
	err := s.Read(ctx, func(tx *Tx) error {
		return tx.row("SELECT value FROM meta WHERE name = ?", metaMoved).Scan(&to)
	})
	if errors.Is(err, sql.ErrNoRows) {
		return nil
	}
	if err == nil {
		err = &MovedError{s.name, to}
	}
	return err
}

// Move copies everything to another, empty database, of whichever kind, and
// leaves this one marked as moved: opening it is refused from then on. Nobody
// may work with either. All of it is there or nothing is; a kill between the
// two commits leaves both, this one in use. It returns how many rows each table
// has.
//
// What is copied is no restore: it has the incarnation of this one, raised.
func (s *Store) Move(ctx context.Context, to *Store) (map[string]int64, error) {
	counts := make(map[string]int64)
	err := s.Write(ctx, func(from *Tx) error {
		tables, err := from.tables()
		if err != nil {
			return err
		}
		err = to.Write(ctx, func(tx *Tx) error {
			for _, table := range tables {
				if counts[table], err = from.copyTable(tx, table); err != nil {
					return fmt.Errorf("copying %s: %w", table, err)
				}
			}
			return tx.settleIn(from)
		})
		if err != nil {
			return err
		}
		return from.setMeta(metaMoved, to.name)
	})
	return counts, err
}

// ownTables are those that belong to a place, not to the data in it.
var ownTables = []string{"goose_db_version", "owners", "leases", "pauses"}

// tables returns the tables that a copy has, those that others refer to first.
func (t *Tx) tables() ([]string, error) {
	query := "SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite_%' ORDER BY name"
	if t.dialect == postgres {
		query = "SELECT tablename::text FROM pg_tables WHERE schemaname = current_schema() ORDER BY 1"
	}
	rows, err := t.rows(query)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	first := []string{"users", "jobs"}
	var others []string
	for rows.Next() {
		var name string
		if err := rows.Scan(&name); err != nil {
			return nil, err
		}
		if !slices.Contains(ownTables, name) && !strings.HasPrefix(name, "river_") && !slices.Contains(first, name) {
			others = append(others, name)
		}
	}
	return append(first, others...), rows.Err()
}

// copyTable copies the rows of a table that must be empty there, and counts
// them on both sides.
func (t *Tx) copyTable(to *Tx, table string) (int64, error) {
	empty, err := to.any("SELECT NOT EXISTS (SELECT 1 FROM " + table + ")")
	if err != nil {
		return 0, err
	}
	if !empty {
		return 0, &NotEmptyError{to.name, table}
	}
	rows, err := t.rows("SELECT * FROM " + table)
	if err != nil {
		return 0, err
	}
	defer rows.Close()
	columns, err := rows.Columns()
	if err != nil {
		return 0, err
	}
	src := &rowSource{rows: rows, values: make([]any, len(columns)), into: make([]any, len(columns))}
	for i := range src.values {
		src.into[i] = &src.values[i]
	}
	if err := to.fill(table, columns, src); err != nil {
		return 0, err
	}
	if err := errors.Join(src.Err(), rows.Close()); err != nil {
		return 0, err
	}
	var here, there int64
	err = errors.Join(t.row("SELECT count(*) FROM "+table).Scan(&here), to.row("SELECT count(*) FROM "+table).Scan(&there))
	if err == nil && here != there {
		err = fmt.Errorf("%d rows became %d", here, there)
	}
	return there, err
}

// fill writes rows to an empty table.
func (t *Tx) fill(table string, columns []string, src *rowSource) error {
	if t.dialect == postgres {
		return t.copyFrom(table, columns, src)
	}
	query := "INSERT INTO " + table + " (" + strings.Join(columns, ", ") + ") VALUES (" + placeholders(len(columns)) + ")"
	for src.Next() {
		values, err := src.Values()
		if err != nil {
			return err
		}
		if _, err := t.exec(query, values...); err != nil {
			return err
		}
	}
	return nil
}

// copyFrom streams rows to a table of PostgreSQL.
func (t *Tx) copyFrom(table string, columns []string, rows pgx.CopyFromSource) error {
	return t.conn.Raw(func(driver any) error {
		_, err := driver.(*stdlib.Conn).Conn().CopyFrom(t.ctx, pgx.Identifier{table}, columns, rows)
		return err
	})
}

// settleIn makes a copy what it has to be in its place: its numbers go on, and
// it is the database that this installation used last.
func (t *Tx) settleIn(from *Tx) error {
	for _, table := range []string{"users", "orders"} {
		last, err := from.lastNumber(table)
		if err == nil {
			err = t.setLastNumber(table, last)
		}
		if err != nil {
			return fmt.Errorf("having the numbers of %s go on: %w", table, err)
		}
	}
	if _, err := t.exec("DELETE FROM meta WHERE name = ?", metaPlace); err != nil {
		return err
	}
	in, err := t.Incarnation()
	if err != nil || in.ID == "" {
		return err
	}
	in.Generation++
	return t.SetIncarnation(in)
}

// lastNumber is the highest number that a table has ever given.
func (t *Tx) lastNumber(table string) (n int64, err error) {
	query := "SELECT coalesce(max(seq), 0) FROM sqlite_sequence WHERE name = '" + table + "'"
	if t.dialect == postgres {
		query = "SELECT CASE WHEN is_called THEN last_value ELSE 0 END FROM " + table + "_id_seq"
	}
	err = t.row(query).Scan(&n)
	return n, err
}

func (t *Tx) setLastNumber(table string, n int64) error {
	if n == 0 {
		return nil
	}
	if t.dialect == postgres {
		var ignored int64
		return t.row("SELECT setval(pg_get_serial_sequence(?, 'id'), ?)", table, n).Scan(&ignored)
	}
	if _, err := t.exec("DELETE FROM sqlite_sequence WHERE name = ?", table); err != nil {
		return err
	}
	_, err := t.exec("INSERT INTO sqlite_sequence (name, seq) VALUES (?, ?)", table, n)
	return err
}

// rowSource reads rows for a copy.
type rowSource struct {
	rows         *sql.Rows
	values, into []any
}

func (r *rowSource) Next() bool { return r.rows.Next() }

func (r *rowSource) Values() ([]any, error) {
	err := r.rows.Scan(r.into...)
	return r.values, err
}

func (r *rowSource) Err() error { return r.rows.Err() }
