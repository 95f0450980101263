package watch

import (
	"crypto/sha256"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/dirpin/dirpin/config"
)

// signing is a kit whose folder takes signed files only.
type signing struct {
	*kit
	keys string
}

func newSigning(t *testing.T, kind string) *signing {
	k := &signing{keys: t.TempDir()}
	k.kit = newKit(t, func(c *config.Config) { c.Watch[0].Signers = filepath.Join(k.keys, "allowed_signers") })
	k.keygen("-q", "-t", kind, "-N", "", "-C", "a comment", "-f", filepath.Join(k.keys, "id"))
	k.allow("alice@example.com namespaces=\"dirpin\" %s")
	return k
}

func (k *signing) keygen(args ...string) {
	k.Helper()
	if out, err := exec.Command("ssh-keygen", args...).CombinedOutput(); err != nil {
		k.Fatalf("ssh-keygen %v: %v\n%s", args, err, out)
	}
}

// allow writes who may sign; %s is the public key.
func (k *signing) allow(format string) {
	k.Helper()
	public, err := os.ReadFile(filepath.Join(k.keys, "id.pub"))
	k.must(err)
	k.must(os.WriteFile(filepath.Join(k.keys, "allowed_signers"), []byte("# who may\n\n"+strings.Replace(format, "%s", strings.TrimSpace(string(public)), 1)+"\n"), 0o644))
}

// sign drops a file and its signature.
func (k *signing) sign(name, text, namespace string) {
	k.Helper()
	k.drop(name, text)
	path := filepath.Join(k.w.Dir, name)
	k.keygen("-Y", "sign", "-q", "-n", namespace, "-f", filepath.Join(k.keys, "id"), path)
	if namespace != "dirpin" {
		return
	}
	// What ssh-keygen takes, and what it does not, we take, and do not.
	f, err := os.Open(path)
	k.must(err)
	defer f.Close()
	check := exec.Command("ssh-keygen", "-Y", "check-novalidate", "-n", "dirpin", "-s", path+".sig")
	check.Stdin = f
	if out, err := check.CombinedOutput(); err != nil {
		k.Fatalf("ssh-keygen itself: %v\n%s", err, out)
	}
}

func signedJob(id string) string { return "id: " + id + "\nexpires: 2099-01-01\n" + good }

func TestSigned(t *testing.T) {
	for _, kind := range []string{"ed25519", "rsa", "ecdsa"} {
		k := newSigning(t, kind)
		k.sign("x.yaml", signedJob("1"), "dirpin")
		k.look()
		jobs := k.all()
		if len(jobs) != 1 || jobs[0].Submitter != "alice@example.com" {
			t.Fatalf("%s: %+v %v", kind, jobs, k.inside(rejectedDir))
		}
		k.clean("471108")
		if left := k.inside("."); len(left) != 0 {
			t.Errorf("left: %v", left)
		}
	}
}

