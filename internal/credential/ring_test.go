package credential

import (
	"bytes"
	"encoding/base64"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"reflect"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/dirpin/dirpin/internal/secret"
)

var testTime = time.Date(2026, 11, 24, 12, 0, 0, 0, time.UTC)

// seeded is randomness that is the same at every run.
func seeded(n byte) *rand.ChaCha8 { return rand.NewChaCha8([32]byte{n}) }

func newTestRing(t testing.TB, seed byte) *Ring {
	t.Helper()
	r, err := NewRing(seeded(seed), testTime)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func rotated(t testing.TB, r *Ring, seed byte) *Ring {
	t.Helper()
	r, err := r.Rotate(seeded(seed), testTime.AddDate(1, 0, 0))
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func TestRotateKeepsEveryKey(t *testing.T) {
	first := newTestRing(t, 1)
	second := rotated(t, first, 2)
	if len(first.Keys()) != 1 {
		t.Errorf("Rotate changed the ring that it was called on: %v", first.Keys())
	}
	keys := second.Keys()
	if len(keys) != 2 || keys[0].ID != first.Primary() || keys[0].Primary || !keys[1].Primary || keys[1].ID != second.Primary() {
		t.Errorf("got %v", keys)
	}
	if !keys[1].Created.Equal(testTime.AddDate(1, 0, 0)) {
		t.Errorf("created %v", keys[1].Created)
	}
	if second.Recipient() != first.Recipient() {
		t.Error("the recipient that was handed out changed")
	}
	// The same randomness draws the id that exists already, then another.
	third := rotated(t, first, 1)
	if len(third.Keys()) != 2 || third.Keys()[0].ID == third.Keys()[1].ID {
		t.Errorf("two keys of one id: %v", third.Keys())
	}
	if _, err := first.Rotate(strings.NewReader("short"), testTime); err == nil {
		t.Error("a key was made without randomness")
	}
}

func TestRingTextRoundTrip(t *testing.T) {
	r := rotated(t, rotated(t, newTestRing(t, 1), 2), 3)
	text := r.Marshal()
	for name, form := range map[string][]byte{
		"as written": text,
		"CRLF":       bytes.ReplaceAll(text, []byte("\n"), []byte("\r\n")),
		"BOM":        append([]byte("\ufeff"), text...),
		"no comment": regexpLines(text, "#"),
	} {
		got, err := ParseRing(form)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if !bytes.Equal(got.Marshal(), text) || !reflect.DeepEqual(got.Checks(), r.Checks()) || !reflect.DeepEqual(got.Keys(), r.Keys()) {
			t.Errorf("%s: another ring came back", name)
		}
	}
}

// regexpLines drops the lines that begin with the prefix.
func regexpLines(text []byte, prefix string) []byte {
	var kept []string
	for line := range strings.Lines(string(text)) {
		if !strings.HasPrefix(line, prefix) {
			kept = append(kept, line)
		}
	}
	return []byte(strings.Join(kept, ""))
}

func TestParseRingFaults(t *testing.T) {
	r := rotated(t, newTestRing(t, 1), 2)
	text := string(r.Marshal())
	ids := r.Keys()
	secret1 := base64.StdEncoding.EncodeToString(r.keys[0].secret[:])
	key1 := lineWith(text, ids[0].ID)
	for _, tt := range []struct{ name, text, want string }{
		{"empty", " \n\n", "is empty"},
		{"only comments", "# nothing\n", "no key is marked primary"},
		{"no age", strings.Replace(text, "age   AGE", "# age   AGE", 1), "no line begins with `age`"},
		{"no primary", strings.Replace(text, " primary ", " old ", 1), "no key is marked primary"},
		{"two primaries", strings.Replace(text, " old ", " primary ", 1), "are both marked primary"},
		{"use", strings.Replace(text, " old ", " retired ", 1), "neither `primary`, `next` nor `old`"},
		{"twice", text + key1, "stands twice"},
		{"cut secret", strings.Replace(text, secret1, secret1[:len(secret1)-8], 1), "line 7: key " + ids[0].ID + ": its secret has 27 bytes in place of 32"},
		{"cut base64", strings.Replace(text, secret1, secret1[:len(secret1)-1], 1), "is not base64"},
		{"long secret", strings.Replace(text, secret1, base64.StdEncoding.EncodeToString(make([]byte, 64)), 1), "64 bytes in place of 32"},
		{"zeros", strings.Replace(text, secret1, base64.StdEncoding.EncodeToString(make([]byte, 32)), 1), "all zeros"},
		{"upper-case id", strings.Replace(text, ids[0].ID, strings.ToUpper(ids[0].ID[:7])+"F", 1), "the key's id is not 8 digits"},
		{"long id", strings.Replace(text, ids[0].ID, ids[0].ID+"00", 1), "the key's id is not 8 digits"},
		{"short id", strings.Replace(text, ids[0].ID, "00", 1), "the key's id is not 8 digits"},
		{"time", strings.Replace(text, "2026-11-24T12:00:00Z", "2026-11-24", 1), "its time is not written as"},
		{"words", strings.Replace(text, " old ", " ", 1), "this line has 3 words"},
		{"age", strings.Replace(text, "AGE-SECRET-KEY-1", "AGE-SECRET-KEY-1Q", 1), "not an age identity"},
		{"foreign line", text + secret1 + "\n", "not a line of a key ring"},
		{"UTF-16", strings.Join(strings.Split(text, ""), "\x00"), "not a line of a key ring"},
		{"too long", text + strings.Repeat("#\n", maxRing), "too long for a key ring"},
	} {
		_, err := ParseRing([]byte(tt.text))
		if err == nil {
			t.Errorf("%s: accepted", tt.name)
			continue
		}
		if !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: got %q, want %q in it", tt.name, err, tt.want)
		}
		if strings.Contains(err.Error(), secret1[:12]) || strings.Contains(strings.ToUpper(err.Error()), "AGE-SECRET-KEY-1Q") {
			t.Errorf("%s: the error quotes a key: %v", tt.name, err)
		}
	}
}

func lineWith(text, part string) string {
	for line := range strings.Lines(text) {
		if strings.Contains(line, part) {
			return line
		}
	}
	return ""
}

func TestVerifyNamesTheKey(t *testing.T) {
	old := newTestRing(t, 1)
	ring := rotated(t, old, 2)
	if err := ring.Verify(old.Checks()); err != nil {
		t.Errorf("a database that has not seen the new key: %v", err)
	}
	if err := ring.Verify(nil); err != nil {
		t.Errorf("a new database: %v", err)
	}

	err := old.Verify(ring.Checks())
	var e *MismatchError
	if !errors.As(err, &e) || !reflect.DeepEqual(e.Missing, []string{ring.Primary()}) || e.Different != nil {
		t.Fatalf("got %v", err)
	}
	if want := "the database wants key " + ring.Primary() + ", the ring has key " + old.Primary(); !strings.Contains(err.Error(), want) {
		t.Errorf("got %q, want %q in it", err, want)
	}

	checks := old.Checks()
	checks[old.Primary()][0] ^= 1
	err = ring.Verify(checks)
	if !errors.As(err, &e) || !reflect.DeepEqual(e.Different, []string{old.Primary()}) || e.Missing != nil {
		t.Fatalf("got %v", err)
	}
	if want := "key " + old.Primary() + " of the ring is not the key that the database means"; !strings.Contains(err.Error(), want) {
		t.Errorf("got %q, want %q in it", err, want)
	}
}

func TestDerivedKeysDiffer(t *testing.T) {
	ring := rotated(t, newTestRing(t, 1), 2)
	seen := map[string]string{}
	for _, k := range ring.keys {
		for name, derived := range map[string][]byte{
			"pepper": k.pepper, "history": k.history, "check": k.check, "secret": k.secret[:],
		} {
			if len(derived) != 32 {
				t.Errorf("%s has %d bytes", name, len(derived))
			}
			if other := seen[string(derived)]; other != "" {
				t.Errorf("%s and %s are the same", name, other)
			}
			seen[string(derived)] = name
		}
	}
}

func TestKeysDoNotPrint(t *testing.T) {
	ring := newTestRing(t, 1)
	job, err := NewJobKey()
	if err != nil {
		t.Fatal(err)
	}
	var b bytes.Buffer
	holder := struct {
		R *Ring
		J *JobKey
		V secret.Value
	}{ring, job, secret.New("4711")}
	slog.New(slog.NewTextHandler(&b, nil)).Info("x", "ring", ring, "job", job, "holder", holder)
	slog.New(slog.NewJSONHandler(&b, nil)).Info("x", "ring", ring, "job", job, "holder", holder)
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%x"} {
		fmt.Fprintf(&b, verb+verb+verb+verb+verb+verb+"\n", ring, job, holder, *ring, *job, struct {
			r *Ring
			j *JobKey
		}{ring, job})
	}
	for name, key := range map[string][]byte{"ring": ring.keys[0].secret[:], "job": job.secret[:], "pepper": ring.keys[0].pepper} {
		for form, text := range map[string]string{
			"base64": base64.StdEncoding.EncodeToString(key), "hex": fmt.Sprintf("%x", key),
			"decimal": strings.Trim(fmt.Sprint(key), "[]"), "raw": string(key),
		} {
			if strings.Contains(b.String(), text) {
				t.Errorf("%s printed as %s", name, form)
			}
		}
	}
	if strings.Contains(b.String(), ring.identities[0].String()) {
		t.Error("the age identity printed")
	}
}

