package resetjob

import (
	"slices"
	"time"

	"github.com/dirpin/dirpin/internal/outcome"
	"github.com/dirpin/dirpin/internal/store"
)

// check asks whether every rule holds that can be seen from outside at any
// moment. The names in brackets are those of the rules, in DESIGN.md.
func (w *world) check() {
	w.mu.Lock()
	defer w.mu.Unlock()
	s := w.look()
	w.checkCounts(s)
	w.checkLegs(s)
	w.checkParts(s)
	w.checkCredentials(s)
	ahead := make(map[[2]string]int)
	for _, j := range s.journal {
		if j.until == 0 && j.requestID != "" && j.owner != "" && !w.owed[j.ref] { // whose result cannot be written is not ahead
			k := [2]string{j.owner, j.system}
			if ahead[k]++; ahead[k] > 2*w.cfg.Voicemail[0].Concurrency {
				w.wrong("%d legs are journalled ahead of %s, and its concurrency is %d (A2)", ahead[k], j.system, w.cfg.Voicemail[0].Concurrency)
			}
		}
	}
	w.seen = s
}

// checkCounts: every item has one result, and the counts are theirs.
func (w *world) checkCounts(s *view) {
	sums := make(map[int64]*store.Counts)
	open := make(map[int64]int)
	for id, it := range s.items {
		c := sums[id.job]
		if c == nil {
			c = new(store.Counts)
			sums[id.job] = c
		}
		c.Selected++
		if (it.state == store.Final) != (it.code != "") {
			w.wrong("%v is %s with code %q", id, it.state, it.code)
		}
		if it.state == store.Final {
			c.Add(it.result, it.code)
		} else {
			open[id.job]++
		}
	}
	for id, j := range s.jobs {
		c := sums[id]
		if c == nil {
			c = new(store.Counts)
		}
		if *c != j.counts {
			w.wrong("job %d (%s) counts %+v, its items are %+v", id, j.state, j.counts, *c)
		}
		if j.stage == store.StageOpening {
			continue
		}
		def, _ := w.definition(id)
		if most := int64(def.Limits.MaxFailures + 2*w.cfg.Voicemail[0].Concurrency*len(w.cfg.Voicemail)); def.Limits.MaxFailures > 0 && j.failures > most {
			w.wrong("job %d has %d failures, and max_failures is %d (A6)", id, j.failures, def.Limits.MaxFailures)
		}
		if j.stage == store.StageClosed && open[id] > 0 {
			w.wrong("job %d is closed with %d items open", id, open[id])
		}
		if w.seen != nil && w.seen.jobs[id] != nil && w.seen.jobs[id].state.Ended() && !j.state.Ended() {
			w.wrong("job %d had ended %s and is %s", id, w.seen.jobs[id].state, j.state)
		}
	}
	for id, it := range s.items {
		// Whatever can be tried again has its value; retry_within is longer than any story.
		if j := s.jobs[id.job]; j.stage == store.StageClosed && !j.hasKey && it.retriedBy == 0 && (it.result == outcome.Failed || it.result == outcome.NotRun) {
			w.wrong("%v ended %s and nobody has tried it again, and the values of its job are erased (S9)", id, it.code)
		}
	}
	for k, l := range s.legs {
		it := s.items[k.legID]
		switch {
		case it == nil:
			w.wrong("%v has a %s leg and is none", k.legID, k.kind)
		case it.state == store.Final && l.state != store.Final:
			w.wrong("%v is final, its %s is %s", k.legID, k.kind, l.state)
		case l.state == store.Final && l.code == "":
			w.wrong("%v: its %s is final without a code", k.legID, k.kind)
		}
	}
	for _, j := range s.journal {
		if it := s.items[j.legID]; j.until == 0 && (it == nil || it.state == store.Final) {
			w.wrong("%v is in flight and final", j.legID)
		}
	}
}

// leg returns the state of the leg that sent the request last; nil where the
// database does not know it: it was restored to before.
func (r *request) leg(s *view) *seenLeg {
	if len(r.legs) == 0 {
		return nil
	}
	return s.legs[legKey{r.legs[len(r.legs)-1], store.PIN}]
}

