package hooks

import (
	"encoding/json"
	"io/fs"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/dirpin/dirpin/config"
	"github.com/dirpin/dirpin/internal/lab"
	"github.com/dirpin/dirpin/internal/secret"
	"github.com/dirpin/dirpin/internal/user"
	"github.com/dirpin/dirpin/internal/voicemail"
)

func TestMain(m *testing.M) { lab.Main(m) }

// hook is an example, started as dirpin starts it.
type hook struct {
	testing.TB
	conn voicemail.Connector
	sys  *voicemail.System
}

func newHook(t *testing.T, kind string, command ...string) *hook {
	t.Helper()
	program, err := filepath.Abs(command[0])
	if err != nil {
		t.Fatal(err)
	}
	command[0] = program
	cfg := &config.Voicemail{Name: "vm", Type: kind, Command: command, Timeout: 20 * time.Second, Concurrency: 4, NoMailbox: "fail"}
	opt := voicemail.Options{Log: slog.New(slog.DiscardHandler)}
	conn, err := voicemail.Connect(cfg, opt)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	return &hook{t, conn, voicemail.NewWith(cfg, conn, opt)}
}

// set asks for a PIN; id "" is a new request.
func (h *hook) set(id string, u user.User, pin string, s voicemail.Settings) voicemail.Answer {
	h.Helper()
	if id == "" {
		id = voicemail.NewRequestID()
	}
	r := voicemail.Request{ID: id, Job: 1, Item: 1, Voicemail: "vm", User: u, PIN: secret.New(pin), Settings: s}
	a := h.conn.Send(h.Context(), r.Attempt())
	if strings.Contains(a.Message, pin) {
		h.Errorf("the PIN is in %q", a.Message)
	}
	return a
}

func (h *hook) expect(what string, a voicemail.Answer, want voicemail.Result) {
	h.Helper()
	if a.Result != want {
		h.Errorf("%s: %s %q, %q", what, a.Class, a.Result, a.Message)
	}
}

func (h *hook) passes(what string, want bool) {
	h.Helper()
	if _, err := h.sys.Check(h.Context()); (err == nil) != want {
		h.Errorf("%s: doctor says %v", what, err)
	}
}

const voicemailConf = `; comment
[general]
format = wav49|gsm
1234 => no mailbox

[zonemessages]
eastern=America/New_York|'vm-received' Q

[default]
1234 => 4242,Example Mailbox,root@localhost,,attach=yes|saycid=yes
;5678 => 9999,commented out
1235=>-1111,Other One
12345 => 5555,Longer

[other]
1234 => 7777,Same number elsewhere
`

