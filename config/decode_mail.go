package config

import (
	"net/mail"
	"strings"

	"golang.org/x/text/language"

	"github.com/dirpin/dirpin/internal/strictyaml"
)

func (d *decoder) mail(n *strictyaml.Node, cfg *Config) {
	m := d.Mapping(n, "server", "tls", "ca_file", "user", "password", "from", "allow", "templates", "language")
	if m == nil {
		return
	}
	c := &Mail{TLS: "required", Language: "en"}
	d.mailServer(m, c)
	d.path(m.Get("ca_file"), &c.CAFile)
	d.text(m.Get("user"), &c.User)
	d.secret(m.Get("password"), &c.Password)
	if m.Has("user") != m.Has("password") {
		d.Fault(m.Node(), "mail: user and password go together")
	}
	if from := d.Require(m, "from"); d.text(from, &c.From) && !isAddress(c.From) {
		d.Fault(from, "from: a mail address such as dirpin@example.com is needed")
	}
	if allow := m.Get("allow"); d.list(allow, &c.Allow) {
		for _, item := range items(allow) {
			if !isAddress(item.Text) && !isMailDomain(item.Text) {
				d.Fault(item, `allow: a mail address or a domain such as "@example.com" is needed`)
			}
		}
	}
	d.path(m.Get("templates"), &c.Templates)
	if l := m.Get("language"); d.text(l, &c.Language) {
		if _, err := language.Parse(c.Language); err != nil {
			d.Fault(l, "language: a language such as en or de-AT is needed")
		}
	}
	cfg.Mail = c
}

func (d *decoder) mailServer(m *strictyaml.Keyed, c *Mail) {
	u, ok := d.url(d.Require(m, "server"), "smtp", "smtps")
	if ok {
		c.Server = u.String()
	}
	tls := m.Get("tls")
	if !d.enum(tls, &c.TLS, "required", "none") || c.TLS != "none" {
		return
	}
	switch {
	case ok && u.Scheme == "smtps":
		d.Warn(tls, "tls: smtps is TLS from the first byte whatever this says: leave it out")
	case ok && !isLoopback(u.Hostname()):
		d.Warn(tls, "tls: mails, and values in them, cross the network in clear")
	}
}

func (d *decoder) webhook(n *strictyaml.Node, cfg *Config) {
	m := d.Mapping(n, "url", "ca_file", "secret")
	if m == nil {
		return
	}
	c := &Webhook{}
	at := d.Require(m, "url")
	if u, ok := d.url(at, "https", "http"); ok {
		if u.Scheme == "http" && !isLoopback(u.Hostname()) {
			d.Fault(at, "url: who was reset would cross the network in clear: use https://")
		}
		c.URL = u.String()
	}
	d.path(m.Get("ca_file"), &c.CAFile)
	d.secret(m.Get("secret"), &c.Secret)
	if !m.Has("secret") {
		d.Warn(at, "webhook: without a secret its receiver cannot tell who is calling")
	}
	cfg.Webhook = c
}

func isAddress(s string) bool {
	a, err := mail.ParseAddress(s)
	return err == nil && a.Address == s
}

func isMailDomain(s string) bool {
	return strings.HasPrefix(s, "@") && isAddress("x"+s)
}
