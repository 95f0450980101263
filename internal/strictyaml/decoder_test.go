package strictyaml

import (
	"fmt"
	"strings"
	"testing"
	"time"
)

// read parses "k: …" and gives its value to one reader.
func read(t *testing.T, in string, reader func(*Decoder, *Node) (any, bool)) string {
	t.Helper()
	n, faults := Parse("f", []byte(in))
	if len(faults) > 0 {
		t.Fatalf("%q: %v", in, faults)
	}
	d := &Decoder{File: "f"}
	v, ok := reader(d, d.Mapping(n, "k").Get("k"))
	if ok == d.Faults().Failed() {
		t.Errorf("%q: ok is %v with %v", in, ok, d.Faults())
	}
	if !ok {
		return d.Faults().Error()
	}
	return fmt.Sprint(v)
}

func TestReaders(t *testing.T) {
	t.Parallel()
	readers := map[string]func(*Decoder, *Node) (any, bool){
		"text":     func(d *Decoder, n *Node) (any, bool) { return wrap(d.Text(n)) },
		"string":   func(d *Decoder, n *Node) (any, bool) { return wrap(d.String(n)) },
		"list":     func(d *Decoder, n *Node) (any, bool) { return wrap(d.StringList(n)) },
		"texts":    func(d *Decoder, n *Node) (any, bool) { return wrap(d.TextList(n)) },
		"int":      func(d *Decoder, n *Node) (any, bool) { return wrap(d.Int(n, 1, 100)) },
		"number":   func(d *Decoder, n *Node) (any, bool) { return wrap(d.Number(n, 100)) },
		"bool":     func(d *Decoder, n *Node) (any, bool) { return wrap(d.Bool(n)) },
		"enum":     func(d *Decoder, n *Node) (any, bool) { return wrap(d.Enum(n, "skip", "flag")) },
		"duration": func(d *Decoder, n *Node) (any, bool) { return wrap(d.Duration(n)) },
		"time":     func(d *Decoder, n *Node) (any, bool) { v, ok := d.Time(n); return v.UTC(), ok },
		"date":     func(d *Decoder, n *Node) (any, bool) { v, ok := d.TimeOrDate(n, time.UTC); return v.UTC(), ok },
		"percent": func(d *Decoder, n *Node) (any, bool) {
			v, percent, ok := d.IntOrPercent(n)
			return fmt.Sprint(v, percent), ok
		},
	}
	const (
		number   = "f:1:4: k: YAML reads this as a number and may change its digits: quote it"
		empty    = "f:1:4: k: the value is empty"
		wantDur  = "f:1:4: k: a duration such as 30s, 15m, 24h or 7d is needed; 0 is never"
		wantInt  = "f:1:4: k: a whole number from 1 to 100 is needed"
		wantPct  = "f:1:4: k: a whole number, or a percentage such as 10% is needed"
		wantBool = "f:1:4: k: true or false is needed, without quotes"
		wantTime = "f:1:4: k: a time with an offset, such as 2026-12-01T02:00:00+01:00 is needed"
		wantDate = "f:1:4: k: a date such as 2026-12-31, or a time with an offset"
	)
	for _, tt := range []struct{ reader, in, want string }{
		{"text", "k: abc def", "abc def"},
		{"text", "k: 12345", "12345"},
		{"text", "k: 0", "0"},
		{"text", "k: 12345678901234567890123", "12345678901234567890123"},
		{"text", "k: '012345'", "012345"},
		{"text", "k: 012345", number},
		{"text", "k: 0x10", number},
		{"text", "k: 0o17", number},
		{"text", "k: 0b11", number},
		{"text", "k: 1_000", number},
		{"text", "k: 1e3", number},
		{"text", "k: 1.50", number},
		{"text", "k: -12", number},
		{"text", "k: +4930123", number},
		{"text", "k: .inf", number},
		{"text", "k: -.INF", number},
		{"text", "k: .nan", number},
		{"text", "k: 12:30:45", number},
		{"text", "k: 1:30", number},
		{"text", "k: 00", number},
		{"text", "k: 1.", number},
		{"text", "k: .5", number},
		{"text", "k: 1e+3", number},
		{"text", "k: 12e", "12e"},
		{"text", "k: e5", "e5"},
		{"text", "k: ab:30", "ab:30"},
		{"text", "k: 1.2.3", "1.2.3"},
		{"text", "k: 12-34", "12-34"},
		{"text", "k: ٣٤", "٣٤"},
		{"text", "k: _1", "_1"},
		{"text", "k: 2026-01-01", "2026-01-01"},
		{"text", "k: yes", "yes"},
		{"text", "k: on", "on"},
		{"text", "k: true", "f:1:4: k: YAML reads this as true or false: quote it"},
		{"text", "k: FALSE", "f:1:4: k: YAML reads this as true or false: quote it"},
		{"text", "k: 'true'", "true"},
		{"text", "k:", "f:1:3: k: the value is empty"},
		{"text", "k: ~", empty},
		{"text", "k: null", empty},
		{"text", "k: Null", empty},
		{"text", "k: ''", empty},
		{"text", "k: 'null'", "null"},
		{"text", "k: |\n", empty},
		{"text", "k: [a]", "f:1:4: k: a text is needed here, not a mapping or a list"},
		{"text", "k: {a: b}", "f:1:4: k: a text is needed here, not a mapping or a list"},
		{"text", "k: 12 # 34", "f:1:4: k: a # after unquoted text"},
		{"text", "k: '12' # 34", "12"},
		{"text", "k: 12#34", "12#34"},
		{"text", "k: 12 #34", "f:1:4: k: a # after unquoted text"},
		{"text", "k: |-\n  12 # 34", "12 # 34"},
		{"text", "{k: 12 # 34\n}", "f:1:5: k: a # after unquoted text"},
		{"text", "k: 12\n# 34", "12"},
		{"string", "k: /a/b # where", "/a/b"},
		{"string", "k: 012 # where", number},
		{"list", "k: a", "[a]"},
		{"list", "k: [a, 'b']", "[a b]"},
		{"list", "k: []", "[]"},
		{"list", "k:\n- a # one\n- b\n", "[a b]"},
		{"list", "k: [a, 012, '']", "f:1:8: k: YAML reads this as a number and may change its digits: quote it, \"…\"\nf:1:13: k: the value is empty"},
		{"texts", "k:\n- a # one\n", "f:2:3: k: a # after unquoted text"},
		{"int", "k: 1", "1"},
		{"int", "k: 100 # most", "100"},
		{"int", "k: 0", wantInt},
		{"int", "k: 101", wantInt},
		{"int", "k: 010", wantInt},
		{"int", "k: -1", wantInt},
		{"int", "k: 1.0", wantInt},
		{"int", "k: 1e1", wantInt},
		{"int", "k: 99999999999999999999", wantInt},
		{"int", "k: '5'", "5"},
		{"int", "k:", "f:1:3: k: the value is empty: a whole number from 1 to 100 is needed"},
		{"int", "k: [1]", "f:1:4: k: a whole number from 1 to 100 is needed here, not a mapping or a list"},
		{"number", "k: 1.5", "1.5"},
		{"number", "k: 1e1", "f:1:4: k: a number from 0 to 100 is needed"},
		{"number", "k: -1", "f:1:4: k: a number from 0 to 100 is needed"},
		{"number", "k: NaN", "f:1:4: k: a number from 0 to 100 is needed"},
		{"number", "k: 100.1", "f:1:4: k: a number from 0 to 100 is needed"},
		{"percent", "k: 10%", "10 true"},
		{"percent", "k: 10", "10 false"},
		{"percent", "k: 0", "0 false"},
		{"percent", "k: 100%", "100 true"},
		{"percent", "k: 101%", wantPct},
		{"percent", "k: -1", wantPct},
		{"percent", "k: 10 %", wantPct},
		{"percent", "k: 1.5%", wantPct},
		{"bool", "k: true", "true"},
		{"bool", "k: false # no", "false"},
		{"bool", "k: yes", wantBool},
		{"bool", "k: True", wantBool},
		{"bool", "k: 'true'", wantBool},
		{"enum", "k: skip", "skip"},
		{"enum", "k: 'flag'", "flag"},
		{"enum", "k: flga", "f:1:4: k: one of skip, flag (did you mean flag?) is needed"},
		{"enum", "k: Skip", "f:1:4: k: one of skip, flag (did you mean skip?) is needed"},
		{"enum", "k: hunter2", "f:1:4: k: one of skip, flag is needed"},
		{"duration", "k: 90s", "1m30s"},
		{"duration", "k: 1h30m", "1h30m0s"},
		{"duration", "k: 7d", "168h0m0s"},
		{"duration", "k: 1d12h", "36h0m0s"},
		{"duration", "k: 0", "0s"},
		{"duration", "k: 0s", "0s"},
		{"duration", "k: 36525d", "876600h0m0s"},
		{"duration", "k: 36526d", wantDur},
		{"duration", "k: 36525d1s", wantDur},
		{"duration", "k: 9999999999d", wantDur},
		{"duration", "k: 99999999999d", wantDur},
		{"duration", "k: 5", wantDur},
		{"duration", "k: 1.5h", wantDur},
		{"duration", "k: -1h", wantDur},
		{"duration", "k: 1m1h", wantDur},
		{"duration", "k: 1h1h", wantDur},
		{"duration", "k: 100ms", wantDur},
		{"duration", "k: 1w", wantDur},
		{"duration", "k: never", wantDur},
		{"time", "k: 2026-12-01T02:00:00+01:00", "2026-12-01 01:00:00 +0000 UTC"},
		{"time", "k: '2026-12-01T02:00:00Z'", "2026-12-01 02:00:00 +0000 UTC"},
		{"time", "k: 2026-12-01T02:00:00", wantTime},
		{"time", "k: 2026-12-01", wantTime},
		{"time", "k: 2026-13-01T02:00:00Z", wantTime},
		{"time", "k: 2026-12-01 02:00:00Z", wantTime},
		{"date", "k: 2026-12-31", "2027-01-01 00:00:00 +0000 UTC"},
		{"date", "k: 2026-12-31T10:00:00Z", "2026-12-31 10:00:00 +0000 UTC"},
		{"date", "k: 2026-02-30", wantDate},
		{"date", "k: 31.12.2026", wantDate},
	} {
		t.Run(tt.reader+" "+tt.in, func(t *testing.T) {
			t.Parallel()
			got := read(t, tt.in, readers[tt.reader])
			if got != tt.want && !(strings.HasPrefix(tt.want, "f:") && strings.HasPrefix(got, tt.want)) {
				t.Errorf("got  %s\nwant %s", got, tt.want)
			}
			if strings.Contains(got, "hunter2") || strings.Contains(got, "012345: ") {
				t.Errorf("a value is quoted: %s", got)
			}
		})
	}
}

