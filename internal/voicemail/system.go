package voicemail

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"golang.org/x/time/rate"

	"github.com/dirpin/dirpin/config"
	"github.com/dirpin/dirpin/internal/outcome"
	"github.com/dirpin/dirpin/internal/user"
)

const (
	backoffBase = 500 * time.Millisecond
	backoffMost = 10 * time.Second
)

// ErrStopped is returned by Push when its context ended before the leg did.
var ErrStopped = errors.New("stopped before the voicemail system had answered")

// PausedError is returned by Push while the breaker is open or the system asks
// for time. The leg is to be pushed again with its history, not before Until.
type PausedError struct {
	Until  time.Time
	Reason string
}

func (e *PausedError) Error() string {
	return "the voicemail system is paused until " + e.Until.UTC().Format(time.RFC3339) + ": " + e.Reason
}

// DeniedError says that the system denies us, and nothing is sent to it any
// more.
type DeniedError struct{ Message string }

func (e *DeniedError) Error() string {
	return "the voicemail system denies us: " + e.Message + "; mend its credential, then run `dirpin doctor`"
}

// System is one voicemail system of the configuration. It is safe for
// concurrent use; how many pushes are under way is up to its callers.
type System struct {
	name, kind            string
	serves                user.Matcher
	commitsWithoutMailbox bool
	timeout               time.Duration
	pauseMax              time.Duration
	concurrency           int
	retries               int
	directory             bool
	fingerprint           []byte

	conn   Connector // nil: type none
	gate   gate
	rate   *rate.Limiter
	limit  rate.Limit // of all nodes
	hours  *hours     // nil: always
	slots  *Slots
	log    *slog.Logger
	tell   func(Answer, time.Duration)
	jitter func(time.Duration) time.Duration
}

// New makes the system that cfg configures.
func New(cfg *config.Voicemail, opt Options) (*System, error) {
	if _, err := newHours(cfg.Hours); err != nil {
		return nil, fmt.Errorf("voicemail %s: %w", cfg.Name, err)
	}
	conn, err := Connect(cfg, opt)
	if err != nil {
		return nil, err
	}
	return NewWith(cfg, conn, opt), nil
}

// NewWith makes a system of a connector that is there already.
func NewWith(cfg *config.Voicemail, conn Connector, opt Options) *System {
	opt = opt.withDefaults()
	query := cfg.For
	if query == nil {
		query = user.All()
	}
	limit := rate.Inf
	if cfg.Rate > 0 {
		limit = rate.Limit(cfg.Rate)
	}
	hours, err := newHours(cfg.Hours)
	if err != nil {
		panic(err) // loading the configuration has tried them
	}
	return &System{
		hours: hours, limit: limit,
		name: cfg.Name, kind: cfg.Type, serves: query.Matcher(),
		commitsWithoutMailbox: cfg.NoMailbox == "commit", timeout: cfg.Timeout, retries: cfg.Retries,
		pauseMax: cfg.PauseMax, concurrency: max(1, cfg.Concurrency), fingerprint: opt.Fingerprint, directory: opt.Directory,
		conn: conn, rate: rate.NewLimiter(limit, 1), slots: NewSlots(max(1, cfg.Concurrency)), jitter: opt.Jitter, tell: opt.Observe,
		log: opt.Log.With("voicemail", cfg.Name),
	}
}

// Name returns the name of its entry in the configuration.
func (s *System) Name() string { return s.name }

// Kind returns its type, as the configuration has it.
func (s *System) Kind() string { return s.kind }

// NeedsPush tells whether a PIN is pushed at all: not for type none, whose
// users have no mailbox because the configuration says so.
func (s *System) NeedsPush() bool { return s.conn != nil }

// Timeout returns how long an attempt may take.
func (s *System) Timeout() time.Duration { return s.timeout }

// PauseMax returns how long a job waits for the system while it is paused; 0
// is for ever.
func (s *System) PauseMax() time.Duration { return s.pauseMax }

