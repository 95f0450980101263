package resetjob

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"unicode/utf16"

	"github.com/dirpin/dirpin/internal/strictyaml"
	"github.com/dirpin/dirpin/internal/user"
	"pgregory.net/rapid"
)

// faultLines writes faults as "line: message" a line.
func faultLines(faults strictyaml.Faults) string {
	var b strings.Builder
	for _, f := range faults {
		fmt.Fprintf(&b, "%d: %s\n", f.Line, f.Message)
	}
	return b.String()
}

func customValues(c *CustomFile) []string {
	var got []string
	for v := range c.Values() {
		got = append(got, fmt.Sprintf("%d %s", v.Line, v.Text))
	}
	return got
}

func utf16Bytes(s string, bigEndian bool) string {
	var b strings.Builder
	for _, u := range utf16.Encode([]rune("\ufeff" + s)) {
		lo, hi := byte(u), byte(u>>8)
		if bigEndian {
			lo, hi = hi, lo
		}
		b.WriteByte(lo)
		b.WriteByte(hi)
	}
	return b.String()
}

func TestParseCustomFile(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name  string
		field user.Field
		in    string
		want  []string
	}{
		{"plain", user.FieldUserID, "jsmith\nadoe\n", []string{"1 jsmith", "2 adoe"}},
		{"no final newline", user.FieldUserID, "jsmith\nadoe", []string{"1 jsmith", "2 adoe"}},
		{"CRLF", user.FieldUserID, "jsmith\r\nadoe\r\n", []string{"1 jsmith", "2 adoe"}},
		{"byte order mark", user.FieldUserID, "\ufeffjsmith\nadoe\n", []string{"1 jsmith", "2 adoe"}},
		{"UTF-16 little endian", user.FieldLastName, utf16Bytes("Müller\r\n𝒜da\r\n", false), []string{"1 Müller", "2 𝒜da"}},
		{"UTF-16 big endian", user.FieldLastName, utf16Bytes("Müller\nZoë\n", true), []string{"1 Müller", "2 Zoë"}},
		{"trimmed, blank lines left out", user.FieldUserID, "\n  jsmith  \n   \n\u00a0adoe\n\n", []string{"2 jsmith", "4 adoe"}},
		{"no comments", user.FieldUserID, "# jsmith\n//x\n", []string{"1 # jsmith", "2 //x"}},
		{"duplicates once, folded", user.FieldLastName, "Straße\nSmith\nSTRASSE\n straße \nsmith\n", []string{"1 Straße", "2 Smith"}},
		{"inner spaces fold", user.FieldLastName, "De  Smet\nde smet\n", []string{"1 De  Smet"}},
		{"comma in a department", user.FieldDepartment, "Sales, EMEA\n14\n", []string{"1 Sales, EMEA", "2 14"}},
		{"digits stay digits", user.FieldUserID, "007\n7\n", []string{"1 007", "2 7"}},
		{"a header's name further down", user.FieldDepartment, "Sales\nManager\n", []string{"1 Sales", "2 Manager"}},
		{"longest line", user.FieldUserID, strings.Repeat("x", 1024) + "\n", []string{"1 " + strings.Repeat("x", 1024)}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			c, faults := ParseCustomFile("l.txt", []byte(tt.in), tt.field)
			if faults != nil {
				t.Fatalf("faults:\n%s", faultLines(faults))
			}
			for range 2 {
				if got := customValues(c); !slices.Equal(got, tt.want) {
					t.Errorf("got %q, want %q", got, tt.want)
				}
			}
			if c.Len() != len(tt.want) || c.Field != tt.field {
				t.Errorf("Len %d, field %s", c.Len(), c.Field)
			}
		})
	}
}

func TestParseCustomFileRefuses(t *testing.T) {
	t.Parallel()
	const (
		tab       = "a tab: a custom file has one value a line and no columns"
		semicolon = "a semicolon: a custom file has one value a line and no columns"
		comma     = "a comma: a custom file has one user id a line and no columns"
		control   = "a control character: the file is not text"
		joined    = "a byte order mark within the file, as two files joined have: save it as one text"
		empty     = "the list has no values: it is empty"
	)
	header := func(f string) string {
		return "the first line is the name of a field (" + f + "): a custom file has no header; delete the line, or move it down where it is a value"
	}
	for _, tt := range []struct {
		name  string
		field user.Field
		in    string
		want  string
	}{
		{"empty", user.FieldUserID, "", "1: " + empty},
		{"blank", user.FieldUserID, "\r\n  \n\n", "1: " + empty},
		{"mark only", user.FieldUserID, "\ufeff", "1: " + empty},
		{"header name", user.FieldUserID, "user_id\njsmith\n", "1: " + header("user_id")},
		{"header label folded", user.FieldUserID, "\n USER  id \njsmith\n", "2: " + header("user_id")},
		{"header of another field", user.FieldUserID, "Department Name\njsmith\n", "1: " + header("department")},
		{"all faults", user.FieldUserID, "a\tb\nok\nc;d\ne,f\n", "1: " + tab + "\n3: " + semicolon + "\n4: " + comma},
		{"tab at the end", user.FieldLastName, "Smith\t\n", "1: " + tab},
		{"binary", user.FieldLastName, "Smith\nPK\x03\x04\n", "2: " + control},
		{"carriage return", user.FieldLastName, "Smith\rJones\n", "1: a carriage return within the line: lines end with LF or CRLF"},
		{"joined files", user.FieldLastName, "Smith\n\ufeffJones\n", "2: " + joined},
		{"long line", user.FieldLastName, "Smith\n" + strings.Repeat("x", 1025) + "\n", "2: the line has 1025 bytes; a value may have 1024"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			c, faults := ParseCustomFile("l.txt", []byte(tt.in), tt.field)
			if c != nil {
				t.Error("a list with faults")
			}
			if got := faultLines(faults); got != tt.want+"\n" {
				t.Errorf("got\n%swant\n%s", got, tt.want)
			}
		})
	}
}

