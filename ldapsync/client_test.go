package ldapsync

import (
	"context"
	"errors"
	"log/slog"
	"maps"
	"net"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/dirpin/dirpin/config"
	"github.com/dirpin/dirpin/internal/lab"
	"github.com/dirpin/dirpin/internal/secret"
	"github.com/dirpin/dirpin/internal/slapd"
	"github.com/dirpin/dirpin/internal/user"
)

// agreementFor is an agreement over TLS with everything below the test's base.
func agreementFor(d *lab.Directory) config.Agreement {
	return config.Agreement{
		Name: "corp", Servers: []string{d.TLSURL()}, CAFile: d.CAFile(), Bind: config.Bind{DN: d.BindDN()},
		Base: d.Base, Method: "auto", PageSize: 1000, Timeout: 5 * time.Second, Interval: 15 * time.Minute, Grace: 24 * time.Hour,
		Guard: config.Guard{MaxDeactivate: config.Limit{N: 10, Percent: true}, MaxBlank: config.Limit{N: 10, Percent: true}, Window: 24 * time.Hour},
	}
}

func connectOptions(t *testing.T, d *lab.Directory) ConnectOptions {
	return ConnectOptions{Agreement: agreementFor(d), Password: secret.New(d.BindPassword()), Seed: 7, Log: quiet(t)}
}

func quiet(t *testing.T) *slog.Logger { return slog.New(slog.NewTextHandler(t.Output(), nil)) }

// read returns everyone by user id, or by DN where there is none.
func read(t *testing.T, o ConnectOptions) (map[string]*Entry, error) {
	t.Helper()
	c, err := Connect(t.Context(), o)
	if err != nil {
		return nil, err
	}
	defer c.Close()
	people := make(map[string]*Entry)
	err = c.Entries(t.Context(), Everything(func(e *Entry) error {
		name := e.Person.UserID
		if name == "" {
			name = e.Person.DN
		}
		people[name] = e
		return nil
	}))
	return people, err
}

func TestConnectInEveryWay(t *testing.T) {
	d := lab.Slapd(t)
	d.AddPerson("anna", nil)
	cert, key := d.ClientFiles()
	for _, tt := range []struct {
		name   string
		change func(*config.Agreement)
	}{
		{"LDAPS", func(*config.Agreement) {}},
		{"StartTLS", func(a *config.Agreement) { a.Servers, a.StartTLS = []string{d.URL()}, true }},
		{"in clear, as said", func(a *config.Agreement) { a.Servers, a.InsecurePlaintext = []string{d.URL()}, true }},
		{"anonymous", func(a *config.Agreement) { a.Bind = config.Bind{} }},
		{"EXTERNAL", func(a *config.Agreement) {
			a.Bind, a.CertFile, a.KeyFile = config.Bind{External: true}, cert, key
		}},
		{"one entry a page", func(a *config.Agreement) { a.PageSize = 1 }},
		{"the second server", func(a *config.Agreement) { a.Servers = []string{"ldaps://127.0.0.1:1", d.TLSURL()} }},
	} {
		t.Run(tt.name, func(t *testing.T) {
			o := connectOptions(t, d)
			tt.change(&o.Agreement)
			people, err := read(t, o)
			if err != nil || len(people) != 1 || people["anna"] == nil {
				t.Fatalf("read %v, %v; want anna", slices.Collect(maps.Keys(people)), err)
			}
		})
	}
}

