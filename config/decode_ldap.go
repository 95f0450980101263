package config

import (
	"net/url"
	"strings"

	"github.com/go-ldap/ldap/v3"

	"github.com/dirpin/dirpin/internal/strictyaml"
)

const wantServer = "a server is ldaps://host, ldap://host (with start_tls: true), ldapi:///path/of/socket or srv:domain, with a port where it is not the usual one"

func (d *decoder) servers(n *strictyaml.Node, to *[]string) {
	if !d.list(n, to) {
		return
	}
	for _, item := range items(n) {
		if !isServer(item.Text) {
			d.Fault(item, "servers: %s", wantServer)
		}
	}
}

func isServer(s string) bool {
	if domain, ok := strings.CutPrefix(s, "srv:"); ok {
		return isDomain(domain)
	}
	if path, ok := strings.CutPrefix(s, "ldapi://"); ok {
		return strings.HasPrefix(path, "/")
	}
	u, err := url.Parse(s)
	return err == nil && (u.Scheme == "ldap" || u.Scheme == "ldaps") && u.Hostname() != "" && validPort(u.Port()) &&
		u.User == nil && strings.Trim(u.Path, "/") == "" && u.RawQuery == "" && u.Fragment == ""
}

func isDomain(s string) bool {
	for _, label := range strings.Split(strings.TrimSuffix(s, "."), ".") {
		rest := strings.Trim(label, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_")
		if label == "" || len(label) > 63 || rest != "" {
			return false
		}
	}
	return len(s) <= 253
}

// maxLDAPText bounds filters and names: the library that checks them recurses.
const maxLDAPText = 8 << 10

func (d *decoder) dn(n *strictyaml.Node, to *string) {
	s, ok := d.String(n)
	if !ok {
		return
	}
	if !isDN(s) {
		d.Fault(n, "a distinguished name is needed, such as dc=example,dc=com")
		return
	}
	*to = s
}

// bindDN reads a distinguished name or one of the two forms that Active
// Directory takes besides.
func (d *decoder) bindDN(n *strictyaml.Node, to *string) {
	s, ok := d.String(n)
	if !ok {
		return
	}
	if !isDN(s) && (strings.Contains(s, "=") || !strings.ContainsAny(s, `@\`)) {
		d.Fault(n, `a distinguished name is needed, such as cn=sync,dc=example,dc=com (Active Directory takes sync@example.com and EXAMPLE\sync too)`)
		return
	}
	*to = s
}

func isDN(s string) bool {
	if len(s) > maxLDAPText {
		return false
	}
	dn, err := ldap.ParseDN(s)
	return err == nil && len(dn.RDNs) > 0
}

func (d *decoder) filter(n *strictyaml.Node, to *string) {
	s, ok := d.String(n)
	if !ok {
		return
	}
	if len(s) > maxLDAPText {
		d.Fault(n, "filter: longer than %d bytes", maxLDAPText)
		return
	}
	if _, err := ldap.CompileFilter(s); err != nil {
		d.Fault(n, "filter: no valid LDAP filter; one looks like (objectClass=inetOrgPerson), and every bracket is closed")
		return
	}
	*to = s
}
