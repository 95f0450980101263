package resetjob

import (
	"fmt"
	"slices"
	"strings"

	"github.com/dirpin/dirpin/internal/outcome"
	"github.com/dirpin/dirpin/internal/store"
	"github.com/dirpin/dirpin/internal/voicemail"
)

// A PIN whose user has several voicemail systems (voicemail_mode) is one leg
// with a part at each. The parts are pushed one after another, and the user is
// kept in flight from the first to the last: an item of an older job between two
// of them would leave its PIN at one system and ours at the other.

// part is what became of a leg at one of several systems.
type part struct {
	store.Part
	overtaken bool // another request was sent to the user there since
}

func (p *part) todo() bool { return p.State != store.Final }

// accepted tells whether the system has the PIN.
func (p *part) accepted() bool {
	return !p.todo() && p.Result == outcome.Updated && p.Code == outcome.OK
}

// lost tells whether an answer was lost, and nothing has settled that since.
func (p *part) lost() bool { return p.Lost > 0 && (p.todo() || p.Code.Uncertain()) }

// partAt returns the leg's part at a system; nil where it has none.
func (l *leg) partAt(system string) *part {
	for i := range l.parts {
		if l.parts[i].System == system {
			return &l.parts[i]
		}
	}
	return nil
}

// begin returns the leg's part at a system, a new one if need be.
func (r *runner) begin(l *leg, system string) *part {
	if p := l.partAt(system); p != nil {
		return p
	}
	l.parts = append(l.parts, part{Part: store.Part{System: system, N: r.place(system), State: store.Pending}})
	return &l.parts[len(l.parts)-1]
}

// place is where a system stands in the configuration.
func (r *runner) place(system string) int {
	for i, s := range r.env.Router.Systems() {
		if s.Name() == system {
			return i
		}
	}
	return len(r.env.Router.Systems())
}

// committed tells whether the PIN is committed already, since one of several
// systems has accepted it.
func (l *leg) committed() bool { return l.todo() && l.Result == outcome.Updated }

// begun tells whether some system has the value, or may have it.
func (l *leg) begun() bool {
	for i := range l.parts {
		if p := &l.parts[i]; p.accepted() || p.lost() {
			return true
		}
	}
	return l.committed()
}

// toParts makes a request that was lost when the user had one system that
// system's part.
func (r *runner) toParts(l *leg) {
	if l.lost() {
		p := r.begin(l, l.System)
		p.RequestID, p.Body, p.Note, p.Attempts, p.Lost = l.RequestID, l.Body, l.Note, l.Attempts, l.Lost
		l.RequestID, l.Body, l.Note, l.Attempts, l.Lost = "", nil, "", 0, 0
	}
}

// severalSince is sinceThen for a leg that goes to several systems, or has gone
// to some.
func (r *runner) severalSince(w *work, l *leg, v verdict, s *store.Subject) verdict {
	r.toParts(l)
	by := s.Of(l.Kind).Job
	since := r.later(by)
	if l.begun() && !w.held { // by an earlier job: what came since has overtaken it
		since = by > r.job.Since() && by != r.job.ID
	}
	switch {
	case v.todo() && since && !l.committed():
		v.result, v.code, v.detail = outcome.Skipped, outcome.Superseded, fmt.Sprintf("job %d has changed it since", by)
		return v
	case !v.todo():
		return l.broken(v)
	}
	return r.sum(l, v)
}

