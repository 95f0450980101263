package resetjob

import (
	"encoding/csv"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/dirpin/dirpin/internal/outcome"
	"github.com/dirpin/dirpin/internal/secret"
	"pgregory.net/rapid"
)

// csvText writes the rows of a csv as "line user pin password other…", with
// their secrets in the open.
func csvText(c *CSV) []string {
	var got []string
	for r := range c.Rows() {
		s := fmt.Sprintf("%d %s|%s|%s", r.Line, r.UserID, r.PIN.Reveal(), r.Password.Reveal())
		for _, o := range r.Other {
			s += "|" + o
		}
		got = append(got, s)
	}
	return got
}

// testPolicy takes PINs of 4 to 8 digits and passwords of 8 characters.
func testPolicy(kind string, value secret.Value) outcome.Code {
	v := value.Reveal()
	low, high := 8, 100
	if kind == givenPIN {
		low, high = 4, 8
		if !onlyDigits(v) {
			return outcome.NotDigits
		}
	}
	switch {
	case len(v) < low:
		return outcome.TooShort
	case len(v) > high:
		return outcome.TooLong
	case v == "1111":
		return outcome.Trivial
	}
	return outcome.OK
}

func TestParseCSV(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name string
		in   string
		want []string
	}{
		{"comma", "user_id,pin\njsmith,0471\nadoe,2846\n", []string{"2 jsmith|0471|", "3 adoe|2846|"}},
		{"semicolon", "user_id;pin;password\njsmith;0471;secret, word\n", []string{"2 jsmith|0471|secret, word"}},
		{"tab", "user_id\tpassword\njsmith\tse;cret,word\n", []string{"2 jsmith||se;cret,word"}},
		{"CRLF, byte order mark, no final newline", "\ufeffuser_id,pin\r\njsmith,0471\r\nadoe,2846", []string{"2 jsmith|0471|", "3 adoe|2846|"}},
		{"UTF-16, as a spreadsheet saves text", utf16Bytes("user_id\tpassword\r\nzoë\tgänsefuß\r\n", false), []string{"2 zoë||gänsefuß"}},
		{"header in any case", "PIN,User ID\n0471,jsmith\n", []string{"2 jsmith|0471|"}},
		{"quoted header", `"USER-ID";"Password"` + "\njsmith;longenough\n", []string{"2 jsmith||longenough"}},
		{"quoted cells", "user_id,password\n" + `"smith, j","a ""quoted"" word"` + "\n", []string{`2 smith, j||a "quoted" word`}},
		{"spaces around bare cells", "user_id , pin\n jsmith ,  0471 \n", []string{"2 jsmith|0471|"}},
		{"spaces within quotes stay", "user_id,password\njsmith, \"  spaced out \" \n", []string{"2 jsmith||  spaced out "}},
		{"empty cells are a matter of that user", "user_id,pin,password\njsmith,,\nadoe,0471,\n", []string{"2 jsmith||", "3 adoe|0471|"}},
		{"blank rows", "\n\nuser_id,pin\n\n,\njsmith,0471\n , \n", []string{"6 jsmith|0471|"}},
		{"failed.csv again", "reason,user_id,pin\nnot-found,jsmith,0471\n", []string{"2 jsmith|0471||not-found"}},
		{"fields of a user are ignored", "Last Name,user_id,Department Name,pin,mail\nSmith,jsmith,\"12, 14\",0471,j@example.com\n", []string{"2 jsmith|0471||Smith|12, 14|j@example.com"}},
		{"line break in an ignored cell", "user_id,pin,department\njsmith,0471,\"a\nb\"\nadoe,2846,c\n", []string{"2 jsmith|0471||a\nb", "4 adoe|2846||c"}},
		{"formula guard of a report", "user_id,pin\n'+4930,0471\n'-x,2846\n'abc,3957\n", []string{"2 +4930|0471|", "3 -x|2846|", "4 'abc|3957|"}},
		{"secrets keep their apostrophe", "user_id,password\njsmith,'=longenough\n", []string{"2 jsmith||'=longenough"}},
		{"same user, same values", "user_id,pin\njsmith,0471\nJSMITH,0471\nadoe,2846\njsmith,0471\n", []string{"2 jsmith|0471|", "4 adoe|2846|"}},
		{"no column of PINs has no length", "user_id,password\na,12345678\nb,1234567890\n", []string{"2 a||12345678", "3 b||1234567890"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			c, faults := ParseCSV("p.csv", []byte(tt.in), CSVOptions{Check: testPolicy})
			if faults != nil {
				t.Fatalf("faults:\n%s", faultLines(faults))
			}
			for range 2 {
				if got := csvText(c); !slices.Equal(got, tt.want) {
					t.Errorf("got %q, want %q", got, tt.want)
				}
			}
			if c.Len() != len(tt.want) {
				t.Errorf("Len %d", c.Len())
			}
		})
	}
}

