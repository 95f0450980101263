// Package delivery hands messages to people's systems: mails to an SMTP server,
// and notices to a webhook. It sends one message once and says precisely what
// became of it; whoever calls it keeps the messages, and sends again those that
// may not have arrived, under the same id.
package delivery

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/url"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/wneessen/go-mail"

	"github.com/dirpin/dirpin/config"
	"github.com/dirpin/dirpin/internal/secret"
)

// patience is for how long the mail server may say nothing.
const patience = 60 * time.Second

// Message is one mail to one person. Sent again it has the same ID.
type Message struct {
	ID      string // as in Message-ID, without brackets
	To      string // a bare address
	Subject string
	Text    string
	HTML    string // "": none
	Secrets []string
}

// Mailer sends mails as the configuration says. It is safe for concurrent use.
type Mailer struct {
	cfg      *config.Mail
	password secret.Value
	host     string
	port     int
	implicit bool // TLS from the first byte
	tls      *tls.Config
	texts    *texts
	timeout  time.Duration
}

// NewMailer reads the CA and the texts of one's own that cfg names. Nothing is
// asked of the server.
func NewMailer(cfg *config.Mail, password secret.Value) (*Mailer, error) {
	u, err := url.Parse(cfg.Server)
	if err != nil {
		return nil, fmt.Errorf("mail: reading the server's address: %w", err)
	}
	m := &Mailer{cfg: cfg, password: password, host: u.Hostname(), port: 587, implicit: u.Scheme == "smtps", timeout: patience}
	if m.implicit {
		m.port = 465
	}
	if p := u.Port(); p != "" {
		m.port, _ = strconv.Atoi(p)
	}
	if m.tls, err = tlsConfig(m.host, cfg.CAFile); err != nil {
		return nil, fmt.Errorf("mail: %w", err)
	}
	if m.texts, err = loadTexts(cfg.Templates, cfg.Language); err != nil {
		return nil, fmt.Errorf("mail: %w", err)
	}
	return m, nil
}

func tlsConfig(host, caFile string) (*tls.Config, error) {
	c := &tls.Config{ServerName: host, MinVersion: tls.VersionTLS12}
	if caFile == "" {
		return c, nil
	}
	pem, err := os.ReadFile(caFile)
	if err != nil {
		return nil, fmt.Errorf("reading the CA: %w", err)
	}
	c.RootCAs = x509.NewCertPool()
	if !c.RootCAs.AppendCertsFromPEM(pem) {
		return nil, fmt.Errorf("reading the CA: %s has no certificate in PEM", caFile)
	}
	return c, nil
}

// Allows tells whether the configuration lets mail go to an address.
func (m *Mailer) Allows(address string) bool { return m.cfg.Allows(address) }

// Domain returns what ids of messages end with.
func (m *Mailer) Domain() string { return m.cfg.From[strings.LastIndexByte(m.cfg.From, '@')+1:] }

// Check connects, as sending would, and sends nothing.
func (m *Mailer) Check(ctx context.Context) error {
	s := m.Session()
	defer s.Close()
	return s.connect(ctx)
}

// Session returns a way to the server that keeps its connection. It is for one
// goroutine, and must be closed.
func (m *Mailer) Session() *Session { return &Session{m: m} }

// Session is one connection to the mail server, made when it is needed.
type Session struct {
	m      *Mailer
	client *mail.Client // nil: not connected
}

// Close says goodbye to the server.
func (s *Session) Close() {
	if s.client != nil {
		s.client.Close()
		s.client = nil
	}
}

// Send sends a message and waits until the server has taken it over. Its error
// is an *Error. An end of ctx keeps it from beginning; what has begun runs on.
func (s *Session) Send(ctx context.Context, msg Message) error {
	mm, err := s.m.compose(msg)
	if err != nil {
		return &Error{Refused, err.Error()}
	}
	for again := false; ; again = true {
		fresh := s.client == nil
		if fresh {
			if err := s.connect(ctx); err != nil {
				return err
			}
		}
		err := s.client.Send(mm)
		if mm.IsDelivered() {
			if err != nil { // of what follows the message
				s.Close()
			}
			return nil
		}
		var sendErr *mail.SendError
		idle := errors.As(err, &sendErr) && sendErr.Reason == mail.ErrConnCheck
		judged := judge(err, msg.Secrets)
		if judged.Kind != Refused || sendErr == nil {
			s.Close()
		}
		if idle && !fresh && !again { // it was closed while nothing was sent
			continue
		}
		return judged
	}
}

