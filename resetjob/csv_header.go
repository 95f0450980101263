package resetjob

import (
	"slices"
	"strings"

	"github.com/dirpin/dirpin/internal/secret"
	"github.com/dirpin/dirpin/internal/user"
)

// csvColumns says which cell of a row is what; -1: there is none.
type csvColumns struct {
	width      int
	userID     int
	pin        int
	password   int
	other      []int
	otherNames []string
	given      []givenColumn // in the order of the file, without a reason put there by an earlier report
}

// givenColumn is a column as a report gives it back.
type givenColumn struct {
	name  string // as written
	other int    // its place in CSVRow.Other; -1: it holds the user id or a secret
	id    bool
}

// detectSeparator takes the separator with which the header names what a csv
// must have; where none does, the one that stands in the header most often,
// for the sake of the fault that follows.
func detectSeparator(text string) byte {
	best, most := byte(','), 0
	for _, sep := range []byte{',', ';', '\t'} {
		r := newCSVReader(text, sep)
		if _, ok := r.next(); !ok {
			continue
		}
		names := make([]string, len(r.cells))
		for i, c := range r.cells {
			names[i] = csvColumnName(c.text)
		}
		if slices.Contains(names, "userid") && len(names) > 1 {
			return sep
		}
		if len(names) > most {
			best, most = sep, len(names)
		}
	}
	return best
}

// csvColumnName is the form in which names of columns are compared: "User ID",
// "user_id" and "USERID" are one.
func csvColumnName(s string) string {
	return strings.NewReplacer(" ", "", "_", "", "-", "").Replace(user.Fold(s))
}

// csvReason is the column that failed.csv begins with. It is read over, so that
// the file can be mended and dropped again.
const csvReason = "reason"

// csvReportColumns stand in what dirpin writes and never in what it reads: the
// password and pin of results.csv are codes, which must not become passwords.
var csvReportColumns = []string{"result", "code"}

// parseCSVHeader finds the columns. It quotes no cell: where the header was
// forgotten, it is a row with secrets.
func parseCSVHeader(r *csvReader, row csvRow, found *listFaults) csvColumns {
	cols := csvColumns{width: len(r.cells), userID: -1, pin: -1, password: -1}
	var report, unknown *csvCell
	for i := range r.cells {
		name := csvColumnName(r.cells[i].text)
		if name != csvReason {
			cols.give(r.cells[i].text, name)
		}
		switch {
		case name == "userid":
			cols.take(&cols.userID, i, "user_id", r, row, found)
		case name == "pin":
			cols.take(&cols.pin, i, "pin", r, row, found)
		case name == "password":
			cols.take(&cols.password, i, "password", r, row, found)
		case name == csvReason || csvIgnored(name):
			cols.other = append(cols.other, i)
			cols.otherNames = append(cols.otherNames, r.cells[i].text)
		case slices.Contains(csvReportColumns, name):
			report = &r.cells[i]
		case unknown == nil:
			unknown = &r.cells[i]
		}
	}
	at := func(cell *csvCell, message string) {
		line, column := r.position(row, cell.offset)
		found.add(line, column, "%s", message)
	}
	switch {
	case report != nil:
		at(report, "a column named result or code: this is a report, whose password and pin are no values; drop failed.csv, or a file with user_id, pin and password")
		return cols
	case cols.userID < 0:
		found.add(row.line, 1, "the first line must be a header that names user_id, and pin or password or both, separated by comma, semicolon or tab")
		return cols
	case cols.pin < 0 && cols.password < 0:
		found.add(row.line, 1, "the header names neither pin nor password: there is nothing to set")
	}
	if unknown != nil {
		at(unknown, "a csv has no such column: it has user_id, pin and password; reason and the fields of a user, such as first_name, are ignored; delete the column")
	}
	return cols
}

// give notes a column that a report gives back.
func (cols *csvColumns) give(written, name string) {
	g := givenColumn{name: written, other: -1, id: name == "userid"}
	if name != "userid" && name != "pin" && name != "password" {
		g.other = len(cols.other)
	}
	cols.given = append(cols.given, g)
}

// take makes a cell of the header the one of that name.
func (cols *csvColumns) take(at *int, i int, name string, r *csvReader, row csvRow, found *listFaults) {
	if *at >= 0 {
		line, column := r.position(row, r.cells[i].offset)
		found.add(line, column, "a second column %s: columns %d and %d of the header have the same name", name, *at+1, i+1)
	}
	*at = i
}

// csvIgnored tells whether a column is a field of a user, which people leave
// in to see whom a row is about.
func csvIgnored(name string) bool {
	if name == "language" || name == "dn" {
		return true
	}
	for _, f := range user.Fields() {
		if name == csvColumnName(string(f)) || name == csvColumnName(f.Label()) {
			return true
		}
	}
	return false
}

// decode makes a row of cells that were found to be right.
func (cols *csvColumns) decode(line int, cells []csvCell) CSVRow {
	row := CSVRow{Line: line, UserID: csvUserID(cells[cols.userID])}
	if cols.pin >= 0 {
		row.PIN = secret.New(strings.Clone(cells[cols.pin].text))
	}
	if cols.password >= 0 {
		row.Password = secret.New(strings.Clone(cells[cols.password].text))
	}
	for _, i := range cols.other {
		row.Other = append(row.Other, cells[i].text)
	}
	return row
}

// csvUserID trims, and takes off the apostrophe with which our reports keep a
// spreadsheet from reading a cell as a formula. Secrets are taken as they are.
func csvUserID(c csvCell) string {
	id := strings.TrimSpace(c.text)
	if len(id) > 1 && id[0] == '\'' && strings.IndexByte("=+-@", id[1]) >= 0 {
		return id[1:]
	}
	return id
}

func csvUserKey(id string) string { return user.Fold(id) }