func TestCSVColumns(t *testing.T) {
	t.Parallel()
	c, faults := ParseCSV("p.csv", []byte("Reason;User ID;Last Name;PIN\nx;jsmith;Smith;0471\n"), CSVOptions{})
	if faults != nil {
		t.Fatal(faults)
	}
	if !c.HasPIN() || c.HasPassword() || !slices.Equal(c.OtherColumns(), []string{"Reason", "Last Name"}) {
		t.Errorf("pin %v, password %v, other %q", c.HasPIN(), c.HasPassword(), c.OtherColumns())
	}
}

func TestParseCSVRefuses(t *testing.T) {
	t.Parallel()
	const (
		noHeader = "the first line must be a header that names user_id, and pin or password or both, separated by comma, semicolon or tab"
		report   = "a column named result or code: this is a report, whose password and pin are no values; drop failed.csv, or a file with user_id, pin and password"
		unknown  = "a csv has no such column: it has user_id, pin and password; reason and the fields of a user, such as first_name, are ignored; delete the column"
		cells    = ": a separator too many or too few, or a cell with a separator that is not in quotes"
		zeros    = ": a spreadsheet may have eaten leading zeros; put them back, and "
		badQuote = "a quote within a cell that is not quoted: put the cell in quotes and double the quotes in it"
	)
	for _, tt := range []struct {
		name   string
		length int
		in     string
		want   string
	}{
		{"empty", 0, "", "1: the file is empty: it needs a header (user_id, and pin or password or both) and a row for each user"},
		{"blank", 0, "\r\n\n", "1: the file is empty: it needs a header (user_id, and pin or password or both) and a row for each user"},
		{"header alone", 0, "user_id,pin\n", "1: the file has a header and no rows"},
		{"no header", 0, "jsmith,194726\nadoe,283746\n", "1: " + noHeader},
		{"nothing to set", 0, "user_id,first_name\nj,x\n", "1: the header names neither pin nor password: there is nothing to set"},
		{"unknown column", 0, "user_id,pin,pasword\nj,0471,x\n", "1: " + unknown},
		{"two columns of PINs", 0, "user_id,pin,PIN\nj,0471,0471\n", "1: a second column pin: columns 2 and 3 of the header have the same name"},
		{"results.csv", 0, `"user_id","first_name","last_name","department","status","result","code","password","pin","voicemail","time","detail"` + "\nj,,,,,failed,in-history,in-history,,,,\n", "1: " + report},
		{"custom file", 0, "jsmith\nadoe\n", "1: " + noHeader},
		{"header of one column", 0, "user_id\njsmith\n", "1: the header names neither pin nor password: there is nothing to set"},
		{"bad quote in the header", 0, "user_id,p\"in\nj,0471\n", "1: " + badQuote},
		{"all faults of rows", 0, "user_id,pin\n,0471\nj,0471,\nk\nl,04\"71\n\"m\"n,0471\no,0471\n",
			"2: the user_id is empty\n3: the row has 3 cells, the header 2" + cells + "\n4: the row has 1 cells, the header 2" + cells + "\n5: " + badQuote +
				"\n6: text follows the closing quote of a cell: double the quotes within it"},
		{"quote never closed", 0, "user_id,pin\nj,0471\nk,\"0472\nl,0473\n", "3: a quote opens a cell in this row and none closes it"},
		{"quote closed lines later", 0, "user_id,pin\nj,\"0471\nk,\"\n", "2: the pin has a line break or another control character, as where a quote opens a cell and none closes it"},
		{"control character", 0, "user_id,password\nj\x01,longenough\nk,long\x7fenough\nl,long\u0085enough\n",
			"2: the user_id has a line break or another control character, as where a quote opens a cell and none closes it\n" +
				"3: the password has a line break or another control character, as where a quote opens a cell and none closes it\n" +
				"4: the password has a line break or another control character, as where a quote opens a cell and none closes it"},
		{"carriage return", 0, "user_id,pin\nj,0471\rk,0472\r", "2: a carriage return within the row: lines end with LF or CRLF"},
		{"carriage returns alone", 0, "user_id,pin\rj,0471\r", "1: a carriage return within the row: lines end with LF or CRLF"},
		{"eaten zeros", 0, "user_id,pin\nj,194726\nk,83746\nl,937\n",
			"3: the pin has 5 digits, that of line 2 has 6" + zeros + "say in the job file how long all are (pin_length)\n" +
				"4: the pin has 3 digits, that of line 2 has 6" + zeros + "say in the job file how long all are (pin_length)"},
		{"pin_length", 6, "user_id,pin\nj,94726\nk,283746\n", "2: the pin has 5 digits, pin_length says 6" + zeros + "format the column as text"},
		{"as a number with an exponent", 0, "user_id,pin\nj,1.94726E+05\n", "2: nobody may have this pin (not-digits): A PIN has characters other than 0–9. Use digits."},
		{"policy", 0, "user_id,pin,password\nj,1111,short\nk,0471,longenough\n",
			"2: nobody may have this pin (trivial): The PIN is too easy to guess for this user. Use another one, or let dirpin generate.\n" +
				"2: nobody may have this password (too-short): The value is shorter than the policy allows. Use a longer one."},
		{"differing values", 0, "user_id,pin\njsmith,0471\nadoe,2846\nJSmith,0472\njsmith,0471\njsmith,\n",
			"4: the user of line 2 again, with other values: give each user one row\n6: the user of line 2 again, with other values: give each user one row"},
		{"differing passwords", 0, "user_id,pin,password\njsmith,0471,longenough\njsmith,0471,LongEnough\n", "3: the user of line 2 again, with other values: give each user one row"},
		{"long cells", 0, "user_id,pin\n" + strings.Repeat("x", 1025) + ",0471\nj," + strings.Repeat("7", 1025) + "x\n",
			"2: the user_id has more than 1024 bytes\n3: the pin has more than 1024 bytes"},
		{"binary", 0, "user_id,pin\nj,04\x0071\n", "2: a NUL byte: a binary file, or UTF-16 without a byte order mark; save it as UTF-8"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			c, faults := ParseCSV("p.csv", []byte(tt.in), CSVOptions{PINLength: tt.length, Check: testPolicy})
			if c != nil {
				t.Error("a csv with faults")
			}
			if got := faultLines(faults); got != tt.want+"\n" {
				t.Errorf("got\n%swant\n%s", got, tt.want)
			}
		})
	}
}

