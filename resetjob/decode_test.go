package resetjob

import (
	"encoding/base64"
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/txtar"

	"github.com/dirpin/dirpin/config"
	"github.com/dirpin/dirpin/internal/secret"
	"github.com/dirpin/dirpin/internal/strictyaml"
)

var update = flag.Bool("update", false, "write what the decoder says into testdata/decode")

// testOptions are those of a folder without signers that takes plain secrets.
func testOptions() ParseOptions {
	return ParseOptions{
		Now:          time.Date(2026, 11, 24, 12, 0, 0, 0, time.UTC),
		PlainAllowed: true,
		Agreements:   []config.Agreement{{Name: "corp", Passwords: "directory"}, {Name: "lab", Passwords: "local"}, {Name: "ad", Passwords: "write_back"}},
		Ceilings:     config.Limits{MaxUsers: 1000},
		Credentials: config.Credentials{
			PIN:      config.Policy{MinLength: 4, MaxLength: 8, History: 3},
			Password: config.Policy{MinLength: 8, History: 5},
		},
		Mail:       &config.Mail{Allow: []string{"@example.com", "boss@example.org"}},
		CheckGiven: testPolicy,
		OpenSealed: openTestSealed,
	}
}

// sealForTest makes what isSealed takes and openTestSealed opens.
func sealForTest(value string) string {
	return base64.StdEncoding.EncodeToString([]byte(sealedIntro + value))
}

func openTestSealed(sealed string) (secret.Value, error) {
	data, err := base64.StdEncoding.DecodeString(sealed)
	value := strings.TrimPrefix(string(data), sealedIntro)
	if err != nil || value == "foreign" {
		return secret.Value{}, errors.New("the value is sealed for somebody else")
	}
	return secret.New(value), nil
}

// optionsOf changes the options by the words of an archive's comment.
func optionsOf(t *testing.T, comment []byte) ParseOptions {
	opts := testOptions()
	for _, line := range strings.Split(string(comment), "\n") {
		words, ok := strings.CutPrefix(line, "options:")
		if !ok {
			continue
		}
		for _, word := range strings.Fields(words) {
			switch word {
			case "signed":
				opts.Signed = true
			case "no-plain":
				opts.PlainAllowed = false
			case "references":
				opts.AllowReferences = true
			case "foreground":
				opts.Foreground = true
			case "accepted":
				opts.Accepted = true
			case "no-key":
				opts.OpenSealed = nil
			case "no-mail":
				opts.Mail = nil
			default:
				t.Fatalf("unknown option %s", word)
			}
		}
	}
	return opts
}

// describeJob writes faults, or warnings and the job with its values. Of the
// job it leaves out what is as TestParseJobDefaults says.
func describeJob(t *testing.T, job *Job, faults strictyaml.Faults) string {
	var b strings.Builder
	for _, f := range faults {
		fmt.Fprintln(&b, f)
	}
	if job == nil {
		return b.String()
	}
	data, err := EncodeJob(job)
	if err != nil {
		t.Fatal(err)
	}
	fmt.Fprintln(&b, strings.NewReplacer(
		`"version":1,`, ``,
		`"settings":{"must_change":true,"cannot_change":null,"does_not_expire":null,"locked":null,"clear_failed_attempts":true},`, ``,
		`"ldap_synced":{"password":"skip","pin":"reset"},"ldap_inactive":{"password":"skip","pin":"skip"},`, ``,
		`"run":{"now":true},`, ``, `"limits":{},`, ``, `,"deliver":{}`, ``,
	).Replace(string(data)))
	for _, x := range []struct {
		kind string
		v    *Value
	}{{givenPIN, job.Reset.PIN}, {givenPassword, job.Reset.Password}} {
		if x.v != nil && x.v.Generate == 0 {
			fmt.Fprintf(&b, "%s: given %q", x.kind, x.v.Given.Reveal())
			if x.v.Sealed != "" {
				fmt.Fprintf(&b, " sealed %q", x.v.Sealed)
			}
			if x.v.Reference != nil {
				fmt.Fprintf(&b, " reference %+v", *x.v.Reference)
			}
			fmt.Fprintln(&b)
		}
	}
	return b.String()
}

// Each archive has job files and, beside each, what the decoder says of it.
// Rewrite them with: go test ./resetjob -run TestParseJob -update
func TestParseJob(t *testing.T) {
	archives, err := filepath.Glob("testdata/decode/*.txtar")
	if err != nil || len(archives) == 0 {
		t.Fatalf("no archives: %v", err)
	}
	for _, path := range archives {
		t.Run(strings.TrimSuffix(filepath.Base(path), ".txtar"), func(t *testing.T) {
			archive, err := txtar.ParseFile(path)
			if err != nil {
				t.Fatal(err)
			}
			opts := optionsOf(t, archive.Comment)
			wants := map[string]string{}
			for _, f := range archive.Files {
				if name, ok := strings.CutSuffix(f.Name, ".want"); ok {
					wants[name] = string(f.Data)
				}
			}
			fresh := &txtar.Archive{Comment: archive.Comment}
			for _, f := range archive.Files {
				if strings.HasSuffix(f.Name, ".want") {
					continue
				}
				text := strings.ReplaceAll(string(f.Data), "SEALED(4711)", sealForTest("4711"))
				text = strings.ReplaceAll(text, "SEALED(47)", sealForTest("47"))
				text = strings.ReplaceAll(text, "SEALED(foreign)", sealForTest("foreign"))
				job, faults := ParseJob(f.Name, []byte(text), opts)
				got := describeJob(t, job, faults)
				fresh.Files = append(fresh.Files, f, txtar.File{Name: f.Name + ".want", Data: []byte(got)})
				if !*update && got != wants[f.Name] {
					t.Errorf("%s:\ngot\n%s\nwant\n%s", f.Name, got, wants[f.Name])
				}
			}
			if *update {
				if err := os.WriteFile(path, txtar.Format(fresh), 0o644); err != nil {
					t.Fatal(err)
				}
			}
		})
	}
}