func TestAsterisk(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	conf := filepath.Join(dir, "voicemail.conf")
	reloaded := filepath.Join(dir, "reloaded")
	if err := os.WriteFile(conf, []byte(voicemailConf), 0o640); err != nil {
		t.Fatal(err)
	}
	h := newHook(t, "exec", "asterisk/asterisk-voicemail", "--conf", conf, "--spool", dir+"/spool", "--reload", "echo . >>"+reloaded)
	read := func(path string) string {
		text, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		return string(text)
	}
	yes, no := true, false
	h.passes("check", true)
	h.expect("a mailbox", h.set("", user.User{UserID: "jsmith", Telephone: "12-34"}, "583920", voicemail.Settings{}), voicemail.Accepted)
	h.expect("one that may not change it", h.set("", user.User{Telephone: "1235"}, "740182", voicemail.Settings{}), voicemail.Accepted)
	want := strings.NewReplacer("1234 => 4242,Ex", "1234 => 583920,Ex", "-1111", "-740182").Replace(voicemailConf)
	if got := read(conf); got != want {
		t.Errorf("the file is\n%s", got)
	}
	h.expect("it may", h.set("", user.User{Telephone: "1235"}, "740183", voicemail.Settings{CannotChange: &no}), voicemail.Accepted)
	h.expect("it may not", h.set("", user.User{Telephone: "12345"}, "740184", voicemail.Settings{CannotChange: &yes}), voicemail.Accepted)
	if got := read(conf); !strings.Contains(got, "1235=>740183,Other") || !strings.Contains(got, "12345 => -740184,Longer") {
		t.Errorf("the file is\n%s", got)
	}
	before := read(conf)
	for name, phone := range map[string]string{"unknown": "999", "commented out": "5678", "none": "", "pattern": ".*"} {
		if a := h.set("", user.User{Telephone: phone}, "583920", voicemail.Settings{}); a.Result != voicemail.NoMailbox && a.Result != voicemail.Rejected {
			t.Errorf("%s: %+v", name, a)
		}
	}
	if read(conf) != before || strings.Count(read(reloaded), ".") != 4 {
		t.Errorf("reloaded %q times; the file is\n%s", read(reloaded), read(conf))
	}
	if fi, err := os.Stat(conf); err != nil || fi.Mode().Perm() != 0o640 {
		t.Errorf("rights %v, %v", fi.Mode(), err)
	}

	// What the user has chosen in the spool is replaced too.
	secretConf := filepath.Join(dir, "spool/default/1234/secret.conf")
	if err := os.MkdirAll(filepath.Dir(secretConf), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(secretConf, []byte("[general]\nsecret = 1111\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	h.expect("the spool", h.set("", user.User{Telephone: "1234"}, "583921", voicemail.Settings{}), voicemail.Accepted)
	if got := read(secretConf); got != "[general]\nsecret = 583921\n" {
		t.Errorf("secret.conf is %q", got)
	}

	failing := newHook(t, "exec", "asterisk/asterisk-voicemail", "--conf", conf, "--reload", "false")
	failing.expect("no reload", failing.set("", user.User{Telephone: "1234"}, "583922", voicemail.Settings{}), voicemail.Retry)
	nowhere := newHook(t, "exec", "asterisk/asterisk-voicemail", "--conf", conf, "--context", "nowhere")
	nowhere.passes("a context that is not there", false)
	left, err := filepath.Glob(conf + "*")
	if err != nil || len(left) != 2 { // and the lock
		t.Errorf("left behind: %v, %v", left, err)
	}
}

func TestSQL(t *testing.T) {
	t.Parallel()
	schema, err := os.ReadFile("sql/dirpin_requests.sql")
	if err != nil {
		t.Fatal(err)
	}
	const table = `CREATE TABLE radcheck (username VARCHAR(64), attribute VARCHAR(64), value VARCHAR(6));
		INSERT INTO radcheck VALUES ('jsmith', 'Cleartext-Password', '1111'), ('jsmith', 'Other', 'x'), ('o''neil', 'Cleartext-Password', '1111');`
	shipped, err := os.ReadFile("sql/freeradius.ini")
	if err != nil {
		t.Fatal(err)
	}
	for _, driver := range []string{"sqlite", "postgres"} {
		t.Run(driver, func(t *testing.T) {
			dir := t.TempDir()
			database := filepath.Join(dir, "radius.db")
			var query func(q string) string
			if driver == "postgres" {
				p := lab.SharedPostgres(t)
				database = p.Database(t)
				u, err := url.Parse(database)
				if err != nil {
					t.Fatal(err)
				}
				p.SQL(t, strings.TrimPrefix(u.Path, "/"), table+string(schema))
				query = func(q string) string { return p.SQL(t, strings.TrimPrefix(u.Path, "/"), q) }
			} else {
				query = sqlite(t, database)
				query(table + string(schema))
			}
			ini := strings.NewReplacer("driver = postgres", "driver = "+driver, "host=/run/postgresql dbname=radius user=dirpin", database).Replace(string(shipped))
			file := filepath.Join(dir, "hook.ini")
			if err := os.WriteFile(file, []byte(ini), 0o600); err != nil {
				t.Fatal(err)
			}
			h := newHook(t, "stream", "sql/sql-pin", file)
			value := func(id string) string {
				return strings.TrimSpace(query("SELECT value FROM radcheck WHERE username = '" + strings.ReplaceAll(id, "'", "''") + "' AND attribute = 'Cleartext-Password'"))
			}
			h.passes("check", true)
			first := voicemail.NewRequestID()
			h.expect("jsmith", h.set(first, user.User{UserID: "jsmith"}, "583920", voicemail.Settings{}), voicemail.Accepted)
			h.expect("o'neil", h.set("", user.User{UserID: "o'neil"}, "740182", voicemail.Settings{}), voicemail.Accepted)
			if value("jsmith") != "583920" || value("o'neil") != "740182" {
				t.Errorf("%q and %q", value("jsmith"), value("o'neil"))
			}
			query("UPDATE radcheck SET value = '2222' WHERE username = 'jsmith' AND attribute = 'Cleartext-Password'")
			h.expect("again", h.set(first, user.User{UserID: "jsmith"}, "583920", voicemail.Settings{}), voicemail.Accepted)
			if value("jsmith") != "2222" {
				t.Error("a request that was done is done again")
			}
			nobody := voicemail.NewRequestID()
			for range 2 {
				h.expect("nobody", h.set(nobody, user.User{UserID: "x' OR '1'='1"}, "583920", voicemail.Settings{}), voicemail.NoMailbox)
			}
			if n := strings.TrimSpace(query("SELECT count(*) FROM dirpin_requests")); n != "2" {
				t.Errorf("%s requests are noted", n)
			}
			if driver == "postgres" { // SQLite takes any length
				h.expect("too long", h.set("", user.User{UserID: "jsmith"}, "58392000", voicemail.Settings{}), voicemail.Rejected)
			}
			query("DROP TABLE dirpin_requests")
			h.passes("without its table", false)
			if a := h.set("", user.User{UserID: "jsmith"}, "583920", voicemail.Settings{}); a.Result != voicemail.Retry || value("jsmith") != "2222" {
				t.Errorf("without its table: %+v", a)
			}
		})
	}
}

// webex is what Webex's documentation says of two calls, and nothing else.
type webex struct {
	*testing.T
	people map[string]string // id by address
	pins   map[string]string
	status int // of the next PUT; 0: 204
}

func (x *webex) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	say := func(status int, body any) {
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(status)
		json.NewEncoder(w).Encode(body)
	}
	if r.Header.Get("Authorization") != "Bearer token-1" {
		say(http.StatusUnauthorized, map[string]string{"message": "The request requires a valid access token"})
		return
	}
	id, isPasscode := strings.CutPrefix(r.URL.Path, "/telephony/config/people/")
	switch {
	case r.Method == "GET" && r.URL.Path == "/people/me":
		say(200, map[string]any{"id": "me"})
	case r.Method == "GET" && r.URL.Path == "/people":
		items := []map[string]any{}
		for mail, id := range x.people {
			if strings.HasPrefix(mail, strings.ToLower(r.URL.Query().Get("email"))) {
				items = append(items, map[string]any{"id": id, "emails": []string{mail}})
			}
		}
		say(200, map[string]any{"items": items})
	case r.Method == "PUT" && isPasscode && strings.HasSuffix(id, "/voicemail/passcode") && r.Header.Get("Content-Type") == "application/json":
		var body map[string]string
		if err := json.NewDecoder(r.Body).Decode(&body); err != nil || len(body) != 1 || len(body["passcode"]) < 6 || len(body["passcode"]) > 30 {
			say(400, map[string]string{"message": "bad passcode " + body["passcode"]})
			return
		}
		switch x.status {
		case 0:
			x.pins[strings.TrimSuffix(id, "/voicemail/passcode")] = body["passcode"]
			w.WriteHeader(http.StatusNoContent)
		case 302:
			http.Redirect(w, r, "/login", http.StatusFound)
		case 200:
			w.Write([]byte("<html>sign in</html>"))
		default:
			say(x.status, map[string]string{"message": "no to " + body["passcode"]})
		}
	default:
		x.Errorf("Webex has no %s %s", r.Method, r.URL)
		say(404, nil)
	}
}

func TestWebex(t *testing.T) {
	t.Parallel()
	x := &webex{T: t, people: map[string]string{"jane@example.com": "id/1==", "jane@example.com.au": "id2"}, pins: make(map[string]string)}
	server := httptest.NewServer(x)
	defer server.Close()
	token := filepath.Join(t.TempDir(), "token")
	if err := os.WriteFile(token, []byte("token-1\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	h := newHook(t, "exec", "webex/webex-voicemail", "--token", token, "--api", server.URL)
	jane := user.User{UserID: "jane", Mail: "Jane@example.com"}
	h.passes("check", true)
	h.expect("jane", h.set("", jane, "583920", voicemail.Settings{}), voicemail.Accepted)
	if len(x.pins) != 1 || x.pins["id/1=="] != "583920" {
		t.Errorf("pins %v", x.pins)
	}
	h.expect("nobody", h.set("", user.User{Mail: "bob@example.com"}, "583920", voicemail.Settings{}), voicemail.NoMailbox)
	h.expect("no address", h.set("", user.User{UserID: "bob"}, "583920", voicemail.Settings{}), voicemail.Rejected)
	h.expect("too short", h.set("", jane, "58392", voicemail.Settings{}), voicemail.Rejected)
	for status, want := range map[int]voicemail.Result{400: voicemail.Rejected, 404: voicemail.Rejected, 403: voicemail.Denied, 302: voicemail.Denied, 200: voicemail.Denied, 429: voicemail.Retry} {
		x.status = status
		if a := h.set("", jane, "740182", voicemail.Settings{}); a.Result != want || a.Class == voicemail.Lost {
			t.Errorf("%d: %+v", status, a)
		}
	}
	x.status = 503
	if a := h.set("", jane, "740182", voicemail.Settings{}); a.Class != voicemail.Lost {
		t.Errorf("503: %+v", a)
	}
	if err := os.WriteFile(token, []byte("expired"), 0o600); err != nil {
		t.Fatal(err)
	}
	h.expect("an expired token", h.set("", jane, "740182", voicemail.Settings{}), voicemail.Denied)
	h.passes("an expired token", false)
	server.Close()
	if a := h.set("", jane, "740182", voicemail.Settings{}); a.Class != voicemail.NotSent {
		t.Errorf("nobody there: %+v", a)
	}
}

// Each example says how it is installed and what it was tried against.
func TestEachHasAReadme(t *testing.T) {
	t.Parallel()
	dirs, err := fs.Glob(os.DirFS("."), "*")
	if err != nil {
		t.Fatal(err)
	}
	overview, err := os.ReadFile("README.md")
	if err != nil {
		t.Fatal(err)
	}
	n := 0
	for _, d := range dirs {
		if fi, err := os.Stat(d); err != nil || !fi.IsDir() {
			continue
		}
		n++
		text, err := os.ReadFile(filepath.Join(d, "README.md"))
		if err != nil || !strings.Contains(string(text), "ested") || !strings.Contains(string(text), "Idempotent") || !strings.Contains(string(overview), "("+d+"/)") {
			t.Errorf("%s: %v", d, err)
		}
	}
	if n != 4 {
		t.Errorf("%d examples", n)
	}
}
