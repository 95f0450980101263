package resetjob

import (
	"strings"
	"unicode/utf8"
)

// csvReader reads rows as RFC 4180 has them, with any separator, out of a
// text that is in memory. It is our own because encoding/csv does not tell
// which cells were quoted, on which a space more or less in a password hangs.
type csvReader struct {
	text  string
	sep   byte
	pos   int
	line  int // the number of the line at pos, from 1
	cells []csvCell
}

// csvCell is a cell as it stands: quotes taken off, and spaces around it only
// where it had none.
type csvCell struct {
	text   string
	offset int
	quoted bool
}

// csvRow is where a row starts, and what keeps it from being one.
type csvRow struct {
	offset int
	line   int
	wrong  string
}

func newCSVReader(text string, sep byte) *csvReader {
	return &csvReader{text: text, sep: sep, line: 1}
}

// at returns a reader of the row that starts at an offset.
func (r *csvReader) at(offset uint32) *csvReader {
	return &csvReader{text: r.text, sep: r.sep, pos: int(offset), line: 1}
}

// next reads a row into cells, which are good until the next call. Rows
// without any text are left out. It returns false at the end.
func (r *csvReader) next() (csvRow, bool) {
	for r.pos < len(r.text) {
		row := csvRow{offset: r.pos, line: r.line}
		r.cells = r.cells[:0]
		row.wrong = r.row()
		if row.wrong != "" || !r.blank() {
			return row, true
		}
	}
	return csvRow{}, false
}

func (r *csvReader) blank() bool {
	for _, c := range r.cells {
		if len(c.text) > 0 {
			return false
		}
	}
	return true
}

// row reads up to the end of the row, or of the line where the row is wrong.
func (r *csvReader) row() (wrong string) {
	for {
		r.spaces()
		start := r.pos
		quoted := r.pos < len(r.text) && r.text[r.pos] == '"'
		var cell string
		if quoted {
			cell, wrong = r.quoted()
		} else {
			cell, wrong = r.bare()
		}
		if wrong != "" {
			r.skipLine()
			return wrong
		}
		r.cells = append(r.cells, csvCell{cell, start, quoted})
		if r.endOfRow() {
			return ""
		}
		r.pos++ // the separator
	}
}

// position returns the line and the column of an offset within a row.
func (r *csvReader) position(row csvRow, offset int) (line, column int) {
	before := r.text[row.offset:offset]
	line = row.line + strings.Count(before, "\n")
	return line, 1 + utf8.RuneCountInString(before[strings.LastIndexByte(before, '\n')+1:])
}

// endOfRow steps over the end of the line, if that is what comes.
func (r *csvReader) endOfRow() bool {
	switch n := r.lineEnd(); {
	case r.pos == len(r.text):
		return true
	case n == 0:
		return false
	default:
		r.pos += n
		r.line++
		return true
	}
}

// lineEnd returns how many bytes of a line's end come next: a CR alone is none.
func (r *csvReader) lineEnd() int {
	rest := r.text[r.pos:]
	switch {
	case len(rest) > 0 && rest[0] == '\n':
		return 1
	case len(rest) > 1 && rest[0] == '\r' && rest[1] == '\n':
		return 2
	}
	return 0
}

// bare reads a cell without quotes: up to a separator or the end of the line.
func (r *csvReader) bare() (string, string) {
	start := r.pos
	for ; r.pos < len(r.text); r.pos++ {
		switch c := r.text[r.pos]; {
		case c == r.sep, r.lineEnd() > 0:
			return strings.Trim(r.text[start:r.pos], " "), ""
		case c == '\r':
			return "", "a carriage return within the row: lines end with LF or CRLF"
		case c == '"':
			return "", `a quote within a cell that is not quoted: put the cell in quotes and double the quotes in it`
		}
	}
	return strings.Trim(r.text[start:], " "), ""
}

// quoted reads a cell in quotes, and the spaces behind it.
func (r *csvReader) quoted() (string, string) {
	r.pos++
	start := r.pos
	doubled := false
	for ; r.pos < len(r.text); r.pos++ {
		switch {
		case r.text[r.pos] == '\n':
			r.line++
		case r.text[r.pos] != '"':
		case r.pos+1 < len(r.text) && r.text[r.pos+1] == '"':
			doubled = true
			r.pos++
		default:
			cell := r.text[start:r.pos]
			if doubled {
				cell = strings.ReplaceAll(cell, `""`, `"`)
			}
			r.pos++
			return cell, r.afterQuote()
		}
	}
	return "", "a quote opens a cell in this row and none closes it"
}

func (r *csvReader) afterQuote() string {
	r.spaces()
	if r.pos == len(r.text) || r.text[r.pos] == r.sep || r.lineEnd() > 0 {
		return ""
	}
	return "text follows the closing quote of a cell: double the quotes within it"
}

func (r *csvReader) spaces() {
	for r.pos < len(r.text) && r.text[r.pos] == ' ' {
		r.pos++
	}
}

func (r *csvReader) skipLine() {
	if i := strings.IndexByte(r.text[r.pos:], '\n'); i >= 0 {
		r.pos += i + 1
		r.line++
		return
	}
	r.pos = len(r.text)
}
