package lab

import (
	"context"
	"crypto/rand"
	"crypto/sha512"
	"encoding/base64"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"

	"github.com/go-ldap/ldap/v3"

	"github.com/dirpin/dirpin/internal/child"
	"github.com/dirpin/dirpin/internal/localca"
)

// ds389 is a 389 Directory Server of one's own. dscreate takes 20 s, wants
// systemd and writes below /etc; what it does is to fill in a template, which
// we do ourselves.
type ds389 struct {
	dir     string
	ports   []int // plain, TLS
	filled  bool
	process *child.Process
}

const (
	ds389Suffix = "dc=example,dc=com"
	ds389Data   = "/usr/share/dirsrv/"
)

// newDS389 lays a server out in an existing, empty folder.
func newDS389(dir string) (*ds389, error) {
	s := &ds389{dir: dir}
	for _, sub := range []string{"conf/schema", "db", "log", "ldif", "bak", "run", "lock", "tmp"} {
		if err := os.MkdirAll(s.path(sub), 0o700); err != nil {
			return nil, fmt.Errorf("laying out a 389 Directory Server: %w", err)
		}
	}
	for _, program := range []string{"ns-slapd", "certutil", "pk12util", "openssl"} {
		if _, err := find(program); err != nil {
			return nil, err
		}
	}
	var err error
	if s.ports, err = child.FreePorts("127.0.0.1", 2); err != nil {
		return nil, err
	}
	if err := s.writeCertificates(); err != nil {
		return nil, err
	}
	return s, s.writeConfig()
}

func (s *ds389) path(name string) string { return filepath.Join(s.dir, name) }

// writeCertificates makes the database of certificates that 389 reads.
func (s *ds389) writeCertificates() error {
	if err := localca.Write(s.dir, "sync"); err != nil {
		return err
	}
	for _, args := range [][]string{
		{"certutil", "-N", "-d", s.path("conf"), "--empty-password"},
		{"openssl", "pkcs12", "-export", "-in", s.path("server.pem"), "-inkey", s.path("server.key"), "-name", "Server-Cert", "-passout", "pass:x", "-out", s.path("server.p12")},
		{"pk12util", "-i", s.path("server.p12"), "-d", s.path("conf"), "-W", "x", "-K", ""},
		{"certutil", "-A", "-d", s.path("conf"), "-n", "CA", "-t", "CT,,", "-a", "-i", s.path("ca.pem")},
	} {
		if err := run(args...); err != nil {
			return err
		}
	}
	return nil
}

func (s *ds389) writeConfig() error {
	template, err := os.ReadFile(ds389Data + "data/template-dse.ldif")
	if err != nil {
		return fmt.Errorf("laying out a 389 Directory Server: %w", err)
	}
	salt := make([]byte, 8)
	rand.Read(salt)
	sum := sha512.Sum512(append([]byte(s.AdminPassword()), salt...))
	dse := strings.NewReplacer("%schema_dir%", s.path("conf/schema"), "%lock_dir%", s.path("lock"), "%tmp_dir%", s.path("tmp"),
		"%cert_dir%", s.path("conf"), "%ldif_dir%", s.path("ldif"), "%bak_dir%", s.path("bak"), "%run_dir%", s.path("run"),
		"%inst_dir%", s.dir, "%log_dir%", s.path("log"), "%fqdn%", "localhost", "%ds_port%", strconv.Itoa(s.ports[0]),
		// Without another account than ours nothing has to change hands, and
		// the kernel keeps its promise to kill the server with us.
		"%ds_user%", me(), "%rootdn%", s.AdminDN(), "%ds_passwd%", "{SSHA512}"+base64.StdEncoding.EncodeToString(append(sum[:], salt...)),
		"%ldapi_enabled%", "off", "%ldapi%", s.path("run/ldapi"), "%ldapi_autobind%", "off", "%ds_suffix%", ds389Suffix,
		"%config_dir%", s.path("conf"), "%db_dir%", s.path("db"), "%db_home_dir%", s.path("db"), "%db_lib%", "bdb").Replace(string(template))
	entries := strings.Split(dse, "\n\n")
	amend(entries, "cn=config", "nsslapd-listenhost: 127.0.0.1", "nsslapd-security: on", "nsslapd-secureport: "+strconv.Itoa(s.ports[1]),
		"nsslapd-securelistenhost: 127.0.0.1", "nsslapd-sizelimit: 500", "passwordStorageScheme: SSHA512", "nsslapd-accesslog-logging-enabled: off")
	amend(entries, "cn=Retro Changelog Plugin,cn=plugins,cn=config", "nsslapd-pluginenabled: on", "nsslapd-attribute: nsuniqueid:targetUniqueId")
	amend(entries, "cn=Content Synchronization,cn=plugins,cn=config", "nsslapd-pluginenabled: on")
	if err := os.WriteFile(s.path("conf/dse.ldif"), []byte(strings.Join(entries, "\n\n")), 0o600); err != nil {
		return err
	}
	for to, from := range map[string]string{"conf/schema": ds389Data + "schema/*.ldif", "conf": "/etc/dirsrv/config/*.conf"} {
		files, err := filepath.Glob(from)
		if err != nil || len(files) == 0 {
			return fmt.Errorf("laying out a 389 Directory Server: there are no %s", from)
		}
		for _, f := range append(files, "/etc/dirsrv/schema/99user.ldif") {
			if err := copyFile(f, filepath.Join(s.path(to), filepath.Base(f))); err != nil {
				return err
			}
		}
	}
	return nil
}

