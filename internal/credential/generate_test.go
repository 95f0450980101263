package credential

import (
	"errors"
	"fmt"
	"io"
	"strings"
	"sync"
	"testing"

	"pgregory.net/rapid"

	"github.com/dirpin/dirpin/config"
	"github.com/dirpin/dirpin/internal/outcome"
	"github.com/dirpin/dirpin/internal/secret"
)

func newTestGenerator(t testing.TB, kind Kind, length int, p config.Policy, random io.Reader) *Generator {
	t.Helper()
	g, err := NewGenerator(kind, length, p, random)
	if err != nil {
		t.Fatal(err)
	}
	return g
}

func draw(t testing.TB, g *Generator, who Person) string {
	t.Helper()
	v, err := g.Next(who)
	if err != nil {
		t.Fatal(err)
	}
	return v.Reveal()
}

func TestGeneratedConforms(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		who := Person{
			UserID: rapid.SampledFrom([]string{"jdoe", "4711", "u201847"}).Draw(t, "id"), FirstName: rapid.SampledFrom([]string{"", "John", "Zoë"}).Draw(t, "first"),
			LastName: rapid.SampledFrom([]string{"Doe", "Smith", "Łoś"}).Draw(t, "last"), Telephone: rapid.StringMatching(`[0-9]{0,10}`).Draw(t, "tel"),
		}
		kind := rapid.SampledFrom([]Kind{PIN, Password}).Draw(t, "kind")
		policy := config.Policy{MinLength: 3, ForbidTrivial: rapid.Bool().Draw(t, "forbid")}
		length := rapid.IntRange(3, 30).Draw(t, "length")
		g, err := NewGenerator(kind, length, policy, seeded(rapid.Byte().Draw(t, "seed")))
		if err != nil {
			t.Fatal(err)
		}
		for range 20 {
			v, err := g.Next(who)
			if err != nil {
				t.Fatal(err)
			}
			if len(v.Reveal()) != length {
				t.Fatalf("%q has not %d characters", v.Reveal(), length)
			}
			if got := Check(kind, v, policy, who); got != outcome.OK {
				t.Fatalf("%q: %s", v.Reveal(), got)
			}
		}
	})
}

func TestPasswordsHaveAllClasses(t *testing.T) {
	for _, length := range []int{3, 8, 12, 40, maxPassword} {
		g := newTestGenerator(t, Password, length, config.Policy{}, nil)
		for range 200 {
			p := draw(t, g, Person{})
			if !strings.ContainsAny(p, lower) || !strings.ContainsAny(p, upper) || !strings.ContainsAny(p, figures) {
				t.Fatalf("%q", p)
			}
			if strings.ContainsAny(p, "0Oo1lIi") || strings.Trim(p, alphabet) != "" {
				t.Fatalf("%q has look-alikes", p)
			}
		}
	}
}

// chiSquare compares counts with an even spread. For k counts it is about k-1,
// and above limit once in a billion runs or less; the randomness is seeded, so
// that it either always passes or never.
func chiSquare(t *testing.T, name string, counts []int) {
	t.Helper()
	total := 0
	for _, n := range counts {
		total += n
	}
	want := float64(total) / float64(len(counts))
	sum := 0.0
	for _, n := range counts {
		sum += (float64(n) - want) * (float64(n) - want) / want
	}
	k := float64(len(counts) - 1)
	if limit := k + 6.5*sqrt(2*k) + 20; sum > limit {
		t.Errorf("%s: %.0f over %d values, more than %.0f: not even", name, sum, len(counts), limit)
	}
}

func sqrt(x float64) float64 {
	r := x
	for range 60 {
		r = (r + x/r) / 2
	}
	return r
}

func TestDrawIsEven(t *testing.T) {
	for _, set := range []string{"0123456789", alphabet, "01", strings.Repeat("x", 1) + "yzabcdef", alphabet + "!"} {
		s := source{from: seeded(7)}
		counts := make([]int, len(set))
		buf := make([]byte, 7)
		for range 100_000 {
			if err := s.draw(buf, set); err != nil {
				t.Fatal(err)
			}
			for _, c := range buf {
				counts[strings.IndexByte(set, c)]++
			}
		}
		chiSquare(t, fmt.Sprintf("%d characters", len(set)), counts)
	}
}

// Every conforming PIN is as likely as any other.
func TestPINsAreEven(t *testing.T) {
	who := Person{UserID: "4719", LastName: "Smith", Telephone: "9018"}
	policy := config.Policy{MinLength: 4, ForbidTrivial: true}
	counts := map[string]int{}
	random := seeded(9)
	for range 100 {
		// A fresh one each time, so that distinctness does not even it out.
		g := newTestGenerator(t, PIN, 4, policy, random)
		for range 2000 {
			counts[draw(t, g, who)]++
		}
	}
	var list []int
	for n := range 10_000 {
		pin := fmt.Sprintf("%04d", n)
		if Check(PIN, secret.New(pin), policy, who) == outcome.OK {
			list = append(list, counts[pin])
			delete(counts, pin)
		}
	}
	if len(counts) > 0 {
		t.Errorf("refused ones were drawn: %v", counts)
	}
	chiSquare(t, "PINs of four digits", list)
}

func TestDistinct(t *testing.T) {
	for _, tt := range []struct {
		kind   Kind
		length int
		n      int
	}{
		{PIN, 4, 4400}, {PIN, 6, 100_000}, {PIN, 8, 100_000}, {PIN, 9, 100_000}, {PIN, 17, 1000}, {PIN, 18, 1000},
		{Password, 3, 5000}, {Password, 8, 10_000}, {Password, 12, 1000},
	} {
		g := newTestGenerator(t, tt.kind, tt.length, config.Policy{MinLength: 3, ForbidTrivial: true}, nil)
		seen := make(map[string]bool, tt.n)
		for range tt.n {
			v := draw(t, g, Person{UserID: "jdoe"})
			if seen[v] {
				t.Fatalf("%s of length %d: %q twice within %d", tt.kind, tt.length, v, len(seen))
			}
			seen[v] = true
		}
	}
}

