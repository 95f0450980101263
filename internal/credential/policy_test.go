package credential

import (
	"fmt"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/dirpin/dirpin/config"
	"github.com/dirpin/dirpin/internal/outcome"
	"github.com/dirpin/dirpin/internal/secret"
	"github.com/dirpin/dirpin/internal/user"
)

func pinPolicy() config.Policy {
	return config.Policy{MinLength: 4, MaxLength: 8, ForbidTrivial: true}
}

func TestCheckGivenPIN(t *testing.T) {
	for _, tt := range []struct {
		pin  string
		want outcome.Code
	}{
		{"4718", outcome.OK},
		{"0194", outcome.OK},
		{"90418263", outcome.OK},
		{"1122", outcome.Trivial}, // two digits
		{"1123", outcome.Trivial}, // a keypad line
		{"1124", outcome.OK},
		{"", outcome.TooShort},
		{"471", outcome.TooShort},
		{"471829405", outcome.TooLong},
		{"47a8", outcome.NotDigits},
		{"a", outcome.NotDigits},
		{"471 8", outcome.NotDigits},
		{"-4718", outcome.NotDigits},
		{"4718\n", outcome.NotDigits},
		{"٤٧١٨", outcome.NotDigits},
		{"４７１８", outcome.NotDigits},
		{strings.Repeat("x", 1<<20), outcome.TooLong},

		{"4447", outcome.Trivial}, // three in a row
		{"28883", outcome.Trivial},
		{"14777", outcome.Trivial},
		{"144774", outcome.OK},
		{"0000", outcome.Trivial}, // fewer than three different
		{"121212", outcome.Trivial},
		{"4774", outcome.Trivial},
		{"408408", outcome.Trivial}, // repeated groups
		{"90839083", outcome.Trivial},
		{"4085408", outcome.Trivial},
		{"54089408", outcome.Trivial},
		{"47184718", outcome.Trivial},
		{"471824", outcome.OK},    // two digits twice are no group
		{"404014", outcome.OK},    // 404, and 040, but not twice apart
		{"2580", outcome.Trivial}, // lines
		{"0852", outcome.Trivial},
		{"1594", outcome.Trivial},
		{"9514", outcome.Trivial},
		{"4753", outcome.Trivial},
		{"1597", outcome.Trivial},
		{"159753", outcome.Trivial},
		{"159730", outcome.Trivial},
		{"6123", outcome.Trivial},
		{"6321", outcome.Trivial},
		{"0456", outcome.Trivial},
		{"0789", outcome.Trivial},
		{"0147", outcome.Trivial},
		{"0741", outcome.Trivial},
		{"0369", outcome.Trivial},
		{"5809", outcome.Trivial},
		{"1590", outcome.Trivial},
		{"7089", outcome.OK},
		{"1907", outcome.OK}, // 9, 0 and 7 are no line
		{"1359", outcome.OK},
		{"2468", outcome.OK},
		{"2345", outcome.Trivial}, // up and down
		{"5432", outcome.Trivial},
		{"8901", outcome.Trivial},
		{"1098", outcome.Trivial},
		{"9012", outcome.Trivial},
		{"7890", outcome.Trivial},
		{"2346", outcome.OK},
	} {
		if got := CheckGiven(PIN, secret.New(tt.pin), pinPolicy()); got != tt.want {
			t.Errorf("%.20q: got %s, want %s", tt.pin, got, tt.want)
		}
	}
}

func TestTrivialSwitchedOff(t *testing.T) {
	p := pinPolicy()
	p.ForbidTrivial = false
	who := Person{UserID: "1234", LastName: "Smith", Telephone: "4711"}
	for pin, want := range map[string]outcome.Code{
		"0000": outcome.OK, "2580": outcome.OK, "4711": outcome.OK, "76484": outcome.OK,
		"000": outcome.TooShort, "000a": outcome.NotDigits, "000000000": outcome.TooLong,
		"1234": outcome.ContainsUserID,
	} {
		if got := Check(PIN, secret.New(pin), p, who); got != want {
			t.Errorf("%s: got %s, want %s", pin, got, want)
		}
	}
}

