package delivery

import (
	"context"
	"errors"
	"io"
	"net"
	"net/textproto"
	"strings"
	"unicode"

	"github.com/wneessen/go-mail"
)

// Kind says what an Error means for the message, and for others.
type Kind int

// The kinds.
const (
	Refused Kind = iota + 1 // this message, by the receiver's word: sending it again changes nothing
	Later                   // it may or may not have arrived: to be sent again
	Broken                  // nothing is taken from us as we are configured
)

// Error says why a message was not handed over. Its text has no secret.
type Error struct {
	Kind Kind
	Text string
}

func (e *Error) Error() string { return e.Text }

// judge says what an error of sending means.
func judge(err error, secrets []string) *Error {
	var s *mail.SendError
	if !errors.As(err, &s) {
		return &Error{Later, clean(err.Error(), secrets)}
	}
	text, _, _ := strings.Cut(err.Error(), ", affected ") // the recipient and the id stand beside it
	e := &Error{Later, clean(text, secrets)}
	if code := s.ErrorCode(); code >= 500 {
		e.Kind = Refused
		if s.Reason == mail.ErrSMTPMailFrom { // whoever the recipient is
			e.Kind = Broken
		}
	}
	return e
}

// passing tells whether an error of connecting may be gone the next time. The
// others are a matter of the configuration: no TLS, an untrusted certificate, a
// refused password.
func passing(err error) bool {
	var reply *textproto.Error
	if errors.As(err, &reply) {
		return reply.Code < 500
	}
	var wire net.Error
	return errors.As(err, &wire) || errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) ||
		errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded)
}

// maxText is how much is kept of what a server says.
const maxText = 300

// clean makes what a server said one line without secrets.
func clean(text string, secrets []string) string {
	for _, s := range secrets {
		if s != "" {
			text = strings.ReplaceAll(text, s, "(secret)")
		}
	}
	text = strings.Map(func(r rune) rune {
		if unicode.IsControl(r) {
			return ' '
		}
		return r
	}, text)
	text = strings.Join(strings.Fields(text), " ")
	if len(text) > maxText {
		text = strings.ToValidUTF8(text[:maxText], "") + "…"
	}
	return text
}
