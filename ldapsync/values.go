package ldapsync

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"slices"
	"unicode"
	"unicode/utf8"

	"github.com/dirpin/dirpin/internal/roster"
	"github.com/dirpin/dirpin/internal/user"
)

// What is taken of a directory, in bytes.
const (
	maxField  = 1024
	maxUserID = 255
	maxDN     = 8 << 10
	maxValues = 5000 // of one field
)

// faultIn says why a value cannot be taken, without quoting it; "" if it can.
func faultIn(name string, value []byte, most int) string {
	if len(value) > most {
		return fmt.Sprintf("%s: %d bytes; at most %d are taken", name, len(value), most)
	}
	if plain(value) {
		return ""
	}
	for i := 0; i < len(value); {
		r, n := rune(value[i]), 1
		if r >= utf8.RuneSelf {
			r, n = utf8.DecodeRune(value[i:])
		}
		switch {
		case r == utf8.RuneError && n == 1:
			return fmt.Sprintf("%s: %d bytes that are not UTF-8", name, len(value))
		case r < ' ' || r >= 0x7f && unicode.IsControl(r):
			return fmt.Sprintf("%s: %d bytes with the control character %U", name, len(value), r)
		}
		i += n
	}
	return ""
}

// plain tells whether all of a value are printing ASCII characters, as nearly
// always: eight at a time.
func plain(value []byte) bool {
	const each, high = 0x0101010101010101, 0x8080808080808080
	for ; len(value) >= 8; value = value[8:] {
		v := binary.LittleEndian.Uint64(value)
		// The high bit of a byte below ' ' is left behind by the subtraction, that
		// of 0x7f by the addition; what is borrowed or carried comes from such a byte.
		if (v|(v-' '*each)|(v+each))&high != 0 {
			return false
		}
	}
	for _, c := range value {
		if c < ' ' || c >= 0x7f {
			return false
		}
	}
	return true
}

// blank tells whether a value is nothing but spaces: user.Fold leaves nothing
// of it.
func blank(value []byte) bool {
	for i := 0; i < len(value); {
		r, n := utf8.DecodeRune(value[i:])
		switch {
		case r < utf8.RuneSelf && !unicode.IsSpace(r), unicode.IsLetter(r):
			return false
		case r >= utf8.RuneSelf:
			return user.Fold(string(value)) == "" // what becomes a space is its to say
		}
		i += n
	}
	return true
}

// choose adds the values of an attribute that are not blank, sorted, each once;
// or says what is wrong with one of them.
func choose(values [][]byte, field user.Field, attribute string, raw [][]byte) (_ [][]byte, fault string) {
	if len(raw) > maxValues {
		return values, fmt.Sprintf("%s: %d values; at most %d are taken", attribute, len(raw), maxValues)
	}
	most := maxField
	switch field {
	case user.FieldUserID:
		most = maxUserID
	case user.FieldManager:
		most = maxDN
	}
	for _, v := range raw {
		if fault := faultIn(attribute, v, most); fault != "" {
			return values, fault
		}
		if !blank(v) {
			values = append(values, v)
		}
	}
	if len(values) > 1 {
		slices.SortFunc(values, bytes.Compare)
		values = slices.CompactFunc(values, bytes.Equal)
	}
	return values, ""
}

// singleFields are the fields of one value.
func singleFields() []user.Field {
	return []user.Field{user.FieldUserID, user.FieldFirstName, user.FieldMiddleName, user.FieldLastName,
		user.FieldManager, user.FieldMail, user.FieldTelephone, FieldLanguage}
}

// fieldOf returns where a person keeps a field of one value. The manager's is
// the DN: its user id follows from it.
func fieldOf(p *roster.Person, f user.Field) *string {
	switch f {
	case user.FieldUserID:
		return &p.UserID
	case user.FieldFirstName:
		return &p.FirstName
	case user.FieldMiddleName:
		return &p.MiddleName
	case user.FieldLastName:
		return &p.LastName
	case user.FieldManager:
		return &p.ManagerDN
	case user.FieldMail:
		return &p.Mail
	case user.FieldTelephone:
		return &p.Telephone
	case FieldLanguage:
		return &p.Language
	}
	panic("no field of one value: " + string(f))
}

func setField(p *roster.Person, f user.Field, value string) { *fieldOf(p, f) = value }

// empty empties a field.
func empty(p *roster.Person, f user.Field) {
	if f == user.FieldDepartment {
		p.Departments = nil
		return
	}
	setField(p, f, "")
}
