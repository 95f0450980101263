package credential

import (
	"encoding/base64"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"golang.org/x/crypto/bcrypt"
	"pgregory.net/rapid"

	"github.com/dirpin/dirpin/internal/secret"
)

// cheap makes hashing cost next to nothing.
func cheap() Params { return Params{Memory: 64, Time: 1, Threads: 1} }

func TestHashAndVerify(t *testing.T) {
	h := NewHasher(newTestRing(t, 1), cheap())
	rapid.Check(t, func(t *rapid.T) {
		kind := rapid.SampledFrom([]Kind{PIN, Password}).Draw(t, "kind")
		value := rapid.StringMatching(`[\x00-\x{ffff}]{1,100}`).Draw(t, "value")
		stored, err := h.Hash(kind, secret.New(value))
		if err != nil {
			t.Fatal(err)
		}
		if ok, rehash, err := h.Verify(kind, stored, secret.New(value)); !ok || rehash || err != nil {
			t.Fatalf("%v %v %v", ok, rehash, err)
		}
		wrong := rapid.OneOf(rapid.StringMatching(`[\x00-\x{ffff}]{0,100}`), rapid.Just(value+"0"), rapid.Just(value[1:])).Draw(t, "wrong")
		if ok, rehash, err := h.Verify(kind, stored, secret.New(wrong)); ok != (wrong == value) || rehash || err != nil {
			t.Fatalf("wrong value: %v %v %v", ok, rehash, err)
		}
		if again, _ := h.Hash(kind, secret.New(value)); again == stored {
			t.Fatal("the same hash twice: no salt")
		}
	})
}

func TestHashForm(t *testing.T) {
	ring := newTestRing(t, 1)
	h := NewHasher(ring, DefaultParams())
	for kind, want := range map[Kind]string{
		PIN:      "$argon2id$v=19$m=19456,t=2,p=1,keyid=" + ring.Primary() + "$",
		Password: "$argon2id$v=19$m=19456,t=2,p=1$",
	} {
		stored, err := h.Hash(kind, secret.New("471108"))
		if err != nil {
			t.Fatal(err)
		}
		rest, ok := strings.CutPrefix(stored, want)
		if salt, sum, _ := strings.Cut(rest, "$"); !ok || len(salt) != 22 || len(sum) != 43 {
			t.Errorf("%s: got %s", kind, stored)
		}
	}
	for _, value := range []string{"", strings.Repeat("x", maxBytes+1)} {
		if _, err := h.Hash(Password, secret.New(value)); err == nil || strings.Contains(err.Error(), "xx") {
			t.Errorf("%d bytes: %v", len(value), err)
		}
	}
}

// Of the same PIN under the same salt, another key makes another hash: without
// the key file the database does not give PINs away.
func TestPINIsPeppered(t *testing.T) {
	a, b := newTestRing(t, 1), newTestRing(t, 2)
	stored, err := NewHasher(a, cheap()).Hash(PIN, secret.New("471108"))
	if err != nil {
		t.Fatal(err)
	}
	other := NewHasher(b, cheap())
	forged := strings.Replace(stored, a.Primary(), b.Primary(), 1)
	if ok, _, err := other.Verify(PIN, forged, secret.New("471108")); ok || err != nil {
		t.Errorf("under another pepper: %v, %v", ok, err)
	}
	bare := strings.Replace(stored, ",keyid="+a.Primary(), "", 1)
	if ok, _, err := other.Verify(PIN, bare, secret.New("471108")); ok || err != nil {
		t.Errorf("without pepper: %v, %v", ok, err)
	}
}

