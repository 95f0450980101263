package main

import (
	"encoding/json"
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/dirpin/dirpin/internal/lab"
)

// news returns the changes and counts that `sync --json` prints.
func (h *home) news(code string, args ...string) (changes []string, counts map[string]any) {
	h.Helper()
	cmd := h.command(append([]string{"--json", "sync"}, args...)...)
	cmd.Stderr = &h.out
	out, err := cmd.Output()
	if codeOf(err) != code {
		h.Fatalf("sync %v: exit %s, want %s: %s%s", args, codeOf(err), code, out, h.out.String())
	}
	for line := range strings.Lines(string(out)) {
		counts = nil
		if err := json.Unmarshal([]byte(line), &counts); err != nil {
			h.Fatalf("%v: %q", err, line)
		}
		if counts["change"] != nil {
			if len(counts) != 5 || counts["agreement"] == "" {
				h.Errorf("a change has other keys: %s", line)
			}
			changes = append(changes, fmt.Sprintf("%v %v %v %v", counts["change"], counts["user_id"], counts["dn"], counts["reason"]))
		}
	}
	return changes, counts
}

func (h *home) replace(file, from, to string) {
	h.Helper()
	text, err := os.ReadFile(h.dir + "/" + file)
	if err != nil || !strings.Contains(string(text), from) {
		h.Fatalf("%s has no %q (%v)", file, from, err)
	}
	h.write(file, strings.ReplaceAll(string(text), from, to), 0o644)
}

func (h *home) user(id string) map[string]any {
	h.Helper()
	out, err := h.command("--json", "users", "show", id).Output()
	if err != nil {
		h.Fatalf("users show %s: %v", id, err)
	}
	var u map[string]any
	if err := json.Unmarshal(out, &u); err != nil {
		h.Fatal(err)
	}
	return u
}

// One object a change, then one an agreement, as scripts read them.
func TestSyncNamesWhoLeftAndReturned(t *testing.T) {
	d := lab.New(t, lab.OpenLDAP)
	h := newHome(t, "")
	h.withDirectory(d, "    guard: {max_deactivate: 2}\n    interval: 12h\n")
	anna := d.AddPerson("anna", nil)
	d.AddPerson("berta", nil)
	d.Add("cn=noid,"+d.Base, map[string][]string{"objectClass": {"inetOrgPerson"}, "sn": {"X"}, "uid": {"  "}})
	changes, counts := h.news("0")
	if fmt.Sprint(changes) != "[refused  cn=noid,"+d.Base+" user-id-missing: the entry has no uid]" || counts["added"] != 2.0 || counts["refused"] != 1.0 || counts["agreement"] != "corp" || counts["entries_per_second"] == nil {
		t.Errorf("first load: %q, %v", changes, counts)
	}
	d.Delete("cn=noid," + d.Base)
	h.write("pin.txt", "907135", 0o600)
	if out, err := h.dirpin("907135\n", "users", "reset", "anna", "--pin"); err != nil {
		t.Fatal(err, out)
	}
	d.Rename(anna, "uid=anna", d.Suffix())
	changes, counts = h.news("0")
	if fmt.Sprint(changes) != "[deactivated anna "+anna+" absent]" || counts["deactivated"] != 1.0 {
		t.Errorf("%q, %v", changes, counts)
	}
	if u := h.user("anna"); u["status"] != "ldap-inactive" || u["inactive_reason"] != "absent" || u["pin"] == nil {
		t.Errorf("anna is %v", u)
	}
	d.Rename("uid=anna,"+d.Suffix(), "uid=anna", d.Base)
	if changes, _ = h.news("0"); fmt.Sprint(changes) != "[returned anna "+anna+" ]" {
		t.Errorf("%q", changes)
	}
	if out, err := h.dirpin("907135\n", "verify", "anna", "--pin"); err != nil {
		t.Errorf("who returned has lost the PIN: %v %s", err, out)
	}
	d.Delete(anna)
	d.Delete("uid=berta," + d.Base)
	for range 2 {
		changes, counts = h.news("3")
		if len(changes) != 0 || counts["pending"] != 2.0 || counts["deactivated"] != 0.0 {
			t.Errorf("held: %q, %v", changes, counts)
		}
	}
	h.expect("0", "deactivated 2", "sync", "--accept-removals")
}