func TestBadSignatures(t *testing.T) {
	for _, tt := range []struct {
		name, reason string
		do           func(k *signing)
	}{
		{"changed since", "does not fit the file", func(k *signing) {
			k.sign("x.yaml", signedJob("1"), "dirpin")
			k.drop("x.yaml", signedJob("2"))
		}},
		{"for another purpose", "made for another purpose", func(k *signing) { k.sign("x.yaml", signedJob("1"), "file") }},
		{"another key", "not among those who may sign", func(k *signing) {
			k.sign("x.yaml", signedJob("1"), "dirpin")
			k.must(os.WriteFile(k.w.Signers, nil, 0o644))
		}},
		{"not for dirpin", "may not sign for dirpin", func(k *signing) {
			k.sign("x.yaml", signedJob("1"), "dirpin")
			k.allow("alice namespaces=\"git,!dirpin,*\" %s")
		}},
		{"not any more", "may not sign any more", func(k *signing) {
			k.sign("x.yaml", signedJob("1"), "dirpin")
			k.allow("alice valid-before=\"20200101Z\" %s")
		}},
		{"not yet", "may not sign yet", func(k *signing) {
			k.sign("x.yaml", signedJob("1"), "dirpin")
			k.allow("alice valid-after=\"20990101120000\" %s")
		}},
		{"no signature in it", "no signature that ssh-keygen", func(k *signing) {
			k.drop("x.yaml", signedJob("1"))
			k.drop("x.yaml.sig", "trust me")
		}},
		{"none", "it is not signed", func(k *signing) { k.drop("x.yaml", signedJob("1")) }},
		{"without an id", "the key id is missing", func(k *signing) { k.sign("x.yaml", good, "dirpin") }},
		{"a list without its sum", "the key sha256 is missing", func(k *signing) {
			k.sign("x.yaml", "id: a\nexpires: 2099-01-01\nselect: {csv: {name: pins.csv}}\n", "dirpin")
		}},
	} {
		k := newSigning(t, "ed25519")
		tt.do(k)
		k.look()
		if tt.name == "none" {
			if len(k.inside(rejectedDir)) != 0 {
				t.Error("the signature is not awaited")
			}
			k.pass(k.f.o.Await)
		}
		if reason := k.text(rejectedDir, ".reason.txt"); !strings.Contains(reason, tt.reason) {
			t.Errorf("%s: %s", tt.name, reason)
		}
		if len(k.all()) != 0 {
			t.Errorf("%s: taken", tt.name)
		}
		k.clean("471108")
	}
}

// A signature may come later than its file, and a list that is not the one that
// was signed is awaited, and then refused.
func TestSignatureAndListComeLater(t *testing.T) {
	k := newSigning(t, "ed25519")
	csv := "user_id,pin\nalice,926531\n"
	k.sign("x.yaml", fmt.Sprintf("id: a\nexpires: 2099-01-01\nselect: {csv: {name: pins.csv, sha256: %x}}\n", sha256.Sum256([]byte(csv))), "dirpin")
	sig := filepath.Join(k.w.Dir, "x.yaml.sig")
	k.must(os.Rename(sig, sig+".aside.tmp"))
	list := filepath.Join(k.w.Lists, "pins.csv")
	k.must(os.WriteFile(list, []byte("user_id,pin\nalice,280639\n"), 0o644))
	k.look()
	k.pass(10 * time.Second)
	k.must(os.Rename(sig+".aside.tmp", sig))
	k.look()
	k.pass(10 * time.Second)
	if len(k.all()) != 0 || len(k.inside(rejectedDir)) != 0 {
		t.Fatal("not awaited")
	}
	k.must(os.WriteFile(list, []byte(csv), 0o644))
	k.pass(awaitEvery)
	if len(k.all()) != 1 {
		t.Fatalf("%v", k.inside(rejectedDir))
	}
}

// Signers that others can write are not believed, and nothing is refused for it.
func TestSignersFile(t *testing.T) {
	k := newSigning(t, "ed25519")
	k.must(os.Chmod(k.w.Signers, 0o666))
	k.sign("x.yaml", signedJob("1"), "dirpin")
	k.look()
	if !k.f.Trouble() || len(k.all())+len(k.inside(rejectedDir)) != 0 {
		t.Error("believed")
	}
	k.must(os.Chmod(k.w.Signers, 0o644))
	k.pass(retryEvery)
	if len(k.all()) != 1 {
		t.Error("not taken when it is mended")
	}
	for _, line := range []string{"alice", "alice ssh-ed25519 x", "alice cert-authority %s", "alice no-such-option %s", "alice valid-after=\"yesterday\" %s", "\"alice %s", "%s"} {
		k.allow(line)
		if s, err := readSigners(k.w.Signers); err == nil && line != "%s" {
			t.Errorf("%q is read as %+v", line, s)
		} else if err != nil && !strings.Contains(err.Error(), "allowed_signers:3: ") {
			t.Errorf("%q: %v", line, err)
		}
	}
}
