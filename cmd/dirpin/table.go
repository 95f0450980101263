package main

import (
	"bufio"
	"io"
	"os"
	"strings"

	"github.com/rivo/uniseg"
	"golang.org/x/term"
)

// measuredRows is how many rows a table on a terminal looks at before it fixes
// the width of its columns: memory does not grow with the rest.
const measuredRows = 500

// table prints rows as they come: aligned on a terminal, separated by tabs
// elsewhere.
type table struct {
	w       *bufio.Writer
	pretty  bool
	colour  bool
	head    []string
	waiting [][]string
	widths  []int
}

func newTable(w io.Writer, head ...string) *table {
	t := &table{w: bufio.NewWriter(w), head: head, pretty: isTerminal(w)}
	t.colour = t.pretty && os.Getenv("NO_COLOR") == ""
	if !t.pretty {
		t.plain(head)
	}
	return t
}

func isTerminal(w any) bool {
	f, ok := w.(*os.File)
	return ok && term.IsTerminal(int(f.Fd()))
}

// row prints one row. Control characters of names do not reach a terminal.
func (t *table) row(cells ...string) error {
	for i, c := range cells {
		cells[i] = printable(c)
	}
	switch {
	case !t.pretty:
		t.plain(cells)
	case t.widths != nil:
		t.aligned(cells)
	default:
		t.waiting = append(t.waiting, cells)
		if len(t.waiting) == measuredRows {
			t.measure()
		}
	}
	return nil
}

// flush prints what waits.
func (t *table) flush() error {
	if t.pretty && t.widths == nil {
		t.measure()
	}
	return t.w.Flush()
}

func (t *table) measure() {
	t.widths = make([]int, len(t.head))
	for _, r := range append([][]string{t.head}, t.waiting...) {
		for i, c := range r {
			t.widths[i] = max(t.widths[i], uniseg.StringWidth(c))
		}
	}
	if t.colour {
		t.w.WriteString("\x1b[1m")
	}
	t.aligned(t.head)
	if t.colour {
		t.w.WriteString("\x1b[0m")
	}
	for _, r := range t.waiting {
		t.aligned(r)
	}
	t.waiting = nil
}

func (t *table) aligned(cells []string) {
	for i, c := range cells {
		t.w.WriteString(c)
		if i < len(cells)-1 {
			t.w.WriteString(strings.Repeat(" ", max(0, t.widths[i]-uniseg.StringWidth(c))+2))
		}
	}
	t.w.WriteByte('\n')
}

func (t *table) plain(cells []string) {
	t.w.WriteString(strings.Join(cells, "\t"))
	t.w.WriteByte('\n')
}

// printable replaces what would move a terminal's cursor or break a line.
func printable(s string) string {
	return strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f || r >= 0x80 && r < 0xa0 || r >= 0x202a && r <= 0x202e || r >= 0x2066 && r <= 0x2069 {
			return '\uFFFD'
		}
		return r
	}, s)
}
