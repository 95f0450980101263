package main

import (
	"os"
	"strings"
	"testing"

	"github.com/dirpin/dirpin/internal/lab"
)

// Two commands after the installation the users are here; what is often wrong at
// that moment is said with what to do about it.
func TestInitWithDirectory(t *testing.T) {
	d := lab.NewSlapd(t, lab.Config{Users: 30})
	h := &home{TB: t, dir: t.TempDir()}
	flags := []string{"init", "--state-dir", h.dir + "/state", "--server", d.TLSURL(), "--bind-dn", d.BindDN(), "--ca-file", d.CAFile()}
	for _, wrong := range []struct {
		want string
		args []string
	}{
		{"--server names the directory", []string{"init", "--base", "dc=x"}},
		{"--base DN says below what", []string{"init", "--server", d.TLSURL()}},
		{"the password would cross the network in clear", []string{"init", "--server", d.URL(), "--bind-dn", d.BindDN()}},
		{"no such file", []string{"init", "--server", d.TLSURL(), "--bind-dn", d.BindDN(), "--ca-file", "none.pem"}},
		{"the value on stdin is empty", flags},
	} {
		h.expect("2", wrong.want, wrong.args...)
	}
	if made, _ := os.ReadDir(h.dir); len(made) > 0 {
		t.Fatalf("what was refused has made %v", made)
	}
	if out, err := h.dirpin(d.BindPassword()+"\n", flags...); err != nil {
		t.Fatal(err, out)
	}
	h.expect("0", "agreement corp: the filter", "doctor")
	h.expect("0", "added 30", "sync")

	h.write("nobody.yaml", "select: {query: {where: [{field: department, op: is exactly, text: nothing}]}}\nreset: {pin: {generate: {length: 6}}}\ndeliver: none\n", 0o600)
	h.expect("0", "nobody here is what the job asks for", "run", "nobody.yaml", "--yes")
	h.expect("2", `quote it: dirpin find "department is exactly 1"`, "find", "department", "is", "exactly", "1")
	h.expect("2", "did you mean department?", "find", "departement is 1")
	h.expect("2", "did you mean sync?", "snyc")

	if err := os.Chmod(h.dir+"/corp.pw", 0o644); err != nil {
		t.Fatal(err)
	}
	h.expect("0", "lets others at it: chown", "check")
	h.expect("4", "lets others at it: chown", "doctor")
	if err := os.Chmod(h.dir+"/corp.pw", 0o600); err != nil {
		t.Fatal(err)
	}
	plain := strings.TrimPrefix(d.URL(), "ldap://")
	h.replace("dirpin.yaml", d.TLSURL(), "ldaps://"+plain)
	h.expect("4", "ldap:// with start_tls: true", "doctor")
	h.replace("dirpin.yaml", "ldaps://"+plain, d.TLSURL())
	h.replace("dirpin.yaml", `base: "`+d.Suffix(), `base: "dc=elsewhere,`+d.Suffix())
	h.expect("4", "the server holds "+d.Suffix(), "doctor")
}
