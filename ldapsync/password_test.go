package ldapsync_test

import (
	"errors"
	"log/slog"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/dirpin/dirpin/config"
	"github.com/dirpin/dirpin/internal/lab"
	"github.com/dirpin/dirpin/internal/secret"
	"github.com/dirpin/dirpin/internal/slapd"
	"github.com/dirpin/dirpin/ldapsync"
)

// writing is an agreement whose passwords are written by the account for that.
func writing(t *testing.T, d *lab.Directory) ldapsync.PasswordOptions {
	return ldapsync.PasswordOptions{
		Agreement: config.Agreement{Name: "corp", Servers: []string{d.TLSURL()}, CAFile: d.CAFile(), Base: d.Base, Timeout: 5 * time.Second,
			WriteBack: &config.WriteBack{Bind: config.Bind{DN: d.WriterDN()}}},
		Password: secret.New(d.WriterPassword()), Log: slog.New(slog.NewTextHandler(t.Output(), nil)),
	}
}

func open(t *testing.T, o ldapsync.PasswordOptions) *ldapsync.Passwords {
	t.Helper()
	p, err := ldapsync.OpenPasswords(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { p.Close() })
	return p
}

// keyOf returns the key of an entry, as a synchronization reads it.
func keyOf(t *testing.T, d *lab.Directory, id string) string {
	t.Helper()
	s := &scene{T: t, d: d, o: ldapsync.Options{Agreement: writing(t, d).Agreement, Password: secret.New(d.BindPassword()), Store: newBench(t).store, Log: slog.New(slog.NewTextHandler(t.Output(), nil))}}
	s.o.Agreement.Bind.DN, s.o.Agreement.PageSize = d.BindDN(), 100
	if _, err := ldapsync.Run(t.Context(), s.o); err != nil {
		t.Fatal(err)
	}
	return s.get(strings.TrimSuffix(id, d.ID(""))).Key
}

const first, second = "Correct-horse-1", `Bättery "stäple" 2, €`

func wrote(t *testing.T, name string, w ldapsync.Written, class ldapsync.Class, verdict ldapsync.Verdict, words string) {
	t.Helper()
	if w.Class != class || w.Verdict != verdict || !strings.Contains(w.Message, words) {
		t.Errorf("%s: %+v; want %s, %s, %q", name, w, class, verdict, words)
	}
	if strings.Contains(w.Message, "stäple") || strings.Contains(w.Message, "horse") {
		t.Errorf("%s: the password is in %q", name, w.Message)
	}
}

func proved(t *testing.T, p *ldapsync.Passwords, key, password string, want ldapsync.Proof) {
	t.Helper()
	if got, words := p.Prove(t.Context(), key, secret.New(password)); got != want {
		t.Errorf("the proof of a password is %s (%s), want %s", got, words, want)
	}
}

func TestPasswordsAreWrittenAndProven(t *testing.T) {
	for _, kind := range allKinds {
		t.Run(string(kind), func(t *testing.T) {
			t.Parallel()
			d := lab.Shared(t, kind)
			dn := d.AddPerson(d.ID("a"), nil)
			key := keyOf(t, d, d.ID("a"))
			p := open(t, writing(t, d))
			wrote(t, "first", p.Set(t.Context(), key, secret.New(first), ldapsync.Extra{}), ldapsync.Answered, ldapsync.Accepted, "")
			proved(t, p, key, first, ldapsync.Proven)
			proved(t, p, key, second, ldapsync.Disproven)
			// The entry has moved since.
			sub := "ou=sub," + d.Base
			d.Add(sub, map[string][]string{"objectClass": {"organizationalUnit"}})
			rdn, _, _ := strings.Cut(dn, ",")
			d.Rename(dn, rdn, sub)
			wrote(t, "second", p.Set(t.Context(), key, secret.New(second), ldapsync.Extra{}), ldapsync.Answered, ldapsync.Accepted, "")
			proved(t, p, key, second, ldapsync.Proven)
			if kind != lab.AD { // which takes the last one too, for an hour
				proved(t, p, key, first, ldapsync.Disproven)
			}
			// Again the same: a repeated change does no harm, unless there is a history.
			if kind != lab.AD {
				wrote(t, "again", p.Set(t.Context(), key, secret.New(second), ldapsync.Extra{}), ldapsync.Answered, ldapsync.Accepted, "")
			}
			wrote(t, "nobody", p.Set(t.Context(), "00000000-0000-0000-0000-000000000001", secret.New(first), ldapsync.Extra{}), ldapsync.Answered, ldapsync.Gone, "has the key")
			wrote(t, "no key", p.Set(t.Context(), "*)(uid=*", secret.New(first), ldapsync.Extra{}), ldapsync.Answered, ldapsync.Gone, "")
			wrote(t, "empty", p.Set(t.Context(), key, secret.Value{}, ldapsync.Extra{}), ldapsync.Answered, ldapsync.Rejected, "empty")
			if got, _ := p.Prove(t.Context(), key, secret.Value{}); got != ldapsync.Unproven {
				t.Errorf("an empty password is %s", got)
			}
			proved(t, p, key, second, ldapsync.Proven)
		})
	}
}

