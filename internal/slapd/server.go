package slapd

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/dirpin/dirpin/internal/child"
	"github.com/dirpin/dirpin/internal/localca"
)

// ErrMissing says that the machine has no slapd.
var ErrMissing = errors.New("slapd is not installed")

// Options say what server is wanted. Its zero value but for Dir is one with an
// empty directory below dc=example,dc=org.
type Options struct {
	Dir       string   // an existing folder for configuration, certificates and data
	Suffix    string   // dc=example,dc=org when empty
	SizeLimit int      // of entries that an answer gives ordinary accounts; 0: no limit
	Access    []string // access rules in slapd.conf's words after "access "; when empty everyone reads all but passwords
	Socket    string   // path of a socket to listen on besides; "" for none
	MaxSize   int64    // bytes that the data may take; 1 GiB when 0
	Empty     bool     // not even the suffix is there
	Overlays  []string // lines put at the end of the database, such as "overlay syncprov"
}

// Server is a slapd of one's own. Its methods are not to be called at the same
// time, but for the accessors.
type Server struct {
	opts   Options
	binary string
	port   int
	tls    int

	process *child.Process
}

// Names and secrets of every server.
const (
	AdminPassword  = "admin-secret"
	bindPassword   = "sync-secret"
	writerPassword = "writer-secret"
)

// Find returns where the machine's slapd is: it is seldom in the PATH of an
// ordinary user.
func Find() (string, error) {
	if p, err := exec.LookPath("slapd"); err == nil {
		return p, nil
	}
	for _, p := range []string{"/usr/sbin/slapd", "/usr/local/sbin/slapd", "/usr/local/libexec/slapd", "/usr/libexec/slapd", "/opt/symas/lib/slapd", "/opt/homebrew/opt/openldap/libexec/slapd"} {
		if fi, err := os.Stat(p); err == nil && fi.Mode().IsRegular() {
			return p, nil
		}
	}
	return "", ErrMissing
}

// New lays a server out in the folder of the options: certificates,
// configuration, and the entries of its suffix, of ou=people and of the
// account that synchronizes. It is not started.
func New(o Options) (*Server, error) {
	if o.Suffix == "" {
		o.Suffix = "dc=example,dc=org"
	}
	binary, err := Find()
	if err != nil {
		return nil, err
	}
	s := &Server{opts: o, binary: binary}
	if err := os.MkdirAll(s.path("db"), 0o700); err != nil {
		return nil, fmt.Errorf("laying out a slapd: %w", err)
	}
	if err := localca.Write(o.Dir, "sync"); err != nil {
		return nil, fmt.Errorf("laying out a slapd: %w", err)
	}
	if err := s.writeConfig(); err != nil {
		return nil, fmt.Errorf("writing the configuration of slapd: %w", err)
	}
	if o.Empty {
		return s, nil
	}
	return s, s.Load(strings.NewReader(s.baseEntries()))
}

func (s *Server) path(name string) string { return filepath.Join(s.opts.Dir, name) }

// Suffix returns the DN above everything.
func (s *Server) Suffix() string { return s.opts.Suffix }

// People returns the DN below which people belong.
func (s *Server) People() string { return "ou=people," + s.opts.Suffix }

// AdminDN returns the account that may do everything; its password is
// AdminPassword.
func (s *Server) AdminDN() string { return "cn=admin," + s.opts.Suffix }

// BindDN and BindPassword are the account that synchronizes.
func (s *Server) BindDN() string { return "cn=sync,ou=services," + s.opts.Suffix }

// BindPassword is BindDN's.
func (s *Server) BindPassword() string { return bindPassword }

// WriterDN and WriterPassword are the account that resets passwords, and may
// do no more.
func (s *Server) WriterDN() string { return "cn=writer,ou=services," + s.opts.Suffix }

// WriterPassword is WriterDN's.
func (s *Server) WriterPassword() string { return writerPassword }

// CAFile returns the certificate that the server's is signed with.
func (s *Server) CAFile() string { return s.path("ca.pem") }

// Addr returns host and port of the plain service.
func (s *Server) Addr() string { return net.JoinHostPort("127.0.0.1", strconv.Itoa(s.port)) }

