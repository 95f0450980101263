package resetjob

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/dirpin/dirpin/internal/outcome"
	"github.com/dirpin/dirpin/internal/store"
	"github.com/dirpin/dirpin/internal/voicemail"
)

// errFull says that enough is journalled ahead of a system.
var errFull = errors.New("enough is on its way")

// claim decides about a pending item from the user as it is now, and what is to be
// journalled of the first leg that is to be pushed. An item with nothing to push is
// finished at once.
func (g *group) claim(tx *store.Tx, w *work) error {
	r := g.r
	s := g.subjects[w.item.UserRef]
	if err := r.askOvertaken(tx, w); err != nil {
		return err
	}
	var err error
	if w.vs, err = r.decide(tx, w, s, g.history); err != nil {
		return err
	}
	if s == nil {
		return g.finishUnsent(tx, w)
	}
	w.user, w.since = s.User, map[string]store.Changed{store.PIN: s.PIN, store.Password: s.Password}
	v := w.next()
	if v == nil {
		if !w.held {
			if err := tx.FreeFor(&store.Journalled{UserRef: w.item.UserRef, Job: r.job.ID, Seq: w.item.Seq, Before: s.Before}); err != nil {
				return err
			}
		}
		return g.finishUnsent(tx, w)
	}
	if !g.choose(w, v) {
		return errFull
	}
	if err := g.compose(tx, w, v, s.Before); err != nil {
		return err
	}
	g.ahead[v.system]++
	return nil
}

// askOvertaken asks, of a leg that is to be sent again, whether another request
// was on its way to the user since: an idempotent system would accept the old one
// without carrying it out, and the mailbox has what the other one set. It is
// asked again of an item that was cut: what it had found out is written nowhere.
func (r *runner) askOvertaken(tx *store.Tx, w *work) error {
	w.overtaken = false
	if r.job.RetryOf == 0 { // it has sent what it has itself, and nothing comes between
		return nil
	}
	for i := range w.legs {
		l := &w.legs[i]
		if !l.todo() {
			continue
		}
		if l.lost() {
			id, err := tx.LastSent(w.item.UserRef, l.System)
			if err != nil {
				return fmt.Errorf("asking what was sent to %s last: %w", w.item.UserID, err)
			}
			w.overtaken = w.overtaken || id != l.RequestID
		}
		for n := range l.parts {
			if err := w.askPartOvertaken(tx, &l.parts[n]); err != nil { // of its own none is
				return err
			}
		}
	}
	return nil
}

// askPartOvertaken asks it of what an earlier job has sent to one of several
// systems, and keeps that for this item.
func (w *work) askPartOvertaken(tx *store.Tx, p *part) error {
	if !p.accepted() && !p.lost() {
		return nil
	}
	id, err := tx.LastSent(w.item.UserRef, p.System)
	if err != nil {
		return fmt.Errorf("asking what was sent to %s last at %s: %w", w.item.UserID, p.System, err)
	}
	if p.overtaken = id != p.RequestID; p.overtaken || w.held || w.cut {
		return nil
	}
	return tx.TakeSent(w.item.UserRef, p.RequestID, w.job, w.item.Seq)
}

// decide judges the legs that are still to be done, as they were judged when
// the job opened, now by the user as it is.
func (r *runner) decide(tx *store.Tx, w *work, s *store.Subject, history map[string]map[int64][][]byte) ([]verdict, error) {
	switch {
	case w.err != nil:
		return w.all(outcome.Failed, outcome.Store, w.err.Error()), nil
	case s == nil:
		return w.all(outcome.Failed, outcome.UnknownUser, "the user was removed since the job opened"), nil
	case s.User.UserID != w.item.UserID:
		return w.all(outcome.Failed, outcome.UnknownUser, "the user id was "+w.item.UserID+" when the job opened"), nil
	}
	e := evidence{given: make(values, len(w.legs)), history: make(map[string][][]byte, len(w.legs)), sent: make(map[string]bool)}
	var err error
	if e.address, err = r.judge.address(&s.User, func(manager string) (string, error) { return mailOf(tx, manager) }); err != nil {
		return nil, err
	}
	for i := range w.legs {
		// A value that may have been sent already is not judged again.
		if l := &w.legs[i]; l.todo() && !l.sent() {
			e.given[l.Kind], e.history[l.Kind] = l.value, history[l.Kind][w.item.UserRef]
		} else {
			e.sent[l.Kind] = true
		}
	}
	vs := r.judge.user(&s.User, e)
	kept := vs[:0]
	for _, v := range vs {
		if l := w.of(v.kind); l != nil {
			kept = append(kept, r.sinceThen(w, l, v, s))
		}
	}
	for _, v := range kept {
		if v.code == outcome.VoicemailDenied && v.result == outcome.NotRun {
			leaveOthers(kept, v) // the job stops here
		}
	}
	return kept, nil
}

