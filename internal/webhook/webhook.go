// Package webhook signs requests as Standard Webhooks says
// (https://www.standardwebhooks.com), so that their receiver can tell who sent
// them, and when.
package webhook

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

// Key reads the secret of a receiver: base64 after whsec_, else as it is.
func Key(s secret.Value) ([]byte, error) {
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

// Sign adds the headers of one attempt: id is the same at every attempt, at is
// the time of this one.
func Sign(h http.Header, key []byte, id string, at time.Time, payload string) {
	timestamp := strconv.FormatInt(at.Unix(), 10)
	mac := hmac.New(sha256.New, key)
	mac.Write([]byte(id + "." + timestamp + "." + payload))
	h.Set("webhook-id", id)
	h.Set("webhook-timestamp", timestamp)
	h.Set("webhook-signature", "v1,"+base64.StdEncoding.EncodeToString(mac.Sum(nil)))
}
