package user

import "strings"

// Status says where a user comes from and whether the directory still has it.
type Status string

// The statuses. Their text is what JSON, CSV and the store hold.
const (
	Local    Status = "local"
	Active   Status = "ldap-active"
	Inactive Status = "ldap-inactive"
)

// Label returns the status as tables show it, in Cisco's words.
func (s Status) Label() string {
	switch s {
	case Local:
		return "Local User"
	case Active:
		return "Active LDAP Synchronized User"
	case Inactive:
		return "Inactive LDAP Synchronized User"
	}
	return string(s)
}

// Reasons why a user is Inactive.
const (
	Absent   = "absent"   // the directory no longer has the entry
	Disabled = "disabled" // the account is disabled there
	Expired  = "expired"  // the account's end date has passed
)

// User is a person in the local store.
type User struct {
	ID             int64 // the store's own number; 0 before the user is stored
	UserID         string
	FirstName      string
	MiddleName     string
	LastName       string
	Manager        string // the manager's user id
	Departments    []string
	Mail           string
	Telephone      string
	Language       string
	Status         Status
	InactiveReason string // absent, disabled or expired where Status is Inactive
	Agreement      string // "" for a local user
	DN             string
	Key            string // the directory's immutable id of the entry, as text
}

// Values returns the values of a field: all departments, or the one value that
// is not empty.
func (u *User) Values(f Field) []string {
	if f == FieldDepartment {
		return u.Departments
	}
	if v := u.value(f); v != "" {
		return []string{v}
	}
	return nil
}

// Department returns all departments as they are shown: joined with "; ".
func (u *User) Department() string { return strings.Join(u.Departments, "; ") }
