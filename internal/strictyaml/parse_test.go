package strictyaml

import (
	"fmt"
	"strings"
	"testing"
)

// show writes a node so that a test can say what it expects on one line.
func show(n *Node) string {
	if n == nil {
		return "<none>"
	}
	switch n.Kind {
	case Null:
		return "~"
	case Scalar:
		if n.Quoted {
			return fmt.Sprintf("%q", n.Text)
		}
		return "<" + n.Text + ">"
	case Sequence:
		items := make([]string, len(n.Items))
		for i, item := range n.Items {
			items[i] = show(item)
		}
		return "[" + strings.Join(items, " ") + "]"
	}
	pairs := make([]string, len(n.Pairs))
	for i, pair := range n.Pairs {
		pairs[i] = pair.Key.Text + ":" + show(pair.Value)
	}
	return "{" + strings.Join(pairs, " ") + "}"
}

func TestParse(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct{ name, in, want string }{
		{"empty", "", "~"},
		{"only comments", "# a\n  # b\n", "~"},
		{"scalar", "a", "<a>"},
		{"mapping", "a: 1\nb: x y\n", "{a:<1> b:<x y>}"},
		{"no final newline", "a: 1\nb:", "{a:<1> b:~}"},
		{"null values", "a:\nb: # comment\nc: ~\n", "{a:~ b:~ c:<~>}"},
		{"nested", "a:\n  b:\n    c: 1\n  d: 2\ne: 3\n", "{a:{b:{c:<1>} d:<2>} e:<3>}"},
		{"list", "- a\n-\n- b: 1\n  c: 2\n- - x\n  - y\n", `[<a> ~ {b:<1> c:<2>} [<x> <y>]]`},
		{"list at the key's indentation", "a:\n- x\n- y\nb: 1\n", "{a:[<x> <y>] b:<1>}"},
		{"list below the key", "a:\n  - x\n  -\n    y: 1\nb: 1\n", "{a:[<x> {y:<1>}] b:<1>}"},
		{"flow", "a: [x, \"y\", {b: 1, c: }, ]\nd: {}\ne: []\n", `{a:[<x> "y" {b:<1> c:~}] d:{} e:[]}`},
		{"flow over lines", "a: [\n  x, # comment\n  y\n]\nb: {\n  c: 1\n  }\n", "{a:[<x> <y>] b:{c:<1>}}"},
		{"flow text over lines", "[a\n b,\n\n c: \n\n d]", "<none>"},
		{"flow text folds", "[a\n b,\n\n c\n\n d]", "[<a b> <c\nd>]"},
		{"json", "{\n\t\"a\": [1, true, null, \"x\\u00e9\\ud83d\\ude00\"],\n\t\"b\":{\"c\":-1.5e3}\n}\n", `{a:[<1> <true> <null> "xé😀"] b:{c:<-1.5e3>}}`},
		{"digits stay", "a: 012345\nb: 0x10\nc: 1_000\nd: 12:30:45\n", "{a:<012345> b:<0x10> c:<1_000> d:<12:30:45>}"},
		{"url and colons", "a: ldaps://x:636/\nb: a:b\nc: :x\nd: -x\ne: ?x\n", "{a:<ldaps://x:636/> b:<a:b> c:<:x> d:<-x> e:<?x>}"},
		{"flow url", "[a:b, ldaps://x:1/y, {k: http://x}]", "[<a:b> <ldaps://x:1/y> {k:<http://x>}]"},
		{"hash", "a: 12#34\nb: 12 #34\nc: '#'\n", `{a:<12#34> b:<12> c:"#"}`},
		{"quotes", `a: 'it''s'` + "\n" + `b: "tab\tquote\" \x41 \/ \\"` + "\n" + `"c d": 1` + "\n'e': 2\n", "{a:\"it's\" b:\"tab\\tquote\\\" A / \\\\\" c d:<1> e:<2>}"},
		{"double folds", "a: \"x \n  y\n\n  z\\\n   w\\ \n  v\"\n", `{a:"x y\nzw  v"}`},
		{"single folds", "a: 'x \n  y\n\n\n  z'\n", `{a:"x y\n\nz"}`},
		{"plain folds", "a: x\n  y # no more\nb:\n  p\n  q\n\n  r\n", "{a:<x y> b:<p q\nr>}"},
		{"literal", "a: |\n  x\n   y\n\n  z\n\n\nb: 1\n", `{a:"x\n y\n\nz\n" b:<1>}`},
		{"literal strip keep", "a: |-\n  x\n\nb: |+\n  x\n\nc: 1\n", `{a:"x" b:"x\n\n" c:<1>}`},
		{"literal explicit", "a: |2\n   x\n  y\n", `{a:" x\ny\n"}`},
		{"literal empty", "a: |\nb: |+\n\nc: 1", `{a:"" b:"\n" c:<1>}`},
		{"literal without newline", "a: |\n  x", `{a:"x"}`},
		{"literal in list", "- |\n x\n- >-\n y\n z\n", `["x\n" "y z"]`},
		{"literal # is text", "a: | # comment\n  # text\n", `{a:"# text\n"}`},
		{"folded", "a: >\n  x\n  y\n\n  z\n   deep\n  w\n", `{a:"x y\nz\n deep\nw\n"}`},
		{"document marks", "---\na: 1\n...\n", "{a:<1>}"},
		{"document mark in text", "--- a\n", "<a>"},
		{"dashes", "a: ---\nb: --x\n", "{a:<---> b:<--x>}"},
		{"crlf", "a: 1\r\nb:\r\n  - 'q'\r\n  - |\r\n    x\r\n", `{a:<1> b:["q" "x\n"]}`},
		{"old mac", "a: 1\rb: 2\r", "{a:<1> b:<2>}"},
		{"bom", "\ufeffa: 1\n", "{a:<1>}"},
		{"utf16le", "\xff\xfea\x00:\x00 \x00\xe9\x00\x3d\xd8\x00\xde\n\x00", "{a:<é😀>}"},
		{"utf16be", "\xfe\xff\x00a\x00:\x00 \x00\xe9\x00\r\x00\n", "{a:<é>}"},
		{"tab before value", "a:\tb\t# c\n", "{a:<b>}"},
		{"empty key text", "'': 1\n", "{:<1>}"},
		{"root at an indentation", "  a: 1\n  b: 2\n", "{a:<1> b:<2>}"},
		{"comment between", "a:\n# c\n  b: 1\n   # c\n  c: 2\n", "{a:{b:<1> c:<2>}}"},
		{"key with spaces", "a b : 1\n", "{a b:<1>}"},
		{"quoted then colon in flow", `{"a":1,"b":[2]}`, "{a:<1> b:[<2>]}"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			n, faults := Parse("f", []byte(tt.in))
			if got := show(n); got != tt.want {
				t.Errorf("Parse(%q)\n got %s\nwant %s\nfaults %v", tt.in, got, tt.want, faults)
			}
			if tt.want != "<none>" && len(faults) > 0 {
				t.Errorf("faults: %v", faults)
			}
		})
	}
}
