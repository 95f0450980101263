package resetjob

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"filippo.io/age"
	"filippo.io/age/armor"

	"github.com/dirpin/dirpin/config"
	"github.com/dirpin/dirpin/internal/outcome"
	"github.com/dirpin/dirpin/internal/secret"
)

// What a job file leaves out, in full.
func TestParseJobDefaults(t *testing.T) {
	t.Parallel()
	job, faults := ParseJob("/jobs/nightly run.v2.YAML", []byte("select: {query: all}\nreset: {pin: 4711}\n"), testOptions())
	if len(faults) > 0 {
		t.Fatal(faults)
	}
	got, err := EncodeJob(job)
	if err != nil {
		t.Fatal(err)
	}
	const want = `{"version":1,"name":"nightly_run.v2","select":{"source":"store","query":{"all":true}},"pin":{},` +
		`"settings":{"must_change":true,"cannot_change":null,"does_not_expire":null,"locked":null,"clear_failed_attempts":true},` +
		`"ldap_synced":{"password":"skip","pin":"reset"},"ldap_inactive":{"password":"skip","pin":"skip"},` +
		`"run":{"now":true},"limits":{},"deliver":{}}`
	if string(got) != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
}

func TestDefaultJobName(t *testing.T) {
	t.Parallel()
	for file, want := range map[string]string{
		"/var/lib/dirpin/jobs/dept-12.yaml": "dept-12",
		"Büro 7.YML":                        "B_ro_7",
		"a.b.json":                          "a.b",
		".yaml":                             "job",
		"":                                  "job",
		strings.Repeat("x", 100) + ".yaml":  strings.Repeat("x", 64),
		"../../etc":                         "etc",
	} {
		if got := defaultJobName(file); got != want {
			t.Errorf("%s: got %q, want %q", file, got, want)
		}
	}
}

const plainJob = "select: {query: all}\nreset: {pin: \"0471\"}\n"

func TestParseJobEncodings(t *testing.T) {
	t.Parallel()
	for name, data := range map[string]string{
		"UTF-8":                plainJob,
		"byte order mark":      "\ufeff" + plainJob,
		"CRLF":                 strings.ReplaceAll(plainJob, "\n", "\r\n"),
		"UTF-16 little endian": utf16Bytes(strings.ReplaceAll(plainJob, "\n", "\r\n"), false),
		"UTF-16 big endian":    utf16Bytes(plainJob, true),
		"JSON":                 `{"select":{"query":"all"},"reset":{"pin":"0471"}}`,
		"JSON with CRLF":       "{\r\n \"select\": {\"query\": \"all\"},\r\n \"reset\": {\"pin\": \"0471\"}\r\n}\r\n",
	} {
		job, faults := ParseJob("j.yaml", []byte(data), testOptions())
		if len(faults) > 0 || job.Reset.PIN.Given.Reveal() != "0471" || !job.Select.Query.Everyone {
			t.Errorf("%s: %v", name, faults)
		}
	}
}

func TestParseJobOtherBytes(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name, data string
		line       int
	}{
		{"latin 1", "select: {query: all}\ndescription: B\xfcro\n", 2},
		{"NUL", plainJob + "name: a\x00b\n", 3},
		{"UTF-16 without a mark", utf16Bytes(plainJob, false)[2:], 1},
		{"UTF-16 cut", utf16Bytes(plainJob, false)[:21], 0},
		{"a picture", "\x89PNG\r\n\x1a\n", 1},
		{"escape", "name: a\x1b[31m\n", 1},
	} {
		job, faults := ParseJob("dir/j.yaml", []byte(tt.data), testOptions())
		if job != nil || len(faults) == 0 || faults[0].File != "dir/j.yaml" || tt.line > 0 && faults[0].Line != tt.line {
			t.Errorf("%s: %v", tt.name, faults)
		}
	}
}

