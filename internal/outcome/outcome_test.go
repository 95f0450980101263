package outcome

import (
	"flag"
	"fmt"
	"os"
	"strings"
	"testing"
)

var update = flag.Bool("update", false, "write docs/codes.md")

const codesDoc = "../../docs/codes.md"

// docs/codes.md is made from the table: go test ./internal/outcome -update
func TestCodesAreDocumented(t *testing.T) {
	var b strings.Builder
	b.WriteString("# Codes\n\nEvery user of a job ends with one result and one code. They are stable: scripts may depend on them.\n\n| code | result | what happened | what to do |\n| --- | --- | --- | --- |\n")
	seen := map[Code]bool{}
	for _, e := range Table() {
		if seen[e.Code] {
			t.Errorf("%s stands twice", e.Code)
		}
		seen[e.Code] = true
		var results []string
		for _, r := range e.Results {
			results = append(results, string(r))
		}
		uncertain := ""
		if e.Code.Uncertain() {
			uncertain = " (uncertain)"
		}
		fmt.Fprintf(&b, "| `%s` | %s%s | %s | %s |\n", e.Code, strings.Join(results, ", "), uncertain, e.Meaning, e.Action)
	}
	if *update {
		if err := os.WriteFile(codesDoc, []byte(b.String()), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	got, err := os.ReadFile(codesDoc)
	if err != nil {
		t.Fatal(err)
	}
	if string(got) != b.String() {
		t.Errorf("%s is not what the table says; write it anew: go test ./internal/outcome -update", codesDoc)
	}
}
