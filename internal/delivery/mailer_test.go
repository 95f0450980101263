package delivery

import (
	"context"
	"errors"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/dirpin/dirpin/config"
	"github.com/dirpin/dirpin/internal/lab"
	"github.com/dirpin/dirpin/internal/secret"
)

func TestMain(m *testing.M) { lab.Main(m) }

func mailer(t *testing.T, server *lab.Mail, change func(*config.Mail)) *Mailer {
	t.Helper()
	cfg := &config.Mail{Server: server.URL(), TLS: "required", CAFile: server.CAFile(), From: "dirpin@example.com", Language: "en"}
	if change != nil {
		change(cfg)
	}
	m, err := NewMailer(cfg, secret.New("hunter2"))
	if err != nil {
		t.Fatal(err)
	}
	return m
}

func send(t *testing.T, s *Session, id, to string) error {
	t.Helper()
	return s.Send(t.Context(), Message{ID: id, To: to, Subject: "Grüße", Text: "PIN 4711\n", HTML: "<b>4711</b>", Secrets: []string{"4711"}})
}

func kindOf(err error) Kind {
	var e *Error
	if errors.As(err, &e) {
		return e.Kind
	}
	return 0
}

// Everything that a server may say to a message, over one connection.
func TestWhatTheServerSays(t *testing.T) {
	t.Parallel()
	server := lab.NewMail(t, lab.MailConfig{TLS: "starttls"})
	s := mailer(t, server, nil).Session()
	defer s.Close()
	for _, step := range []struct {
		to   string
		want Kind
		says string
	}{
		{"jane@example.com", 0, ""},
		{"refused@example.com", Refused, "no such user"},
		{"grey@example.com", Later, "greylisted"},
		{"full@example.com", Refused, "mailbox full"},
		{"cut@example.com", Later, ""},
		{"grey@example.com", 0, ""},
		{"cut@example.com", 0, ""},
		{"jürgen@example.com", 0, ""},
		{"no address", Refused, "no mail address"},
	} {
		err := send(t, s, "fixed."+step.to[:2]+"@example.com", step.to)
		if kindOf(err) != step.want || err != nil && !strings.Contains(err.Error(), step.says) {
			t.Errorf("%s: %v", step.to, err)
		}
	}
	var cut []string
	for _, m := range server.Mails() {
		if !m.TLS || m.From != "dirpin@example.com" || !strings.Contains(m.Message, "Auto-Submitted: auto-generated") {
			t.Errorf("mail %+v", m)
		}
		if strings.HasPrefix(m.To, "cut") {
			cut = append(cut, m.ID())
		}
	}
	if len(server.Mails()) != 5 || len(cut) != 2 || cut[0] != "fixed.cu@example.com" || cut[1] != cut[0] {
		t.Errorf("%d mails; what was cut came as %q", len(server.Mails()), cut)
	}
}

// A server that cannot be trusted gets nothing, and it is said what to mend.
func TestServersThatGetNothing(t *testing.T) {
	t.Parallel()
	plain := lab.NewMail(t, lab.MailConfig{TLS: "none"})
	safe := lab.NewMail(t, lab.MailConfig{TLS: "starttls", Login: "dirpin:hunter2"})
	other := lab.NewMail(t, lab.MailConfig{TLS: "implicit"})
	login := func(c *config.Mail) { c.User = "dirpin" }
	for name, x := range map[string]struct {
		server *lab.Mail
		change func(*config.Mail)
		want   Kind
		says   string
	}{
		"TLS missing":        {plain, nil, Broken, "STARTTLS"},
		"TLS not wanted":     {plain, func(c *config.Mail) { c.TLS = "none" }, 0, ""},
		"login":              {safe, login, 0, ""},
		"login missing":      {safe, nil, Broken, "uthentication"},
		"wrong password":     {safe, func(c *config.Mail) { c.User = "other" }, Broken, "AUTH"},
		"unknown authority":  {safe, func(c *config.Mail) { c.CAFile = other.CAFile() }, Broken, "certificate"},
		"implicit TLS":       {other, nil, 0, ""},
		"plain to implicit":  {other, func(c *config.Mail) { c.Server = strings.Replace(c.Server, "smtps", "smtp", 1) }, Later, ""},
		"implicit to plain":  {plain, func(c *config.Mail) { c.Server = strings.Replace(c.Server, "smtp", "smtps", 1) }, Broken, ""},
		"name not as signed": {safe, func(c *config.Mail) { c.Server = strings.Replace(c.Server, "localhost", "127.0.0.2", 1) }, 0, "*"},
	} {
		t.Run(name, func(t *testing.T) {
			m := mailer(t, x.server, x.change)
			m.timeout = time.Second
			s := m.Session()
			defer s.Close()
			err := send(t, s, "a@example.com", "jane@example.com")
			if x.says == "*" { // nothing listens there
				if kindOf(err) != Later {
					t.Errorf("%v", err)
				}
				return
			}
			if kindOf(err) != x.want || err != nil && !strings.Contains(err.Error(), x.says) {
				t.Errorf("%v", err)
			}
			if err != nil && (strings.Contains(err.Error(), "4711") || strings.Contains(err.Error(), "hunter2")) {
				t.Errorf("a secret in %v", err)
			}
			if got := kindOf(m.Check(t.Context())); x.want != 0 && name != "login missing" && got != x.want {
				t.Errorf("Check: %v", got)
			}
		})
	}
}

// A server that takes connections and says nothing is given up.
func TestSilentServer(t *testing.T) {
	t.Parallel()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	m, err := NewMailer(&config.Mail{Server: "smtp://" + l.Addr().String(), TLS: "required", From: "a@example.com", Language: "en"}, secret.Value{})
	if err != nil {
		t.Fatal(err)
	}
	m.timeout = 50 * time.Millisecond
	if err := m.Check(context.Background()); kindOf(err) != Later {
		t.Errorf("%v", err)
	}
}

// A connection that the server has closed while nothing was sent is made anew.
func TestConnectionIsMadeAnew(t *testing.T) {
	t.Parallel()
	server := lab.NewMail(t, lab.MailConfig{TLS: "starttls"})
	s := mailer(t, server, nil).Session()
	defer s.Close()
	if err := send(t, s, "1@example.com", "jane@example.com"); err != nil {
		t.Fatal(err)
	}
	server.Stop()
	if err := send(t, s, "2@example.com", "jane@example.com"); kindOf(err) != Later {
		t.Errorf("%v", err)
	}
	server.Start()
	if err := send(t, s, "2@example.com", "jane@example.com"); err != nil {
		t.Errorf("%v", err)
	}
	server.Stop()
	server.Start()
	if err := send(t, s, "3@example.com", "jane@example.com"); err != nil {
		t.Errorf("%v", err)
	}
}