// amend adds lines to the entry of a DN, in place of those of the same
// attributes.
func amend(entries []string, dn string, lines ...string) {
	for i, e := range entries {
		e = strings.TrimLeft(e, "\n")
		if !strings.HasPrefix(e, "dn: "+dn+"\n") {
			continue
		}
		kept := strings.Split(e, "\n")
		for _, l := range lines {
			name, _, _ := strings.Cut(l, ":")
			n := 0
			for _, k := range kept {
				if !strings.HasPrefix(strings.ToLower(k), strings.ToLower(name)+":") {
					kept[n], n = k, n+1
				}
			}
			kept = append(kept[:n], l)
		}
		entries[i] = strings.Join(kept, "\n")
	}
}

func (s *ds389) Start(ctx context.Context) error {
	if s.Running() {
		return nil
	}
	binary, err := find("ns-slapd")
	if err != nil {
		return err
	}
	// -d 0: in the foreground.
	if s.process, err = child.Start("389 Directory Server", exec.Command(binary, "-D", s.path("conf"), "-i", s.path("run/pid"), "-d", "0")); err != nil {
		return err
	}
	if err = s.process.Await(ctx, s.Addr(), s.TLSAddr()); err == nil && !s.filled {
		err = s.fill()
	}
	if err != nil {
		s.process.Kill()
		return err
	}
	s.filled = true
	return nil
}

