package lab

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"os"
	"strings"

	"github.com/go-ldap/ldap/v3"
	"golang.org/x/text/encoding/unicode"

	"github.com/dirpin/dirpin/internal/slapd"
)

// Admin returns a connection that may do everything. It is closed with the
// test.
func (d *Directory) Admin() *ldap.Conn {
	d.t.Helper()
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.admin == nil {
		pem, err := os.ReadFile(d.CAFile())
		fatal(d.t, err)
		roots := x509.NewCertPool()
		if !roots.AppendCertsFromPEM(pem) {
			d.t.Fatal("no certificate in " + d.CAFile())
		}
		c, err := ldap.DialURL(d.TLSURL(), ldap.DialWithTLSConfig(&tls.Config{RootCAs: roots}))
		fatal(d.t, err)
		fatal(d.t, c.Bind(d.AdminDN(), d.AdminPassword()))
		d.admin = c
	}
	return d.admin
}

func addRequest(dn string, attributes map[string][]string) *ldap.AddRequest {
	r := ldap.NewAddRequest(dn, nil)
	for name, values := range attributes {
		r.Attribute(name, values)
	}
	return r
}

// Add adds an entry. The attributes of its RDN need not be named.
func (d *Directory) Add(dn string, attributes map[string][]string) {
	d.t.Helper()
	parsed, err := ldap.ParseDN(dn)
	fatal(d.t, err)
	r := addRequest(dn, attributes)
	for _, a := range parsed.RDNs[0].Attributes {
		if !has(attributes, a.Type) {
			r.Attribute(a.Type, []string{a.Value})
		}
	}
	fatal(d.t, d.Admin().Add(r))
}

func has(attributes map[string][]string, name string) bool {
	for n := range attributes {
		if strings.EqualFold(n, name) {
			return true
		}
	}
	return false
}

// adNames are what AD calls attributes that others name otherwise.
var adNames = map[string]string{"uid": "sAMAccountName", "departmentNumber": "department"}

// Attribute returns what the server calls an attribute of inetOrgPerson.
func (d *Directory) Attribute(name string) string {
	if other := adNames[name]; other != "" && d.Kind == AD {
		return other
	}
	return name
}

// AddPerson adds a person below Base and returns the DN: an inetOrgPerson by
// uid or, in AD, a user by cn, who is enabled and has no password. The user id
// is written as an RDN would have to be; cn and sn need not be named, and
// attributes go by the names that inetOrgPerson has for them.
func (d *Directory) AddPerson(uid string, attributes map[string][]string) string {
	d.t.Helper()
	rdn, all := "uid=", map[string][]string{"objectClass": {"inetOrgPerson"}, "cn": {uid}, "sn": {"Test"}, "uid": {uid}}
	if d.Kind == AD {
		rdn, all = "CN=", map[string][]string{"objectClass": {"user"}, "cn": {uid}, "sn": {"Test"}, "sAMAccountName": {uid}, "userAccountControl": {"544"}}
	}
	for name, values := range attributes {
		all[d.Attribute(name)] = values
	}
	dn := rdn + ldap.EscapeDN(uid) + "," + d.Base
	d.Add(dn, all)
	return dn
}

// Set replaces an attribute, by the name that inetOrgPerson has for it;
// without values it takes it away.
func (d *Directory) Set(dn, attribute string, values ...string) {
	d.t.Helper()
	r := ldap.NewModifyRequest(dn, nil)
	r.Replace(d.Attribute(attribute), values)
	fatal(d.t, d.Admin().Modify(r))
}

// Delete removes an entry.
func (d *Directory) Delete(dn string) {
	d.t.Helper()
	fatal(d.t, d.Admin().Del(ldap.NewDelRequest(dn, nil)))
}

// Rename gives an entry another RDN, without the value of the old one, below
// the same parent or, if one is named, another.
func (d *Directory) Rename(dn, rdn, parent string) {
	d.t.Helper()
	fatal(d.t, d.Admin().ModifyDN(ldap.NewModifyDNRequest(dn, rdn, true, parent)))
}

// Value returns the first value of an entry's attribute, operational ones too.
func (d *Directory) Value(dn, attribute string) string {
	d.t.Helper()
	r, err := d.Admin().Search(ldap.NewSearchRequest(dn, ldap.ScopeBaseObject, ldap.NeverDerefAliases, 0, 0, false, "(objectClass=*)", []string{d.Attribute(attribute)}, nil))
	fatal(d.t, err)
	if len(r.Entries) != 1 {
		d.t.Fatalf("%s: %d entries", dn, len(r.Entries))
	}
	return r.Entries[0].GetEqualFoldAttributeValue(d.Attribute(attribute))
}

