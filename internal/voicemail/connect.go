package voicemail

import (
	"context"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"time"

	"github.com/dirpin/dirpin/config"
	"github.com/dirpin/dirpin/internal/secret"
)

// Connector makes single attempts at one voicemail system. It is safe for
// concurrent use.
type Connector interface {
	// Send sends the attempt once and returns its answer, by the end of ctx or
	// shortly after. It never repeats a request by itself.
	Send(ctx context.Context, a Attempt) Answer
	// Close lets go of what is kept between attempts, of which none may be
	// under way.
	Close() error
}

// Options are what a voicemail system needs beside its configuration. Every
// field may be left out.
type Options struct {
	Secret      secret.Value // http: signs the requests; unity: the password of its user
	Directory   bool         // it is a directory, and passwords are pushed to it: codes are the directory's
	Fingerprint []byte       // of configuration and secret; a denial holds for as long as it stays
	Log         *slog.Logger
	Now         func() time.Time
	Environ     []string                               // of dirpin; exec passes some of it on
	Jitter      func(most time.Duration) time.Duration // a random duration from 0 to most
	Observe     func(Answer, time.Duration)            // is told of every attempt and how long it took
}

func (o Options) withDefaults() Options {
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Environ == nil {
		o.Environ = os.Environ()
	}
	if o.Jitter == nil {
		o.Jitter = jitter
	}
	if o.Observe == nil {
		o.Observe = func(Answer, time.Duration) {}
	}
	return o
}

func jitter(most time.Duration) time.Duration {
	var b [8]byte
	rand.Read(b[:])
	return time.Duration(binary.NativeEndian.Uint64(b[:]) % uint64(most+1))
}

// Connect returns the connector of a voicemail system; nil for type none, which
// has nobody to ask.
func Connect(cfg *config.Voicemail, opt Options) (Connector, error) {
	c, err := connect(cfg, opt.withDefaults())
	if err != nil {
		return nil, fmt.Errorf("voicemail %s: %w", cfg.Name, err)
	}
	return c, nil
}

func connect(cfg *config.Voicemail, opt Options) (Connector, error) {
	if cfg.Type != "none" && cfg.Timeout <= 0 {
		return nil, errors.New("read its timeout: it must be more than 0, or a hook that hangs would hold the job for ever")
	}
	// A typed nil would not equal nil in the interface.
	switch cfg.Type {
	case "none":
		return nil, nil
	case "http":
		h, err := newHTTPHook(cfg, opt)
		if err != nil {
			return nil, err
		}
		return h, nil
	case "exec":
		e, err := newExecHook(cfg, opt)
		if err != nil {
			return nil, err
		}
		return e, nil
	case "stream":
		h, err := newStreamHook(cfg, opt)
		if err != nil {
			return nil, err
		}
		return h, nil
	case "unity":
		u, err := newUnity(cfg, opt)
		if err != nil {
			return nil, err
		}
		return u, nil
	}
	return nil, errors.New("read its type: it must be unity, http, exec, stream or none")
}