func wrap[T any](v T, ok bool) (any, bool) { return v, ok }

func TestReadersOfNothing(t *testing.T) {
	t.Parallel()
	d := &Decoder{}
	_, text := d.Text(nil)
	_, list := d.TextList(nil)
	_, number := d.Int(nil, 0, 1)
	_, is := d.Bool(nil)
	_, duration := d.Duration(nil)
	_, at := d.Time(nil)
	if text || list || number || is || duration || at || d.Mapping(nil, "a") != nil || len(d.Faults()) > 0 {
		t.Errorf("an absent value was read, or reported: %v", d.Faults())
	}
	var m *Keyed
	if m.Get("a") != nil || m.Has("a") || m.Key("a") != nil || m.Node() != nil || d.Require(m, "a") != nil || len(d.Faults()) > 0 {
		t.Errorf("a nil Keyed has something: %v", d.Faults())
	}
}

func TestMapping(t *testing.T) {
	t.Parallel()
	n, _ := Parse("f", []byte("watch: {dri: 1, SETTLE: 2, hunter2hunter2: 3, name: x, trust-: 4}\n"))
	d := &Decoder{File: "f"}
	outer := d.Mapping(n, "watch", "state_dir")
	inner := d.Mapping(outer.Get("watch"), "name", "dir", "settle", "trust")
	if !inner.Has("name") || inner.Has("dir") || inner.Key("name").Column != 47 || inner.Node().Column != 8 {
		t.Errorf("inner: %+v", inner)
	}
	d.Require(inner, "dir")
	d.Require(outer, "state_dir")
	want := `f:1:1: the key state_dir is missing
f:1:8: the key dir is missing in watch
f:1:9: unknown key dri: did you mean dir?
f:1:17: unknown key SETTLE: did you mean settle?
f:1:28: unknown key; known here: name, dir, settle, trust
f:1:56: unknown key trust-: did you mean trust?`
	if got := d.Faults().Error(); got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
}

