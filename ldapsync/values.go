package ldapsync

import (
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
	maxValues = 1000 // of one field
)

// faultIn says why a value cannot be taken, without quoting it; "" if it can.
func faultIn(name string, value []byte, most int) string {
	if len(value) > most {
		return fmt.Sprintf("%s: %d bytes; at most %d are taken", name, len(value), most)
	}
	if !utf8.Valid(value) {
		return fmt.Sprintf("%s: %d bytes that are not UTF-8", name, len(value))
	}
	for _, c := range string(value) {
		if unicode.IsControl(c) {
			return fmt.Sprintf("%s: %d bytes with the control character %U", name, len(value), c)
		}
	}
	return ""
}

// textValues returns the values of an attribute that are not blank, sorted,
// each once; or what is wrong with one of them.
func textValues(field user.Field, attribute string, raw [][]byte) (values []string, fault string) {
	if len(raw) > maxValues {
		return nil, fmt.Sprintf("%s: %d values; at most %d are taken", attribute, len(raw), maxValues)
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
			return nil, fault
		}
		s := string(v)
		if user.Fold(s) == "" {
			continue
		}
		if field == user.FieldManager {
			s = normalDN(s)
		}
		values = append(values, s)
	}
	if len(values) > 1 {
		slices.Sort(values)
		values = slices.Compact(values)
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

// blank empties a field.
func blank(p *roster.Person, f user.Field) {
	if f == user.FieldDepartment {
		p.Departments = nil
		return
	}
	setField(p, f, "")
}
