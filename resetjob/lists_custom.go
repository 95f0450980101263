package resetjob

import (
	"iter"
	"strings"
	"unicode/utf8"

	"github.com/dirpin/dirpin/internal/strictyaml"
	"github.com/dirpin/dirpin/internal/user"
)

const (
	maxListLine   = 1024       // bytes of a line
	maxListValues = 10_000_000 // lines of a list: sixty times the largest directory that is known
)

// CustomFile is a custom file that was found to be without fault: values of
// one field, a line each.
type CustomFile struct {
	Field user.Field
	text  string
	again []uint32 // ascending offsets of the lines that repeat an earlier value
	count int
}

// ListValue is one line of a custom file.
type ListValue struct {
	Line int
	Text string // as written, trimmed
}

// ListFields returns the fields that a custom file may hold.
func ListFields() []user.Field {
	return []user.Field{user.FieldUserID, user.FieldFirstName, user.FieldMiddleName, user.FieldLastName, user.FieldDepartment}
}

// ParseCustomFile decodes the content of a custom file and says everything
// that is wrong with it. With a fault there is no CustomFile: half a list is
// no list.
func ParseCustomFile(path string, data []byte, field user.Field) (*CustomFile, strictyaml.Faults) {
	text, faults := decodeListText(path, data)
	if faults != nil {
		return nil, faults
	}
	found := &listFaults{path: path}
	c := &CustomFile{Field: field, text: text}
	keys := make([]listKey, 0, min(maxListValues, 1+strings.Count(text, "\n")))
	hash := newListHash()
	for line := range eachLine(text) {
		value := c.check(line, len(keys) == 0, found)
		if value == "" {
			continue
		}
		if len(keys) == maxListValues {
			found.add(line.number, 1, "the list has more than %d values", maxListValues)
			break
		}
		keys = append(keys, listKey{hash.of(value), uint32(line.start), uint32(line.number)})
	}
	if len(keys) == 0 && !found.any() {
		found.add(1, 1, "the list has no values: it is empty")
	}
	if found.any() {
		return nil, found.faults()
	}
	c.again = repeats(keys, c.same, nil)
	c.count = len(keys) - len(c.again)
	return c, nil
}

// Len returns how many different values the file has.
func (c *CustomFile) Len() int { return c.count }

// Values yields each different value once, where it stands first, in the
// order of the file. It may be asked again.
func (c *CustomFile) Values() iter.Seq[ListValue] {
	return func(yield func(ListValue) bool) {
		again := c.again
		for line := range eachLine(c.text) {
			if len(again) > 0 && again[0] == uint32(line.start) {
				again = again[1:]
				continue
			}
			value := strings.TrimSpace(line.text)
			if value != "" && !yield(ListValue{Line: line.number, Text: value}) {
				return
			}
		}
	}
}

// check returns the folded value of a line, "" for one that has none.
func (c *CustomFile) check(line listLine, first bool, found *listFaults) string {
	if len(line.text) > maxListLine {
		found.add(line.number, 1, "the line has %d bytes; a value may have %d", len(line.text), maxListLine)
		return ""
	}
	value := user.Fold(line.text)
	if at, wrong := c.foreign(line.text); wrong != "" {
		found.add(line.number, 1+utf8.RuneCountInString(line.text[:at]), "%s", wrong)
		return value
	}
	if first && value != "" {
		if f, ok := headerField(value); ok {
			found.add(line.number, 1, "the first line is the name of a field (%s): a custom file has no header; delete the line, or move it down where it is a value", f)
		}
	}
	return value
}

// foreign says what in a line shows that the file is no custom file, and where.
func (c *CustomFile) foreign(text string) (int, string) {
	for i := range len(text) {
		switch b := text[i]; {
		case b == '\t':
			return i, "a tab: a custom file has one value a line and no columns"
		case b == ';':
			return i, "a semicolon: a custom file has one value a line and no columns"
		case b == ',' && c.Field == user.FieldUserID:
			return i, "a comma: a custom file has one user id a line and no columns"
		case b == '\r':
			return i, "a carriage return within the line: lines end with LF or CRLF"
		case b < ' ', b == 0x7f:
			return i, "a control character: the file is not text"
		}
	}
	if i := strings.IndexRune(text, byteOrderMark); i >= 0 {
		return i, "a byte order mark within the file, as two files joined have: save it as one text"
	}
	return 0, ""
}

// same tells whether two lines hold one value.
func (c *CustomFile) same(a, b uint32) bool {
	return user.Fold(lineAt(c.text, a)) == user.Fold(lineAt(c.text, b))
}

// headerField returns the field whose name or label the folded text is.
func headerField(folded string) (user.Field, bool) {
	for _, f := range user.Fields() {
		if folded == user.Fold(string(f)) || folded == user.Fold(f.Label()) {
			return f, true
		}
	}
	return "", false
}

const byteOrderMark = '\ufeff'

// listLine is a line of a text, without its end.
type listLine struct {
	number int
	start  int
	text   string
}

// eachLine yields the lines of a text that end with LF, CRLF or the text.
func eachLine(text string) iter.Seq[listLine] {
	return func(yield func(listLine) bool) {
		for start, number := 0, 1; start < len(text); number++ {
			if !yield(listLine{number, start, lineAt(text, uint32(start))}) {
				return
			}
			i := strings.IndexByte(text[start:], '\n')
			if i < 0 {
				return
			}
			start += i + 1
		}
	}
}

// lineAt returns the line that starts at an offset, without its end.
func lineAt(text string, start uint32) string {
	line, _, _ := strings.Cut(text[start:], "\n")
	return strings.TrimSuffix(line, "\r")
}
