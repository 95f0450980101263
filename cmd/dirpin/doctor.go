package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/url"
	"strings"
	"time"

	"github.com/dirpin/dirpin/config"
	"github.com/dirpin/dirpin/internal/store"
	"github.com/dirpin/dirpin/internal/voicemail"
	"github.com/dirpin/dirpin/internal/watch"
	"github.com/dirpin/dirpin/resetjob"
	"github.com/spf13/cobra"
)

func newDoctorCommand(a *app) *cobra.Command {
	return &cobra.Command{
		Use: "doctor", Short: "Look whether everything that jobs need is in reach", Args: cobra.NoArgs,
		Long: `Look whether everything that jobs need is in reach, and say what is wrong and how
to mend it. Nobody is changed. A voicemail system that denied us and answers now is
used again.`,
		RunE: func(cmd *cobra.Command, _ []string) error { return runDoctor(cmd.Context(), a) },
	}
}

// checkup says what was looked at, one line each.
type checkup struct {
	out    io.Writer
	json   bool
	failed int
}

// finding is one line of the doctor. Its level is ok, warning or fault.
type finding struct {
	Level string `json:"level"`
	What  string `json:"what"`
	Text  string `json:"text"`
}

func (c *checkup) say(level, what, format string, args ...any) {
	if level == "fault" {
		c.failed++
	}
	f := finding{level, what, printable(fmt.Sprintf(format, args...))}
	if c.json {
		json.NewEncoder(c.out).Encode(f)
		return
	}
	fmt.Fprintf(c.out, "%-8s %s: %s\n", f.Level, f.What, f.Text)
}

func runDoctor(ctx context.Context, a *app) error {
	c := &checkup{out: a.out, json: a.json}
	err := a.withJobs(ctx, func(s *session, env *resetjob.Env) error {
		c.say("ok", "key ring", "the primary key is %s, of %d in all; they fit the database", s.ring.Primary(), len(s.ring.Keys()))
		for _, w := range s.cfg.Watch {
			if err := watch.Check(w); err != nil {
				c.say("warning", "watch "+w.Name, "no job file is taken: %v", err)
			} else {
				c.say("ok", "watch "+w.Name, "job files are taken out of %s", w.Dir)
			}
		}
		if err := c.store(ctx, s, env); err != nil {
			return err
		}
		if err := c.agreements(ctx, a, s); err != nil {
			return err
		}
		if err := c.voicemail(ctx, s, env.Router.Systems()); err != nil {
			return err
		}
		if err := c.writeBack(ctx, s, env.Directories); err != nil {
			return err
		}
		return c.delivery(ctx, env)
	})
	if err != nil {
		return err
	}
	if c.failed > 0 {
		return &exitError{code: exitCouldNotRun}
	}
	return nil
}

// store looks at the database and at who works with it.
func (c *checkup) store(ctx context.Context, s *session, env *resetjob.Env) error {
	if err := s.store.Room(); err != nil {
		c.say("fault", "store", "%v", err)
	}
	remarks, err := s.store.Remarks(ctx)
	if err != nil {
		return err
	}
	for _, r := range remarks {
		c.say("warning", "store", "%s", r)
	}
	living, err := resetjob.Recover(ctx, s.store)
	if err != nil {
		return err
	}
	var in store.Incarnation
	uncertain, left := int64(0), 0
	err = s.store.Read(ctx, func(tx *store.Tx) (err error) {
		if in, err = tx.Incarnation(); err != nil {
			return err
		}
		return tx.Jobs(func(j *store.Job) error {
			if !j.State.Ended() {
				left++
			}
			if j.Key != nil {
				uncertain += j.Counts.Uncertain
			}
			return nil
		})
	})
	if err != nil {
		return err
	}
	if in.Restored != "" {
		c.say("fault", "store", "%v", &resetjob.RestoredError{Reason: in.Restored})
	} else {
		c.say("ok", "store", "%s is readable and writable; %d jobs have not ended", s.store.Name(), left)
	}
	for _, o := range living {
		c.say("ok", "store", "process %d on %s works on jobs since %s", o.PID, o.Host, stamp(o.Started))
	}
	if uncertain > 0 {
		c.say("warning", "jobs", "%d users ended uncertain in jobs that can still be retried: dirpin jobs list, dirpin jobs retry ID", uncertain)
	}
	return nil
}

// voicemail asks every system whether it is there.
func (c *checkup) voicemail(ctx context.Context, s *session, systems []*voicemail.System) error {
	if len(systems) == 0 {
		c.say("warning", "voicemail", "none is configured: every PIN is committed here at once")
	}
	for i, sys := range systems {
		what := "voicemail " + sys.Name()
		if !sys.NeedsPush() {
			c.say("ok", what, "its users need no mailbox (type none)")
			continue
		}
		c.plain(what, &s.cfg.Voicemail[i])
		if err := c.system(ctx, s, what, sys); err != nil {
			return err
		}
		c.rules(ctx, what, s, sys)
	}
	return nil
}

// rules compares what the system demands of PINs with what is demanded here.
func (c *checkup) rules(ctx context.Context, what string, s *session, sys *voicemail.System) {
	p, answer := sys.Policy(ctx)
	switch {
	case answer != nil:
		c.say("warning", what, "its rules for PINs cannot be read: %s", answer.Message)
	case p != nil:
		remarks := resetjob.CompareRules(s.cfg.Credentials.PIN, p)
		for _, r := range remarks {
			c.say("warning", what, "%s", r)
		}
		if len(remarks) == 0 {
			c.say("ok", what, "a PIN that our policy takes fits each of its %d authentication rules", len(p.Rules))
		}
	}
}

// writeBack asks the directories whether passwords can be written to them.
func (c *checkup) writeBack(ctx context.Context, s *session, directories map[string]*voicemail.System) error {
	for _, ag := range s.cfg.Agreements {
		if d := directories[ag.Name]; d != nil {
			if err := c.system(ctx, s, "write_back of "+ag.Name, d); err != nil {
				return err
			}
		}
	}
	return nil
}

// system asks one system whether it is there. One that denied us and answers is
// used again.
func (c *checkup) system(ctx context.Context, s *session, what string, sys *voicemail.System) error {
	began := time.Now()
	answer, err := sys.Check(ctx)
	took := time.Since(began).Round(time.Millisecond)
	if err != nil {
		c.say("fault", what, "%s; mend that, then run dirpin doctor again", strings.TrimPrefix(err.Error(), "voicemail "+sys.Name()+": "))
		if answer.Result != voicemail.Denied {
			return nil
		}
		return s.store.Write(ctx, func(tx *store.Tx) error {
			return tx.SetLatch(store.Latch{System: sys.Name(), Fingerprint: sys.Fingerprint(), Message: answer.Message})
		})
	}
	lifted := false
	if err := s.store.Write(ctx, func(tx *store.Tx) (err error) { lifted, err = tx.LiftLatch(sys.Name()); return err }); err != nil {
		return err
	}
	if lifted {
		c.say("ok", what, "it denied us before and answers again (%s in %s): it is used again", answer.Result, took)
		return nil
	}
	c.say("ok", what, "it answers (%s in %s)", answer.Result, took)
	return nil
}

// plain warns of PINs that cross a network as they are.
func (c *checkup) plain(what string, v *config.Voicemail) {
	u, err := url.Parse(v.URL)
	if err != nil || u.Scheme != "http" || u.Hostname() == "localhost" {
		return
	}
	if ip := net.ParseIP(u.Hostname()); ip == nil || !ip.IsLoopback() {
		c.say("warning", what, "http://%s is not encrypted: every PIN can be read on the way; use https://", u.Host)
	}
}
