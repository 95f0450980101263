package voicemail

import (
	"bytes"
	"encoding/json"
	"maps"
	"slices"
	"testing"

	"github.com/santhosh-tekuri/jsonschema/v6"

	"github.com/dirpin/dirpin/internal/secret"
	"github.com/dirpin/dirpin/internal/user"
)

func compileHookSchema(t *testing.T, part string) (*jsonschema.Schema, map[string]any) {
	t.Helper()
	doc, err := jsonschema.UnmarshalJSON(bytes.NewReader(HookSchema()))
	if err != nil {
		t.Fatal(err)
	}
	c := jsonschema.NewCompiler()
	if err := c.AddResource("hook.json", doc); err != nil {
		t.Fatal(err)
	}
	s, err := c.Compile("hook.json#/$defs/" + part)
	if err != nil {
		t.Fatal(err)
	}
	return s, doc.(map[string]any)["$defs"].(map[string]any)[part].(map[string]any)
}

// What is sent fits the schema, and has no field that the schema leaves out.
func TestRequestsFitTheSchema(t *testing.T) {
	t.Parallel()
	s, node := compileHookSchema(t, "request")
	yes := true
	full := (&Request{ID: NewRequestID(), Job: 57, Item: 12, Voicemail: "vm", User: user.User{UserID: "jsmith"}, PIN: secret.New("012345"), Settings: Settings{MustChange: &yes}}).Body()
	for name, body := range map[string]secret.Value{"set_pin": full, "check": checkBody("vm")} {
		value, err := jsonschema.UnmarshalJSON(bytes.NewReader([]byte(body.Reveal())))
		if err != nil {
			t.Fatal(err)
		}
		if err := s.Validate(value); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	var sent map[string]any
	if err := json.Unmarshal([]byte(full.Reveal()), &sent); err != nil {
		t.Fatal(err)
	}
	sameKeys(t, "the request", sent, node)
	properties := node["properties"].(map[string]any)
	sameKeys(t, "its user", sent["user"].(map[string]any), properties["user"].(map[string]any))
	sameKeys(t, "its settings", sent["settings"].(map[string]any), properties["settings"].(map[string]any))
}

func sameKeys(t *testing.T, what string, got, node map[string]any) {
	t.Helper()
	sent, known := slices.Sorted(maps.Keys(got)), slices.Sorted(maps.Keys(node["properties"].(map[string]any)))
	if !slices.Equal(sent, known) {
		t.Errorf("%s has %v, the schema %v", what, sent, known)
	}
}

// The schema takes the answers that dirpin understands, and no others.
func TestAnswersFitTheSchema(t *testing.T) {
	t.Parallel()
	s, _ := compileHookSchema(t, "answer")
	for answer, want := range map[string]bool{
		`{"result":"accepted"}`:                                 true,
		`{"result":"rejected","reason":"in-history","more":1}`:  true,
		`{"request_id":"a","result":"no-mailbox","message":""}`: true,
		`{"result":"retry"}`:                                    true,
		`{"result":"denied","message":null}`:                    true,
		`{"result":"ok"}`:                                       false,
	} {
		value, err := jsonschema.UnmarshalJSON(bytes.NewReader([]byte(answer)))
		if err != nil {
			t.Fatal(err)
		}
		if err := s.Validate(value); (err == nil) != want {
			t.Errorf("%s: the schema says %v", answer, err)
		}
		if _, err := readReply([]byte(answer), "a"); (err == nil) != want {
			t.Errorf("%s: dirpin says %v", answer, err)
		}
	}
}
