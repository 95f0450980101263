package user

import (
	"reflect"
	"strings"
	"testing"
)

func TestParseCriterion(t *testing.T) {
	for _, tt := range []struct {
		in   string
		want Term
	}{
		{"department is exactly 12, 14", Term{Cond: &Condition{FieldDepartment, IsExactly, []string{"12", "14"}}}},
		{"Department Name IS EXACTLY 12", Term{Cond: &Condition{FieldDepartment, IsExactly, []string{"12"}}}},
		{"Last Name begins with S", Term{Cond: &Condition{FieldLastName, BeginsWith, []string{"S"}}}},
		{"last_name begins with De Smet, Jan", Term{Cond: &Condition{FieldLastName, BeginsWith, []string{"De Smet, Jan"}}}},
		{"manager is empty", Term{Cond: &Condition{Field: FieldManager, Op: IsEmpty}}},
		{"manager is not empty", Term{Cond: &Condition{Field: FieldManager, Op: IsNotEmpty}}},
		{"manager is exactly is empty", Term{Cond: &Condition{FieldManager, IsExactly, []string{"is empty"}}}},
		{"last name begins with", Term{Group: All()}},
		{"last name begins with  ", Term{Group: All()}},
		{"status is exactly ldap-active", Term{Cond: &Condition{FieldStatus, IsExactly, []string{"ldap-active"}}}},
		{"LDAP Sync Status is exactly local", Term{Cond: &Condition{FieldStatus, IsExactly, []string{"local"}}}},
	} {
		got, err := ParseCriterion(tt.in)
		if err != nil || !reflect.DeepEqual(got, tt.want) {
			t.Errorf("%q: got %+v, %v", tt.in, got, err)
		}
	}
	for in, want := range map[string]string{
		"":                          "does not begin with a field",
		"department12 is exactly 1": "does not begin with a field",
		"department":                "no operator",
		"department is 12":          "no operator",
		"manager is empty now":      "takes no text",
	} {
		if _, err := ParseCriterion(in); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: got error %v, want %q", in, err, want)
		}
	}
}
