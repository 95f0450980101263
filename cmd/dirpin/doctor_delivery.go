package main

import (
	"context"

	"github.com/dirpin/dirpin/internal/store"
	"github.com/dirpin/dirpin/resetjob"
)

// delivery asks the mail server whether it would take mails, and says what was
// not delivered. A webhook is not called: it would be told of a job.
func (c *checkup) delivery(ctx context.Context, env *resetjob.Env) error {
	if env.Mail != nil {
		if err := env.Mail.Check(ctx); err != nil {
			c.say("fault", "mail", "%v", err)
		} else {
			c.say("ok", "mail", "%s takes mails", env.Config.Mail.Server)
		}
	}
	if env.Hook != nil {
		c.say("ok", "webhook", "%s is told when a job has ended; it is not called now", env.Hook.URL())
	}
	return env.Store.Read(ctx, func(tx *store.Tx) error {
		return tx.UndeliveredJobs(func(job, n int64) error {
			c.say("warning", "delivery", "%d messages of job %d are not delivered: dirpin jobs show %d says why, dirpin jobs deliver %d sends them again", n, job, job, job)
			return nil
		})
	})
}
