package voicemail

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/dirpin/dirpin/internal/secret"
)

const ownID = "0b5f8e0e-3f4e-4c83-9d52-0ad3f5f2c7aa"

// summary is an answer as the tables of these tests show it.
func summary(a Answer) string {
	return strings.TrimSpace(fmt.Sprintf("%s %s %s", a.Class, a.Result, a.Reason))
}

func TestHTTPStatusesAndBodies(t *testing.T) {
	const json, page, plain = "application/json", "text/html; charset=utf-8", "text/plain"
	for _, tt := range []struct {
		status      int
		contentType string
		body        string
		want        string
	}{
		{200, "", "", "answered accepted"},
		{204, "", "", "answered accepted"},
		{299, plain, "done", "answered accepted"},
		{200, json, "", "answered accepted"},
		{200, json, `{"request_id":"` + ownID + `"}`, "answered accepted"},
		{200, json, `{"request_id":"` + strings.ToUpper(ownID) + `","result":"accepted"}`, "answered accepted"},
		{200, json, `{"request_id":null,"result":null}`, "answered accepted"},
		{200, json, `"fine"`, "answered accepted"},
		{200, plain, "\ufeff{\"result\":\"rejected\"}\r\n", "answered rejected"},
		{200, json, `{"result":"rejected","reason":"in-history"}`, "answered rejected in-history"},
		{200, json, `{"Result":"Rejected","Reason":"In-History"}`, "answered rejected in-history"},
		{200, json, `{"result":"rejected","reason":"too-old"}`, "answered rejected"},
		{200, json, `{"result":"no-mailbox"}`, "answered no-mailbox"},
		{200, json, `{"result":"retry"}`, "not-sent retry"},
		{200, json, `{"result":"denied"}`, "answered denied"},
		{200, json, `{"result":"ok"}`, "lost"},
		{200, json, `{"result":7}`, "lost"},
		{200, json, `{"result":"accepted","request_id":""}`, "lost"},
		{200, json, `{"result":"accepted","request_id":"other"}`, "lost"},
		{200, json, `{"result":"accepted"} {"result":"rejected"}`, "lost"},
		{200, json, `{"result":"accepted"`, "lost"},
		{200, "application/problem+json", `oops`, "lost"},
		{200, json, `oops`, "lost"},
		{200, plain, `{oops`, "lost"},

		{200, page, "<html>log in", "lost denied"},
		{200, page, "", "lost denied"},
		{200, page, `{"result":"accepted"}`, "lost denied"},
		{200, page, `{"result":"rejected"}`, "answered rejected"},
		{200, json, "<!DOCTYPE html><html>", "lost denied"},
		{200, plain, "  \n<HTML><body>", "lost denied"},
		{200, "", `<?xml version="1.0"?><html xmlns="x">`, "lost denied"},
		{200, "application/xhtml+xml", "x", "lost denied"},

		{301, "", "", "answered denied"},
		{302, page, "<html>", "answered denied"},
		{304, "", "", "answered denied"},
		{307, json, `{"result":"accepted"}`, "lost denied"},
		{401, page, "<html>", "answered denied"},
		{403, json, `{"result":"rejected"}`, "answered denied"},
		{401, json, `{"request_id":"gateway-7"}`, "lost denied"},

		{400, plain, "bad", "answered rejected"},
		{404, page, "<html>not found", "answered rejected"},
		{404, json, `{"result":"no-mailbox"}`, "answered no-mailbox"},
		{405, "", "", "answered rejected"},
		{409, json, `{"reason":"in-history"}`, "answered rejected in-history"},
		{409, json, `{"result":"retry"}`, "not-sent retry"},
		{422, json, `{"result":"denied"}`, "answered denied"},
		{422, json, `{"result":"accepted"}`, "lost"},
		{422, json, `{"result":"whatever"}`, "answered rejected"},
		{422, json, `{"result":`, "answered rejected"},
		{404, json, `{"request_id":"gateway-7","message":"no route"}`, "lost"},

		{425, "", "", "not-sent retry"},
		{429, page, "<html>", "not-sent retry"},
		{429, json, `{"result":"accepted"}`, "lost"},
		{408, "", "", "lost"},
		{500, json, `{"result":"rejected"}`, "lost"},
		{500, json, `{"result":"accepted"}`, "lost"},
		{503, page, "<html>", "lost"},
		{504, "", "", "lost"},
		{101, "", "", "lost"},
		{600, "", "", "lost"},
	} {
		r := response{status: tt.status, header: http.Header{"Content-Type": {tt.contentType}}, body: []byte(tt.body)}
		a := r.judge("https://hook/pin", ownID, newMask(secret.New("593817")))
		if got := summary(a); got != tt.want {
			t.Errorf("%d %s %s: got %s, want %s (%s)", tt.status, tt.contentType, tt.body, got, tt.want, a.Message)
		}
		if !strings.HasPrefix(a.Message, fmt.Sprintf("https://hook/pin answered %d", tt.status)) {
			t.Errorf("%d: message %q", tt.status, a.Message)
		}
	}
}

