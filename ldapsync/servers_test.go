package ldapsync

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/dirpin/dirpin/config"
	"github.com/dirpin/dirpin/internal/lab"
	"github.com/dirpin/dirpin/internal/secret"
)

func TestParseServer(t *testing.T) {
	for text, want := range map[string]server{
		"ldaps://dc1.example.com":         {network: "tcp", addr: "dc1.example.com:636", host: "dc1.example.com", tls: true},
		"ldap://dc1:1389/":                {network: "tcp", addr: "dc1:1389", host: "dc1"},
		"ldaps://[2001:db8::1]":           {network: "tcp", addr: "[2001:db8::1]:636", host: "2001:db8::1", tls: true},
		"ldapi:///run/slapd/ldapi":        {network: "unix", addr: "/run/slapd/ldapi"},
		"ldapi://%2Frun%2Fslapd%2Fldapi/": {network: "unix", addr: "/run/slapd/ldapi"},
	} {
		want.url = text
		if got, err := parseServer(text); err != nil || got != want {
			t.Errorf("%s: %+v, %v", text, got, err)
		}
	}
	for _, text := range []string{"dc1", "http://dc1", "ldaps://", "ldapi://", "ldapi://relative", "ldapi://%zz", "ldap://a b", "", "ldaps://%2F"} {
		if got, err := parseServer(text); err == nil {
			t.Errorf("%q became %+v", text, got)
		}
	}
}

// records is a DNS.
type records map[string][]*net.SRV

func (r records) LookupSRV(_ context.Context, service, proto, name string) (string, []*net.SRV, error) {
	if list := r["_"+service+"._"+proto+"."+name]; list != nil {
		return name, list, nil
	}
	return "", nil, &net.DNSError{Err: "no such host", Name: name, IsNotFound: true}
}

func TestServersOfADomain(t *testing.T) {
	srv := func(targets ...string) (list []*net.SRV) {
		for _, target := range targets {
			host, port, _ := strings.Cut(target, ":")
			s := &net.SRV{Target: host, Port: 389}
			fmt.Sscan(port, &s.Port)
			list = append(list, s)
		}
		return list
	}
	many := make([]string, 50)
	for i := range many {
		many[i] = fmt.Sprintf("dc%d.example.com.:389", i)
	}
	for _, tt := range []struct {
		name            string
		dns             records
		startTLS, plain bool
		want            string // addresses, those with TLS from the first byte in capitals
	}{
		{"LDAPS is announced", records{"_ldaps._tcp.example.com": srv("a.example.com.:1636", "b.example.com.:636")}, false, false, "A.EXAMPLE.COM:1636 B.EXAMPLE.COM:636"},
		{"only LDAP is, as by Active Directory", records{"_ldap._tcp.example.com": srv("dc1.example.com.:389", "DC2.Example.COM.:389")}, false, false, "DC1.EXAMPLE.COM:636 DC2.EXAMPLE.COM:636"},
		{"with StartTLS", records{"_ldaps._tcp.example.com": srv("a.example.com.:636"), "_ldap._tcp.example.com": srv("b.example.com.:1389")}, true, false, "b.example.com:1389"},
		{"in clear, as said", records{"_ldap._tcp.example.com": srv("b.example.com.:389")}, false, true, "b.example.com:389"},
		{"the domain itself, twice", records{"_ldap._tcp.example.com": srv("example.com.:389", "example.com.:389")}, false, false, "EXAMPLE.COM:636"},
		{"no more than enough", records{"_ldap._tcp.example.com": srv(many...)}, false, false, ""},
	} {
		servers, err := findServers(t.Context(), []string{"srv:Example.com."}, tt.startTLS, tt.plain, tt.dns)
		var got []string
		for _, s := range servers {
			if s.err != nil || s.network != "tcp" || !strings.HasPrefix(s.addr, s.host+":") {
				t.Errorf("%s: %+v", tt.name, s)
			}
			addr := s.addr
			if s.tls {
				addr = strings.ToUpper(addr)
			}
			got = append(got, addr)
		}
		if text := strings.Join(got, " "); err != nil || tt.want != "" && text != tt.want || len(got) > maxRecords {
			t.Errorf("%s: %s, %v", tt.name, text, err)
		}
	}
	for name, dns := range map[string]records{
		"does not exist": {}, "names no server": {"_ldap._tcp.example.com": srv(".:0")},
		"evil.net, which is not below that domain": {"_ldap._tcp.example.com": srv("evil.net.:389")}, "notexample.com": {"_ldap._tcp.example.com": srv("notexample.com.:389")},
	} {
		servers, err := findServers(t.Context(), []string{"srv:example.com", "ldaps://dc9"}, false, false, dns)
		if name == "does not exist" {
			name = "no such host"
		}
		if err != nil || len(servers) != 2 || servers[0].err == nil || !strings.Contains(servers[0].err.Error(), name) || servers[1].addr != "dc9:636" {
			t.Errorf("%s: %+v, %v", name, servers, err)
		}
	}
}

// said keeps what is logged.
type said struct{ lines []string }

