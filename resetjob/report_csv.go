package resetjob

import (
	"iter"

	"github.com/dirpin/dirpin/internal/store"
)

// failedRows gives the rows of a csv back with the reason put first. Cells
// that held secrets are empty: no report holds one.
type failedRows struct {
	csv    *CSV
	rows   csvRows
	headed bool
}

func newFailedRows(csv *CSV) *failedRows {
	next, stop := iter.Pull(csv.Rows())
	return &failedRows{csv: csv, rows: csvRows{next: next, stop: stop}}
}

// stop lets go of the csv, which would else be kept for as long as the process
// lives. A nil f has none.
func (f *failedRows) stop() {
	if f != nil {
		f.rows.stop()
	}
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
	row, ok := f.rows.at(r.Line)
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
