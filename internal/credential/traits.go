package credential

import (
	"bytes"
	"strings"
	"unicode/utf8"

	"github.com/dirpin/dirpin/config"
	"github.com/dirpin/dirpin/internal/outcome"
	"github.com/dirpin/dirpin/internal/user"
)

// minPart is the length from which a value is looked for in what belongs to
// the user; minInside, from which that is looked for in a PIN. Shorter parts
// would refuse too much by chance.
const (
	minPart   = 3
	minInside = 4
)

// traits are a person in the form in which value after value is compared with
// it. It lives on the stack; set allocates nothing where the person is ASCII.
type traits struct {
	id       string // folded
	tel      keys   // of the telephone number
	backward keys   // the same in reverse
	name     keys   // of first and last name, written together
	first    int    // how many of these are the first name's
	initial  keys   // of the first initial and the last name
	initials keys   // of both initials and the last name
}

func (t *traits) set(kind Kind, p Person) {
	t.id = user.Fold(p.UserID)
	if kind != PIN {
		return
	}
	t.backward.telephone(p.Telephone)
	for i := t.backward.n - 1; i >= 0; i-- {
		t.tel.add(t.backward.b[i])
	}
	t.name.spell(p.FirstName)
	t.first = t.name.n
	t.name.spell(p.LastName)
	var middle keys
	middle.spell(p.MiddleName)

	last := t.name.b[t.first:t.name.n]
	initial := t.name.b[:min(t.first, 1)]
	t.initial.add(initial...)
	t.initial.add(last...)
	t.initials.add(initial...)
	t.initials.add(middle.b[:min(middle.n, 1)]...)
	t.initials.add(last...)
}

// check says what is wrong with a value for this user alone.
func (t *traits) check(kind Kind, value string, p config.Policy) outcome.Code {
	if kind != PIN {
		if containsID(user.Fold(value), t.id) {
			return outcome.ContainsUserID
		}
		return outcome.OK
	}
	switch {
	case containsID(value, t.id), containsRun(value, t.id):
		return outcome.ContainsUserID
	case p.ForbidTrivial && t.trivial(value):
		return outcome.Trivial
	}
	return outcome.OK
}

// containsID compares a folded value with a folded user id and with what
// stands before its @.
func containsID(value, id string) bool {
	if id == "" {
		return false
	}
	local, _, _ := strings.Cut(id, "@")
	for _, part := range [...]string{id, local} {
		if value == part || utf8.RuneCountInString(part) >= minPart && strings.Contains(value, part) {
			return true
		}
	}
	return utf8.RuneCountInString(value) >= minPart && strings.Contains(id, value)
}

// containsRun tells whether the PIN contains a run of digits of the user id.
func containsRun(pin, id string) bool {
	start := 0
	for i := 0; i <= len(id); i++ {
		if i < len(id) && '0' <= id[i] && id[i] <= '9' {
			continue
		}
		if i-start >= minInside && strings.Contains(pin, id[start:i]) {
			return true
		}
		start = i + 1
	}
	return false
}

// trivial tells whether a PIN is easy to guess for who knows the user.
func (t *traits) trivial(value string) bool {
	if len(value) < minPart {
		return false
	}
	pin := []byte(value)
	for _, whole := range [...]*keys{&t.tel, &t.backward, &t.name, &t.initial, &t.initials} {
		if bytes.Contains(whole.b[:whole.n], pin) {
			return true
		}
	}
	if n := min(t.tel.n, minInside); n >= minPart {
		if bytes.Contains(pin, t.tel.b[t.tel.n-n:t.tel.n]) || bytes.Contains(pin, t.backward.b[:n]) {
			return true
		}
	}
	for _, name := range [...][]byte{t.name.b[:t.first], t.name.b[t.first:t.name.n]} {
		if len(name) >= minInside && bytes.Contains(pin, name) {
			return true
		}
	}
	return false
}
