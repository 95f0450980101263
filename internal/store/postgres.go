package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"net"
	"net/url"
	"strconv"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/stdlib"
)

// minPostgres is the oldest server that is used, by its server_version_num:
// pg_current_xact_id came with it.
const minPostgres = 130000

// connectWithin is how long a connection may take where the address doesn't
// say.
const connectWithin = 10 * time.Second

// openPostgres opens a database on a server.
func openPostgres(ctx context.Context, o Options) (*Store, error) {
	s := &Store{dialect: postgres, name: address(o.URL), now: o.Now, server: &server{busy: o.Busy, dir: o.Dir, ownClock: o.Now != nil}}
	if s.now == nil {
		s.now = s.server.now
	}
	cfg, err := postgresConfig(o)
	if err != nil {
		return nil, &ServerError{s.name, err.Error()}
	}
	s.server.cfg = cfg
	s.read = s.pool(cfg, 8)
	// The writer, the beat, and whoever asks what became of a transaction.
	s.write = newWriter(s.pool(cfg, 3))
	if err := s.enter(ctx, s.write.db); err != nil {
		return nil, errors.Join(s.Explain(err), s.Close())
	}
	return s, nil
}

// address is an address without a password.
func address(text string) string {
	u, err := url.Parse(text)
	if err != nil {
		return "the PostgreSQL database"
	}
	if u.User != nil {
		u.User = url.User(u.User.Username())
	}
	q := u.Query()
	for _, secret := range []string{"password", "sslpassword"} {
		if q.Has(secret) {
			q.Del(secret)
			u.RawQuery = q.Encode()
		}
	}
	return u.String()
}

// postgresConfig reads the address, with all that libpq reads besides:
// PGPASSFILE, ~/.pgpass and so on.
func postgresConfig(o Options) (*pgx.ConnConfig, error) {
	cfg, err := pgx.ParseConfig(o.URL)
	if err != nil {
		return nil, err
	}
	if !o.Password.IsZero() {
		cfg.Password = o.Password.Reveal()
	}
	if cfg.ConnectTimeout == 0 {
		cfg.ConnectTimeout = connectWithin
	}
	if cfg.RuntimeParams["application_name"] == "" {
		cfg.RuntimeParams["application_name"] = "dirpin"
	}
	cfg.DialFunc = dialer(cfg.ConnectTimeout).DialContext
	return cfg, nil
}

// session is what every session is set to. What has been committed is on the
// disk (S16), whoever holds the lock of the writers and falls silent loses it,
// and nobody waits for it for ever.
const session = `SELECT set_config('synchronous_commit', CASE current_setting('synchronous_commit') WHEN 'remote_apply' THEN 'remote_apply' ELSE 'on' END, FALSE),
	set_config('lock_timeout', '%d', FALSE), set_config('statement_timeout', '0', FALSE), set_config('idle_in_transaction_session_timeout', '%d', FALSE),
	set_config('jit', 'off', FALSE), current_setting('server_version_num'), current_setting('server_encoding'), pg_is_in_recovery(),
	CASE WHEN pg_is_in_recovery() THEN '' ELSE ` + serverIdentity + ` END`

// serverIdentity is the server's and its timeline, which changes when a standby
// is promoted or a backup recovered.
const serverIdentity = `(SELECT system_identifier FROM pg_control_system())::text || '/' || substr(pg_walfile_name(pg_current_wal_lsn()), 1, 8)`

// silentFor is how long a session may be silent within a transaction: a process
// that was stopped, or cut from the network, keeps no other from writing for
// longer.
const silentFor = 15 * time.Second

func (s *Store) pool(cfg *pgx.ConnConfig, most int) *sql.DB {
	db := stdlib.OpenDB(*cfg, stdlib.OptionAfterConnect(s.greet))
	db.SetMaxOpenConns(most)
	db.SetMaxIdleConns(most)
	db.SetConnMaxIdleTime(5 * time.Minute)
	return db
}

// greet prepares a new session.
func (s *Store) greet(ctx context.Context, c *pgx.Conn) error {
	var ignored, number, encoding, identity string
	var standby bool
	query := fmt.Sprintf(session, s.server.busy.Milliseconds(), silentFor.Milliseconds())
	err := c.QueryRow(ctx, query, pgx.QueryExecModeSimpleProtocol).Scan(&ignored, &ignored, &ignored, &ignored, &ignored, &number, &encoding, &standby, &identity)
	if err != nil {
		return err
	}
	version, err := strconv.Atoi(number)
	switch {
	case err != nil:
		return fmt.Errorf("the server's version is %q: %w", number, err)
	case version < minPostgres:
		return &ServerError{s.name, fmt.Sprintf("the server is PostgreSQL %d.%d, and %d is the oldest that can be used: upgrade it", version/10000, version%10000, minPostgres/10000)}
	case encoding != "UTF8":
		return &ServerError{s.name, "the database's encoding is " + encoding + ": make one with ENCODING 'UTF8' TEMPLATE template0"}
	case standby:
		return &ServerError{s.name, "the server is a standby, which takes no changes: name the primary, or all hosts with target_session_attrs=read-write"}
	case !s.server.is(identity):
		// What was committed may be missing here: the next start looks.
		return &ServerError{s.name, "the server is not the one that it was (" + identity + "): a standby was promoted, or a backup recovered; start again"}
	}
	return nil
}

