package main

import (
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"strings"
	"testing"

	"github.com/dirpin/dirpin/internal/lab"
)

// withDirectory adds an agreement with the directory of a test.
func (h *home) withDirectory(d *lab.Directory, more string) {
	h.Helper()
	config, err := os.ReadFile(h.dir + "/dirpin.yaml")
	if err != nil {
		h.Fatal(err)
	}
	h.write("bind.pw", d.BindPassword(), 0o600)
	h.write("dirpin.yaml", string(config)+fmt.Sprintf("agreements:\n  - name: corp\n    servers: [%s]\n    ca_file: %s\n    bind: {dn: %q, password: {file: %s/bind.pw}}\n    base: %s\n%s",
		d.TLSURL(), d.CAFile(), d.BindDN(), h.dir, d.Base, more), 0o644)
}

// codes runs a command that prints an object a user and returns the code of
// each.
func (h *home) codes(args ...string) map[string]string {
	h.Helper()
	cmd := h.command(args...)
	cmd.Stderr = &h.out
	out, err := cmd.Output()
	if err != nil {
		h.Fatalf("%v: %v: %s", args, err, h.out.String())
	}
	codes := map[string]string{}
	for line := range strings.Lines(string(out)) {
		var x struct {
			UserID string `json:"user_id"`
			Code   string `json:"code"`
		}
		if err := json.Unmarshal([]byte(line), &x); err != nil {
			h.Fatalf("%v: %q", err, line)
		}
		if x.UserID != "" {
			codes[x.UserID] = x.Code
		}
	}
	return codes
}

func (h *home) expect(code, text string, args ...string) {
	h.Helper()
	out, err := h.dirpin("", args...)
	if codeOf(err) != code || !strings.Contains(out, text) {
		h.Fatalf("%v: exit %s, want %s and %q\n%s", args, codeOf(err), code, text, out)
	}
}

// A job that asks the directory itself works on those whom it names now and
// the store knows under the same id; never on the others.
func TestJobAsksTheDirectory(t *testing.T) {
	d := lab.New(t, lab.OpenLDAP)
	h := newHome(t, "")
	h.withDirectory(d, "    guard: {max_deactivate: 5}\n")
	person := func(id string, more map[string][]string) string {
		all := map[string][]string{"departmentNumber": {"12"}}
		maps.Copy(all, more)
		return d.AddPerson(id, all)
	}
	stays, moves, renamed := person("stays", nil), person("moves", map[string][]string{"departmentNumber": {"99"}}), person("renamed", nil)
	person("leaves", map[string][]string{"departmentNumber": {"12", "13"}})
	h.expect("0", "added 4", "sync")

	d.Set(moves, "departmentNumber", "12")
	d.Rename(renamed, "uid=othername", "")
	person("new", nil)
	d.Delete("uid=leaves," + d.Base)
	_ = stays
	job := "select: {source: corp, %s}\nreset: {pin: {generate: {length: 6}}}\ndeliver: none\n"
	h.write("query.yaml", fmt.Sprintf(job, `query: {where: [{field: department, op: is exactly, text: "12"}]}`), 0o644)
	h.write("state/lists/ids.txt", "stays\nleaves\nNEW\nothername\nstays\n", 0o644)
	h.write("state/lists/departments.txt", "12\n99\n", 0o644)
	h.write("file.yaml", fmt.Sprintf(job, "file: {name: ids.txt, field: user_id}"), 0o644)
	h.write("departments.yaml", fmt.Sprintf(job, "file: {name: departments.txt, field: department}"), 0o644)
	h.write("state/lists/pins.csv", "user_id,pin\nstays,907135\nnew,640372\ngone,582913\n", 0o600)
	h.write("csv.yaml", "select: {source: corp, csv: {name: pins.csv}}\nreset: {}\n", 0o644)
	for _, tt := range []struct {
		job  string
		want map[string]string
	}{
		{"query.yaml", map[string]string{"stays": "ok", "moves": "ok", "renamed": "unknown-user", "new": "unknown-user"}},
		{"file.yaml", map[string]string{"stays": "ok", "leaves": "not-found", "new": "unknown-user", "renamed": "unknown-user"}},
		{"departments.yaml", map[string]string{"stays": "ok", "moves": "ok", "renamed": "unknown-user", "new": "unknown-user", "99": "not-found"}},
		{"csv.yaml", map[string]string{"stays": "ok", "new": "unknown-user", "gone": "not-found"}},
	} {
		if got := h.codes("--json", "run", tt.job, "--dry-run"); fmt.Sprint(got) != fmt.Sprint(tt.want) {
			t.Errorf("%s: %v, want %v", tt.job, got, tt.want)
		}
	}
	h.expect("1", "Updated 2, skipped 0, flagged 0, failed 2, not run 0 of 4 selected.", "run", "query.yaml", "--yes")
	pins, _ := h.accepted()
	if len(pins) != 2 || pins["stays"] == nil || pins["moves"] == nil {
		t.Errorf("pushed: %v", pins)
	}
	h.expect("0", "othername", "find", "--agreement", "corp", "user_id begins with other")
	h.expect("0", "agreement corp: the filter", "doctor")
	h.expect("2", "there is no agreement nowhere", "find", "--agreement", "nowhere")

	// After a synchronization all are known. A directory that does not answer
	// fails the job as a whole.
	h.expect("0", "", "sync")
	if got := h.codes("--json", "run", "query.yaml", "--dry-run"); got["new"] != "ok" || got["othername"] != "ok" || len(got) != 4 {
		t.Errorf("after the synchronization: %v", got)
	}
	d.Stop()
	h.expect("4", "no server can be used", "doctor")
	h.expect("4", "asking the directory of corp", "run", "query.yaml", "--dry-run")
	h.expect("4", "asking the directory of corp", "run", "query.yaml", "--yes")
	h.expect("4", "corp", "find", "--agreement", "corp")
	pins, _ = h.accepted()
	delete(pins, "") // what doctor asks a hook names nobody
	if len(pins) != 2 {
		t.Errorf("pushed: %v", pins)
	}
}

// The directory answers when the plan is shown and is gone when the job opens.
func TestJobFailsWhereTheAnswerIsCut(t *testing.T) {
	d := lab.New(t, lab.OpenLDAP)
	for i := range 50 {
		d.AddPerson(fmt.Sprintf("u%d", i), nil)
	}
	proxy := lab.NewProxy(t, d.Addr())
	h := newHome(t, "")
	h.withDirectory(d, "")
	h.expect("0", "added 50", "sync")
	config, err := os.ReadFile(h.dir + "/dirpin.yaml")
	if err != nil {
		t.Fatal(err)
	}
	h.write("dirpin.yaml", strings.Replace(string(config), "servers: ["+d.TLSURL()+"]", "insecure_plaintext: true\n    servers: [ldap://"+proxy.Addr()+"]", 1), 0o644)
	h.write("job.yaml", "select: {source: corp, query: all}\nreset: {pin: {generate: {length: 6}}}\ndeliver: none\n", 0o644)
	proxy.CutAfter(1 << 40)
	h.expect("0", "50 selected", "run", "job.yaml", "--dry-run")
	once := 1<<40 - proxy.Left()
	proxy.CutAfter(2*once - 2000)
	h.expect("4", "Job 1 failed", "run", "job.yaml", "--yes")
	h.expect("0", `"state":"failed"`, "--json", "jobs", "show", "1")
	if _, err := os.Stat(h.dir + "/journal"); err == nil {
		t.Error("something was pushed")
	}
}
