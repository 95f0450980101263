// Package web serves metrics and health over HTTP.
package web

import (
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/dirpin/dirpin/internal/secret"
)

// Options say what is served.
type Options struct {
	Listen  string // a loopback address: there is no TLS
	Metrics *Metrics
	Log     *slog.Logger

	// Alive and Ready say what is wrong; nil where nothing is.
	Alive func() error
	Ready func(context.Context) error
}

// Server serves /metrics, /healthz and /readyz.
type Server struct {
	o     Options
	token atomic.Pointer[secret.Value]
	http  *http.Server
	at    net.Addr
	done  chan struct{}
}

// Listen begins to serve. Metrics are shown to whoever has the token; health is
// shown to everyone who can reach the address.
func Listen(o Options, token secret.Value) (*Server, error) {
	l, err := net.Listen("tcp", o.Listen)
	if err != nil {
		return nil, fmt.Errorf("http: listening on %s: %w", o.Listen, err)
	}
	s := &Server{o: o, at: l.Addr(), done: make(chan struct{})}
	s.SetToken(token)
	mux := http.NewServeMux()
	mux.HandleFunc("GET /healthz", s.healthz)
	mux.HandleFunc("GET /readyz", s.readyz)
	mux.Handle("GET /metrics", s.asked(promhttp.HandlerFor(o.Metrics.registry, promhttp.HandlerOpts{ErrorLog: slog.NewLogLogger(o.Log.Handler(), slog.LevelWarn)})))
	s.http = &http.Server{Handler: mux, ReadHeaderTimeout: 5 * time.Second, ReadTimeout: 10 * time.Second, WriteTimeout: 30 * time.Second,
		IdleTimeout: time.Minute, MaxHeaderBytes: 16 << 10, ErrorLog: slog.NewLogLogger(o.Log.Handler(), slog.LevelDebug)}
	go func() {
		defer close(s.done)
		if err := s.http.Serve(l); !errors.Is(err, http.ErrServerClosed) {
			o.Log.Error("http: no more requests are served", "error", err)
		}
	}()
	return s, nil
}

// Addr returns where it listens.
func (s *Server) Addr() string { return s.at.String() }

// Close ends it; requests under way have a second.
func (s *Server) Close() {
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	if s.http.Shutdown(ctx) != nil {
		s.http.Close()
	}
	<-s.done
}

// SetToken replaces the token of /metrics.
func (s *Server) SetToken(t secret.Value) { s.token.Store(&t) }

// asked lets those through who have the token.
func (s *Server) asked(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		given, ok := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
		if !ok || !equal(given, s.token.Load().Reveal()) {
			w.Header().Set("WWW-Authenticate", `Bearer realm="dirpin"`)
			http.Error(w, "a token is needed: Authorization: Bearer …", http.StatusUnauthorized)
			return
		}
		next.ServeHTTP(w, r)
	})
}

func equal(given, want string) bool {
	a, b := sha256.Sum256([]byte(given)), sha256.Sum256([]byte(want))
	return want != "" && subtle.ConstantTimeCompare(a[:], b[:]) == 1
}

func (s *Server) healthz(w http.ResponseWriter, _ *http.Request) { answer(w, s.o.Alive()) }

func (s *Server) readyz(w http.ResponseWriter, r *http.Request) {
	err := s.o.Alive()
	if err == nil {
		err = s.o.Ready(r.Context())
	}
	answer(w, err)
}

func answer(w http.ResponseWriter, err error) {
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	w.Header().Set("Cache-Control", "no-store")
	if err != nil {
		w.WriteHeader(http.StatusServiceUnavailable)
		fmt.Fprintln(w, err)
		return
	}
	fmt.Fprintln(w, "ok")
}