func TestRotatedKeys(t *testing.T) {
	first := newTestRing(t, 1)
	second := rotated(t, first, 2)
	old, now := NewHasher(first, cheap()), NewHasher(second, cheap())
	pin, password := secret.New("471108"), secret.New("correct horse")

	stored, err := old.Hash(PIN, pin)
	if err != nil {
		t.Fatal(err)
	}
	if ok, rehash, err := now.Verify(PIN, stored, pin); !ok || !rehash || err != nil {
		t.Errorf("under the old key: %v %v %v", ok, rehash, err)
	}
	if ok, rehash, err := now.Verify(PIN, stored, password); ok || rehash || err != nil {
		t.Errorf("wrong under the old key: %v %v %v", ok, rehash, err)
	}
	stored, err = now.Hash(PIN, pin)
	if err != nil {
		t.Fatal(err)
	}
	_, _, err = old.Verify(PIN, stored, pin)
	if !errors.Is(err, ErrUnknownKey) || !strings.Contains(err.Error(), second.Primary()) {
		t.Errorf("under a key that is not here: %v", err)
	}
	if _, _, err = old.Verify(PIN, stored, secret.Value{}); !errors.Is(err, ErrUnknownKey) {
		t.Errorf("the same, with no value: %v", err)
	}
	stored, err = now.Hash(Password, password)
	if err != nil {
		t.Fatal(err)
	}
	if ok, rehash, err := old.Verify(Password, stored, password); !ok || rehash || err != nil {
		t.Errorf("a password needs no key: %v %v %v", ok, rehash, err)
	}
}

func TestImportedHashes(t *testing.T) {
	h := NewHasher(newTestRing(t, 1), cheap())
	minCost, err := bcrypt.GenerateFromPassword([]byte("471108"), bcrypt.MinCost)
	if err != nil {
		t.Fatal(err)
	}
	seventyTwo := "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"
	for _, tt := range []struct{ name, stored, value string }{
		// phc-winner-argon2, test.c
		{"libargon2", "$argon2id$v=19$m=65536,t=2,p=1$c29tZXNhbHQ$CTFhFdXPJO1aFaMaO6Mm5c8y7cJHAph8ArZWb2GRPPc", "password"},
		{"libargon2, two lanes", "$argon2id$v=19$m=256,t=2,p=2$c29tZXNhbHQ$bQk8UB/VmZZF4Oo79iDXuL5/0ttZwg2f/5U52iv1cDc", "password"},
		// crypt_blowfish, wrapper.c
		{"bcrypt 2a", "$2a$05$CCCCCCCCCCCCCCCCCCCCC.E5YPO9kmyuRGyh0XouQYb4YMJKvyOeW", "U*U"},
		{"bcrypt 2b", "$2b$05$CCCCCCCCCCCCCCCCCCCCC.E5YPO9kmyuRGyh0XouQYb4YMJKvyOeW", "U*U"},
		{"bcrypt 2y, raw bytes", "$2y$05$/OK.fbVrR/bpIqNJ5ianF.CE5elHaaO4EbggVDjb8P19RukzXSM3e", "\xff\xff\xa3"},
		{"bcrypt, 72 bytes", "$2a$05$abcdefghijklmnopqrstuu5s2v8.iXieOjg/.AySBTTZIIVFJeBui", seventyTwo},
		{"bcrypt, Go", string(minCost), "471108"},
	} {
		for _, kind := range []Kind{PIN, Password} {
			if err := ValidHash(kind, tt.stored); err != nil {
				t.Errorf("%s: %v", tt.name, err)
			}
			if ok, _, err := h.Verify(kind, tt.stored, secret.New(tt.value)); !ok || err != nil {
				t.Errorf("%s as %s: %v, %v", tt.name, kind, ok, err)
			}
			for _, wrong := range []string{tt.value[1:], "", tt.value[:len(tt.value)-1] + "\x01"} {
				if ok, rehash, err := h.Verify(kind, tt.stored, secret.New(wrong)); ok || rehash || err != nil {
					t.Errorf("%s as %s, wrong: %v %v %v", tt.name, kind, ok, rehash, err)
				}
			}
		}
	}

	// Beyond 72 bytes bcrypt is deaf; then nothing must be hashed anew.
	stored := "$2a$05$abcdefghijklmnopqrstuu5s2v8.iXieOjg/.AySBTTZIIVFJeBui"
	for value, want := range map[string]bool{seventyTwo: true, seventyTwo + "chars after 72 are ignored": false} {
		if ok, rehash, err := h.Verify(Password, stored, secret.New(value)); !ok || rehash != want || err != nil {
			t.Errorf("%d bytes: %v %v %v", len(value), ok, rehash, err)
		}
	}
	if ok, _, err := h.Verify(Password, stored, secret.New(strings.Repeat(seventyTwo, 1000))); ok || err != nil {
		t.Errorf("72,000 bytes: %v %v", ok, err)
	}
}

