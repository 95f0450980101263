//go:build man

package main

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"time"

	"github.com/cpuguy83/go-md2man/v2/md2man"
	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/dirpin/dirpin/config"
)

// buildCommands are those of a program that is built to make the packages:
// dirpin man FOLDER DATE writes the man pages, from the commands themselves and
// from docs, which it reads in the working directory.
func buildCommands(a *app) []*cobra.Command {
	return []*cobra.Command{{Use: "man FOLDER DATE", Hidden: true, Args: cobra.ExactArgs(2), RunE: func(cmd *cobra.Command, args []string) error {
		day, err := time.Parse(time.RFC3339, args[1])
		if err != nil {
			return usagef("man: %v", err)
		}
		return writeManPages(cmd.Root(), args[0], day)
	}}}
}

// manPage is a page made of documents: their first heading becomes NAME's.
type manPage struct {
	name, section, title string
	docs                 []string
	also                 string
}

var manPages = []manPage{
	{"dirpin.yaml", "5", "configuration of dirpin", []string{"configuration", "directory", "watch", "delivery"}, "dirpin(1), dirpin-job(5), dirpin-hook(7)"},
	{"dirpin-job", "5", "job files of dirpin", []string{"jobs", "schedules", "codes", "reports"}, "dirpin(1), dirpin.yaml(5), dirpin-hook(7)"},
	{"dirpin-hook", "7", "voicemail systems and hooks of dirpin", []string{"voicemail"}, "dirpin(1), dirpin.yaml(5), dirpin-job(5)"},
}

func writeManPages(root *cobra.Command, dir string, day time.Time) error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	write := func(name, section, body string) error {
		head := fmt.Sprintf("%s %s \"%s\" \"dirpin %s\" \"dirpin\"\n====\n\n", name, section, day.Format("January 2006"), version)
		return os.WriteFile(filepath.Join(dir, name+"."+section), md2man.Render([]byte(head+body)), 0o644)
	}
	if err := write("dirpin", "1", commandPage(root)); err != nil {
		return err
	}
	for _, p := range manPages {
		body, err := p.body()
		if err != nil {
			return err
		}
		if err := write(p.name, p.section, body); err != nil {
			return err
		}
	}
	return nil
}

var (
	heading = regexp.MustCompile(`(?m)^(#+) (.*)$`)
	link    = regexp.MustCompile(`\[([^\]]+)\]\([^)#]*\)`)
	fence   = regexp.MustCompile("(?ms)^```[a-z]*\n(.*?)^```$")
)

func (p manPage) body() (string, error) {
	var b strings.Builder
	fmt.Fprintf(&b, "# NAME\n\n%s - %s\n\n", p.name, p.title)
	for _, name := range p.docs {
		data, err := os.ReadFile(filepath.Join("docs", name+".md"))
		if err != nil {
			return "", err
		}
		b.WriteString(manText(string(data)) + "\n")
	}
	if p.name == "dirpin.yaml" {
		b.WriteString("# EVERY SETTING\n\nThis is the file that dirpin init writes.\n\n" + indent(string(config.Template("/var/lib/dirpin", nil))) + "\n")
	}
	fmt.Fprintf(&b, "# SEE ALSO\n\n%s\n", p.also)
	return b.String(), nil
}

// manText makes a document a part of a man page: links are only their texts,
// and what stands in a fence is indented, which keeps its # from being headings.
func manText(doc string) string {
	doc = fence.ReplaceAllStringFunc(doc, func(s string) string { return indent(fence.FindStringSubmatch(s)[1]) })
	doc = link.ReplaceAllString(doc, "$1")
	return heading.ReplaceAllStringFunc(doc, func(s string) string {
		m := heading.FindStringSubmatch(s)
		if m[1] == "#" {
			return "# " + strings.ToUpper(m[2])
		}
		return s
	})
}

func indent(s string) string {
	return "    " + strings.ReplaceAll(strings.TrimSuffix(s, "\n"), "\n", "\n    ") + "\n"
}

// commandPage is dirpin(1): every command on one page.
func commandPage(root *cobra.Command) string {
	var b strings.Builder
	fmt.Fprintf(&b, "# NAME\n\ndirpin - %s\n\n# SYNOPSIS\n\n**dirpin** [options] *command* …\n\n", strings.ToLower(root.Short[:1])+root.Short[1:])
	long, codes, _ := strings.Cut(root.Long, "Exit codes: ")
	fmt.Fprintf(&b, "# DESCRIPTION\n\n%s\n", plain(long))
	fmt.Fprintf(&b, "# OPTIONS\n\n%s# COMMANDS\n\n", flagText(root.PersistentFlags()))
	writeCommands(&b, root)
	b.WriteString("# EXIT STATUS\n\n")
	for code := range strings.SplitSeq(strings.TrimSuffix(codes, "."), ";") {
		n, text, _ := strings.Cut(strings.Join(strings.Fields(code), " "), " ")
		fmt.Fprintf(&b, "**%s**\n: %s\n\n", n, text)
	}
	b.WriteString("# ENVIRONMENT\n\n**DIRPIN_CONFIG**\n: the configuration, where --config names none\n\n**NO_COLOR**\n: tables without colours\n\n")
	b.WriteString("# FILES\n\n/etc/dirpin/dirpin.yaml\n: the configuration\n\n/var/lib/dirpin\n: database, key ring, watch folder, reports\n\n# SEE ALSO\n\ndirpin.yaml(5), dirpin-job(5), dirpin-hook(7), systemctl(1)\n")
	return b.String()
}

func writeCommands(b *strings.Builder, parent *cobra.Command) {
	for _, c := range parent.Commands() {
		if c.Hidden || c.Name() == "help" {
			continue
		}
		if c.Runnable() && !c.HasSubCommands() {
			text := c.Long
			if text == "" {
				text = c.Short + "."
			}
			fmt.Fprintf(b, "## %s\n\n%s\n", plain(strings.TrimSuffix(c.UseLine(), " [flags]")), plain(text))
			b.WriteString(flagText(c.NonInheritedFlags()))
		}
		if c.Name() == "completion" { // one command a shell, and much text in each
			fmt.Fprintf(b, "## dirpin completion bash|fish|powershell|zsh\n\n%s\n\n", plain(c.Short+"; each has a help of its own."))
			continue
		}
		writeCommands(b, c)
	}
}

// flagText is a command's own flags as --help has them.
func flagText(flags *pflag.FlagSet) string {
	own := pflag.NewFlagSet("", pflag.ContinueOnError)
	flags.VisitAll(func(f *pflag.Flag) {
		if f.Name != "help" {
			own.AddFlag(f)
		}
	})
	if !own.HasAvailableFlags() {
		return ""
	}
	return indent(own.FlagUsagesWrapped(70)) + "\n"
}

// plain keeps a text from being read as Markdown.
func plain(s string) string {
	return strings.NewReplacer(`\`, `\\`, "*", `\*`, "_", `\_`, "`", "\\`", "[", `\[`, "|", `\|`).Replace(s)
}