func (s *said) Enabled(context.Context, slog.Level) bool { return true }
func (s *said) WithAttrs([]slog.Attr) slog.Handler       { return s }
func (s *said) WithGroup(string) slog.Handler            { return s }
func (s *said) Handle(_ context.Context, r slog.Record) error {
	s.lines = append(s.lines, r.Message)
	return nil
}

// TestServersAreTriedInTheirOrder: a domain that cannot be resolved, a closed
// port, one that is no directory, one with another's certificate; then the one
// that is good. Each is said.
func TestServersAreTriedInTheirOrder(t *testing.T) {
	d := lab.Slapd(t)
	d.AddPerson("anna", nil)
	garbage := talk(t, func(c net.Conn) { c.Write([]byte("HTTP/1.1 400 Bad Request\r\n\r\n")) })
	o := connectOptions(t, d)
	log := new(said)
	o.Log, o.Resolver = slog.New(log), records{}
	o.Agreement.Servers = []string{"srv:example.com", "ldaps://127.0.0.1:1", "ldaps://" + garbage, d.TLSURL()}
	people, err := read(t, o)
	if err != nil || len(people) != 1 {
		t.Fatalf("%d people, %v", len(people), err)
	}
	for i, want := range []string{
		"corp: srv:example.com unreachable (looking for the servers of example.com: lookup example.com: no such host), trying 127.0.0.1:1",
		"corp: 127.0.0.1:1 unreachable (connecting: dial tcp 127.0.0.1:1: connect: connection refused), trying " + garbage,
		"corp: " + garbage + " unreachable (TLS handshake: tls: first record does not look like a TLS handshake: that port speaks no TLS",
	} {
		if i >= len(log.lines) || !strings.HasPrefix(log.lines[i], want) {
			t.Errorf("said %q\nwant %q", log.lines, want)
		}
	}
}

// talk listens on loopback and has each connection served by f.
func talk(t *testing.T, f func(net.Conn)) (addr string) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer c.Close()
				f(c)
			}()
		}
	}()
	return l.Addr().String()
}

// TestCertificates: each server must show one that is its own, is signed by
// whom we trust, over a version of TLS that is safe.
func TestCertificates(t *testing.T) {
	d := lab.Slapd(t)
	cert, key := d.ClientFiles()
	pair, err := tls.LoadX509KeyPair(cert, key) // no server's
	if err != nil {
		t.Fatal(err)
	}
	serve := func(c *tls.Config) string {
		return talk(t, func(conn net.Conn) { tls.Server(conn, c).Handshake() })
	}
	for _, tt := range []struct{ name, url, want string }{
		{"another's certificate", "ldaps://" + serve(&tls.Config{Certificates: []tls.Certificate{pair}}), "name the server in `servers`"},
		{"TLS 1.1", "ldaps://" + serve(&tls.Config{Certificates: []tls.Certificate{pair}, MinVersion: tls.VersionTLS10, MaxVersion: tls.VersionTLS11}), "TLS 1.2 is the least"},
	} {
		o := connectOptions(t, d)
		o.Agreement.Servers = []string{tt.url}
		if _, err := Connect(t.Context(), o); !errors.Is(err, ErrDirectory) || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: %v", tt.name, err)
		}
	}
	// Neither is a certificate that is named in the place of its key.
	o := connectOptions(t, d)
	o.Agreement.CertFile, o.Agreement.KeyFile = cert, cert
	if _, err := Connect(t.Context(), o); !errors.Is(err, ErrConfig) || !strings.Contains(err.Error(), "cert_file and key_file") {
		t.Errorf("no key: %v", err)
	}
}

func TestExternalOverASocket(t *testing.T) {
	dir, err := os.MkdirTemp("", "ldapi")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	socket := filepath.Join(dir, "ldapi")
	d := lab.NewSlapd(t, lab.Config{Users: 3, Socket: socket, Access: []string{"to * by dn.exact=\"cn=sync,ou=services,dc=example,dc=org\" read"}})
	o := ConnectOptions{Agreement: agreementFor(d), Log: quiet(t)}
	o.Agreement.Servers, o.Agreement.CAFile, o.Agreement.Bind = []string{"ldapi://" + socket}, "", config.Bind{External: true}
	people, err := read(t, o)
	if err != nil || len(people) != 3 {
		t.Errorf("EXTERNAL over ldapi: %d people, %v", len(people), err)
	}
	// A password does not leave the machine there.
	o.Agreement.Bind, o.Password = config.Bind{DN: d.BindDN()}, secret.New(d.BindPassword())
	if people, err = read(t, o); err != nil || len(people) != 3 {
		t.Errorf("a password over ldapi: %d people, %v", len(people), err)
	}
}

func TestATimeoutIsSaidShortly(t *testing.T) {
	_, err := (&net.Dialer{Timeout: 1}).Dial("tcp", "127.0.0.1:1")
	if got := explainDial(err); got.Error() != "timeout after 5s" {
		t.Errorf("%v became %v", err, got)
	}
}