func TestConnectRefusals(t *testing.T) {
	d := lab.Slapd(t)
	garbage := t.TempDir() + "/ca.pem"
	if err := os.WriteFile(garbage, []byte("nothing"), 0o600); err != nil {
		t.Fatal(err)
	}
	other := lab.NewSlapd(t, lab.Config{})
	for _, tt := range []struct {
		name   string
		change func(*ConnectOptions)
		class  error
		want   string
	}{
		{"password in clear", func(o *ConnectOptions) { o.Agreement.Servers = []string{d.URL()} }, ErrConfig, "in clear"},
		{"empty password", func(o *ConnectOptions) { o.Password = secret.Value{} }, ErrConfig, "anonymous"},
		{"twice encrypted", func(o *ConnectOptions) { o.Agreement.StartTLS = true }, ErrConfig, "start_tls goes with ldap://"},
		{"no server", func(o *ConnectOptions) { o.Agreement.Servers = nil }, ErrConfig, "no servers"},
		{"no URL", func(o *ConnectOptions) { o.Agreement.Servers = []string{"dc1.example.com"} }, ErrConfig, "is no URL"},
		{"a CA file without certificates", func(o *ConnectOptions) { o.Agreement.CAFile = garbage }, ErrConfig, "no certificate"},
		{"a filter that is none", func(o *ConnectOptions) { o.Agreement.Filter = "(uid=*" }, ErrConfig, "no LDAP filter"},
		{"external without a certificate", func(o *ConnectOptions) { o.Agreement.Bind = config.Bind{External: true} }, ErrConfig, "cert_file"},
		{"another CA", func(o *ConnectOptions) { o.Agreement.CAFile = other.CAFile() }, ErrDirectory, "not signed by"},
		{"no CA", func(o *ConnectOptions) { o.Agreement.CAFile = "" }, ErrDirectory, "ca_file"},
		{"TLS to the plain port", func(o *ConnectOptions) { o.Agreement.Servers = []string{"ldaps://" + d.Addr()} }, ErrDirectory, ""},
		{"wrong password", func(o *ConnectOptions) { o.Password = secret.New("hunter2-wrong") }, ErrDirectory, "wrong name or password"},
		{"nobody there", func(o *ConnectOptions) { o.Agreement.Servers = []string{"ldaps://127.0.0.1:1"} }, ErrDirectory, "refused"},
		{"missing base", func(o *ConnectOptions) { o.Agreement.Base = "ou=nowhere," + d.Suffix() }, ErrDirectory, "does not exist"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			o := connectOptions(t, d)
			tt.change(&o)
			_, err := read(t, o)
			if !errors.Is(err, tt.class) || !strings.Contains(err.Error(), tt.want) || !strings.Contains(err.Error(), "corp") {
				t.Errorf("got %v (of class %v)", err, tt.class)
			}
			if err != nil && strings.Contains(err.Error(), "hunter2") {
				t.Error("the password is in the error")
			}
		})
	}
}

func TestWrongPasswordIsNotTriedOnEveryServer(t *testing.T) {
	d := lab.Slapd(t)
	second, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer second.Close()
	o := connectOptions(t, d)
	o.Agreement.Servers = append(o.Agreement.Servers, "ldaps://"+second.Addr().String())
	o.Password = secret.New("wrong")
	if _, err := Connect(t.Context(), o); err == nil || strings.Contains(err.Error(), second.Addr().String()) {
		t.Errorf("got %v", err)
	}
}

func TestNastyNames(t *testing.T) {
	d := lab.Slapd(t)
	for _, name := range []string{"Smith, John", `quo"te`, "a+b", `back\slash`, " leading", "trailing ", "Zoë", "😀 smile", "100%_x", "שלום", "#hash", "a=b", "<x>;y"} {
		dn := d.AddPerson("id-"+name, map[string][]string{"givenName": {name}, "sn": {name}, "departmentNumber": {name, "12"}})
		d.AddPerson("boss of "+name[:min(20, len(name))], map[string][]string{"manager": {dn}})
		people, err := read(t, connectOptions(t, d))
		if err != nil {
			t.Fatal(err)
		}
		e := people["id-"+name]
		if e == nil || e.Refuse != nil || len(e.Faults) > 0 || e.Person.FirstName != name || e.Person.LastName != name {
			t.Errorf("%q became %+v", name, e)
		} else if got := e.Person.Departments; len(got) != 2 || !slices.Contains(got, name) || !slices.IsSorted(got) {
			t.Errorf("departments of %q: %q", name, got)
		}
		for _, e := range people {
			if strings.HasPrefix(e.Person.UserID, "boss") && e.Person.ManagerDN != normalDN(dn) {
				t.Errorf("the manager %q is %q, want %q", dn, e.Person.ManagerDN, normalDN(dn))
			}
			d.Delete(e.Person.DN)
		}
	}
}

