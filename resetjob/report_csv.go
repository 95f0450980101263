package resetjob

import (
	"iter"

	"github.com/dirpin/dirpin/internal/store"
)

// failedRows gives the rows of a csv back as they were written, with the reason
// put first as Unity Connection's bulk administration does: mended, the file can
// be dropped again. Cells that held secrets are empty, since no report holds one.
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
	row, ok := f.rows.at(r.Line)
	if !ok {
		return nil
	}
	given := f.csv.columns.given
	head, cells := make([]string, 1, 1+len(given)), make([]string, 1, 1+len(given))
	head[0], cells[0] = csvReason, reason(r)
	for _, g := range given {
		cell := ""
		switch {
		case g.id:
			cell = row.UserID
		case g.other >= 0:
			cell = row.Other[g.other]
		}
		head, cells = append(head, g.name), append(cells, cell)
	}
	if !f.headed {
		f.headed = true
		if err := to.line(csvLine(head...)); err != nil {
			return err
		}
	}
	return to.line(csvLine(cells...))
}

// reason is the code, and what more is known.
func reason(r *store.ReportRow) string {
	if r.Detail == "" {
		return string(r.Code)
	}
	return string(r.Code) + ": " + r.Detail
}
