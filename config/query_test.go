package config

import (
	"reflect"
	"strings"
	"testing"

	"github.com/dirpin/dirpin/internal/strictyaml"
	"github.com/dirpin/dirpin/internal/user"
)

func decodeQuery(t *testing.T, text string) (*user.Query, strictyaml.Faults) {
	t.Helper()
	n, faults := strictyaml.Parse("q", []byte(text))
	if len(faults) > 0 {
		t.Fatalf("Parse: %v", faults)
	}
	d := &strictyaml.Decoder{File: "q"}
	q := DecodeQuery(d, n)
	return q, d.Faults()
}

func condition(f user.Field, op user.Op, texts ...string) user.Term {
	return user.Term{Cond: &user.Condition{Field: f, Op: op, Text: texts}}
}

func TestDecodeQuery(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name, in string
		want     *user.Query
	}{
		{"everyone", "all", user.All()},
		{"everyone quoted", `"all"`, user.All()},
		{"match left out", `{where: [{field: user_id, op: contains, text: x}]}`,
			&user.Query{Match: user.MatchAll, Where: []user.Term{condition(user.FieldUserID, user.Contains, "x")}}},
		{"labels and case", `{match: any, where: [{field: "USER ID", op: "Begins  With", text: 12}, {field: LDAP Sync Status, op: is_exactly, text: local}]}`,
			&user.Query{Match: user.MatchAny, Where: []user.Term{
				condition(user.FieldUserID, user.BeginsWith, "12"), condition(user.FieldStatus, user.IsExactly, "local")}}},
		{"department commas", `{where: [{field: department, op: is exactly, text: "12, 14,, \"Sales, EMEA\""}]}`,
			&user.Query{Match: user.MatchAll, Where: []user.Term{condition(user.FieldDepartment, user.IsExactly, "12", "14", "Sales, EMEA")}}},
		{"other fields keep commas", `{where: [{field: last_name, op: contains, text: "a, b"}]}`,
			&user.Query{Match: user.MatchAll, Where: []user.Term{condition(user.FieldLastName, user.Contains, "a, b")}}},
		{"a list is alternatives", `{where: [{field: department, op: ends with, text: ["Sales, EMEA", 14]}]}`,
			&user.Query{Match: user.MatchAll, Where: []user.Term{condition(user.FieldDepartment, user.EndsWith, "Sales, EMEA", "14")}}},
		{"nested", `{where: [{match: any, where: [{field: mail, op: is empty}, {field: manager, op: is not empty}]}]}`,
			&user.Query{Match: user.MatchAll, Where: []user.Term{{Group: &user.Query{Match: user.MatchAny, Where: []user.Term{
				condition(user.FieldMail, user.IsEmpty), condition(user.FieldManager, user.IsNotEmpty)}}}}}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			q, faults := decodeQuery(t, tt.in)
			if len(faults) > 0 || !reflect.DeepEqual(q, tt.want) {
				t.Fatalf("got %+v %v, want %+v", q, faults, tt.want)
			}
			if err := q.Validate(); err != nil {
				t.Errorf("Validate: %v", err)
			}
		})
	}
}

func TestDecodeQueryFaults(t *testing.T) {
	t.Parallel()
	const fields = "the fields are user_id, first_name, middle_name, last_name, manager, department, agreement, status, mail, telephone"
	const ops = "the operators are begins with, contains, is exactly, ends with, is empty, is not empty"
	for _, tt := range []struct{ name, in, want string }{
		{"nothing", ``, "q:1:1: a query is all"},
		{"null", `~`, "q:1:1: a query is all"},
		{"another word", `everyone`, "q:1:1: a query is all"},
		{"list", `[a]`, "q:1:1: a query is all"},
		{"empty mapping", `{}`, "q:1:1: the query has no where"},
		{"empty where", `{match: any, where: []}`, "q:1:21: where is empty"},
		{"null where", `where:`, "q:1:7: where is empty"},
		{"where no list", `{where: {field: mail, op: is empty}}`, "q:1:9: where is a list"},
		{"match", `{match: both, where: [{field: mail, op: is empty}]}`, "q:1:9: match: one of all, any is needed"},
		{"no field", `{where: [{op: is empty}]}`, "q:1:10: the key field is missing in where"},
		{"no op", `{where: [{field: mail}]}`, "q:1:10: the key op is missing in where"},
		{"unknown field", `{where: [{field: departement, op: is empty}]}`, "q:1:18: unknown field (did you mean department?); " + fields},
		{"secret field", `{where: [{field: hunter2, op: is empty}]}`, "q:1:18: unknown field; " + fields},
		{"unknown op", `{where: [{field: mail, op: is exact, text: a}]}`, "q:1:28: unknown operator (did you mean is exactly?); " + ops},
		{"no text", `{where: [{field: mail, op: contains}]}`, "q:1:10: contains needs text"},
		{"empty text", `{where: [{field: mail, op: contains, text: ""}]}`, "q:1:44: text: the value is empty"},
		{"null text", `{where: [{field: mail, op: contains, text: }]}`, "q:1:43: text: the value is empty"},
		{"only spaces", `{where: [{field: mail, op: contains, text: "  "}]}`, "q:1:44: the text is empty"},
		{"only commas", `{where: [{field: department, op: contains, text: ", ,"}]}`, "q:1:50: the text is empty"},
		{"empty list", `{where: [{field: mail, op: contains, text: []}]}`, "q:1:44: the text is empty"},
		{"spaces in a list", `{where: [{field: mail, op: contains, text: [a, " "]}]}`, "q:1:48: the text is only spaces"},
		{"leading zero", `{where: [{field: department, op: contains, text: 012}]}`, "q:1:50: text: YAML reads this as a number"},
		{"comment", "where:\n  - field: department\n    op: contains\n    text: 12 # 14\n", "q:4:11: text: a # after unquoted text"},
		{"text with is empty", `{where: [{field: mail, op: is empty, text: a}]}`, "q:1:44: is empty takes no text"},
		{"condition and group", `{where: [{field: mail, match: all, where: []}]}`, "q:1:11: field beside match or where"},
		{"empty group", `{where: [{match: all, where: []}]}`, "q:1:30: where is empty"},
		{"empty term", `{where: [{}]}`, "q:1:10: the key field is missing in where\nq:1:10: the key op is missing in where"},
		{"scalar term", `{where: [mail]}`, "q:1:10: where: a mapping is needed here"},
		{"unknown key", `{where: [{feild: mail, op: is empty}]}`, "q:1:10: the key field is missing in where\nq:1:11: unknown key feild: did you mean field?"},
		{"all at once", "{match: x, were: 1, where: [{field: x, op: y}, {op: is empty, text: z}]}",
			"q:1:9: match: one of all, any is needed\nq:1:12: unknown key were: did you mean where?\nq:1:37: unknown field; " + fields +
				"\nq:1:44: unknown operator; " + ops + "\nq:1:48: the key field is missing in where\nq:1:69: is empty takes no text"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			q, faults := decodeQuery(t, tt.in)
			if q != nil {
				t.Errorf("got a query: %+v", q)
			}
			got, want := strings.Split(faults.Error(), "\n"), strings.Split(tt.want, "\n")
			if len(got) != len(want) {
				t.Fatalf("got\n%v\nwant\n%v", faults.Error(), tt.want)
			}
			for i := range got {
				if !strings.HasPrefix(got[i], want[i]) {
					t.Errorf("got  %s\nwant %s", got[i], want[i])
				}
			}
		})
	}
}