func TestRehash(t *testing.T) {
	ring := newTestRing(t, 1)
	now := Params{Memory: 128, Time: 2, Threads: 1}
	h := NewHasher(ring, now)
	for _, tt := range []struct {
		params Params
		want   bool
	}{
		{now, false},
		{Params{64, 2, 1}, true},
		{Params{128, 1, 1}, true},
		{Params{256, 1, 1}, false},
		{Params{512, 3, 2}, false},
	} {
		for _, kind := range []Kind{PIN, Password} {
			stored, err := NewHasher(ring, tt.params).Hash(kind, secret.New("471108"))
			if err != nil {
				t.Fatal(err)
			}
			if ok, rehash, err := h.Verify(kind, stored, secret.New("471108")); !ok || rehash != tt.want || err != nil {
				t.Errorf("%v %s: %v %v %v", tt.params, kind, ok, rehash, err)
			}
		}
	}
	// An imported PIN, without pepper, is to be peppered.
	stored, err := NewHasher(ring, now).Hash(Password, secret.New("471108"))
	if err != nil {
		t.Fatal(err)
	}
	if ok, rehash, err := h.Verify(PIN, stored, secret.New("471108")); !ok || !rehash || err != nil {
		t.Errorf("imported: %v %v %v", ok, rehash, err)
	}
}

