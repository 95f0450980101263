package voicemail

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/dirpin/dirpin/internal/secret"
)

const secretPrefix = "whsec_"

// signingKey reads the secret of a hook: base64 after whsec_, else as it is.
func signingKey(s secret.Value) ([]byte, error) {
	encoded, found := strings.CutPrefix(s.Reveal(), secretPrefix)
	if !found {
		return []byte(s.Reveal()), nil
	}
	key, err := base64.StdEncoding.DecodeString(encoded)
	if err != nil || len(key) == 0 {
		return nil, errors.New("read its secret: it begins with whsec_ but what follows is not base64; copy it again, or leave whsec_ out if it is meant as it is")
	}
	return key, nil
}

// sign adds the headers of Standard Webhooks.
func sign(h http.Header, key []byte, id string, at time.Time, payload string) {
	timestamp := strconv.FormatInt(at.Unix(), 10)
	mac := hmac.New(sha256.New, key)
	mac.Write([]byte(id + "." + timestamp + "." + payload))
	h.Set("webhook-id", id)
	h.Set("webhook-timestamp", timestamp)
	h.Set("webhook-signature", "v1,"+base64.StdEncoding.EncodeToString(mac.Sum(nil)))
}
