package voicemail

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptrace"
	"net/url"
	"os"
	"strings"
	"time"

	"github.com/dirpin/dirpin/config"
	"github.com/dirpin/dirpin/internal/webhook"
)

const (
	maxReply = 64 << 10 // bytes of an answer that are read

	// idleFor is shorter than the keep-alive of the servers in use (from 2 s):
	// a connection that the server closes while a request leaves costs a lost
	// attempt, a new one a few milliseconds.
	idleFor = time.Second
)

// httpHook posts requests to a URL.
type httpHook struct {
	url       *url.URL
	shown     string // without the query, where tokens are kept
	key       []byte // nil: unsigned
	now       func() time.Time
	transport *http.Transport
}

func newHTTPHook(cfg *config.Voicemail, opt Options) (*httpHook, error) {
	u, err := url.Parse(cfg.URL)
	switch {
	case err != nil || u.Host == "" || u.Scheme != "https" && u.Scheme != "http":
		return nil, errors.New("read its url: it must be https://HOST/PATH, or http:// for a hook on this machine")
	case u.User != nil:
		return nil, errors.New("read its url: no user or password may stand in it; sign the requests with `secret` instead")
	}
	h := &httpHook{url: u, shown: u.Scheme + "://" + u.Host + u.EscapedPath(), now: opt.Now}
	if !opt.Secret.IsZero() {
		if h.key, err = webhook.Key(opt.Secret); err != nil {
			return nil, err
		}
	}
	roots, err := trusted(cfg.CAFile)
	if err != nil {
		return nil, err
	}
	h.transport = newTransport(roots, cfg.Concurrency)
	return h, nil
}

// trusted reads the certificates of a CA file; nil are the machine's.
func trusted(file string) (*x509.CertPool, error) {
	if file == "" {
		return nil, nil
	}
	pem, err := os.ReadFile(file)
	if err != nil {
		return nil, fmt.Errorf("read its ca_file: %w", err)
	}
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM(pem) {
		return nil, fmt.Errorf("read its ca_file %s: there is no certificate in PEM form in it", file)
	}
	return roots, nil
}

// newTransport has no proxy and follows no redirect: requests go where the
// configuration says, or nowhere.
func newTransport(roots *x509.CertPool, concurrency int) *http.Transport {
	dialer := &net.Dialer{KeepAlive: 15 * time.Second}
	return &http.Transport{
		DialContext: func(ctx context.Context, network, addr string) (net.Conn, error) {
			conn, err := dialer.DialContext(ctx, network, addr)
			if err != nil {
				return nil, err
			}
			return &countedConn{Conn: conn}, nil
		},
		TLSClientConfig:        &tls.Config{MinVersion: tls.VersionTLS12, RootCAs: roots},
		ForceAttemptHTTP2:      true,
		MaxIdleConnsPerHost:    max(1, concurrency),
		IdleConnTimeout:        idleFor,
		MaxResponseHeaderBytes: maxReply,
		DisableCompression:     true, // an answer is small, and a bomb is not
	}
}

// Close lets the idle connections go.
func (h *httpHook) Close() error {
	h.transport.CloseIdleConnections()
	return nil
}

// Send posts the request once.
func (h *httpHook) Send(ctx context.Context, a Attempt) Answer {
	m := newMask(a.pin)
	w := &wire{}
	resp, err := h.transport.RoundTrip(h.request(httptrace.WithClientTrace(ctx, w.trace()), a))
	if err != nil {
		return h.broken(err, w.left(), m)
	}
	defer resp.Body.Close()
	said, err := io.ReadAll(io.LimitReader(resp.Body, maxReply+1))
	got := response{status: resp.StatusCode, header: resp.Header, body: said, at: h.now()}
	switch {
	case err != nil:
		got.cut = "the connection broke off within it"
		if errors.Is(err, context.DeadlineExceeded) {
			got.cut = "it was not complete within the timeout"
		}
	case len(said) > maxReply:
		got.body, got.cut = said[:maxReply], "it is longer than 64 KiB"
	}
	return got.judge(h.shown, a.RequestID, m)
}

// request has no GetBody, so that net/http cannot send it a second time by
// itself, which the Idempotency-Key would otherwise allow.
func (h *httpHook) request(ctx context.Context, a Attempt) *http.Request {
	payload := a.Body.Reveal()
	req := &http.Request{
		Method: http.MethodPost, URL: h.url, Host: h.url.Host,
		Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1,
		Body: io.NopCloser(strings.NewReader(payload)), ContentLength: int64(len(payload)),
		Header: http.Header{
			"Accept":          {"application/json"},
			"Content-Type":    {"application/json"},
			"Idempotency-Key": {a.RequestID},
			"User-Agent":      {"dirpin"},
		},
	}
	if h.key != nil {
		webhook.Sign(req.Header, h.key, a.RequestID, h.now(), payload)
	}
	return req.WithContext(ctx)
}

// broken is the answer where there was none.
func (h *httpHook) broken(err error, left bool, m mask) Answer {
	why := m.words(err.Error())
	if errors.Is(err, context.DeadlineExceeded) {
		why = "nothing within the timeout"
	}
	var unverified *tls.CertificateVerificationError
	switch {
	case left:
		return Answer{Class: Lost, Message: h.shown + ": the request left and its answer was lost: " + why}
	case errors.As(err, &unverified):
		return Answer{Class: NotSent, Result: Denied, Message: h.shown + ": its certificate is not trusted: " + why + "; renew it, or name its CA in ca_file"}
	}
	return Answer{Class: NotSent, Message: h.shown + ": no connection: " + why}
}