func TestLocalUsersAreAdoptedAndConverted(t *testing.T) {
	d := lab.New(t, lab.OpenLDAP)
	h := newHome(t, "")
	h.withDirectory(d, "")
	h.expect("0", "", "users", "add", "Anna", "--last-name", "Local")
	if out, err := h.dirpin("907135\n", "users", "reset", "anna", "--pin"); err != nil {
		t.Fatal(err, out)
	}
	if out, err := h.dirpin("long enough a word\n", "users", "reset", "anna", "--password"); err != nil {
		t.Fatal(err, out)
	}
	h.expect("2", "no entry of a directory claims", "users", "adopt", "anna")
	boss := d.AddPerson("boss", nil)
	anna := d.AddPerson("anna", map[string][]string{"manager": {boss}})
	d.AddPerson("below", map[string][]string{"manager": {anna}})
	if changes, _ := h.news("0"); len(changes) != 1 || !strings.HasPrefix(changes[0], "refused anna "+anna+" user-id-local") {
		t.Errorf("%q", changes)
	}
	h.expect("0", "belongs to corp", "users", "adopt", "ANNA")
	if u := h.user("anna"); u["status"] != "ldap-active" || u["user_id"] != "anna" || u["manager"] != "boss" || u["pin"] == nil || u["password"] != nil {
		t.Errorf("adopted: %v", u)
	}
	if u := h.user("below"); u["manager"] != "anna" {
		t.Errorf("whom the adopted one leads: %v", u)
	}
	h.expect("2", "no local user", "users", "adopt", "anna")
	h.expect("0", "updated 0", "sync")

	h.expect("2", "--local", "users", "convert", "anna")
	h.expect("0", "is a local user now", "users", "convert", "anna", "--local")
	if u := h.user("anna"); u["status"] != "local" || u["agreement"] != "" || u["dn"] != "" || u["key"] != "" || u["pin"] == nil {
		t.Errorf("converted: %v", u)
	}
	h.expect("2", "a local user already", "users", "convert", "anna", "--local")
	d.Set(anna, "sn", "Changed") // and still nobody's
	h.expect("0", "refused 0", "sync", "--full")
	if u := h.user("anna"); u["status"] != "local" || u["last_name"] == "Changed" {
		t.Errorf("after a synchronization: %v", u)
	}
	if u := h.user("below"); u["manager"] != "anna" {
		t.Errorf("whom the converted one leads: %v", u)
	}
	h.expect("0", "was converted once", "users", "adopt", "anna")
	h.expect("0", "refused 1", "sync")
	h.expect("0", "belongs to corp", "users", "adopt", "anna")
	if u := h.user("anna"); u["status"] != "ldap-active" || u["last_name"] != "Changed" || u["pin"] == nil {
		t.Errorf("adopted again: %v", u)
	}
	out, err := h.command("users", "export", "anna").Output()
	var export struct {
		UserID string           `json:"user_id"`
		Jobs   []map[string]any `json:"jobs"`
	}
	if err2 := json.Unmarshal(out, &export); err != nil || err2 != nil || export.UserID != "anna" || len(export.Jobs) != 2 || export.Jobs[0]["code"] != "ok" || strings.Contains(string(out), "argon2") {
		t.Errorf("exported: %v, %v, %s", err, err2, out)
	}
}

func TestAgreementsEndOrGoOnUnderAnotherName(t *testing.T) {
	d := lab.New(t, lab.OpenLDAP)
	h := newHome(t, "")
	h.withDirectory(d, "")
	for i := range 5 {
		d.AddPerson(fmt.Sprintf("u%d", i), nil)
	}
	h.expect("0", "never synchronized", "agreements", "list")
	h.expect("0", "added 5", "sync")
	h.expect("0", "configured", "agreements", "list")
	h.write("job.yaml", "select: {query: all}\nreset: {pin: {generate: {length: 6}}}\ndeliver: none\n", 0o644)
	if got := h.codes("--json", "run", "job.yaml", "--dry-run"); got["u1"] != "ok" {
		t.Errorf("before: %v", got)
	}
	h.expect("2", "still configured", "agreements", "remove", "corp", "--keep-as-local")

	// Renamed without saying so.
	h.replace("dirpin.yaml", "name: corp", "name: new")
	h.expect("0", "orphaned", "agreements", "list")
	h.expect("2", "renamed_from: corp", "sync")
	if got := h.codes("--json", "run", "job.yaml", "--dry-run"); got["u1"] != "ldap-inactive" || len(got) != 5 {
		t.Errorf("orphaned: %v", got)
	}
	h.replace("dirpin.yaml", "name: new", "name: new\n    renamed_from: corp")
	h.expect("2", "renamed_from", "agreements", "remove", "corp", "--remove-users")
	h.expect("0", "removed 0", "sync")
	h.expect("0", "removed 0", "sync") // the line may stay
	if u := h.user("u1"); u["agreement"] != "new" || u["status"] != "ldap-active" {
		t.Errorf("renamed: %v", u)
	}

	// Taken out: nothing changes until somebody says what.
	h.replace("dirpin.yaml", "    renamed_from: corp\n", "")
	h.replace("dirpin.yaml", "name: new", "name: other")
	h.replace("dirpin.yaml", "base: "+d.Base, "base: ou=services,"+d.Suffix())
	h.expect("0", "new is configured no more", "sync")
	h.expect("0", "warning: agreement new is configured no more", "check")
	h.expect("4", "new is configured no more", "doctor") // and the other finds nobody
	if u := h.user("u1"); u["status"] != "ldap-active" || u["agreement"] != "new" {
		t.Errorf("taken out: %v", u)
	}
	h.expect("2", "what becomes of the users", "agreements", "remove", "new")
	h.expect("2", "there is no agreement", "agreements", "remove", "corp", "--keep-as-local")
	h.expect("0", "5 users are local users now", "agreements", "remove", "new", "--keep-as-local")
	if u := h.user("u1"); u["status"] != "local" || u["agreement"] != "" || u["key"] != "" {
		t.Errorf("kept: %v", u)
	}
	out, err := h.dirpin("", "--json", "agreements", "list")
	if err != nil || strings.Contains(out, `"new"`) {
		t.Errorf("%v: %s", err, out)
	}

	// Its people come back under an agreement, and then go with it.
	h.replace("dirpin.yaml", "base: ou=services,"+d.Suffix(), "base: "+d.Base+"\n    adopt_local: true")
	h.expect("0", "added 5", "sync", "--accept-removals")
	h.replace("dirpin.yaml", "name: other", "name: last")
	h.replace("dirpin.yaml", "base: "+d.Base, "base: ou=services,"+d.Suffix())
	h.expect("0", "5 users were removed", "agreements", "remove", "other", "--remove-users")
	h.expect("2", "there is no user u1", "users", "show", "u1")
}