func (s *Session) connect(ctx context.Context) error {
	if ctx.Err() != nil {
		return &Error{Later, ctx.Err().Error()}
	}
	var err error
	for _, how := range s.m.logins() {
		var c *mail.Client
		if c, err = mail.NewClient(s.m.host, append(s.m.options(), how...)...); err != nil {
			return &Error{Broken, s.m.at(err)}
		}
		if err = c.DialWithContext(ctx); err == nil {
			s.client = c
			return nil
		}
		if !errors.Is(err, mail.ErrPlainAuthNotSupported) {
			break
		}
	}
	kind := Broken
	if passing(err) {
		kind = Later
	}
	return &Error{kind, s.m.at(err)}
}

func (m *Mailer) at(err error) string {
	text := fmt.Sprintf("mail server %s: %v", net.JoinHostPort(m.host, strconv.Itoa(m.port)), err)
	return clean(text, []string{m.password.Reveal()})
}

func (m *Mailer) options() []mail.Option {
	opts := []mail.Option{mail.WithPort(m.port), mail.WithTimeout(m.timeout), mail.WithDialContextFunc(m.dial)}
	switch {
	case m.implicit:
		return append(opts, mail.WithSSL(), mail.WithTLSConfig(m.tls))
	case m.cfg.TLS == "none":
		return append(opts, mail.WithTLSPolicy(mail.NoTLS))
	}
	return append(opts, mail.WithTLSPolicy(mail.TLSMandatory), mail.WithTLSConfig(m.tls))
}

// logins are the ways to log in that are tried, in order. Over TLS that the
// library has not made itself it would not choose one that sends a password.
func (m *Mailer) logins() [][]mail.Option {
	if m.cfg.User == "" {
		return [][]mail.Option{nil}
	}
	by := func(how mail.SMTPAuthType) []mail.Option {
		return []mail.Option{mail.WithSMTPAuth(how), mail.WithUsername(m.cfg.User), mail.WithPassword(m.password.Reveal())}
	}
	if m.implicit {
		return [][]mail.Option{by(mail.SMTPAuthPlain), by(mail.SMTPAuthLogin)}
	}
	return [][]mail.Option{by(mail.SMTPAuthAutoDiscover)}
}

// dial connects with a limit on all that comes before the first message: a
// server that takes the connection and says nothing would be waited for for
// ever.
func (m *Mailer) dial(ctx context.Context, network, address string) (net.Conn, error) {
	var d net.Dialer
	conn, err := d.DialContext(ctx, network, address)
	if err != nil {
		return nil, err
	}
	if err := conn.SetDeadline(time.Now().Add(m.timeout)); err != nil {
		conn.Close()
		return nil, err
	}
	if !m.implicit {
		return conn, nil
	}
	t := tls.Client(conn, m.tls)
	if err := t.HandshakeContext(ctx); err != nil {
		conn.Close()
		return nil, err
	}
	return t, nil
}

func (m *Mailer) compose(msg Message) (*mail.Msg, error) {
	mm := mail.NewMsg(mail.WithNoDefaultUserAgent())
	if err := mm.From(m.cfg.From); err != nil {
		return nil, err
	}
	if err := mm.To(msg.To); err != nil {
		return nil, fmt.Errorf("%s is no mail address", msg.To)
	}
	mm.Subject(msg.Subject)
	mm.SetMessageIDWithValue(msg.ID)
	mm.SetDate()
	mm.SetGenHeader("Auto-Submitted", "auto-generated") // RFC 3834: no answers by machines
	mm.SetBodyString(mail.TypeTextPlain, msg.Text)
	if msg.HTML != "" {
		mm.AddAlternativeString(mail.TypeTextHTML, msg.HTML)
	}
	return mm, nil
}
