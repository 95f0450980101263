// Package writeback pushes passwords to the directories that own them, as
// package voicemail pushes PINs to voicemail systems: a password is a leg of
// the same saga, journalled before it is written and never guessed about.
//
// After an answer was lost, one bind as the user on the same server tells
// whether the password is there (ldapsync.Passwords.Prove); where it doesn't,
// the same password is written again, to the same server first: another one may
// not have the change yet.
package writeback

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/dirpin/dirpin/config"
	"github.com/dirpin/dirpin/internal/secret"
	"github.com/dirpin/dirpin/internal/voicemail"
	"github.com/dirpin/dirpin/ldapsync"
)

// concurrency is how many connections write to one directory at a time.
const concurrency = 4

// System returns the system to which the passwords of an agreement are
// written.
func System(a config.Agreement, password secret.Value, fingerprint []byte, log *slog.Logger, observe func(voicemail.Answer, time.Duration)) *voicemail.System {
	d := &directory{agreement: a, password: password, log: log}
	return voicemail.NewWith(&config.Voicemail{Name: Name(a.Name), Type: "directory", NoMailbox: "fail", Timeout: a.Timeout, Retries: 2,
		Concurrency: concurrency, PauseMax: 24 * time.Hour}, d, voicemail.Options{Directory: true, Fingerprint: fingerprint, Log: log, Observe: observe})
}

// Name is the name of an agreement's directory among the systems that legs are
// pushed to. No voicemail system has such a name.
func Name(agreement string) string { return "directory " + agreement }

// directory is the voicemail.Connector of one agreement.
type directory struct {
	agreement config.Agreement
	password  secret.Value
	log       *slog.Logger

	mu   sync.Mutex
	idle []*ldapsync.Passwords
	not  []string // servers that cannot write
}

var _ voicemail.Looker = (*directory)(nil)

// request is what a journalled body says.
type request struct {
	Operation string `json:"operation"`
	RequestID string `json:"request_id"`
	Key       string `json:"key"`
	Password  string `json:"password"`
	Settings  struct {
		MustChange          *bool `json:"must_change"`
		ClearFailedAttempts *bool `json:"clear_failed_attempts"`
	} `json:"settings"`
}

// Look connects to the server that will be asked, which is journalled before
// anything is changed there: after a lost answer it is that server that knows.
func (d *directory) Look(ctx context.Context, a voicemail.Attempt) (voicemail.Note, *voicemail.Answer) {
	p, err := d.open(ctx, a.Note.Mailbox)
	if err != nil {
		answer := refused(err)
		return voicemail.Note{}, &answer
	}
	d.keep(p)
	return voicemail.Note{Mailbox: p.Server()}, nil
}

// Send writes the password once. Where an answer was lost before, it asks first
// whether the password is there.
func (d *directory) Send(ctx context.Context, a voicemail.Attempt) voicemail.Answer {
	var r request
	if err := json.Unmarshal([]byte(a.Body.Reveal()), &r); err != nil {
		return voicemail.Answer{Class: voicemail.NotSent, Message: "the journalled request cannot be read"}
	}
	p, err := d.open(ctx, a.Note.Mailbox)
	if err != nil {
		return refused(err)
	}
	if r.Operation == "check" {
		d.keep(p)
		return voicemail.Answer{Class: voicemail.Answered, Result: voicemail.Accepted}
	}
	if a.Lost > 0 && p.Server() == a.Note.Mailbox {
		if proven := d.prove(ctx, p, &r); proven.Result == voicemail.Accepted {
			d.keep(p)
			return proven
		}
	}
	w := p.Set(ctx, r.Key, secret.New(r.Password), ldapsync.Extra{MustChange: yes(r.Settings.MustChange), Unlock: yes(r.Settings.ClearFailedAttempts)})
	if w.Class == ldapsync.Answered || w.Verdict == ldapsync.Busy {
		d.keep(p)
	} else {
		p.Close()
	}
	if w.Verdict == ldapsync.ReadOnly { // another one may
		d.mu.Lock()
		d.not = append(d.not, p.Server())
		d.mu.Unlock()
	}
	return answerOf(p.Server(), w)
}

