package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"os"
)

// PeekAgreements returns the agreements of which a database holds users. The
// database is not opened for work: nothing is locked, made or upgraded. None
// is there: no agreements.
func PeekAgreements(ctx context.Context, path string) ([]string, error) {
	if _, err := os.Stat(path); errors.Is(err, os.ErrNotExist) {
		return nil, nil
	}
	db, err := sql.Open("sqlite3", dsn(Options{Path: path}, "mode=ro&_query_only=true"))
	if err != nil {
		return nil, err
	}
	defer db.Close()
	rows, err := db.QueryContext(ctx, "SELECT DISTINCT agreement FROM users WHERE agreement <> '' ORDER BY agreement")
	if err != nil {
		return nil, fmt.Errorf("looking into the database %s: %w", path, err)
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
