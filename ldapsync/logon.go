package ldapsync

import "strings"

// logonCode returns the number with which Active Directory says why it refuses
// a logon, from the text of its answer ("… AcceptSecurityContext error, data
// 52e, v3839"); "" where there is none.
func logonCode(err error) string {
	_, rest, ok := strings.Cut(strings.ToLower(err.Error()), " data ")
	if !ok {
		return ""
	}
	code, _, _ := strings.Cut(rest, ",")
	return strings.TrimSpace(code)
}

// logonRefusal says in words why a logon was refused. Other servers than Active
// Directory do not say.
func logonRefusal(err error) string {
	switch logonCode(err) {
	case "525":
		return "there is no such account"
	case "52e":
		return "wrong name or password"
	case "530":
		return "the account may not log on at this hour"
	case "531":
		return "the account may not log on from here"
	case "532":
		return "the account's password has expired"
	case "533":
		return "the account is disabled"
	case "701":
		return "the account has expired"
	case "773":
		return "the account's password must be changed first"
	case "775":
		return "the account is locked"
	}
	return "wrong name or password, or the account is locked or expired"
}