// Settled asks the server to which the password was written.
func (d *directory) Settled(ctx context.Context, a voicemail.Attempt) voicemail.Answer {
	var r request
	if err := json.Unmarshal([]byte(a.Body.Reveal()), &r); err != nil {
		return voicemail.Answer{Class: voicemail.NotSent, Message: "the journalled request cannot be read"}
	}
	p, err := d.open(ctx, a.Note.Mailbox)
	if err != nil {
		return refused(err)
	}
	defer d.keep(p)
	if p.Server() != a.Note.Mailbox {
		return voicemail.Answer{Class: voicemail.NotSent, Message: a.Note.Mailbox + " is out of reach, and another server may not know it"}
	}
	return d.prove(ctx, p, &r)
}

// prove asks by one bind as the user; a wrong one counts against the account,
// so that it is not repeated.
func (d *directory) prove(ctx context.Context, p *ldapsync.Passwords, r *request) voicemail.Answer {
	proof, words := p.Prove(ctx, r.Key, secret.New(r.Password))
	if proof == ldapsync.Proven {
		return voicemail.Answer{Class: voicemail.Answered, Result: voicemail.Accepted, Proof: "a bind as the user on " + p.Server() + " succeeded with it"}
	}
	return voicemail.Answer{Class: voicemail.NotSent, Message: fmt.Sprintf("%s: %s: %s", p.Server(), proof, words)}
}

// answerOf translates what the directory said.
func answerOf(server string, w ldapsync.Written) voicemail.Answer {
	a := voicemail.Answer{Class: voicemail.Class(w.Class), Message: server + ": " + w.Message}
	switch w.Verdict {
	case ldapsync.Accepted:
		a.Result, a.Message = voicemail.Accepted, ""
	case ldapsync.Rejected, ldapsync.Gone:
		a.Result = voicemail.Rejected
	case ldapsync.Denied:
		a.Result = voicemail.Denied
	case ldapsync.Busy:
		a.Result, a.RetryAfter = voicemail.Retry, time.Second
	case ldapsync.ReadOnly:
		a.Result, a.Gone = voicemail.Retry, true
	}
	if w.Class == ldapsync.Lost {
		a.Message = server + ": the request left and its answer was lost: " + w.Message
	}
	return a
}

// refused is the answer where no connection was made. A wrong password of ours
// is a denial: the next tries would lock the account.
func refused(err error) voicemail.Answer {
	a := voicemail.Answer{Class: voicemail.NotSent, Message: err.Error()}
	if ldapsync.Refused(err) || errors.Is(err, ldapsync.ErrConfig) {
		a.Result = voicemail.Denied
	}
	return a
}

func yes(b *bool) bool { return b != nil && *b }

// open returns a connection, one that is there already if it will do.
func (d *directory) open(ctx context.Context, first string) (*ldapsync.Passwords, error) {
	d.mu.Lock()
	for i, p := range d.idle {
		if first == "" || p.Server() == first {
			d.idle = append(d.idle[:i], d.idle[i+1:]...)
			d.mu.Unlock()
			return p, nil
		}
	}
	not := append([]string(nil), d.not...)
	d.mu.Unlock()
	p, err := ldapsync.OpenPasswords(ctx, ldapsync.PasswordOptions{Agreement: d.agreement, Password: d.password, First: first, Not: not, Log: d.log})
	if err != nil {
		return nil, fmt.Errorf("connecting to write a password: %w", err)
	}
	return p, nil
}

func (d *directory) keep(p *ldapsync.Passwords) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.idle = append(d.idle, p)
}

// Close ends the connections.
func (d *directory) Close() error {
	d.mu.Lock()
	defer d.mu.Unlock()
	var errs []error
	for _, p := range d.idle {
		errs = append(errs, p.Close())
	}
	d.idle = nil
	return errors.Join(errs...)
}
