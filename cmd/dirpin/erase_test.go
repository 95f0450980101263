package main

import (
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/dirpin/dirpin/internal/lab"
)

// Whoever was erased is found in no file of the state folder, and nobody else
// is missing.
func TestErasedPeopleAreFoundNowhere(t *testing.T) {
	d := lab.New(t, lab.OpenLDAP)
	h := newHome(t, "")
	h.withDirectory(d, "")
	const id, first, last = "ersula.quist", "Ersula", "Quistenborg"
	dn := d.AddPerson(id, map[string][]string{"givenName": {first}, "sn": {last}, "mail": {"ersula@example.org"}, "departmentNumber": {"12"}})
	d.AddPerson("below", map[string][]string{"manager": {dn}})
	d.AddPerson("other", nil)
	h.expect("0", "added 3", "sync")
	h.write("all.yaml", "select: {query: all}\nreset: {pin: {generate: {length: 6}}}\ndeliver: none\n", 0o644)
	h.expect("0", "Updated 3", "run", "all.yaml", "--yes")
	h.write("state/lists/ids.txt", id+"\nother\nnobody\n", 0o644)
	h.write("same.yaml", "select: {file: {name: ids.txt, field: user_id}}\nreset: {pin: \"907135\"}\n", 0o644)
	h.expect("1", "failed 1", "run", "same.yaml", "--yes")
	h.expect("1", "failed 3", "run", "same.yaml", "--yes") // in history
	if out, err := h.dirpin("640372\n", "users", "reset", id, "--pin"); err != nil {
		t.Fatal(err, out)
	}
	h.expect("0", id, "users", "export", id)
	h.expect("2", "nothing was done", "users", "erase", id)
	h.expect("0", "4 jobs and 4 reports", "users", "erase", strings.ToUpper(id), "--yes")

	os.Remove(h.dir + "/state/lists/ids.txt")
	err := filepath.WalkDir(h.dir+"/state", func(path string, e fs.DirEntry, err error) error {
		if err != nil || !e.Type().IsRegular() {
			return err
		}
		text, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		for _, trace := range []string{id, first, last, "ersula@example.org"} {
			if strings.Contains(string(text), trace) {
				t.Errorf("%s holds %q", path, trace)
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	for n, want := range map[string]string{"1-all": "other", "2-same": "nobody", "3-same": "other"} {
		text, err := os.ReadFile(h.dir + "/state/reports/" + n + "/results.csv")
		if err != nil || !strings.Contains(string(text), "\""+want+"\"") || strings.Count(string(text), "\"(erased)\"") != 1 {
			t.Errorf("%s: %v\n%s", n, err, text)
		}
	}
	h.expect("2", "nothing is held", "users", "erase", id, "--yes")
	if u := h.user("below"); u["manager"] != "" {
		t.Errorf("whom the erased one led: %v", u)
	}
	// The directory has the person still, who stays erased.
	h.expect("0", "added 0, updated 0", "sync")
	h.expect("0", "added 0", "sync", "--full")
	h.expect("2", "there is no user", "users", "show", id)
	h.expect("0", "Updated 3", "jobs", "show", "1")
}