// checkLegs: what surely did not happen did not.
func (w *world) checkLegs(s *view) {
	for _, p := range w.people {
		for _, h := range p.everything() {
			if h.by == nil || h.by.lineage != w.lineage {
				continue
			}
			if l := h.by.part(s); l != nil && l.unchanged() {
				w.wrong("the mailbox of %s got %s by %v, which ended %s %s: surely unchanged", p.alias, h.pin, h.by.legs, l.result, l.code)
			}
		}
	}
	for k, l := range s.legs {
		if k.kind != store.PIN {
			continue
		}
		if l.state == store.Final && l.result == outcome.Failed && l.code == outcome.VoicemailDenied && !s.begun(k.legID) && w.sentTo[k.legID] != "" && w.seen != nil && (w.seen.legs[k] == nil || w.seen.legs[k].state != store.Final) {
			w.denied[w.sentTo[k.legID]] = w.clock()
		}
		other := s.legs[legKey{k.legID, store.Password}]
		fault := verdict{code: l.code}
		if other != nil && fault.fault() && other.result == outcome.Updated && !w.wasSent(k.legID) {
			w.wrong("%v: the PIN is refused, %s, and the password was changed (A9)", k.legID, l.code)
		}
	}
}

// wasSent tells whether any request left for the item.
func (w *world) wasSent(id legID) bool {
	for _, r := range w.requests {
		if slices.Contains(r.legs, id) {
			return true
		}
	}
	return false
}

// checkCredentials: a PIN that is committed is, or was, the mailbox's.
func (w *world) checkCredentials(s *view) {
	for k, c := range s.creds {
		var old seenCred
		if w.seen != nil {
			old = w.seen.creds[k]
		}
		if c.job == 0 || k.kind != store.PIN {
			continue
		}
		p := w.personOf(k.ref)
		if p == nil {
			continue // a user who was removed
		}
		value := w.valueOf(k.kind, c.hash)
		if c != old {
			w.committed(s, p, k, old, c, value)
		}
		if w.several() {
			w.stillHeldBySeveral(s, p, c, value)
			continue
		}
		if !p.box.exists || len(w.cfg.Voicemail) == 0 {
			continue
		}
		w.stillHeld(s, p, p.box, c, value)
	}
}

func (w *world) personOf(ref int64) *person {
	i := slices.IndexFunc(w.people, func(p *person) bool { return p.ref == ref })
	if i < 0 {
		return nil
	}
	return w.people[i]
}

// committed is about a commit that was not there at the last look.
func (w *world) committed(s *view, p *person, k credKey, old, c seenCred, value string) {
	w.tell("committed: the PIN of %s is %s, by job %d", p.alias, value, c.job)
	if value == "" {
		w.wrong("job %d has committed a PIN for %s that nobody ever sent", c.job, p.alias)
	}
	if j := s.jobs[c.job]; j != nil && s.since(old.job) > j.since() && old.job != c.job && old.version < c.version {
		w.wrong("job %d (since job %d) has changed %s after job %d (S8)", c.job, j.since(), p.alias, old.job)
	}
	if w.several() {
		w.committedBySeveral(s, p, k, c, value)
		return
	}
	if !p.box.exists {
		if w.cfg.Voicemail[0].NoMailbox != "commit" {
			w.wrong("job %d has committed a PIN for %s, who has no mailbox", c.job, p.alias)
		}
		return
	}
	since := time.Time{}
	for _, r := range w.requests {
		if r.person == p && r.pin == value && (since.IsZero() || r.since.Before(since)) && slices.ContainsFunc(r.legs, func(id legID) bool {
			return id.job == c.job || w.boxes.notes && s.since(id.job) == s.since(c.job) // of a retry that only had to ask
		}) {
			since = r.since
		}
	}
	if since.IsZero() {
		w.wrong("job %d has committed %s for %s and has never sent it", c.job, value, p.alias)
		return
	}
	if p.box.hadSince(value, since) {
		return
	}
	w.wrong("job %d has committed %s for %s, and the mailbox never had it since it was journalled", c.job, value, p.alias)
}

// stillHeld: the mailbox has the committed PIN, unless its user or a later item
// has changed it, or one that is under way or uncertain.
func (w *world) stillHeld(s *view, p *person, box *mailbox, c seenCred, value string) {
	last := box.held[len(box.held)-1]
	if last.pin == value || last.by == nil {
		return
	}
	l := last.by.leg(s)
	switch {
	case last.lineage < w.lineage, last.lost: // by what the restored database has forgotten
	case l == nil:
		w.wrong("the mailbox of %s has %s by %v, of which nothing is known, and %s is committed", p.alias, last.pin, last.by.legs, value)
	case l.state != store.Final, l.code.Uncertain():
	default:
		w.wrong("the mailbox of %s has %s by %v, which ended %s %s; %s of job %d is committed", p.alias, last.pin, last.by.legs, l.result, l.code, value, c.job)
	}
}

// changed is asked at the moment a mailbox changes: what arrives late must not
// change what is settled.
func (w *world) changed(pk *packet) {
	if pk.lineage != w.lineage {
		return
	}
	if l := pk.part(w.look()); l != nil && l.unchanged() {
		w.wrong("the mailbox of %s got %s by %v, which had ended %s %s: surely unchanged", pk.person.alias, pk.pin, pk.legs, l.result, l.code)
	}
}
