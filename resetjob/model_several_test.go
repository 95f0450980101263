package resetjob

import (
	"slices"
	"time"

	"github.com/dirpin/dirpin/internal/outcome"
	"github.com/dirpin/dirpin/internal/store"
)

// Of stories in which people have two voicemail systems.

// several tells whether a user goes to both systems.
func (w *world) several() bool { return w.cfg.VoicemailMode == "all" || w.cfg.VoicemailMode == "any" }

// hire gives somebody new mailboxes.
func (w *world) hire(p *person) *person {
	p.box = newMailbox(true)
	if p.east = p.box; w.several() {
		p.east = newMailbox(true)
	}
	return p
}

// at returns the person's mailbox in a system.
func (p *person) at(system string) *mailbox {
	if system == "east" {
		return p.east
	}
	return p.box
}

// everything is what the person's mailboxes ever had.
func (p *person) everything() []held {
	if p.east == p.box {
		return p.box.held
	}
	return slices.Concat(p.box.held, p.east.held)
}

// hadSince tells whether the mailbox had a PIN at that time or later.
func (m *mailbox) hadSince(pin string, since time.Time) bool {
	for i, h := range m.held {
		if h.pin == pin && (i == len(m.held)-1 || m.held[i+1].at.After(since)) {
			return true
		}
	}
	return false
}

// begun tells whether some of several systems have been asked about an item.
func (s *view) begun(id legID) bool {
	return s.parts[partKey{id, "west"}] != nil || s.parts[partKey{id, "east"}] != nil
}

// part returns what became of the request at its system, nil where the database
// does not know it.
func (r *request) part(s *view) *seenLeg {
	if len(r.legs) > 0 {
		if p := s.parts[partKey{r.legs[len(r.legs)-1], r.system}]; p != nil {
			return p
		}
	}
	return r.leg(s)
}

// together tells whether two requests carry the same value of one item, or of
// one that was retried, to different mailboxes: they cannot overtake each other.
func (w *world) together(a, b *request) bool {
	if a == b || a.pin != b.pin || a.person.at(a.system) == b.person.at(b.system) || len(a.legs) == 0 {
		return false
	}
	s := w.look()
	i := slices.IndexFunc(s.journal, func(j seenJournal) bool { return j.requestID == b.id })
	return i >= 0 && s.since(a.legs[len(a.legs)-1].job) == s.since(s.journal[i].job)
}

// knows tells whether the database can tell that a request was its system's
// last: another one has made the system forget what it had accepted.
func (w *world) knows(requestID string) bool {
	var n int
	w.must(w.raw.QueryRow("SELECT (SELECT count(*) FROM journal WHERE request_id = ?1) + (SELECT count(*) FROM sent_before WHERE request_id = ?1)", requestID).Scan(&n))
	return n > 0
}

// checkParts: whom one of several systems has accepted a PIN of is in flight
// until the others were asked (A11).
func (w *world) checkParts(s *view) {
	for k, p := range s.parts {
		l, job := s.legs[legKey{k.legID, store.PIN}], s.jobs[k.job]
		switch {
		case l == nil:
			w.wrong("%v has a part at %s and no leg", k.legID, k.system)
		case l.state == store.Final && p.state != store.Final:
			w.wrong("%v is final, its part at %s is %s", k.legID, k.system, p.state)
		case l.state != store.Final && job.retryOf == 0 && !slices.ContainsFunc(s.journal, func(j seenJournal) bool { return j.legID == k.legID && j.until == 0 }):
			w.wrong("%v was sent to %s, others are to be asked, and it is not in flight (A11)", k.legID, k.system)
		case l.state == store.Final && l.result == outcome.Failed && p.code == outcome.OK && l.code != outcome.VoicemailPartial && l.code != outcome.Superseded && w.knows(p.requestID):
			w.wrong("%v ended %s, and %s has the PIN (A11)", k.legID, l.code, k.system)
		}
	}
}

// itemOf returns the item of a job that changed the user; false where it is not
// known.
func (s *view) itemOf(job, ref int64) (legID, bool) {
	for id, it := range s.items {
		if id.job == job && it.ref == ref {
			return id, true
		}
	}
	return legID{}, false
}

// committedBySeveral: with all, each system had the PIN at some moment since it
// was journalled, with any, one had.
func (w *world) committedBySeveral(s *view, p *person, k credKey, c seenCred, value string) {
	if w.seen == nil { // of a copy that was put back: it was judged when it was new
		return
	}
	var have, none, without int
	for _, system := range []string{"west", "east"} {
		box := p.at(system)
		switch {
		case !w.serves(system, k.ref):
		case !box.exists:
			if without++; w.cfg.Voicemail[0].NoMailbox != "commit" && w.cfg.VoicemailMode == "all" {
				w.wrong("job %d has committed a PIN for %s, who has no mailbox in the %s", c.job, p.alias, system)
			}
		case box.hadSince(value, w.since(s, p, system, c.job, value)):
			have++
		default:
			none++
		}
	}
	switch {
	case w.cfg.VoicemailMode == "all" && none > 0:
		w.wrong("job %d has committed %s for %s, and not every mailbox had it since it was journalled (A11)", c.job, value, p.alias)
	case have == 0 && (none > 0 || w.cfg.Voicemail[0].NoMailbox != "commit"):
		w.wrong("job %d has committed %s for %s, and no mailbox had it since it was journalled (A11)", c.job, value, p.alias)
	}
}

// since is when a job's value was first sent to a system, or the value that its
// retry has taken along.
func (w *world) since(s *view, p *person, system string, job int64, value string) time.Time {
	first := time.Now().Add(time.Hour)
	for _, r := range w.requests {
		if r.person == p && r.pin == value && r.system == system && r.since.Before(first) && slices.ContainsFunc(r.legs, func(id legID) bool { return s.since(id.job) == s.since(job) }) {
			first = r.since
		}
	}
	return first
}

// stillHeldBySeveral is stillHeld for those systems that have accepted.
func (w *world) stillHeldBySeveral(s *view, p *person, c seenCred, value string) {
	id, known := s.itemOf(c.job, p.ref)
	if !known {
		return
	}
	for _, system := range []string{"west", "east"} {
		box := p.at(system)
		if !box.exists || !w.serves(system, p.ref) {
			continue
		}
		part := s.parts[partKey{id, system}]
		if s.begun(id) && (part == nil || part.code != outcome.OK) {
			continue // with any, or not asked yet
		}
		if !s.begun(id) && w.sentTo[id] != system {
			continue // the user had another one then
		}
		w.stillHeld(s, p, box, c, value)
	}
}
