package lab

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"

	"github.com/dirpin/dirpin/internal/child"
)

// Postgres is a PostgreSQL server.
type Postgres struct {
	dir       string // its own
	bin       string
	port      int
	durable   bool
	account   *syscall.Credential // that it runs as; nil: ours
	process   *child.Process
	databases atomic.Int64
}

// postgresSuperuser is the role of the tests, which may do everything.
const postgresSuperuser = "lab"

// NewPostgres starts a server for this test alone, which keeps what is
// committed through a crash.
func NewPostgres(t testing.TB) *Postgres {
	t.Helper()
	p, err := newPostgres(true)
	if p != nil {
		t.Cleanup(p.remove)
	}
	fatal(t, err)
	return p
}

// sharedPostgres is the server that the tests of a process share.
var sharedPostgres shared

type shared struct {
	once   sync.Once
	server *Postgres
	err    error
}

func (s *shared) remove() {
	if s.server != nil {
		s.server.remove()
	}
}

// SharedPostgres returns the server that the tests of a process share. It
// writes nothing through to the disk.
func SharedPostgres(t testing.TB) *Postgres {
	t.Helper()
	sharedPostgres.once.Do(func() { sharedPostgres.server, sharedPostgres.err = newPostgres(false) })
	fatal(t, sharedPostgres.err)
	return sharedPostgres.server
}

// newPostgres makes a cluster in a folder of its own and starts it. PostgreSQL
// refuses to run as root: the account that Debian made for it runs it then.
func newPostgres(durable bool) (*Postgres, error) {
	p := &Postgres{durable: durable}
	var err error
	if p.bin, err = postgresPrograms(); err != nil {
		return nil, err
	}
	if p.dir, err = os.MkdirTemp("", "dirpin-lab-"); err != nil {
		return nil, err
	}
	if os.Getuid() == 0 {
		if p.account, err = accountOf("postgres"); err != nil {
			return p, err
		}
		if err := os.Chown(p.dir, int(p.account.Uid), int(p.account.Gid)); err != nil {
			return p, err
		}
	}
	ports, err := child.FreePorts("127.0.0.1", 1)
	if err != nil {
		return p, err
	}
	p.port = ports[0]
	initdb := p.command("initdb", "--no-sync", "--encoding=UTF8", "--locale=C", "--auth=trust", "--username="+postgresSuperuser, "--pgdata="+p.data())
	if out, err := initdb.CombinedOutput(); err != nil {
		return p, fmt.Errorf("making a PostgreSQL cluster: %w: %s", err, child.LastLines(out))
	}
	return p, p.Start()
}

// postgresPrograms returns the folder of the programs of the newest version.
func postgresPrograms() (string, error) {
	found, err := filepath.Glob("/usr/lib/postgresql/*/bin/postgres")
	if err != nil || len(found) == 0 {
		return "", errors.Join(err, fmt.Errorf("/usr/lib/postgresql/*/bin/postgres %w", errMissing))
	}
	version := func(path string) int {
		n, _ := strconv.Atoi(filepath.Base(filepath.Dir(filepath.Dir(path))))
		return n
	}
	return filepath.Dir(slices.MaxFunc(found, func(a, b string) int { return version(a) - version(b) })), nil
}

func accountOf(name string) (*syscall.Credential, error) {
	u, err := user.Lookup(name)
	if err != nil {
		return nil, err
	}
	uid, err1 := strconv.ParseUint(u.Uid, 10, 32)
	gid, err2 := strconv.ParseUint(u.Gid, 10, 32)
	return &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}, errors.Join(err1, err2)
}

func (p *Postgres) data() string { return filepath.Join(p.dir, "data") }

func (p *Postgres) command(program string, args ...string) *exec.Cmd {
	cmd := exec.Command(filepath.Join(p.bin, program), args...)
	cmd.Dir = p.dir
	// SIGQUIT has it take its shared memory along.
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: p.account, Pdeathsig: syscall.SIGQUIT}
	return cmd
}

// Start starts the server, on the port that it had.
func (p *Postgres) Start() error {
	args := []string{"-D", p.data(), "-p", strconv.Itoa(p.port), "-c", "listen_addresses=127.0.0.1", "-c", "unix_socket_directories=" + p.dir,
		"-c", "max_connections=200", "-c", "shared_buffers=32MB", "-c", "log_min_messages=panic", "-c", "autovacuum=off"}
	if !p.durable {
		args = append(args, "-c", "fsync=off", "-c", "full_page_writes=off")
	}
	var err error
	if p.process, err = child.Start("postgres", p.command("postgres", args...)); err != nil {
		return err
	}
	if err := p.process.Await(context.Background(), net.JoinHostPort("127.0.0.1", strconv.Itoa(p.port))); err != nil {
		return err
	}
	return p.ready()
}

// ready waits until sessions are let in: connections are taken before.
func (p *Postgres) ready() error {
	var out []byte
	var err error
	for range 500 { // each takes some 10 ms
		if out, err = p.psql("postgres", "SELECT 1").CombinedOutput(); err == nil || !p.process.Running() {
			break
		}
	}
	if err != nil {
		return fmt.Errorf("asking PostgreSQL whether it is ready: %w: %s", err, child.LastLines(out))
	}
	return nil
}

func (p *Postgres) psql(database, statements string) *exec.Cmd {
	return p.command("psql", "-XAtq", "-v", "ON_ERROR_STOP=1", "-h", p.dir, "-p", strconv.Itoa(p.port), "-U", postgresSuperuser, "-d", database, "-c", statements)
}

// Stop has the server end as an administrator would who doesn't wait for
// sessions to end.
func (p *Postgres) Stop() error { return p.process.Stop(syscall.SIGINT) }

// Crash ends the server at once, without a checkpoint.
func (p *Postgres) Crash() error { return p.process.Stop(syscall.SIGQUIT) }

func (p *Postgres) remove() {
	p.process.Stop(syscall.SIGQUIT)
	os.RemoveAll(p.dir)
}

// Database makes an empty database for the test and returns its address.
func (p *Postgres) Database(t testing.TB) string {
	t.Helper()
	name := fmt.Sprintf("t%d", p.databases.Add(1))
	p.SQL(t, "postgres", "CREATE DATABASE "+name)
	t.Cleanup(func() {
		if p.process.Running() {
			p.SQL(t, "postgres", "DROP DATABASE "+name+" WITH (FORCE)")
		}
	})
	return p.URL(name)
}

// URL returns the address of a database.
func (p *Postgres) URL(database string) string {
	return fmt.Sprintf("postgres://%s@127.0.0.1:%d/%s?sslmode=disable", postgresSuperuser, p.port, database)
}

// Schema makes an empty schema for the test and returns its address. That
// takes a hundredth of the time of a database.
func (p *Postgres) Schema(t testing.TB) string {
	t.Helper()
	name := fmt.Sprintf("t%d", p.databases.Add(1))
	p.SQL(t, "postgres", "CREATE SCHEMA "+name)
	return p.URL("postgres") + "&options=-csearch_path%3D" + name
}

// SQL runs statements in a database and returns what they print.
func (p *Postgres) SQL(t testing.TB, database, statements string) string {
	t.Helper()
	out, err := p.psql(database, statements).CombinedOutput()
	if err != nil {
		t.Fatalf("%s: %v: %s", statements, err, child.LastLines(out))
	}
	return string(out)
}