// Hostile files are refused within a second.
func TestParseJobAttacks(t *testing.T) {
	var bomb strings.Builder
	bomb.WriteString("a0: &a0 [x, x, x, x, x, x, x, x, x]\n")
	for i := 1; i < 12; i++ {
		fmt.Fprintf(&bomb, "a%d: &a%d [%s]\n", i, i, strings.TrimSuffix(strings.Repeat(fmt.Sprintf("*a%d, ", i-1), 9), ", "))
	}
	conditions := strings.Repeat("      - {field: user_id, op: contains, text: x}\n", 50_000)
	groups := strings.Repeat("{where: [", 20_000)
	for name, data := range map[string]string{
		"anchor bomb":         bomb.String(),
		"20,000 deep":         strings.Repeat("[", 20_000),
		"20,000 deep, closed": "select: " + strings.Repeat("[", 20_000) + strings.Repeat("]", 20_000),
		"20,000 groups":       "select: {query: " + groups,
		"20,000 mappings":     strings.Repeat("{a: ", 20_000),
		"20,000 dashes":       strings.Repeat("- ", 20_000) + "a",
		"10 MB of text":       "name: " + strings.Repeat("x", 10_000_000),
		"10 MB of lines":      strings.Repeat("a: b\n", 2_000_000),
		"4 MB of keys":        "{" + strings.Repeat("a: 1, ", 600_000) + "}",
		"4 MB of own keys":    manyKeys(200_000),
		"4 MB of quotes":      strings.Repeat(`"`, 4_000_000),
		"4 MB of name":        "name: " + strings.Repeat("x", 4_000_000),
		"tabs":                strings.Repeat("\t", 100_000) + "a: b",
		"notify of thousands": "select: {query: all}\nreset: {pin: 4711}\nnotify: [" + strings.Repeat("x, ", 300_000) + "]",
		"recipients":          "select: {query: all}\nreset: {pin: 4711}\ndeliver: {sealed_csv: [" + strings.Repeat("age1x, ", 100_000) + "]}",
		"conditions":          "reset: {pin: 1}\nselect:\n  query:\n    where:\n" + conditions,
	} {
		start := time.Now()
		job, faults := ParseJob("j.yaml", []byte(data), testOptions())
		if took := time.Since(start); took > 5*time.Second {
			t.Errorf("%s: took %v", name, took)
		} else {
			t.Logf("%s: %v, %d faults", name, took, len(faults))
		}
		if job != nil || len(faults) == 0 {
			t.Errorf("%s: was taken", name)
		}
		start = time.Now()
		RedactJob([]byte(data))
		if took := time.Since(start); took > 5*time.Second {
			t.Errorf("%s: redacting took %v", name, took)
		}
	}
}

func manyKeys(n int) string {
	var b strings.Builder
	b.WriteString("{")
	for i := range n {
		fmt.Fprintf(&b, "key%d: %d, ", i, i)
	}
	b.WriteString("}")
	return b.String()
}

// A secret in any place, right or wrong, is in no fault.
func TestJobFaultsQuoteNothing(t *testing.T) {
	t.Parallel()
	const canary = "Hunter2Canary"
	forms := []string{canary, `"` + canary + `"`, "'" + canary, `"` + canary + `\x"`, canary + " # x", "x # " + canary, "[" + canary + "]", "{" + canary + ": x}",
		"{x: " + canary + "}", "!!" + canary + " x", "&" + canary + " x", "*" + canary, "|\n  " + canary + "\n", "{length: " + canary + "}", "{sealed: " + canary + "}",
		"{generate: {length: " + canary + "}}", "{at: " + canary + "}", "{cron: " + canary + ", timezone: " + canary + "}", "{cron: '0 2 " + canary + " * *', timezone: UTC}",
		"{name: a/" + canary + ", field: " + canary + ", sha256: " + canary + "}", "{sealed_csv: [" + canary + "], mail: {to: " + canary + "}}", "{file: /no/" + canary + "}",
		"{where: [{field: " + canary + ", op: " + canary + ", text: " + canary + "}]}", "{source: " + canary + ", query: " + canary + "}"}
	paths := []string{"%s", canary + ": %s", canary + "%s"}
	for _, key := range jobKeys() {
		paths = append(paths, key+": %s", key+": {x: %s}")
	}
	for _, key := range resetKeys() {
		paths = append(paths, "reset: {"+key+": %s}", "select: {query: all}\nreset:\n  "+key+": %s\n  pin: 4711\n", "reset: {"+key+"x: %s}")
	}
	for _, key := range slices.Concat(selectKeys(), runKeys(), limitsKeys(), deliverKeys()) {
		paths = append(paths, "select: {"+key+": %s}", "run: {"+key+": %s}", "limits: {"+key+": %s}", "deliver: {"+key+": %s}")
	}
	opts := testOptions()
	opts.AllowReferences = true
	opts.CheckGiven = func(string, secret.Value) outcome.Code { return outcome.Trivial }
	opts.Resolve = func(config.Secret) (secret.Value, error) { return secret.Value{}, errors.New("no such file") }
	for _, path := range paths {
		for _, form := range forms {
			text := fmt.Sprintf(path, form)
			_, faults := ParseJob("j.yaml", []byte(text), opts)
			if said := faults.Error(); strings.Contains(strings.ToLower(said), "canary") || strings.Contains(said, "Hunter") {
				t.Errorf("%q: %s", text, said)
			}
		}
	}
}

