package config

import (
	"net"
	"net/url"
	"strconv"
	"strings"

	"github.com/dirpin/dirpin/internal/secret"
	"github.com/dirpin/dirpin/internal/strictyaml"
)

func (d *decoder) store(n *strictyaml.Node, s *Store) {
	if n == nil {
		return
	}
	if n.Kind == strictyaml.Scalar && n.Text == "sqlite" {
		return
	}
	if n.Kind != strictyaml.Mapping {
		d.storeURL(n, s)
		return
	}
	m := d.Mapping(n, "url", "password")
	d.storeURL(d.Require(m, "url"), s)
	if p := m.Get("password"); p != nil {
		if !s.Password.IsZero() {
			d.Fault(p, "password: the url has one already: leave that out")
		}
		d.secret(p, &s.Password)
	}
}

// storeURL reads the address of a database. A password in it becomes the
// store's Password, so that the URL may be shown.
func (d *decoder) storeURL(n *strictyaml.Node, s *Store) {
	text, ok := d.String(n)
	if !ok {
		return
	}
	u, err := url.Parse(text)
	if err != nil || u.Scheme != "postgres" && u.Scheme != "postgresql" || u.Host == "" && u.Query().Get("host") == "" {
		d.Fault(n, "store: sqlite or an address such as postgres://user@host/db?sslmode=verify-full is needed")
		return
	}
	if password, has := u.User.Password(); has {
		d.Warn(n, "store: the url holds a plain password: better {url: …, password: {file: …}}")
		s.Password = Secret{Plain: secret.New(password)}
		u.User = url.User(u.User.Username())
	}
	if u.Query().Has("password") {
		d.Fault(n, "store: a password stands in the url's options: write {url: …, password: {file: …}}")
		return
	}
	d.storeEncryption(n, u)
	s.SQLite, s.URL = "", u.String()
}

// storeEncryption warns of a connection over a network that others can read, or
// answer in the server's place.
func (d *decoder) storeEncryption(n *strictyaml.Node, u *url.URL) {
	hosts := u.Host
	if hosts == "" {
		hosts = u.Query().Get("host")
	}
	for _, host := range strings.Split(hosts, ",") {
		if name, _, err := net.SplitHostPort(host); err == nil {
			host = name
		}
		if strings.HasPrefix(host, "/") || isLoopback(strings.Trim(host, "[]")) {
			continue // a socket, or this machine
		}
		switch u.Query().Get("sslmode") {
		case "verify-full":
		case "require", "verify-ca":
			d.Warn(n, "store: another server could answer in the place of %s: sslmode=verify-full checks its certificate and name", host)
		default:
			d.Warn(n, "store: the connection to %s need not be encrypted, and all that is in the database could be read on the way: add sslmode=verify-full", host)
		}
		return
	}
}

func (d *decoder) keyFile(n *strictyaml.Node, s *Secret) {
	switch {
	case n == nil:
	case n.Kind == strictyaml.Mapping:
		d.secret(n, s)
		if s.Sealed != "" {
			d.Fault(n, "key_file: the key ring cannot be sealed by itself: use a path, {file}, {env} or {credential}")
		}
	default:
		d.path(n, &s.File)
	}
}

func (d *decoder) log(n *strictyaml.Node, l *Log) {
	m := d.Mapping(n, "level", "format", "file")
	d.enum(m.Get("level"), &l.Level, "debug", "info", "warn", "error")
	d.enum(m.Get("format"), &l.Format, "text", "json", "journald")
	d.path(m.Get("file"), &l.File)
	if l.File != "" && l.Format == "journald" {
		d.Fault(m.Get("file"), "file: with format journald the log goes to the journal: leave one of them out")
	}
}

