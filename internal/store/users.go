package store

import (
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	"github.com/dirpin/dirpin/internal/user"
)

// userColumns are the columns that scanUser reads, in its order.
const userColumns = `users.id, users.user_id, users.first_name, users.middle_name, users.last_name,
	users.manager, users.department, users.mail, users.telephone, users.language,
	users.status, users.inactive_reason, users.agreement, users.dn, coalesce(users.entry_key, '')`

func scanUser(r rowScanner, more ...any) (*user.User, error) {
	u := new(user.User)
	return u, scanUserInto(u, r, more...)
}

func scanUserInto(u *user.User, r rowScanner, more ...any) error {
	var departments string
	dest := append([]any{&u.ID, &u.UserID, &u.FirstName, &u.MiddleName, &u.LastName,
		&u.Manager, &departments, &u.Mail, &u.Telephone, &u.Language,
		&u.Status, &u.InactiveReason, &u.Agreement, &u.DN, &u.Key}, more...)
	if err := r.Scan(dest...); err != nil {
		return err
	}
	var err error
	u.Departments, err = decodeDepartments(departments)
	return err
}

// Departments are stored as written, as a JSON array; one plain department,
// which nearly every user has, as it stands.
func encodeDepartments(ds []string) (written, folded string, n int) {
	var f strings.Builder
	for _, d := range ds {
		if fd := user.Fold(d); fd != "" {
			if n == 0 {
				f.WriteByte('\n')
			}
			f.WriteString(fd)
			f.WriteByte('\n')
			n++
		}
	}
	switch {
	case len(ds) == 0:
	case len(ds) == 1 && ds[0] != "" && ds[0][0] != '[':
		written = ds[0]
	default:
		b, _ := json.Marshal(ds) // strings cannot fail
		written = string(b)
	}
	return written, f.String(), n
}

func decodeDepartments(s string) ([]string, error) {
	if s == "" {
		return nil, nil
	}
	if s[0] != '[' {
		return []string{s}, nil
	}
	var ds []string
	if err := json.Unmarshal([]byte(s), &ds); err != nil {
		return nil, fmt.Errorf("reading the departments of a user: %w", err)
	}
	return ds, nil
}

// writtenColumns are the columns of a user that are written as they are given,
// in the order of written; the manager of a synchronized user is not among
// them.
const writtenColumns = `user_id, user_id_f, first_name, first_name_f, middle_name, middle_name_f,
	last_name, last_name_f, department, department_f, departments, mail, mail_f, telephone, telephone_f, language,
	status, inactive_reason, agreement, entry_key, dn, changed_at`

func (t *Tx) written(v values, u *user.User) {
	written, folded, n := encodeDepartments(u.Departments)
	for _, s := range [...]string{u.UserID, u.FirstName, u.MiddleName, u.LastName} {
		v.text(s)
		v.text(user.Fold(s))
	}
	v.text(written)
	v.text(folded)
	v.number(int64(n))
	for _, s := range [...]string{u.Mail, u.Telephone} {
		v.text(s)
		v.text(user.Fold(s))
	}
	v.text(u.Language)
	v.text(string(u.Status))
	v.text(u.InactiveReason)
	v.text(u.Agreement)
	orNull(v, u.Key)
	v.text(u.DN)
	v.number(t.now)
}

// AddUser stores a new user and sets its ID. ErrExists: the folded user id is
// taken.
func (t *Tx) AddUser(u *user.User) error {
	var row boxed
	t.written(&row, u)
	row.text(u.Manager)
	row.text(user.Fold(u.Manager))
	id, err := t.insert("INSERT INTO users ("+writtenColumns+", manager, manager_f) VALUES (?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?)", row...)
	if isUnique(err) {
		return fmt.Errorf("user %s: %w", u.UserID, ErrExists)
	}
	if err != nil {
		return fmt.Errorf("storing user %s: %w", u.UserID, err)
	}
	u.ID = id
	return nil
}

// User returns the user of that id, compared folded, or ErrNotFound.
func (t *Tx) User(userID string) (*user.User, error) {
	u, err := scanUser(t.row("SELECT "+userColumns+" FROM users WHERE user_id_f = ?", user.Fold(userID)))
	if errors.Is(err, sql.ErrNoRows) {
		return nil, fmt.Errorf("user %s: %w", userID, ErrNotFound)
	}
	if err != nil {
		return nil, fmt.Errorf("reading user %s: %w", userID, err)
	}
	return u, nil
}

// RemoveUser removes the user with its credentials. A user with an item in
// flight stays: ErrInFlight.
func (t *Tx) RemoveUser(id int64) error {
	job, err := t.InFlight(id)
	if err == nil && job != 0 {
		err = fmt.Errorf("%w %d", ErrInFlight, job)
	}
	if err != nil {
		return err
	}
	n, err := t.exec("DELETE FROM users WHERE id = ?", id)
	if err == nil && n == 0 {
		err = ErrNotFound
	}
	return err
}

// ErrInFlight says that a job is changing the user at this moment.
var ErrInFlight = errors.New("the user is being changed by job")

// Flag puts a user on the work list.
func (t *Tx) Flag(id, job int64, code string) error {
	t.noFlags = -1
	_, err := t.exec(`INSERT INTO flags (user_ref, job, code, at) VALUES (?,?,?,?)
		ON CONFLICT (user_ref) DO UPDATE SET job = excluded.job, code = excluded.code, at = excluded.at`, id, job, code, t.now)
	return err
}

// Unflag takes a user off the work list and tells whether it was on it.
func (t *Tx) Unflag(id int64) (bool, error) {
	n, err := t.exec("DELETE FROM flags WHERE user_ref = ?", id)
	return n > 0, err
}

// FlagOf is why a user is on the work list.
type FlagOf struct {
	Job  int64
	Code string
	At   int64 // milliseconds since 1970
}

// FlagOf returns why a user is on the work list; nil where it is not.
func (t *Tx) FlagOf(id int64) (*FlagOf, error) {
	var f FlagOf
	err := t.row("SELECT job, code, at FROM flags WHERE user_ref = ?", id).Scan(&f.Job, &f.Code, &f.At)
	if errors.Is(err, sql.ErrNoRows) {
		return nil, nil
	}
	return &f, err
}
