package ldapsync

import "github.com/dirpin/dirpin/config"

// The kinds of directory.
const (
	KindOpenLDAP = "openldap"
	Kind389      = "389ds"
	KindAD       = "ad" // Active Directory and Samba
	KindOther    = "other"
)

// keyAttribute returns the attribute that holds an entry's immutable id.
func keyAttribute(kind string) string {
	switch kind {
	case Kind389:
		return "nsUniqueId"
	case KindAD:
		return "objectGUID"
	}
	return "entryUUID" // RFC 4530
}

// defaultFilter returns who is a person where the agreement does not say.
func defaultFilter(kind string) string {
	if kind == KindAD {
		return "(&(objectCategory=person)(objectClass=user))"
	}
	return "(objectClass=inetOrgPerson)"
}

// withDefaults fills in the attributes that the agreement does not name.
func withDefaults(a config.Attributes, kind string) config.Attributes {
	userID, department := "uid", "departmentNumber"
	if kind == KindAD {
		userID, department = "sAMAccountName", "department"
	}
	or := func(names []string, defaults ...string) []string {
		if names != nil { // an empty list: the field is not read
			return names
		}
		return defaults
	}
	return config.Attributes{
		UserID:     or(a.UserID, userID),
		FirstName:  or(a.FirstName, "givenName"),
		MiddleName: or(a.MiddleName, "middleName", "initials"),
		LastName:   or(a.LastName, "sn"),
		Manager:    or(a.Manager, "manager"),
		Department: or(a.Department, department),
		Mail:       or(a.Mail, "mail"),
		Telephone:  or(a.Telephone, "telephoneNumber"),
		Language:   or(a.Language, "preferredLanguage"),
	}
}

// expiryAttribute returns the attribute that says when an account ends; ""
// where a directory of that kind has none.
func expiryAttribute(kind string) string {
	if kind == KindAD {
		return "accountExpires"
	}
	return ""
}

// inactiveAttribute returns the attribute that says that an account is
// disabled; "" where a directory of that kind has none.
func inactiveAttribute(kind string) string {
	switch kind {
	case KindAD:
		return "userAccountControl"
	case Kind389:
		return "nsAccountLock"
	}
	return ""
}