// Real age files, in both forms, are known as sealed.
func TestIsSealed(t *testing.T) {
	t.Parallel()
	identity, err := age.GenerateX25519Identity()
	if err != nil {
		t.Fatal(err)
	}
	var armored bytes.Buffer
	aw := armor.NewWriter(&armored)
	w, err := age.Encrypt(aw, identity.Recipient())
	if err != nil {
		t.Fatal(err)
	}
	fmt.Fprint(w, "4711")
	if err := errors.Join(w.Close(), aw.Close()); err != nil {
		t.Fatal(err)
	}
	text := strings.TrimSpace(armored.String())
	if !isSealed(text) || !isSealed(strings.ReplaceAll(text, "\n", "\r\n")) || !isSealed(strings.ReplaceAll(text, "\n", " ")) {
		t.Errorf("an armored age file is not known:\n%s", text)
	}
	block := "select: {query: all}\nreset:\n  pin:\n    sealed: |\n      " + strings.ReplaceAll(text, "\n", "\n      ") + "\n"
	opts := testOptions()
	opts.OpenSealed = func(sealed string) (secret.Value, error) {
		if sealed != text {
			t.Errorf("OpenSealed got %q", sealed)
		}
		return secret.New("4711"), nil
	}
	if job, faults := ParseJob("j.yaml", []byte(block), opts); len(faults) > 0 || job.Reset.PIN.Sealed != text {
		t.Errorf("%v", faults)
	}
	for _, bad := range []string{"", "4711", "age-encryption.org/v1", armor.Header, armor.Header + armor.Footer, text[:len(text)-1], "@@@@"} {
		if isSealed(bad) {
			t.Errorf("%q is taken for sealed", bad)
		}
	}
}

// With Resolve a reference is read once, and its value judged like a given one.
func TestParseJobResolves(t *testing.T) {
	t.Parallel()
	opts := testOptions()
	opts.AllowReferences = true
	values := map[string]string{"/p/pin": "0471", "/p/short": "47"}
	opts.Resolve = func(s config.Secret) (secret.Value, error) {
		v, ok := values[s.File]
		if !ok {
			return secret.Value{}, errors.New("no such file")
		}
		return secret.New(v), nil
	}
	job, faults := ParseJob("/p/j.yaml", []byte("select: {query: all}\nreset: {pin: {file: pin}}\n"), opts)
	if len(faults) > 0 || job.Reset.PIN.Given.Reveal() != "0471" || job.Reset.PIN.Reference != nil {
		t.Errorf("%v %+v", faults, job)
	}
	for file, want := range map[string]string{"short": "/p/j.yaml:2:14: nobody may have this pin (too-short)", "none": "/p/j.yaml:2:14: pin: no such file"} {
		_, faults := ParseJob("/p/j.yaml", []byte("select: {query: all}\nreset: {pin: {file: "+file+"}}\n"), opts)
		if len(faults) != 1 || !strings.HasPrefix(faults[0].String(), want) {
			t.Errorf("%s: %v", file, faults)
		}
	}
}

// Recipients that age cannot use together are found in the file.
func TestRecipientsTogether(t *testing.T) {
	t.Parallel()
	text := "select: {query: all}\nreset: {pin: {generate: {length: 6}}}\ndeliver: {sealed_csv: [" +
		newRecipient(t) + ", " + newHybridRecipient(t) + "]}\n"
	_, faults := ParseJob("j.yaml", []byte(text), testOptions())
	if len(faults) != 1 || faults[0].Line != 3 || !strings.Contains(faults[0].Message, "do not go together") {
		t.Errorf("%v", faults)
	}
}