func TestCSVFaultPositions(t *testing.T) {
	t.Parallel()
	in := "department;user_id;pin\n\"zwölf\nvierzehn\"; jö;12\n"
	_, faults := ParseCSV("dir/p.csv", []byte(in), CSVOptions{Check: testPolicy})
	if len(faults) != 1 {
		t.Fatalf("%v", faults)
	}
	if got := faults[0].String(); !strings.HasPrefix(got, "dir/p.csv:3:15: nobody may have this pin (too-short)") {
		t.Errorf("got %s", got)
	}
}

// No fault quotes a cell, wherever in a broken file the secret stands.
func TestCSVFaultsQuoteNothing(t *testing.T) {
	t.Parallel()
	const canary = "hunter2canary"
	for _, in := range []string{
		"user_id,pin\nj," + canary + "\n",
		"user_id,password\nj," + canary + "\x01\n",
		"user_id,password\nj,\"" + canary + "\n",
		"user_id,password\nj,\"" + canary + "\"x\n",
		"user_id,password\nj,x" + canary + "\"\n",
		"user_id,password\nj," + canary + ",\n",
		"user_id,password\n," + canary + "\n",
		"user_id,password\nj," + canary + "\nj," + canary + "2\n",
		"j," + canary + "\n",
		"user_id;" + canary + "\n",
		"user_id,password," + canary + "\nj,x,y\n",
		"user_id,password,password" + canary + "\nj,x,y\n",
		"result,user_id,password\n" + canary + ",,\n",
		"user_id,password\n" + strings.Repeat(canary, 100) + "," + strings.Repeat(canary, 100) + "\n",
		"user_id,password\nj," + canary + "\xff\n",
	} {
		_, faults := ParseCSV("p.csv", []byte(in), CSVOptions{Check: func(string, secret.Value) outcome.Code { return outcome.Trivial }})
		if len(faults) == 0 {
			t.Errorf("%q was taken", in)
		}
		if text := faults.Error(); strings.Contains(text, "canary") || strings.Contains(text, "hunter") {
			t.Errorf("%q: %s", in, text)
		}
	}
}

