package ldapsync

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/url"
	"slices"
	"strconv"
	"strings"
)

// server is one address of an agreement.
type server struct {
	url     string
	network string // tcp or unix
	addr    string // host:port or the path of a socket; srv:domain where that names none
	host    string // that its certificate must be valid for
	tls     bool   // from the first byte
	err     error  // why it cannot even be tried
}

func (s server) secure(startTLS bool) bool { return s.tls || startTLS || s.network == "unix" }

// Resolver looks up who serves a domain (RFC 2782). *net.Resolver is one.
type Resolver interface {
	LookupSRV(ctx context.Context, service, proto, name string) (cname string, records []*net.SRV, err error)
}

// maxRecords bounds how many servers of a domain are tried.
const maxRecords = 20

// findServers reads the addresses of the configuration, in their order. A
// domain is replaced by its servers, in the order of their priority; one that
// cannot be resolved is a server out of reach.
func findServers(ctx context.Context, texts []string, startTLS, plain bool, r Resolver) ([]server, error) {
	if r == nil {
		r = net.DefaultResolver
	}
	var servers []server
	for _, text := range texts {
		some := make([]server, 1)
		if domain, ok := strings.CutPrefix(text, "srv:"); ok {
			some = lookUp(ctx, domain, startTLS, plain, r)
		} else {
			var err error
			if some[0], err = parseServer(text); err != nil {
				return nil, err
			}
		}
		for _, s := range some {
			if !slices.ContainsFunc(servers, func(t server) bool { return t.addr == s.addr }) {
				servers = append(servers, s)
			}
		}
	}
	return servers, nil
}

// parseServer reads the address of a server.
func parseServer(text string) (server, error) {
	if path, ok := strings.CutPrefix(text, "ldapi://"); ok { // no URL of net/url: it takes no %2F in a host
		path, err := url.PathUnescape(path)
		if err != nil || !strings.HasPrefix(path, "/") {
			return server{}, fmt.Errorf("%q: an ldapi URL names a socket: ldapi:///run/slapd/ldapi", text)
		}
		return server{url: text, network: "unix", addr: strings.TrimRight(path, "/")}, nil
	}
	u, err := url.Parse(text)
	if err != nil {
		return server{}, fmt.Errorf("%q is no URL of a directory: ldaps://host or ldap://host is wanted", text)
	}
	s := server{url: text, network: "tcp", host: u.Hostname()}
	port := u.Port()
	switch u.Scheme {
	case "ldap":
		port = or(port, "389")
	case "ldaps":
		port, s.tls = or(port, "636"), true
	default:
		return server{}, fmt.Errorf("%q is no URL of a directory: ldaps://host or ldap://host is wanted", text)
	}
	if s.host == "" {
		return server{}, fmt.Errorf("%q names no host", text)
	}
	s.addr = net.JoinHostPort(s.host, port)
	return s, nil
}

// lookUp returns the servers of a domain. Without start_tls (or the word that
// passwords may cross in clear) they are those of _ldaps._tcp, or else, as
// Active Directory does not announce these, those of _ldap._tcp on port 636.
//
// DNS can lie: a certificate proves no more than that a server is who the
// record says. So only servers within the domain are taken.
func lookUp(ctx context.Context, domain string, startTLS, plain bool, r Resolver) []server {
	text := "srv:" + domain
	domain = strings.ToLower(strings.TrimSuffix(domain, "."))
	secure := !startTLS && !plain
	var records []*net.SRV
	var err error
	if secure {
		_, records, err = r.LookupSRV(ctx, "ldaps", "tcp", domain)
	}
	announced := len(records) > 0
	if !announced {
		_, records, err = r.LookupSRV(ctx, "ldap", "tcp", domain)
	}
	var servers []server
	for _, record := range records {
		host := strings.ToLower(strings.TrimSuffix(record.Target, "."))
		if host == "" { // RFC 2782: the service is decidedly not there
			continue
		}
		if host != domain && !strings.HasSuffix(host, "."+domain) {
			err = errors.Join(err, fmt.Errorf("its DNS names %s, which is not below that domain: write servers of other domains out", shorten(host)))
			continue
		}
		port := record.Port
		if secure && !announced {
			port = 636
		}
		if len(servers) < maxRecords {
			servers = append(servers, server{url: text, network: "tcp", host: host, tls: secure, addr: net.JoinHostPort(host, strconv.Itoa(int(port)))})
		}
	}
	if len(servers) > 0 {
		return servers
	}
	if err == nil {
		err = errors.New("its DNS names no server")
	}
	return []server{{url: text, network: "tcp", addr: text, tls: secure, err: fmt.Errorf("looking for the servers of %s: %w", domain, err)}}
}

func or(s, otherwise string) string {
	if s == "" {
		return otherwise
	}
	return s
}