// The keypad itself, as a picture, is where the lines come from here.
func TestLinesAreThoseOfTheKeypad(t *testing.T) {
	pad := []string{"123", "456", "789", " 0 "}
	lines := map[string]bool{}
	for y := range pad {
		for x := range pad[y] {
			for _, d := range [][2]int{{1, 0}, {0, 1}, {1, 1}, {1, -1}} {
				var s, r string
				for i := range 3 {
					yy, xx := y+i*d[1], x+i*d[0]
					if yy < 0 || yy >= 4 || xx >= 3 || pad[yy][xx] == ' ' {
						s = ""
						break
					}
					s, r = s+string(pad[yy][xx]), string(pad[yy][xx])+r
				}
				if len(s) == 3 {
					lines[s], lines[r] = true, true
				}
			}
		}
	}
	if len(lines) != 18 {
		t.Fatalf("the picture has %d lines", len(lines))
	}
	for n := range 1000 {
		pin := fmt.Sprintf("%03d", n)
		same := pin[0] == pin[1] && pin[1] == pin[2]
		if got := runOrLine(pin); got != (lines[pin] || same) {
			t.Errorf("%s: got %v", pin, got)
		}
	}
}

// How many PINs of four digits remain, rule by rule: a policy that left few
// would help who guesses.
func TestFourDigitsLeaveEnough(t *testing.T) {
	rules := []struct {
		name    string
		refuses func(string) bool
		want    int
	}{
		{"fewer than three digits", fewDigits, 640},
		{"run or line", runOrLine, 548},
		{"consecutive", allConsecutive, 20},
		{"repeated group", repeatedGroup, 0},
	}
	remain := 0
	for n := range 10_000 {
		pin := fmt.Sprintf("%04d", n)
		for i := range rules {
			if rules[i].refuses(pin) {
				rules[i].want--
			}
		}
		if CheckGiven(PIN, secret.New(pin), pinPolicy()) == outcome.OK {
			remain++
		}
	}
	for _, r := range rules {
		if r.want != 0 {
			t.Errorf("%s: refuses %d fewer than expected", r.name, r.want)
		}
	}
	if remain != 8994 {
		t.Errorf("%d of 10,000 remain", remain)
	}
	worst := Person{UserID: "20471108", FirstName: "Maximiliane Josephine", MiddleName: "Q", LastName: "Schwarzenegger-Mustermann", Telephone: "+49 30 901820 4711"}
	for n := range 10_000 {
		pin := fmt.Sprintf("%04d", n)
		if CheckGiven(PIN, secret.New(pin), pinPolicy()) == outcome.OK && Check(PIN, secret.New(pin), pinPolicy(), worst) != outcome.OK {
			remain--
		}
	}
	if remain < 8850 {
		t.Errorf("%d remain for the user of many names and digits", remain)
	}
}