func TestCSVCapsFaults(t *testing.T) {
	t.Parallel()
	_, faults := ParseCSV("p.csv", []byte("user_id,pin\n"+strings.Repeat("j\n", 100_000)), CSVOptions{})
	if len(faults) != maxListFaults+1 || faults[maxListFaults].Message != "the last of 99950 more faults in this list" || faults[maxListFaults].Line != 100_001 {
		t.Errorf("%d faults, last %+v", len(faults), faults[len(faults)-1])
	}
}

// Whatever encoding/csv writes is read back, with every separator.
func TestCSVAgreesWithEncodingCSV(t *testing.T) {
	t.Parallel()
	cell := rapid.StringOf(rapid.SampledFrom([]rune(`ab"'=,; ü` + "\t\n")))
	rapid.Check(t, func(t *rapid.T) {
		sep := rapid.SampledFrom([]rune{',', ';', '\t'}).Draw(t, "separator")
		var text strings.Builder
		w := csv.NewWriter(&text)
		w.Comma = sep
		w.UseCRLF = rapid.Bool().Draw(t, "CRLF")
		_ = w.Write([]string{"user_id", "department", "password"})
		var want []string
		for i := range rapid.IntRange(1, 10).Draw(t, "rows") {
			department, id := cell.Draw(t, "department"), fmt.Sprint("u", i)
			_ = w.Write([]string{id, department, "secret"})
			if w.UseCRLF {
				department = strings.ReplaceAll(department, "\n", "\r\n")
			}
			if !strings.ContainsAny(department, "\"\n"+string(sep)) && !strings.HasPrefix(department, " ") && !strings.HasPrefix(department, "\t") {
				department = strings.Trim(department, " ") // not quoted
			}
			want = append(want, id+"|"+department)
		}
		w.Flush()
		c, faults := ParseCSV("p.csv", []byte(text.String()), CSVOptions{})
		if faults != nil {
			t.Fatalf("%s\n%s", text.String(), faults)
		}
		var got []string
		for r := range c.Rows() {
			got = append(got, r.UserID+"|"+r.Other[0])
		}
		if !slices.Equal(got, want) {
			t.Fatalf("%q:\ngot  %q\nwant %q", text.String(), got, want)
		}
	})
}

func FuzzParseCSV(f *testing.F) {
	for _, s := range []string{
		"user_id,pin\nj,0471\n", "user_id;password;x\n\"a\"\"b\";c;d", "\ufeffuser_id\tpin\r\nj\t0471\r\n", "user_id,pin\nj,\"04\n71\"\n",
		"reason,user_id,pin\nx,j,\n", "user_id,pin\nj,1\nJ,1\nj,2\n", "user_id,pin\r", "\"", "user_id,pin\n\"\r\n\"\"\",\n",
	} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		c, faults := ParseCSV("p.csv", data, CSVOptions{})
		if (c == nil) == (len(faults) == 0) {
			t.Fatalf("%v with %d faults", c, len(faults))
		}
		if c == nil {
			return
		}
		n, line := 0, 1
		for r := range c.Rows() {
			n++
			if r.UserID == "" || r.Line <= line || len(r.Other) != len(c.OtherColumns()) {
				t.Fatalf("row %+v behind line %d", r, line)
			}
			line = r.Line
		}
		if n == 0 || n != c.Len() {
			t.Fatalf("%d rows, Len %d", n, c.Len())
		}
	})
}

func BenchmarkParseCSV(b *testing.B) {
	var text strings.Builder
	text.WriteString("user_id,pin\n")
	for i := range 1_000_000 {
		fmt.Fprintf(&text, "user%07d,%06d\n", i, i)
	}
	data := []byte(text.String())
	b.ReportAllocs()
	for b.Loop() {
		if c, faults := ParseCSV("p.csv", data, CSVOptions{}); faults != nil || c.Len() != 1_000_000 {
			b.Fatal(faults)
		}
	}
}