func TestBadHashes(t *testing.T) {
	h := NewHasher(newTestRing(t, 1), cheap())
	salt, sum := strings.Repeat("c", 22), strings.Repeat("c", 43)
	salt, sum = salt[:21]+"A", sum[:42]+"A"
	argon := func(head string) string { return "$argon2id$" + head + "$" + salt + "$" + sum }
	for _, tt := range []struct{ name, stored, want string }{
		{"empty", "", "not of the form"},
		{"plain", "471108", "not of the form"},
		{"argon2i", "$argon2i$v=19$m=64,t=1,p=1$" + salt + "$" + sum, "not of the form"},
		{"argon2d", "$argon2d$v=19$m=64,t=1,p=1$" + salt + "$" + sum, "not of the form"},
		{"sha512crypt", "$6$abc$def", "not of the form"},
		{"old version", argon("v=16$m=64,t=1,p=1"), "version other than 19"},
		{"no version", "$argon2id$m=64,t=1,p=1$" + salt + "$" + sum, "not of the form"},
		{"2 GiB", argon("v=19$m=2097152,t=1,p=1"), "costs more than is allowed"},
		{"1 GiB twenty times", argon("v=19$m=1048576,t=20,p=1"), "costs more than is allowed"},
		{"21 passes", argon("v=19$m=64,t=21,p=1"), "costs more than is allowed"},
		{"17 lanes", argon("v=19$m=1024,t=1,p=17"), "costs more than is allowed"},
		{"more than 32 bits", argon("v=19$m=4294967360,t=1,p=1"), "each a number"},
		{"no memory", argon("v=19$m=0,t=1,p=1"), "next to nothing"},
		{"no passes", argon("v=19$m=64,t=0,p=1"), "next to nothing"},
		{"no lanes", argon("v=19$m=64,t=1,p=0"), "next to nothing"},
		{"less than 8 KiB a lane", argon("v=19$m=15,t=1,p=2"), "next to nothing"},
		{"leading zero", argon("v=19$m=064,t=1,p=1"), "each a number"},
		{"plus", argon("v=19$m=+64,t=1,p=1"), "each a number"},
		{"order", argon("v=19$t=1,m=64,p=1"), "each a number"},
		{"missing", argon("v=19$m=64,t=1"), "not m, t and p"},
		{"data", argon("v=19$m=64,t=1,p=1,data=aaaa"), "a keyid of ours"},
		{"foreign keyid", argon("v=19$m=64,t=1,p=1,keyid=AAAA"), "a keyid of ours"},
		{"five", argon("v=19$m=64,t=1,p=1,keyid=00000000,x=1"), "not m, t and p"},
		{"salt", "$argon2id$v=19$m=64,t=1,p=1$cccc$" + sum, "its salt is no base64"},
		{"salt with =", "$argon2id$v=19$m=64,t=1,p=1$" + salt + "==$" + sum, "its salt is no base64"},
		{"salt with a line break", "$argon2id$v=19$m=64,t=1,p=1$" + salt + "\n$" + sum, "its salt is no base64"},
		{"sum", "$argon2id$v=19$m=64,t=1,p=1$" + salt + "$cccc", "its last part"},
		{"long sum", "$argon2id$v=19$m=64,t=1,p=1$" + salt + "$" + base64.RawStdEncoding.EncodeToString(make([]byte, 65)), "its last part"},
		{"long", argon("v=19$m=64,t=1,p=1") + strings.Repeat("c", 500), "longer than 512"},
		{"bcrypt 2x", "$2x$05$CCCCCCCCCCCCCCCCCCCCC.E5YPO9kmyuRGyh0XouQYb4YMJKvyOeW", "not of the form $2b$"},
		{"bcrypt cost 17", "$2a$17$CCCCCCCCCCCCCCCCCCCCC.E5YPO9kmyuRGyh0XouQYb4YMJKvyOeW", "not within 4 and 16"},
		{"bcrypt cost 3", "$2a$03$CCCCCCCCCCCCCCCCCCCCC.E5YPO9kmyuRGyh0XouQYb4YMJKvyOeW", "not within 4 and 16"},
		{"bcrypt cost text", "$2a$+5$CCCCCCCCCCCCCCCCCCCCC.E5YPO9kmyuRGyh0XouQYb4YMJKvyOeW", "its cost is no number"},
		{"bcrypt cut", "$2a$05$CCCCCCCCCCCCCCCCCCCCC.E5YPO9kmyuRGyh0XouQYb4YMJKvyOe", "not of the form $2b$"},
		{"bcrypt alphabet", "$2a$05$CCCCCCCCCCCCCCCCCCCCC.E5YPO9kmyuRGyh0XouQYb4YMJKvyO=W", "not of the form $2b$"},
		{"bcrypt head", "$2", "not of the form $2b$"},
	} {
		ok, rehash, err := h.Verify(Password, tt.stored, secret.New("471108"))
		if ok || rehash || !errors.Is(err, ErrBadHash) || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: Verify: %v %v %v, want %q", tt.name, ok, rehash, err, tt.want)
		}
		if err := ValidHash(Password, tt.stored); !errors.Is(err, ErrBadHash) || strings.Contains(err.Error(), sum) {
			t.Errorf("%s: ValidHash: %v", tt.name, err)
		}
	}
	keyed := argon("v=19$m=64,t=1,p=1,keyid=" + h.ring.Primary())
	for _, kind := range []Kind{PIN, Password} {
		if err := ValidHash(kind, keyed); !errors.Is(err, ErrBadHash) || !strings.Contains(err.Error(), "another installation") {
			t.Errorf("an imported %s under a key: %v", kind, err)
		}
	}
	if _, _, err := h.Verify(Password, keyed, secret.New("471108")); !errors.Is(err, ErrBadHash) {
		t.Errorf("a password under a key: %v", err)
	}
}

func TestVerifyNobody(t *testing.T) {
	h := NewHasher(newTestRing(t, 1), Params{Memory: 4096, Time: 4, Threads: 1})
	stored, err := h.Hash(PIN, secret.New("471108"))
	if err != nil {
		t.Fatal(err)
	}
	// The best of several: whatever else runs here only makes it longer.
	best := func(f func()) time.Duration {
		least := time.Hour
		for range 15 {
			start := time.Now()
			f()
			least = min(least, time.Since(start))
		}
		return least
	}
	somebody := best(func() { h.Verify(PIN, stored, secret.New("190284")) })
	nobody := best(func() { h.VerifyNobody(secret.New("190284")) })
	if nobody < somebody/2 || nobody > somebody*2 {
		t.Errorf("nobody takes %v, somebody %v", nobody, somebody)
	}
	h.VerifyNobody(secret.New(strings.Repeat("x", 1<<20)))
}