// TLSAddr returns host and port of the service over TLS.
func (s *Server) TLSAddr() string { return net.JoinHostPort("127.0.0.1", strconv.Itoa(s.tls)) }

// ClientFiles returns the certificate and key with which EXTERNAL binds as
// BindDN.
func (s *Server) ClientFiles() (cert, key string) { return s.path("client.pem"), s.path("client.key") }

// URL returns the plain service, which also does StartTLS.
func (s *Server) URL() string { return "ldap://localhost:" + strconv.Itoa(s.port) }

// TLSURL returns the service over TLS.
func (s *Server) TLSURL() string { return "ldaps://localhost:" + strconv.Itoa(s.tls) }

// Load adds the entries of an LDIF to a server that is stopped. It is the fast
// way: some 60,000 entries a second.
func (s *Server) Load(ldif io.Reader) error {
	if s.Running() {
		return errors.New("loading entries into slapd: stop it first")
	}
	// -w writes the contextCSN that syncprov needs after a load.
	cmd := exec.Command(s.binary, "-Tadd", "-q", "-w", "-f", s.path("slapd.conf"))
	cmd.Stdin = ldif
	out, err := cmd.CombinedOutput()
	if err != nil {
		return fmt.Errorf("loading entries into slapd: %w: %s", err, child.LastLines(out))
	}
	return nil
}

// Configure changes access rules, limits and overlays. A running server has to
// be stopped and started to see them.
func (s *Server) Configure(change func(*Options)) error {
	change(&s.opts)
	return s.writeConfig()
}

// Start starts the server and returns when it answers. Its ports are free ones
// at the first time and the same ever after.
func (s *Server) Start(ctx context.Context) error {
	if s.Running() {
		return nil
	}
	fresh := s.port == 0
	var err error
	for range 5 {
		if fresh {
			ports, err := child.FreePorts("127.0.0.1", 2)
			if err != nil {
				return fmt.Errorf("starting slapd: %w", err)
			}
			s.port, s.tls = ports[0], ports[1]
		}
		if err = s.start(ctx); err == nil || !fresh || ctx.Err() != nil {
			break // another program may have taken a port that was free: only then again
		}
	}
	return err
}

func (s *Server) start(ctx context.Context) error {
	listen := fmt.Sprintf("ldap://%s/ ldaps://%s/", s.Addr(), s.TLSAddr())
	if s.opts.Socket != "" {
		listen += " ldapi://" + url.PathEscape(s.opts.Socket)
	}
	// 32768: in the foreground, and nothing logged but what goes wrong.
	p, err := child.Start("slapd", exec.Command(s.binary, "-f", s.path("slapd.conf"), "-h", listen, "-d", "32768"))
	if err != nil {
		return err
	}
	s.process = p
	if err := p.Await(ctx, s.Addr(), s.TLSAddr()); err != nil {
		p.Kill()
		return err
	}
	return nil
}

// Running tells whether the server's process lives.
func (s *Server) Running() bool { return s.process.Running() }

// PID returns the server's process, or 0.
func (s *Server) PID() int { return s.process.PID() }

// Stop ends the server in order. One that is stopped stays so.
func (s *Server) Stop() error { return s.process.Stop(os.Interrupt) }

// Used returns what the server has used of the machine, once it is stopped.
func (s *Server) Used() *os.ProcessState { return s.process.State() }

// Kill ends the server at once, as a crash would.
func (s *Server) Kill() { s.process.Kill() }

// CopyData takes over all entries of another server, with their ids and change
// numbers. Both have to be stopped, and to have the same suffix.
func (s *Server) CopyData(from *Server) error {
	if s.Running() || from.Running() {
		return errors.New("copying the entries of a slapd: stop both first")
	}
	if err := os.RemoveAll(s.path("db")); err != nil {
		return fmt.Errorf("copying the entries of a slapd: %w", err)
	}
	if err := os.CopyFS(s.path("db"), os.DirFS(from.path("db"))); err != nil {
		return fmt.Errorf("copying the entries of a slapd: %w", err)
	}
	return nil
}
