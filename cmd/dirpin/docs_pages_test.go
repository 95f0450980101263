package main

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strings"
	"testing"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// pages returns what is written for administrators, by path from here.
func pages(t *testing.T) map[string]string {
	t.Helper()
	texts := make(map[string]string)
	for _, pattern := range []string{"../../README.md", "../../docs/*.md", "../../packaging/hooks/README.md", "../../packaging/hooks/*/README.md"} {
		found, err := filepath.Glob(pattern)
		if err != nil || len(found) == 0 {
			t.Fatalf("%s: %v, %v", pattern, found, err)
		}
		for _, name := range found {
			text, err := os.ReadFile(name)
			if err != nil {
				t.Fatal(err)
			}
			texts[name] = string(text)
		}
	}
	return texts
}

// Links between pages lead somewhere, and README has each page.
func TestDocumentedLinks(t *testing.T) {
	link := regexp.MustCompile(`\]\(([^)#:]+)(#[^)]*)?\)|\(([a-z]+\.md)\)`)
	texts := pages(t)
	for name, text := range texts {
		for _, m := range link.FindAllStringSubmatch(text, -1) {
			target := filepath.Join(filepath.Dir(name), m[1]+m[3])
			if _, err := os.Stat(target); err != nil {
				t.Errorf("%s names %s: %v", name, m[0], err)
			}
		}
		if strings.HasPrefix(name, "../../docs/") && !strings.Contains(texts["../../README.md"], "(docs/"+filepath.Base(name)+")") {
			t.Errorf("README does not name %s", name)
		}
	}
}

// Commands in the pages are commands, with their flags.
func TestDocumentedCommands(t *testing.T) {
	said := regexp.MustCompile("(?m)(?:^    (?:\\$ )?(?:sudo (?:-u dirpin )?)?|`(?:sudo )?|\\| (?:sudo )?|&& (?:sudo )?)(?:bin/)?dirpin ([a-z-][^`\n]*)")
	checked := 0
	for name, text := range pages(t) {
		if strings.HasSuffix(name, "windows.md") && runtime.GOOS != "windows" {
			continue // its service has flags of its own
		}
		for _, m := range said.FindAllStringSubmatch(text, -1) {
			line := regexp.MustCompile(`\s{2,}.*|\s#.*| [|>&<;].*|\).*|, .*`).ReplaceAllString(m[1], "")
			if err := isCommand(line); err != nil {
				t.Errorf("%s: dirpin %s: %v", name, line, err)
			}
			checked++
		}
	}
	if checked < 100 {
		t.Errorf("only %d commands were found", checked)
	}
}

func isCommand(line string) error {
	root := newRootCommand(&app{})
	cmd, words := root, strings.Fields(line)
	for len(words) > 0 {
		next := slices.IndexFunc(cmd.Commands(), func(c *cobra.Command) bool {
			return slices.Contains(strings.Split(words[0], `\|`), c.Name()) || c.Name() == words[0]
		})
		if next < 0 {
			break
		}
		cmd, words = cmd.Commands()[next], words[1:]
	}
	if cmd == root && !strings.HasPrefix(line, "-") {
		return fmt.Errorf("%q is no command", words[0])
	}
	if cmd != root && cmd.HasSubCommands() && len(words) > 0 && regexp.MustCompile(`^[a-z]+$`).MatchString(words[0]) && words[0] != "help" {
		return fmt.Errorf("%q is none of %s", words[0], subcommands(cmd))
	}
	for _, w := range words {
		for _, f := range regexp.MustCompile(`--[a-z-]+`).FindAllString(strings.Trim(w, "()"), -1) {
			known := false
			for _, set := range []*pflag.FlagSet{cmd.Flags(), cmd.InheritedFlags(), root.PersistentFlags()} {
				known = known || set.Lookup(f[2:]) != nil
			}
			if !known && f != "--help" {
				return fmt.Errorf("there is no flag %s", f)
			}
		}
	}
	return nil
}

