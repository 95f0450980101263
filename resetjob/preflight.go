package resetjob

import (
	"bytes"
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/dirpin/dirpin/config"
	"github.com/dirpin/dirpin/internal/credential"
	"github.com/dirpin/dirpin/internal/outcome"
	"github.com/dirpin/dirpin/internal/secret"
	"github.com/dirpin/dirpin/internal/store"
	"github.com/dirpin/dirpin/internal/voicemail"
)

// RefusedError says that a voicemail system would refuse every PIN of a job.
type RefusedError struct{ System, Reason string }

func (e *RefusedError) Error() string {
	return fmt.Sprintf("voicemail %s would refuse these PINs, so nobody was changed: %s", e.System, e.Reason)
}

// CompareRules says what a system demands of PINs beyond our policy, a sentence
// each. Which of its rules a mailbox has only the mailbox says.
func CompareRules(ours config.Policy, p *voicemail.Policy) []string {
	var said []string
	add := func(format string, args ...any) { said = append(said, fmt.Sprintf(format, args...)) }
	for _, r := range p.Rules {
		if strings.Contains(r.Name, "Web Application") && len(p.Rules) > 1 {
			continue // a default rule, for passwords
		}
		if ours.MaxLength > 0 && r.MinLength > ours.MaxLength {
			add("its rule %q wants at least %d digits, and our policy takes at most %d: its mailboxes can get no PIN (credentials.pin.max_length)", r.Name, r.MinLength, ours.MaxLength)
		} else if r.MinLength > ours.MinLength {
			add("its rule %q wants at least %d digits, our policy %d: shorter PINs are refused for its mailboxes (credentials.pin.min_length)", r.Name, r.MinLength, ours.MinLength)
		}
		if r.NoTrivial && !ours.ForbidTrivial {
			add("its rule %q refuses trivial PINs, and our policy takes them (credentials.pin.forbid_trivial)", r.Name)
		}
		if r.History > ours.History {
			add("its rule %q remembers %d PINs, our policy %d: what is new here may be refused there (credentials.pin.history)", r.Name, r.History, ours.History)
		}
		if ours := int(ours.Expires / (24 * time.Hour)); r.ExpireDays > 0 && (ours == 0 || ours > r.ExpireDays) {
			add("its rule %q lets a PIN expire after %d days, sooner than our policy (credentials.pin.expires)", r.Name, r.ExpireDays)
		}
	}
	for _, server := range p.PINSync {
		add("it passes every changed PIN on to %s by itself (PIN synchronization): do not let that server's users be reset by a second entry or job as well, and where it pushes PINs back here they go round in a circle; a PUT may then also fail for reasons of that server", server)
	}
	return said
}

// preflight asks the systems for their rules before anybody is pushed. A job of
// which every PIN would be refused ends; what else may be refused is said, and
// is refused user by user before their PIN leaves (voicemail), or where all of
// several systems must accept it when the job opens (judge.refuse).
func (e *Env) preflight(ctx context.Context, l *loaded) error {
	if l.def.Reset.PIN == nil && (l.people.csv == nil || !l.people.csv.HasPIN()) {
		return nil
	}
	for _, s := range e.Router.Systems() {
		if denied, err := e.latched(ctx, s); err != nil || denied {
			return err // the job will say so
		}
		p, answer := s.Policy(ctx)
		if answer != nil {
			if answer.Result == voicemail.Denied {
				if err := e.latchOn(ctx, s, answer.Message); err != nil {
					return err
				}
			}
			e.Log.Warn("the rules for PINs cannot be read: whoever breaks them is refused by the system itself", "voicemail", s.Name(), "message", answer.Message)
			continue
		}
		if p == nil {
			continue
		}
		if l.rules == nil {
			l.rules = make(map[string]*voicemail.Policy)
		}
		l.rules[s.Name()] = p
		remarks := CompareRules(e.Config.Credentials.PIN, p)
		if why := refusedBy(p, e.longest(l), l.given[store.PIN]); why != "" {
			if len(e.Router.Systems()) == 1 {
				return &RefusedError{s.Name(), why}
			}
			remarks = append(remarks, "it will refuse these PINs: "+why)
		}
		for _, remark := range remarks {
			err := e.Store.Write(ctx, func(tx *store.Tx) error { return tx.LogJob(l.job.ID, "voicemail "+s.Name()+": "+remark) })
			if err != nil {
				return err
			}
			e.Log.Info(remark, "voicemail", s.Name(), "job", l.job.ID)
		}
	}
	return nil
}

// refusedBy says why every rule of a system refuses a PIN of that many digits,
// 0 where that is not known, or the one that is given to everybody; "" where one
// may take it.
func refusedBy(p *voicemail.Policy, length int, given secret.Value) string {
	if p == nil || len(p.Rules) == 0 {
		return ""
	}
	why := ""
	for _, r := range p.Rules {
		trivial := r.NoTrivial && !given.IsZero() &&
			credential.CheckGiven(credential.PIN, given, config.Policy{MinLength: 1, ForbidTrivial: true}) == outcome.Trivial
		switch {
		case length > 0 && length < r.MinLength:
			why = fmt.Sprintf("they have %d digits, and its rule %q wants at least %d, as each of its rules wants more", length, r.Name, r.MinLength)
		case trivial:
			why = fmt.Sprintf("the PIN is trivial, which its rule %q forbids, as each of its rules refuses it", r.Name)
		default:
			return ""
		}
	}
	return why
}

// longest returns how many digits the longest PIN of the job has; 0 where that
// is not known.
func (e *Env) longest(l *loaded) int {
	if v := l.given[store.PIN]; !v.IsZero() {
		return len(v.Reveal())
	}
	if l.people.csv != nil && l.people.csv.HasPIN() {
		most := 0
		for row := range l.people.csv.Rows() {
			most = max(most, len(row.PIN.Reveal()))
		}
		return most
	}
	if l.def.Reset.PIN == nil {
		return 0
	}
	return l.def.Reset.PIN.Generate
}

func (e *Env) latched(ctx context.Context, s *voicemail.System) (denied bool, err error) {
	err = e.Store.Read(ctx, func(tx *store.Tx) error {
		latches, err := tx.Latches()
		for _, l := range latches {
			denied = denied || l.System == s.Name() && bytes.Equal(l.Fingerprint, s.Fingerprint())
		}
		return err
	})
	return denied, err
}

func (e *Env) latchOn(ctx context.Context, s *voicemail.System, message string) error {
	return e.Store.Write(ctx, func(tx *store.Tx) error {
		return tx.SetLatch(store.Latch{System: s.Name(), Fingerprint: s.Fingerprint(), Message: message})
	})
}