func TestNearest(t *testing.T) {
	t.Parallel()
	known := []string{"interval", "max_users", "pin", "full_every", "ca_file"}
	for _, tt := range []struct{ in, want string }{
		{"intervall", "interval"}, {"maxUsers", "max_users"}, {"max-user", "max_users"}, {"pni", "pin"}, {"Pin", "pin"},
		{"cafile", "ca_file"}, {"p", ""}, {"x", ""}, {"", ""}, {"p1n", "pin"}, {"123", ""}, {"1234", ""}, {"every", ""},
		{"correct horse battery staple", ""}, {strings.Repeat("x", 10_000), ""},
	} {
		if got := Nearest(tt.in, known); got != tt.want {
			t.Errorf("Nearest(%q) = %q, want %q", tt.in, got, tt.want)
		}
	}
}

func TestManyFaults(t *testing.T) {
	t.Parallel()
	var b strings.Builder
	for i := range 200_000 {
		fmt.Fprintf(&b, "inteval%d: 1\n", i)
	}
	n, _ := Parse("f", []byte(b.String()))
	d := &Decoder{File: "f"}
	start := time.Now()
	d.Mapping(n, "interval", "state_dir", "watch", "agreements", "voicemail")
	if took := time.Since(start); took > time.Second || len(d.Faults()) != maxFaults+1 {
		t.Errorf("%d faults in %v", len(d.Faults()), took)
	}
}
