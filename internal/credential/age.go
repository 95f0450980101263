package credential

import (
	"bytes"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"strings"
	"unicode/utf8"

	"filippo.io/age"
	"filippo.io/age/agessh"

	"github.com/dirpin/dirpin/internal/secret"
)

const (
	armorHead = "-----BEGIN AGE ENCRYPTED FILE-----"
	armorFoot = "-----END AGE ENCRYPTED FILE-----"

	maxAgeText = 64 << 10
)

// Recipient returns the public key (age1…) for which values are sealed that
// this ring opens.
func (r *Ring) Recipient() string { return r.identities[0].Recipient().String() }

// SealTo seals a value for a recipient, in one line of base64 that a job file
// takes after `sealed:`. It needs no secret key.
func SealTo(recipient string, v secret.Value) (string, error) {
	to, err := ParseRecipients([]string{recipient})
	if err != nil {
		return "", err
	}
	var b bytes.Buffer
	w, err := age.Encrypt(&b, to...)
	if err != nil {
		return "", fmt.Errorf("sealing: %w", err)
	}
	if _, err := io.WriteString(w, v.Reveal()); err != nil {
		return "", fmt.Errorf("sealing: %w", err)
	}
	if err := w.Close(); err != nil {
		return "", fmt.Errorf("sealing: %w", err)
	}
	return base64.StdEncoding.EncodeToString(b.Bytes()), nil
}

// OpenSealed opens what SealTo made, or `age -r` (its file in base64) or
// `age -a -r` (with its armor, line breaks as YAML leaves them). One line break
// at the end is dropped, since `echo 4711 | age …` seals one. A value is
// UTF-8 text of one line; anything else is refused. No error quotes it.
func (r *Ring) OpenSealed(text string) (secret.Value, error) {
	data, err := ageBytes(text)
	if err != nil {
		return secret.Value{}, err
	}
	identities := make([]age.Identity, len(r.identities))
	for i, identity := range r.identities {
		identities[i] = identity
	}
	plain, err := age.Decrypt(bytes.NewReader(data), identities...)
	var nobody *age.NoIdentityMatchError
	if errors.As(err, &nobody) {
		return secret.Value{}, fmt.Errorf("the value is sealed for somebody else: seal it for %s (`dirpin seal`)", r.Recipient())
	}
	if err != nil {
		return secret.Value{}, errors.New("the sealed value is damaged, or is no age file: seal it again (`dirpin seal`)")
	}
	value, err := io.ReadAll(io.LimitReader(plain, maxBytes+3))
	defer clear(value)
	if err != nil {
		return secret.Value{}, errors.New("the sealed value is damaged: it was cut or changed; seal it again (`dirpin seal`)")
	}
	return sealedText(value)
}

func sealedText(value []byte) (secret.Value, error) {
	if cut, ok := bytes.CutSuffix(value, []byte("\n")); ok {
		value, _ = bytes.CutSuffix(cut, []byte("\r"))
	}
	switch {
	case len(value) == 0:
		return secret.Value{}, errors.New("the sealed value is empty")
	case len(value) > maxBytes:
		return secret.Value{}, fmt.Errorf("the sealed value is longer than %d bytes", maxBytes)
	case !utf8.Valid(value) || bytes.IndexByte(value, 0) >= 0 || bytes.HasPrefix(value, []byte("\ufeff")):
		return secret.Value{}, errors.New("the sealed value is not plain UTF-8 text (PowerShell pipes UTF-16): seal it by `dirpin seal`")
	case bytes.ContainsAny(value, "\r\n"):
		return secret.Value{}, errors.New("the sealed value has more than one line")
	}
	return secret.New(string(value)), nil
}

// ageBytes takes the armor and the base64 off.
func ageBytes(text string) ([]byte, error) {
	if len(text) > maxAgeText {
		return nil, fmt.Errorf("the sealed value is longer than %d bytes of text", maxAgeText)
	}
	text = strings.TrimSpace(text)
	if text == "" {
		return nil, errors.New("the sealed value is empty")
	}
	if inner, ok := strings.CutPrefix(text, armorHead); ok {
		if text, ok = strings.CutSuffix(inner, armorFoot); !ok {
			return nil, errors.New("the sealed value is cut: its last line is not " + armorFoot)
		}
	}
	data, err := base64.StdEncoding.Strict().DecodeString(strings.Join(strings.Fields(text), ""))
	if err != nil {
		return nil, errors.New("the sealed value is neither base64 nor an armored age file: seal it by `dirpin seal`")
	}
	return data, nil
}

// ParseRecipients reads for whom secrets.csv.age, or a value, is sealed: age1…,
// ssh-ed25519 or ssh-rsa. It tries them, so that what it returns can be
// encrypted to. Its errors say which one is at fault and do not quote it: it
// may be a secret key that was pasted by mistake.
func ParseRecipients(texts []string) ([]age.Recipient, error) {
	if len(texts) == 0 {
		return nil, errors.New("no recipient: name at least one age1… or ssh-… public key")
	}
	var list []age.Recipient
	seen := make(map[string]bool)
	for i, text := range texts {
		text = strings.TrimSpace(text)
		r, err := parseRecipient(text)
		if err != nil {
			return nil, fmt.Errorf("recipient %d of %d: %w", i+1, len(texts), err)
		}
		if !seen[text] {
			list = append(list, r)
		}
		seen[text] = true
	}
	if w, err := age.Encrypt(io.Discard, list...); err != nil {
		return nil, fmt.Errorf("the recipients do not go together: %w", err)
	} else if err := w.Close(); err != nil {
		return nil, fmt.Errorf("trying the recipients: %w", err)
	}
	return list, nil
}

func parseRecipient(text string) (age.Recipient, error) {
	var r age.Recipient
	var err error
	switch {
	case text == "":
		return nil, errors.New("it is empty")
	case strings.HasPrefix(strings.ToUpper(text), "AGE-SECRET-KEY-"), strings.HasPrefix(text, "-----BEGIN"):
		return nil, errors.New("it is a secret key: name its public key, and make a new pair, since this file now holds the secret one")
	case strings.HasPrefix(text, "age1pq1"):
		r, err = age.ParseHybridRecipient(text)
	case strings.HasPrefix(text, "age1") && strings.Count(text, "1") > 1: // a bech32 name of its own
		return nil, errors.New("it needs an age plugin; dirpin takes age1…, ssh-ed25519 and ssh-rsa keys")
	case strings.HasPrefix(text, "age1"):
		r, err = age.ParseX25519Recipient(text)
	case strings.HasPrefix(text, "ssh-ed25519 "), strings.HasPrefix(text, "ssh-rsa "):
		r, err = agessh.ParseRecipient(text)
	default:
		return nil, errors.New("it is neither age1…, nor ssh-ed25519 nor ssh-rsa")
	}
	if err != nil {
		return nil, errors.New("it is no valid public key: it is cut or mistyped (an RSA key needs 2048 bits)")
	}
	return r, nil
}

// EncryptTo returns a writer whose Close completes an age file in w. Without
// Close the file is refused by every reader, so that half a list is noticed.
func EncryptTo(w io.Writer, recipients []age.Recipient) (io.WriteCloser, error) {
	enc, err := age.Encrypt(w, recipients...)
	if err != nil {
		return nil, fmt.Errorf("encrypting for %d recipients: %w", len(recipients), err)
	}
	return enc, nil
}
