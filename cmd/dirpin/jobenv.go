package main

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"os"
	"os/user"
	"path/filepath"
	"runtime/debug"
	"strings"
	"time"

	"github.com/dirpin/dirpin/config"
	"github.com/dirpin/dirpin/internal/credential"
	"github.com/dirpin/dirpin/internal/delivery"
	"github.com/dirpin/dirpin/internal/incarnation"
	"github.com/dirpin/dirpin/internal/secret"
	"github.com/dirpin/dirpin/internal/voicemail"
	"github.com/dirpin/dirpin/internal/writeback"
	"github.com/dirpin/dirpin/resetjob"
)

// withJobs opens everything that jobs are looked at with, runs fn and closes
// it. Jobs of processes that died are taken from them first.
func (a *app) withJobs(ctx context.Context, fn func(*session, *resetjob.Env) error) error {
	// Each hash takes 19 MiB for a moment: collected sooner, that is less memory
	// and no fewer hashes a second.
	debug.SetGCPercent(25)
	return a.withSession(ctx, func(s *session) error {
		router, err := a.router(s)
		if err != nil {
			return withCode(exitUsage, err)
		}
		defer router.Close()
		directories, err := a.directories(s)
		if err != nil {
			return err
		}
		for _, d := range directories {
			defer d.Close()
		}
		mail, hook, err := couriers(s.cfg, s.ring.OpenSealed)
		if err != nil {
			return withCode(exitUsage, err)
		}
		if hook != nil {
			defer hook.Close()
		}
		if _, err := resetjob.Recover(ctx, s.store); err != nil {
			return withCode(exitCouldNotRun, err)
		}
		return fn(s, &resetjob.Env{Config: s.cfg, Ring: s.ring, Hasher: credential.NewHasher(s.ring, newParams()), Store: s.store, Router: router, Directories: directories, Mail: mail, Hook: hook, Live: live{a, s},
			Marker: incarnation.NewMarker(s.cfg.StateDir, s.store.Path()), Log: a.log, Step: atStep, Batch: batchItems})
	})
}

// withOwner is withJobs for commands that work on jobs.
func (a *app) withOwner(ctx context.Context, fn func(*session, *resetjob.Env) error) error {
	return a.withJobs(ctx, func(s *session, env *resetjob.Env) (err error) {
		if env.Owner, err = resetjob.NewOwner(ctx, s.store, s.ring); err != nil {
			return withCode(exitCouldNotRun, err)
		}
		defer func() {
			if err := env.Owner.Close(); err != nil {
				a.log.Warn("leaving", "error", err)
			}
		}()
		// keys rotate waits for owners that lack the new key: whoever became one
		// too late to be seen by it sees the key here.
		if checkKeys(ctx, s.store, s.ring, s.cfg) != nil {
			return withCode(exitCouldNotRun, errors.New("the key ring was rotated at this moment; nothing was done: give the command again"))
		}
		return fn(s, env)
	})
}

// withRunning is withOwner for commands that change people: it asks first
// whether this is the database that it was.
func (a *app) withRunning(ctx context.Context, fn func(*session, *resetjob.Env) error) error {
	return a.withOwner(ctx, func(s *session, env *resetjob.Env) error {
		err := env.Enter(ctx)
		var restored *resetjob.RestoredError
		if errors.As(err, &restored) {
			return withCode(exitHeld, err)
		}
		if err == nil {
			err = env.Tidy(ctx)
		}
		if err != nil {
			return withCode(exitCouldNotRun, err)
		}
		return fn(s, env)
	})
}

func (a *app) router(s *session) (*voicemail.Router, error) {
	var systems []*voicemail.System
	for i := range s.cfg.Voicemail {
		v := &s.cfg.Voicemail[i]
		key, err := voicemailSecret(s.ring, v)
		if err != nil {
			return nil, err
		}
		sys, err := voicemail.New(v, voicemail.Options{Secret: key, Fingerprint: latchFingerprint(s.ring, v, key), Log: a.log, Observe: a.observed(v.Name)})
		if err != nil {
			return nil, err
		}
		systems = append(systems, sys)
	}
	r := voicemail.NewRouter(systems...)
	r.Mode = voicemail.Mode(s.cfg.VoicemailMode)
	return r, nil
}

func (a *app) observed(system string) func(voicemail.Answer, time.Duration) {
	if a.observe == nil {
		return nil
	}
	return a.observe(system)
}

// voicemailSecret reads what a system is asked with: the secret of a hook, or
// the password of an account; the zero value where it has none.
func voicemailSecret(ring *credential.Ring, v *config.Voicemail) (secret.Value, error) {
	reference, what := v.Secret, "secret"
	if v.Type == "unity" {
		reference, what = v.Password, "password"
	}
	if reference == (config.Secret{}) {
		return secret.Value{}, nil
	}
	key, err := reference.Resolve(ring.OpenSealed)
	if err != nil {
		return key, fmt.Errorf("voicemail %s: reading its %s: %w", v.Name, what, err)
	}
	return key, nil
}

