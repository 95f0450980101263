package store

import (
	"context"
	"crypto/tls"
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"
	"io"
	"net"
	"slices"
	"strings"
	"time"

	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/stdlib"
)

// AwayError says that the database's server is out of reach, or has gone while
// it was asked. Nothing was changed; it may be tried again.
type AwayError struct {
	Name string
	Err  error
}

func (e *AwayError) Error() string {
	return fmt.Sprintf("%s: the database server is out of reach: %s: see that PostgreSQL runs there and takes connections from this host", e.Name, oneLine(e.Err))
}

// oneLine is the text of an error that has a line for each try to connect, most of
// them the same.
func oneLine(err error) string {
	var lines []string
	for line := range strings.Lines(err.Error()) {
		if line = strings.TrimSpace(line); !slices.Contains(lines, line) {
			lines = append(lines, line)
		}
	}
	return strings.Join(lines, " ")
}

func (e *AwayError) Unwrap() error { return e.Err }

// IsAway tells whether the error is that the server is out of reach: it may
// come back.
func IsAway(err error) bool {
	var e *AwayError
	return errors.As(err, &e)
}

// ServerError says what is wrong with the server or with how it is named, and
// what to do about it.
type ServerError struct{ Name, Text string }

func (e *ServerError) Error() string { return e.Name + ": " + e.Text }

// gone tells whether the connection is.
func gone(c *sql.Conn) bool {
	closed := false
	err := c.Raw(func(conn any) error {
		closed = conn.(*stdlib.Conn).Conn().IsClosed()
		return nil
	})
	return closed || err != nil
}

// explainPostgres says what an administrator can do about the errors of the
// server that are not dirpin's.
func explainPostgres(name string, err error) error {
	if err == nil || IsAway(err) {
		return err
	}
	var known *ServerError
	if errors.As(err, &known) {
		return known
	}
	var p *pgconn.PgError
	if !errors.As(err, &p) {
		return explainConnecting(name, err)
	}
	if comesBack(p.Code) {
		return &AwayError{name, err}
	}
	for _, a := range advice {
		if strings.HasPrefix(p.Code, a.code) {
			return fmt.Errorf("%s: %w: %s", name, err, a.text)
		}
	}
	return fmt.Errorf("%s: %w", name, err)
}

// advice is what to do, by the beginning of the SQLSTATE.
var advice = []struct{ code, text string }{
	{"28P01", "give the role's password: {url: …, password: {file: …}}, or a line in PGPASSFILE"},
	{"28000", "let the role in from this host (pg_hba.conf on the server)"},
	{"3D000", "make the database: createdb --encoding=UTF8 --template=template0 --owner=ROLE NAME"},
	{"42501", "the role must own the database's schema: GRANT ALL ON SCHEMA public TO ROLE, or make it the owner of the tables"},
	{"55P03", "another process has held the database's write lock for too long (pg_stat_activity shows it); try again when it is done"},
	{"53100", "free some space on the server's disk; nothing of this step was written"},
	{"25006", "the server takes no changes: it is a standby, or default_transaction_read_only is set"},
	{"XX001", "the server's data are damaged: restore the database from a backup"},
	{"XX002", "the server's data are damaged: restore the database from a backup"},
}

// comesBack tells whether an error of that SQLSTATE passes: the server starts,
// stops, or has no connection to spare.
func comesBack(code string) bool {
	switch code {
	case "57P01", "57P02", "57P03", "57P05", "25P03", "53300":
		return true
	}
	return strings.HasPrefix(code, "08")
}

// explainConnecting explains an error that is not the server's word: mostly that
// there was none.
func explainConnecting(name string, err error) error {
	var connecting *pgconn.ConnectError
	var network *net.OpError
	var certificate *tls.CertificateVerificationError
	switch {
	case errors.Is(err, context.Canceled):
		return err
	case errors.As(err, &certificate):
		return &ServerError{name, fmt.Sprintf("%v: name the authority's certificate with sslrootcert=FILE in the address", err)}
	case errors.As(err, &connecting), errors.As(err, &network),
		errors.Is(err, pgconn.ErrConnClosed), errors.Is(err, driver.ErrBadConn), errors.Is(err, sql.ErrConnDone),
		errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		return &AwayError{name, err}
	}
	return err
}

// notCommitted finds out what became of a transaction whose commit failed. It
// did not take place, unless the connection was lost while it was on its way:
// then the server is asked, as soon as it is there again. Whoever waits must
// not be told that nothing was written when it was.
func (s *Store) notCommitted(tx *Tx, err error) error {
	if tx.xid == "" || !gone(tx.conn) {
		return s.failed(tx, err)
	}
	for {
		status, asked := s.askStatus(tx.xid)
		switch {
		case asked != nil && !IsAway(asked):
			return errors.Join(s.failed(tx, err), asked)
		case asked == nil && status == "committed":
			return nil
		case asked == nil && status != "in progress":
			return &AwayError{s.name, err} // aborted, or never heard of
		}
		select {
		case <-tx.ended:
			return &AwayError{s.name, fmt.Errorf("%w; it is not known whether it was", err)}
		case <-time.After(time.Second):
		}
	}
}

// askStatus returns what became of a transaction: committed, aborted, in
// progress, or "" where the server does not know it: it has lost it, or is
// another one, which took its place before it had heard of it.
func (s *Store) askStatus(xid string) (string, error) {
	ctx, cancel := context.WithTimeout(context.Background(), connectWithin)
	defer cancel()
	var status sql.NullString
	err := s.write.db.QueryRowContext(ctx, "SELECT pg_xact_status($1::text::xid8)", xid).Scan(&status)
	var p *pgconn.PgError
	if errors.As(err, &p) && p.Code == "22023" { // it lies in the future
		return "", nil
	}
	if errors.Is(err, context.DeadlineExceeded) {
		return "", &AwayError{s.name, err}
	}
	return status.String, s.Explain(err)
}