func TestValuesThatCannotBeTaken(t *testing.T) {
	d := lab.Slapd(t)
	long := strings.Repeat("ä", 600)
	bad := map[string]map[string][]string{
		"uid":       {"uid": {"x" + long}},
		"givenName": {"uid": {"g"}, "givenName": {long}},
		"sn":        {"uid": {"s"}, "sn": {"tab\there"}},
	}
	for name, attributes := range bad {
		attributes["objectClass"], attributes["cn"] = []string{"inetOrgPerson"}, []string{name}
		if attributes["sn"] == nil {
			attributes["sn"] = []string{"Test"}
		}
		d.Add("cn="+name+","+d.Base, attributes)
	}
	people, err := read(t, connectOptions(t, d))
	if err != nil || len(people) != 3 {
		t.Fatal(people, err)
	}
	for _, e := range people {
		details := ""
		if e.Refuse != nil {
			details = e.Refuse.Reason + " " + e.Refuse.Detail
		}
		for _, f := range e.Faults {
			details += string(f.Field) + " " + f.Detail
		}
		want := map[string]string{"": "fault uid: 1201 bytes", "g": "first_name givenName: 1200 bytes", "s": "last_name sn: 8 bytes with the control character"}[e.Person.UserID]
		if !strings.Contains(details, want) || strings.Contains(details, "ä") || e.Person.Hash != 0 {
			t.Errorf("%s: %q, hash %d; want %q", e.Person.DN, details, e.Person.Hash, want)
		}
	}
}

func TestMappingOfRealEntries(t *testing.T) {
	d := lab.Slapd(t)
	anna := d.AddPerson("anna", map[string][]string{
		"givenName": {"Zanna", "Anna"}, "initials": {"X"}, "sn": {"Maes"}, "mail": {"a@example.org"}, "telephoneNumber": {"1"},
		"preferredLanguage": {"nl"}, "departmentNumber": {"14", "12"}, "givenName;lang-de": {"Änne"}})
	o := connectOptions(t, d)
	people, err := read(t, o)
	if err != nil {
		t.Fatal(err)
	}
	p := people["anna"].Person
	want := user.User{UserID: "anna", FirstName: "Anna", MiddleName: "X", LastName: "Maes", Departments: []string{"12", "14"}, Mail: "a@example.org",
		Telephone: "1", Language: "nl", Status: user.Active, Agreement: "corp", DN: anna, Key: d.Value(anna, "entryUUID")}
	if got := p.User; got.UserID != want.UserID || got.FirstName != want.FirstName || got.MiddleName != want.MiddleName || got.LastName != want.LastName ||
		got.Mail != want.Mail || got.Telephone != want.Telephone || got.Language != want.Language || got.Status != want.Status || got.Agreement != want.Agreement ||
		got.DN != want.DN || got.Key != want.Key || !slices.Equal(got.Departments, want.Departments) {
		t.Errorf("got  %+v\nwant %+v", got, want)
	}
	if got := people["anna"].Choices[user.FieldFirstName]; !slices.Equal(got, []string{"Anna", "Zanna"}) {
		t.Errorf("choices: %q", got)
	}
	// Other spellings of the same attributes, and a tag that is asked for.
	o.Agreement.Attributes = config.Attributes{FirstName: []string{"GIVENNAME;lang-de"}, LastName: []string{"surname"}, Telephone: []string{"2.5.4.20"}, Mail: []string{"rfc822Mailbox"}}
	if people, err = read(t, o); err != nil {
		t.Fatal(err)
	}
	q := people["anna"].Person
	if q.FirstName != "Änne" || q.LastName != "Maes" || q.Telephone != "1" || q.Mail != "a@example.org" {
		t.Errorf("by other names: %+v", q.User)
	}
	if q.Hash == p.Hash {
		t.Error("another mapping has the same content hash")
	}
	d.Delete(anna)
}

