package writeback_test

import (
	"context"
	"log/slog"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/dirpin/dirpin/config"
	"github.com/dirpin/dirpin/internal/credential"
	"github.com/dirpin/dirpin/internal/lab"
	"github.com/dirpin/dirpin/internal/outcome"
	"github.com/dirpin/dirpin/internal/secret"
	"github.com/dirpin/dirpin/internal/store"
	"github.com/dirpin/dirpin/internal/voicemail"
	"github.com/dirpin/dirpin/internal/writeback"
	"github.com/dirpin/dirpin/ldapsync"
	"github.com/dirpin/dirpin/resetjob"
)

// office is an installation over a directory of three people.
type office struct {
	*testing.T
	d   *lab.Directory
	ag  config.Agreement
	env *resetjob.Env
}

func newOffice(t *testing.T, kind lab.Kind) *office {
	t.Helper()
	d := lab.Shared(t, kind)
	for _, id := range []string{"a", "b", "c"} {
		d.AddPerson(d.ID(id), nil)
	}
	ag := config.Agreement{Name: "corp", Servers: []string{d.TLSURL()}, CAFile: d.CAFile(), Base: d.Base, Timeout: 5 * time.Second, PageSize: 100,
		Bind: config.Bind{DN: d.BindDN()}, Passwords: "write_back", WriteBack: &config.WriteBack{Bind: config.Bind{DN: d.WriterDN()}},
		Guard: config.Guard{MaxDeactivate: config.Limit{N: 100, Percent: true}, MaxBlank: config.Limit{N: 100, Percent: true}}}
	dir := t.TempDir()
	s, err := store.Open(t.Context(), store.Options{Path: filepath.Join(dir, "dirpin.db")})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	log := slog.New(slog.NewTextHandler(t.Output(), nil))
	if _, err := ldapsync.Run(t.Context(), ldapsync.Options{Agreement: ag, Password: secret.New(d.BindPassword()), Store: ldapsync.Over(s), Log: log}); err != nil {
		t.Fatal(err)
	}
	ring, err := credential.NewRing(nil, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	owner, err := resetjob.NewOwner(t.Context(), s, ring)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { owner.Close() })
	cfg := &config.Config{StateDir: dir, RecoverWithin: time.Hour, RetryWithin: time.Hour, Agreements: []config.Agreement{ag},
		Watch:       []config.Watch{{Reports: filepath.Join(dir, "reports"), Lists: filepath.Join(dir, "lists")}},
		Credentials: config.Credentials{Password: config.Policy{MinLength: 3}}}
	o := &office{T: t, d: d, ag: ag, env: &resetjob.Env{Config: cfg, Ring: ring, Store: s, Owner: owner, Router: voicemail.NewRouter(), Log: log,
		Hasher: credential.NewHasher(ring, credential.Params{Memory: 64, Time: 1, Threads: 1})}}
	o.connect(ag, d.WriterPassword())
	return o
}

// connect writes back through the agreement as it is given.
func (o *office) connect(ag config.Agreement, password string) {
	system := writeback.System(ag, secret.New(password), []byte(password), o.env.Log, nil)
	o.Cleanup(func() { system.Close() })
	o.env.Directories = map[string]*voicemail.System{"corp": system}
}

func (o *office) run(password string) *store.Job { return o.runOver("all", password) }

func (o *office) runOver(query, password string) *store.Job {
	o.Helper()
	text := "select: {query: " + query + "}\nreset: {password: \"" + password + "\", must_change: false}\nldap_synced: {password: write_back}\n"
	sub, err := resetjob.Load("job.yaml", []byte(text), o.env.Config.Watch[0].Lists, resetjob.ParseOptions{Now: time.Now(), Foreground: true, PlainAllowed: true,
		Agreements: o.env.Config.Agreements, Credentials: o.env.Config.Credentials})
	if err != nil {
		o.Fatal(err)
	}
	j, err := o.env.Submit(o.Context(), sub, "tester")
	if err == nil {
		j, err = o.env.Run(o.Context(), j.ID, nil)
	}
	if err != nil {
		o.Fatal(err)
	}
	return j
}

func (o *office) codes(job int64) map[outcome.Code]int64 {
	o.Helper()
	var codes map[outcome.Code]int64
	err := o.env.Store.Read(o.Context(), func(tx *store.Tx) (err error) { codes, err = tx.CodeCounts(job); return err })
	if err != nil {
		o.Fatal(err)
	}
	return codes
}

