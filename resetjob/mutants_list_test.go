package resetjob

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// mutant is the program with one rule switched off.
type mutant struct {
	name, file, old, new string
	test                 string // that finds it out
}

func readMutants(t *testing.T) (ms []mutant) {
	data, err := os.ReadFile("testdata/mutants.txt")
	if err != nil {
		t.Fatal(err)
	}
	for _, block := range strings.Split(string(data), "\n\n") {
		lines := strings.Split(strings.TrimSpace(block), "\n")
		if strings.HasPrefix(lines[0], "#") {
			continue
		}
		test := "TestModel"
		if len(lines) == 5 {
			test, lines = strings.TrimPrefix(strings.TrimSpace(lines[4]), "! "), lines[:4]
		}
		if len(lines) != 4 {
			t.Fatalf("read testdata/mutants.txt: this is no mutant:\n%s", block)
		}
		ms = append(ms, mutant{name: lines[0], file: strings.TrimSpace(lines[1]), test: test,
			old: strings.TrimPrefix(strings.TrimSpace(lines[2]), "- "), new: strings.TrimPrefix(strings.TrimSpace(lines[3]), "+ ")})
	}
	return ms
}

// source returns the file that the mutant changes, in which the line stands
// once.
func (m mutant) source(t *testing.T) (path, text string) {
	t.Helper()
	path, err := filepath.Abs(filepath.Join("..", m.file))
	if err != nil {
		t.Fatal(err)
	}
	source, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if n := strings.Count(string(source), m.old); n != 1 {
		t.Errorf("%s: %q stands %d times in %s, not once: mend testdata/mutants.txt", m.name, m.old, n, m.file)
	}
	return path, string(source)
}

// Whoever moves a rule takes its mutant along, and whoever adds one shows the
// story that finds it out.
func TestMutantsFit(t *testing.T) {
	found, err := os.ReadFile("testdata/mutants-found.txt")
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range readMutants(t) {
		m.source(t)
		if m.test == "TestModel" && !strings.Contains(string(found), "\n"+m.name+"\n    ") {
			t.Errorf("%s: testdata/mutants-found.txt has no story of it: run make mutants", m.name)
		}
	}
}