// couriers returns what delivers to people and to their programs; nil where
// none is configured.
func couriers(cfg *config.Config, open func(string) (secret.Value, error)) (*delivery.Mailer, *delivery.Hook, error) {
	read := func(what string, s config.Secret) (secret.Value, error) {
		if s == (config.Secret{}) {
			return secret.Value{}, nil
		}
		v, err := s.Resolve(open)
		if err != nil {
			err = fmt.Errorf("%s: %w", what, err)
		}
		return v, err
	}
	var mail *delivery.Mailer
	var hook *delivery.Hook
	if c := cfg.Mail; c != nil {
		password, err := read("mail: reading its password", c.Password)
		if err == nil {
			mail, err = delivery.NewMailer(c, password)
		}
		if err != nil {
			return nil, nil, err
		}
	}
	if c := cfg.Webhook; c != nil {
		key, err := read("webhook: reading its secret", c.Secret)
		if err == nil {
			hook, err = delivery.NewHook(c, key)
		}
		if err != nil {
			return nil, nil, err
		}
	}
	return mail, hook, nil
}

// directories returns where passwords are written back.
func (a *app) directories(s *session) (map[string]*voicemail.System, error) {
	systems := make(map[string]*voicemail.System)
	for _, ag := range s.cfg.Agreements {
		if ag.Passwords != "write_back" || ag.WriteBack == nil {
			continue
		}
		b := ag.WriteBack.Bind
		var password secret.Value
		if b.Password != (config.Secret{}) {
			var err error
			if password, err = b.Password.Resolve(s.ring.OpenSealed); err != nil {
				return nil, withCode(exitUsage, fmt.Errorf("%s: reading the password of write_back: %w", ag.Name, err))
			}
		}
		fingerprint := latchFingerprint(s.ring, &config.Voicemail{Name: ag.Name, URL: strings.Join(ag.Servers, " "), CAFile: ag.CAFile, User: b.DN}, password)
		systems[ag.Name] = writeback.System(ag, password, fingerprint, a.log, a.observed(writeback.Name(ag.Name)))
	}
	return systems, nil
}

// latchFingerprint changes with everything that may be why a system denied us.
func latchFingerprint(ring *credential.Ring, v *config.Voicemail, key secret.Value) []byte {
	h := sha256.New()
	for _, part := range append([]string{v.Name, v.Type, v.URL, v.CAFile, v.User, key.Reveal()}, v.Command...) {
		fmt.Fprintf(h, "%d %s", len(part), part)
	}
	return ring.Fingerprint(h.Sum(nil))
}

// opener is withJobs or one of those that do more.
type opener func(context.Context, func(*session, *resetjob.Env) error) error

// withSubmission reads a job file, opens everything that it needs, and runs fn
// with it.
func (a *app) withSubmission(ctx context.Context, path string, with opener, fn func(*session, *resetjob.Env, *resetjob.Submission) error) error {
	file, data, err := readJobFile(path)
	if err != nil {
		return err
	}
	return with(ctx, func(s *session, env *resetjob.Env) error {
		sub, err := loadSubmission(ctx, file, data, s, env)
		if err != nil {
			return withCode(exitUsage, err)
		}
		return fn(s, env, sub)
	})
}

// loadSubmission reads a job file and its list, as `dirpin run` may. A file
// whose time has passed is taken where its job was cut and is to go on.
func loadSubmission(ctx context.Context, file string, data []byte, s *session, env *resetjob.Env) (*resetjob.Submission, error) {
	o := parseOptions(s.cfg, s.ring)
	sub, err := resetjob.Load(file, data, s.cfg.Watch[0].Lists, o)
	if err == nil {
		return sub, nil
	}
	o.Accepted = true
	late, err2 := resetjob.Load(file, data, s.cfg.Watch[0].Lists, o)
	if err2 != nil {
		return nil, err
	}
	cut, err2 := env.Unfinished(ctx, late.Fingerprint)
	if err2 != nil || cut == nil {
		return nil, err
	}
	return late, nil
}

// parseOptions are those of a job from the command line: it runs now, and may
// hold plain secrets and references. Without a key ring sealed values go
// unjudged.
func parseOptions(cfg *config.Config, ring *credential.Ring) resetjob.ParseOptions {
	o := resetjob.ParseOptions{Now: time.Now(), Foreground: true, PlainAllowed: true, AllowReferences: ownsState(cfg.StateDir),
		Agreements: cfg.Agreements, Ceilings: cfg.Limits, Credentials: cfg.Credentials, Mail: cfg.Mail,
		CheckGiven: resetjob.CheckGivenBy(&cfg.Credentials)}
	if ring != nil {
		o.OpenSealed = ring.OpenSealed
		o.Resolve = func(s config.Secret) (secret.Value, error) { return s.Resolve(ring.OpenSealed) }
	}
	return o
}

// readJobFile reads a job file while dirpin is still who called it: root may
// read files that the owner of the state folder may not.
func readJobFile(path string) (string, []byte, error) {
	data, err := os.ReadFile(path)
	if errors.Is(err, os.ErrNotExist) {
		return "", nil, usagef("there is no job file %s", path)
	}
	if err != nil {
		return "", nil, withCode(exitUsage, err)
	}
	abs, err := filepath.Abs(path)
	if err != nil {
		abs = path
	}
	return abs, data, nil
}

// submitter names who runs a job, as jobs and reports show it.
func submitter() string {
	if u := os.Getenv("SUDO_USER"); u != "" {
		return u
	}
	if u, err := user.Current(); err == nil {
		return u.Username
	}
	return fmt.Sprint("uid ", os.Getuid())
}

// newParams are the parameters of every new hash, atStep is told each step of a
// job, batchItems is resetjob.Env.Batch, and wallClock is the clock of the
// database and of schedules, nil: the machine's. Only tests change them.
var (
	newParams  = credential.DefaultParams
	atStep     func(name string)
	batchItems int64
	wallClock  func() time.Time
)
