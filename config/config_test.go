package config

import (
	"flag"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/dirpin/dirpin/internal/user"
)

var update = flag.Bool("update", false, "write the expected faults of testdata anew")

func files(t *testing.T, pattern string) []string {
	t.Helper()
	paths, err := filepath.Glob(filepath.Join("testdata", pattern))
	if err != nil || len(paths) == 0 {
		t.Fatalf("no files %s: %v", pattern, err)
	}
	return paths
}

// TestBadFiles holds a file for each rule and its faults beside it, written
// anew by -update. "hunter2" stands for a secret.
func TestBadFiles(t *testing.T) {
	t.Parallel()
	for _, path := range files(t, "bad/*.yaml") {
		t.Run(filepath.Base(path), func(t *testing.T) {
			t.Parallel()
			data, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			cfg, faults := Parse(filepath.Base(path), data)
			if cfg != nil || !faults.Failed() {
				t.Errorf("the file passes: %v", faults)
			}
			compare(t, strings.TrimSuffix(path, ".yaml")+".faults", faults.Error()+"\n")
		})
	}
}

// TestGoodFiles expects warnings at most; they are beside the file.
func TestGoodFiles(t *testing.T) {
	t.Parallel()
	for _, path := range files(t, "good/*.yaml") {
		t.Run(filepath.Base(path), func(t *testing.T) {
			t.Parallel()
			data, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			cfg, faults := Parse(filepath.Base(path), data)
			if cfg == nil {
				t.Fatalf("faults: %v", faults)
			}
			if !reflect.DeepEqual(cfg.Warnings, faults) {
				t.Errorf("Warnings %v, faults %v", cfg.Warnings, faults)
			}
			compare(t, strings.TrimSuffix(path, ".yaml")+".warnings", faults.Error()+"\n")
		})
	}
}