// SetPassword gives an account a password.
func (d *Directory) SetPassword(dn, password string) {
	d.t.Helper()
	if d.Kind != AD {
		_, err := d.Admin().PasswordModify(ldap.NewPasswordModifyRequest(dn, "", password))
		fatal(d.t, err)
		return
	}
	quoted, err := unicode.UTF16(unicode.LittleEndian, unicode.IgnoreBOM).NewEncoder().String(`"` + password + `"`)
	fatal(d.t, err)
	d.Set(dn, "unicodePwd", quoted)
}

// Disable disables an account, or enables it again. OpenLDAP knows no such
// thing.
func (d *Directory) Disable(dn string, disabled bool) {
	d.t.Helper()
	switch {
	case d.Kind == OpenLDAP:
		d.t.Fatal("an OpenLDAP has no disabled accounts")
	case d.Kind == AD && disabled:
		d.Set(dn, "userAccountControl", "546")
	case d.Kind == AD:
		d.Set(dn, "userAccountControl", "544")
	case disabled:
		d.Set(dn, "nsAccountLock", "true")
	default:
		d.Set(dn, "nsAccountLock")
	}
}

// Hide takes the right to read these attributes of the entries below Base away
// from the account that synchronizes; without attributes, the right to see the
// entries at all. An OpenLDAP has to be the test's own.
func (d *Directory) Hide(attributes ...string) {
	d.t.Helper()
	for i, a := range attributes {
		attributes[i] = d.Attribute(a)
	}
	switch d.Kind {
	case OpenLDAP:
		rule := fmt.Sprintf("to dn.children=%q by * none", d.Base)
		if len(attributes) > 0 {
			rule = fmt.Sprintf("to dn.children=%q attrs=%s by * none", d.Base, strings.Join(attributes, ","))
		}
		d.Configure(func(o *slapd.Options) { o.Access = []string{rule, "to * by * read"} })
	case DS389:
		what := "*"
		if len(attributes) > 0 {
			what = strings.Join(attributes, " || ")
		}
		d.Set(d.Base, "aci", fmt.Sprintf(`(targetfilter="(objectClass=person)")(targetattr="%s")(version 3.0; acl "hidden"; deny (read,search,compare) userdn="ldap:///%s";)`, what, d.BindDN()))
	case AD:
		fatal(d.t, d.hideInDomain(attributes))
	}
}

// Unhide undoes Hide.
func (d *Directory) Unhide() {
	d.t.Helper()
	switch d.Kind {
	case OpenLDAP:
		d.Configure(func(o *slapd.Options) { o.Access = nil })
	case DS389:
		d.Set(d.Base, "aci")
	case AD:
		fatal(d.t, d.domain().script(`
for line in open(args[0]):
    dn, sddl = line.rstrip("\n").split("\t")
    sdu.modify_sd_on_dn(dn, sddl)
`, d.hidden))
		os.Remove(d.hidden)
	}
}

// hideInDomain denies on every entry itself: what an entry allows goes before
// what its container denies. Who may not list a container sees nothing in it.
func (d *Directory) hideInDomain(attributes []string) error {
	f, err := os.CreateTemp("", "dirpin-lab-acl-")
	if err != nil {
		return err
	}
	d.hidden = f.Name()
	err = d.domain().script(`
schema = str(s.get_schema_basedn())
place, out, attributes = args[0], open(args[1], "w"), args[2:]
aces = []
for a in attributes:
    r = s.search(schema, ldb.SCOPE_ONELEVEL, "(lDAPDisplayName=%s)" % a, ["schemaIDGUID"])
    from samba.dcerpc import misc
    aces.append("(OD;;RP;%s;;%s)" % (ndr_unpack(misc.GUID, r[0]["schemaIDGUID"][0]), sid("svc-sync")))
scope, aces = (ldb.SCOPE_SUBTREE, aces) if aces else (ldb.SCOPE_BASE, ["(D;;LC;;;%s)" % sid("svc-sync")])
for r in s.search(place, scope, "(objectClass=*)", ["nTSecurityDescriptor"]):
    if attributes and str(r.dn).lower() == place.lower():
        continue
    old = ndr_unpack(security.descriptor, r["nTSecurityDescriptor"][0]).as_sddl(security.dom_sid(s.get_domain_sid()))
    out.write("%s\t%s\n" % (r.dn, old))
    for ace in aces:
        sdu.dacl_add_ace(str(r.dn), ace)
`, append([]string{d.Base, d.hidden}, attributes...)...)
	return errors.Join(err, f.Close())
}

func (d *Directory) domain() *samba {
	d.t.Helper()
	s, ok := d.server.(*samba)
	if !ok {
		d.t.Fatalf("%s is no domain controller", d.Kind)
	}
	return s
}
