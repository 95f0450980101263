// Package arrow holds the test of which package may import which.
package arrow

import (
	"encoding/json"
	"errors"
	"io"
	"os/exec"
	"slices"
	"strings"
	"testing"
)

const module = "github.com/dirpin/dirpin/"

// may lists what each package may import of ours, besides the words that
// everyone shares. A new package is added here on purpose, or not at all.
var may = map[string][]string{
	"internal/user":                    {},
	"internal/secret":                  {},
	"internal/outcome":                 {},
	"internal/strictyaml":              {},
	"internal/roster":                  {},
	"internal/child":                   {},
	"internal/clock":                   {},
	"internal/incarnation":             {},
	"internal/localca":                 {},
	"internal/slapd":                   {"internal/child", "internal/localca"},
	"internal/fakeunity":               {"internal/localca"},
	"internal/acl":                     {},
	"internal/winservice":              {},
	"config":                           {"internal/acl", "internal/strictyaml"},
	"internal/credential":              {"config", "internal/acl"},
	"internal/webhook":                 {},
	"internal/delivery":                {"config", "internal/webhook"},
	"internal/voicemail":               {"config", "internal/webhook"},
	"internal/store":                   {"internal/roster"},
	"internal/logon":                   {"config", "internal/credential", "internal/store"},
	"ldapsync":                         {"config", "internal/roster", "internal/store", "ldapsync/tap"},
	"ldapsync/tap":                     {},
	"resetjob":                         {"config", "internal/clock", "internal/credential", "internal/delivery", "internal/incarnation", "internal/store", "internal/strictyaml", "internal/voicemail"},
	"internal/watch":                   {"config", "internal/acl", "internal/store", "internal/strictyaml", "resetjob"},
	"internal/writeback":               {"config", "internal/voicemail", "ldapsync"},
	"internal/daemon":                  {"config", "internal/clock", "internal/store", "internal/voicemail", "internal/web", "ldapsync", "resetjob", "internal/watch"},
	"internal/web":                     {"internal/store", "internal/voicemail", "ldapsync"},
	"cmd/dirpin":                       {"config", "internal/daemon", "ldapsync", "resetjob", "internal/credential", "internal/delivery", "internal/fakeunity", "internal/incarnation", "internal/logon", "internal/slapd", "internal/store", "internal/strictyaml", "internal/voicemail", "internal/writeback", "internal/watch", "internal/acl", "internal/winservice", "packaging/systemd"},
	"internal/lab":                     {"internal/child", "internal/localca", "internal/slapd"},
	"internal/labstore":                {"internal/lab", "internal/store"},
	"ldapsync/storetest":               {"ldapsync", "internal/roster"},
	"internal/arrow":                   {},
	"packaging/hooks":                  {},
	"packaging/systemd":                {},
	"internal/syncbench":               {"config", "internal/roster", "internal/slapd", "internal/store", "ldapsync", "ldapsync/tap"},
	"internal/voicemail/voicemailtest": {"internal/voicemail", "config"},
}

var shared = []string{"internal/user", "internal/secret", "internal/outcome"}

// testsOnly are imported by tests alone.
var testsOnly = []string{"internal/lab", "internal/labstore", "ldapsync/storetest", "internal/voicemail/voicemailtest"}

func TestImportsPointOneWay(t *testing.T) {
	out, err := exec.Command("go", "list", "-json=ImportPath,Imports", module+"...").Output()
	if err != nil {
		t.Fatal(err)
	}
	dec := json.NewDecoder(strings.NewReader(string(out)))
	for {
		var p struct {
			ImportPath string
			Imports    []string
		}
		if err := dec.Decode(&p); errors.Is(err, io.EOF) {
			return
		} else if err != nil {
			t.Fatal(err)
		}
		name := strings.TrimPrefix(p.ImportPath, module)
		allowed, known := may[name]
		if !known {
			t.Errorf("package %s is not in the table of who may import whom", name)
			continue
		}
		for _, i := range p.Imports {
			ours, ok := strings.CutPrefix(i, module)
			if !ok || slices.Contains(allowed, ours) || slices.Contains(shared, ours) && (!slices.Contains(shared, name) || name == "internal/outcome") {
				continue
			}
			if slices.Contains(testsOnly, ours) {
				t.Errorf("%s imports %s, which is for tests", name, ours)
				continue
			}
			t.Errorf("%s must not import %s", name, ours)
		}
	}
}