func TestCheckUser(t *testing.T) {
	john := Person{UserID: "jdoe", FirstName: "John", MiddleName: "Quentin", LastName: "Doe", Telephone: "+32 2 555 0123"}
	numeric := Person{UserID: "201847", FirstName: "Zoë", LastName: "Weiß-Łoś", Telephone: "904"}
	mixed := Person{UserID: "U4711b", LastName: "Smith", Telephone: "(030) 12 64-81 ext. 92"}
	mail := Person{UserID: "J.Smith@Example.COM"}
	for _, tt := range []struct {
		name string
		kind Kind
		who  Person
		text string
		want outcome.Code
	}{
		{"nothing of the user", PIN, john, "904182", outcome.OK},
		{"what is wrong for all comes first", PIN, john, "0123456789", outcome.TooLong},
		{"the end of the number", PIN, john, "0123", outcome.Trivial},
		{"within the number", PIN, john, "5501", outcome.Trivial},
		{"the number's middle, longer", PIN, john, "255501", outcome.Trivial},
		{"the number backwards", PIN, john, "1055", outcome.Trivial},
		{"contains the extension", PIN, Person{Telephone: "+32 2 555 0194"}, "801947", outcome.Trivial},
		{"contains the extension backwards", PIN, Person{Telephone: "+32 2 555 0194"}, "849106", outcome.Trivial},
		{"contains three digits of four", PIN, Person{Telephone: "+32 2 555 0194"}, "819427", outcome.OK},
		{"an extension of four", PIN, Person{Telephone: "4718"}, "4718", outcome.Trivial},
		{"of three, inside", PIN, numeric, "190427", outcome.Trivial},
		{"of three, backwards", PIN, numeric, "140927", outcome.Trivial},
		{"of two is none", PIN, Person{Telephone: "19"}, "1947", outcome.OK},
		{"no number", PIN, Person{Telephone: "unknown"}, "1947", outcome.OK},
		{"full-width digits", PIN, Person{Telephone: "４７１８"}, "4718", outcome.Trivial},
		{"with an extension said", PIN, mixed, "8192", outcome.Trivial},
		{"far more than digits than fit", PIN, Person{Telephone: strings.Repeat("0123 ", 100) + "4718"}, "4718", outcome.Trivial},

		{"first name", PIN, john, "5646", outcome.Trivial},
		{"first name and initial", PIN, john, "56463", outcome.Trivial},
		{"both names", PIN, john, "5646363", outcome.Trivial},
		{"initial and last name", PIN, john, "5363", outcome.Trivial},
		{"initials and last name", PIN, john, "57363", outcome.Trivial},
		{"contains the first name", PIN, john, "956461", outcome.Trivial},
		{"contains a short last name", PIN, john, "936314", outcome.OK},
		{"last name", PIN, mixed, "76484", outcome.Trivial},
		{"a part of the last name", PIN, mixed, "7648", outcome.Trivial},
		{"contains the last name", PIN, mixed, "176484", outcome.Trivial},
		{"Zoë", PIN, numeric, "9639", outcome.Trivial},   // 963 and the W
		{"Weiß", PIN, numeric, "93477", outcome.Trivial}, // weiss
		{"Łoś", PIN, numeric, "77567", outcome.Trivial},  // ss-los
		{"a decomposed ë", PIN, Person{FirstName: "Zoe\u0308", LastName: "Roe"}, "963763", outcome.Trivial},
		{"Cyrillic", PIN, Person{LastName: "Иванов"}, "482668", outcome.OK},
		{"a very long name", PIN, Person{LastName: strings.Repeat("qa", 1000)}, "7272", outcome.Trivial},

		{"numeric user id", PIN, numeric, "201847", outcome.ContainsUserID},
		{"a part of it", PIN, numeric, "0184", outcome.ContainsUserID},
		{"contains it", PIN, numeric, "92018475", outcome.ContainsUserID},
		{"its last three are no id", PIN, numeric, "847102", outcome.OK},
		{"a run of its digits", PIN, mixed, "194711", outcome.ContainsUserID},
		{"that run alone", PIN, mixed, "4711", outcome.ContainsUserID},
		{"a run of three is none", PIN, Person{UserID: "u907"}, "190784", outcome.OK},
		{"short numeric id, the same", PIN, Person{UserID: "907"}, "190784", outcome.ContainsUserID},
		{"two digits say nothing", PIN, Person{UserID: "90"}, "1908", outcome.OK},

		{"password", Password, john, "correct horse", outcome.OK},
		{"password with the id", Password, john, "my-JDOE-2026", outcome.ContainsUserID},
		{"password in another width", Password, john, "my-ｊｄｏｅ-2026", outcome.ContainsUserID},
		{"password inside the id", Password, mail, "example.com", outcome.ContainsUserID},
		{"password with the part before the @", Password, mail, "j.smith2026!", outcome.ContainsUserID},
		{"password too short", Password, john, "jdoe", outcome.TooShort},
		{"an id of two letters", Password, Person{UserID: "al"}, "algebraic", outcome.OK},
		{"names do not matter", Password, john, "JohnDoe2026", outcome.OK},
		{"no id", Password, Person{}, "correct horse", outcome.OK},
		{"an id of spaces", Password, Person{UserID: "  "}, "correct horse", outcome.OK},
		{"an id that begins with @", Password, Person{UserID: "@x"}, "correct horse", outcome.OK},
	} {
		p := pinPolicy()
		if tt.kind == Password {
			p = config.Policy{MinLength: 8}
		}
		if got := Check(tt.kind, secret.New(tt.text), p, tt.who); got != tt.want {
			t.Errorf("%s: %s: got %s, want %s", tt.name, tt.text, got, tt.want)
		}
	}
	one := config.Policy{MinLength: 1, ForbidTrivial: false}
	if got := Check(PIN, secret.New("7"), one, Person{UserID: "7"}); got != outcome.ContainsUserID {
		t.Errorf("a PIN of one digit that is the id: %s", got)
	}
	if got := Check(PIN, secret.New("7"), one, Person{UserID: "4711", Telephone: "7"}); got != outcome.OK {
		t.Errorf("a PIN of one digit: %s", got)
	}
}

