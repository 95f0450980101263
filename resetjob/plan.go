package resetjob

import (
	"context"
	"fmt"
	"strings"

	"github.com/dirpin/dirpin/config"
	"github.com/dirpin/dirpin/internal/outcome"
	"github.com/dirpin/dirpin/internal/store"
	"github.com/dirpin/dirpin/internal/user"
	"github.com/dirpin/dirpin/internal/voicemail"
)

// Plan says what a job would do, before anything happens.
type Plan struct {
	Counts store.Counts // as if every push were accepted
	Todo   int64        // users who would be changed
	Faults int64        // users with a value that the policy refuses
	Codes  map[outcome.Code]int64
}

// Planned is what would happen to one user.
type Planned struct {
	User     *user.User // nil: Written names nobody here
	Written  string
	Line     int
	Result   outcome.Result
	Code     outcome.Code
	Detail   string
	PIN      outcome.Code // "" where it is not asked for
	Password outcome.Code
	System   string // where the PIN would be pushed; of several the names, with commas

	Mode voicemail.Mode // of several: when it is committed
}

// Plan judges everyone whom the job selects, as opening it would, and calls
// each, unless it is nil, for every one. It changes nothing.
func (e *Env) Plan(ctx context.Context, s *Submission, each func(*Planned) error) (*Plan, error) {
	l := &loaded{def: s.Job, folder: s.Folder, given: values{}, people: s.people}
	for kind, v := range map[string]*Value{store.PIN: s.Job.Reset.PIN, store.Password: s.Job.Reset.Password} {
		if v == nil || v.Generate > 0 {
			continue
		}
		var err error
		if l.given[kind], err = e.given(v); err != nil {
			return nil, fmt.Errorf("reading the %s of the job: %w", kind, err)
		}
	}
	sel, err := e.selection(l, true)
	if err != nil {
		return nil, err
	}
	p := &Plan{Codes: make(map[outcome.Code]int64)}
	err = sel.chunks(ctx, askChunk, func(chunk []judged) error {
		if err := e.Store.Read(ctx, func(tx *store.Tx) error { return sel.decide(tx, chunk) }); err != nil {
			return err
		}
		for i := range chunk {
			if one := p.add(&chunk[i]); each != nil {
				if err := each(one); err != nil {
					return err
				}
			}
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("planning the job: %w", err)
	}
	return p, nil
}

func (p *Plan) add(j *judged) *Planned {
	one := &Planned{Written: j.written, Line: j.line}
	if j.user.ID != 0 {
		one.User = &j.user
	}
	todo := false
	for i := range j.verdicts {
		v := &j.verdicts[i]
		if v.todo() {
			todo = true
			v.result, v.code = outcome.Updated, outcome.OK
		}
		switch v.kind {
		case store.PIN:
			one.PIN = v.code
			if v.code == outcome.OK && v.system != nil {
				one.System, one.Mode = v.system.Name(), v.mode
				if v.several != nil {
					one.System = names(v.several)
				}
			}
		case store.Password:
			one.Password = v.code
		}
	}
	one.Result, one.Code, one.Detail = combine(j.verdicts)
	p.Counts.Selected++
	p.Counts.Add(one.Result, one.Code)
	p.Codes[one.Code]++
	if todo {
		p.Todo++
	}
	if v := (verdict{code: one.Code}); v.fault() {
		p.Faults++
	}
	return one
}

// nobodySelected is no fault, but hardly what was meant.
const nobodySelected = "0 selected: nobody here is what the job asks for; dirpin find says who is here, dirpin explain why somebody is not meant"

func names(systems []*voicemail.System) string {
	all := make([]string, len(systems))
	for i, s := range systems {
		all[i] = s.Name()
	}
	return strings.Join(all, ", ")
}

// String is the plan in one sentence.
func (p *Plan) String() string {
	c := p.Counts
	if c.Selected == 0 {
		return nobodySelected + "."
	}
	parts := []string{fmt.Sprintf("%d to update", p.Todo)}
	for _, x := range []struct {
		n    int64
		what string
	}{{c.Skipped, "to skip"}, {c.Flagged, "to flag"}, {c.Failed, "that fail"}} {
		if x.n > 0 {
			parts = append(parts, fmt.Sprintf("%d %s", x.n, x.what))
		}
	}
	var why []string
	for _, e := range outcome.Table() {
		if n := p.Codes[e.Code]; n > 0 && e.Code != outcome.OK {
			why = append(why, fmt.Sprintf("%d %s", n, e.Code))
		}
	}
	s := fmt.Sprintf("%d selected: %s", c.Selected, strings.Join(parts, ", "))
	if len(why) > 0 {
		s += " (" + strings.Join(why, ", ") + ")"
	}
	return s + "."
}

// Held says whether a guard would hold the job, and why.
func (p *Plan) Held(cfg *config.Config, def *Job) (string, bool) {
	limits := def.Limits.Under(cfg.Limits)
	switch {
	case limits.AllValid && p.Faults > 0:
		return fmt.Sprintf("%d users have a value that the policy refuses, and all_valid is set", p.Faults), true
	case limits.MaxUsers > 0 && p.Todo > int64(limits.MaxUsers):
		return fmt.Sprintf("it would change %d users, and max_users is %d", p.Todo, limits.MaxUsers), true
	case cfg.Approve.Over > 0 && p.Todo > int64(cfg.Approve.Over):
		return fmt.Sprintf("it would change %d users, and jobs over %d wait for someone else's release", p.Todo, cfg.Approve.Over), true
	}
	return "", false
}