func compare(t *testing.T, golden, got string) {
	t.Helper()
	if regexp.MustCompile(`hunter2(?:$|[^.])`).MatchString(got) {
		t.Errorf("a value is quoted:\n%s", got)
	}
	if *update {
		if err := os.WriteFile(golden, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(golden)
	if err != nil {
		t.Fatal(err)
	}
	if got != string(want) {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
}

// TestEveryBadFileHasItsRule keeps golden files from outliving their input.
func TestEveryBadFileHasItsRule(t *testing.T) {
	t.Parallel()
	for _, path := range append(files(t, "bad/*.faults"), files(t, "good/*.warnings")...) {
		input := strings.TrimSuffix(path, filepath.Ext(path)) + ".yaml"
		if _, err := os.Stat(input); err != nil {
			t.Errorf("%s has no input: %v", path, err)
		}
	}
}

func mustParse(t *testing.T, path, text string) *Config {
	t.Helper()
	cfg, faults := Parse(path, []byte(text))
	if cfg == nil {
		t.Fatalf("faults: %v", faults)
	}
	cfg.Warnings = nil
	return cfg
}

func TestEmptyIsDefault(t *testing.T) {
	t.Parallel()
	want := Default(DefaultStateDir())
	for _, text := range []string{"", "\n# nothing\n", "---\n", "{}", "version: 1\n"} {
		if got := mustParse(t, "", text); !reflect.DeepEqual(got, want) {
			t.Errorf("%q: %+v", text, got)
		}
	}
}

// TestContract reads the example of the public contract, where every value is
// the default but those called examples.
func TestContract(t *testing.T) {
	t.Parallel()
	data, err := os.ReadFile("testdata/good/contract.yaml")
	if err != nil {
		t.Fatal(err)
	}
	got := mustParse(t, "/etc/dirpin/dirpin.yaml", string(data))

	want := Default("/var/lib/dirpin")
	want.Path = "/etc/dirpin/dirpin.yaml"
	no := false
	want.Watch[0].Signers = "/etc/dirpin/allowed_signers"
	want.Watch[0].Allow = Allow{Users: user.All(), Reset: []string{"pin"}, MaxUsers: 50, Run: []string{"now", "at"}, WriteBack: &no, Deliver: []string{"user"}}
	a := defaultAgreement()
	a.Name = "corp"
	a.Servers = []string{"ldaps://dc1.example.com", "ldaps://dc2.example.com"}
	a.CAFile = "/etc/dirpin/ca.pem"
	a.Bind = Bind{DN: "cn=sync,dc=example,dc=com", Password: Secret{File: "/etc/dirpin/bind.pw"}}
	a.Base = "dc=example,dc=com"
	a.Filter = "(objectClass=inetOrgPerson)"
	a.WriteBack = &WriteBack{Bind{DN: "cn=w", Password: Secret{Env: "W"}}}
	a.Attributes = Attributes{
		UserID: []string{"uid"}, FirstName: []string{"givenName"}, MiddleName: []string{"middleName", "initials"},
		LastName: []string{"sn"}, Manager: []string{"manager"}, Department: []string{"departmentNumber"},
		Mail: []string{"mail"}, Telephone: []string{"telephoneNumber"}, Language: []string{"preferredLanguage"},
	}
	want.Agreements = []Agreement{a}
	v := defaultVoicemail()
	v.Name, v.Type, v.URL, v.CAFile, v.User = "unity", "unity", "https://cuc.example.com", "/etc/dirpin/ca.pem", "admin"
	v.Password = Secret{Credential: "cuc"}
	v.For = &user.Query{Match: user.MatchAll, Where: []user.Term{condition(user.FieldDepartment, user.IsExactly, "12", "14")}}
	v.Hours = &Hours{Cron: "0 20 * * 1-5", For: 8 * time.Hour, Timezone: "Europe/Berlin"}
	want.Voicemail = []Voicemail{v}
	want.Protect = &user.Query{Match: user.MatchAny, Where: []user.Term{condition(user.FieldDepartment, user.IsExactly, "Administrators")}}
	want.Approve = Approve{Over: 100}
	want.Mail = &Mail{Server: "smtp://mail:587", TLS: "required", From: "dirpin@example.com", Allow: []string{"@example.com"}, Language: "en"}
	want.HTTP = &HTTP{Listen: "127.0.0.1:8765"}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got  %+v\nwant %+v", got, want)
	}
}

func TestRelativePaths(t *testing.T) {
	t.Parallel()
	data, err := os.ReadFile("testdata/good/relative.yaml")
	if err != nil {
		t.Fatal(err)
	}
	c := mustParse(t, "/etc/dirpin/sub/../dirpin.yaml", string(data))
	a, v, w := c.Agreements[0], c.Voicemail[0], c.Watch[0]
	for _, tt := range []struct{ what, got, want string }{
		{"state_dir", c.StateDir, "/etc/dirpin/state"},
		{"database", c.Store.SQLite, "/etc/dirpin/state/dirpin.db"},
		{"key", c.KeyFile.File, "/etc/dirpin/state/key"},
		{"log", c.Log.File, "/etc/dirpin/log/dirpin.log"},
		{"dir", w.Dir, "/etc/dirpin/state/jobs"},
		{"lists", w.Lists, "/etc/lists"},
		{"signers", w.Signers, "/etc/dirpin/signers"},
		{"ca", a.CAFile, "/etc/dirpin/ca.pem"},
		{"secret", a.Bind.Password.File, "/etc/dirpin/bind.pw"},
		{"command", v.Command[0], "/etc/dirpin/hooks/push"},
		{"argument", v.Command[2], "012"},
	} {
		if tt.got != tt.want {
			t.Errorf("%s: got %s, want %s", tt.what, tt.got, tt.want)
		}
	}
	if a.Guard.MaxDeactivate != (Limit{N: 50}) || a.Attributes.Telephone == nil || len(a.Attributes.Telephone) != 0 || a.Attributes.Mail != nil {
		t.Errorf("agreement: %+v", a)
	}
	if v.Rate != 2.5 || v.For == nil || !v.For.Everyone {
		t.Errorf("voicemail: %+v", v)
	}
}

func TestUnityHasARate(t *testing.T) {
	t.Parallel()
	const unity = "voicemail: {name: u, type: unity, url: 'https://x', user: u, password: {file: p}%s}"
	for rate, want := range map[string]float64{"": 50, ", rate: 0": 0, ", rate: 7/s": 7} {
		if got := mustParse(t, "", strings.Replace(unity, "%s", rate, 1)).Voicemail[0].Rate; got != want {
			t.Errorf("%q: %v, want %v", rate, got, want)
		}
	}
}

// TestStorePassword keeps the password of a database out of its URL.
func TestStorePassword(t *testing.T) {
	t.Parallel()
	s := mustParse(t, "", "store: postgres://u:hunter2@db/d?sslmode=verify-full").Store
	if s.URL != "postgres://u@db/d?sslmode=verify-full" || s.Password.Plain.Reveal() != "hunter2" || s.SQLite != "" {
		t.Errorf("store: %+v", s)
	}
	s = mustParse(t, "", "store: {url: 'postgres:///d?host=/run/postgresql', password: {env: P}}").Store
	if s.URL != "postgres:///d?host=/run/postgresql" || s.Password.Env != "P" {
		t.Errorf("store: %+v", s)
	}
}

func TestStoreEncryption(t *testing.T) {
	t.Parallel()
	for url, want := range map[string]string{
		"postgres://u@db1,db2/d":                "the connection to db1 need not be encrypted",
		"postgres://u@db/d?sslmode=prefer":      "need not be encrypted",
		"postgres://u@10.0.0.7:5433/d":          "need not be encrypted",
		"postgres://u@db/d?sslmode=require":     "sslmode=verify-full checks",
		"postgres://u@db/d?sslmode=verify-full": "",
		"postgres://u@127.0.0.1/d":              "",
		"postgres://u@[::1]:5433/d":             "",
		"postgres://u@localhost/d":              "",
		"postgres:///d?host=/run/postgresql":    "",
	} {
		cfg, faults := Parse("", []byte("store: \""+url+"\""))
		if cfg == nil {
			t.Fatalf("%s: %v", url, faults)
		}
		got := ""
		for _, w := range cfg.Warnings {
			if strings.Contains(w.Message, "store:") {
				got += w.Message
			}
		}
		if (got == "") != (want == "") || !strings.Contains(got, want) {
			t.Errorf("%s: got %q, want %q", url, got, want)
		}
	}
}

func TestLoad(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	write := func(name, text string, mode os.FileMode) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Chmod(path, mode); err != nil {
			t.Fatal(err)
		}
		return path
	}
	good := write("good.yaml", "state_dir: here\n", 0o644)
	cfg, err := Load(good)
	if err != nil || cfg.StateDir != filepath.Join(dir, "here") || cfg.Path != good || len(cfg.Warnings) != 1 {
		t.Errorf("Load: %+v, %v", cfg, err)
	}
	for _, tt := range []struct{ path, want string }{
		{write("bad.yaml", "late: x\nlaet: 1\n", 0o644), "bad.yaml:1:7: late: a duration such as 30s, 15m, 24h or 7d is needed; 0 is never\n" + dir + "/bad.yaml:2:1: unknown key laet: did you mean late?"},
		{write("open.yaml", "", 0o666), "its mode 0666 lets anyone change it: chmod o-w"},
		{filepath.Join(dir, "none.yaml"), "no such file"},
		{dir, "it is not a regular file"},
		{write("large.yaml", strings.Repeat("#", 5<<20), 0o600), "larger than 4 MiB"},
	} {
		if cfg, err := Load(tt.path); cfg != nil || err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: got %v, want %s", tt.path, err, tt.want)
		}
	}
}

func TestLimitOf(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		limit      Limit
		base, want int
	}{
		{Limit{N: 10, Percent: true}, 1000, 100},
		{Limit{N: 10, Percent: true}, 1001, 101},
		{Limit{N: 10, Percent: true}, 3, 1},
		{Limit{N: 10, Percent: true}, 0, 1},
		{Limit{N: 0, Percent: true}, 1000, 0},
		{Limit{N: 100, Percent: true}, 1_000_000, 1_000_000},
		{Limit{N: 7}, 1000, 7},
		{Limit{}, 1000, 0},
	} {
		if got := tt.limit.Of(tt.base); got != tt.want {
			t.Errorf("%+v of %d is %d, want %d", tt.limit, tt.base, got, tt.want)
		}
	}
}
