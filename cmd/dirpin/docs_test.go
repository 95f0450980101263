package main

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"regexp"
	"strings"
	"testing"

	"github.com/dirpin/dirpin/internal/lab"
	"github.com/dirpin/dirpin/internal/slapd"
)

// What docs/directory.md tells administrators to write works as it stands there,
// but for the names.
func TestDocumentedDirectories(t *testing.T) {
	text, err := os.ReadFile("../../docs/directory.md")
	if err != nil {
		t.Fatal(err)
	}
	block := func(t *testing.T, heading, language string) string {
		_, section, _ := strings.Cut(string(text), "\n## "+heading+"\n")
		section, _, _ = strings.Cut(section, "\n## ")
		m := regexp.MustCompile("(?s)```" + language + "\n(.*?)```").FindStringSubmatch(section)
		if m == nil {
			t.Fatalf("%s has no %s", heading, language)
		}
		return m[1]
	}
	for heading, kind := range map[string]lab.Kind{"Active Directory": lab.AD, "OpenLDAP": lab.OpenLDAP, "389 Directory Server": lab.DS389} {
		t.Run(heading, func(t *testing.T) {
			var d *lab.Directory
			people := 3
			// The names of the page become those of the server.
			named := func(s string) string {
				return strings.NewReplacer("dc=example,dc=com", d.Suffix(), "DC=example,DC=com", d.Suffix()).Replace(s)
			}
			switch kind {
			case lab.OpenLDAP:
				people = 600
				d = lab.NewSlapd(t, lab.Config{Users: people, SizeLimit: 500})
				d.Configure(func(o *slapd.Options) { o.Overlays = strings.Split(named(block(t, heading, "conf")), "\n") })
			case lab.DS389:
				people = 600 // and the server's own limit is 500
				d = lab.New(t, kind)
				// Nobody may read but whom the page lets.
				d.Set(d.Suffix(), "aci")
				ldif := named(block(t, heading, "ldif"))
				modify := exec.Command("ldapmodify", "-x", "-H", d.TLSURL(), "-D", d.AdminDN(), "-w", d.AdminPassword())
				modify.Env = append(os.Environ(), "LDAPTLS_CACERT="+d.CAFile())
				modify.Stdin = strings.NewReader(ldif)
				if out, err := modify.CombinedOutput(); err != nil {
					t.Fatalf("%v: %s", err, out)
				}
			default:
				d = lab.New(t, kind)
			}
			if kind != lab.OpenLDAP {
				for n := range people {
					d.AddPerson(fmt.Sprintf("p%d", n), nil)
				}
			}
			h := newHome(t, "")
			h.write("bind.pw", d.BindPassword(), 0o600)
			yaml := named(block(t, heading, "yaml"))
			yaml = regexp.MustCompile(`servers: \[.*\]`).ReplaceAllString(yaml, "servers: ["+d.TLSURL()+"]")
			yaml = strings.NewReplacer("/etc/dirpin/ca.pem", d.CAFile(), "/etc/dirpin/bind.pw", h.dir+"/bind.pw").Replace(yaml)
			config, err := os.ReadFile(h.dir + "/dirpin.yaml")
			if err != nil {
				t.Fatal(err)
			}
			h.write("dirpin.yaml", string(bytes.Join([][]byte{config, []byte(yaml)}, nil)), 0o644)
			h.expect("0", "no fault", "check")
			h.expect("0", "agreement corp: the filter", "doctor")
			h.expect("0", fmt.Sprintf("added %d", people), "sync")
			h.expect("0", "corp", "sync")
		})
	}
}
