package voicemail

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"crypto/tls"
	"encoding/base64"
	"encoding/pem"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/dirpin/dirpin/config"
	"github.com/dirpin/dirpin/internal/secret"
)

func testAttempt(t testing.TB, pin string) Attempt {
	t.Helper()
	a, err := NewAttempt(testRequest(pin).Body())
	if err != nil {
		t.Fatal(err)
	}
	return a
}

func newHook(t testing.TB, cfg config.Voicemail, opt Options) *httpHook {
	t.Helper()
	cfg.Name, cfg.Type, cfg.Timeout, cfg.Concurrency = "unity", "http", 10*time.Second, 4
	conn, err := Connect(&cfg, opt)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	return conn.(*httpHook)
}

func within(t testing.TB, d time.Duration) context.Context {
	ctx, cancel := context.WithTimeout(t.Context(), d)
	t.Cleanup(cancel)
	return ctx
}

func TestHTTPRequestIsSignedAnewAndSentAsItIs(t *testing.T) {
	now := time.Unix(1_700_000_000, 0)
	key := []byte("0123456789abcdef0123456789abcdef")
	a := testAttempt(t, "4711")
	for name, given := range map[string]string{
		"base64": "whsec_" + base64.StdEncoding.EncodeToString(key),
		"raw":    string(key),
	} {
		var got *http.Request
		var body string
		srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			b, _ := io.ReadAll(r.Body)
			got, body = r, string(b)
		}))
		h := newHook(t, config.Voicemail{URL: srv.URL + "/a%2Fb?x=1"}, Options{Secret: secret.New(given), Now: func() time.Time { return now }})
		for _, timestamp := range []string{"1700000000", "1700000060"} {
			if answer := h.Send(within(t, 10*time.Second), a); answer.Result != Accepted {
				t.Fatalf("%s: %+v", name, answer)
			}
			mac := hmac.New(sha256.New, key)
			mac.Write([]byte(a.RequestID + "." + timestamp + "." + a.Body.Reveal()))
			for header, want := range map[string]string{
				"Idempotency-Key": a.RequestID, "Webhook-Id": a.RequestID, "Webhook-Timestamp": timestamp,
				"Webhook-Signature": "v1," + base64.StdEncoding.EncodeToString(mac.Sum(nil)),
				"Content-Type":      "application/json",
			} {
				if got.Header.Get(header) != want {
					t.Errorf("%s: %s is %q, want %q", name, header, got.Header.Get(header), want)
				}
			}
			if got.Method != "POST" || got.RequestURI != "/a%2Fb?x=1" || body != a.Body.Reveal() || got.ContentLength != int64(len(body)) {
				t.Errorf("%s: %s %s %d %s", name, got.Method, got.RequestURI, got.ContentLength, body)
			}
			now = now.Add(time.Minute)
		}
		now = now.Add(-2 * time.Minute)
		srv.Close()
	}
}

func TestHTTPUnsignedWithoutSecret(t *testing.T) {
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		for _, name := range []string{"Webhook-Id", "Webhook-Signature", "Authorization", "Cookie"} {
			if v := r.Header.Get(name); v != "" {
				t.Errorf("%s: %q", name, v)
			}
		}
		w.Header().Set("Set-Cookie", "a=b")
	}))
	defer srv.Close()
	h := newHook(t, config.Voicemail{URL: srv.URL}, Options{})
	for range 2 {
		h.Send(within(t, 10*time.Second), testAttempt(t, "4711"))
	}
}

func TestHTTPRedirectIsNotFollowed(t *testing.T) {
	for _, status := range []int{301, 302, 303, 307, 308} {
		var reached atomic.Bool
		srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if r.URL.Path == "/login" {
				reached.Store(true)
				return
			}
			http.Redirect(w, r, "/login", status)
		}))
		got := newHook(t, config.Voicemail{URL: srv.URL + "/pin"}, Options{}).Send(within(t, 10*time.Second), testAttempt(t, "4711"))
		if got.Class != Answered || got.Result != Denied || reached.Load() {
			t.Errorf("%d: got %+v, followed %v", status, got, reached.Load())
		}
		srv.Close()
	}
}

func TestHTTPIgnoresProxiesOfTheEnvironment(t *testing.T) {
	if newTransport(nil, 1).Proxy != nil {
		t.Error("there is a proxy")
	}
}

