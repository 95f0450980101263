//go:build mutants

package resetjob

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"
)

// TestMutants switches every rule off in turn, and expects TestModel to find
// out, or the test that is named with it. MUTANT names some of them only, as -run
// does.
func TestMutants(t *testing.T) {
	only := regexp.MustCompile(os.Getenv("MUTANT"))
	var survived []string
	for _, m := range readMutants(t) {
		if !only.MatchString(m.name) {
			continue
		}
		begun := time.Now()
		out, killed := m.run(t)
		fmt.Printf("%-7s %4.0fs  %s\n", map[bool]string{true: "killed", false: "SURVIVED"}[killed], time.Since(begun).Seconds(), m.name)
		if !killed {
			survived = append(survived, m.name)
			continue
		}
		if m.test == "TestModel" {
			fmt.Println(brief(out))
		}
	}
	if len(survived) > 0 {
		t.Errorf("nobody notices that these are switched off:\n%s", strings.Join(survived, "\n"))
	}
}

// run runs the model, or the mutant's own test, against the mutant and tells whether it failed.
func (m mutant) run(t *testing.T) (string, bool) {
	path, source := m.source(t)
	dir := t.TempDir()
	mutated, overlay := filepath.Join(dir, "mutated.go"), filepath.Join(dir, "overlay.json")
	replace, _ := json.Marshal(map[string]map[string]string{"Replace": {path: mutated}})
	for name, data := range map[string][]byte{mutated: []byte(strings.Replace(source, m.old, m.new, 1)), overlay: replace} {
		if err := os.WriteFile(name, data, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	out, err := exec.Command("go", "test", "-overlay", overlay, "-vet=off", "-count=1", "-run", "^"+m.test+"$", ".",
		"-timeout=1h", "-rapid.checks=1500", "-rapid.nofailfile", "-rapid.shrinktime=3s").CombinedOutput()
	if strings.Contains(string(out), "[build failed]") || strings.Contains(string(out), "[setup failed]") {
		t.Fatalf("%s: the mutant does not build:\n%s", m.name, out)
	}
	return string(out), err != nil
}

// steps of a story that say why it ended as it did.
var steps = regexp.MustCompile(`P\d+ (starts|is killed|is interrupted)|sends|mailbox|sync|copy|copied|chooses|removes the lock|nothing any more|cannot be written|BROKEN`)

// brief is what the shortest story that rapid has found came to.
func brief(out string) string {
	_, story, found := strings.Cut(out, "failed after")
	if _, first, ok := strings.Cut(out, "the first story:"); !found && ok {
		story = first // it was not told again
	}
	var lines []string
	for _, line := range strings.Split(story, "\n")[1:] {
		if steps.MatchString(line) {
			lines = append(lines, strings.Join(strings.Fields(line), " "))
		}
		if strings.Contains(line, "BROKEN") {
			break
		}
	}
	return "    " + strings.Join(lines[max(0, len(lines)-9):], "\n    ")
}
