package store

import (
	"errors"

	"github.com/jackc/pgx/v5/pgconn"
	"github.com/mattn/go-sqlite3"
)

// The classes of errors of PostgreSQL (SQLSTATE).
const (
	dataException  = "22" // such as text that is none
	constraint     = "23"
	uniqueViolated = "23505"
	limitExceeded  = "54" // such as a value too long for an index
)

func isUnique(err error) bool {
	var e sqlite3.Error
	var p *pgconn.PgError
	switch {
	case errors.As(err, &e):
		return e.ExtendedCode == sqlite3.ErrConstraintUnique || e.ExtendedCode == sqlite3.ErrConstraintPrimaryKey
	case errors.As(err, &p):
		return p.Code == uniqueViolated
	}
	return false
}

// IsRowFault tells whether one row is at fault, not the database: the same
// transaction without it would succeed.
func IsRowFault(err error) bool {
	var e sqlite3.Error
	var p *pgconn.PgError
	switch {
	case errors.As(err, &e):
		return e.Code == sqlite3.ErrConstraint || e.Code == sqlite3.ErrTooBig || e.Code == sqlite3.ErrMismatch
	case errors.As(err, &p):
		class := p.Code[:min(2, len(p.Code))]
		return class == dataException || class == constraint || class == limitExceeded
	}
	return false
}
