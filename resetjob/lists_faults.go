package resetjob

import (
	"fmt"

	"github.com/dirpin/dirpin/internal/strictyaml"
)

// maxListFaults is how many faults of one list are told in full.
const maxListFaults = 50

// listFaults collects the faults of a list, of which an export taken for a
// list has one a line.
type listFaults struct {
	path  string
	found strictyaml.Faults
	more  int
	last  strictyaml.Fault
}

func (f *listFaults) any() bool { return len(f.found) > 0 }

func (f *listFaults) add(line, column int, format string, args ...any) {
	fault := strictyaml.Fault{File: f.path, Line: line, Column: column, Message: fmt.Sprintf(format, args...)}
	if len(f.found) == maxListFaults {
		f.more++
		f.last = fault
		return
	}
	f.found = append(f.found, fault)
}

// faults returns what was found, in the order of the file.
func (f *listFaults) faults() strictyaml.Faults {
	all := f.found.Sorted()
	if f.more > 0 {
		f.last.Message = fmt.Sprintf("the last of %d more faults in this list", f.more)
		all = append(all, f.last)
	}
	return all
}

// decodeListText makes UTF-8 without a byte order mark of a list.
func decodeListText(path string, data []byte) (string, strictyaml.Faults) {
	text, found := strictyaml.DecodeText(path, data)
	if len(found) <= maxListFaults {
		return text, found
	}
	faults := listFaults{path: path, found: found[:maxListFaults], more: len(found) - maxListFaults, last: found[len(found)-1]}
	return "", faults.faults()
}
