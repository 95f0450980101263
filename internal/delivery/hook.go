package delivery

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/dirpin/dirpin/config"
	"github.com/dirpin/dirpin/internal/secret"
	"github.com/dirpin/dirpin/internal/webhook"
)

const hookPatience = 15 * time.Second

// Hook tells another program of something. It is safe for concurrent use.
type Hook struct {
	url    string
	key    []byte // nil: nothing is signed
	client *http.Client
}

// NewHook reads the CA that cfg names.
func NewHook(cfg *config.Webhook, key secret.Value) (*Hook, error) {
	h := &Hook{url: cfg.URL}
	tls, err := tlsConfig("", cfg.CAFile)
	if err == nil && !key.IsZero() {
		h.key, err = webhook.Key(key)
	}
	if err != nil {
		return nil, fmt.Errorf("webhook: %w", err)
	}
	transport := http.DefaultTransport.(*http.Transport).Clone()
	transport.TLSClientConfig = tls
	h.client = &http.Client{Transport: transport, Timeout: hookPatience,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	return h, nil
}

// URL returns where it calls.
func (h *Hook) URL() string { return h.url }

// Close lets go of connections.
func (h *Hook) Close() { h.client.CloseIdleConnections() }

// Send posts JSON under an id that is the same at every attempt. Its error is an
// *Error.
func (h *Hook) Send(ctx context.Context, id string, payload []byte) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, h.url, strings.NewReader(string(payload)))
	if err != nil {
		return &Error{Broken, "webhook: " + err.Error()}
	}
	req.Header.Set("Content-Type", "application/json")
	if h.key != nil {
		webhook.Sign(req.Header, h.key, id, time.Now(), string(payload))
	} else {
		req.Header.Set("webhook-id", id)
	}
	resp, err := h.client.Do(req)
	if err != nil {
		return &Error{Later, clean("webhook: "+errors.Unwrap(err).Error(), nil)}
	}
	defer resp.Body.Close()
	said := &Error{Refused, "webhook: it answered " + resp.Status}
	switch code := resp.StatusCode; {
	case code/100 == 2:
		return nil
	case code >= 500, code == http.StatusRequestTimeout, code == http.StatusTooEarly, code == http.StatusTooManyRequests:
		said.Kind = Later
	}
	return said
}
