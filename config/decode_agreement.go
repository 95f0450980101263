package config

import (
	"slices"
	"strings"

	"github.com/dirpin/dirpin/internal/strictyaml"
)

func (d *decoder) agreements(n *strictyaml.Node, cfg *Config) {
	var names []string
	nodes := d.each(n, func(item *strictyaml.Node) {
		a := defaultAgreement()
		d.agreement(item, &a)
		cfg.Agreements = append(cfg.Agreements, a)
		names = append(names, a.Name)
	})
	d.unique(nodes, names, "agreement")
	for i, a := range cfg.Agreements {
		isOld := func(name string) bool { return strings.EqualFold(name, a.RenamedFrom) }
		if a.RenamedFrom != "" && slices.ContainsFunc(names, isOld) {
			d.Fault(nodes[i], "renamed_from: an agreement of that name is still configured")
		}
	}
}

func (d *decoder) agreement(n *strictyaml.Node, a *Agreement) {
	m := d.Mapping(n, "name", "servers", "start_tls", "insecure_plaintext", "ca_file", "cert_file", "key_file", "bind",
		"base", "filter", "method", "interval", "full_every", "page_size", "timeout", "grace", "replica_lag",
		"passwords", "adopt_local", "renamed_from", "write_back", "guard", "attributes")
	if m == nil {
		return
	}
	d.agreementName(d.Require(m, "name"), &a.Name)
	d.agreementName(m.Get("renamed_from"), &a.RenamedFrom)
	d.servers(d.Require(m, "servers"), &a.Servers)
	d.bool(m.Get("start_tls"), &a.StartTLS)
	d.bool(m.Get("insecure_plaintext"), &a.InsecurePlaintext)
	d.path(m.Get("ca_file"), &a.CAFile)
	d.path(m.Get("cert_file"), &a.CertFile)
	d.path(m.Get("key_file"), &a.KeyFile)
	d.bind(m.Get("bind"), &a.Bind)
	d.dn(d.Require(m, "base"), &a.Base)
	d.filter(m.Get("filter"), &a.Filter)
	d.enum(m.Get("method"), &a.Method, "auto", "full", "syncrepl", "dirsync")
	d.duration(m.Get("interval"), &a.Interval)
	d.duration(m.Get("full_every"), &a.FullEvery)
	d.int(m.Get("page_size"), &a.PageSize, 1, 100_000)
	d.positive(m.Get("timeout"), &a.Timeout)
	d.duration(m.Get("grace"), &a.Grace)
	d.duration(m.Get("replica_lag"), &a.ReplicaLag)
	d.enum(m.Get("passwords"), &a.Passwords, "directory", "local", "write_back")
	d.bool(m.Get("adopt_local"), &a.AdoptLocal)
	d.writeBack(m.Get("write_back"), a)
	d.guard(m.Get("guard"), &a.Guard)
	d.attributes(m.Get("attributes"), &a.Attributes)
	d.agreementRules(m, a)
}

func (d *decoder) agreementName(n *strictyaml.Node, to *string) {
	if d.name(n, to) && (strings.EqualFold(*to, "store") || strings.EqualFold(*to, "all")) {
		d.Fault(n, "store and all mean something else where agreements are named: choose another name")
	}
}

func (d *decoder) bind(n *strictyaml.Node, b *Bind) {
	m := d.Mapping(n, "dn", "password", "external")
	if m == nil {
		return
	}
	d.bindDN(m.Get("dn"), &b.DN)
	d.secret(m.Get("password"), &b.Password)
	d.bool(m.Get("external"), &b.External)
	switch dn, password := m.Has("dn"), m.Has("password"); {
	case b.External && (dn || password):
		d.Fault(n, "bind: external: true takes neither dn nor password: the client certificate says who binds")
	case b.External:
	case !dn && !password:
		d.Fault(n, "bind: dn and password are needed, or external: true; without bind the directory is asked anonymously")
	case !password:
		d.Fault(n, "bind: the key password is missing: a bind without one is anonymous, and many servers say that it worked")
	case !dn:
		d.Fault(n, "bind: the key dn is missing")
	}
}

func (d *decoder) writeBack(n *strictyaml.Node, a *Agreement) {
	m := d.Mapping(n, "bind")
	if m == nil {
		return
	}
	a.WriteBack = &WriteBack{}
	d.bind(d.Require(m, "bind"), &a.WriteBack.Bind)
}

