package secret

import (
	"bytes"
	"encoding/json"
	"fmt"
	"log/slog"
	"strings"
	"testing"
)

func TestNothingPrintsAValue(t *testing.T) {
	type holder struct {
		Name   string
		Value  Value
		hidden Value
	}
	h := holder{"x", New("canary-4711"), New("canary-4711")}
	var log bytes.Buffer
	slog.New(slog.NewTextHandler(&log, nil)).Info("x", "v", h.Value, "h", h)
	j, err := json.Marshal(h)
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range []string{fmt.Sprint(h), fmt.Sprintf("%v %+v %#v %s %q %x", h, h, h, h.Value, h.Value, h.Value), fmt.Sprintf("%v", &h), log.String(), string(j)} {
		if strings.Contains(s, "canary") || strings.Contains(s, fmt.Sprintf("%x", "canary")) {
			t.Errorf("shown: %s", s)
		}
	}
	if h.hidden.Reveal() != "canary-4711" || !New("").IsZero() || New("").String() != "" {
		t.Error("a value is not what it was made of")
	}
}
