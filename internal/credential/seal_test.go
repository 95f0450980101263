package credential

import (
	"bytes"
	"errors"
	"testing"

	"pgregory.net/rapid"

	"github.com/dirpin/dirpin/internal/secret"
)

// sealer is what Ring and JobKey have in common.
type sealer interface {
	Seal(dst, context, plaintext []byte) []byte
	Open(dst, context, sealed []byte) ([]byte, error)
	SealValue(dst, context []byte, v secret.Value) []byte
	OpenValue(context, sealed []byte) (secret.Value, error)
}

func sealers(t testing.TB) map[string]sealer {
	t.Helper()
	job, err := NewJobKey()
	if err != nil {
		t.Fatal(err)
	}
	return map[string]sealer{"ring": rotated(t, newTestRing(t, 1), 2), "job": job}
}

func TestSealRoundTrip(t *testing.T) {
	for name, s := range sealers(t) {
		rapid.Check(t, func(t *rapid.T) {
			head := rapid.SliceOfN(rapid.Byte(), 0, 40).Draw(t, "head")
			plain := rapid.SliceOfN(rapid.Byte(), 0, 3000).Draw(t, "plain")
			context := rapid.SliceOfN(rapid.Byte(), 0, 60).Draw(t, "context")
			dst := append(make([]byte, 0, rapid.IntRange(40, 200).Draw(t, "cap")), head...)

			out := s.Seal(dst, context, plain)
			if !bytes.HasPrefix(out, head) {
				t.Fatalf("%s: Seal changed what stood before", name)
			}
			sealed := out[len(head):]
			if len(plain) > 8 && bytes.Contains(sealed, plain) {
				t.Fatalf("%s: not sealed", name)
			}
			got, err := s.Open(head, context, sealed)
			if err != nil || !bytes.Equal(got, append(head, plain...)) {
				t.Fatalf("%s: got %x, %v", name, got, err)
			}

			at := rapid.IntRange(0, len(sealed)*8-1).Draw(t, "bit")
			flipped := bytes.Clone(sealed)
			flipped[at/8] ^= 1 << (at % 8)
			if _, err := s.Open(nil, context, flipped); !errors.Is(err, ErrSealed) && !errors.Is(err, ErrUnknownKey) {
				t.Fatalf("%s: bit %d flipped: got %v", name, at, err)
			}
			if _, err := s.Open(nil, context, sealed[:rapid.IntRange(0, len(sealed)-1).Draw(t, "length")]); !errors.Is(err, ErrSealed) {
				t.Fatalf("%s: truncated: got %v", name, err)
			}
			if _, err := s.Open(nil, context, append(sealed, 0)); !errors.Is(err, ErrSealed) {
				t.Fatalf("%s: made longer: got %v", name, err)
			}
			if _, err := s.Open(nil, append(context, 0), sealed); !errors.Is(err, ErrSealed) {
				t.Fatalf("%s: in another context: got %v", name, err)
			}
		})
	}
}

func TestSealValue(t *testing.T) {
	context := Context(nil, "value", 57, 12)
	for name, s := range sealers(t) {
		for _, text := range []string{"4711", "", "pässword €"} {
			got, err := s.OpenValue(context, s.SealValue(nil, context, secret.New(text)))
			if err != nil || got.Reveal() != text {
				t.Errorf("%s: got %q, %v", name, got.Reveal(), err)
			}
		}
		a, b := s.SealValue(nil, context, secret.New("4711")), s.SealValue(nil, context, secret.New("4711"))
		if bytes.Equal(a, b) {
			t.Errorf("%s: a value sealed twice gave the same: it can be recognized", name)
		}
	}
}

// A value that is too long for the array it is appended to must not stay there
// in the clear.
func TestSealLeavesNoPlaintext(t *testing.T) {
	for name, s := range sealers(t) {
		for room := range 100 {
			array := make([]byte, room)
			s.Seal(array[:0], nil, []byte("the very plaintext"))
			if bytes.Contains(array, []byte("the very")) {
				t.Errorf("%s: plaintext left in an array of %d bytes", name, room)
			}
		}
	}
}

func TestContextIsUnambiguous(t *testing.T) {
	seen := map[string]string{}
	for name, c := range map[string][]byte{
		"pin 1":       Context(nil, "pin", 1),
		"pin 1 0":     Context(nil, "pin", 1, 0),
		"pin 0 1":     Context(nil, "pin", 0, 1),
		"pin -1":      Context(nil, "pin", -1),
		"pin":         Context(nil, "pin"),
		"password":    Context(nil, "password"),
		"pin as text": Context(nil, "pin\x00\x00\x00\x00\x00\x00\x00\x01"),
		"nothing":     Context(nil, ""),
	} {
		if other, ok := seen[string(c)]; ok {
			t.Errorf("%s and %s are the same", name, other)
		}
		seen[string(c)] = name
	}
	if got := Context([]byte("x"), "pin", 1); got[0] != 'x' || len(got) != 1+1+3+8 {
		t.Errorf("got %x", got)
	}
}

