package lab

import (
	_ "embed" // the server's program
	"encoding/json"
	"errors"
	"net"
	"net/mail"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/dirpin/dirpin/internal/child"
	"github.com/dirpin/dirpin/internal/localca"
)

//go:embed smtpd.py
var smtpd []byte

// Mail is a real SMTP server (aiosmtpd). What it does with a message is said by
// the recipient: see smtpd.py.
type Mail struct {
	t       testing.TB
	dir     string
	port    int
	scheme  string
	args    []string
	process *child.Process
}

// Mailed is a message that the server has taken over.
type Mailed struct {
	To      string
	From    string
	TLS     bool
	Login   bool
	Message string
}

// ID returns its Message-ID, without brackets.
func (m Mailed) ID() string {
	msg, err := mail.ReadMessage(strings.NewReader(m.Message))
	if err != nil {
		return ""
	}
	return strings.Trim(msg.Header.Get("Message-Id"), "<>")
}

// MailConfig says what a mail server is like.
type MailConfig struct {
	TLS   string // starttls, implicit or none
	Login string // user:password; "": none is asked for
}

// NewMail starts a mail server, which ends with the test.
func NewMail(t testing.TB, c MailConfig) *Mail {
	t.Helper()
	m := &Mail{t: t, dir: t.TempDir(), scheme: "smtp"}
	if c.TLS == "implicit" {
		m.scheme = "smtps"
	}
	program := filepath.Join(m.dir, "smtpd.py")
	ports, err := child.FreePorts("127.0.0.1", 1)
	err = errors.Join(err, os.WriteFile(program, smtpd, 0o600), os.Mkdir(filepath.Join(m.dir, "mails"), 0o700),
		localca.Write(m.dir, "nobody"))
	if err != nil {
		t.Fatal(err)
	}
	m.port = ports[0]
	m.args = []string{program, "--port", strconv.Itoa(m.port), "--dir", filepath.Join(m.dir, "mails"), "--tls", c.TLS,
		"--cert", filepath.Join(m.dir, "server.pem"), "--key", filepath.Join(m.dir, "server.key")}
	if c.Login != "" {
		m.args = append(m.args, "--login", c.Login)
	}
	m.Start()
	t.Cleanup(m.Stop)
	return m
}

// Start starts the server again, on its port. It has forgotten whom it has told
// to come again.
func (m *Mail) Start() {
	m.t.Helper()
	// Debian's Python is the one that has Debian's packages.
	p, err := child.Start("aiosmtpd (make deps installs it)", exec.Command("/usr/bin/python3", m.args...))
	if err == nil {
		m.process = p
		err = p.Await(m.t.Context(), m.addr())
	}
	if err != nil {
		m.t.Fatal(err)
	}
}

// Stop stops the server.
func (m *Mail) Stop() {
	if err := m.process.Stop(syscall.SIGTERM); err != nil {
		m.t.Error(err)
	}
}

func (m *Mail) addr() string { return net.JoinHostPort("127.0.0.1", strconv.Itoa(m.port)) }

// URL returns its address as the configuration has it.
func (m *Mail) URL() string {
	return m.scheme + "://" + net.JoinHostPort("localhost", strconv.Itoa(m.port))
}

// CAFile returns the authority of its certificate.
func (m *Mail) CAFile() string { return filepath.Join(m.dir, "ca.pem") }

// Mails returns what it has taken over, in order.
func (m *Mail) Mails() []Mailed {
	m.t.Helper()
	files, err := filepath.Glob(filepath.Join(m.dir, "mails", "*.json"))
	if err != nil {
		m.t.Fatal(err)
	}
	var all []Mailed
	for _, f := range files {
		var one Mailed
		text, err := os.ReadFile(f)
		if err == nil {
			err = json.Unmarshal(text, &one)
		}
		if err != nil {
			m.t.Fatal(err)
		}
		all = append(all, one)
	}
	return all
}
