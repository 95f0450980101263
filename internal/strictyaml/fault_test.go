package strictyaml

import (
	"strings"
	"testing"
)

// TestFaults holds a file for each rule. "hunter2" stands for a secret: no
// message may repeat it.
func TestFaults(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct{ name, in, want string }{
		{"tab", "a:\n\tb: hunter2\n", "2:1: a tab in the indentation"},
		{"tab after spaces", "a:\n  b: 1\n  \tc: hunter2\n", "3:3: a tab in the indentation"},
		{"tabs and duplicates together", "a: 1\na: 2\nb:\n\tc: 1\nd:\n\te: 1\n", "2:1: this key stands here for the second time: the first is on line 1|4:1: a tab|6:1: a tab"},
		{"tab after dash", "-\thunter2\n", "1:2: a tab after the dash"},
		{"tab in a block scalar", "a: |\n\thunter2\n", "2:1: a tab in the indentation"},
		{"duplicate", "a: 1\nb: 2\na: hunter2\n", "3:1: this key stands here for the second time: the first is on line 1"},
		{"duplicate in flow", `{"hunter2": 1, "hunter2": 2}`, "1:16: this key stands here for the second time: the first is on line 1"},
		{"duplicate quoted otherwise", "a: 1\n\"\\x61\": 2\n", "2:1: this key stands here"},
		{"two documents", "a: 1\n---\nb: 2\n", "2:1: a second document begins here"},
		{"two documents after the end", "a: 1\n...\n---\nb: 2\n", "3:1: a second document begins here"},
		{"text after the end", "a: 1\n...\nhunter2\n", "3:1: text after the end of the document"},
		{"empty second document", "---\na: 1\n---\n", "3:1: a second document begins here"},
		{"directive", "%YAML 1.2\n---\na: 1\n", "1:1: a directive"},
		{"anchor", "a: &x hunter2\n", "1:4: an anchor"},
		{"alias", "a: 1\nb: *hunter2\n", "2:4: an alias"},
		{"alias as a key", "*hunter2 : 1\n", "1:1: an alias"},
		{"tag", "a: !!str hunter2\n", "1:4: a tag"},
		{"own tag", "a: !hunter2\n  b: 1\n", "1:4: a tag"},
		{"merge key", "a:\n  <<: {b: hunter2}\n", "2:3: a merge key"},
		{"several refused", "a: &x 1\nb: *x\nc: !t 1\n", "1:4: an anchor|2:4: an alias|3:4: a tag"},
		{"complex key", "? hunter2\n: 1\n", "1:1: a key that is written with ?"},
		{"flow as a key", "[a]: hunter2\n", "1:4: a key that is a mapping or a list"},
		{"flow as a key in flow", "{[a]: hunter2}\n", "1:2: a key that is a mapping or a list"},
		{"no key", "a: 1\nhunter2\nb: 2\n", "2:1: no key"},
		{"no space after the colon", "a: 1\nb:hunter2\n", "2:1: no key"},
		{"colon alone", ": hunter2\n", "1:1: a colon without a key"},
		{"odd key", "a: 1\n@hunter2: 1\n", "2:1: a key that begins with a special character"},
		{"list for a key", "a: 1\n- hunter2\n", "2:1: a list entry where a key was expected"},
		{"key in a list", "- a\nb: hunter2\n", "2:1: text after the end of the document"},
		{"list on the key's line", "a: - hunter2\n", "1:4: a list that begins on the line of its key"},
		{"list inside a value", "a: b\n  - hunter2\n", "2:3: a list entry inside a value"},
		{"key inside a value", "a: hunter2\n  b: 1\nc: 1\nc: 2\n", "2:4: a key inside a value: mend the indentation, or quote the value that begins on line 1|4:1: this key"},
		{"second key on a line", "a: hunter2: c\n", "1:4: a second key on the line"},
		{"indented too far", "a: 1\n  b: hunter2\nc: 1\n", "2:4: a key inside a value"},
		{"indentation fits nothing", "a:\n    b: 1\n  c: hunter2\nd: 2\nd: 3\n", "3:3: the indentation fits nothing above|5:1: this key"},
		{"text after a quote", "a: 'hunter2' x\nb: \"x\"y\n", "1:14: text after the end of the value|2:7: text after the end of the value"},
		{"text after a bracket", "a: [hunter2] x\n", "1:14: text after the end of the value"},
		{"comment without a space", "a: 'hunter2'#x\n", "1:13: text after the end of the value"},
		{"unclosed quote", "a: 'hunter2\nb: 1\nc: \"hunter2\nb: 2\n", "1:4: the quote is not closed|3:4: the quote is not closed|4:1: this key"},
		{"unclosed at the end", "a: 'hunter2", "1:4: the quote is not closed"},
		{"unclosed bracket", "a: [hunter2,\nb: 1\nb: 2\n", "1:4: the [ is not closed|3:1: this key"},
		{"unclosed brace", "{hunter2: 1,\n", "1:1: the { is not closed"},
		{"wrong bracket", "a: [hunter2}\n", `1:12: a comma or "]" is missing`},
		{"missing comma", "{\"a\": 1\n \"b\": hunter2}", `2:2: a comma or "}" is missing`},
		{"two commas", "[a,,hunter2]", "1:4: a comma without a value"},
		{"comma first", "{, a: hunter2}", "1:2: a comma without a key"},
		{"key in brackets", "[a: hunter2]", "1:3: a key in a list"},
		{"value left out", "{a, hunter2}", "1:2: a key without a value"},
		{"no space before a bracket", "{a:[hunter2]}", "1:4: a colon without a space"},
		{"no space in flow", "{a:hunter2}", "1:2: a key without a value"},
		{"json and more", "{\"a\": 1}\n{\"b\": \"hunter2\"}\n", "2:1: text after the end of the document"},
		{"json and more on the line", "{\"a\": 1} hunter2", "1:10: text after the end of the value"},
		{"json cut", "{\"a\": {\"b\": \"hunter2\"", "1:7: the { is not closed"},
		{"reserved", "a: @hunter2\nb: `hunter2\nc: %hunter2\n", "1:4: unquoted text cannot begin|2:4: unquoted text|3:4: unquoted text"},
		{"block scalar in flow", "[|\n hunter2]", "1:2: unquoted text cannot begin"},
		{"text after |", "a: | hunter2\n  x\nb: >9x\n", "1:6: text after|3:6: text after"},
		{"blank line too deep", "a: |\n     \n  hunter2\n", "2:1: a blank line that is indented deeper"},
		{"unknown escape", `a: "hunter2\q"`, `1:12: an unknown escape`},
		{"bad hex", `a: "\xZZ"` + "\n" + `b: "\u12"`, `1:5: a \x escape|2:5: a \u escape`},
		{"lone surrogates", `a: "\ud800"` + "\n" + `b: "\udc00"` + "\n" + `c: "\ud800\u0041"`, `1:5: a \u escape|2:5: a \u escape|3:5: a \u escape`},
		{"beyond Unicode", `a: "\U00110000"`, `1:5: a \U escape`},
		{"escaped NUL", `a: "\0"` + "\n" + `b: "\u0000"`, "1:5: a NUL|2:5: a NUL"},
		{"control character", "a: x\x07y\nb: \x1b[31m\n", "1:5: a control character|2:4: a control character"},
		{"byte order mark inside", "a: 1\n\ufeffb: hunter2\n", "2:1: a byte order mark inside the file"},
		{"columns are characters", "é: 'ä' x\n", "1:8: text after the end"},
		{"latin-1", "a: 1\nb: caf\xe9\nc: \xfc\xfc\n", "2:7: bytes that are not UTF-8|3:4: bytes that are not UTF-8"},
		{"nul", "a: 1\nb: \x00\n", "2:4: a NUL byte"},
		{"utf-16 without mark", "a\x00:\x00 \x001\x00", "1:2: a NUL byte"},
		{"utf-32", "\xff\xfe\x00\x00a\x00\x00\x00", "1:1: a NUL byte"},
		{"utf-16 cut", "\xff\xfea\x00:", "1:2: a UTF-16 file of an odd number"},
		{"utf-16 lone half", "\xfe\xff\x00a\x00\n\xd8\x00\x00b", "2:1: half of a UTF-16 character"},
		{"utf-16 half at the end", "\xfe\xff\xd8\x00", "1:1: half of a UTF-16 character"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			n, faults := Parse("f", []byte(tt.in))
			wants := strings.Split(tt.want, "|")
			for i, f := range faults {
				if i >= len(wants) || !strings.HasPrefix(f.String(), "f:"+wants[i]) {
					t.Errorf("unexpected: %s", f)
				}
			}
			if len(faults) != len(wants) {
				t.Errorf("%d faults, want %d: %v", len(faults), len(wants), faults)
			}
			if strings.Contains(faults.Error(), "hunter2") {
				t.Errorf("a value is quoted: %v", faults)
			}
			onlyDuplicates := !strings.Contains(strings.ReplaceAll(faults.Error(), "second time", ""), "a tab") &&
				len(wants) == strings.Count(tt.want, "this key stands here")
			if (n != nil) != onlyDuplicates {
				t.Errorf("node: %s", show(n))
			}
		})
	}
}

