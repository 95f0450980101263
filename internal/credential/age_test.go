package credential

import (
	"bytes"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/rsa"
	"encoding/base64"
	"io"
	"math/big"
	"strings"
	"testing"

	"filippo.io/age"
	"filippo.io/age/armor"
	"golang.org/x/crypto/ssh"
	"pgregory.net/rapid"

	"github.com/dirpin/dirpin/internal/secret"
)

// ageFile is what `age -r` (or -a -r) writes.
func ageFile(t testing.TB, recipient, plain string, armored bool) string {
	t.Helper()
	to, err := age.ParseX25519Recipient(recipient)
	if err != nil {
		t.Fatal(err)
	}
	return encrypted(t, plain, armored, to)
}

func encrypted(t testing.TB, plain string, armored bool, to ...age.Recipient) string {
	t.Helper()
	var b bytes.Buffer
	var dst io.WriteCloser = nopCloser{&b}
	if armored {
		dst = armor.NewWriter(&b)
	}
	w, err := age.Encrypt(dst, to...)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := io.WriteString(w, plain); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	if err := dst.Close(); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

type nopCloser struct{ io.Writer }

func (nopCloser) Close() error { return nil }

func TestOpenSealedTakesWhatAgeMakes(t *testing.T) {
	ring := newTestRing(t, 1)
	armored := ageFile(t, ring.Recipient(), "471108\n", true)
	for name, text := range map[string]string{
		"armored":                 armored,
		"armored, CRLF":           strings.ReplaceAll(armored, "\n", "\r\n"),
		"armored, folded by YAML": strings.ReplaceAll(strings.TrimSpace(armored), "\n", " "),
		"armored, indented":       strings.ReplaceAll(armored, "\n", "\n    "),
		"base64":                  base64.StdEncoding.EncodeToString([]byte(ageFile(t, ring.Recipient(), "471108", false))),
		"base64, wrapped":         wrap(base64.StdEncoding.EncodeToString([]byte(ageFile(t, ring.Recipient(), "471108\r\n", false)))),
	} {
		got, err := ring.OpenSealed(text)
		if err != nil || got.Reveal() != "471108" {
			t.Errorf("%s: got %q, %v", name, got.Reveal(), err)
		}
	}
	// Sealed before the rotation, opened after.
	if got, err := rotated(t, ring, 2).OpenSealed(armored); err != nil || got.Reveal() != "471108" {
		t.Errorf("after a rotation: got %q, %v", got.Reveal(), err)
	}
}

func wrap(s string) string {
	var b strings.Builder
	for len(s) > 76 {
		b.WriteString(s[:76] + "\n")
		s = s[76:]
	}
	return b.String() + s + "\n"
}

func TestOpenSealedRefuses(t *testing.T) {
	ring, other := newTestRing(t, 1), newTestRing(t, 2)
	armored := ageFile(t, ring.Recipient(), "471108", true)
	raw := ageFile(t, ring.Recipient(), "471108", false)
	long := ageFile(t, ring.Recipient(), strings.Repeat("471108", 2000), false)
	b64 := func(s string) string { return base64.StdEncoding.EncodeToString([]byte(s)) }
	seal := func(s string) string { return b64(ageFile(t, ring.Recipient(), s, false)) }
	flip := []byte(raw)
	flip[len(flip)-1] ^= 1
	for _, tt := range []struct{ name, text, want string }{
		{"nothing", " \n", "is empty"},
		{"plain", "471108", "neither base64 nor an armored age file"},
		{"plain that is base64", "4711", "is damaged, or is no age file"},
		{"for another", b64(ageFile(t, other.Recipient(), "471108", false)), "sealed for somebody else: seal it for " + ring.Recipient()},
		{"no end", strings.Split(armored, "-----END")[0], "is cut"},
		{"cut", b64(raw[:len(raw)-1]), "is damaged"},
		{"cut header", b64(raw[:60]), "is damaged, or is no age file"},
		{"flipped", b64(string(flip)), "is damaged"},
		{"cut far in", b64(long[:len(long)-9000]), "is damaged"},
		{"too long a value", seal(strings.Repeat("4", maxBytes+1)), "longer than 1024 bytes"},
		{"far too long a value", seal(strings.Repeat("4", 30_000)), "longer than 1024 bytes"},
		{"too long a text", strings.Repeat("A", maxAgeText+1), "longer than"},
		{"empty value", seal(""), "is empty"},
		{"a line break alone", seal("\r\n"), "is empty"},
		{"two lines", seal("471108\n\n"), "more than one line"},
		{"UTF-16", seal("4\x007\x001\x001\x00"), "not plain UTF-8"},
		{"UTF-16 with BOM", seal("\xff\xfe4\x00"), "not plain UTF-8"},
		{"Latin-1", seal("p\xe4ssword"), "not plain UTF-8"},
		{"BOM", seal("\ufeff471108"), "not plain UTF-8"},
	} {
		v, err := ring.OpenSealed(tt.text)
		if err == nil {
			t.Errorf("%s: accepted %q", tt.name, v.Reveal())
			continue
		}
		if !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: got %q, want %q in it", tt.name, err, tt.want)
		}
		if strings.Contains(err.Error(), "471108") {
			t.Errorf("%s: the error quotes the value", tt.name)
		}
	}
	if v, err := ring.OpenSealed(seal(strings.Repeat("4", maxBytes) + "\r\n")); err != nil || len(v.Reveal()) != maxBytes {
		t.Errorf("the longest value: %v", err)
	}
}