// Concurrency returns how many pushes may be under way at once.
func (s *System) Concurrency() int { return s.concurrency }

// Slots are those pushes, for all jobs of this process: each holds one while a
// request of it is on the wire. Waiting for the gate, the rate, a note or the
// next attempt takes none.
func (s *System) Slots() *Slots { return s.slots }

// Closed says why nothing is sent at the moment: a *DeniedError, or a
// *PausedError while the breaker is open; else nil.
func (s *System) Closed() error { return s.gate.closed() }

// Directory tells whether it is a directory, to which passwords are pushed.
func (s *System) Directory() bool { return s.directory }

// Uncertain returns the code of a leg of which an answer was lost.
func (s *System) Uncertain() outcome.Code {
	if s.directory {
		return outcome.DirectoryTimeout
	}
	return outcome.VoicemailTimeout
}

// Fingerprint returns what its Options said: it changes when its configuration
// or its secret does.
func (s *System) Fingerprint() []byte { return s.fingerprint }

// Close closes its connector; no push may be under way.
func (s *System) Close() error {
	if s.conn == nil {
		return nil
	}
	return s.conn.Close()
}

// Deny stops the system, as a denial does: for one that others were denied by,
// which is on record.
func (s *System) Deny(message string) { s.gate.set(message, true) }

// Recorded notes that a denial is on record, where others see it and somebody
// may lift it.
func (s *System) Recorded() { s.gate.record() }

// Unrecorded returns the denial that is not on record yet; "" where there is
// none.
func (s *System) Unrecorded() string { return s.gate.unrecorded() }

// Lift is Allow for a system whose denial was on record and is not any more. It
// leaves one alone that has denied us only now.
func (s *System) Lift() { s.gate.lift() }

// Allow lets a denied system be used again, beginning with a canary.
func (s *System) Allow() { s.gate.set("", false) }

// Denied returns a *DeniedError while the system is stopped, else nil.
func (s *System) Denied() error {
	var denied *DeniedError
	if errors.As(s.gate.closed(), &denied) {
		return denied
	}
	return nil
}

// KeepsNotes tells whether its legs begin with a Note that is to be journalled.
func (s *System) KeepsNotes() bool {
	_, ok := s.conn.(Looker)
	return ok
}

// Leg is a journalled PIN on its way to one system.
type Leg struct {
	Attempt
	Drawn bool    // the value was drawn at random for this leg
	Prior History // of earlier calls; an attempt that a crash cut off counts as lost

	Whose []any // log attributes that say which job's and user's it is

	// Begin is asked before each attempt, with what is known until then, whether
	// it may still leave. Its error keeps the attempt from being made. May be nil.
	Begin func(before History) error

	// Keep is called by systems that keep notes. Nothing that changes anything
	// leaves before it has returned without an error: then the note is durable.
	// May be nil.
	Keep func(Note) error
}

// Push makes attempts until the leg has an outcome. The end of ctx stops new
// attempts; one on the wire is never cut, but runs to the timeout of the system.
//
// An error means that the leg is not settled and may be pushed again: ErrStopped,
// a *PausedError, or what Begin returned. The outcome then has the history so
// far, and no code.
func (s *System) Push(ctx context.Context, leg Leg) (Outcome, error) {
	out := Outcome{History: leg.Prior}
	if s.conn == nil {
		out.Result, out.Code = outcome.Updated, outcome.OK
		return out, nil
	}
	gone := false // it was once, the mailbox that the note names: another try looks for it anew, whatever retries says
	for try := 0; ; try++ {
		lostBefore := out.Lost
		answer, err := s.attempt(ctx, &leg, &out)
		if err != nil {
			return s.kept(out, err)
		}
		v := s.settle(answer, lostBefore, leg.Drawn)
		if !v.again {
			return s.end(out, v, answer), nil
		}
		s.log.With(leg.Whose...).Warn("attempt without an answer that counts", "request_id", leg.RequestID,
			"attempt", out.Attempts, "class", string(answer.Class), "message", answer.Message)
		if err := s.gate.closed(); err != nil {
			return s.kept(out, err)
		}
		if try >= s.retries && (gone || !answer.Gone) {
			return s.end(out, v, answer), nil
		}
		gone = gone || answer.Gone
		if err := sleep(ctx, s.backoff(try, answer.RetryAfter)); err != nil {
			return out, err
		}
	}
}

