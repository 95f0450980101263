package resetjob

import (
	"fmt"
	"slices"
	"time"

	"github.com/dirpin/dirpin/internal/credential"
	"github.com/dirpin/dirpin/internal/outcome"
	"github.com/dirpin/dirpin/internal/secret"
	"github.com/dirpin/dirpin/internal/store"
	"github.com/dirpin/dirpin/internal/user"
	"github.com/dirpin/dirpin/internal/voicemail"
)

// sends puts an attempt on the wire, and asks whether it may be there.
func (w *world) sends(c *wire, id, alias, pin string) (*packet, fate) {
	p := w.aliased(alias)
	if p == nil {
		w.wrong("%s sends a request for %s, whom nobody is called (S14)", c.p.name, alias)
		p = w.people[0]
	}
	r := w.requests[id]
	if r == nil {
		r = &request{id: id, pin: pin, person: p, system: c.system, since: time.Now(), lineage: w.lineage}
		w.requests[id], w.values[pin] = r, true
	}
	f := p.next()
	if r.pin != pin || r.person != p || w.several() && r.system != c.system {
		w.wrong("request %s was %s of %s at %s and is %s of %s at %s (S3)", id, r.pin, r.person.alias, r.system, pin, p.alias, c.system)
	}
	for other := range w.network {
		switch {
		case other.person != p:
		case w.together(other.request, r): // it goes elsewhere
		case other.request != r && (other.listen || other.arrives()):
			w.wrong("%s sends %s for %s while %s of %v may still arrive (S7, rule 2)", c.p.name, pin, p.alias, other.pin, other.legs)
		case other.request == r && other.listen && other.from != c.p && !other.from.isDead() && !other.from.unlocked && !c.p.unlocked:
			w.wrong("%s sends the request for %s that %s is sending (S6)", c.p.name, p.alias, other.from.name)
		}
	}
	if w.mayBeSent(c, r); c.p.unlocked && !w.inFlight(r) {
		f = fate{kind: lostBefore} // by the hand that removed the lock, not by ours
	}
	w.lastTo[p.at(c.system)] = id
	w.sinceCopy, w.lastSent = w.sinceCopy+1, time.Now()
	c.p.out[c.system]++
	w.mayBeSentBeside(c)
	pk := &packet{request: r, box: p.at(c.system), from: c.p, answer: make(chan voicemail.Answer, 1), heard: make(chan struct{}), listen: true, fate: f}
	w.network[pk] = true
	w.tell("%s sends %s for %s, %v: %s", c.p.name, pin, alias, r.legs, f)
	return pk, f
}

// mayBeSentBeside: all processes together send no more at once than one may.
func (w *world) mayBeSentBeside(c *wire) {
	out := 0
	for _, p := range w.living() {
		if p.unlocked {
			return // the others take it for dead
		}
		out += p.out[c.system]
	}
	if most := w.cfg.Voicemail[0].Concurrency; out > most {
		w.wrong("%d requests are on the wire to %s, and its concurrency is %d (A7)", out, c.system, most)
	}
}

// inFlight tells whether the journal has the request.
func (w *world) inFlight(r *request) bool {
	return slices.ContainsFunc(w.look().journal, func(j seenJournal) bool { return j.requestID == r.id && j.until == 0 })
}

func (f fate) String() string {
	text := fmt.Sprintf("%s after %s", f.kind, f.after)
	if f.late > 0 {
		text += fmt.Sprintf(", then %s", f.late)
	}
	return text
}

// arrives tells whether the packet can still change the mailbox.
func (pk *packet) arrives() bool {
	switch pk.fate.kind {
	case lostBefore, silent, refused, tryAgain, rejectsIt, deniesUs:
		return false
	}
	return true
}

func (w *world) aliased(alias string) *person {
	i := slices.IndexFunc(w.people, func(p *person) bool { return p.alias == alias && p.ref != 0 })
	if i < 0 {
		return nil
	}
	return w.people[i]
}