// enter brings the schema up to date, one process at a time.
func (s *Store) enter(ctx context.Context, db *sql.DB) error {
	if has, err := s.schema(ctx, db); err != nil || has == schemaVersion {
		return err
	}
	return alone(ctx, db, func() error { return s.migrate(ctx, db) })
}

// Alone does something that makes tables in a pool of Shared, one process at a
// time.
func (s *Store) Alone(ctx context.Context, pool *sql.DB, do func() error) error {
	if s.dialect != postgres { // whose transactions are alone anyway
		return do()
	}
	return s.Explain(alone(ctx, pool, do))
}

func alone(ctx context.Context, db *sql.DB, do func() error) (err error) {
	conn, err := db.Conn(ctx)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, conn.Close()) }()
	if _, err := conn.ExecContext(ctx, "SELECT pg_advisory_lock("+lockKey+" + 1)"); err != nil {
		return err
	}
	err = do()
	_, err2 := conn.ExecContext(context.WithoutCancel(ctx), "SELECT pg_advisory_unlock("+lockKey+" + 1)")
	return errors.Join(err, err2)
}

// lockKey is the number of the advisory lock that writers take: one a schema.
const lockKey = "hashtextextended('dirpin ' || current_schema(), 0)"

// writePostgres runs fn in a transaction that sees and changes everything
// alone, as on SQLite, across all nodes. Serializable transactions would
// promise the same and keep it by throwing work away: every group of results
// counts in the one row of its job. With the lock nothing is ever undone for
// another's sake, and each statement sees all that was committed before.
func (s *Store) writePostgres(ctx context.Context, fn func(*Tx) error) error {
	return s.onServer(ctx, s.write.db, nil, func(tx *Tx) error {
		var locked string
		var now int64
		err := tx.tx.QueryRowContext(tx.ctx, "SELECT pg_advisory_xact_lock("+lockKey+")::text, pg_current_xact_id()::text, (extract(epoch FROM clock_timestamp()) * 1000)::bigint").Scan(&locked, &tx.xid, &now)
		if err != nil {
			return err
		}
		s.server.saw(now)
		if !s.server.ownClock {
			tx.now = now
		}
		return fn(tx)
	})
}

// readPostgres runs fn in a transaction that sees one state.
func (s *Store) readPostgres(ctx context.Context, fn func(*Tx) error) error {
	return s.onServer(ctx, s.read, &sql.TxOptions{Isolation: sql.LevelRepeatableRead, ReadOnly: true}, fn)
}

// onServer runs fn in a transaction on a connection of the pool.
func (s *Store) onServer(ctx context.Context, pool *sql.DB, o *sql.TxOptions, fn func(*Tx) error) error {
	c, err := pool.Conn(ctx)
	if err != nil {
		return s.Explain(err)
	}
	defer c.Close()
	return s.begin(ctx, c, o, &Tx{conn: c}, fn)
}

// server is what is known of the server, and how long it is waited for.
type server struct {
	cfg      *pgx.ConnConfig
	busy     time.Duration
	dir      string       // of our locks
	ownClock bool         // tests have their own
	ahead    atomic.Int64 // of our clock, milliseconds
	identity atomic.Pointer[string]
}

// is tells whether that is the server that the first session was on.
func (s *server) is(identity string) bool {
	return s.identity.CompareAndSwap(nil, &identity) || *s.identity.Load() == identity
}

// saw learns the server's time.
func (s *server) saw(now int64) { s.ahead.Store(now - time.Now().UnixMilli()) }

// now is the server's time: all nodes have the same.
func (s *server) now() time.Time {
	return time.Now().Add(time.Duration(s.ahead.Load()) * time.Millisecond)
}

// Remarks says what is unsafe about how the database is kept, and what to do.
func (s *Store) Remarks(ctx context.Context) (remarks []string, err error) {
	if s.dialect != postgres {
		return nil, nil
	}
	var fsync, pages, from string
	var encrypted bool
	err = s.Read(ctx, func(tx *Tx) error {
		return tx.row(`SELECT current_setting('fsync'), current_setting('full_page_writes'),
			coalesce((SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()), FALSE), coalesce(host(inet_client_addr()), '')`).Scan(&fsync, &pages, &encrypted, &from)
	})
	if err != nil {
		return nil, err
	}
	if fsync != "on" || pages != "on" {
		remarks = append(remarks, s.name+": fsync or full_page_writes is off on the server: a crash of its machine may lose what was accepted, or damage everything; switch both on")
	}
	if ip := net.ParseIP(from); !encrypted && ip != nil && !ip.IsLoopback() {
		remarks = append(remarks, s.name+": the connection is not encrypted: all that is in the database can be read on the way; add sslmode=verify-full")
	}
	return remarks, nil
}
