package voicemail

import (
	"bytes"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/google/uuid"

	"github.com/dirpin/dirpin/internal/secret"
	"github.com/dirpin/dirpin/internal/user"
)

// Request asks a voicemail system to set the PIN of one user.
type Request struct {
	ID        string // of NewRequestID; the same for every attempt of a leg, never used for another value
	Job, Item int64
	Voicemail string // the name of the system
	User      user.User
	PIN       secret.Value
	Password  secret.Value // in place of a PIN: for a directory (Options.Directory)
	Settings  Settings
}

// Settings are the flags that go with a PIN; nil leaves one as it is.
type Settings struct {
	MustChange          *bool `json:"must_change"`
	CannotChange        *bool `json:"cannot_change"`
	DoesNotExpire       *bool `json:"does_not_expire"`
	Locked              *bool `json:"locked"`
	ClearFailedAttempts *bool `json:"clear_failed_attempts"`
}

// NewRequestID draws a request id at random, so that no other installation, no
// restored backup and no other value ever has the same.
func NewRequestID() string {
	var b [16]byte
	rand.Read(b[:])                             // never returns an error
	b[6], b[8] = b[6]&0x0f|0x40, b[8]&0x3f|0x80 // version 4, which strict receivers ask for
	return uuid.UUID(b).String()
}

const (
	operationSetPIN      = "set_pin"
	operationSetPassword = "set_password"
	operationCheck       = "check"
)

// body is the request as it is on the wire.
type body struct {
	Version   int       `json:"version"`
	Operation string    `json:"operation"`
	RequestID string    `json:"request_id"`
	Job       int64     `json:"job"`
	Item      int64     `json:"item"`
	Voicemail string    `json:"voicemail"`
	User      *bodyUser `json:"user,omitempty"`
	PIN       string    `json:"pin,omitempty"`
	Password  string    `json:"password,omitempty"`
	Key       string    `json:"key,omitempty"` // of the user's entry, with a password
	Settings  Settings  `json:"settings"`
}

type bodyUser struct {
	UserID     string `json:"user_id"`
	FirstName  string `json:"first_name"`
	LastName   string `json:"last_name"`
	Mail       string `json:"mail"`
	Telephone  string `json:"telephone"`
	Department string `json:"department"`
}

// Attempt returns the request ready to be sent, as NewAttempt would make it of
// its body.
func (r *Request) Attempt() Attempt {
	a := Attempt{RequestID: r.ID, UserID: r.User.UserID, Body: r.Body(), pin: r.PIN}
	if !r.Password.IsZero() {
		a.pin = r.Password
	}
	return a
}

// Body returns the JSON of the request. It holds the PIN: it is journalled
// sealed, and sent as it is by every attempt.
func (r *Request) Body() secret.Value {
	b := body{
		Version: 1, Operation: operationSetPIN, RequestID: r.ID, Job: r.Job, Item: r.Item, Voicemail: r.Voicemail,
		User: &bodyUser{
			UserID: r.User.UserID, FirstName: r.User.FirstName, LastName: r.User.LastName,
			Mail: r.User.Mail, Telephone: r.User.Telephone, Department: r.User.Department(),
		},
		PIN: r.PIN.Reveal(), Settings: r.Settings,
	}
	if !r.Password.IsZero() {
		b.Operation, b.PIN, b.Password, b.Key = operationSetPassword, "", r.Password.Reveal(), r.User.Key
	}
	return encode(b)
}

func checkBody(voicemail string) secret.Value {
	return encode(body{Version: 1, Operation: operationCheck, RequestID: NewRequestID(), Voicemail: voicemail})
}

func encode(b body) secret.Value {
	var buf bytes.Buffer
	enc := json.NewEncoder(&buf)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(b); err != nil {
		panic(err) // strings, numbers and flags alone always encode
	}
	return secret.New(string(bytes.TrimSuffix(buf.Bytes(), []byte("\n"))))
}

// Attempt is a journalled request, ready to be sent.
type Attempt struct {
	RequestID string
	UserID    string       // whom it is for
	Body      secret.Value // sent as it is
	Note      Note         // of connectors that keep one
	Lost      int          // attempts before this one that may have taken effect unseen

	pin secret.Value // to be cut out of whatever comes back
}

var errNoRequest = errors.New("read the journalled request: it is no request of this program; its key or its row is damaged")

// NewAttempt reads the id and the PIN back from a body that Body made. No error
// of it quotes the body.
func NewAttempt(journalled secret.Value) (Attempt, error) {
	var b body
	if err := json.Unmarshal([]byte(journalled.Reveal()), &b); err != nil {
		return Attempt{}, errNoRequest
	}
	if b.Version != 1 {
		return Attempt{}, fmt.Errorf("read the journalled request: it has version %d, this program knows 1", b.Version)
	}
	complete := b.Operation == operationCheck || b.Operation == operationSetPIN && b.PIN != "" && b.User != nil ||
		b.Operation == operationSetPassword && b.Password != "" && b.Key != ""
	if _, err := uuid.Parse(b.RequestID); err != nil || !complete {
		return Attempt{}, errNoRequest
	}
	a := Attempt{RequestID: b.RequestID, Body: journalled, pin: secret.New(b.PIN + b.Password)}
	if b.User != nil {
		a.UserID = b.User.UserID
	}
	return a, nil
}

// read reads the body back.
func (a Attempt) read() (body, error) {
	var b body
	if err := json.Unmarshal([]byte(a.Body.Reveal()), &b); err != nil || b.Operation == operationSetPIN && b.User == nil {
		return b, errNoRequest
	}
	return b, nil
}
