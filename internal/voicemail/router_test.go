package voicemail

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/dirpin/dirpin/config"
	"github.com/dirpin/dirpin/internal/user"
)

func TestRouter(t *testing.T) {
	department := func(d string) *user.Query {
		return &user.Query{Match: user.MatchAll, Where: []user.Term{{Cond: &user.Condition{Field: user.FieldDepartment, Op: user.IsExactly, Text: []string{d}}}}}
	}
	system := func(name string, q *user.Query) *System {
		s, err := New(&config.Voicemail{Name: name, Type: "http", URL: "http://127.0.0.1:1", Timeout: time.Second, For: q}, Options{})
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
	a, b, rest := system("a", department("12")), system("b", department("14")), system("rest", nil)
	none, err := New(&config.Voicemail{Name: "none", Type: "none"}, Options{})
	if err != nil {
		t.Fatal(err)
	}
	in := func(m Mode, systems ...*System) *Router {
		r := NewRouter(systems...)
		r.Mode = m
		return r
	}
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
		{"all that match", in(All, a, b, rest), both, "a b rest", nil},
		{"all that match, of two", in(Any, b, a), both, "b a", nil},
		{"one of them", in(All, a, b), &user.User{Departments: []string{"12"}}, "a", nil},
		{"none of them", in(Any, a, b), &user.User{Departments: []string{"7"}}, "", ErrNoneMatches},
		{"no mailbox is needed by the first", NewRouter(none, rest), both, "none", nil},
		{"no mailbox is needed, but another entry has one", in(All, none, a, b), both, "a b", nil},
		{"no mailbox is needed, and no other entry matches", in(Any, none, a), &user.User{Departments: []string{"7"}}, "none", nil},
	} {
		got, err := tt.router.Route(tt.u)
		var names []string
		for _, s := range got {
			names = append(names, s.Name())
		}
		if !errors.Is(err, tt.err) || strings.Join(names, " ") != tt.want {
			t.Errorf("%s: got %v, %v", tt.name, names, err)
		}
		if err := tt.router.Close(); err != nil {
			t.Errorf("%s: close: %v", tt.name, err)
		}
	}
	if s := NewRouter(a, b).Systems(); len(s) != 2 || s[0] != a {
		t.Errorf("systems %v", s)
	}
}
