package strictyaml

import (
	"bytes"
	"encoding/binary"
	"strings"
	"unicode/utf16"
	"unicode/utf8"
)

const (
	faultNUL     = "a NUL byte: a binary file, or UTF-16 without a byte order mark; save it as UTF-8"
	faultUTF8    = "bytes that are not UTF-8: save the file as UTF-8 (or UTF-16 with a byte order mark)"
	faultUTF16   = "half of a UTF-16 character: the file is damaged or was cut; save it as UTF-8"
	faultOddSize = "a UTF-16 file of an odd number of bytes: it was cut; save it as UTF-8"
)

// DecodeText returns the text of a file in UTF-8 with or without a byte order
// mark, or in UTF-16 with one. Line ends stay as they are. Every line with
// other bytes is a fault, and so is a NUL.
func DecodeText(file string, data []byte) (string, Faults) {
	d := textDecoder{file: file, line: 1, col: 1}
	switch {
	case bytes.HasPrefix(data, []byte{0xFF, 0xFE}):
		return d.utf16(data[2:], binary.LittleEndian)
	case bytes.HasPrefix(data, []byte{0xFE, 0xFF}):
		return d.utf16(data[2:], binary.BigEndian)
	}
	return d.utf8(bytes.TrimPrefix(data, []byte{0xEF, 0xBB, 0xBF}))
}

type textDecoder struct {
	file      string
	line, col int
	lastLine  int // the last line with a fault: one a line is enough
	faults    Faults
}

func (d *textDecoder) utf8(data []byte) (string, Faults) {
	if utf8.Valid(data) && bytes.IndexByte(data, 0) < 0 {
		return string(data), nil
	}
	for len(data) > 0 {
		r, size := utf8.DecodeRune(data)
		if r == utf8.RuneError && size == 1 {
			d.fault(faultUTF8)
		}
		d.step(r)
		data = data[size:]
	}
	return "", d.faults
}

func (d *textDecoder) utf16(data []byte, order binary.ByteOrder) (string, Faults) {
	var b strings.Builder
	b.Grow(len(data))
	for len(data) >= 2 {
		r := rune(order.Uint16(data))
		data = data[2:]
		if utf16.IsSurrogate(r) {
			low := rune(utf8.RuneError)
			if len(data) >= 2 {
				low = rune(order.Uint16(data))
			}
			if r = utf16.DecodeRune(r, low); r == utf8.RuneError {
				d.fault(faultUTF16)
			} else {
				data = data[2:]
			}
		}
		d.step(r)
		b.WriteRune(r)
	}
	if len(data) > 0 {
		d.fault(faultOddSize)
	}
	if len(d.faults) > 0 {
		return "", d.faults
	}
	return b.String(), nil
}

func (d *textDecoder) step(r rune) {
	if r == 0 {
		d.fault(faultNUL)
	}
	d.col++
	if r == '\n' {
		d.line++
		d.col = 1
	}
}

func (d *textDecoder) fault(message string) {
	if d.line == d.lastLine {
		return
	}
	d.lastLine = d.line
	d.faults.add(Fault{File: d.file, Line: d.line, Column: d.col, Message: message})
}