// sinceThen is the verdict on a leg, with what came between.
func (r *runner) sinceThen(w *work, l *leg, v verdict, s *store.Subject) verdict {
	uncertain := func(why string) verdict {
		return verdict{kind: l.Kind, result: outcome.Failed, code: uncertainCode(l.Kind), detail: "an answer was lost, and the request is not sent again: " + why}
	}
	if l.todo() && (v.several != nil || len(l.parts) > 0) {
		return r.severalSince(w, l, v, s)
	}
	switch by := s.Of(l.Kind).Job; {
	case !l.todo(): // decided when the job opened, or done
		v.result, v.code = l.Result, l.Code
	case v.todo() && !l.lost() && r.later(by), l.lost() && by > r.job.Since() && by != r.job.ID:
		v.result, v.code, v.detail = outcome.Skipped, outcome.Superseded, fmt.Sprintf("job %d has changed it since", by)
	case l.doubtful() && !v.todo():
		return uncertain(string(v.code) + " " + v.detail)
	case l.lost() && w.overtaken:
		return uncertain("another one was on its way to this user since; give the user a new value")
	case l.lost() && (v.system == nil || v.system.Name() != l.System):
		return uncertain("the user now belongs to another voicemail system")
	case v.todo() && v.system != nil && v.system.NeedsPush() && !v.system.Directory() && v.system.Denied() != nil:
		if l.doubtful() {
			return uncertain(v.system.Denied().Error())
		}
		v.result, v.code, v.detail = outcome.NotRun, outcome.VoicemailDenied, v.system.Denied().Error()
	case v.todo() && v.system != nil && v.system.NeedsPush() && r.lanes[v.system].gaveUp:
		if l.doubtful() {
			return uncertain("the voicemail system was paused for longer than pause_max")
		}
		v.result, v.code = outcome.Failed, outcome.VoicemailUnreachable
		if v.system.Directory() {
			v.code = outcome.DirectoryUnreachable
		}
		v.detail = fmt.Sprintf("%s was paused for longer than pause_max (%s)", v.system.Name(), v.system.PauseMax())
	}
	return v
}

// uncertainCode is the code of a leg of which an answer was lost. PINs are
// pushed to voicemail systems, passwords to directories.
func uncertainCode(kind string) outcome.Code {
	if kind == store.Password {
		return outcome.DirectoryTimeout
	}
	return outcome.VoicemailTimeout
}

// later tells whether what a job has set is newer than what this one sets: its
// values were given later. Of a retry, those of the first of its chain count.
func (r *runner) later(job int64) bool {
	if job <= r.job.Since() || job == r.job.ID {
		return false
	}
	first, known := r.firsts[job]
	if !known {
		first = job
		// A job that is not there any more, or cannot be read, counts as itself.
		r.env.Store.Read(context.Background(), func(tx *store.Tx) error {
			j, err := tx.Job(job)
			if err == nil {
				first = j.Since()
			}
			return nil
		})
		if r.firsts == nil {
			r.firsts = make(map[int64]int64)
		}
		r.firsts[job] = first
	}
	return first > r.job.Since()
}

// of returns the leg of that kind, or nil.
func (w *work) of(kind string) *leg {
	for i := range w.legs {
		if w.legs[i].Kind == kind {
			return &w.legs[i]
		}
	}
	return nil
}

// all gives every leg that is still to be done the same verdict.
func (w *work) all(result outcome.Result, code outcome.Code, detail string) []verdict {
	var vs []verdict
	for i := range w.legs {
		l := &w.legs[i]
		v := verdict{kind: l.Kind, result: result, code: code, detail: detail}
		switch {
		case !l.todo():
			v.result, v.code, v.detail = l.Result, l.Code, ""
		case len(l.parts) > 0:
			v = l.broken(v)
		case l.doubtful():
			v.result, v.code = outcome.Failed, uncertainCode(l.Kind)
		}
		vs = append(vs, v)
	}
	return vs
}