func newRecipient(t *testing.T) string {
	identity, err := age.GenerateX25519Identity()
	if err != nil {
		t.Fatal(err)
	}
	return identity.Recipient().String()
}

func newHybridRecipient(t *testing.T) string {
	identity, err := age.GenerateHybridIdentity()
	if err != nil {
		t.Fatal(err)
	}
	return identity.Recipient().String()
}

func TestParseCron(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 11, 24, 12, 0, 0, 0, time.UTC)
	for expr, want := range map[string]string{
		"0 2 1 * *":                             "2026-12-01T01:00:00Z",
		"*/15 * * * *":                          "2026-11-24T12:15:00Z",
		" 0  2 * * sun ":                        "2026-11-29T01:00:00Z",
		"@daily":                                "2026-11-24T23:00:00Z",
		"30 4 29 feb *":                         "2028-02-29T03:30:00Z",
		"0 2 1,15 1-6 0?":                       "",
		"@every 1h":                             "",
		"@reboot":                               "",
		"":                                      "",
		"TZ=UTC":                                "",
		"CRON_TZ=x":                             "",
		"TZ=a b c d e":                          "",
		"60 * * * *":                            "",
		"* * * * * *":                           "",
		"* * 0 * *":                             "",
		"* * * 13 *":                            "",
		"* * * * */0":                           "",
		"5-1 * * * *":                           "",
		"99999999999999999999 * * * *":          "",
		strings.Repeat("1,", 600) + "1 * * * *": "",
		strings.Repeat("1,", 10_000) + "1 * * * *": "",
	} {
		schedule, err := ParseCron(expr, "Europe/Berlin")
		if (err != nil) != (want == "") {
			t.Errorf("%.40q: %v", expr, err)
		}
		if err == nil && schedule.Next(now).UTC().Format(time.RFC3339) != want {
			t.Errorf("%q: next %v, want %s", expr, schedule.Next(now).UTC(), want)
		}
	}
	for _, zone := range []string{"", "Local", "Mars/Olympus", "../etc/passwd", "/etc/localtime", "Europe/Berlin ", "UTC x", "\x00"} {
		if _, err := ParseCron("0 2 1 * *", zone); err == nil {
			t.Errorf("zone %q was taken", zone)
		}
	}
}

func TestLimitsUnder(t *testing.T) {
	t.Parallel()
	got := Limits{MaxUsers: 500, AllValid: true}.Under(config.Limits{MaxUsers: 100, MaxFailures: 7})
	if want := (Limits{MaxUsers: 100, MaxFailures: 7, AllValid: true}); got != want {
		t.Errorf("got %+v", got)
	}
	if got := (Limits{MaxUsers: 50}).Under(config.Limits{MaxUsers: 100}); got != (Limits{MaxUsers: 50}) {
		t.Errorf("got %+v", got)
	}
}

func FuzzParseJob(f *testing.F) {
	for _, s := range []string{plainJob, "", "a: [", "select: {csv: {name: x}}\nrun: {cron: \"TZ=\", timezone: UTC}\n", "reset:\n  pin: |\n    x\n", "pin: 4711 # 4711\n",
		"select: {query: {where: [{field: user_id, op: contains, text: [a, b]}]}}\nreset: {password: {generate: {length: 12}}}\ndeliver: none\n",
		"{\"reset\": {\"pin\": \"a\\u0041\"}, 'x': 'it''s'}", utf16Bytes(plainJob, true)} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		job, faults := ParseJob("j.yaml", data, testOptions())
		if (job == nil) != faults.Failed() {
			t.Fatalf("%v with %v", job, faults)
		}
		for _, fault := range faults {
			if fault.Message == "" || fault.File != "j.yaml" {
				t.Fatalf("%+v", fault)
			}
		}
		RedactJob(data)
		if job == nil {
			return
		}
		encoded, err := EncodeJob(job)
		if err != nil {
			t.Fatal(err)
		}
		again, err := DecodeJob(encoded)
		if err != nil {
			t.Fatalf("%s: %v", encoded, err)
		}
		if twice, err := EncodeJob(again); err != nil || !bytes.Equal(encoded, twice) {
			t.Fatalf("%s\nis not\n%s", encoded, twice)
		}
	})
}
