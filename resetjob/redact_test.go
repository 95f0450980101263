package resetjob

import (
	"strings"
	"testing"

	"pgregory.net/rapid"
)

func TestRedactKeepsWhatIsSurelyPlain(t *testing.T) {
	t.Parallel()
	in := "name: x\nselect:\n  query:\n    match: any\n    where:\n      - {field: department, op: is exactly, text: \"12, 14\"}\n\treset:\n    pin: 471108\n    must_change: true\nrun: now\nlimits:\n  max_users: 5\n"
	want := "(removed)\nselect:\n  query:\n    match: any\n    where:\n      - {field: department, op: is exactly, text: \"12, 14\"}\n\treset:\n    (removed)\n    must_change: true\nrun: now\nlimits:\n  max_users: 5\n"
	if _, got, _ := strings.Cut(string(Redact([]byte(in))), "\n"); got != want {
		t.Errorf("got\n%s", got)
	}
}

// However a file is broken, the secret that stands in it is gone, and what may
// belong to it.
func TestRedactBrokenProperty(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		shape := rapid.SampledFrom([]string{
			"name: x\nselect: {query: all}\nreset:\n  pin: %s\n  must_change: true\nrun: now\n",
			"select: {query: all}\nreset: {pin: %s, locked: true}\ndeliver: none\n",
			"reset:\n  password: |\n    abc\n    %s\nrun: now\n",
			"reset:\n  password: >-\n    %s\n    version: 1\n",
			"reset:\n  password: \"abc\n    %s\"\nselect: {query: all}\n",
			"{\"reset\": {\"pin\": \"%s\"},\n \"select\": {\"query\": \"all\"}}\n",
			"user_id,pin\nalice,%s\n",
		}).Draw(t, "shape")
		text := []rune(strings.Replace(shape, "%s", "Zq-471108-Zq", 1))
		for range rapid.IntRange(1, 6).Draw(t, "edits") {
			at := rapid.IntRange(0, len(text)).Draw(t, "at")
			if what := rapid.SampledFrom([]rune("\t\n{}[]\"'|>#&*:, \x00\u00fc-")).Draw(t, "what"); rapid.Bool().Draw(t, "insert") || at == len(text) {
				text = append(text[:at], append([]rune{what}, text[at:]...)...)
			} else {
				text = append(text[:at], text[at+1:]...)
			}
		}
		out := string(Redact([]byte(string(text))))
		for _, piece := range []string{"Zq", "471", "108", "11"} {
			if strings.Contains(out, piece) {
				t.Fatalf("%q becomes\n%s", string(text), out)
			}
		}
	})
}