// next returns the verdict on the first leg that is to be pushed; nil where
// there is none.
func (w *work) next() *verdict {
	for i := range w.vs {
		if v := &w.vs[i]; v.todo() && v.system != nil && v.system.NeedsPush() {
			return v
		}
	}
	return nil
}

// compose makes what is about to be sent, as it is to be journalled.
func (g *group) compose(tx *store.Tx, w *work, v *verdict, before bool) error {
	r := g.r
	l := w.of(v.kind)
	j := &store.Journalled{UserRef: w.item.UserRef, Job: r.job.ID, Seq: w.item.Seq, Kind: v.kind, System: v.system.Name(),
		EntryKey: w.user.Key, RequestID: l.RequestID, Attempts: l.Attempts, Lost: l.Lost, Before: before}
	again, body, note := l.lost(), l.Body, l.Note
	if w.part = nil; v.several != nil || len(l.parts) > 0 {
		w.part = r.begin(l, v.system.Name())
		if p := w.part; p.lost() && p.Body != nil {
			again, body, note = true, p.Body, p.Note
			j.RequestID, j.Attempts, j.Lost = p.RequestID, p.Attempts, p.Lost
		} else {
			j.RequestID = "" // that of the leg is another system's
		}
	}
	if again {
		opened, err := r.key.OpenValue(legContext("body", r.job.ID, w.item.Seq), body)
		if err == nil {
			w.attempt, err = voicemail.NewAttempt(opened)
		}
		if err != nil {
			return fmt.Errorf("opening the request of item %d: %w", w.item.Seq, err)
		}
		j.Body, j.Note = body, note
		if w.attempt.Note, err = voicemail.ParseNote(note); err != nil {
			return fmt.Errorf("item %d: %w", w.item.Seq, err)
		}
	} else {
		if j.RequestID == "" {
			j.RequestID = voicemail.NewRequestID()
		}
		req := voicemail.Request{ID: j.RequestID, Job: r.job.ID, Item: w.item.Seq, Voicemail: v.system.Name(), User: w.user,
			Settings: voicemail.Settings(r.def.Reset.Settings)}
		if v.system.Directory() {
			req.Password = l.value
		} else {
			req.PIN = l.value
		}
		w.attempt = req.Attempt()
		if v.system.KeepsNotes() {
			var err error
			if w.mailbox, err = tx.Mailbox(v.system.Name(), w.item.UserRef, w.user.UserID); err != nil {
				return err
			}
			w.attempt.Note = voicemail.Note{Unsent: true, Mailbox: w.mailbox}
			j.Note = w.attempt.Note.String()
		}
		j.Body = r.key.SealValue(nil, legContext("body", r.job.ID, w.item.Seq), w.attempt.Body)
	}
	w.sent, w.leg, w.system, w.asking = j, l, v.system, ""
	w.prior = voicemail.History{Attempts: j.Attempts, Lost: j.Lost}
	return nil
}

// journal claims the users and keeps what is about to be sent to them, and that it
// may have been. The legs of which it is decided that they are left alone have
// their result from here on.
func (g *group) journal(tx *store.Tx) error {
	if len(g.claimed) == 0 {
		return nil
	}
	js := make([]*store.Journalled, len(g.claimed))
	for i, w := range g.claimed {
		js[i] = w.sent
	}
	errs, err := tx.JournalAll(js)
	if err != nil {
		return err
	}
	for i, w := range g.claimed {
		if claimed := new(store.ClaimedError); errors.As(errs[i], &claimed) {
			w.sent, w.leg = nil, nil
			g.waiting[w] = claimed.Until
			continue
		}
		for n := range w.vs {
			if v := &w.vs[n]; !v.todo() && w.of(v.kind).todo() {
				if err := g.endLeg(tx, w, v); err != nil {
					return err
				}
			}
		}
		g.launch = append(g.launch, w)
	}
	return nil
}