// More users than PINs: they come again, evenly, and drawing goes on.
func TestRounds(t *testing.T) {
	g := newTestGenerator(t, PIN, 4, config.Policy{MinLength: 4, ForbidTrivial: true}, nil)
	counts := map[string]int{}
	const n = 50_000
	first := 0 // how many came before the first that came again
	for i := range n {
		pin := draw(t, g, Person{})
		if counts[pin]++; counts[pin] == 2 && first == 0 {
			first = i
		}
	}
	if first < 4400 || first > 4600 {
		t.Errorf("the first round had %d PINs", first)
	}
	most := 0
	for _, c := range counts {
		most = max(most, c)
	}
	// 8,994 conform, a round ends near 4,497: twelve rounds, and at most one of
	// each value in each.
	if most > 13 {
		t.Errorf("one PIN %d times among %d", most, n)
	}
	for _, tt := range []struct{ length, n int }{{1, 1000}, {2, 5000}} {
		g := newTestGenerator(t, PIN, tt.length, config.Policy{}, nil)
		for range tt.n {
			draw(t, g, Person{})
		}
	}
}

func TestNewGeneratorRefuses(t *testing.T) {
	for _, tt := range []struct {
		kind   Kind
		length int
		policy config.Policy
		want   string
	}{
		{PIN, 3, pinPolicy(), "must be within 4 and 8"},
		{PIN, 9, pinPolicy(), "must be within 4 and 8"},
		{PIN, 0, config.Policy{}, "must be within 1 and 32"},
		{PIN, -1, config.Policy{}, "must be within 1 and 32"},
		{PIN, 33, config.Policy{}, "must be within 1 and 32"},
		{PIN, 2, config.Policy{ForbidTrivial: true}, "must be within 3 and 32"},
		{PIN, 2, config.Policy{ForbidTrivial: true, MaxLength: 2}, "allows none that could be drawn"},
		{PIN, 40, config.Policy{MinLength: 40}, "allows none that could be drawn"},
		{Password, 7, config.Policy{MinLength: 8}, "must be within 8 and 128"},
		{Password, 2, config.Policy{}, "must be within 3 and 128"},
		{Password, 1 << 30, config.Policy{}, "must be within 3 and 128"},
	} {
		_, err := NewGenerator(tt.kind, tt.length, tt.policy, nil)
		if err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s of length %d: got %v, want %q", tt.kind, tt.length, err, tt.want)
		}
	}
}

// Where the user leaves nothing, drawing ends.
func TestExhausted(t *testing.T) {
	who := Person{UserID: "0123456789"}
	g := newTestGenerator(t, PIN, 1, config.Policy{}, nil)
	draw(t, g, who) // one digit of ten is no part to look for
	all := ""
	for n := range 10_000 {
		all += fmt.Sprintf("%03d ", n%1000)
	}
	g = newTestGenerator(t, PIN, 3, config.Policy{}, nil)
	if _, err := g.Next(Person{UserID: all}); !errors.Is(err, ErrExhausted) || !strings.Contains(err.Error(), "make it longer") {
		t.Errorf("got %v", err)
	}
	if v := draw(t, g, Person{}); len(v) != 3 {
		t.Errorf("afterwards: %q", v)
	}
}

func TestRandomnessEnds(t *testing.T) {
	g := newTestGenerator(t, PIN, 6, pinPolicy(), io.LimitReader(seeded(1), 5000))
	var err error
	n := 0
	for ; err == nil; n++ {
		_, err = g.Next(Person{})
	}
	if !errors.Is(err, io.ErrUnexpectedEOF) || n < 100 {
		t.Errorf("after %d values: %v", n, err)
	}
}

func TestGeneratorConcurrently(t *testing.T) {
	g := newTestGenerator(t, PIN, 6, pinPolicy(), nil)
	var seen sync.Map
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for range 2000 {
				v, err := g.Next(Person{UserID: "jdoe"})
				if err != nil {
					t.Error(err)
					return
				}
				if _, twice := seen.LoadOrStore(v.Reveal(), true); twice {
					t.Errorf("%s twice", v.Reveal())
				}
			}
		})
	}
	wg.Wait()
}

// What was drawn does not stay in the generator.
func TestGeneratorForgets(t *testing.T) {
	g := newTestGenerator(t, Password, 20, config.Policy{}, nil)
	for range 10 {
		v := draw(t, g, Person{})
		if strings.Contains(string(g.buf[:]), v[:4]) {
			t.Error("the value stays in the buffer")
		}
		for _, b := range g.random.page[:len(g.random.page)-g.random.left] {
			if b != 0 {
				t.Fatal("used randomness stays")
			}
		}
	}
}

func BenchmarkGenerate(b *testing.B) {
	who := Person{UserID: "jdoe", FirstName: "John", MiddleName: "Quentin", LastName: "Doe", Telephone: "+32 2 555 0123"}
	for _, tt := range []struct {
		kind   Kind
		length int
	}{{PIN, 4}, {PIN, 6}, {PIN, 8}, {PIN, 10}, {Password, 12}} {
		b.Run(fmt.Sprintf("%s-%d", tt.kind, tt.length), func(b *testing.B) {
			g := newTestGenerator(b, tt.kind, tt.length, config.Policy{MinLength: 4, ForbidTrivial: true}, nil)
			b.ReportAllocs()
			for b.Loop() {
				if _, err := g.Next(who); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
