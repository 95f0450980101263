package ldapsync

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/dirpin/dirpin/config"
	"github.com/dirpin/dirpin/internal/lab"
	"github.com/dirpin/dirpin/internal/roster"
	"github.com/dirpin/dirpin/internal/secret"
	"github.com/dirpin/dirpin/internal/store"
	"github.com/dirpin/dirpin/internal/user"
)

func TestMain(m *testing.M) {
	if text := os.Getenv(killedEnv); text != "" {
		runKilled(text)
		return
	}
	lab.Main(m)
}

// killedEnv has the test program run one synchronization and die in it.
const killedEnv = "DIRPIN_TEST_KILLED"

type killedRun struct {
	Server, CAFile, BindDN, Base, Method, Password string

	Database  string
	Now       time.Time
	At        int  // the writing transaction in which it dies; 0: in none
	Committed bool // right after that is committed, not right before
}

func (k killedRun) options(s *store.Store, log *slog.Logger) Options {
	a := config.Agreement{Name: "corp", Servers: []string{k.Server}, CAFile: k.CAFile, Bind: config.Bind{DN: k.BindDN}, Base: k.Base, Method: k.Method,
		PageSize: 5, Timeout: 5 * time.Second, Interval: 15 * time.Minute, FullEvery: 24 * time.Hour, Grace: 24 * time.Hour,
		Guard: config.Guard{MaxDeactivate: config.Limit{N: 4}, MaxBlank: config.Limit{N: 4}, Window: 24 * time.Hour}}
	return Options{Agreement: a, Password: secret.New(k.Password), Store: Over(s), Log: log, Now: func() time.Time { return k.Now }}
}

func runKilled(text string) {
	var k killedRun
	if err := json.Unmarshal([]byte(text), &k); err != nil {
		panic(err)
	}
	s, err := store.Open(context.Background(), store.Options{Path: k.Database})
	if err != nil {
		panic(err)
	}
	o := k.options(s, slog.New(slog.DiscardHandler))
	d := &dying{Store: o.Store, k: k}
	o.Store = d
	if _, err := Run(context.Background(), o); err != nil {
		panic(err)
	}
	fmt.Println(d.n, "transactions")
}

// dying is a store in whose nth transaction the process is killed.
type dying struct {
	Store
	k killedRun
	n int
}

func (d *dying) Write(ctx context.Context, f func(Writer) error) error {
	d.n++
	last := d.n == d.k.At
	err := d.Store.Write(ctx, func(tx Writer) error {
		err := f(tx)
		if last && !d.k.Committed {
			syscall.Kill(os.Getpid(), syscall.SIGKILL)
			select {}
		}
		return err
	})
	if last && d.k.Committed {
		syscall.Kill(os.Getpid(), syscall.SIGKILL)
		select {}
	}
	return err
}

// However a synchronization is killed, the next one ends where an unhindered
// one does.
func TestKilledBetweenAnyTwoTransactions(t *testing.T) {
	for kind, all := range killedMethods {
		for _, method := range all {
			t.Run(string(kind)+"/"+method, func(t *testing.T) {
				t.Parallel()
				d := lab.Shared(t, kind)
				k := killedRun{Server: d.TLSURL(), CAFile: d.CAFile(), BindDN: d.BindDN(), Base: d.Base, Method: method, Password: d.BindPassword(),
					Database: filepath.Join(t.TempDir(), "base.db"), Now: time.Now()}
				changeALot(t, d, k)
				killEverywhere(t, k)
			})
		}
	}
}

// killedMethods are the feeds that are killed.
var killedMethods = map[lab.Kind][]string{lab.OpenLDAP: {"full", "syncrepl"}, lab.DS389: {"full", "syncrepl"}, lab.AD: {"full", "dirsync"}}