func TestParseCustomFileEncodings(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name, in string
		line     int
	}{
		{"latin 1", "Smith\nJones\nM\xfcller\n", 3},
		{"NUL", "Smith\nJon\x00es\n", 2},
		{"UTF-16 cut in half", utf16Bytes("Smith\n", false)[:13], 0},
		{"UTF-16 with half a surrogate", "\xff\xfea\x00\n\x00\x00\xd8b\x00", 2},
		{"a picture", "\x89PNG\r\n\x1a\n\x00\x00", 1},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			c, faults := ParseCustomFile("dir/l.txt", []byte(tt.in), user.FieldLastName)
			if c != nil || len(faults) == 0 {
				t.Fatalf("taken: %v", c)
			}
			if faults[0].File != "dir/l.txt" || tt.line != 0 && faults[0].Line != tt.line {
				t.Errorf("got %+v, want line %d", faults[0], tt.line)
			}
		})
	}
}

func TestCustomFileCapsFaults(t *testing.T) {
	t.Parallel()
	_, faults := ParseCustomFile("l.txt", []byte(strings.Repeat("a;b\n", 1000)), user.FieldUserID)
	if len(faults) != maxListFaults+1 {
		t.Fatalf("%d faults", len(faults))
	}
	if last := faults[maxListFaults]; last.Line != 1000 || last.Message != "the last of 950 more faults in this list" {
		t.Errorf("last fault: %+v", last)
	}
}

func TestCustomFileFields(t *testing.T) {
	t.Parallel()
	want := []user.Field{"user_id", "first_name", "middle_name", "last_name", "department"}
	if got := ListFields(); !slices.Equal(got, want) {
		t.Errorf("got %v", got)
	}
}

// A custom file holds the values that a map would find, in their order.
func TestCustomFileDuplicatesProperty(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		values := rapid.SliceOfN(rapid.SampledFrom([]string{"a", "A", "ａ", "b", " b", "ß", "SS", "", "x  y", "X y"}), 1, 40).Draw(t, "values")
		seen := map[string]bool{}
		var want []string
		for i, v := range values {
			if f := user.Fold(v); f != "" && !seen[f] {
				seen[f] = true
				want = append(want, fmt.Sprintf("%d %s", i+1, strings.TrimSpace(v)))
			}
		}
		c, faults := ParseCustomFile("l.txt", []byte(strings.Join(values, "\n")), user.FieldLastName)
		if len(want) == 0 {
			if c != nil {
				t.Fatal("an empty list was taken")
			}
			return
		}
		if faults != nil {
			t.Fatalf("faults:\n%s", faultLines(faults))
		}
		if got := customValues(c); !slices.Equal(got, want) || c.Len() != len(want) {
			t.Fatalf("got %q, want %q", got, want)
		}
	})
}

// Values whose hashes collide stay different values.
func TestRepeatsWithCollisions(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		values := rapid.SliceOfN(rapid.IntRange(0, 5), 1, 50).Draw(t, "values")
		var keys []listKey
		var want []uint32
		first := map[int]uint32{}
		for i, v := range values {
			keys = append(keys, listKey{hash: uint64(v % 2), offset: uint32(i), line: uint32(i)})
			if _, ok := first[v]; ok {
				want = append(want, uint32(i))
			} else {
				first[v] = uint32(i)
			}
		}
		same := func(a, b uint32) bool { return values[a] == values[b] }
		got := repeats(keys, same, func(f, again listKey) {
			if first[values[again.offset]] != f.offset {
				t.Errorf("%d repeats %d", again.offset, f.offset)
			}
		})
		if !slices.Equal(got, want) {
			t.Fatalf("got %v, want %v", got, want)
		}
	})
}

func FuzzParseCustomFile(f *testing.F) {
	for _, s := range []string{"a\nb\n", "\ufeffa\r\nA", "user_id\n", "a\tb", utf16Bytes("a\nb", false), "\xff\xfe", "\x00", strings.Repeat("x", 1030)} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		c, faults := ParseCustomFile("l.txt", data, user.FieldUserID)
		if (c == nil) == (len(faults) == 0) {
			t.Fatalf("%v with %d faults", c, len(faults))
		}
		if c == nil {
			return
		}
		n, seen := 0, map[string]bool{}
		for v := range c.Values() {
			n++
			f := user.Fold(v.Text)
			if f == "" || seen[f] || strings.ContainsAny(v.Text, "\t;,\n") || v.Line < 1 {
				t.Fatalf("value %q of line %d", v.Text, v.Line)
			}
			seen[f] = true
		}
		if n == 0 || n != c.Len() {
			t.Fatalf("%d values, Len %d", n, c.Len())
		}
	})
}

func BenchmarkParseCustomFile(b *testing.B) {
	var text strings.Builder
	for i := range 1_000_000 {
		fmt.Fprintf(&text, "user%07d\n", i)
	}
	data := []byte(text.String())
	b.ReportAllocs()
	for b.Loop() {
		c, faults := ParseCustomFile("l.txt", data, user.FieldUserID)
		if faults != nil || c.Len() != 1_000_000 {
			b.Fatal(faults)
		}
	}
}