func TestHTTPIncompleteBodyIsNoAcceptance(t *testing.T) {
	for status, want := range map[int]string{200: "lost", 409: "answered rejected", 401: "answered denied", 500: "lost"} {
		r := response{status: status, cut: "it is longer than 64 KiB"}
		if got := summary(r.judge("https://hook", ownID, mask{})); got != want {
			t.Errorf("%d: got %s, want %s", status, got, want)
		}
	}
}

func TestHTTPMessages(t *testing.T) {
	for _, tt := range []struct {
		status int
		header http.Header
		body   string
		want   string
	}{
		{409, nil, `{"message":"PIN 593817 was used\r\nbefore"}`, "https://hook/pin answered 409 Conflict: PIN (secret) was used before"},
		{200, nil, `{"result":"rejected","reason":"min-age","message":"wait a day"}`, "https://hook/pin answered 200 OK: min-age: wait a day"},
		{400, nil, strings.Repeat("x", 300), "https://hook/pin answered 400 Bad Request: " + strings.Repeat("x", 197) + "…"},
		{404, nil, "<html><body>secret internals", "https://hook/pin answered 404 Not Found"},
		{302, http.Header{"Location": {"https://sso.example.com/login?token=abc"}}, "", "https://hook/pin answered 302 Found: a redirect to sso.example.com, which is never followed"},
		{302, http.Header{"Location": {"/login"}}, "", "https://hook/pin answered 302 Found: a redirect, which is never followed"},
		{799, nil, "", "https://hook/pin answered 799"},
	} {
		r := response{status: tt.status, header: tt.header, body: []byte(tt.body)}
		if got := r.judge("https://hook/pin", ownID, newMask(secret.New("593817"))).Message; got != tt.want {
			t.Errorf("%d: got %q, want %q", tt.status, got, tt.want)
		}
	}
}

func TestRetryAfter(t *testing.T) {
	now := time.Date(2026, 11, 24, 4, 0, 0, 0, time.UTC)
	for _, tt := range []struct {
		status int
		header string
		want   time.Duration
	}{
		{429, "", time.Second},
		{425, "3", 3 * time.Second},
		{429, " 7 ", 7 * time.Second},
		{429, "0", time.Second},
		{429, "-5", time.Second},
		{429, "soon", time.Second},
		{429, "1.5", time.Second},
		{429, "99999999999999999999999", time.Second},
		{429, "9223372036854775807", maxRetryAfter},
		{503, "120", 2 * time.Minute},
		{503, "86400", maxRetryAfter},
		{503, "", 0},
		{503, "Tue, 24 Nov 2026 04:00:30 GMT", 30 * time.Second},
		{503, "Tuesday, 24-Nov-26 04:01:00 GMT", time.Minute},
		{503, "Tue, 24 Nov 2026 03:00:00 GMT", 0},
		{503, "Tue, 24 Nov 2099 03:00:00 GMT", maxRetryAfter},
		{409, "30", 0},
	} {
		r := response{status: tt.status, header: http.Header{"Retry-After": {tt.header}}, at: now}
		if got := r.judge("x", ownID, mask{}).RetryAfter; got != tt.want {
			t.Errorf("%d %q: got %v, want %v", tt.status, tt.header, got, tt.want)
		}
	}
	said := response{status: 200, body: []byte(`{"result":"retry"}`), header: http.Header{"Retry-After": {"9"}}, at: now}
	if got := said.judge("x", ownID, mask{}).RetryAfter; got != 9*time.Second {
		t.Errorf("retry in words: got %v", got)
	}
}