func TestCutAnswers(t *testing.T) {
	d := lab.NewSlapd(t, lab.Config{Users: 1200, SizeLimit: 500})
	if people, err := read(t, connectOptions(t, d)); !errors.Is(err, ErrDirectory) || !strings.Contains(err.Error(), "raise the limits") {
		t.Errorf("size limit: %d people, %v", len(people), err)
	}
	d.Configure(func(o *slapd.Options) { o.SizeLimit = 0 })
	if people, err := read(t, connectOptions(t, d)); err != nil || len(people) != 1200 {
		t.Fatalf("without limit: %d people, %v", len(people), err)
	}
	proxy := lab.NewProxy(t, d.Addr())
	o := connectOptions(t, d)
	o.Agreement.Servers, o.Agreement.InsecurePlaintext, o.Agreement.PageSize = []string{"ldap://" + proxy.Addr()}, true, 100
	o.Agreement.Timeout = 200 * time.Millisecond
	for _, n := range []int64{0, 10, 500, 50_000, 60_000, 100_000, 150_000} {
		proxy.CutAfter(n)
		if people, err := read(t, o); !errors.Is(err, ErrDirectory) {
			t.Errorf("cut after %d bytes: %d people, %v", n, len(people), err)
		}
		proxy.StallAfter(n)
		if people, err := read(t, o); !errors.Is(err, ErrDirectory) {
			t.Errorf("silent after %d bytes: %d people, %v", n, len(people), err)
		}
	}
	proxy.Heal()
	if people, err := read(t, o); err != nil || len(people) != 1200 {
		t.Errorf("healed: %d people, %v", len(people), err)
	}
}

func TestReadingStopsWhenTold(t *testing.T) {
	d := lab.NewSlapd(t, lab.Config{Users: 300})
	c, err := Connect(t.Context(), connectOptions(t, d))
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	ctx, cancel := context.WithCancel(t.Context())
	n := 0
	if err := c.Entries(ctx, Everything(func(*Entry) error { n++; cancel(); return nil })); !errors.Is(err, context.Canceled) || n > 1 {
		t.Errorf("cancelled: %v after %d", err, n)
	}
	c2, err := Connect(t.Context(), connectOptions(t, d))
	if err != nil {
		t.Fatal(err)
	}
	defer c2.Close()
	full := errors.New("the disk is full")
	if err := c2.Entries(t.Context(), Everything(func(*Entry) error { return full })); !errors.Is(err, full) || errors.Is(err, ErrDirectory) {
		t.Errorf("the receiver's error became %v", err)
	}
}

func TestPresent(t *testing.T) {
	d := lab.Slapd(t)
	dn := d.AddPerson("anna", nil)
	key := d.Value(dn, "entryUUID")
	c, err := Connect(t.Context(), connectOptions(t, d))
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	check := func(name, key, dn string, want bool) {
		t.Helper()
		if got, err := c.Present(t.Context(), key, dn); err != nil || got != want {
			t.Errorf("%s: %v, %v; want %v", name, got, err, want)
		}
	}
	check("where it was", key, dn, true)
	d.Rename(dn, "uid=berta", "")
	check("renamed", key, dn, true)
	check("another key at its place", "00000000-0000-0000-0000-000000000001", "uid=berta,"+d.Base, false)
	d.Delete("uid=berta," + d.Base)
	check("gone", key, dn, false)
}
