package strictyaml

import "strings"

// plainKind is what YAML reads an unquoted scalar as.
type plainKind int

const (
	plainString plainKind = iota
	plainNull
	plainBool
	plainDigits // 0, or digits without a leading zero: taken as written
	plainNumber // any other form that YAML 1.1 or 1.2 reads as a number
)

func kindOfPlain(s string) plainKind {
	switch s {
	case "", "~", "null", "Null", "NULL":
		return plainNull
	case "true", "True", "TRUE", "false", "False", "FALSE":
		return plainBool
	}
	if isDigits(s) {
		if s[0] != '0' || len(s) == 1 {
			return plainDigits
		}
		return plainNumber
	}
	if isNumber(s) {
		return plainNumber
	}
	return plainString
}

func isDigits(s string) bool {
	return s != "" && strings.Trim(s, "0123456789") == ""
}

// isNumber tells whether YAML 1.1 or 1.2 reads s as a number: decimal, octal,
// hexadecimal, binary, with underscores, sexagesimal, with an exponent,
// infinite or not a number.
func isNumber(s string) bool {
	s = strings.TrimLeft(s[:1], "+-") + s[1:]
	switch strings.ToLower(s) {
	case "":
		return false
	case ".inf", ".nan":
		return true
	}
	if len(s) > 2 && s[0] == '0' {
		switch s[1] {
		case 'x', 'X':
			return strings.Trim(s[2:], "0123456789abcdefABCDEF_") == ""
		case 'o', 'O', 'b', 'B':
			return strings.Trim(s[2:], "01234567_") == ""
		}
	}
	if strings.Contains(s, ":") {
		return isSexagesimal(s)
	}
	return isFloat(s)
}

// isFloat takes digits with underscores, a point and an exponent, each of
// which may be left out.
func isFloat(s string) bool {
	mantissa, exponent, found := cutAny(s, "eE")
	if found && !isDigits(strings.TrimLeft(exponent[:min(1, len(exponent))], "+-")+exponent[min(1, len(exponent)):]) {
		return false
	}
	whole, fraction, _ := strings.Cut(mantissa, ".")
	digits := strings.ReplaceAll(whole+fraction, "_", "")
	return isDigits(digits) && !strings.HasPrefix(mantissa, "_")
}

// isSexagesimal takes what YAML 1.1 reads in base 60, such as 12:30:45.
func isSexagesimal(s string) bool {
	parts := strings.Split(s, ":")
	for i, part := range parts {
		if i == len(parts)-1 {
			part = strings.Replace(part, ".", "", 1)
		}
		if !isDigits(strings.ReplaceAll(part, "_", "")) {
			return false
		}
	}
	return true
}

func cutAny(s, chars string) (before, after string, found bool) {
	if i := strings.IndexAny(s, chars); i >= 0 {
		return s[:i], s[i+1:], true
	}
	return s, "", false
}