func TestSealTo(t *testing.T) {
	ring := newTestRing(t, 1)
	rapid.Check(t, func(t *rapid.T) {
		value := rapid.StringMatching(`[^\r\n\x00\x{feff}]{1,100}`).Draw(t, "value")
		text, err := SealTo(ring.Recipient(), secret.New(value))
		if err != nil {
			t.Fatal(err)
		}
		if strings.ContainsAny(text, " \n") {
			t.Fatalf("not one word: %q", text)
		}
		if got, err := ring.OpenSealed(text); err != nil || got.Reveal() != value {
			t.Fatalf("got %q, %v", got.Reveal(), err)
		}
	})
	if _, err := SealTo("age1nobody", secret.New("4711")); err == nil || strings.Contains(err.Error(), "4711") {
		t.Errorf("got %v", err)
	}
}

func TestParseRecipients(t *testing.T) {
	ring := newTestRing(t, 1)
	hybrid, err := age.GenerateHybridIdentity()
	if err != nil {
		t.Fatal(err)
	}
	pq := hybrid.Recipient().String()
	ed, rsa2048, rsa1024 := sshKeys(t)
	own := ring.Recipient()
	for _, tt := range []struct {
		name  string
		texts []string
		n     int
		want  string
	}{
		{"age", []string{own}, 1, ""},
		{"spaces around", []string{" " + own + "\n"}, 1, ""},
		{"age, ssh", []string{own, ed, rsa2048}, 3, ""},
		{"twice", []string{own, own}, 1, ""},
		{"post-quantum", []string{pq}, 1, ""},
		{"post-quantum and classic", []string{pq, own}, 0, "the recipients do not go together"},
		{"none", nil, 0, "no recipient"},
		{"empty", []string{own, ""}, 0, "recipient 2 of 2: it is empty"},
		{"secret key", []string{own, ring.identities[0].String()}, 0, "recipient 2 of 2: it is a secret key"},
		{"secret key in lower case", []string{strings.ToLower(ring.identities[0].String())}, 0, "it is a secret key"},
		{"ssh secret key", []string{"-----BEGIN OPENSSH PRIVATE KEY-----"}, 0, "it is a secret key"},
		{"mistyped", []string{own[:len(own)-1] + "b"}, 0, "no valid public key"},
		{"cut", []string{own[:20]}, 0, "no valid public key"},
		{"plugin", []string{"age1yubikey1q2w7u3vpya839jxxuq8g0sedh3d740d4xvn639sqhr95ejj8vu3hyfumptt"}, 0, "needs an age plugin"},
		{"short rsa", []string{rsa1024}, 0, "RSA key needs 2048 bits"},
		{"ecdsa", []string{"ecdsa-sha2-nistp256 AAAA"}, 0, "neither age1…, nor ssh-ed25519 nor ssh-rsa"},
		{"a mail address", []string{"jo@example.com"}, 0, "neither age1…"},
		{"broken ssh", []string{"ssh-ed25519 AAAA"}, 0, "no valid public key"},
	} {
		got, err := ParseRecipients(tt.texts)
		if (err == nil) != (tt.want == "") || err != nil && !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: got %v, want %q", tt.name, err, tt.want)
			continue
		}
		if len(got) != tt.n {
			t.Errorf("%s: %d recipients", tt.name, len(got))
		}
		if err != nil && strings.Contains(strings.ToUpper(err.Error()), "AGE-SECRET-KEY-1") {
			t.Errorf("%s: the error quotes the key", tt.name)
		}
	}
}

