package ldapsync

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strings"
	"time"

	"github.com/dirpin/dirpin/config"
	"github.com/dirpin/dirpin/internal/secret"
	"github.com/dirpin/dirpin/ldapsync/tap"
)

// connectTimeout bounds reaching a server, so that the next gets its turn soon.
const connectTimeout = 5 * time.Second

// checkSafety refuses what would send a password in clear, or would be taken
// for an anonymous bind, before any byte is sent.
func checkSafety(a config.Agreement, password secret.Value, servers []server) error {
	b := a.Bind
	if b.External && b.DN != "" {
		return errors.New("bind: external takes no dn")
	}
	if !b.External && b.DN != "" && password.IsZero() {
		return fmt.Errorf("bind: the password of %s is empty; a directory would take that for an anonymous bind", b.DN)
	}
	for _, s := range servers {
		if s.tls && a.StartTLS {
			return fmt.Errorf("%s: ldaps:// is encrypted already; start_tls goes with ldap://", s.url)
		}
		if b.External && s.network != "unix" && (a.CertFile == "" || !s.secure(a.StartTLS)) {
			return fmt.Errorf("%s: bind: external needs cert_file and key_file, and ldaps:// or start_tls", s.url)
		}
		if b.DN != "" && !s.secure(a.StartTLS) && !a.InsecurePlaintext {
			return fmt.Errorf("%s: the password of %s would cross the network in clear: use ldaps:// or start_tls: true (or say insecure_plaintext: true)", s.url, b.DN)
		}
	}
	return nil
}

// tlsConfig reads the agreement's certificates.
func tlsConfig(a config.Agreement) (*tls.Config, error) {
	c := &tls.Config{MinVersion: tls.VersionTLS12}
	if a.CAFile != "" {
		pem, err := os.ReadFile(a.CAFile)
		if err != nil {
			return nil, fmt.Errorf("reading ca_file: %w%s", err, mayRead(err))
		}
		c.RootCAs = x509.NewCertPool()
		if !c.RootCAs.AppendCertsFromPEM(pem) {
			return nil, fmt.Errorf("ca_file %s has no certificate in PEM form", a.CAFile)
		}
	}
	if a.CertFile != "" {
		pair, err := tls.LoadX509KeyPair(a.CertFile, a.KeyFile)
		if err != nil {
			return nil, fmt.Errorf("reading cert_file and key_file: %w", err)
		}
		c.Certificates = []tls.Certificate{pair}
	}
	return c, nil
}

// mayRead says how a certificate, which is no secret, is made readable.
func mayRead(err error) string {
	var path *os.PathError
	if !errors.Is(err, os.ErrPermission) || !errors.As(err, &path) {
		return ""
	}
	return fmt.Sprintf(": a certificate is no secret: chmod a+r %s (and a+x its folders)", path.Path)
}

// dial opens a connection to one server, encrypted where it is to be.
func dial(ctx context.Context, s server, a config.Agreement, tlsConf *tls.Config) (*tap.Client, error) {
	socket, err := dialSocket(ctx, s)
	if err != nil {
		return nil, err
	}
	return over(ctx, socket, s, a, tlsConf)
}

func dialSocket(ctx context.Context, s server) (net.Conn, error) {
	if s.err != nil {
		return nil, s.err
	}
	d := net.Dialer{Timeout: connectTimeout, KeepAlive: 30 * time.Second}
	socket, err := d.DialContext(ctx, s.network, s.addr)
	if err != nil {
		return nil, fmt.Errorf("connecting: %w", explainDial(err))
	}
	return socket, nil
}

// over makes a connection of a socket to a server.
func over(ctx context.Context, socket net.Conn, s server, a config.Agreement, tlsConf *tls.Config) (*tap.Client, error) {
	o := tap.Options{StartTLS: a.StartTLS && s.network != "unix", Idle: a.Timeout}
	if s.tls || o.StartTLS {
		o.TLS = tlsConf.Clone()
		o.TLS.ServerName = s.host
	}
	c, err := tap.Open(ctx, socket, o)
	if err != nil {
		return nil, explainTLS(err, a.CAFile, o.StartTLS)
	}
	return tap.NewClient(c), nil
}

// explainDial says it shorter than the network does.
func explainDial(err error) error {
	if t, ok := errors.AsType[net.Error](err); ok && t.Timeout() {
		return fmt.Errorf("timeout after %v", connectTimeout)
	}
	return err
}

// explainTLS says what an administrator can do about a certificate.
func explainTLS(err error, caFile string, startTLS bool) error {
	var unknown x509.UnknownAuthorityError
	var host x509.HostnameError
	var invalid x509.CertificateInvalidError
	var refused *tap.StartTLSError
	switch {
	case errors.As(err, &refused):
		return fmt.Errorf("%w: set up TLS there (a certificate and its key), or use its ldaps port", err)
	case errors.As(err, &unknown) && caFile != "":
		return fmt.Errorf("%w: the server's certificate is not signed by an authority in %s", err, caFile)
	case errors.As(err, &unknown):
		return fmt.Errorf("%w: name the authority's certificate in ca_file", err)
	case errors.As(err, &host):
		return fmt.Errorf("%w: name the server in `servers` as its certificate does", err)
	case errors.As(err, &invalid) && invalid.Reason == x509.Expired:
		return fmt.Errorf("%w: renew the server's certificate, or set this machine's clock", err)
	case strings.Contains(err.Error(), "protocol version"):
		return fmt.Errorf("%w: the server offers only versions of TLS that are no longer safe; TLS 1.2 is the least", err)
	case strings.Contains(err.Error(), "certificate required"), strings.Contains(err.Error(), "bad certificate"):
		return fmt.Errorf("%w: the server wants a client certificate that it knows: name one in cert_file and key_file", err)
	case errors.Is(err, io.EOF) && startTLS:
		return fmt.Errorf("the server hung up as it was asked for StartTLS (%w): a port of ldaps:// does so; then say ldaps://, without start_tls", err)
	case errors.Is(err, io.EOF):
		return fmt.Errorf("the server hung up as TLS began (%w): a port that speaks no TLS does so; use its ldaps port, usually 636, or ldap:// with start_tls: true", err)
	case strings.Contains(err.Error(), "first record does not look like a TLS handshake"):
		return fmt.Errorf("%w: that port speaks no TLS; use its ldaps port, or ldap:// with start_tls: true", err)
	}
	return err
}