func (d *decoder) guard(n *strictyaml.Node, g *Guard) {
	m := d.Mapping(n, "max_deactivate", "window", "max_blank")
	d.limit(m.Get("max_deactivate"), &g.MaxDeactivate)
	d.positive(m.Get("window"), &g.Window)
	d.limit(m.Get("max_blank"), &g.MaxBlank)
}

func (d *decoder) attributes(n *strictyaml.Node, a *Attributes) {
	m := d.Mapping(n, "user_id", "first_name", "middle_name", "last_name", "manager", "department", "mail", "telephone", "language")
	d.attribute(m.Get("user_id"), &a.UserID)
	d.attribute(m.Get("first_name"), &a.FirstName)
	d.attribute(m.Get("middle_name"), &a.MiddleName)
	d.attribute(m.Get("last_name"), &a.LastName)
	d.attribute(m.Get("manager"), &a.Manager)
	d.attribute(m.Get("department"), &a.Department)
	d.attribute(m.Get("mail"), &a.Mail)
	d.attribute(m.Get("telephone"), &a.Telephone)
	d.attribute(m.Get("language"), &a.Language)
	if id := m.Get("user_id"); id != nil && id.Kind == strictyaml.Sequence && len(id.Items) == 0 {
		d.Fault(id, "user_id: every user needs one: name the attribute")
	}
}

// attribute reads the attributes of a field. An empty list stays one: it says
// that the field is not read from the directory.
func (d *decoder) attribute(n *strictyaml.Node, to *[]string) {
	names, ok := d.StringList(n)
	if !ok {
		return
	}
	for _, item := range items(n) {
		if !isAttribute(item.Text) {
			d.Fault(item, "an attribute's name is needed, such as givenName, givenName;lang-de or 2.5.4.42")
		}
	}
	*to = names
}

// isAttribute takes an attribute description of RFC 4512: a name or an OID,
// and options.
func isAttribute(s string) bool {
	for i, part := range strings.Split(s, ";") {
		rest := strings.Trim(part, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-")
		oid := i == 0 && strings.Trim(part, "0123456789.") == ""
		if part == "" || len(part) > 128 || rest != "" && !oid || i == 0 && !oid && strings.IndexByte("0123456789-", part[0]) >= 0 {
			return false
		}
	}
	return true
}

// agreementRules judges what the keys of an agreement say together.
func (d *decoder) agreementRules(m *strictyaml.Keyed, a *Agreement) {
	clear, safe := 0, 0
	for _, s := range a.Servers {
		if strings.HasPrefix(s, "ldap://") && !a.StartTLS {
			clear++
		} else {
			safe++
		}
	}
	switch {
	case clear > 0 && a.Bind.DN != "" && !a.InsecurePlaintext:
		d.Fault(m.Get("servers"), "servers: the password would cross the network in clear over ldap://: use ldaps:// or start_tls: true (or, where nobody can listen, insecure_plaintext: true)")
	case clear > 0 && a.InsecurePlaintext:
		d.Warn(m.Get("insecure_plaintext"), "insecure_plaintext: passwords and people's data cross the network in clear")
	}
	if clear > 0 && a.WriteBack != nil {
		d.Fault(m.Get("write_back"), "write_back: new passwords need TLS: use ldaps:// or start_tls: true")
	}
	if a.StartTLS && safe > 0 && !hasPrefix(a.Servers, "ldap://", "srv:") {
		d.Warn(m.Get("start_tls"), "start_tls: no server here is one of ldap://: it changes nothing")
	}
	if (a.CertFile == "") != (a.KeyFile == "") {
		d.Fault(m.Node(), "cert_file and key_file belong together: one of them is missing")
	}
	if a.Bind.External && a.CertFile == "" && hasPrefix(a.Servers, "ldap://", "ldaps://", "srv:") {
		d.Fault(m.Get("bind"), "bind: external: true needs cert_file and key_file, or only ldapi:// servers")
	}
	switch {
	case a.Passwords == "write_back" && a.WriteBack == nil && !m.Has("write_back"):
		d.Fault(m.Get("passwords"), "passwords: write_back needs the key write_back with the account that may change them")
	case a.Passwords != "write_back" && a.WriteBack != nil:
		d.Warn(m.Get("write_back"), "write_back: without passwords: write_back it is not used")
	}
}

func hasPrefix(texts []string, prefixes ...string) bool {
	for _, text := range texts {
		for _, prefix := range prefixes {
			if strings.HasPrefix(text, prefix) {
				return true
			}
		}
	}
	return false
}
