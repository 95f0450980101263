package strictyaml

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"unicode"
)

// maxFaults bounds what a hostile file can make us print.
const maxFaults = 1000

// Fault is one thing that is wrong in a file, and where. Its Message never
// quotes a value of the file.
type Fault struct {
	File    string
	Line    int // from 1; 0 where the whole file is meant
	Column  int // in characters, from 1
	Message string
	Warning bool // the file can be used all the same
}

// String returns "file:line:column: message".
func (f Fault) String() string {
	var b strings.Builder
	if f.File != "" {
		b.WriteString(printable(f.File))
		b.WriteByte(':')
	}
	if f.Line > 0 {
		fmt.Fprintf(&b, "%d:%d:", f.Line, f.Column)
	}
	if b.Len() > 0 {
		b.WriteByte(' ')
	}
	if f.Warning {
		b.WriteString("warning: ")
	}
	b.WriteString(f.Message)
	return b.String()
}

// Faults are all faults of a file, by position.
type Faults []Fault

// Error returns a line for each fault.
func (fs Faults) Error() string {
	lines := make([]string, len(fs))
	for i, f := range fs {
		lines[i] = f.String()
	}
	return strings.Join(lines, "\n")
}

// Failed tells whether there is a fault that is no mere warning.
func (fs Faults) Failed() bool {
	return slices.ContainsFunc(fs, func(f Fault) bool { return !f.Warning })
}

// Err returns the faults where there is one that is no mere warning, else nil.
func (fs Faults) Err() error {
	if fs.Failed() {
		return fs
	}
	return nil
}

// Warnings returns the warnings alone.
func (fs Faults) Warnings() Faults {
	var ws Faults
	for _, f := range fs {
		if f.Warning {
			ws = append(ws, f)
		}
	}
	return ws
}

// Sorted returns the faults by position, each once.
func (fs Faults) Sorted() Faults {
	sorted := slices.Clone(fs)
	slices.SortStableFunc(sorted, func(a, b Fault) int {
		return cmp.Or(cmp.Compare(a.File, b.File), cmp.Compare(a.Line, b.Line), cmp.Compare(a.Column, b.Column))
	})
	return slices.Compact(sorted)
}

// add appends f unless there are too many faults already, which it says once.
func (fs *Faults) add(f Fault) {
	switch n := len(*fs); {
	case n < maxFaults:
		*fs = append(*fs, f)
	case n == maxFaults:
		f.Message = fmt.Sprintf("more than %d faults: the rest is not listed; mend these first", maxFaults)
		f.Warning = false
		*fs = append(*fs, f)
	}
}

// printable makes sure that a name cannot forge a line or steer a terminal.
func printable(s string) string {
	return strings.Map(func(r rune) rune {
		if unicode.IsPrint(r) {
			return r
		}
		return '?'
	}, s)
}