func TestOldKeysOpenAndReseal(t *testing.T) {
	first := newTestRing(t, 1)
	second := rotated(t, first, 2)
	context := Context(nil, "body", 1)
	sealed := first.Seal(nil, context, []byte("plain"))

	if got, err := second.Open(nil, context, sealed); err != nil || string(got) != "plain" {
		t.Fatalf("got %q, %v", got, err)
	}
	if id, err := SealedBy(sealed); err != nil || id != first.Primary() {
		t.Errorf("SealedBy: %q, %v", id, err)
	}
	again, changed, err := second.Reseal(context, sealed)
	if err != nil || !changed {
		t.Fatalf("Reseal: %v, %v", changed, err)
	}
	if id, _ := SealedBy(again); id != second.Primary() {
		t.Errorf("resealed by %q", id)
	}
	if _, err := first.Open(nil, context, again); !errors.Is(err, ErrUnknownKey) {
		t.Errorf("a ring without the key: %v", err)
	}
	if same, changed, err := second.Reseal(context, again); err != nil || changed || !bytes.Equal(same, again) {
		t.Errorf("resealed without need: %v, %v", changed, err)
	}
	if _, _, err := second.Reseal(Context(nil, "body", 2), again); !errors.Is(err, ErrSealed) {
		t.Errorf("resealed in another context: %v", err)
	}
	if _, err := SealedBy(nil); !errors.Is(err, ErrSealed) {
		t.Errorf("SealedBy(nil): %v", err)
	}
}

func TestJobKey(t *testing.T) {
	ring := newTestRing(t, 1)
	key, err := NewJobKey()
	if err != nil {
		t.Fatal(err)
	}
	context := Context(nil, "value", 57, 12)
	value := key.SealValue(nil, context, secret.New("4711"))
	sealed := ring.SealJobKey(57, key)

	next := rotated(t, ring, 2)
	moved, changed, err := next.ResealJobKey(57, sealed)
	if err != nil || !changed {
		t.Fatalf("ResealJobKey: %v, %v", changed, err)
	}
	for name, s := range map[string][]byte{"old": sealed, "resealed": moved} {
		opened, err := next.OpenJobKey(57, s)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if got, err := opened.OpenValue(context, value); err != nil || got.Reveal() != "4711" {
			t.Errorf("%s: got %q, %v", name, got.Reveal(), err)
		}
		if _, err := next.OpenJobKey(58, s); !errors.Is(err, ErrSealed) {
			t.Errorf("%s: opened for another job: %v", name, err)
		}
	}
	if _, _, err := next.ResealJobKey(58, sealed); !errors.Is(err, ErrSealed) {
		t.Errorf("resealed for another job: %v", err)
	}
	short := ring.Seal(nil, Context(nil, "job key", 57), []byte("short"))
	if _, err := ring.OpenJobKey(57, short); !errors.Is(err, ErrSealed) {
		t.Errorf("a key of five bytes: %v", err)
	}

	// A value of a job is no value of the ring, nor of another job.
	other, err := NewJobKey()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := other.Open(nil, context, value); !errors.Is(err, ErrSealed) {
		t.Errorf("another job's key: %v", err)
	}
	if _, err := ring.Open(nil, context, value); !errors.Is(err, ErrSealed) {
		t.Errorf("the ring: %v", err)
	}
	if _, err := key.Open(nil, context, ring.Seal(nil, context, []byte("x"))); !errors.Is(err, ErrSealed) {
		t.Errorf("a value of the ring: %v", err)
	}
}

func TestSealAllocatesNothing(t *testing.T) {
	pin := secret.New("471147")
	for name, s := range sealers(t) {
		dst := make([]byte, 0, 256)
		var context [64]byte
		n := testing.AllocsPerRun(1000, func() {
			c := Context(context[:0], "value", 57, 12)
			dst = s.SealValue(dst[:0], c, pin)
		})
		if n > 0 {
			t.Errorf("%s: %v allocations a value", name, n)
		}
	}
}

func BenchmarkSealValue(b *testing.B) {
	pin := secret.New("471147")
	for name, s := range sealers(b) {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			dst := make([]byte, 0, 256)
			var context [64]byte
			item := int64(0)
			for b.Loop() {
				item++
				dst = s.SealValue(dst[:0], Context(context[:0], "value", 57, item), pin)
			}
		})
	}
}

func BenchmarkOpenValue(b *testing.B) {
	context := Context(nil, "value", 57, 12)
	for name, s := range sealers(b) {
		sealed := s.SealValue(nil, context, secret.New("471147"))
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if _, err := s.OpenValue(context, sealed); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
