package slapd

import (
	"cmp"
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

// writeConfig writes slapd.conf.
func (s *Server) writeConfig() error {
	schemas, err := firstWith("inetorgperson.schema", "/etc/ldap/schema", "/etc/openldap/schema",
		"/usr/local/etc/openldap/schema", "/opt/symas/etc/openldap/schema", "/opt/homebrew/etc/openldap/schema")
	if err != nil {
		return err
	}
	var b strings.Builder
	for _, name := range []string{"core", "cosine", "inetorgperson"} {
		fmt.Fprintf(&b, "include %q\n", filepath.Join(schemas, name+".schema"))
	}
	// Without modules the back end is built into the program.
	if modules, err := firstWith("back_mdb.so", "/usr/lib/ldap", "/usr/lib64/openldap",
		"/usr/lib/openldap", "/usr/local/libexec/openldap", "/opt/symas/lib/openldap"); err == nil {
		fmt.Fprintf(&b, "modulepath %q\nmoduleload back_mdb\n", modules)
		for _, m := range []string{"syncprov", "ppolicy"} {
			if _, err := os.Stat(filepath.Join(modules, m+".so")); err == nil {
				fmt.Fprintf(&b, "moduleload %s\n", m)
			}
		}
	}
	limit := "unlimited"
	if s.opts.SizeLimit > 0 {
		limit = fmt.Sprint(s.opts.SizeLimit)
	}
	fmt.Fprintf(&b, "pidfile %q\nargsfile %q\n", s.path("slapd.pid"), s.path("slapd.args"))
	fmt.Fprintf(&b, "TLSCACertificateFile %q\nTLSCertificateFile %q\nTLSCertificateKeyFile %q\nTLSVerifyClient try\n", s.path("ca.pem"), s.path("server.pem"), s.path("server.key"))
	fmt.Fprintf(&b, "authz-regexp \"^cn=sync$\" %q\n", s.BindDN()) // client certificates of that subject
	fmt.Fprintf(&b, "authz-regexp \"^gidNumber=%d[+]uidNumber=%d,cn=peercred,cn=external,cn=auth$\" %q\n", os.Getgid(), os.Getuid(), s.BindDN())
	fmt.Fprintf(&b, "sizelimit %s\ntimelimit unlimited\nthreads 4\n\n", limit)
	fmt.Fprintf(&b, "database mdb\nsuffix %q\nrootdn %q\nrootpw %s\ndirectory %q\n", s.opts.Suffix, s.AdminDN(), AdminPassword, s.path("db"))
	fmt.Fprintf(&b, "maxsize %d\n", cmp.Or(s.opts.MaxSize, 1<<30))
	b.WriteString("dbnosync\nindex objectClass,entryUUID,entryCSN eq\nindex uid,mail eq\n")
	fmt.Fprintf(&b, "access to attrs=userPassword by dn.exact=%q write by self write by anonymous auth by * none\n", s.WriterDN())
	for _, a := range s.opts.Access {
		fmt.Fprintf(&b, "access %s\n", a)
	}
	if len(s.opts.Access) == 0 {
		b.WriteString("access to * by * read\n")
	}
	for _, o := range s.opts.Overlays {
		fmt.Fprintln(&b, o)
	}
	return os.WriteFile(s.path("slapd.conf"), []byte(b.String()), 0o600)
}

// firstWith returns the first of the folders that has the file.
func firstWith(file string, dirs ...string) (string, error) {
	for _, d := range dirs {
		if _, err := os.Stat(filepath.Join(d, file)); err == nil {
			return d, nil
		}
	}
	return "", fmt.Errorf("%s is in none of %s", file, strings.Join(dirs, ", "))
}

func (s *Server) baseEntries() string {
	dc := strings.TrimPrefix(strings.SplitN(s.opts.Suffix, ",", 2)[0], "dc=")
	return fmt.Sprintf(`dn: %[1]s
objectClass: dcObject
objectClass: organization
dc: %[2]s
o: Example

dn: ou=people,%[1]s
objectClass: organizationalUnit
ou: people

dn: ou=services,%[1]s
objectClass: organizationalUnit
ou: services

dn: %[3]s
objectClass: simpleSecurityObject
objectClass: organizationalRole
cn: sync
userPassword: %[4]s

dn: %[5]s
objectClass: simpleSecurityObject
objectClass: organizationalRole
cn: writer
userPassword: %[6]s
`, s.opts.Suffix, dc, s.BindDN(), bindPassword, s.WriterDN(), writerPassword)
}
