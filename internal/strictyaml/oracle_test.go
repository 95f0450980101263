package strictyaml

import (
	"encoding/json"
	"reflect"
	"strings"
	"testing"

	"go.yaml.in/yaml/v4"
	"pgregory.net/rapid"
)

// plainValue returns what YAML means by a node, as encoding/json would.
func plainValue(n *Node) any {
	switch n.Kind {
	case Null:
		return nil
	case Mapping:
		m := map[string]any{}
		for _, pair := range n.Pairs {
			m[pair.Key.Text] = plainValue(pair.Value)
		}
		return m
	case Sequence:
		items := []any{}
		for _, item := range n.Items {
			items = append(items, plainValue(item))
		}
		return items
	}
	if !n.Quoted {
		switch kindOfPlain(n.Text) {
		case plainNull:
			return nil
		case plainBool:
			return strings.EqualFold(n.Text, "true")
		}
	}
	return n.Text
}

// drawValue draws a tree of texts such as people, and their opponents, write.
func drawValue(t *rapid.T, depth int) any {
	text := rapid.OneOf(
		rapid.StringMatching(`[a-z0-9 :#'"\-]{0,12}`),
		rapid.StringMatching(`[A-Za-zäöü€😀 \[\]{},&*!|>%@?~=\\/\n]{0,12}`),
		rapid.SampledFrom([]string{"", " ", "012345", "1e3", "0x10", "yes", "null", "true", "~", "a: b", "- a", "a #b", "#", "2026-01-01", "12:30:45", ".inf", "<<", "---", "...", "a\n\nb\n", "  x\n y", "\n"}),
	)
	kind := rapid.IntRange(0, 4).Draw(t, "kind")
	switch {
	case kind == 0 && depth < 4:
		m := map[string]any{}
		for range rapid.IntRange(1, 4).Draw(t, "pairs") {
			m[rapid.StringMatching(`[a-z_]{1,8}|[a-z]: [a-z]| x|#y|é`).Draw(t, "key")] = drawValue(t, depth+1)
		}
		return m
	case kind == 1 && depth < 4:
		items := []any{}
		for range rapid.IntRange(0, 4).Draw(t, "items") {
			items = append(items, drawValue(t, depth+1))
		}
		return items
	}
	return text.Draw(t, "text")
}

// TestJSON reads back what encoding/json writes, in one line and indented.
func TestJSON(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		want := drawValue(t, 0)
		indent := rapid.SampledFrom([]string{"", " ", "\t"}).Draw(t, "indent")
		data, err := json.MarshalIndent(want, "", indent)
		if indent == "" {
			data, err = json.Marshal(want)
		}
		if err != nil {
			t.Fatal(err)
		}
		n, faults := Parse("f", data)
		if len(faults) > 0 {
			t.Fatalf("%s\n%v", data, faults)
		}
		if got := plainValue(n); !reflect.DeepEqual(got, want) {
			t.Fatalf("%s\n got %#v\nwant %#v", data, got, want)
		}
	})
}

// TestAgainstEncoder reads back what another program's encoder writes, which
// knows block style, quoting and block scalars.
func TestAgainstEncoder(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		data, err := yaml.Marshal(drawValue(t, 0))
		if err != nil {
			t.Skip(err)
		}
		agree(t, data)
	})
}

// TestAgainstParser reads texts put together from bits. Where both readers
// take one, they must agree; we may refuse more.
func TestAgainstParser(t *testing.T) {
	t.Parallel()
	bit := rapid.SampledFrom([]string{
		"a: ", "b: ", "c:", "- ", "x", "y z", "'q'", `"d"`, "\n", "\n", "\n", " ", "  ", "\n  ", "\n    ",
		"[", "]", "{", "}", ", ", "|\n", ">\n", "|-\n", "# c\n", "12", "é",
	})
	rapid.Check(t, func(t *rapid.T) {
		first := rapid.SampledFrom([]string{"a: ", "- ", "b:\n  "}).Draw(t, "first")
		agree(t, []byte(first+strings.Join(rapid.SliceOfN(bit, 0, 14).Draw(t, "bits"), "")))
	})
}

func agree(t *rapid.T, data []byte) {
	n, faults := Parse("f", data)
	if len(faults) > 0 {
		return
	}
	var theirs any
	if err := yaml.Unmarshal(data, &theirs); err != nil {
		return
	}
	if got, want := texts(plainValue(n)), texts(theirs); !reflect.DeepEqual(got, want) {
		t.Fatalf("%s\n%q\n got %#v\nwant %#v", data, data, got, want)
	}
}

// texts leaves numbers out of the comparison: ours keep their digits.
func texts(v any) any {
	switch v := v.(type) {
	case map[string]any:
		for k := range v {
			v[k] = texts(v[k])
		}
	case []any:
		for i := range v {
			v[i] = texts(v[i])
		}
	case string:
		if kindOfPlain(v) >= plainDigits {
			return "a number"
		}
	case int, int64, uint64, float64:
		return "a number"
	}
	return v
}
