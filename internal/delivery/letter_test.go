package delivery

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	gotemplate "text/template"

	"github.com/dirpin/dirpin/config"
	"github.com/dirpin/dirpin/internal/secret"
)

func texter(t *testing.T, templates, language string) (*Mailer, error) {
	t.Helper()
	return NewMailer(&config.Mail{Server: "smtp://localhost", From: "dirpin@example.com", Templates: templates, Language: language}, secret.Value{})
}

func TestLettersByLanguage(t *testing.T) {
	t.Parallel()
	for _, x := range []struct{ most, lang, want string }{
		{"en", "", "New voicemail PIN"},
		{"en", "de", "Neu: Voicemail-PIN"},
		{"en", "de-AT", "Neu: Voicemail-PIN"},
		{"en", "zh, de;q=0.8, en;q=0.1", "Neu: Voicemail-PIN"},
		{"en", "FR_ca", "Nouveau : code PIN de la messagerie vocale"},
		{"en", "zh-Hant", "New voicemail PIN"},
		{"de", "zh-Hant", "Neu: Voicemail-PIN"},
		{"de", "", "Neu: Voicemail-PIN"},
		{"ja", "", "New voicemail PIN"},
		{"en", "\x00;;;", "New voicemail PIN"},
	} {
		m, err := texter(t, "", x.most)
		if err != nil {
			t.Fatal(err)
		}
		if msg, err := m.Letter(Letter{UserID: "jsmith", PIN: "4711", To: "user"}, x.lang); err != nil || msg.Subject != x.want || msg.HTML == "" {
			t.Errorf("%q, else %q: %q, %v", x.lang, x.most, msg.Subject, err)
		}
	}
}

func TestWhatLettersSay(t *testing.T) {
	t.Parallel()
	m, err := texter(t, "", "en")
	if err != nil {
		t.Fatal(err)
	}
	for _, lang := range []string{"en", "de", "fr"} {
		msg, err := m.Letter(Letter{UserID: "j", FirstName: "Jane\r\nBcc: x@y", LastName: "<b>Smith</b>", PIN: "4711", Password: `s<e>c&r"et`, PINUncertain: true, MustChange: true, To: "manager", Job: 57}, lang)
		if err != nil {
			t.Fatal(err)
		}
		if strings.Contains(msg.Subject, "\n") || strings.Contains(msg.HTML, "<b>Smith") || !strings.Contains(msg.Text, `s<e>c&r"et`) ||
			!strings.Contains(msg.HTML, `s&lt;e&gt;c&amp;r&#34;et`) || strings.Count(msg.Text, "4711") != 1 || strings.Contains(msg.Text, "\n\n\n") {
			t.Errorf("%s:\n%s\n%s\n%s", lang, msg.Subject, msg.Text, msg.HTML)
		}
		if plain, err := m.Letter(Letter{UserID: "j", PIN: "4711", To: "user"}, lang); err != nil || len(plain.Text) >= len(msg.Text) || strings.Contains(plain.Text, "manager") {
			t.Errorf("%s: %v\n%s", lang, err, plain.Text)
		}
	}
}

func TestTextsOfOnesOwn(t *testing.T) {
	t.Parallel()
	folder := func(files map[string]string) string {
		dir := t.TempDir()
		for name, text := range files {
			if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		return dir
	}
	m, err := texter(t, folder(map[string]string{"value.nl.txt": "Subject: Pincode van {{.UserID}}\r\n\r\n{{.PIN}}\r\n", "README": "x"}), "en")
	if err != nil {
		t.Fatal(err)
	}
	if msg, err := m.Letter(Letter{UserID: "jan", PIN: "4711"}, "nl-BE"); err != nil || msg.Subject != "Pincode van jan" || msg.Text != "4711\n" || msg.HTML != "" {
		t.Errorf("%+v, %v", msg, err)
	}
	for want, files := range map[string]map[string]string{
		"value.de.txt:1": {"value.de.txt": "Subject: {{.PIN"},
		"value.de.txt:2:2: there is no field .Pin": {"value.de.txt": "Subject: x\n{{.Pin}}"},
		"there is no field .Pn":                    {"value.de.txt": "Subject: x\n{{if not .PIN}}{{if eq .To \"user\"}}{{else}}{{.Pn}}{{end}}{{end}}"},
		"there is no field .Counts":                {"value.de.txt": "Subject: x\n{{.Counts}}"},
		"is not known in mails":                    {"value.de.txt": "Subject: x\n{{range .PIN}}{{end}}"},
		"variables and | are not":                  {"value.de.txt": "Subject: x\n{{.PIN | not}}"},
		"ne does not take 1 argument":              {"value.de.txt": "Subject: x\n{{if ne .PIN}}{{end}}"},
		"takes no arguments":                       {"value.de.txt": "Subject: x\n{{.PIN .Password}}"},
		"not known in mails, and":                  {"value.de.txt": "Subject: x\n{{define \"x\"}}y{{end}}"},
		"function \"printf\" not defined":          {"value.de.txt": "Subject: x\n{{printf .PIN}}"},
		"not inside of < >":                        {"value.de.txt": "Subject: x\n", "value.de.html": "<a href=\"{{.UserID}}\">"},
		", a script or a style":                    {"value.de.txt": "Subject: x\n", "value.de.html": "<SCRIPT>x='{{.UserID}}'</script>"},
		"first line must be":                       {"value.de.txt": "Hello\n"},
		"is no language":                           {"value.german!.txt": "Subject: x\n"},
		"a template is named":                      {"pin.de.txt": "Subject: x\n"},
		"value.de.html has no text of":             {"value.de.html": "<p>x"},
	} {
		if _, err := texter(t, folder(files), "en"); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("want %q: %v", want, err)
		}
	}
	if _, err := texter(t, "/does/not/exist", "en"); err == nil {
		t.Error("a folder that is not there is taken")
	}
}

// What a template says is what Go's own would say.
func TestTemplatesAreGos(t *testing.T) {
	t.Parallel()
	f := fields{"A": "text", "B": "", "Yes": true, "No": false, "N": int64(7), "Zero": int64(0)}
	for _, text := range []string{
		"{{.A}} {{.Yes}} {{.N}} {{/* nothing */}}{{- .A -}} x",
		"{{if .A}}a{{else}}b{{end}}{{if .B}}a{{else}}b{{end}}{{if .N}}n{{end}}{{if .Zero}}z{{end}}{{if .No}}no{{else if .Yes}}yes{{end}}",
		"{{and .A .B}}|{{and .A .N}}|{{or .B .A}}|{{or .B .No}}|{{or .B .A .N}}|{{and .Yes .A .B}}|{{not .A}}|{{not .B}}",
		`{{if and (eq .A "text") (ne .A "other") (not .B)}}1{{end}}{{if eq .A "x" "text"}}2{{end}}{{if eq .N 7}}3{{end}}{{if or .B (and .Yes .No)}}4{{end}}{{if eq .Yes true}}5{{end}}`,
		`{{"quoted"}}{{7}}{{true}}`,
	} {
		ours, err := parseTemplate("t", text, f, false)
		if err != nil {
			t.Errorf("%s: %v", text, err)
			continue
		}
		var theirs strings.Builder
		if err := gotemplate.Must(gotemplate.New("t").Parse(text)).Execute(&theirs, map[string]any(f)); err != nil {
			t.Fatal(err)
		}
		if got := ours.fill(f); got != theirs.String() {
			t.Errorf("%s: %q, Go says %q", text, got, theirs.String())
		}
	}
}