func TestCheckGivenPassword(t *testing.T) {
	p := config.Policy{MinLength: 8, MaxLength: 12, ForbidTrivial: true}
	for text, want := range map[string]outcome.Code{
		"pässwört":                         outcome.OK, // eight characters, ten bytes
		"pässwör":                          outcome.TooShort,
		"€€€€€€€€€€€€":                     outcome.OK,
		"€€€€€€€€€€€€€":                    outcome.TooLong,
		"e\u0301e\u0301e\u0301e\u0301":     outcome.OK, // four letters to the eye, eight code points
		"aaaaaaaa":                         outcome.OK,
		"\xff\xff\xff\xff\xff\xff\xff\xff": outcome.OK,
		"":                                 outcome.TooShort,
	} {
		if got := CheckGiven(Password, secret.New(text), p); got != want {
			t.Errorf("%q: got %s, want %s", text, got, want)
		}
	}
	p.MaxLength = 0
	for n, want := range map[int]outcome.Code{8: outcome.OK, maxBytes: outcome.OK, maxBytes + 1: outcome.TooLong, 1 << 24: outcome.TooLong} {
		if got := CheckGiven(Password, secret.New(strings.Repeat("x", n)), p); got != want {
			t.Errorf("%d characters without a limit: got %s, want %s", n, got, want)
		}
	}
	if got := CheckGiven(Password, secret.Value{}, config.Policy{}); got != outcome.TooShort {
		t.Errorf("nothing at all, without a policy: %s", got)
	}
}

// Check never takes back what CheckGiven refuses, never invents a code, and
// never fails on any person.
func TestCheckProperty(t *testing.T) {
	name := rapid.OneOf(rapid.String(), rapid.SampledFrom([]string{"", "Smith", "De Smet", "Zoë", "ß"}))
	rapid.Check(t, func(t *rapid.T) {
		who := Person{
			UserID: rapid.OneOf(name, rapid.StringMatching(`[a-z]?[0-9]{0,8}`)).Draw(t, "id"), FirstName: name.Draw(t, "first"),
			MiddleName: name.Draw(t, "middle"), LastName: name.Draw(t, "last"), Telephone: rapid.StringMatching(`[+0-9 /-]{0,20}`).Draw(t, "tel"),
		}
		kind := rapid.SampledFrom([]Kind{PIN, Password}).Draw(t, "kind")
		value := rapid.OneOf(rapid.StringMatching(`[0-9]{0,10}`), rapid.String()).Draw(t, "value")
		policy := config.Policy{MinLength: rapid.IntRange(0, 6).Draw(t, "min"), MaxLength: rapid.IntRange(0, 9).Draw(t, "max"), ForbidTrivial: rapid.Bool().Draw(t, "forbid")}
		given, all := CheckGiven(kind, secret.New(value), policy), Check(kind, secret.New(value), policy, who)
		if given != outcome.OK && all != given {
			t.Fatalf("given %s, all %s", given, all)
		}
		if given == outcome.OK && all != outcome.OK && all != outcome.ContainsUserID && (all != outcome.Trivial || !policy.ForbidTrivial || kind != PIN) {
			t.Fatalf("got %s", all)
		}
		if all == outcome.OK && kind == PIN && len(value) >= minPart && strings.Contains(user.Fold(who.UserID), value) {
			t.Fatal("part of the user id")
		}
	})
}

func TestPersonOfAndPolicyOf(t *testing.T) {
	got := PersonOf(&user.User{UserID: "a", FirstName: "b", MiddleName: "c", LastName: "d", Telephone: "e", Mail: "f"})
	if got != (Person{"a", "b", "c", "d", "e"}) {
		t.Errorf("got %v", got)
	}
	c := config.Credentials{PIN: config.Policy{MinLength: 4}, Password: config.Policy{MinLength: 8}}
	if PIN.Policy(&c).MinLength != 4 || Password.Policy(&c).MinLength != 8 {
		t.Error("the policies are mixed up")
	}
}

func TestCheckAllocatesNothing(t *testing.T) {
	who := Person{UserID: "jdoe", FirstName: "John", MiddleName: "Quentin", LastName: "Doe", Telephone: "+32 2 555 0123"}
	pin, policy := secret.New("90418263"), pinPolicy()
	if n := testing.AllocsPerRun(1000, func() {
		if Check(PIN, pin, policy, who) != outcome.OK {
			t.Fail()
		}
	}); n > 0 {
		t.Errorf("%v allocations", n)
	}
}

func BenchmarkCheck(b *testing.B) {
	pin, policy := secret.New("904182"), pinPolicy()
	for name, who := range map[string]Person{
		"ascii":   {UserID: "jdoe", FirstName: "John", MiddleName: "Quentin", LastName: "Doe", Telephone: "+32 2 555 0123"},
		"unicode": {UserID: "jdœ", FirstName: "Jörg", LastName: "Weiß", Telephone: "+32 2 555 0123"},
	} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if Check(PIN, pin, policy, who) != outcome.OK {
					b.Fatal("refused")
				}
			}
		})
	}
}