func TestHTTPTLS(t *testing.T) {
	accept := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { w.Header().Set("Protocol", r.Proto) })
	for _, tt := range []struct {
		name  string
		setup func(srv *httptest.Server)
		ca    bool
		want  string
		says  string
	}{
		{"trusted, HTTP/1", func(*httptest.Server) {}, true, "answered accepted", ""},
		{"trusted, HTTP/2", func(s *httptest.Server) { s.EnableHTTP2 = true }, true, "answered accepted", ""},
		{"unknown CA", func(*httptest.Server) {}, false, "not-sent denied", "ca_file"},
		{"old TLS", func(s *httptest.Server) {
			s.TLS = &tls.Config{MaxVersion: tls.VersionTLS11, MinVersion: tls.VersionTLS10}
		}, true, "not-sent", "no connection"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			srv := httptest.NewUnstartedServer(accept)
			srv.Config.ErrorLog = quiet()
			tt.setup(srv)
			srv.StartTLS()
			defer srv.Close()
			cfg := config.Voicemail{URL: srv.URL}
			if tt.ca {
				cfg.CAFile = caFile(t, srv)
			}
			got := newHook(t, cfg, Options{}).Send(within(t, 10*time.Second), testAttempt(t, "4711"))
			if summary(got) != tt.want || !strings.Contains(got.Message, tt.says) {
				t.Errorf("got %+v", got)
			}
		})
	}
	t.Run("another host", func(t *testing.T) {
		srv := httptest.NewUnstartedServer(accept)
		srv.Config.ErrorLog = quiet()
		srv.StartTLS()
		defer srv.Close()
		url := strings.Replace(srv.URL, "127.0.0.1", "localhost", 1)
		got := newHook(t, config.Voicemail{URL: url, CAFile: caFile(t, srv)}, Options{}).Send(within(t, 10*time.Second), testAttempt(t, "4711"))
		if summary(got) != "not-sent denied" {
			t.Errorf("got %+v", got)
		}
	})
}

func TestHTTPSpeaksHTTP2(t *testing.T) {
	var proto atomic.Value
	srv := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { proto.Store(r.Proto) }))
	srv.EnableHTTP2 = true
	srv.StartTLS()
	defer srv.Close()
	newHook(t, config.Voicemail{URL: srv.URL, CAFile: caFile(t, srv)}, Options{}).Send(within(t, 10*time.Second), testAttempt(t, "4711"))
	if proto.Load() != "HTTP/2.0" {
		t.Errorf("spoke %v", proto.Load())
	}
}

func caFile(t *testing.T, srv *httptest.Server) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "ca.pem")
	block := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: srv.Certificate().Raw})
	if err := os.WriteFile(path, block, 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestHTTPConfigurationFaults(t *testing.T) {
	empty := filepath.Join(t.TempDir(), "empty.pem")
	if err := os.WriteFile(empty, []byte("no certificate"), 0o600); err != nil {
		t.Fatal(err)
	}
	for name, tt := range map[string]struct {
		cfg    config.Voicemail
		secret string
		says   string
	}{
		"no url":       {config.Voicemail{}, "", "url"},
		"other scheme": {config.Voicemail{URL: "ftp://hook/pin"}, "", "https://"},
		"no host":      {config.Voicemail{URL: "https:///pin"}, "", "https://"},
		"password":     {config.Voicemail{URL: "https://u:hunter2@hook/pin"}, "", "no user or password"},
		"garbled":      {config.Voicemail{URL: "https://u:hunter2@[::1/pin"}, "", "https://"},
		"CA missing":   {config.Voicemail{URL: "https://hook", CAFile: "/no/such/ca.pem"}, "", "/no/such/ca.pem"},
		"CA empty":     {config.Voicemail{URL: "https://hook", CAFile: empty}, "", "no certificate in PEM"},
		"secret":       {config.Voicemail{URL: "https://hook"}, "whsec_hunter2!", "base64"},
		"secret empty": {config.Voicemail{URL: "https://hook"}, "whsec_", "base64"},
	} {
		tt.cfg.Name, tt.cfg.Type, tt.cfg.Timeout = "unity", "http", time.Second
		_, err := Connect(&tt.cfg, Options{Secret: secret.New(tt.secret)})
		switch {
		case err == nil:
			t.Errorf("%s: no error", name)
		case !strings.Contains(err.Error(), tt.says) || !strings.HasPrefix(err.Error(), "voicemail unity: "):
			t.Errorf("%s: %v", name, err)
		case strings.Contains(err.Error(), "hunter2"):
			t.Errorf("%s: the error quotes a secret: %v", name, err)
		}
	}
	_, err := Connect(&config.Voicemail{Name: "unity", Type: "http", URL: "https://hook", Timeout: time.Second, CAFile: "/no/such/ca.pem"}, Options{})
	if !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the cause is gone from %v", err)
	}
}