// with adds the verdict on the last answer.
func (o Outcome) with(v verdict, last Answer) Outcome {
	o.Result, o.Code, o.Detail = v.result, v.code, last.Message
	o.Denied = last.Result == Denied
	switch {
	case v.code == outcome.OK && last.Proof != "":
		o.Detail = "accepted by proof: an answer was lost, and " + last.Proof
	case v.code == outcome.OK && last.Result == Accepted:
		o.Detail = ""
	case v.code == outcome.OK:
		o.Detail = "accepted by proof: an answer was lost, then the value, drawn for this user alone, was in the history: " + last.Message
	case v.code.Uncertain() && last.Class != Lost:
		o.Detail = "an earlier answer was lost; after it " + last.Message
	}
	return o
}

// end is the outcome of a leg. A directory has codes of its own; none of its
// refusals stops a job, which has PINs to push as well.
func (s *System) end(out Outcome, v verdict, last Answer) Outcome {
	out = out.with(v, last)
	if s.directory {
		out.Code = directoryCode(out.Result, out.Code)
		if out.Result == outcome.NotRun {
			out.Result = outcome.Failed
		}
	}
	return out
}

// directoryCode is what a code means where the other system is a directory.
func directoryCode(r outcome.Result, c outcome.Code) outcome.Code {
	switch c {
	case outcome.VoicemailTimeout:
		return outcome.DirectoryTimeout
	case outcome.VoicemailUnreachable:
		return outcome.DirectoryUnreachable
	case outcome.VoicemailDenied:
		if r == outcome.NotRun { // kept back because it denied others
			return outcome.DirectoryUnreachable
		}
		return outcome.DirectoryRejected
	case outcome.VoicemailRejected, outcome.InHistory, outcome.NoMailbox:
		return outcome.DirectoryRejected
	}
	return c
}

// kept is the end of a call whose next attempt could not be made: final where
// the system denies us, since it will do so for long.
func (s *System) kept(out Outcome, err error) (Outcome, error) {
	var denied *DeniedError
	if errors.As(err, &denied) {
		return s.end(out, turnedAway(out.History), Answer{Class: NotSent, Message: denied.Message}), nil
	}
	return out, err
}

// attempt sends once and adds to the history.
func (s *System) attempt(ctx context.Context, leg *Leg, out *Outcome) (Answer, error) {
	p, err := s.gate.enter(ctx)
	if err != nil {
		return Answer{}, err
	}
	if s.rate.Wait(ctx) != nil {
		s.gate.abandon(p)
		return Answer{}, ErrStopped
	}
	before := out.History
	leg.Lost = before.Lost
	answer, err := s.once(ctx, leg, before)
	if err != nil {
		s.gate.abandon(p)
		return Answer{}, err
	}
	out.Attempts++
	if answer.Class == Lost {
		out.Lost++
	}
	if answer.Gone {
		leg.Note = Note{Unsent: out.Lost == 0}
	}
	if change := s.gate.leave(p, leg.RequestID, answer); change != "" {
		s.log.Warn(change, "message", answer.Message)
	}
	return answer, nil
}

