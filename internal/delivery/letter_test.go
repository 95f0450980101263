package delivery

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

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
		"value.de.txt:1":               {"value.de.txt": "Subject: {{.PIN"},
		"can't evaluate field Pin":     {"value.de.txt": "Subject: x\n{{.Pin}}"},
		"first line must be":           {"value.de.txt": "Hello\n"},
		"is no language":               {"value.german!.txt": "Subject: x\n"},
		"a template is named":          {"pin.de.txt": "Subject: x\n"},
		"value.de.html has no text of": {"value.de.html": "<p>x"},
	} {
		if _, err := texter(t, folder(files), "en"); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("want %q: %v", want, err)
		}
	}
	if _, err := texter(t, "/does/not/exist", "en"); err == nil {
		t.Error("a folder that is not there is taken")
	}
}