func sshKeys(t *testing.T) (ed, rsa2048, rsa1024 string) {
	t.Helper()
	pub, _, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	long, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	short := rsa.PublicKey{N: new(big.Int).Rsh(long.N, 1024), E: long.E}
	text := func(key any) string {
		k, err := ssh.NewPublicKey(key)
		if err != nil {
			t.Fatal(err)
		}
		return strings.TrimSpace(string(ssh.MarshalAuthorizedKey(k)))
	}
	return text(pub) + " me@example.com", text(&long.PublicKey), text(&short)
}

func TestEncryptTo(t *testing.T) {
	ring, other := newTestRing(t, 1), newTestRing(t, 2)
	to, err := ParseRecipients([]string{other.Recipient(), ring.Recipient()})
	if err != nil {
		t.Fatal(err)
	}
	var b bytes.Buffer
	w, err := EncryptTo(&b, to)
	if err != nil {
		t.Fatal(err)
	}
	want := strings.Repeat("jdoe,John,Doe,471108\r\n", 10_000)
	for line := range strings.Lines(want) {
		if _, err := io.WriteString(w, line); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := io.ReadAll(must(age.Decrypt(bytes.NewReader(b.Bytes()), ring.identities[0]))); err == nil {
		t.Error("a file that was never closed reads to its end")
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	for _, r := range []*Ring{ring, other} {
		got, err := io.ReadAll(must(age.Decrypt(bytes.NewReader(b.Bytes()), r.identities[0])))
		if err != nil || string(got) != want {
			t.Errorf("%d bytes, %v", len(got), err)
		}
	}
	if _, err := EncryptTo(&b, nil); err == nil {
		t.Error("encrypted for nobody")
	}
}

func must(r io.Reader, err error) io.Reader {
	if err != nil {
		return strings.NewReader("")
	}
	return r
}

func FuzzOpenSealed(f *testing.F) {
	ring := newTestRing(f, 1)
	f.Add(ageFile(f, ring.Recipient(), "471108", true))
	f.Add(base64.StdEncoding.EncodeToString([]byte(ageFile(f, ring.Recipient(), "471108", false))))
	scrypt, err := age.NewScryptRecipient("password")
	if err != nil {
		f.Fatal(err)
	}
	scrypt.SetWorkFactor(2)
	f.Add(encrypted(f, "471108", true, scrypt))
	f.Add(armorHead + armorFoot)
	f.Fuzz(func(t *testing.T, text string) {
		v, err := ring.OpenSealed(text)
		if err == nil && (v.IsZero() || strings.ContainsAny(v.Reveal(), "\r\n\x00")) {
			t.Fatalf("accepted %q", v.Reveal())
		}
	})
}