// once makes one attempt: where notes are kept, with a look before the first.
// Its error says that nothing was sent that could change anything.
func (s *System) once(ctx context.Context, leg *Leg, before History) (answer Answer, err error) {
	looker, ok := s.conn.(Looker)
	if ok && leg.Note.needsLook() {
		var note Note
		var found *Answer
		err := s.onTheWire(ctx, leg, before, func(ctx context.Context) { note, found = looker.Look(ctx, leg.Attempt) })
		if err != nil {
			return Answer{}, err
		}
		if found != nil {
			return *found, nil
		}
		if leg.Keep != nil {
			if err := leg.Keep(note); err != nil {
				return Answer{}, err
			}
		}
		leg.Note = note
	}
	err = s.onTheWire(ctx, leg, before, func(ctx context.Context) {
		began := time.Now()
		answer = s.conn.Send(ctx, leg.Attempt)
		s.tell(answer, time.Since(began))
	})
	return answer, err
}

// onTheWire does something within the timeout of the system, unless meanwhile
// the system was closed to everybody or the leg may not leave any more.
func (s *System) onTheWire(ctx context.Context, leg *Leg, before History, do func(context.Context)) error {
	if err := s.slots.Take(ctx); err != nil {
		return err
	}
	defer s.slots.Give()
	if ctx.Err() != nil {
		return ErrStopped
	}
	if err := s.gate.closed(); err != nil {
		return err
	}
	if leg.Begin != nil {
		if err := leg.Begin(before); err != nil {
			return err
		}
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), s.timeout)
	defer cancel()
	do(ctx)
	return nil
}

// Settle asks, without sending the request again, whether a leg of which an
// attempt was lost has taken effect. Where that is not proven the outcome is
// uncertain, with that reason.
func (s *System) Settle(ctx context.Context, leg Leg, why string) Outcome {
	out := Outcome{History: leg.Prior, Result: outcome.Failed, Code: s.Uncertain(), Detail: why}
	looker, ok := s.conn.(Looker)
	if !ok || leg.Note.needsLook() || s.gate.closed() != nil {
		return out
	}
	ctx, cancel := context.WithTimeout(ctx, s.timeout)
	defer cancel()
	leg.Lost = leg.Prior.Lost
	answer := looker.Settled(ctx, leg.Attempt)
	if answer.Result == Accepted {
		return out.with(verdict{result: outcome.Updated, code: outcome.OK}, answer)
	}
	if answer.Result == Denied {
		s.gate.refuse(answer.Message)
		out.Denied = true
	}
	out.Detail += "; asked whether it took effect: " + answer.Message
	return out
}

func (s *System) send(ctx context.Context, a Attempt) Answer {
	ctx, cancel := context.WithTimeout(ctx, s.timeout)
	defer cancel()
	return s.conn.Send(ctx, a)
}

// backoff is exponential with full jitter, after what the system asked for.
func (s *System) backoff(try int, retryAfter time.Duration) time.Duration {
	most := backoffMost
	if try < 5 { // beyond, it is over the cap anyway
		most = min(backoffMost, backoffBase<<try)
	}
	return retryAfter + s.jitter(most)
}

// Check asks the system whether it is there, with nothing changed. Accepted and
// rejected both pass; the answer says more. It is sent to a denied system too,
// and one that passes is used again.
func (s *System) Check(ctx context.Context) (Answer, error) {
	if s.conn == nil {
		return Answer{Class: Answered, Result: Accepted}, nil
	}
	a, err := NewAttempt(checkBody(s.name))
	if err != nil {
		return Answer{}, fmt.Errorf("voicemail %s: %w", s.name, err)
	}
	answer := s.send(ctx, a)
	switch {
	case answer.Class == Answered && (answer.Result == Accepted || answer.Result == Rejected):
		s.Allow()
		return answer, nil
	case answer.Result == Denied:
		s.Deny(answer.Message)
		return answer, fmt.Errorf("voicemail %s: it denies us: %s", s.name, answer.Message)
	case answer.Class == NotSent:
		return answer, fmt.Errorf("voicemail %s: out of reach: %s", s.name, answer.Message)
	}
	return answer, fmt.Errorf("voicemail %s: no answer that can be relied upon: %s", s.name, answer.Message)
}
