package resetjob

import (
	"iter"
	"strings"

	"github.com/dirpin/dirpin/internal/outcome"
	"github.com/dirpin/dirpin/internal/secret"
	"github.com/dirpin/dirpin/internal/strictyaml"
)

// CheckGiven returns the code with which a value would fail whoever the user
// is, or outcome.OK. Kind is "pin" or "password".
type CheckGiven func(kind string, value secret.Value) outcome.Code

// What CheckGiven is asked about, and the cell that names the user.
const (
	givenPIN      = "pin"
	givenPassword = "password"
	givenUserID   = "user_id"
)

// CSVOptions say what a csv must be like.
type CSVOptions struct {
	PINLength int        // of every PIN; 0: all alike
	Check     CheckGiven // nil: no policy
}

// CSV is a csv file that was found to be without fault: values of their own
// for each user. It keeps the text, not the rows: a million of them stay
// cheap.
type CSV struct {
	text    string
	sep     byte
	columns csvColumns
	again   []uint32 // ascending offsets of the rows that repeat an earlier one
	count   int
}

// CSVRow is what a csv says of one user. A zero PIN or Password is one that
// the row leaves empty.
type CSVRow struct {
	Line     int
	UserID   string // as written
	PIN      secret.Value
	Password secret.Value
	Other    []string // the cells of OtherColumns
}

// ParseCSV decodes the content of a csv and says everything that is wrong with
// it, never quoting a cell. With a fault there is no CSV.
func ParseCSV(path string, data []byte, opts CSVOptions) (*CSV, strictyaml.Faults) {
	text, faults := decodeListText(path, data)
	if faults != nil {
		return nil, faults
	}
	found := &listFaults{path: path}
	c := &CSV{text: text, sep: detectSeparator(text)}
	c.read(opts, found)
	if found.any() {
		return nil, found.faults()
	}
	return c, nil
}

// read checks every row once.
func (c *CSV) read(opts CSVOptions, found *listFaults) {
	r := newCSVReader(c.text, c.sep)
	header, ok := r.next()
	switch {
	case !ok:
		found.add(1, 1, "the file is empty: it needs a header (user_id, and pin or password or both) and a row for each user")
		return
	case header.wrong != "":
		found.add(header.line, 1, "%s", header.wrong)
		return
	}
	if c.columns = parseCSVHeader(r, header, found); found.any() {
		return
	}
	keys, rows := c.readRows(r, opts, found)
	if rows == 0 {
		found.add(header.line, 1, "the file has a header and no rows")
	}
	c.again = repeats(keys, c.sameUser, func(first, again listKey) {
		if !c.sameValues(first.offset, again.offset) {
			found.add(int(again.line), 1, "the user of line %d again, with other values: give each user one row", first.line)
		}
	})
	c.count = len(keys) - len(c.again)
}

func (c *CSV) readRows(r *csvReader, opts CSVOptions, found *listFaults) (keys []listKey, rows int) {
	rules := &csvRules{opts: opts, found: found, reader: r, columns: &c.columns}
	keys = make([]listKey, 0, min(maxListValues, 1+strings.Count(c.text, "\n")))
	hash := newListHash()
	for row, ok := r.next(); ok; row, ok = r.next() {
		if rows++; rows > maxListValues {
			found.add(row.line, 1, "the file has more than %d rows", maxListValues)
			break
		}
		if id, ok := rules.row(row); ok {
			keys = append(keys, listKey{hash.of(id), uint32(row.offset), uint32(row.line)})
		}
	}
	return keys, rows
}

// Len returns how many users the file names.
func (c *CSV) Len() int { return c.count }

// HasPIN tells whether the file has a column of PINs.
func (c *CSV) HasPIN() bool { return c.columns.pin >= 0 }

// HasPassword tells whether the file has a column of passwords.
func (c *CSV) HasPassword() bool { return c.columns.password >= 0 }

// OtherColumns returns the header of the columns that dirpin ignores, as
// written. They hold no secrets.
func (c *CSV) OtherColumns() []string { return c.columns.otherNames }

// Rows yields one row for each user, in the order of the file. It may be asked
// again.
func (c *CSV) Rows() iter.Seq[CSVRow] {
	return func(yield func(CSVRow) bool) {
		r := newCSVReader(c.text, c.sep)
		r.next() // the header
		again := c.again
		for row, ok := r.next(); ok; row, ok = r.next() {
			if len(again) > 0 && again[0] == uint32(row.offset) {
				again = again[1:]
				continue
			}
			if !yield(c.columns.decode(row.line, r.cells)) {
				return
			}
		}
	}
}

func (c *CSV) rowAt(offset uint32) CSVRow {
	r := newCSVReader(c.text, c.sep).at(offset)
	r.next()
	return c.columns.decode(r.line, r.cells)
}

func (c *CSV) sameUser(a, b uint32) bool {
	return csvUserKey(c.rowAt(a).UserID) == csvUserKey(c.rowAt(b).UserID)
}

func (c *CSV) sameValues(a, b uint32) bool {
	x, y := c.rowAt(a), c.rowAt(b)
	return x.PIN.Reveal() == y.PIN.Reveal() && x.Password.Reveal() == y.Password.Reveal()
}
