package resetjob

import (
	"iter"

	"github.com/dirpin/dirpin/internal/store"
)

// failedRows gives the rows of a csv back with the reason put first. Cells
// that held secrets are empty: no report holds one.
type failedRows struct {
	csv    *CSV
	next   func() (CSVRow, bool)
	stop   func()
	row    CSVRow
	headed bool
}

func newFailedRows(csv *CSV) *failedRows {
	next, stop := iter.Pull(csv.Rows())
	return &failedRows{csv: csv, next: next, stop: stop}
}

// at returns the row of a line; lines are asked for in order.
func (f *failedRows) at(line int) (CSVRow, bool) {
	for f.row.Line < line {
		var ok bool
		if f.row, ok = f.next(); !ok {
			return CSVRow{}, false
		}
	}
	return f.row, f.row.Line == line
}

func (f *failedRows) write(to *reportFile, r *store.ReportRow) error {
	if !f.headed {
		f.headed = true
		head := []string{"reason", "user_id"}
		if f.csv.HasPIN() {
			head = append(head, "pin")
		}
		if f.csv.HasPassword() {
			head = append(head, "password")
		}
		if err := to.line(csvLine(append(head, f.csv.OtherColumns()...)...)); err != nil {
			return err
		}
	}
	row, ok := f.at(r.Line)
	if !ok {
		return nil
	}
	cells := []string{string(r.Code), row.UserID}
	if f.csv.HasPIN() {
		cells = append(cells, "")
	}
	if f.csv.HasPassword() {
		cells = append(cells, "")
	}
	return to.line(csvLine(append(cells, row.Other...)...))
}