// broken is the verdict on a leg that ends for a reason that is not its
// systems': what they have said before stands.
func (l *leg) broken(v verdict) verdict {
	why := string(v.code)
	if v.detail != "" {
		why += ": " + v.detail
	}
	var t tally
	for i := range l.parts {
		p := l.parts[i].Part
		if p.State != store.Final {
			if p.State = store.Final; p.Lost > 0 {
				p.Result, p.Code, p.Detail = outcome.Failed, outcome.VoicemailTimeout, "not sent again: "+why
			} else {
				p.Result = outcome.NotRun
			}
			v.shares = append(v.shares, p)
		}
		t.add(p)
	}
	switch {
	case l.committed():
		v.result, v.code = outcome.Updated, outcome.OK
	case t.accepted > 0:
		v.result, v.code = outcome.Failed, outcome.VoicemailPartial
	case t.uncertain > 0 || l.doubtful():
		v.result, v.code = outcome.Failed, outcome.VoicemailTimeout
	default:
		return v
	}
	v.detail = t.text(v.code) + "; not sent any more: " + why
	return v
}

// sum is the verdict on a leg by what its systems have said so far: final, or
// with those that are to be asked in v.open.
//
// With all, the first that does not accept ends it: nobody else is given a PIN
// that will not be committed. With any the others are asked all the same.
func (r *runner) sum(l *leg, v verdict) verdict {
	systems := v.several
	if systems == nil && v.system != nil {
		systems = []*voicemail.System{v.system}
	}
	var t tally
	v.open, v.shares = nil, nil
	var unasked []*voicemail.System
	for _, s := range systems {
		p, bar := l.partAt(s.Name()), r.barred(l, s)
		switch {
		case bar != nil:
			t.add(*bar)
			v.shares = append(v.shares, *bar)
		case p != nil && !p.todo():
			t.add(p.Part)
		case !s.NeedsPush():
			t.accepted++
		default:
			unasked = append(unasked, s)
		}
	}
	for i := range l.parts {
		if p := l.parts[i].Part; !has(systems, p.System) && (l.parts[i].accepted() || l.parts[i].lost()) {
			if p.State != store.Final {
				p.State, p.Result, p.Code, p.Detail = store.Final, outcome.Failed, outcome.VoicemailTimeout, "not sent again: the user does not belong there any more"
				v.shares = append(v.shares, p)
			}
			t.add(p)
		}
	}
	every := v.mode != voicemail.Any && !l.committed()
	if len(unasked) > 0 && !(every && t.refused()) {
		v.open, v.system, v.shares = unasked, unasked[0], nil
		return v
	}
	for _, s := range unasked {
		p := store.Part{System: s.Name(), N: r.place(s.Name())}
		if former := l.partAt(s.Name()); former != nil {
			p = former.Part
		}
		if p.State = store.Final; p.Lost > 0 {
			p.Result, p.Code, p.Detail = outcome.Failed, outcome.VoicemailTimeout, "not sent again, since another system has not accepted"
		} else {
			p.Result = outcome.NotRun
		}
		t.add(p)
		v.shares = append(v.shares, p)
	}
	r.conclude(l, &v, &t, every)
	return v
}

// conclude gives a leg its result.
func (r *runner) conclude(l *leg, v *verdict, t *tally, every bool) {
	switch {
	case l.committed(), t.accepted > 0 && (!every || !t.refused()):
		v.result, v.code = outcome.Updated, outcome.OK
	case t.accepted > 0:
		v.result, v.code = outcome.Failed, outcome.VoicemailPartial
	case t.uncertain > 0 || l.doubtful() && t.refused():
		v.result, v.code = outcome.Failed, outcome.VoicemailTimeout
	case t.refused():
		why := t.why(every)
		v.result, v.code = why.Result, why.Code
		if s := r.named(why.System); s != nil {
			v.system = s
		}
	case t.absent > 0:
		v.result, v.code = outcome.Updated, outcome.NoMailboxCommitted
	default:
		v.result, v.code = outcome.Updated, outcome.OK
	}
	v.detail = t.text(v.code)
}