// mayBeSent compares an attempt with what the database says at that moment.
func (w *world) mayBeSent(c *wire, r *request) {
	s := w.look()
	i := slices.IndexFunc(s.journal, func(j seenJournal) bool { return j.requestID == r.id && j.until == 0 })
	if i < 0 {
		if !c.p.unlocked && w.broken.IsZero() || len(r.legs) == 0 {
			w.wrong("%s sends %s for %s, which is not journalled", c.p.name, r.pin, r.person.alias)
		}
		return
	}
	j := s.journal[i]
	if len(r.legs) == 0 || r.legs[len(r.legs)-1] != j.legID {
		r.legs = append(r.legs, j.legID)
	}
	w.sentTo[j.legID] = c.system
	job := s.jobs[j.job]
	fresh := r.process == nil || r.firstAt != j.firstAt     // journalled since it was last sent
	again := !fresh && r.process != c.p && r.resumed != c.p // after its process was cut
	if again {
		r.resumed = c.p
	}
	if fresh {
		r.process, r.firstAt = c.p, j.firstAt
	}
	first := time.UnixMilli(j.firstAt)
	switch {
	case j.ref != r.person.ref:
		w.wrong("%s sends a request for %s that is somebody else's item, %v (S14)", c.p.name, r.person.alias, j.legID)
	case j.system != c.system:
		w.wrong("%v is sent to %s and journalled for %s (S14)", j.legID, c.system, j.system)
	case r.lineage < w.forgotten:
		w.wrong("%s sends %s for %s, a request of before the database was restored (S4)", c.p.name, r.pin, r.person.alias)
	case (fresh || again) && !w.serves(c.system, j.ref):
		w.wrong("%s sends %v to %s, where %s does not belong any more (S14)", c.p.name, j.legID, c.system, r.person.alias)
	case !w.restored.IsZero():
		w.wrong("%s sends a request before the restored database was released (S4)", c.p.name)
	case again && w.claimClock().Sub(first) > w.cfg.RecoverWithin+waits:
		w.wrong("%s sends %v again, first journalled %s ago (recover_within)", c.p.name, j.legID, w.claimClock().Sub(first))
	case again && w.otherKey(r.id):
		w.wrong("%s sends %v again, and the key of %s is another one now (S14)", c.p.name, j.legID, r.person.alias)
	case w.heldOff(c.p):
		w.wrong("%s sends, and the database has taken nothing for %s (S5)", c.p.name, time.Since(w.broken))
	case c.p.out[c.system] > 0 && c.p.last[c.system].IsZero():
		w.wrong("%s sends to %s before its canary is back (S17)", c.p.name, c.system)
	}
	by := s.creds[credKey{j.ref, store.PIN}].job
	if (fresh || again) && s.since(by) > job.since() && by != j.job {
		w.wrong("%s sends for %v, and job %d has changed %s since (S8)", c.p.name, j.legID, by, r.person.alias)
	}
	w.isTheItems(s, r, j)
	if fresh {
		w.mayBeClaimed(c, s, r, j)
	}
}

// serves tells whether the user belongs to the system now.
func (w *world) serves(system string, ref int64) bool {
	if len(w.cfg.Voicemail) == 1 {
		return true
	}
	var department string
	w.must(w.raw.QueryRow("SELECT department FROM users WHERE id = ?", ref).Scan(&department))
	if w.several() && department == "2" {
		return true
	}
	return system == map[string]string{"1": "east", "2": "west", "9": "west"}[department]
}

func (w *world) otherKey(id string) bool {
	var other bool
	w.must(w.raw.QueryRow("SELECT coalesce(u.entry_key, '') <> j.entry_key FROM journal j JOIN users u ON u.id = j.user_ref WHERE j.request_id = ?", id).Scan(&other))
	return other
}

// heldOff tells whether the process has been unable to write for so long that
// it may start nothing.
func (w *world) heldOff(p *process) bool {
	if w.broken.IsZero() || p.started.After(w.broken) {
		return false
	}
	return time.Since(w.broken) > freshFor+beatEvery
}

// isTheItems: what is sent is the item's own value.
func (w *world) isTheItems(s *view, r *request, j seenJournal) {
	var key, value, given []byte
	err := w.raw.QueryRow("SELECT j.job_key, l.value, j.pin FROM jobs j JOIN legs l ON l.job = j.id WHERE j.id = ? AND l.seq = ? AND l.kind = 'pin'", j.job, j.seq).Scan(&key, &value, &given)
	w.must(err)
	if key == nil {
		w.wrong("job %d sends and its values are erased", j.job)
		return
	}
	jobKey, err := w.ring.OpenJobKey(j.job, key)
	w.must(err)
	var v secret.Value
	if value != nil {
		v, err = jobKey.OpenValue(legContext(store.PIN, j.job, j.seq), value)
	} else {
		v, err = jobKey.OpenValue(legContext("given "+store.PIN, j.job, 0), given)
	}
	w.must(err)
	if v.Reveal() != r.pin {
		w.wrong("%s is sent for %v, whose value is %s", r.pin, j.legID, v.Reveal())
	}
	// What a retry takes along of an uncertain leg is the same request.
	for id, it := range s.items {
		before := s.legs[legKey{id, store.PIN}]
		if it.retriedBy == j.job && it.ref == j.ref && before != nil && before.code.Uncertain() && before.lost > 0 && before.body && before.requestID != r.id {
			w.wrong("%v tries the uncertain %v again with another request (S9)", j.legID, id)
		}
		if p := s.parts[partKey{id, r.system}]; it.retriedBy == j.job && it.ref == j.ref && p != nil && p.code.Uncertain() && p.lost > 0 && p.body && p.requestID != r.id {
			w.wrong("%v tries the uncertain %v again at %s with another request (S9)", j.legID, id, r.system)
		}
		if p := s.parts[partKey{id, r.system}]; it.retriedBy == j.job && it.ref == j.ref && p != nil && p.code == outcome.OK && before.code == outcome.VoicemailPartial && w.lastTo[r.person.at(r.system)] == p.requestID {
			w.wrong("%v is sent to %s again, which has accepted it for %v (A11)", j.legID, r.system, id)
		}
	}
}

