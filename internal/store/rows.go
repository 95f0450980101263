package store

// #include <stdint.h>
// int dirpin_extend(void);
import "C"

import (
	"encoding/binary"
	"fmt"
	"strconv"
	"strings"
)

// extend teaches SQLite to take many rows in one call (rows.c).
func extend() error {
	if rc := C.dirpin_extend(); rc != 0 {
		return fmt.Errorf("extending SQLite: code %d", int(rc))
	}
	return nil
}

// values receives the values of a row, in the order of its columns.
type values interface {
	text(s string)
	number(n int64)
	boolean(b bool)
	null()
}

// boxed are the values of one row as database/sql takes them.
type boxed []any

func (a *boxed) text(s string)  { *a = append(*a, s) }
func (a *boxed) number(n int64) { *a = append(*a, n) }
func (a *boxed) boolean(b bool) { *a = append(*a, b) }
func (a *boxed) null()          { *a = append(*a, nil) }

// packed are the values of many rows, one behind another, as insertRows takes
// them.
type packed []byte

func (p *packed) text(s string) {
	*p = append(binary.NativeEndian.AppendUint32(append(*p, 't'), uint32(len(s))), s...)
}

func (p *packed) number(n int64) {
	*p = binary.NativeEndian.AppendUint64(append(*p, 'i'), uint64(n))
}

// boolean is a number to SQLite.
func (p *packed) boolean(b bool) {
	var n int64
	if b {
		n = 1
	}
	p.number(n)
}

func (p *packed) null() { *p = append(*p, 'n') }

// orNull makes NULL of an empty text, so that a partial index leaves it out.
func orNull(v values, s string) {
	if s == "" {
		v.null()
	} else {
		v.text(s)
	}
}

// insertRows stores rows of the columns that are named, and counts them. Where
// one of them cannot be stored those before it may be: the caller undoes them.
// OR FAIL has no page copied for undoing.
func (t *Tx) insertRows(table, columns string, rows packed) error {
	n := strings.Count(columns, ",") + 1
	from := make([]string, n)
	for i := range from {
		from[i] = "c" + strconv.Itoa(i)
	}
	_, err := t.exec("INSERT OR FAIL INTO "+table+" ("+columns+") SELECT "+strings.Join(from, ",")+" FROM dirpin_rows(?, "+strconv.Itoa(n)+")", []byte(rows))
	return err
}