// barred is what becomes of a leg at a system that is not asked; nil where it
// is, or where it has answered.
func (r *runner) barred(l *leg, s *voicemail.System) *store.Part {
	p := l.partAt(s.Name())
	b := store.Part{System: s.Name(), N: r.place(s.Name())}
	overtaken := p != nil && p.overtaken && (p.accepted() || p.lost())
	if p != nil {
		if b = p.Part; !p.todo() && !overtaken {
			return nil
		}
	}
	b.State = store.Final
	end := func(result outcome.Result, code outcome.Code, why string) *store.Part {
		switch b.Result, b.Code, b.Detail = result, code, why; {
		case p != nil && p.accepted():
			b.Result, b.Code, b.Detail = outcome.Failed, outcome.VoicemailTimeout, "it had accepted the PIN, and may have another one now: "+why
		case p != nil && p.lost(), l.doubtful():
			b.Result, b.Code, b.Detail = outcome.Failed, outcome.VoicemailTimeout, "an answer was lost, and the request is not sent again: "+why
		}
		return &b
	}
	switch {
	case overtaken:
		return end(outcome.Failed, outcome.VoicemailTimeout, "another one was on its way to this user since; give the user a new value")
	case !s.NeedsPush():
		return nil
	case s.Denied() != nil:
		return end(outcome.NotRun, outcome.VoicemailDenied, s.Denied().Error())
	case r.lanes[s].gaveUp:
		return end(outcome.Failed, outcome.VoicemailUnreachable, fmt.Sprintf("%s was paused for longer than pause_max (%s)", s.Name(), s.PauseMax()))
	}
	return nil
}

func has(systems []*voicemail.System, name string) bool {
	for _, s := range systems {
		if s.Name() == name {
			return true
		}
	}
	return false
}

// tally counts what several systems have said.
type tally struct {
	parts                                []store.Part
	accepted, absent, uncertain, failing int
}

func (t *tally) add(p store.Part) {
	t.parts = append(t.parts, p)
	switch {
	case p.Result == outcome.Updated && p.Code == outcome.NoMailboxCommitted:
		t.absent++
	case p.Result == outcome.Updated:
		t.accepted++
	case p.Code.Uncertain():
		t.uncertain++
	case p.Code != "":
		t.failing++
	}
}

func (t *tally) refused() bool { return t.uncertain+t.failing > 0 }

// why is the part that a leg failed for: one that was asked rather than one
// that was not, and where any would do, not one that denies everybody.
func (t *tally) why(every bool) store.Part {
	var best store.Part
	rank := func(p store.Part) int {
		switch {
		case p.Code == "" || p.Result == outcome.Updated:
			return 0
		case p.Code == outcome.VoicemailDenied && !every:
			return 1
		case p.Result == outcome.NotRun:
			return 2
		}
		return 3
	}
	for _, p := range t.parts {
		if rank(p) > rank(best) {
			best = p
		}
	}
	return best
}

// text names the systems, and what each has said that does not go without
// saying.
func (t *tally) text(code outcome.Code) string {
	var all []string
	for _, p := range t.parts {
		switch {
		case p.Code == outcome.OK && code == outcome.VoicemailPartial:
			all = append(all, p.System+" has the new PIN")
		case p.Code == outcome.OK && p.Detail == "", p.Code == code && code == outcome.NoMailboxCommitted:
		case p.Code == "":
			all = append(all, p.System+" was not asked")
		case p.Detail == "":
			all = append(all, p.System+": "+string(p.Code))
		default:
			all = append(all, p.System+": "+string(p.Code)+": "+p.Detail)
		}
	}
	return strings.Join(all, "; ")
}