// What stands here was written by the first release. A change that makes these
// fail locks everybody out.
func TestStaysReadable(t *testing.T) {
	const text = "key 0a1b2c3d 2026-11-24T12:00:00Z primary AQIDBAUGBwgJCgsMDQ4PEBESExQVFhcYGRobHB0eHyA=\n" +
		"age AGE-SECRET-KEY-14WDP7X9445CXZT6RZPWNHM28GCAF27PFUD9RL48J49N2F7W5GMLQFLDF2G\n"
	ring, err := ParseRing([]byte(text))
	if err != nil {
		t.Fatal(err)
	}
	pin := secret.New("471108")
	got := fmt.Sprintf("check %x\ntag %x\n", ring.Checks()["0a1b2c3d"], ring.HistoryTag(7, PIN, pin))
	const want = "check b35bc6def21469ac9e5e6469bac10e65c658f2f78b0943d79da59bda69148c96\ntag 0a1b2c3d4d92789af17b54fcdfde96b6190222eb\n"
	if got != want {
		t.Errorf("got\n%swant\n%s", got, want)
	}
	const stored = "$argon2id$v=19$m=64,t=1,p=1,keyid=0a1b2c3d$ahQUq15xr2mxqFmeFdjpiA$ljDMVodaAmfAA6EJTJ4pSUnxG4u3xoAtNyEKDBDSSr4"
	if ok, rehash, err := NewHasher(ring, cheap()).Verify(PIN, stored, pin); !ok || rehash || err != nil {
		s, _ := NewHasher(ring, cheap()).Hash(PIN, pin)
		t.Errorf("hash: %v %v %v; today it would be %s", ok, rehash, err, s)
	}
	const sealed = "AQobLD2bIlyt9vRgm36mVJXOVMe+dVsM/88mcfYJANNWY/XqBKl/6LeFhltVs/dfmeX0"
	b, _ := base64.StdEncoding.DecodeString(sealed)
	if v, err := ring.OpenValue(Context(nil, "value", 57, 12), b); err != nil || v.Reveal() != "471108" {
		t.Errorf("sealed: %v; today it would be %s", err, base64.StdEncoding.EncodeToString(ring.SealValue(nil, Context(nil, "value", 57, 12), pin)))
	}
}

func FuzzVerify(f *testing.F) {
	ring := newTestRing(f, 1)
	h := NewHasher(ring, cheap())
	for _, kind := range []Kind{PIN, Password} {
		stored, err := h.Hash(kind, secret.New("471108"))
		if err != nil {
			f.Fatal(err)
		}
		f.Add(stored, "471108")
	}
	f.Add("$2a$05$CCCCCCCCCCCCCCCCCCCCC.E5YPO9kmyuRGyh0XouQYb4YMJKvyOeW", "U*U")
	f.Add("$argon2id$v=19$m=4194304,t=20,p=16$AAAAAAAAAAA$AAAAAAAAAAAAAAAAAAAAAA", "x")
	f.Fuzz(func(t *testing.T, stored, value string) {
		if p, err := parsePHC(stored); err == nil {
			if again, err := parsePHC(p.String()); err != nil || p.String() != stored || again.Params != p.Params {
				t.Fatalf("%q reads as %q", stored, p)
			}
			if p.work() > 1<<16 {
				return // allowed, and slow
			}
		}
		if strings.HasPrefix(stored, "$2") && checkBcrypt(stored) == nil && stored[4:6] > "05" {
			return
		}
		for _, kind := range []Kind{PIN, Password} {
			valid := ValidHash(kind, stored)
			ok, rehash, err := h.Verify(kind, stored, secret.New(value))
			if err != nil && (ok || rehash) {
				t.Fatalf("%v %v with %v", ok, rehash, err)
			}
			if valid == nil && err != nil {
				t.Fatalf("valid, but %v", err)
			}
		}
	})
}

func BenchmarkHash(b *testing.B) {
	h := NewHasher(newTestRing(b, 1), DefaultParams())
	pin := secret.New("471108")
	b.ReportAllocs()
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			if _, err := h.Hash(PIN, pin); err != nil {
				b.Error(err)
			}
		}
	})
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "hashes/s")
}
