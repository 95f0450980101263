package resetjob

import (
	"encoding/json"
	"fmt"
	"slices"
	"sort"
	"strings"
	"testing"

	"github.com/dirpin/dirpin/internal/user"
)

type schemaNode = map[string]any

func readSchema(t *testing.T) schemaNode {
	t.Helper()
	var root schemaNode
	if err := json.Unmarshal(JobSchema(), &root); err != nil {
		t.Fatal(err)
	}
	return root
}

// eachObject calls fn for every object of a schema with the path of keys that
// leads to it; "[]" is an item of a list.
func eachObject(t *testing.T, root, n schemaNode, path []string, fn func(path []string, n schemaNode)) {
	if len(path) > 6 {
		return // groups hold groups
	}
	if ref, ok := n["$ref"].(string); ok {
		def, ok := root["$defs"].(schemaNode)[strings.TrimPrefix(ref, "#/$defs/")].(schemaNode)
		if !ok {
			t.Fatalf("%v: %s leads nowhere", path, ref)
		}
		eachObject(t, root, def, path, fn)
	}
	for _, key := range []string{"oneOf", "anyOf"} {
		alternatives, _ := n[key].([]any)
		for _, alternative := range alternatives {
			eachObject(t, root, alternative.(schemaNode), path, fn)
		}
	}
	if items, ok := n["items"].(schemaNode); ok {
		eachObject(t, root, items, append(slices.Clone(path), "[]"), fn)
	}
	properties, _ := n["properties"].(schemaNode)
	if properties == nil {
		return
	}
	fn(path, n)
	for key, value := range properties {
		eachObject(t, root, value.(schemaNode), append(slices.Clone(path), key), fn)
	}
}

// atPath writes a job file with an unknown key in the mapping at a path.
func atPath(path []string) string {
	text := "{zzzzzzzzzz: 1}"
	for _, key := range slices.Backward(path) {
		if key == "[]" {
			text = "[" + text + "]"
		} else {
			text = "{" + key + ": " + text + "}"
		}
	}
	return text
}

// The schema and the decoder know the same keys in every mapping.
func TestSchemaHasTheDecodersKeys(t *testing.T) {
	t.Parallel()
	root := readSchema(t)
	keys := map[string][]string{}
	eachObject(t, root, root, nil, func(path []string, n schemaNode) {
		if n["additionalProperties"] != false {
			t.Errorf("%v takes more than its keys", path)
		}
		for key := range n["properties"].(schemaNode) {
			at := atPath(path)
			if !slices.Contains(keys[at], key) {
				keys[at] = append(keys[at], key)
			}
		}
	})
	if len(keys) < 15 {
		t.Errorf("%d mappings only", len(keys))
	}
	for text, want := range keys {
		_, faults := ParseJob("j.yaml", []byte(text), testOptions())
		var got []string
		for _, f := range faults {
			if known, ok := strings.CutPrefix(f.Message, "unknown key; known here: "); ok {
				got = strings.Split(known, ", ")
			}
		}
		sort.Strings(got)
		sort.Strings(want)
		if !slices.Equal(got, want) {
			t.Errorf("%s: the decoder knows %v, the schema %v", text, got, want)
		}
	}
}

// What the decoder takes one of is what the schema lists.
func TestSchemaHasTheDecodersWords(t *testing.T) {
	t.Parallel()
	root := readSchema(t)
	defs := root["$defs"].(schemaNode)
	words := func(n schemaNode, keys ...string) string {
		for _, key := range keys {
			n = n[key].(schemaNode)
		}
		return fmt.Sprint(n["enum"])
	}
	condition := defs["condition"].(schemaNode)
	for _, x := range []struct{ got, want string }{
		{words(condition, "properties", "field"), fmt.Sprint(user.Fields())},
		{words(condition, "properties", "op"), fmt.Sprint(user.Ops())},
		{words(root, "properties", "select", "properties", "file", "properties", "field"), fmt.Sprint(ListFields())},
	} {
		if x.got != x.want {
			t.Errorf("schema %s, decoder %s", x.got, x.want)
		}
	}
}