func TestAccountsThatMayNotWritePasswords(t *testing.T) {
	for _, kind := range allKinds {
		t.Run(string(kind), func(t *testing.T) {
			t.Parallel()
			d := lab.Shared(t, kind)
			d.AddPerson(d.ID("a"), nil)
			key := keyOf(t, d, d.ID("a"))
			o := writing(t, d)
			o.Agreement.WriteBack.Bind.DN, o.Password = d.BindDN(), secret.New(d.BindPassword())
			p := open(t, o)
			wrote(t, "not allowed", p.Set(t.Context(), key, secret.New(first), ldapsync.Extra{}), ldapsync.Answered, ldapsync.Denied, "Insufficient Access")
			o.Password = secret.New("wrong")
			if _, err := ldapsync.OpenPasswords(t.Context(), o); !errors.Is(err, ldapsync.ErrDirectory) || !strings.Contains(err.Error(), "wrong name or password") {
				t.Errorf("a wrong password of the account: %v", err)
			}
			o.Password = secret.Value{}
			if _, err := ldapsync.OpenPasswords(t.Context(), o); !errors.Is(err, ldapsync.ErrConfig) {
				t.Errorf("an empty password of the account: %v", err)
			}
			o = writing(t, d)
			o.Agreement.Servers, o.Agreement.InsecurePlaintext = []string{d.URL()}, true
			if _, err := ldapsync.OpenPasswords(t.Context(), o); !errors.Is(err, ldapsync.ErrConfig) || !strings.Contains(err.Error(), "in clear") {
				t.Errorf("in clear: %v", err)
			}
			o.Agreement.StartTLS = true
			wrote(t, "over StartTLS", open(t, o).Set(t.Context(), key, secret.New(first), ldapsync.Extra{}), ldapsync.Answered, ldapsync.Accepted, "")
		})
	}
}

func TestTheDirectorysOwnRefusal(t *testing.T) {
	policy := []string{"overlay ppolicy", `ppolicy_default "cn=policy,dc=example,dc=org"`, "ppolicy_use_lockout"}
	for _, kind := range allKinds {
		t.Run(string(kind), func(t *testing.T) {
			t.Parallel()
			var d *lab.Directory
			words := ""
			switch kind {
			case lab.OpenLDAP:
				d = lab.NewSlapd(t, lab.Config{Overlays: policy})
				d.Add("cn=policy,"+d.Suffix(), map[string][]string{"objectClass": {"device", "pwdPolicy"}, "pwdAttribute": {"userPassword"}, "pwdMinLength": {"8"}, "pwdCheckQuality": {"2"}, "pwdLockout": {"TRUE"}, "pwdMaxFailure": {"2"}})
				words = "quality"
			case lab.DS389:
				d = lab.New(t, kind)
				for attribute, value := range map[string]string{"passwordCheckSyntax": "on", "passwordMinLength": "8", "passwordLockout": "on", "passwordMaxFailure": "2"} {
					d.Set("cn=config", attribute, value)
				}
				words = "password policy"
			case lab.AD:
				d, words = lab.Shared(t, kind), "password policy"
			}
			dn := d.AddPerson(d.ID("a"), nil)
			key := keyOf(t, d, d.ID("a"))
			o := writing(t, d)
			p := open(t, o)
			wrote(t, "good", p.Set(t.Context(), key, secret.New(first), ldapsync.Extra{}), ldapsync.Answered, ldapsync.Accepted, "")
			wrote(t, "too short", p.Set(t.Context(), key, secret.New("hrs-7"), ldapsync.Extra{}), ldapsync.Answered, ldapsync.Rejected, words)
			proved(t, p, key, first, ldapsync.Proven)

			// A locked account says nothing about its password.
			for range 6 {
				p.Prove(t.Context(), key, secret.New("wrong one"))
			}
			proved(t, p, key, first, ldapsync.Unproven)
			wrote(t, "unlocked", p.Set(t.Context(), key, secret.New(second), ldapsync.Extra{Unlock: true}), ldapsync.Answered, ldapsync.Accepted, "")
			proved(t, p, key, second, ldapsync.Proven)
			if kind == lab.OpenLDAP { // which disables nobody
				return
			}
			d.Disable(dn, true)
			proved(t, p, key, second, ldapsync.Unproven)
			d.Disable(dn, false)
			if kind == lab.AD {
				wrote(t, "to be changed", p.Set(t.Context(), key, secret.New("Third-horse-3"), ldapsync.Extra{MustChange: true}), ldapsync.Answered, ldapsync.Accepted, "")
				proved(t, p, key, "Third-horse-3", ldapsync.Proven) // 773
				proved(t, p, key, second, ldapsync.Disproven)
			}
		})
	}
}

