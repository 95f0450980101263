package strictyaml

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"time"
	"unicode/utf8"
)

// hostile returns files that are meant to take long, or to break the reader.
func hostile() map[string]string {
	keys := func(n int, format string) string {
		var b strings.Builder
		for i := range n {
			fmt.Fprintf(&b, format, i)
		}
		return b.String()
	}
	deepBlock := func(n int) string {
		var b strings.Builder
		for i := range n {
			fmt.Fprintf(&b, "%*sa:\n", i, "")
		}
		return b.String()
	}
	var bomb strings.Builder
	bomb.WriteString("a: &a [x,x,x,x,x,x,x,x,x]\n")
	for c := 'b'; c < 'z'; c++ {
		fmt.Fprintf(&bomb, "%c: &%c [%s*%c]\n", c, c, strings.Repeat(fmt.Sprintf("*%c,", c-1), 8), c-1)
	}
	mb := 1 << 20
	return map[string]string{
		"anchor bomb":         bomb.String(),
		"deep brackets":       strings.Repeat("[", 20_000),
		"deep closed":         strings.Repeat("[", 20_000) + strings.Repeat("]", 20_000),
		"deep braces":         strings.Repeat(`{"a":`, 20_000),
		"deep block":          deepBlock(2_800),
		"deep dashes":         strings.Repeat("- ", 20_000),
		"deep question marks": strings.Repeat("? ", 20_000),
		"deep brackets, 4 MB": strings.Repeat("[", 4*mb),
		"long plain":          "a: " + strings.Repeat("x", 4*mb-10),
		"long plain of words": "a: " + strings.Repeat("x ", 2*mb-10),
		"long quoted":         `a: "` + strings.Repeat(`\u00e9`, mb/2) + `"`,
		"long key":            strings.Repeat("k", 2*mb) + ": 1",
		"long comment":        "#" + strings.Repeat("x#", mb),
		"long flow line":      "a: [" + strings.Repeat("é, ", mb/4) + "]",
		"long flow map":       "a: {" + keys(150_000, "k%d: v, ") + "}",
		"a line of colons":    strings.Repeat("a: ", mb),
		"many keys":           keys(300_000, "k%d: v\n"),
		"many equal keys":     strings.Repeat("k: v\n", 400_000),
		"many items":          strings.Repeat("- a\n", mb),
		"many folded lines":   "a: x\n" + strings.Repeat("  y\n", mb/2),
		"many quoted lines":   "a: \"x\n" + strings.Repeat("  y \n", mb/2) + "  \"",
		"many blank lines":    strings.Repeat("\n", 4*mb-1),
		"blanks":              "a:\n" + strings.Repeat(" ", 2*mb) + "\n" + strings.Repeat(" \n", mb/2) + "  b: 1",
		"literal blanks":      "a: |\n" + strings.Repeat("  x\n\n", mb/2),
		"open quotes":         strings.Repeat("a: 'x\n", mb/2),
		"open quotes, deeper": strings.Repeat("- 'x\n  ", mb/2),
		"open brackets":       strings.Repeat("- [x\n", mb/2),
		"tabs":                strings.Repeat("\ta: 1\n", mb/4),
		"faulty lines":        strings.Repeat("x\n", 2*mb-1),
		"dedents":             strings.Repeat("a:\n   b: 1\n  c: 1\n", mb/8),
		"bad bytes":           strings.Repeat("\xff\n", 2*mb-1),
		"zeros":               strings.Repeat("\x00", 4*mb),
		"utf-16 halves":       "\xff\xfe" + strings.Repeat("\x00\xd8", mb),
		"control characters":  strings.Repeat("\x01", 4*mb),
		"lone returns":        strings.Repeat("a:\r", mb),
		"too large":           strings.Repeat("x", 4*mb+1),
	}
}

// TestHostile gives each file the second that the contract allows, or on a
// busy machine ten times what a good file of the same size takes there.
func TestHostile(t *testing.T) {
	good := []byte(strings.Repeat("- 'a b'\n", MaxSize/8))
	for name, in := range hostile() {
		t.Run(name, func(t *testing.T) {
			n, faults, took := parseTimed([]byte(in))
			if took > time.Second {
				_, _, reference := parseTimed(good)
				if _, _, again := parseTimed([]byte(in)); again > max(time.Second, 10*reference) {
					t.Errorf("%d bytes took %v and %v, a good file %v", len(in), took, again, reference)
				}
			}
			if len(faults) > maxFaults+1 {
				t.Errorf("%d faults", len(faults))
			}
			if n == nil && len(faults) == 0 {
				t.Error("neither node nor faults")
			}
			if strings.HasPrefix(name, "deep") && (len(faults) != 1 || n != nil) {
				t.Errorf("deep nesting: %v", faults)
			}
			for _, f := range faults {
				if len(f.Message) > 200 {
					t.Errorf("message of %d bytes", len(f.Message))
				}
			}
		})
	}
}

