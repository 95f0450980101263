package resetjob

import (
	"fmt"

	"github.com/dirpin/dirpin/config"
	"github.com/dirpin/dirpin/internal/user"
)

// folder returns the watch folder of that name; of jobs that came from none the
// first one, whose lists and reports they use and by which nothing is allowed or
// forbidden. Without ok the configuration does not have it any more.
func (e *Env) folder(name string) (w config.Watch, ok bool) {
	if name == "" {
		w = e.Config.Watch[0]
		w.Allow = config.Allow{}
		return w, true
	}
	for _, w := range e.Config.Watch {
		if w.Name == name {
			return w, true
		}
	}
	return e.Config.Watch[0], false
}

// reports returns the folder of reports of jobs of a watch folder.
func (e *Env) reports(folder string) string {
	w, _ := e.folder(folder)
	return w.Reports
}

// limits returns what limits a job beside the ceilings of the configuration and
// of its watch folder, which may have been lowered since it was accepted.
func (e *Env) limits(def *Job, folder string) Limits {
	w, _ := e.folder(folder)
	return def.Limits.Under(Ceilings(e.Config, &w))
}

// Ceilings returns the limits that a job of a watch folder may only lower.
func Ceilings(cfg *config.Config, w *config.Watch) config.Limits {
	return config.Limits{MaxUsers: lower(cfg.Limits.MaxUsers, w.Allow.MaxUsers), MaxFailures: cfg.Limits.MaxFailures}
}

// scope returns whom jobs of a watch folder may change; nil: everyone. Of a
// folder that is not configured any more that is not known: nobody.
func (e *Env) scope(folder string) *user.Matcher {
	w, ok := e.folder(folder)
	var m user.Matcher
	switch {
	case !ok:
		m = (&user.Query{Match: user.MatchAny}).Matcher()
	case w.Allow.Users == nil:
		return nil
	default:
		m = w.Allow.Users.Matcher()
	}
	return &m
}

// GoneError says that the configuration does not have the watch folder of a job
// any more, and so not what the job may do.
type GoneError struct{ Folder string }

func (e *GoneError) Error() string {
	return fmt.Sprintf("the configuration has no watch folder %s any more: whom its jobs may change is not known; drop the file into another folder", e.Folder)
}
