package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"os"

	"github.com/jackc/pgx/v5/stdlib"
)

// PeekAgreements returns the agreements of which a database holds users. The
// database is not opened for work: nothing is locked, made or upgraded. None
// is there: no agreements.
func PeekAgreements(ctx context.Context, o Options) ([]string, error) {
	s, db, err := peek(o)
	if err != nil || db == nil {
		return nil, err
	}
	defer db.Close()
	has, err := s.schema(ctx, db)
	switch {
	case err != nil || has == 0:
		return nil, s.Explain(err)
	case has > schemaVersion:
		return nil, &NewerError{Path: s.name, Has: has, Can: schemaVersion}
	}
	rows, err := db.QueryContext(ctx, "SELECT DISTINCT agreement FROM users WHERE agreement <> '' ORDER BY agreement")
	if err != nil {
		return nil, fmt.Errorf("looking into the database: %w", s.Explain(err))
	}
	defer rows.Close()
	var names []string
	for rows.Next() {
		var n string
		if err := rows.Scan(&n); err != nil {
			return nil, err
		}
		names = append(names, n)
	}
	return names, rows.Err()
}

// peek returns a database to be looked into; nil where there is none.
func peek(o Options) (*Store, *sql.DB, error) {
	if o.URL == "" {
		if _, err := os.Stat(o.Path); errors.Is(err, os.ErrNotExist) {
			return nil, nil, nil
		}
		db, err := sql.Open("sqlite3", dsn(o, "mode=ro&_query_only=true"))
		return &Store{dialect: sqlite, name: o.Path, path: o.Path}, db, err
	}
	s := &Store{dialect: postgres, name: address(o.URL), server: &server{busy: o.Busy}}
	cfg, err := postgresConfig(o)
	if err != nil {
		return nil, nil, &ServerError{s.name, err.Error()}
	}
	return s, stdlib.OpenDB(*cfg, stdlib.OptionAfterConnect(s.greet)), nil
}
