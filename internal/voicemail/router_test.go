package voicemail

import (
	"errors"
	"testing"

	"github.com/dirpin/dirpin/config"
	"github.com/dirpin/dirpin/internal/user"
)

func TestRouter(t *testing.T) {
	department := func(d string) *user.Query {
		return &user.Query{Match: user.MatchAll, Where: []user.Term{{Cond: &user.Condition{Field: user.FieldDepartment, Op: user.IsExactly, Text: []string{d}}}}}
	}
	system := func(name string, q *user.Query) *System {
		s, err := New(&config.Voicemail{Name: name, Type: "none", For: q}, Options{})
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
	a, b, rest := system("a", department("12")), system("b", department("14")), system("rest", nil)
	both := &user.User{Departments: []string{"14", "12"}}
	for _, tt := range []struct {
		name   string
		router *Router
		u      *user.User
		want   string
		err    error
	}{
		{"the first that matches", NewRouter(a, b), both, "a", nil},
		{"in the order of the configuration", NewRouter(b, a), both, "b", nil},
		{"absent `for` is everyone", NewRouter(a, rest), &user.User{Departments: []string{"7"}}, "rest", nil},
		{"none matches", NewRouter(a, b), &user.User{Departments: []string{"7"}}, "", ErrNoneMatches},
		{"no department", NewRouter(a, b), &user.User{}, "", ErrNoneMatches},
		{"none configured", NewRouter(), both, "", ErrNoSystems},
	} {
		got, err := tt.router.Route(tt.u)
		if !errors.Is(err, tt.err) || got != nil && got.Name() != tt.want || got == nil && tt.want != "" {
			t.Errorf("%s: got %v, %v", tt.name, got, err)
		}
		if err := tt.router.Close(); err != nil {
			t.Errorf("%s: close: %v", tt.name, err)
		}
	}
	if s := NewRouter(a, b).Systems(); len(s) != 2 || s[0] != a {
		t.Errorf("systems %v", s)
	}
}