func TestFaultString(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		f    Fault
		want string
	}{
		{Fault{File: "a.yaml", Line: 3, Column: 7, Message: "m"}, "a.yaml:3:7: m"},
		{Fault{File: "a.yaml", Message: "m", Warning: true}, "a.yaml: warning: m"},
		{Fault{Message: "m"}, "m"},
		{Fault{File: "a\n:1:1: forged\x1b[2J", Line: 1, Column: 1, Message: "m"}, "a?:1:1: forged?[2J:1:1: m"},
	} {
		if got := tt.f.String(); got != tt.want {
			t.Errorf("got %q, want %q", got, tt.want)
		}
	}
}

func TestFaultsErr(t *testing.T) {
	t.Parallel()
	warning := Fault{File: "f", Line: 1, Column: 1, Message: "w", Warning: true}
	fault := Fault{File: "f", Line: 1, Column: 1, Message: "f"}
	if err := (Faults{warning}).Err(); err != nil {
		t.Errorf("a warning fails: %v", err)
	}
	both := Faults{fault, warning, fault}
	if both.Err() == nil || len(both.Warnings()) != 1 {
		t.Errorf("Err %v, Warnings %v", both.Err(), both.Warnings())
	}
	if sorted := (Faults{{Line: 2}, {Line: 1, Column: 2}, {Line: 1}, {Line: 2}}).Sorted(); len(sorted) != 3 || sorted[0].Column != 0 {
		t.Errorf("Sorted: %v", sorted)
	}
}