// Examples in YAML are without a fault.
func TestDocumentedExamples(t *testing.T) {
	block := regexp.MustCompile("(?s)```yaml\n(.*?)```")
	h := newHome(t, "")
	const recipient = "age1ql3z7hjy54pw3hyww5ayyfg7zqgvc7w3j2elw8zmrj2kg5sfn9aqmcac8p"
	named := strings.NewReplacer("age1…", recipient, "templates: /etc/dirpin/mail ", "templates: "+t.TempDir()+" ", "ca_file: /etc/dirpin/mail-ca.pem", "")
	const job = "select: {query: all}\nreset: {pin: {generate: {length: 6}}}\n"
	checked := 0
	for name, text := range pages(t) {
		for _, m := range block.FindAllStringSubmatch(text, -1) {
			example := named.Replace(m[1])
			var jobs []string
			switch first := strings.Fields(example)[0]; {
			case first == "scrape_configs:": // Prometheus's
				continue
			case strings.Contains(example, "select:"):
				jobs = []string{example}
			case first == "run:": // a line is an alternative
				for line := range strings.Lines(example) {
					jobs = append(jobs, job+"deliver: none\n"+line)
				}
			case first == "deliver:":
				for line := range strings.Lines(example) {
					jobs = append(jobs, job+line)
				}
			case strings.HasPrefix(example, "    passwords:"):
				example = "agreements:\n  - name: corp\n    servers: [ldaps://x]\n    base: dc=x\n" + example
			case strings.HasPrefix(example, "    signers:"):
				example = "watch:\n  - name: main\n" + example
			}
			checked += max(1, len(jobs))
			h.write("example.yaml", "state_dir: "+h.dir+"/state\n"+strings.ReplaceAll(example, "state_dir: /var/lib/dirpin\n", ""), 0o600)
			if len(jobs) == 0 {
				if out, err := h.dirpin("", "--config", "example.yaml", "check"); err != nil {
					t.Errorf("%s:\n%s\n%s", name, example, out)
				}
			}
			for _, j := range jobs {
				h.write("job.yaml", j, 0o600)
				h.write("dirpin.yaml", "state_dir: "+h.dir+"/state\nmail: {server: smtp://localhost, from: a@example.com}\n", 0o600)
				if out, err := h.dirpin("", "check", "job.yaml"); err != nil {
					t.Errorf("%s:\n%s\n%s", name, j, out)
				}
			}
		}
	}
	if checked < 20 {
		t.Errorf("only %d examples were found", checked)
	}
}

// What docs/troubleshooting.md quotes is what dirpin says.
func TestDocumentedMessages(t *testing.T) {
	var source strings.Builder
	for _, dir := range []string{"../../cmd", "../../config", "../../internal", "../../ldapsync", "../../resetjob"} {
		err := filepath.Walk(dir, func(path string, _ os.FileInfo, err error) error {
			if err == nil && strings.HasSuffix(path, ".go") && !strings.HasSuffix(path, "_test.go") {
				text, err := os.ReadFile(path)
				source.Write(text)
				return err
			}
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	quoted := regexp.MustCompile("`([^`]+)`")
	gap := regexp.MustCompile(`…|\d+|\b[NX]\b|"|%[a-z]`)
	code := source.String()
	for _, page := range []string{"troubleshooting", "directory"} {
		text, err := os.ReadFile("../../docs/" + page + ".md")
		if err != nil {
			t.Fatal(err)
		}
		_, table, _ := strings.Cut(string(text), "\n| message |")
		table, _, _ = strings.Cut(table, "\n\n")
		rows := 0
		for line := range strings.Lines(table) {
			cell := strings.Split(line, " | ")[0]
			for _, m := range quoted.FindAllStringSubmatch(cell, -1) {
				for _, part := range gap.Split(m[1], -1) {
					if part = strings.Trim(part, " /:,"); len(part) > 3 && !strings.Contains(code, part) {
						t.Errorf("%s.md: nothing says %q (of %q)", page, part, m[1])
					}
				}
				rows++
			}
		}
		if rows < 8 {
			t.Errorf("%s.md: only %d messages were found", page, rows)
		}
	}
}
