package main

import (
	"context"
	"log/slog"
	"strings"

	"github.com/dirpin/dirpin/ldapsync"
)

// agreements looks at every directory, and at what is left of those that are
// configured no more.
func (c *checkup) agreements(ctx context.Context, a *app, s *session) error {
	for i := range s.cfg.Agreements {
		ag := &s.cfg.Agreements[i]
		what := "agreement " + ag.Name
		o, err := a.directory(s, ag)
		if err != nil {
			c.say("fault", what, "%s", strings.TrimPrefix(err.Error(), ag.Name+": "))
			continue
		}
		if ag.WriteBack != nil {
			if o.WriteBackPassword, err = ag.WriteBack.Bind.Password.Resolve(s.ring.OpenSealed); err != nil {
				c.say("fault", what, "reading the password of write_back: %v", err)
			}
		}
		// What it warns of while it connects is among the findings.
		o.Log = slog.New(slog.DiscardHandler)
		err = ldapsync.Examine(ctx, o, func(f ldapsync.Finding) { c.say(string(f.Level), what, "%s", f.Text) })
		if err != nil {
			return err
		}
	}
	if len(s.cfg.Agreements) == 0 {
		c.say("warning", "agreements", "none is configured: no directory is asked, all users are local ones")
	}
	left, err := orphans(ctx, s)
	for _, name := range left {
		c.say("warning", "agreement "+name, "%s", orphanText(name))
	}
	return err
}
