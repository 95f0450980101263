package resetjob

import (
	"fmt"
	"strings"
	"unicode"

	"github.com/dirpin/dirpin/internal/outcome"
	"github.com/dirpin/dirpin/internal/secret"
)

// csvRules judge the rows of a csv, one after the other.
type csvRules struct {
	opts    CSVOptions
	found   *listFaults
	reader  *csvReader
	columns *csvColumns

	digits  int // the length of the first PIN
	digitsL int // and its line
}

// row judges the row that the reader has read and returns its user id in the
// form that is compared, and whether the row can be decoded.
func (cr *csvRules) row(row csvRow) (string, bool) {
	cells, cols := cr.reader.cells, cr.columns
	if row.wrong != "" {
		cr.found.add(row.line, 1, "%s", row.wrong)
		return "", false
	}
	if len(cells) != cols.width {
		cr.found.add(row.line, 1, "the row has %d cells, the header %d: a separator too many or too few, or a cell with a separator that is not in quotes", len(cells), cols.width)
		return "", false
	}
	judge := func(i int, wrong func(int, csvCell) string) bool {
		if i < 0 {
			return true
		}
		line, column := cr.reader.position(row, cells[i].offset)
		message := wrong(line, cells[i])
		if message != "" {
			cr.found.add(line, column, "%s", message)
		}
		return message == ""
	}
	userID := judge(cols.userID, cr.userID)
	pin := judge(cols.pin, cr.pin)
	password := judge(cols.password, cr.password)
	return csvUserKey(csvUserID(cells[cols.userID])), userID && pin && password
}

func (cr *csvRules) userID(_ int, c csvCell) string {
	if csvUserID(c) == "" {
		return "the user_id is empty"
	}
	return unfitCell(givenUserID, c.text)
}

func (cr *csvRules) password(_ int, c csvCell) string {
	return cr.value(givenPassword, c.text)
}

func (cr *csvRules) pin(line int, c csvCell) string {
	n := len(c.text)
	if !onlyDigits(c.text) {
		return cr.value(givenPIN, c.text)
	}
	switch {
	case cr.opts.PINLength > 0 && n != cr.opts.PINLength:
		return fmt.Sprintf("the pin has %d digits, pin_length says %d: a spreadsheet may have eaten leading zeros; put them back, and format the column as text", n, cr.opts.PINLength)
	case cr.opts.PINLength == 0 && cr.digits == 0:
		cr.digits, cr.digitsL = n, line
	case cr.opts.PINLength == 0 && n != cr.digits:
		return fmt.Sprintf("the pin has %d digits, that of line %d has %d: a spreadsheet may have eaten leading zeros; put them back, and say in the job file how long all are (pin_length)", n, cr.digitsL, cr.digits)
	}
	return cr.value(givenPIN, c.text)
}

// value judges a secret by what holds for every user. An empty one is a
// matter of that user, not of the file.
func (cr *csvRules) value(kind, text string) string {
	if text == "" {
		return ""
	}
	if wrong := unfitCell(kind, text); wrong != "" {
		return wrong
	}
	if cr.opts.Check == nil {
		return ""
	}
	return givenFault(kind, cr.opts.Check(kind, secret.New(text)))
}

// unfitCell says why no user id or secret can be in a cell.
func unfitCell(kind, text string) string {
	switch {
	case len(text) > maxListLine:
		return fmt.Sprintf("the %s has more than %d bytes", kind, maxListLine)
	case strings.ContainsFunc(text, notOneLine):
		return fmt.Sprintf("the %s has a line break or another control character, as where a quote opens a cell and none closes it", kind)
	}
	return ""
}

// givenFault says why nobody may have a value, "" where it is sound.
func givenFault(kind string, code outcome.Code) string {
	if code == "" || code == outcome.OK {
		return ""
	}
	for _, e := range outcome.Table() {
		if e.Code == code {
			return "nobody may have this " + kind + " (" + string(code) + "): " + e.Meaning + " " + e.Action
		}
	}
	return "nobody may have this " + kind + " (" + string(code) + ")"
}

// notOneLine tells what has no place in a cell of one line; among it the byte
// order mark that joined files have in their middle.
func notOneLine(r rune) bool { return unicode.IsControl(r) || r == byteOrderMark }

func onlyDigits(text string) bool {
	return text != "" && strings.Trim(text, "0123456789") == ""
}
