package user

import (
	"fmt"
	"reflect"
	"testing"
)

func TestFold(t *testing.T) {
	for _, tt := range []struct{ in, want string }{
		{"", ""},
		{"smith", "smith"},
		{"  De   Smet\t", "de smet"},
		{" ", ""},
		{"a b", "a b"},
		{"Straße", "strasse"},
		{"STRASSE", "strasse"},
		{"ＳＴＲＡＳＳＥ", "strasse"},
		{"İ", "i̇"},
		{"ſmith", "smith"},
		{"ﬁn", "fin"},
		{"no\u00a0break", "no break"},
		{"Zoë", "zoë"},
		{"Zoe\u0308", "zoë"},
		{"ΣΊΣΥΦΟΣ", "σίσυφοσ"},
		{"100%_\\", "100%_\\"},
		{"line\nbreak", "line break"},
	} {
		if got := Fold(tt.in); got != tt.want {
			t.Errorf("Fold(%q) = %q, want %q", tt.in, got, tt.want)
		}
	}
}

func TestSplitAlternatives(t *testing.T) {
	for _, tt := range []struct {
		in   string
		want []string
	}{
		{"12, 14", []string{"12", "14"}},
		{`"Sales, EMEA", 14`, []string{"Sales, EMEA", "14"}},
		{`"a ""quoted"" one"`, []string{`a "quoted" one`}},
		{", ,12,,", []string{"12"}},
		{"", nil},
		{`5" disk`, []string{`5" disk`}},
		{`"open, ended`, []string{"open, ended"}},
	} {
		if got := SplitAlternatives(tt.in); !reflect.DeepEqual(got, tt.want) {
			t.Errorf("SplitAlternatives(%q) = %q, want %q", tt.in, got, tt.want)
		}
	}
}

func TestMatch(t *testing.T) {
	u := &User{UserID: "jsmith", FirstName: "Jörg", LastName: "De  Smet", Departments: []string{"12", "Sales, EMEA"}, Status: Local}
	cond := func(f Field, op Op, text ...string) Term {
		return Term{Cond: &Condition{Field: f, Op: op, Text: text}}
	}
	for _, tt := range []struct {
		name string
		q    *Query
		want bool
	}{
		{"everyone", All(), true},
		{"folded", &Query{Where: []Term{cond(FieldLastName, IsExactly, "de smet")}}, true},
		{"inner spaces of the text", &Query{Where: []Term{cond(FieldLastName, BeginsWith, "DE   S")}}, true},
		{"any department", &Query{Where: []Term{cond(FieldDepartment, IsExactly, "14", "12")}}, true},
		{"no department of these", &Query{Where: []Term{cond(FieldDepartment, IsExactly, "1", "2")}}, false},
		{"department is not empty", &Query{Where: []Term{cond(FieldDepartment, IsNotEmpty)}}, true},
		{"manager is empty", &Query{Where: []Term{cond(FieldManager, IsEmpty)}}, true},
		{"and", &Query{Match: MatchAll, Where: []Term{cond(FieldUserID, Contains, "smi"), cond(FieldUserID, EndsWith, "x")}}, false},
		{"or", &Query{Match: MatchAny, Where: []Term{cond(FieldUserID, Contains, "smi"), cond(FieldUserID, EndsWith, "x")}}, true},
		{"nested", &Query{Match: MatchAll, Where: []Term{
			cond(FieldFirstName, BeginsWith, "jo\u0308"),
			{Group: &Query{Match: MatchAny, Where: []Term{cond(FieldDepartment, Contains, "emea"), cond(FieldDepartment, Contains, "apac")}}},
		}}, true},
	} {
		m := tt.q.Matcher()
		if got := m.Match(u); got != tt.want {
			t.Errorf("%s: got %v", tt.name, got)
		}
	}
}

// A list of ten thousand lines is a condition with as many texts.
func TestManyTextsMeanWhatFewDo(t *testing.T) {
	var texts []string
	for n := range 10 * manyTexts {
		texts = append(texts, fmt.Sprintf("  ÜSER  %d ", n), "")
	}
	for _, f := range []Field{FieldUserID, FieldDepartment} {
		m := (&Query{Where: []Term{{Cond: &Condition{Field: f, Op: IsExactly, Text: texts}}}}).Matcher()
		if m.conds[0].set == nil {
			t.Fatal("no set is made of many texts")
		}
		for value, want := range map[string]bool{"user 7": false, "üser 7": true, "üser 79": true, "üser 160": false, "": false, "üser": false} {
			u := &User{UserID: value, Departments: []string{"else", value}}
			if got := m.Match(u); got != want {
				t.Errorf("%s %q: %v", f, value, got)
			}
		}
	}
}
