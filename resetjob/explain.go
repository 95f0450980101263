package resetjob

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/dirpin/dirpin/internal/outcome"
	"github.com/dirpin/dirpin/internal/store"
	"github.com/dirpin/dirpin/internal/user"
	"github.com/dirpin/dirpin/internal/voicemail"
)

// Explanation is why a job selects a user or not, and what would happen.
type Explanation struct {
	UserID   string         `json:"user_id"`
	Selected bool           `json:"selected"`
	Lines    []string       `json:"why"` // for people
	Result   outcome.Result `json:"result"`
	Code     outcome.Code   `json:"code"`
	PIN      outcome.Code   `json:"pin"`
	Password outcome.Code   `json:"password"`
	System   string         `json:"voicemail"`
}

// Selected calls fn for everyone whom the job selects; u is nil where a line
// of its list names nobody.
func (e *Env) Selected(ctx context.Context, s *Submission, fn func(u *user.User, written string, line int) error) error {
	people, err := e.ask(ctx, s.Job, s.people)
	if err != nil {
		return err
	}
	return e.Store.Read(ctx, func(tx *store.Tx) error {
		return people.each(tx, func(sel *selected) error { return fn(sel.user, sel.written, sel.line) })
	})
}

// Explain says what a job file means for one user.
func (e *Env) Explain(ctx context.Context, s *Submission, id string) (*Explanation, error) {
	var u *user.User
	err := e.Store.Read(ctx, func(tx *store.Tx) (err error) {
		u, err = tx.User(id)
		return err
	})
	x := &Explanation{UserID: id}
	if errors.Is(err, store.ErrNotFound) {
		x.Lines = []string{fmt.Sprintf("There is no user %s in the local store.", id)}
		return x, nil
	}
	if err != nil {
		return nil, err
	}
	x.UserID = u.UserID
	x.Lines = append(x.Lines, fmt.Sprintf("%s: %s %s, department %s, %s", u.UserID, u.FirstName, u.LastName, orNone(u.Department()), u.Status.Label()))
	if q := s.Job.Select.Query; q != nil {
		x.Lines = append(x.Lines, explainQuery(q, u, "  ")...)
	}
	if _, err := e.Plan(ctx, s, func(p *Planned) error {
		if p.User != nil && p.User.ID == u.ID {
			x.add(p, s)
			return errFound
		}
		return nil
	}); err != nil && !errors.Is(err, errFound) {
		return nil, err
	}
	if !x.Selected {
		x.Lines = append(x.Lines, "Not selected: the job would leave this user alone.")
	}
	return x, nil
}

var errFound = errors.New("found")

func (x *Explanation) add(p *Planned, s *Submission) {
	x.Selected, x.Result, x.Code, x.PIN, x.Password, x.System = true, p.Result, p.Code, p.PIN, p.Password, p.System
	where := "Selected."
	if p.Line > 0 {
		where = fmt.Sprintf("Selected by line %d of the list.", p.Line)
	}
	x.Lines = append(x.Lines, where)
	for _, l := range []struct {
		what string
		code outcome.Code
	}{{"PIN", p.PIN}, {"password", p.Password}} {
		switch l.code {
		case "":
		case outcome.OK:
			text := "The " + l.what + " would be reset"
			if l.what == "PIN" && p.System != "" {
				text += waitsFor(p)
			}
			x.Lines = append(x.Lines, text+".")
		default:
			x.Lines = append(x.Lines, fmt.Sprintf("The %s would not be changed: %s. %s", l.what, l.code, meaning(l.code)))
		}
	}
}

// waitsFor says what a PIN waits for.
func waitsFor(p *Planned) string {
	switch p.Mode {
	case voicemail.All:
		return ", after all of the voicemail systems " + p.System + " accepted it"
	case voicemail.Any:
		return ", as soon as one of the voicemail systems " + p.System + " accepted it"
	}
	return ", after voicemail system " + p.System + " accepted it"
}

func meaning(c outcome.Code) string {
	for _, e := range outcome.Table() {
		if e.Code == c {
			return e.Meaning
		}
	}
	return ""
}

// explainQuery says of each condition whether it is true of the user.
func explainQuery(q *user.Query, u *user.User, indent string) []string {
	if q.Everyone {
		return []string{indent + "yes: all users"}
	}
	m := q.Matcher()
	lines := []string{fmt.Sprintf("%s%s: %s of", indent, yes(m.Match(u)), map[bool]string{true: "any", false: "all"}[q.Match == user.MatchAny])}
	for _, t := range q.Where {
		if t.Group != nil {
			lines = append(lines, explainQuery(t.Group, u, indent+"  ")...)
			continue
		}
		one := (&user.Query{Where: []user.Term{t}}).Matcher()
		text := strings.Join(t.Cond.Text, " or ")
		lines = append(lines, strings.TrimRight(fmt.Sprintf("%s  %s: %s %s %s", indent, yes(one.Match(u)), t.Cond.Field.Label(), t.Cond.Op, text), " "))
	}
	return lines
}

func yes(b bool) string {
	if b {
		return "yes"
	}
	return "no"
}

func orNone(s string) string {
	if s == "" {
		return "(none)"
	}
	return s
}
