package resetjob

import (
	"fmt"
	"strings"

	"github.com/dirpin/dirpin/config"
	"github.com/dirpin/dirpin/internal/store"
)

func describeHold(j *store.Job, def *Job, cfg *config.Config, guard string, count int64) string {
	release := fmt.Sprintf("; let it go on with: dirpin jobs release %d", j.ID)
	switch {
	case guard == reasonAsked:
		return "its file says run: held" + release
	case guard == reasonLate:
		return fmt.Sprintf("it was to start at %s, which was missed by more than late (%s)%s; or give it another time with: dirpin jobs schedule %d", rfc3339(j.Due), cfg.Late, release, j.ID)
	case strings.HasPrefix(guard, reasonBy), strings.HasPrefix(guard, reasonUnread):
		return guard + release
	}
	again := ", then run the file again"
	if j.Folder != "" || j.Series != 0 { // the service goes on with it
		again = ""
	}
	next := fmt.Sprintf("; if that is meant: dirpin jobs release %d%s; else dirpin jobs cancel %d", j.ID, again, j.ID)
	switch guard {
	case store.ReasonRestored:
		return "the database was restored while it was unfinished: dirpin jobs cancel " + fmt.Sprint(j.ID) + " if it is done with; dirpin jobs release --restored lets all such jobs go on"
	case guardMaxUsers:
		return fmt.Sprintf("it would change %d users, and max_users is %d; nobody was changed%s", count, (&Env{Config: cfg}).limits(def, j.Folder).MaxUsers, next)
	case guardAllValid:
		return fmt.Sprintf("%d users have a value that the policy refuses, and all_valid is set; nobody was changed%s", count, next)
	case guardApprove:
		return fmt.Sprintf("it would change %d users, and jobs over %d wait for someone other than %s; nobody was changed%s", count, cfg.Approve.Over, j.Submitter, next)
	case guardNoMailbox:
		return fmt.Sprintf("the voicemail system has no mailbox for the first %d users, and none for anybody else so far: is this the right system?%s", count, next)
	}
	return guard
}

// DescribeHold says why a job is held and what to do about it.
func (e *Env) DescribeHold(j *store.Job) string {
	def, err := DecodeJob(j.Definition)
	if err != nil {
		return err.Error()
	}
	return describeHold(j, def, e.Config, j.Reason, j.HeldCount)
}

// Why says why a job stands where it does; "" where there is nothing to say.
func (e *Env) Why(j *store.Job) string {
	if j.State == store.Held {
		return e.DescribeHold(j)
	}
	return j.Reason
}

// NeedsAnother tells whether only someone other than the submitter may release
// the job.
func NeedsAnother(j *store.Job) bool { return j.Reason == guardApprove }