// endPart writes what one of several systems said of a push. Where others are
// to be asked the user is kept.
func (g *group) endPart(tx *store.Tx, w *work, v *verdict) error {
	r, l, p, out := g.r, w.leg, w.part, w.outcome
	p.State, p.Result, p.Code, p.Detail = store.Final, out.Result, out.Code, out.Detail
	p.RequestID, p.Body, p.Note, p.Attempts, p.Lost = w.sent.RequestID, w.sent.Body, w.sent.Note, out.Attempts, out.Lost
	if err := tx.PutPart(r.job.ID, w.item.Seq, &p.Part); err != nil {
		return err
	}
	*v = verdict{kind: l.Kind}
	if r.judge.route(v, &w.user); v.todo() {
		*v = r.sum(l, *v)
	} else {
		*v = l.broken(*v)
	}
	if !v.todo() {
		return g.settleLeg(tx, w, v)
	}
	if v.mode == voicemail.Any && p.accepted() && !l.committed() {
		if err := r.commit(tx, w, l); err != nil {
			return err
		}
		if err := tx.CommittedEarly(r.job.ID, w.item.Seq, l.Kind); err != nil {
			return err
		}
		w.early = l
	}
	w.held = true
	return tx.Hold(w.sent, g.arrives(tx, w))
}

// endParts writes those parts of a leg that ended without being asked, and
// forgets what was sent where nobody will ask for it again.
func (g *group) endParts(tx *store.Tx, w *work, v *verdict) error {
	shares := v.shares
	for i := range w.of(v.kind).parts {
		p := w.of(v.kind).parts[i].Part
		if p.State == store.Pending && p.RequestID != "" && !slices.ContainsFunc(shares, func(s store.Part) bool { return s.System == p.System }) {
			p.State, p.Result, p.Code = store.Final, v.result, v.code // of an earlier job, and superseded
			shares = append(shares, p)
		}
	}
	for i := range shares {
		if err := tx.PutPart(g.r.job.ID, w.item.Seq, &shares[i]); err != nil {
			return err
		}
	}
	if v.code.Uncertain() {
		return nil
	}
	return tx.ForgetSent(w.item.UserRef, g.r.job.ID, w.item.Seq)
}

// choose says which of several systems is asked next, and tells whether there
// is room for that. Where all must accept nobody begins while one of them is
// paused: its users would have two PINs for as long.
func (g *group) choose(w *work, v *verdict) bool {
	r := g.r
	room := func(s *voicemail.System) bool {
		return r.room(s) && r.lanes[s].ahead+g.ahead[s] < r.lanes[s].slots.Ahead()
	}
	w.ways = nil
	w.every = v.several != nil && v.mode != voicemail.Any
	if v.mode == voicemail.Any {
		for _, s := range v.open {
			if room(s) {
				v.system = s
				return true
			}
		}
		w.system, w.ways = v.system, v.open
		return len(v.open) == 0 && room(v.system)
	}
	for _, s := range v.open {
		if !r.open(s) || !r.mayBegin(w, s) {
			w.system = s
			return false
		}
	}
	w.system = v.system
	return room(v.system)
}

// mayBegin tells whether a user of whom all systems must accept the PIN may be
// sent it, as far as this one goes: not while as many wait for it as it takes at
// once, who have it elsewhere already.
func (r *runner) mayBegin(w *work, s *voicemail.System) bool {
	l := r.lanes[s]
	return !w.every || w.held || l == nil || l.ahead+l.owed < l.slots.Ahead()
}

// owe counts who has begun and is to be asked about where.
func (r *runner) owe(g *group) {
	for _, w := range g.launch {
		if w.part != nil {
			r.begun[w] = true
		}
	}
	for _, w := range g.finished {
		delete(r.begun, w)
	}
	for _, l := range r.lanes {
		l.owed = 0
	}
	for w := range r.begun {
		v := find(w.vs, store.PIN)
		if w.sent == nil && !w.held { // given back
			delete(r.begun, w)
			continue
		}
		for _, s := range v.open {
			if w.sent == nil || s != w.system {
				r.lanes[s].owed++
			}
		}
	}
}

// way returns the first of the work's systems for which ok holds.
func (w *work) way(ok func(*voicemail.System) bool) *voicemail.System {
	if len(w.ways) == 0 && w.system != nil && ok(w.system) {
		return w.system
	}
	for _, s := range w.ways {
		if ok(s) {
			return s
		}
	}
	return nil
}
