package resetjob

import (
	"errors"
	"fmt"
	"time"

	"github.com/dirpin/dirpin/internal/credential"
	"github.com/dirpin/dirpin/internal/outcome"
	"github.com/dirpin/dirpin/internal/secret"
	"github.com/dirpin/dirpin/internal/store"
	"github.com/dirpin/dirpin/internal/user"
	"github.com/dirpin/dirpin/internal/voicemail"
)

// work is one item on its way through the runner.
type work struct {
	item  store.ToDo
	batch store.Batch
	legs  []leg
	err   error     // the values could not be read or hashed
	sent  bool      // it is in pushing: it was journalled, by us or before a cut
	ready time.Time // not before

	user     user.User // as claimed
	system   *voicemail.System
	body     secret.Value // of the request
	prior    voicemail.History
	outcome  *voicemail.Outcome // of the push
	kept     error              // why the push has no outcome yet
	finished []verdict          // as the last group decided it
}

// leg is one credential of a work.
type leg struct {
	store.Leg
	value secret.Value
	drawn bool
	hash  string
}

func (l *leg) todo() bool { return l.State != store.Final }

// pin returns the leg of the PIN if it is to be done.
func (w *work) pin() *leg {
	for i := range w.legs {
		if w.legs[i].Kind == store.PIN && w.legs[i].todo() {
			return &w.legs[i]
		}
	}
	return nil
}

// prepare reads and hashes the item's values: the costly part, which depends
// on nothing but the values and so is done ahead, on all cores.
func (r *runner) prepare(w *work) {
	for i := range w.legs {
		l := &w.legs[i]
		if !l.todo() {
			continue
		}
		if l.value, w.err = r.valueOf(&l.Leg, w.item.Seq); w.err != nil {
			return
		}
		l.drawn = l.Leg.Value != nil && r.def.Select.CSV == nil
		if l.hash, w.err = r.env.Hasher.Hash(credential.Kind(l.Kind), l.value); w.err != nil {
			return
		}
	}
}

func (r *runner) valueOf(l *store.Leg, seq int64) (secret.Value, error) {
	if l.Value == nil {
		if v := r.given[l.Kind]; !v.IsZero() {
			return v, nil
		}
		return secret.Value{}, fmt.Errorf("item %d has no %s", seq, l.Kind)
	}
	v, err := r.key.OpenValue(legContext(l.Kind, r.job.ID, seq), l.Value)
	if err != nil {
		return v, fmt.Errorf("opening the %s of item %d: %w", l.Kind, seq, err)
	}
	return v, nil
}

// errFull says that enough is journalled ahead of a system; errWait that
// another job has the user.
var errFull = errors.New("enough is on its way")

// claim decides about a pending item, from the user as it is now, and journals
// it: what is pushed, and that it may have been. An item with nothing to push
// is finished at once.
func (r *runner) claim(tx *store.Tx, w *work, room func(*voicemail.System) bool) error {
	if w.err != nil {
		return r.finishAll(tx, w, outcome.Failed, outcome.Store, w.err.Error())
	}
	s, err := tx.Subject(w.item.UserRef)
	if errors.Is(err, store.ErrNotFound) {
		return r.finishAll(tx, w, outcome.Failed, outcome.UnknownUser, "the user was removed since the job opened")
	}
	if err != nil {
		return err
	}
	if s.User.UserID != w.item.UserID {
		return r.finishAll(tx, w, outcome.Failed, outcome.UnknownUser, "the user id was "+w.item.UserID+" when the job opened")
	}
	vs, err := r.verdicts(tx, w, s)
	if err != nil {
		return err
	}
	w.user = s.User
	p := find(vs, store.PIN)
	if p == nil || !p.todo() || p.system == nil || !p.system.NeedsPush() {
		if err := tx.Claim(r.job.ID, w.item.Seq, w.item.UserRef); err != nil {
			return err
		}
		return r.finish(tx, w, vs)
	}
	if !room(p.system) {
		return errFull
	}
	if err := tx.Claim(r.job.ID, w.item.Seq, w.item.UserRef); err != nil {
		return err
	}
	return r.journal(tx, w, p)
}

// verdicts judges the legs that are still to be done, as they were judged when
// the job opened, now by the user as it is, and whether a later job was faster.
func (r *runner) verdicts(tx *store.Tx, w *work, s *store.Subject) ([]verdict, error) {
	e := evidence{given: make(values, len(w.legs)), history: make(map[string][][]byte, len(w.legs))}
	for i := range w.legs {
		l := &w.legs[i]
		e.given[l.Kind] = l.value
		keep := r.judge.policy[l.Kind].History
		if !l.todo() || keep == 0 || s.Of(l.Kind).Version == 0 {
			continue
		}
		var err error
		if e.history[l.Kind], err = tx.History(w.item.UserRef, l.Kind, keep+1); err != nil {
			return nil, err
		}
	}
	vs := r.judge.user(&s.User, e)
	for i := range w.legs {
		l := &w.legs[i]
		v := find(vs, l.Kind)
		switch {
		case v == nil:
			continue
		case !l.todo(): // decided when the job opened
			v.result, v.code = l.Result, l.Code
		case v.todo() && s.Of(l.Kind).Job > r.job.ID:
			v.result, v.code, v.detail = outcome.Skipped, outcome.Superseded, fmt.Sprintf("job %d has changed it since", s.Of(l.Kind).Job)
		}
	}
	return vs, nil
}

func find(vs []verdict, kind string) *verdict {
	for i := range vs {
		if vs[i].kind == kind {
			return &vs[i]
		}
	}
	return nil
}

