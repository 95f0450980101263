package resetjob

import (
	"fmt"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

func TestRedactJob(t *testing.T) {
	t.Parallel()
	sealed := sealForTest("4711")
	for _, tt := range []struct{ name, in, want string }{
		{"block", "# PINs\nselect: {query: all}\nreset:\n  pin: 4711 \n  confirm_pin: '4711'\n  password: \"a\\\"b # c\"   # x\n  must_change: true\n",
			"# PINs\nselect: {query: all}\nreset:\n  pin: \"(removed)\" \n  confirm_pin: \"(removed)\"\n  password: \"(removed)\"   # x\n  must_change: true\n"},
		{"flow", "select: {query: all}\nreset: {pin: 4711, password: it's, locked: true}\n",
			"select: {query: all}\nreset: {pin: \"(removed)\", password: \"(removed)\", locked: true}\n"},
		{"JSON", `{"name": "x", "reset": {"pin": "47\u0031\u0031", "must_change": true}}`, `{"name": "x", "reset": {"pin": "(removed)", "must_change": true}}`},
		{"nothing plain", "select: {query: all}\nreset: {pin: {sealed: " + sealed + "}, password: {generate: {length: 12}}}\n",
			"select: {query: all}\nreset: {pin: {sealed: " + sealed + "}, password: {generate: {length: 12}}}\n"},
		{"sealed that is not", "reset: {pin: {sealed: 4711}, password: {generate: longenough}}\n", "reset: {pin: {sealed: \"(removed)\"}, password: {generate: \"(removed)\"}}\n"},
		{"typing error", "reset:\n  pim: 4711\n  4711: x\n", "reset:\n  pim: \"(removed)\"\n  \"(removed)\": \"(removed)\"\n"},
		{"at the wrong place", "pin: 4711\nreset: 4712\nselect: {pin: 4713}\n", "\"(removed)\": \"(removed)\"\nreset: \"(removed)\"\nselect: {\"(removed)\": \"(removed)\"}\n"},
		{"twice", "reset: {pin: 4711, pin: 4712}\n", ""},
		{"a list of values", "reset:\n  pin: [4711, {x: 4712}]\n", "reset:\n  pin: [\"(removed)\", {\"(removed)\": \"(removed)\"}]\n"},
		{"literal", "reset:\n  password: |- # note\n    a b\n      c\n\n    d\n  locked: true\n", "reset:\n  password: \"(removed)\"\n  locked: true\n"},
		{"folded", "reset:\n  password: >\n    a\n    b\n", "reset:\n  password: \"(removed)\"\n"},
		{"plain over lines", "reset:\n  password: a\n    b c\n  locked: true\n", "reset:\n  password: \"(removed)\"\n  locked: true\n"},
		{"quoted over lines", "reset:\n  password: \"a\n    b \\\n    c\"\n", "reset:\n  password: \"(removed)\"\n"},
		{"cut by a comment", "reset:\n  pin: 47 #11\n", "reset:\n  pin: \"(removed)\"\n"},
		{"lost to a comment", "reset:\n  pin: #4711\n  locked: true\n", "reset:\n  pin:\n  locked: true\n"},
		{"told in a comment", "# old: 1234, new: 4711\nreset: {pin: 4711} # 4711!\nname: '#4711'\n", "# old: 1234, new: (removed)\nreset: {pin: \"(removed)\"} # (removed)!\nname: '#(removed)'\n"},
		{"Unicode before it", "description: größer 😀\nreset: {zß: ä, pin: 4711}\n", "description: größer 😀\nreset: {\"(removed)\": \"(removed)\", pin: \"(removed)\"}\n"},
		{"CRLF", "reset:\r\n  pin: 4711\r\n", "reset:\r\n  pin: \"(removed)\"\r\n"},
		{"UTF-16", utf16Bytes("reset: {pin: 4711}\r\n", false), "reset: {pin: \"(removed)\"}\r\n"},
		{"byte order mark", "\ufeffreset: {pin: 4711}\n", "reset: {pin: \"(removed)\"}\n"},
		{"a faulty file", "select: {query: {}}\nrun: tomorrow\nreset: {pin: 4711}\n", "select: {query: {}}\nrun: tomorrow\nreset: {pin: \"(removed)\"}\n"},
		{"cannot be understood", "reset: {pin: 4711\n", ""},
		{"a tab", "reset:\n\tpin: 4711\n", ""},
		{"an anchor", "reset: {pin: &x 4711}\n", ""},
		{"binary", "reset: {pin: 4711}\n\x00", ""},
		{"text", "4711", "\"(removed)\""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			if got := string(RedactJob([]byte(tt.in))); got != tt.want {
				t.Errorf("got\n%s\nwant\n%s", got, tt.want)
			}
		})
	}
}

// Whatever the secret is and however it is written, it is gone.
func TestRedactJobProperty(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		secret := "Zq" + rapid.StringOf(rapid.SampledFrom([]rune(`ab \"'#:,{}[]ü`))).Draw(t, "secret") + "Zq"
		style := rapid.SampledFrom([]string{"double", "single", "literal", "folded", "plain"}).Draw(t, "style")
		written := secret
		switch style {
		case "double":
			written = `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(secret) + `"`
		case "single":
			written = "'" + strings.ReplaceAll(secret, "'", "''") + "'"
		case "literal":
			written = "|\n    " + secret
		case "folded":
			written = ">-\n    " + secret
		}
		shape := rapid.SampledFrom([]string{"reset:\n  pin: %s\n", "name: x\nreset:\n  locked: true\n  password: %s\n  # y\n", "pasword: %s\n", "reset:\n  %s: x\n", "{reset: {pin: %s}}\n"}).Draw(t, "shape")
		text := fmt.Sprintf(shape, written)
		if out := string(RedactJob([]byte(text))); strings.Contains(out, "Zq") {
			t.Fatalf("%q becomes %q", text, out)
		}
	})
}