func parseTimed(in []byte) (*Node, Faults, time.Duration) {
	start := time.Now()
	n, faults := Parse("f", in)
	return n, faults, time.Since(start)
}

// TestTime compares a file with one four times as large: a reader that is
// quadratic somewhere takes sixteen times as long.
func TestTime(t *testing.T) {
	for _, unit := range []string{"- a\n", "a: [x, 'y', {b: \"\\n\"}]\n", "[", "- 'x\n  ", "a:\n b:\n  - c\n", "? ", "\"\n", "x \n", "é, "} {
		measure := func(n int) time.Duration {
			in := []byte("[" + strings.Repeat(unit, n))
			best := time.Hour
			for range 5 {
				start := time.Now()
				Parse("f", in)
				best = min(best, time.Since(start))
			}
			return best
		}
		small, large := measure(20_000), measure(80_000)
		if large > 12*small+20*time.Millisecond {
			t.Errorf("%q: %v, four times as much: %v", unit, small, large)
		}
	}
}

// TestMangled breaks good files in all the ways that chance finds.
func TestMangled(t *testing.T) {
	t.Parallel()
	good := "# c\na: 1\nb:\n  - 'x'\n  - {c: \"d\\n\", e: [f, g]}\n  - |\n    text\nh: >-\n  folded\n  text\ni: plain\n  more\n"
	random := rand.New(rand.NewPCG(1, 2))
	bits := []string{"", " ", "\t", "\n", "\r\n", ":", "- ", "'", `"`, "\\", "[", "]", "{", "}", ",", "#", "&", "*", "!", "|", ">", "%", "@", "? ", "---\n", "...\n", "\x00", "\xff", "é", "\ufeff", "~"}
	for range 5_000 {
		s := good
		for range 1 + random.IntN(4) {
			from := random.IntN(len(s) + 1)
			to := min(len(s), from+random.IntN(3))
			s = s[:from] + bits[random.IntN(len(bits))] + s[to:]
		}
		checkParse(t, []byte(s))
	}
}

func FuzzParse(f *testing.F) {
	for _, in := range []string{"a: 1\nb: [c, {d: 'e'}]\n", "- |\n x\n- >+\n y\n", "a: \"\\u00e9\\\n  x\"\n", "{\"a\":[1,null]}", "a:\n\tb: 1", "\xff\xfea\x00", "a: &b *c\n? d\n", "a: 'x\nb: [y\n"} {
		f.Add([]byte(in))
	}
	f.Fuzz(func(t *testing.T, data []byte) { checkParse(t, data) })
}

// checkParse checks what holds for every input.
func checkParse(t *testing.T, data []byte) {
	t.Helper()
	n, faults := Parse("f", data)
	if n == nil && len(faults) == 0 {
		t.Fatalf("%q: neither node nor faults", data)
	}
	lines := 2 + strings.Count(string(data), "\n") + strings.Count(string(data), "\r")
	last := 0
	for _, f := range faults {
		if f.Line < max(1, last) || f.Line > lines || f.Column < 1 || f.Column > len(data)+1 || f.Message == "" {
			t.Fatalf("%q: fault at an impossible place: %+v", data, f)
		}
		last = f.Line
	}
	if n == nil {
		return
	}
	checkNode(t, data, n, 0)
	d := &Decoder{File: "f"}
	readEverything(d, n)
	for _, f := range d.Faults() {
		if !utf8.ValidString(f.String()) || strings.ContainsAny(f.Message, "\n\x1b") {
			t.Fatalf("%q: fault %q", data, f)
		}
	}
}

func checkNode(t *testing.T, data []byte, n *Node, depth int) {
	t.Helper()
	if n.Line < 1 || n.Column < 1 || n.Column > len(data)+1 || depth > MaxDepth || !utf8.ValidString(n.Text) {
		t.Fatalf("%q: node %+v at depth %d", data, n, depth)
	}
	for _, item := range n.Items {
		checkNode(t, data, item, depth+1)
	}
	for _, pair := range n.Pairs {
		checkNode(t, data, pair.Value, depth+1)
	}
}

// readEverything lets every reader see every node.
func readEverything(d *Decoder, n *Node) {
	d.Text(n)
	d.TextList(n)
	d.Int(n, 0, 10)
	d.Number(n, 10)
	d.IntOrPercent(n)
	d.Bool(n)
	d.Enum(n, "one", "two")
	d.Duration(n)
	d.Time(n)
	d.TimeOrDate(n, time.UTC)
	d.Mapping(n, "alpha", "beta")
	for _, item := range n.Items {
		readEverything(d, item)
	}
	for _, pair := range n.Pairs {
		readEverything(d, pair.Value)
	}
}