func (d *decoder) credentials(n *strictyaml.Node, c *Credentials) {
	m := d.Mapping(n, "pin", "password", "lockout")
	pin := d.Mapping(m.Get("pin"), "min_length", "max_length", "forbid_trivial", "history", "expires", "hash")
	d.int(pin.Get("min_length"), &c.PIN.MinLength, 1, 32)
	d.int(pin.Get("max_length"), &c.PIN.MaxLength, 1, 32)
	d.bool(pin.Get("forbid_trivial"), &c.PIN.ForbidTrivial)
	d.policy(pin, &c.PIN)
	if c.PIN.MinLength > c.PIN.MaxLength {
		d.Fault(m.Get("pin"), "pin: min_length is %d and max_length %d: no PIN fits", c.PIN.MinLength, c.PIN.MaxLength)
	}
	password := d.Mapping(m.Get("password"), "min_length", "history", "expires", "hash")
	d.int(password.Get("min_length"), &c.Password.MinLength, 1, 128)
	d.policy(password, &c.Password)
	lockout := d.Mapping(m.Get("lockout"), "attempts", "within", "for")
	d.int(lockout.Get("attempts"), &c.Lockout.Attempts, 0, 1000)
	d.duration(lockout.Get("within"), &c.Lockout.Within)
	d.duration(lockout.Get("for"), &c.Lockout.For)
}

func (d *decoder) policy(m *strictyaml.Keyed, p *Policy) {
	d.int(m.Get("history"), &p.History, 0, 100)
	d.duration(m.Get("expires"), &p.Expires)
	d.enum(m.Get("hash"), &p.Hash, "argon2id")
}

func (d *decoder) limits(n *strictyaml.Node, l *Limits) {
	m := d.Mapping(n, "max_users", "max_failures")
	d.int(m.Get("max_users"), &l.MaxUsers, 0, maxCount)
	d.int(m.Get("max_failures"), &l.MaxFailures, 0, maxCount)
}

const maxCount = 1_000_000_000

func (d *decoder) approve(n *strictyaml.Node, a *Approve) {
	m := d.Mapping(n, "over")
	d.int(d.Require(m, "over"), &a.Over, 0, maxCount)
}

func (d *decoder) http(n *strictyaml.Node, cfg *Config) {
	m := d.Mapping(n, "listen", "metrics_token")
	if m == nil {
		return
	}
	c := &HTTP{}
	listen := d.Require(m, "listen")
	if d.text(listen, &c.Listen) {
		host, port, err := net.SplitHostPort(c.Listen)
		number, portErr := strconv.ParseUint(port, 10, 16)
		switch {
		case err != nil || portErr != nil || number == 0:
			d.Fault(listen, "listen: an address such as 127.0.0.1:8765 is needed")
		case !isLoopback(host):
			d.Fault(listen, "listen: without TLS only a loopback address is served, such as 127.0.0.1:8765; put a proxy with TLS before it")
		}
	}
	d.secret(m.Get("metrics_token"), &c.MetricsToken)
	cfg.HTTP = c
}

func isLoopback(host string) bool {
	return strings.EqualFold(host, "localhost") || net.ParseIP(host).IsLoopback()
}

func (d *decoder) keep(n *strictyaml.Node, k *Keep) {
	m := d.Mapping(n, "jobs", "reports", "accepted", "rejected")
	d.duration(m.Get("jobs"), &k.Jobs)
	d.duration(m.Get("reports"), &k.Reports)
	d.duration(m.Get("accepted"), &k.Accepted)
	d.duration(m.Get("rejected"), &k.Rejected)
}

// url reads the address of a server. What is wrong with it is said without
// it: it may hold a password.
func (d *decoder) url(n *strictyaml.Node, schemes ...string) (*url.URL, bool) {
	text, ok := d.String(n)
	if !ok {
		return nil, false
	}
	u, err := url.Parse(text)
	known := false
	for _, scheme := range schemes {
		known = known || err == nil && u.Scheme == scheme
	}
	switch {
	case !known || u.Hostname() == "" || !validPort(u.Port()):
		d.Fault(n, "an address that begins with %s://, with a host, is needed", strings.Join(schemes, ":// or "))
	case u.User != nil:
		d.Fault(n, "a user or password in the address: write them into keys of their own")
	case u.Fragment != "":
		d.Fault(n, "a # in the address: nothing can follow it there")
	default:
		return u, true
	}
	return nil, false
}

func validPort(port string) bool {
	n, err := strconv.ParseUint(port, 10, 16)
	return port == "" || err == nil && n > 0
}