// Whatever the keys, the text gives the same ring back.
func TestRingTextProperty(t *testing.T) {
	base := newTestRing(t, 1)
	rapid.Check(t, func(t *rapid.T) {
		r := base
		for range rapid.IntRange(0, 5).Draw(t, "rotations") {
			var err error
			at := time.Unix(rapid.Int64Range(0, 4e9).Draw(t, "time"), 0)
			if r, err = r.Rotate(seeded(rapid.Byte().Draw(t, "seed")), at); err != nil {
				t.Fatal(err)
			}
		}
		got, err := ParseRing(r.Marshal())
		if err != nil {
			t.Fatal(err)
		}
		if !reflect.DeepEqual(got.Keys(), r.Keys()) || got.Verify(r.Checks()) != nil || got.Recipient() != r.Recipient() {
			t.Fatal("another ring came back")
		}
	})
}

func FuzzParseRing(f *testing.F) {
	r := rotated(f, newTestRing(f, 1), 2)
	f.Add(r.Marshal())
	f.Add([]byte("key 00000000 2026-11-24T12:00:00Z primary " + base64.StdEncoding.EncodeToString(make([]byte, 32))))
	f.Add([]byte("age AGE-SECRET-KEY-1"))
	f.Fuzz(func(t *testing.T, data []byte) {
		r, err := ParseRing(data)
		if err != nil {
			return
		}
		again, err := ParseRing(r.Marshal())
		if err != nil || again.Verify(r.Checks()) != nil || len(again.Keys()) != len(r.Keys()) {
			t.Fatalf("parsed once, not twice: %v", err)
		}
	})
}