// resume decides about a leg that was cut while it was pushed: the same request
// is sent again, or it ends uncertain. It is never guessed.
func (g *group) resume(tx *store.Tx, w *work) error {
	r, j := g.r, w.item.Sent
	w.sent, w.leg, w.system = j, w.of(j.Kind), g.r.named(j.System)
	// Whether the attempt that was cut had left is not known: it counts as lost.
	w.prior = voicemail.History{Attempts: max(1, j.Attempts), Lost: max(1, j.Lost)}
	s := g.subjects[w.item.UserRef]
	if s != nil {
		w.user, w.since = s.User, map[string]store.Changed{store.PIN: s.PIN, store.Password: s.Password}
	}
	if err := r.askOvertaken(tx, w); err != nil {
		return err
	}
	var err error
	if w.vs, err = r.decide(tx, w, s, g.history); err != nil {
		return err
	}
	if v := find(w.vs, j.Kind); v != nil && v.several != nil || len(w.leg.parts) > 0 {
		w.part = r.begin(w.leg, j.System)
	}
	why, ask := r.notAgain(tx, w, s)
	w.asking = ""
	if ask && w.system.KeepsNotes() {
		w.asking, why = "the push was cut and is not repeated: "+why, ""
	}
	if why == "" {
		return nil
	}
	w.outcome = &voicemail.Outcome{Result: outcome.Failed, Code: uncertainCode(j.Kind), Detail: "the push was cut and is not repeated: " + why, History: w.prior}
	return g.end(tx, w)
}

// unsend takes a leg out of the journal that was cut before anything of it
// left, and claims its item as if nothing had been. Where the job has ended
// since, the item is not run.
func (g *group) unsend(tx *store.Tx, w *work) error {
	giveBack := tx.Unjournal
	if w.held {
		giveBack = tx.HoldUnsent
	}
	if err := giveBack(w.item.Sent); err != nil {
		return err
	}
	w.of(w.item.Sent.Kind).RequestID = w.item.Sent.RequestID
	g.back = append(g.back, w)
	if w.held {
		return g.file(w, g.claim(tx, w))
	}
	if g.r.cutOnly { // it waits as the others do
		g.left = append(g.left, w)
		return nil
	}
	if !g.r.settling {
		return g.file(w, g.claim(tx, w))
	}
	if s := g.subjects[w.item.UserRef]; s != nil {
		w.user = s.User
	}
	w.vs = w.all(outcome.NotRun, outcome.Cancelled, "")
	return g.file(w, g.finish(tx, w))
}

// notAgain says why a leg that was cut must not be sent again; "" where it may.
// If only its age is against it, a system that can tell may still be asked what
// became of it.
func (r *runner) notAgain(tx *store.Tx, w *work, s *store.Subject) (why string, ask bool) {
	j := w.sent
	v := verdict{kind: j.Kind}
	if s != nil {
		r.judge.leave(&v, &s.User)
		r.judge.route(&v, &s.User)
	}
	age := tx.Now().Sub(time.UnixMilli(j.FirstAt))
	within := r.env.Config.RecoverWithin
	switch {
	case w.err != nil:
		return w.err.Error(), false
	case s == nil:
		return "the user was removed", false
	case s.User.UserID != w.item.UserID || s.User.Key != j.EntryKey:
		return "the user is another one than it was", false
	case r.judge.protect != nil && r.judge.protect.Match(&s.User):
		return "the user is protected now", false
	case r.judge.scope != nil && !r.judge.scope.Match(&s.User):
		return "the watch folder does not cover the user any more", false
	case !v.goesTo(j.System):
		return "the user now belongs to another voicemail system", false
	case r.later(s.Of(j.Kind).Job):
		return fmt.Sprintf("job %d has changed it since", s.Of(j.Kind).Job), false
	}
	body, err := r.key.OpenValue(legContext("body", r.job.ID, w.item.Seq), j.Body)
	if err == nil {
		w.attempt, err = voicemail.NewAttempt(body)
	}
	if err == nil {
		w.attempt.Note, err = voicemail.ParseNote(j.Note)
	}
	if err != nil {
		return err.Error(), false
	}
	w.mailbox = w.attempt.Note.Mailbox
	if age > within || age < 0 {
		return fmt.Sprintf("it was first sent %s ago, and recover_within is %s", age.Round(time.Second), within), true
	}
	return "", false
}

// named returns the system of that name; nil where it is not configured any
// more.
func (r *runner) named(name string) *voicemail.System {
	for s := range r.lanes {
		if s.Name() == name {
			return s
		}
	}
	return nil
}
