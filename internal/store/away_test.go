package store

import (
	"context"
	"database/sql"
	"testing"

	"github.com/jackc/pgx/v5/stdlib"

	"github.com/dirpin/dirpin/internal/lab"
)

// A connection that broke while nobody used it is no fault of whoever begins a
// transaction on it: it may be tried again.
func TestConnectionBrokenBeforeATransaction(t *testing.T) {
	ctx := context.Background()
	s := openWith(t, nil, Options{URL: lab.SharedPostgres(t).Schema(t)})
	nothing := func(*Tx) error { return nil }
	for range 20 { // the pool may notice by itself, where a second went by
		c, err := s.write.db.Conn(ctx)
		if err != nil {
			t.Fatal(err)
		}
		err = c.Raw(func(driver any) error { return driver.(*stdlib.Conn).Conn().PgConn().Conn().Close() })
		if err != nil {
			t.Fatal(err)
		}
		if err := c.Close(); err != nil {
			t.Fatal(err)
		}
		if err = s.Write(ctx, nothing); err == nil {
			continue
		}
		if !IsAway(err) {
			t.Errorf("a broken connection is not said to be one: %v", err)
		}
		if err := s.Write(ctx, nothing); err != nil {
			t.Errorf("the next transaction: %v", err)
		}
		return
	}
	t.Error("no transaction met the broken connection")
}

// A connection that ends while its process is alone with the tables, or before
// it has taken the lock, says so, and that it is the server's.
func TestConnectionBrokenWhileAlone(t *testing.T) {
	ctx := context.Background()
	s := openWith(t, nil, Options{URL: lab.SharedPostgres(t).Schema(t)})
	pool := s.pool(s.server.cfg, 1)
	defer pool.Close()
	end := func(c *sql.Conn) error {
		return c.Raw(func(conn any) error { return conn.(*stdlib.Conn).Conn().PgConn().Conn().Close() })
	}
	err := s.Alone(ctx, s.write.db, func() error {
		c, err := pool.Conn(ctx)
		if err != nil {
			return err
		}
		defer c.Close()
		if err := end(c); err != nil {
			return err
		}
		for err == nil { // the second time the driver knows, and says nothing else
			_, err = c.ExecContext(ctx, "SELECT 1")
		}
		if _, again := c.ExecContext(ctx, "SELECT 1"); again != nil {
			return again
		}
		return err
	})
	if !IsAway(err) {
		t.Errorf("it says: %v", err)
	}
	if err := s.Alone(ctx, s.write.db, func() error { return nil }); err != nil {
		t.Errorf("the next one: %v", err)
	}
}

// What people see of an address has no password in it.
func TestAddressWithoutPasswords(t *testing.T) {
	for text, want := range map[string]string{
		"postgres://u:hidden@db/d?sslmode=verify-full": "postgres://u@db/d?sslmode=verify-full",
		"postgres://u@db/d?password=hidden&a=b":        "postgres://u@db/d?a=b",
		"postgres://u@db/d?sslpassword=hidden&a=b":     "postgres://u@db/d?a=b",
		"postgres://u:hidden@db/%zz":                   "the PostgreSQL database",
	} {
		if got := address(text); got != want {
			t.Errorf("%s is shown as %s, want %s", text, got, want)
		}
	}
}