// bothCAs returns a file with the authorities of both servers.
func bothCAs(t *testing.T, directories ...*lab.Directory) string {
	t.Helper()
	var all []byte
	for _, d := range directories {
		pem, err := os.ReadFile(d.CAFile())
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, pem...)
	}
	path := t.TempDir() + "/ca.pem"
	if err := os.WriteFile(path, all, 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// The answer is lost at every byte: the change has happened or it has not, and
// a proof tells.
func TestLostAnswersArePrecise(t *testing.T) {
	for _, kind := range allKinds {
		t.Run(string(kind), func(t *testing.T) {
			t.Parallel()
			d := lab.Shared(t, kind)
			d.AddPerson(d.ID("a"), nil)
			key := keyOf(t, d, d.ID("a"))
			proxy := lab.NewProxy(t, d.TLSAddr())
			direct := open(t, writing(t, d))
			o := writing(t, d)
			o.Agreement.Servers = []string{"ldaps://" + strings.Replace(proxy.Addr(), "127.0.0.1", "localhost", 1)}
			o.Agreement.Timeout = 2 * time.Second

			const plenty = 1 << 40
			proxy.CutAfter(plenty)
			p := open(t, o)
			before := plenty - proxy.Left()
			wrote(t, "through the proxy", p.Set(t.Context(), key, secret.New(first), ldapsync.Extra{}), ldapsync.Answered, ldapsync.Accepted, "")
			both := plenty - proxy.Left() - before // the answers to the search and to the change
			number, lost, sent := 0, 0, 0
			for n := both - 1; n > 0; n -= max(1, both/6) {
				password := "Horse-number-" + string(rune('A'+number)) + "-9"
				number++
				proxy.CutAfter(plenty)
				p := open(t, o)
				proxy.CutAfter(n)
				w := p.Set(t.Context(), key, secret.New(password), ldapsync.Extra{})
				p.Close()
				proof, _ := direct.Prove(t.Context(), key, secret.New(password))
				switch {
				case w.Class == ldapsync.NotSent && proof == ldapsync.Disproven:
					sent++
				case w.Class == ldapsync.Lost && proof != ldapsync.Unproven:
					lost++
				default:
					t.Errorf("cut after %d of %d bytes: %+v, and the proof is %s", n, both, w, proof)
				}
			}
			if lost == 0 || sent == 0 {
				t.Errorf("%d lost, %d not sent", lost, sent)
			}
		})
	}
}

func TestReadOnlyServersAreLeft(t *testing.T) {
	master := lab.NewSlapd(t, lab.Config{})
	master.AddPerson("a", nil)
	key := keyOf(t, master, "a")
	for name, lines := range map[string][]string{
		"a shadow": {`syncrepl rid=1 provider=ldap://127.0.0.1:1 searchbase="dc=example,dc=org" type=refreshOnly interval=1:0:0:0 bindmethod=simple`, "updateref " + master.URL()},
		"readonly": {"readonly on"},
	} {
		t.Run(name, func(t *testing.T) {
			// A copy with the same entry and key.
			copied := lab.NewSlapd(t, lab.Config{})
			copied.Stop()
			copied.Load("dn: uid=a,ou=people,dc=example,dc=org\nobjectClass: inetOrgPerson\nuid: a\ncn: a\nsn: a\nentryUUID: " + key + "\n\n")
			copied.Configure(func(o *slapd.Options) { o.Overlays = lines })
			o := writing(t, master)
			o.Agreement.Servers = []string{copied.TLSURL(), master.TLSURL()}
			o.Agreement.CAFile = bothCAs(t, copied, master)
			p := open(t, o)
			wrote(t, "on the copy", p.Set(t.Context(), key, secret.New(first), ldapsync.Extra{}), ldapsync.NotSent, ldapsync.ReadOnly, "")
			o.Not = append(o.Not, p.Server())
			next := open(t, o)
			if next.Server() == p.Server() {
				t.Fatal("the read-only server is asked again")
			}
			wrote(t, "on the next", next.Set(t.Context(), key, secret.New(first), ldapsync.Extra{}), ldapsync.Answered, ldapsync.Accepted, "")
			o.Not, o.First = nil, next.Server()
			if again := open(t, o); again.Server() != next.Server() {
				t.Errorf("asked %s first, want %s", again.Server(), next.Server())
			}
			o.Not = append(slices.Clone(o.Not), p.Server(), next.Server())
			if _, err := ldapsync.OpenPasswords(t.Context(), o); !errors.Is(err, ldapsync.ErrDirectory) || !strings.Contains(err.Error(), "no server is left") {
				t.Errorf("with no server left: %v", err)
			}
		})
	}
}