// changeALot makes a first synchronization, and then everything happen in the
// directory that can.
func changeALot(t *testing.T, d *lab.Directory, k killedRun) {
	t.Helper()
	dns := make(map[string]string)
	for _, n := range strings.Fields("boss a b c d e f g h i j k l m n o") {
		attributes := map[string][]string{"givenName": {"Anna"}, "departmentNumber": {"12"}, "mail": {n + "@example.org"}}
		if n != "boss" {
			attributes["manager"] = []string{dns["boss"]}
		}
		dns[n] = d.AddPerson(d.ID(n), attributes)
	}
	s := openStore(t, k.Database)
	if r, err := Run(t.Context(), k.options(s, quiet(t))); err != nil || r.Added != 16 {
		t.Fatalf("%+v, %v", r, err)
	}
	s.Close()
	rdn := func(n string) string {
		if d.Kind == lab.AD {
			return "CN=" + d.ID(n)
		}
		return "uid=" + d.ID(n)
	}
	setID := func(dn, n string) string {
		if d.Kind == lab.AD {
			d.Set(dn, "uid", d.ID(n))
			return dn
		}
		d.Rename(dn, rdn(n), "")
		return rdn(n) + "," + d.Base
	}
	d.AddPerson(d.ID("new"), map[string][]string{"manager": {dns["a"]}})
	d.Delete(dns["b"]) // leaves
	d.Delete(dns["c"]) // is made anew
	d.AddPerson(d.ID("c"), nil)
	tmp := setID(dns["d"], "tmp") // d and e swap their ids
	setID(dns["e"], "d")
	setID(tmp, "e")
	d.Set(dns["f"], "mail")
	d.Set(dns["g"], "sn", "Maes")
	d.Set(dns["h"], "departmentNumber", "14")
	d.Set(dns["i"], "manager", dns["a"])
	if d.Kind != lab.OpenLDAP {
		d.Disable(dns["j"], true)
	}
	d.Add("ou=sub,"+d.Base, map[string][]string{"objectClass": {"organizationalUnit"}})
	d.Rename(dns["k"], rdn("k"), "ou=sub,"+d.Base)
	d.Set(dns["l"], "jpegPhoto", "\xff")
}

func killEverywhere(t *testing.T, k killedRun) {
	t.Helper()
	base, err := os.ReadFile(k.Database)
	if err != nil {
		t.Fatal(err)
	}
	k.Now = k.Now.Add(15 * time.Minute)
	fresh := func(name string) killedRun {
		t.Helper()
		c := k
		c.Database = filepath.Join(t.TempDir(), name)
		if err := os.WriteFile(c.Database, base, 0o600); err != nil {
			t.Fatal(err)
		}
		return c
	}
	whole := fresh("whole.db")
	transactions := 0
	out, err := spawn(t, whole)
	if _, err2 := fmt.Sscanf(out, "%d transactions", &transactions); err != nil || err2 != nil || transactions < 2 {
		t.Fatalf("unhindered: %v, %q", err, out)
	}
	want := stateOf(t, whole.Database)
	t.Logf("%d transactions", transactions)
	for at := 1; at <= transactions; at++ {
		for _, committed := range []bool{false, true} {
			name := fmt.Sprintf("at-%d-%v.db", at, committed)
			c := fresh(name)
			c.At, c.Committed = at, committed
			if out, err := spawn(t, c); err == nil || !strings.Contains(err.Error(), "killed") {
				// How much is in one depends on how fast the directory is.
				var n int
				if _, err2 := fmt.Sscanf(out, "%d transactions", &n); err != nil || err2 != nil || n >= at || n < 2 {
					t.Fatalf("%s: not killed: %v, %s", name, err, out)
				}
				t.Logf("%s: it had %d transactions this time", name, n)
			}
			s := openStore(t, c.Database)
			c.Now = c.Now.Add(15 * time.Minute)
			_, err := Run(t.Context(), c.options(s, quiet(t)))
			s.Close()
			if err != nil {
				t.Errorf("%s: the next one: %v", name, err)
			} else if got := stateOf(t, c.Database); got != want {
				t.Errorf("%s:\ngot  %s\nwant %s", name, got, want)
			}
		}
	}
}

func spawn(t *testing.T, k killedRun) (string, error) {
	t.Helper()
	text, err := json.Marshal(k)
	if err != nil {
		t.Fatal(err)
	}
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(self)
	cmd.Env = append(os.Environ(), killedEnv+"="+string(text))
	cmd.Stderr = os.Stderr
	out, err := cmd.Output()
	return string(out), err
}

func openStore(t *testing.T, path string) *store.Store {
	t.Helper()
	s, err := store.Open(t.Context(), store.Options{Path: path})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// stateOf is everything that is known of people, but numbers and times.
func stateOf(t *testing.T, path string) string {
	t.Helper()
	s := openStore(t, path)
	defer s.Close()
	var lines []string
	err := s.Read(t.Context(), func(tx *store.Tx) error {
		if err := tx.Find(user.All(), func(u *user.User) error {
			c := *u
			c.ID = 0
			lines = append(lines, fmt.Sprintf("%+v", c))
			return nil
		}); err != nil {
			return err
		}
		if err := tx.SyncPending("corp", "", func(l roster.Loss) error {
			lines = append(lines, fmt.Sprint("pending ", l.Key, l.Kind, l.Field, l.Value))
			return nil
		}); err != nil {
			return err
		}
		return tx.SyncRejects("corp", func(r roster.Reject) error {
			lines = append(lines, fmt.Sprint("reject ", r.Key, r.Reason, r.Partial))
			return nil
		})
	})
	if err != nil {
		t.Fatal(err)
	}
	slices.Sort(lines)
	return strings.Join(lines, "\n")
}
