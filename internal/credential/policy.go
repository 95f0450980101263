package credential

import (
	"unicode/utf8"

	"github.com/dirpin/dirpin/config"
	"github.com/dirpin/dirpin/internal/outcome"
	"github.com/dirpin/dirpin/internal/secret"
	"github.com/dirpin/dirpin/internal/user"
)

// Person is what a policy asks about the user who gets a value.
type Person struct {
	UserID     string
	FirstName  string
	MiddleName string
	LastName   string
	Telephone  string
}

// PersonOf returns what the policy asks about the user.
func PersonOf(u *user.User) Person {
	return Person{UserID: u.UserID, FirstName: u.FirstName, MiddleName: u.MiddleName, LastName: u.LastName, Telephone: u.Telephone}
}

// CheckGiven says what is wrong with a value whoever the user is: OK,
// NotDigits, TooShort, TooLong or Trivial, in this order. The length of a
// password counts characters as Unicode does (code points), of a PIN digits.
// No value is longer than 1,024 bytes, whatever the policy says.
//
// A PIN is Trivial by itself where the policy forbids it and
//   - a digit stands three or more times in a row (28883), or
//   - it has fewer than three different digits (121212), or
//   - a group of three or more digits stands in it twice, side by side or not
//     (408408, 408510408), or
//   - three or more digits in a row lie side by side on a straight line of the
//     keypad, in either direction: 123 456 789, 147 258 369 580, 159 357, and
//     so 2580, 159753, 147258, or
//   - its digits all go up or all go down by one, 0 coming before 1 and after
//     9 (2345, 9876, 8901).
func CheckGiven(kind Kind, v secret.Value, p config.Policy) outcome.Code {
	return checkGiven(kind, v.Reveal(), p)
}

// Check says what is wrong with a value for this user: what CheckGiven says,
// then ContainsUserID, then Trivial.
//
// A value is refused as ContainsUserID if, with case and such folded
// (user.Fold), it equals the user id or what stands before its @, if either of
// these has three characters or more and stands in the value, or if the value
// has three or more and stands in the user id. A PIN also must not contain a
// run of four or more digits of the user id (u4711: 194711).
//
// A PIN is Trivial for a user where the policy forbids it and
//   - it stands in the telephone number, forwards or backwards, in what is
//     left of that without all that is no digit (32 2 555 0123: 5501, 3210),
//     or
//   - it contains, forwards or backwards, the last four digits of the number,
//     or the whole number where it has only three; dirpin knows no other
//     extension, or
//   - it is the name as it is dialled by name, or a part of it: it stands in
//     the keys of first and last name written together, of the first name's
//     initial and the last name, or of both initials and the last name; or
//     contains those of the first or the last name where they are four or more
//     (John Doe: 5646, 56463, 5363; Smith: 176484). Accents are dropped, ß is
//     ss, æ is ae; letters outside Latin have no keys.
//
// Digits fewer than three are not looked for.
func Check(kind Kind, v secret.Value, p config.Policy, person Person) outcome.Code {
	value := v.Reveal()
	if code := checkGiven(kind, value, p); code != outcome.OK {
		return code
	}
	var who traits
	who.set(kind, person)
	return who.check(kind, value, p)
}

func checkGiven(kind Kind, value string, p config.Policy) outcome.Code {
	n := len(value)
	if kind == PIN {
		if n <= maxBytes && !allDigits(value) {
			return outcome.NotDigits
		}
	} else if n <= maxBytes {
		n = utf8.RuneCountInString(value)
	}
	switch {
	case n < max(p.MinLength, 1):
		return outcome.TooShort
	case p.MaxLength > 0 && n > p.MaxLength, len(value) > maxBytes:
		return outcome.TooLong
	case kind == PIN && p.ForbidTrivial && trivial(value):
		return outcome.Trivial
	}
	return outcome.OK
}

func allDigits(s string) bool {
	for i := range len(s) {
		if s[i] < '0' || s[i] > '9' {
			return false
		}
	}
	return true
}