// fill adds the database and its first entries.
func (s *ds389) fill() error {
	conn, err := ldap.DialURL(s.URL())
	if err != nil {
		return err
	}
	defer conn.Close()
	if err := conn.Bind(s.AdminDN(), s.AdminPassword()); err != nil {
		return fmt.Errorf("filling a 389 Directory Server: %w", err)
	}
	unlimited := []string{"-1"}
	account := func(cn, password string) map[string][]string {
		return map[string][]string{"objectClass": {"organizationalRole", "simpleSecurityObject"}, "cn": {cn}, "userPassword": {password},
			"nsSizeLimit": unlimited, "nsLookThroughLimit": unlimited, "nsPagedSizeLimit": unlimited, "nsPagedLookThroughLimit": unlimited, "nsTimeLimit": unlimited, "nsIdleTimeout": {"0"}}
	}
	for _, e := range []struct {
		dn         string
		attributes map[string][]string
	}{
		{"cn=userRoot,cn=ldbm database,cn=plugins,cn=config", map[string][]string{"objectClass": {"extensibleObject", "nsBackendInstance"}, "nsslapd-suffix": {ds389Suffix}}},
		{`cn="` + ds389Suffix + `",cn=mapping tree,cn=config`, map[string][]string{"objectClass": {"extensibleObject", "nsMappingTree"}, "nsslapd-state": {"backend"}, "nsslapd-backend": {"userRoot"}}},
		{ds389Suffix, map[string][]string{"objectClass": {"domain"}, "aci": {
			`(targetattr!="userPassword || aci")(version 3.0; acl "everyone reads"; allow (read,search,compare) userdn="ldap:///anyone";)`,
			`(targetattr="userPassword")(version 3.0; acl "own password"; allow (write) userdn="ldap:///self";)`,
			`(targetattr="userPassword")(version 3.0; acl "passwords are reset"; allow (write) userdn="ldap:///` + s.WriterDN() + `";)`}}},
		{"ou=people," + ds389Suffix, map[string][]string{"objectClass": {"organizationalUnit"}}},
		{"ou=services," + ds389Suffix, map[string][]string{"objectClass": {"organizationalUnit"}}},
		{s.BindDN(), account("sync", s.BindPassword())},
		{s.WriterDN(), account("writer", s.WriterPassword())},
	} {
		if err := conn.Add(addRequest(e.dn, e.attributes)); err != nil {
			return fmt.Errorf("filling a 389 Directory Server: adding %s: %w", e.dn, err)
		}
	}
	changelog := ldap.NewModifyRequest("cn=changelog", nil)
	changelog.Add("aci", []string{`(targetattr="*")(version 3.0; acl "sync reads the changelog"; allow (read,search,compare) userdn="ldap:///` + s.BindDN() + `";)`})
	if err := conn.Modify(changelog); err != nil {
		return fmt.Errorf("filling a 389 Directory Server: opening the changelog: %w", err)
	}
	return nil
}

func (s *ds389) Stop() error            { return s.process.Stop(syscall.SIGTERM) }
func (s *ds389) Kill()                  { s.process.Kill() }
func (s *ds389) Running() bool          { return s.process.Running() }
func (s *ds389) PID() int               { return s.process.PID() }
func (s *ds389) Suffix() string         { return ds389Suffix }
func (s *ds389) People() string         { return "ou=people," + ds389Suffix }
func (s *ds389) AdminDN() string        { return "cn=Directory Manager" }
func (s *ds389) AdminPassword() string  { return "admin-secret" }
func (s *ds389) BindDN() string         { return "cn=sync,ou=services," + ds389Suffix }
func (s *ds389) BindPassword() string   { return "sync-secret" }
func (s *ds389) WriterDN() string       { return "cn=writer,ou=services," + ds389Suffix }
func (s *ds389) WriterPassword() string { return "writer-secret" }
func (s *ds389) CAFile() string         { return s.path("ca.pem") }
func (s *ds389) Addr() string           { return net.JoinHostPort("127.0.0.1", strconv.Itoa(s.ports[0])) }
func (s *ds389) TLSAddr() string        { return net.JoinHostPort("127.0.0.1", strconv.Itoa(s.ports[1])) }
func (s *ds389) URL() string            { return "ldap://localhost:" + strconv.Itoa(s.ports[0]) }
func (s *ds389) TLSURL() string         { return "ldaps://localhost:" + strconv.Itoa(s.ports[1]) }

// errMissing says that the machine lacks a program.
var errMissing = errors.New("is not installed")

// find returns where a program is: servers are seldom in the PATH of an
// ordinary user.
func find(program string) (string, error) {
	if p, err := exec.LookPath(program); err == nil {
		return p, nil
	}
	for _, dir := range []string{"/usr/sbin/", "/usr/local/sbin/", "/sbin/"} {
		if fi, err := os.Stat(dir + program); err == nil && fi.Mode().IsRegular() {
			return dir + program, nil
		}
	}
	return "", fmt.Errorf("%s %w", program, errMissing)
}

// run runs a program to its end.
func run(args ...string) error {
	cmd := exec.Command(args[0], args[1:]...)
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("%s: %w: %s", args[0], err, child.LastLines(out))
	}
	return nil
}
