// Package systemd holds the unit of the service and its account, as the packages
// ship them and as `dirpin service install` writes them.
package systemd

import (
	_ "embed"
	"strings"
)

//go:embed dirpin.service
var unit string

// Sysusers is the account of the service, as sysusers.d(5) has it.
//
//go:embed dirpin.sysusers
var Sysusers string

// Packaged is what the unit of the packages runs.
const Packaged = "/usr/bin/dirpin"

// Unit returns the unit that runs the program with a configuration; "" leaves
// the program to find its own. Unit(Packaged, "") is the packages' file.
func Unit(program, config string) string {
	command := quote(program) + " serve"
	if config != "" {
		command += " --config " + quote(config)
	}
	return strings.Replace(unit, "ExecStart="+Packaged+" serve", "ExecStart="+command, 1)
}

// Paths returns a drop-in that lets the service write to folders and files outside
// of its own. One that is missing does not keep the service from starting.
func Paths(paths []string) string {
	var b strings.Builder
	b.WriteString("# Written by dirpin service install: what the configuration names outside of\n# /var/lib/dirpin and /var/log/dirpin.\n[Service]\n")
	for _, p := range paths {
		b.WriteString("ReadWritePaths=" + quoteWord("-"+p) + "\n")
	}
	return b.String()
}

// quote writes a word of a command line, quoteWord of any other list, as
// systemd.service(5) and systemd.unit(5) have them read.
func quote(s string) string { return quoteWord(strings.ReplaceAll(s, "$", "$$")) }

func quoteWord(s string) string {
	s = strings.ReplaceAll(s, "%", "%%")
	if !strings.ContainsAny(s, " \t\"'\\;") {
		return s
	}
	return `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(s) + `"`
}