func (r *runner) journal(tx *store.Tx, w *work, v *verdict) error {
	l := w.pin()
	w.system = v.system
	id := l.RequestID
	if id == "" {
		id = voicemail.NewRequestID()
	}
	s := voicemail.Settings(r.def.Reset.Settings)
	req := voicemail.Request{ID: id, Job: r.job.ID, Item: w.item.Seq, Voicemail: v.system.Name(), User: w.user, PIN: l.value, Settings: s}
	w.body = req.Body()
	j := l.Leg
	j.RequestID, j.System = id, v.system.Name()
	j.Body = r.key.SealValue(nil, legContext("body", r.job.ID, w.item.Seq), w.body)
	if err := tx.Journal(r.job.ID, w.item.Seq, &j); err != nil {
		return err
	}
	l.RequestID, l.System = j.RequestID, j.System
	return nil
}

// resume decides about an item that was cut while it was pushed: the same
// request is sent again, or the item ends uncertain. It is never guessed.
func (r *runner) resume(tx *store.Tx, w *work) error {
	l := w.pin()
	uncertain := func(why string) error {
		w.outcome = &voicemail.Outcome{Result: outcome.Failed, Code: outcome.VoicemailTimeout,
			Detail: "the push was cut and is not repeated: " + why, History: voicemail.History{Attempts: l.Attempts, Lost: max(1, l.Lost)}}
		return r.settle(tx, w)
	}
	if w.err != nil {
		return uncertain(w.err.Error())
	}
	s, err := tx.Subject(w.item.UserRef)
	if errors.Is(err, store.ErrNotFound) {
		return uncertain("the user was removed")
	}
	if err != nil {
		return err
	}
	w.user = s.User
	v := verdict{kind: store.PIN}
	r.judge.route(&v, &s.User)
	age := tx.Now().Sub(time.UnixMilli(l.FirstAt))
	switch within := r.env.Config.RecoverWithin; {
	case s.User.UserID != w.item.UserID:
		return uncertain("the user id has changed")
	case v.system == nil || v.system.Name() != l.System:
		return uncertain("the user now belongs to another voicemail system")
	case age > within || age < 0:
		return uncertain(fmt.Sprintf("it was first sent %s ago, and recover_within is %s", age.Round(time.Second), within))
	case s.PIN.Job > r.job.ID:
		return uncertain(fmt.Sprintf("job %d has changed the PIN since", s.PIN.Job))
	}
	if w.body, err = r.key.OpenValue(legContext("body", r.job.ID, w.item.Seq), l.Body); err != nil {
		return uncertain(err.Error())
	}
	w.system = v.system
	// Whether the attempt that was cut had left is not known: it counts as lost.
	w.prior = voicemail.History{Attempts: max(1, l.Attempts), Lost: max(1, l.Lost)}
	return nil
}

// settle gives a pushed item its result: the PIN by what the voicemail system
// said, a password by itself.
func (r *runner) settle(tx *store.Tx, w *work) error {
	var vs []verdict
	for i := range w.legs {
		l := &w.legs[i]
		v := verdict{kind: l.Kind, result: l.Result, code: l.Code}
		if l.todo() && l.Kind == store.PIN {
			v.result, v.code, v.detail = w.outcome.Result, w.outcome.Code, w.outcome.Detail
			l.Attempts, l.Lost = w.outcome.Attempts, w.outcome.Lost
		}
		vs = append(vs, v)
	}
	return r.finish(tx, w, vs)
}

func (r *runner) finishAll(tx *store.Tx, w *work, result outcome.Result, code outcome.Code, detail string) error {
	var vs []verdict
	for i := range w.legs {
		v := verdict{kind: w.legs[i].Kind, result: result, code: code, detail: detail}
		if !w.legs[i].todo() {
			v.result, v.code = w.legs[i].Result, w.legs[i].Code
		}
		vs = append(vs, v)
	}
	return r.finish(tx, w, vs)
}

// finish commits the legs that were accepted or that nobody is asked about,
// and gives every leg and the item its result.
func (r *runner) finish(tx *store.Tx, w *work, vs []verdict) error {
	for i := range w.legs {
		l := &w.legs[i]
		v := find(vs, l.Kind)
		if !l.todo() || v == nil {
			continue
		}
		if v.todo() {
			v.result, v.code = outcome.Updated, outcome.OK
		}
		if v.result == outcome.Updated {
			if err := r.commit(tx, w, l); err != nil {
				return err
			}
		}
		done := l.Leg
		done.Result, done.Code = v.result, v.code
		if err := tx.FinishLeg(r.job.ID, w.item.Seq, &done); err != nil {
			return err
		}
	}
	it := store.Item{Seq: w.item.Seq, UserRef: w.item.UserRef, Status: string(w.user.Status)}
	it.Result, it.Code, it.Detail = combine(vs)
	if it.Result == outcome.Flagged {
		if err := tx.Flag(it.UserRef, r.job.ID, string(it.Code)); err != nil {
			return err
		}
	}
	w.finished = vs
	return tx.FinishItem(r.job.ID, &it)
}

func (r *runner) commit(tx *store.Tx, w *work, l *leg) error {
	keep := r.judge.policy[l.Kind].History
	s := r.def.Reset.Settings
	n := store.NewSecret{Hash: l.hash, KeepHistory: keep, Job: r.job.ID, MustChange: s.MustChange, CannotChange: s.CannotChange,
		DoesNotExpire: s.DoesNotExpire, Locked: s.Locked, ClearAttempts: s.ClearFailedAttempts}
	if keep > 0 {
		n.Tag = r.env.Ring.HistoryTag(w.item.UserRef, credential.Kind(l.Kind), l.value)
	}
	return tx.CommitSecret(w.item.UserRef, l.Kind, n)
}
