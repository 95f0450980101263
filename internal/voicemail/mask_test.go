package voicemail

import (
	"encoding/base64"
	"encoding/hex"
	"net/url"
	"strings"
	"testing"
	"unicode/utf8"

	"pgregory.net/rapid"

	"github.com/dirpin/dirpin/internal/secret"
)

func TestWords(t *testing.T) {
	for _, tt := range []struct{ name, pin, text, want string }{
		{"plain", "4711", "the PIN is too short", "the PIN is too short"},
		{"raw", "4711", "PIN 4711 refused (4711)", "PIN (secret) refused ((secret))"},
		{"within a number", "4711", "x947112x", "x9(secret)2x"},
		{"quotes as JSON", `4"7\1`, `{"pin":"4\"7\\1"}`, `{"pin":"(secret)"}`},
		{"url", "47#11", "?pin=47%2311", "?pin=(secret)"},
		{"base64", "471193", "NDcxMTkz", "(secret)"},
		{"hex", "471193", "343731313933", "(secret)"},
		{"escaped digits", "4711", `\u0034\u0037\u0031\u0031`, withheld},
		{"entities", "4711", "&#52;&#55;&#x31;1", withheld},
		{"percent", "4711", "%34%37%31%31", withheld},
		{"spaced", "4711", "4 7 1 1", withheld},
		{"joined by what is invisible", "4711", "4\u200b71\u202e1", withheld},
		{"joined by control characters", "4711", "47\x00\x1b11", withheld},
		{"lines", "4711", "a\r\nb\tc\x1b[2J", "a b c [2J"},
		{"not UTF-8", "4711", "a\xff\xfeb", "a\uFFFDb"},
		{"no PIN", "", "all of it 4711", "all of it 4711"},
		{"empty", "4711", "", ""},
	} {
		if got := newMask(secret.New(tt.pin)).words(tt.text); got != tt.want {
			t.Errorf("%s: got %q, want %q", tt.name, got, tt.want)
		}
	}
}

func TestWordsAreBounded(t *testing.T) {
	m := newMask(secret.New("4711"))
	for _, text := range []string{strings.Repeat("x", 1000), strings.Repeat("ä", 1000), strings.Repeat("4711", 1000)} {
		got := m.words(text)
		if len(got) > maxWords || !utf8.ValidString(got) || !strings.HasSuffix(got, "…") {
			t.Errorf("%d bytes: %q", len(got), got)
		}
	}
}

func TestWordsNeverHoldThePIN(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		pin := rapid.StringMatching(`[0-9]{4,12}`).Draw(t, "pin")
		lead := rapid.StringMatching(`[ -~]{0,20}`).Draw(t, "lead")
		embedded := lead + pin + rapid.StringMatching(`[ -~]{0,20}`).Draw(t, "trail")
		form := rapid.SampledFrom([]func(string) string{
			func(s string) string { return s },
			url.QueryEscape, url.PathEscape,
			func(s string) string { return hex.EncodeToString([]byte(s)) },
			func(s string) string { return base64.StdEncoding.EncodeToString([]byte(s)) },
			func(s string) string { return base64.RawURLEncoding.EncodeToString([]byte(s)) },
		}).Draw(t, "form")
		got := newMask(secret.New(pin)).words(form(embedded))
		for _, back := range []string{got, strings.Join(strings.Fields(got), "")} {
			if strings.Contains(back, pin) {
				t.Fatalf("%q", got)
			}
		}
		if plain, err := base64.StdEncoding.DecodeString(got); err == nil && strings.Contains(string(plain), pin) {
			t.Fatalf("%q", got)
		}
		if plain, err := hex.DecodeString(got); err == nil && strings.Contains(string(plain), pin) {
			t.Fatalf("%q", got)
		}
	})
}

// Whatever a hook sends, the rules that guard an acceptance hold.
func FuzzAnswers(f *testing.F) {
	const id, pin = "0b5f8e0e-3f4e-4c83-9d52-0ad3f5f2c7aa", "593817"
	for _, body := range []string{
		``, `{}`, `{"result":"accepted"}`, `{"request_id":"` + id + `","result":"rejected","reason":"in-history"}`,
		`{"request_id":"x","result":"accepted"}`, `{"result":"accepted","Result":"denied"}`, `<!doctype html><title>593817`,
		"\xef\xbb\xbf{\"result\":\"no-mailbox\"}", `{"result":null,"message":"5\u00393817"}`, `{"result":{"a":[1,2]}}`, `[`, "{\"a\":\x00}",
	} {
		f.Add(200, "application/json", "1", []byte(body))
		f.Add(409, "text/html; charset=x", "Tue, 24 Nov 2026 04:00:00 GMT", []byte(body))
	}
	f.Fuzz(func(t *testing.T, status int, contentType, retryAfter string, body []byte) {
		r := response{status: status, header: map[string][]string{"Content-Type": {contentType}, "Retry-After": {retryAfter}}, body: body}
		m := newMask(secret.New(pin))
		a := r.judge("https://hook/pin", id, m)
		guard(t, a, pin)
		if a.Result == Accepted && (status/100 != 2 || r.isHTML()) {
			t.Errorf("accepted by status %d, HTML %v: %q", status, r.isHTML(), body)
		}
		if (status == 401 || status == 403 || status/100 == 3) && a.Result != Denied {
			t.Errorf("status %d is %q", status, a.Result)
		}
		for _, code := range []int{0, 1, 65, 67, 69, 75, 77, 126, 127, 255} {
			var out, errs tail
			out.Write(body)
			e := ended{exit: exit{code: code}, stdout: &out, stderr: &errs}.judge("/hook", id, m)
			guard(t, e, pin)
			if named, ok := byExit(code); ok && e.Class != Lost && code != 0 && e.Result != named.Result {
				t.Errorf("exit %d is %q by %q", code, e.Result, body)
			}
		}
	})
}

func guard(t *testing.T, a Answer, pin string) {
	t.Helper()
	if a.Class == Lost && a.Result != "" && a.Result != Denied || a.Result == Accepted && a.Class != Answered {
		t.Errorf("class %s with result %q", a.Class, a.Result)
	}
	if a.Reason != "" && a.Reason != InHistory || a.RetryAfter < 0 || a.RetryAfter > maxRetryAfter {
		t.Errorf("reason %q, retry after %v", a.Reason, a.RetryAfter)
	}
	if strings.Contains(a.Message, pin) || len(a.Message) > 600 || !utf8.ValidString(a.Message) || oneLine(a.Message) != a.Message {
		t.Errorf("message %q", a.Message)
	}
}