// holds asks the directory itself, and the store, which holds nothing.
func (o *office) holds(id, password string, want ldapsync.Proof) {
	o.Helper()
	p, err := ldapsync.OpenPasswords(o.Context(), ldapsync.PasswordOptions{Agreement: o.ag, Password: secret.New(o.d.WriterPassword()), Log: o.env.Log})
	if err != nil {
		o.Fatal(err)
	}
	defer p.Close()
	err = o.env.Store.Read(o.Context(), func(tx *store.Tx) error {
		u, err := tx.User(o.d.ID(id))
		if err != nil {
			return err
		}
		if proof, words := p.Prove(o.Context(), u.Key, secret.New(password)); proof != want {
			o.Errorf("%s: the directory has the password: %s (%s), want %s", id, proof, words, want)
		}
		c, err := tx.Credential(u.ID, store.Password)
		if c.Hash != "" {
			o.Errorf("%s: a password of the directory's is stored here", id)
		}
		return err
	})
	if err != nil {
		o.Fatal(err)
	}
}

func TestPasswordsAreALegOfTheJob(t *testing.T) {
	for _, kind := range []lab.Kind{lab.OpenLDAP, lab.DS389, lab.AD} {
		t.Run(string(kind), func(t *testing.T) {
			t.Parallel()
			o := newOffice(t, kind)
			j := o.run("Correct-horse-1")
			if j.State != store.Done || j.Counts.Updated != 3 {
				t.Fatalf("%s, %+v, %v", j.State, j.Counts, o.codes(j.ID))
			}
			for _, id := range []string{"a", "b", "c"} {
				o.holds(id, "Correct-horse-1", ldapsync.Proven)
			}
			if kind == lab.AD { // its own policy refuses what ours lets through
				j := o.run("abc")
				if o.codes(j.ID)[outcome.DirectoryRejected] != 3 {
					t.Errorf("a weak password: %v", o.codes(j.ID))
				}
				o.holds("a", "Correct-horse-1", ldapsync.Proven)
			}
		})
	}
}

// An answer that is lost is settled by a bind; one that stays lost is uncertain
// until the retry, which sends the same password.
func TestLostAnswers(t *testing.T) {
	t.Parallel()
	o := newOffice(t, lab.OpenLDAP)
	proxy := lab.NewProxy(t, o.d.TLSAddr())
	ag := o.ag
	ag.Servers, ag.Timeout = []string{"ldaps://" + strings.Replace(proxy.Addr(), "127.0.0.1", "localhost", 1)}, time.Second
	o.connect(ag, o.d.WriterPassword())

	// One user: several that fail would open the breaker, and the job would wait.
	one := "{where: [{field: user_id, op: is exactly, text: " + o.d.ID("a") + "}]}"

	// What a connection, a search and a change take of the server's bytes.
	const plenty = 1 << 40
	proxy.CutAfter(plenty)
	if j := o.runOver(one, "Correct-horse-1"); j.Counts.Updated != 1 {
		t.Fatalf("%+v", j.Counts)
	}
	taken := plenty - proxy.Left()
	ends := make(map[outcome.Code]int)
	for _, n := range []int64{taken / 4, taken / 2, taken * 9 / 10, taken - 40, taken - 20, taken - 1} {
		o.connect(ag, o.d.WriterPassword()) // another process, with no connection
		proxy.CutAfter(n)
		j := o.runOver(one, "Correct-horse-2")
		for code := range o.codes(j.ID) {
			ends[code]++
		}
		proxy.Heal()
		o.connect(ag, o.d.WriterPassword())
		if j.Counts.Updated == 1 { // the next attempt has asked, and it was there
			o.holds("a", "Correct-horse-2", ldapsync.Proven)
			continue
		}
		again, err := o.env.Retry(t.Context(), j.ID, "tester")
		if err == nil {
			again, err = o.env.Run(context.Background(), again.ID, nil)
		}
		if err != nil {
			t.Fatal(err)
		}
		if again.Counts.Updated != 1 {
			t.Errorf("the retry: %+v, %v", again.Counts, o.codes(again.ID))
		}
		o.holds("a", "Correct-horse-2", ldapsync.Proven)
	}
	if ends[outcome.DirectoryTimeout] == 0 || ends[outcome.DirectoryUnreachable] == 0 {
		t.Errorf("with the answers cut at six places, jobs ended %v", ends)
	}
}

// A wrong password of ours is not tried again and again, and stops nobody's PIN.
func TestOurAccountIsRefused(t *testing.T) {
	t.Parallel()
	o := newOffice(t, lab.OpenLDAP)
	o.connect(o.ag, "wrong")
	for range 2 {
		j := o.run("Correct-horse-1")
		codes := o.codes(j.ID)
		if j.State != store.Incomplete || codes[outcome.DirectoryRejected] > 1 || codes[outcome.DirectoryRejected]+codes[outcome.DirectoryUnreachable] != 3 {
			t.Errorf("job is %s with %v", j.State, codes)
		}
		o.connect(o.ag, "wrong") // another process
	}
	o.connect(o.ag, o.d.WriterPassword())
	if j := o.run("Correct-horse-1"); j.Counts.Updated != 3 {
		t.Errorf("after the password was mended: %v", o.codes(j.ID))
	}
}