// mayBeClaimed: the item was claimed by what is true now, not when its job
// opened.
func (w *world) mayBeClaimed(c *wire, s *view, r *request, j seenJournal) {
	job, first := s.jobs[j.job], time.UnixMilli(j.firstAt)
	var status, department string
	w.must(w.raw.QueryRow("SELECT status, department FROM users WHERE id = ?", j.ref).Scan(&status, &department))
	if c.p.cfg.Protect != nil && department == "9" {
		w.wrong("%s claims %s, who is protected (S15)", c.p.name, r.person.alias)
	}
	if user.Status(status) == user.Inactive {
		w.wrong("%s claims %s, who is inactive (S15)", c.p.name, r.person.alias)
	}
	switch {
	case job.state.Ended() && j.firstAt > job.ended && !w.back && !s.begun(j.legID):
		w.wrong("%s claims %v after its job was %s (A4)", c.p.name, j.legID, job.state)
	case job.state == store.Held:
		w.wrong("%s claims %v, whose job is held: %s", c.p.name, j.legID, job.reason)
	}
	var latched int64
	w.must(w.raw.QueryRow("SELECT coalesce(max(since), 0) FROM latches WHERE system = ?", c.system).Scan(&latched))
	if latched > 0 && latched < j.firstAt && !w.back {
		w.wrong("%s claims %v, and %s denies us (S17)", c.p.name, j.legID, c.system)
	}
	if since := w.denied[c.system]; !since.IsZero() && first.After(since) && !w.back {
		w.wrong("%s claims %v, and a job has ended because %s denies us (S17)", c.p.name, j.legID, c.system)
	}
	if l := s.legs[legKey{j.legID, store.PIN}]; l.lost == 0 && !s.begun(j.legID) && w.inHistory(c.p, j, r.pin) {
		w.wrong("%s sends %s for %s, who had it before (A3)", c.p.name, r.pin, r.person.alias)
	}
	w.guarded(j, job)
}

// inHistory tells whether the user had the value before, as the store knows.
func (w *world) inHistory(p *process, j seenJournal, pin string) bool {
	rows, err := w.raw.Query("SELECT tag FROM history WHERE user_ref = ? AND kind = 'pin' ORDER BY version DESC LIMIT ?", j.ref, w.cfg.Credentials.PIN.History+1)
	w.must(err)
	defer rows.Close()
	var tags [][]byte
	for rows.Next() {
		var tag []byte
		w.must(rows.Scan(&tag))
		tags = append(tags, tag)
	}
	return p.ring.InHistory(j.ref, credential.PIN, secret.New(pin), tags)
}

// guarded: a job that a guard should have held changes nobody.
func (w *world) guarded(j seenJournal, job *seenJob) {
	def, released := w.definition(j.job)
	if def.Limits.AllValid && w.opened[j.job] > 0 && !released {
		w.wrong("%v is sent, and %d users have a value that the policy refuses (A8)", j.legID, w.opened[j.job])
	}
}

func (w *world) definition(job int64) (*Job, bool) {
	var definition, released string
	w.must(w.raw.QueryRow("SELECT definition, released FROM jobs WHERE id = ?", job).Scan(&definition, &released))
	def, err := DecodeJob([]byte(definition))
	w.must(err)
	return def, released != ""
}

// opens counts the faults of jobs that have just been opened: before their
// first claim.
func (w *world) opens() {
	w.mu.Lock()
	defer w.mu.Unlock()
	s := w.look()
	for id, j := range s.jobs {
		if _, known := w.opened[id]; known || j.stage == store.StageOpening {
			continue
		}
		w.opened[id] = 0
		for leg, it := range s.items {
			if v := (verdict{code: it.code}); leg.job == id && v.fault() {
				w.opened[id]++
			}
		}
	}
}
