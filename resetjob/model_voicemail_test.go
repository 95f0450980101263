package resetjob

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"time"

	"github.com/dirpin/dirpin/internal/voicemail"
)

// boxes is what the voicemail systems are like.
type boxes struct {
	idempotent bool // a request that was accepted is accepted again, with nothing done
	notes      bool // they keep notes
	history    int  // how many former PINs of a mailbox are refused, the present one among them
}

// mailbox remembers every PIN that it ever had.
type mailbox struct {
	exists bool
	held   []held          // in the order of time; the last one is the present one
	done   map[string]bool // requests that were accepted
}

// held is a PIN that a mailbox had, until the next one.
type held struct {
	pin     string
	by      *request // nil: its user chose it
	at      time.Time
	lineage int
	lost    bool // the restored database has forgotten it
}

// request is what the model knows of a request id: it has one value, of one
// person.
type request struct {
	id, pin string
	person  *person
	system  string
	legs    []legID // that sent it, the last one last
	since   time.Time
	lineage int
	process *process // that journalled it last
	resumed *process // that has sent it again after that one was cut
	firstAt int64
}

type legID struct{ job, seq int64 }

// fate is what becomes of one attempt.
type fate struct {
	kind  string
	after time.Duration // until it arrives, or is answered
	late  time.Duration // until it arrives after nobody listens any more
}

const (
	answered   = "answered"
	twice      = "twice"       // arrives twice, is answered once
	lostBefore = "lost before" // it never arrives, and the connection breaks
	lostAfter  = "lost after"  // it arrives, and the answer is lost
	lateFate   = "late"        // the connection breaks, and it arrives later
	silent     = "silent"      // it never arrives, and nothing is heard
	silentLate = "silent late" // nothing is heard, and it arrives later
	refused    = "refused"     // surely not sent
	tryAgain   = "busy"        // try again
	rejectsIt  = "rejects"     // the mailbox is locked, or the like
	deniesUs   = "denies"
	loginPage  = "login page" // something denies us, and it may have arrived
)

// packet is an attempt on its way, which outlives whoever sent it.
type packet struct {
	*request
	box    *mailbox
	from   *process
	answer chan voicemail.Answer
	heard  chan struct{} // closed when nobody listens any more
	listen bool
	fate   fate
}

// wire is the way of one process to one system.
type wire struct {
	p      *process
	system string
}

func (c *wire) Close() error { return nil }

func (c *wire) Send(ctx context.Context, a voicemail.Attempt) voicemail.Answer {
	var body struct {
		Job  int64 `json:"job"`
		Item int64 `json:"item"`
		User struct {
			UserID string `json:"user_id"`
		} `json:"user"`
		PIN string `json:"pin"`
	}
	w := c.p.w
	w.must(json.Unmarshal([]byte(a.Body.Reveal()), &body))
	w.mu.Lock()
	if c.p.isDead() {
		w.mu.Unlock()
		return voicemail.Answer{Class: voicemail.NotSent} // nothing of it leaves the dead
	}
	pk, f := w.sends(c, a.RequestID, body.User.UserID, body.PIN)
	w.mu.Unlock()
	go w.travel(pk, f)
	defer func() {
		w.mu.Lock()
		pk.listen = false
		close(pk.heard)
		c.p.out[c.system]--
		c.p.last[c.system] = time.Now()
		w.mu.Unlock()
	}()
	begun := time.Now()
	select {
	case answer := <-pk.answer:
		return answer
	case <-c.p.dead:
	case <-ctx.Done():
		if time.Since(begun) < w.cfg.Voicemail[0].Timeout {
			w.mu.Lock()
			w.wrong("%s cut the attempt for %s on the wire after %s (A4)", c.p.name, pk.person.alias, time.Since(begun))
			w.mu.Unlock()
		}
	}
	return voicemail.Answer{Class: voicemail.Lost, Message: "no answer"}
}

// fateOf returns the next fate of the person's attempts.
func (p *person) next() fate {
	if p.turn < len(p.fates) {
		p.turn++
		return p.fates[p.turn-1]
	}
	return fate{kind: answered, after: time.Duration(3+7*len(p.alias)) * time.Millisecond}
}

// late is when what arrives late begins to be late: nobody listens any more.
func late(pk *packet, f fate) <-chan struct{} {
	if f.late == 0 || f.kind == tryAgain {
		return nil
	}
	return pk.heard
}

// travel brings a packet to its end.
func (w *world) travel(pk *packet, f fate) {
	lost := voicemail.Answer{Class: voicemail.Lost, Message: "connection reset"}
	select {
	case <-time.After(f.after):
	case <-late(pk, f):
	}
	switch f.kind {
	case answered:
		pk.answer <- w.arrive(pk)
	case twice:
		a := w.arrive(pk)
		w.arrive(pk)
		pk.answer <- a
	case lostBefore:
		pk.answer <- lost
	case lostAfter:
		w.arrive(pk)
		pk.answer <- lost
	case lateFate:
		pk.answer <- lost
		<-pk.heard
		time.Sleep(f.late)
		w.arrive(pk)
	case silent:
		<-pk.heard
	case silentLate:
		<-pk.heard
		time.Sleep(f.late)
		w.arrive(pk)
	case refused:
		pk.answer <- voicemail.Answer{Class: voicemail.NotSent, Message: "connection refused"}
	case tryAgain:
		pk.answer <- voicemail.Answer{Class: voicemail.NotSent, Result: voicemail.Retry, RetryAfter: f.late}
	case rejectsIt:
		pk.answer <- voicemail.Answer{Class: voicemail.Answered, Result: voicemail.Rejected, Message: "locked"}
	case deniesUs:
		pk.answer <- voicemail.Answer{Class: voicemail.Answered, Result: voicemail.Denied, Message: "401"}
	case loginPage:
		w.arrive(pk)
		pk.answer <- voicemail.Answer{Class: voicemail.Lost, Result: voicemail.Denied, Message: "a login page"}
	}
	w.mu.Lock()
	delete(w.network, pk)
	w.mu.Unlock()
}

// arrive is what the mailbox makes of a request.
func (w *world) arrive(pk *packet) voicemail.Answer {
	w.mu.Lock()
	defer w.mu.Unlock()
	m := pk.box
	accepted := voicemail.Answer{Class: voicemail.Answered, Result: voicemail.Accepted}
	switch {
	case !m.exists:
		w.tell("the request of %s finds no mailbox", pk.person.alias)
		return voicemail.Answer{Class: voicemail.Answered, Result: voicemail.NoMailbox}
	case w.boxes.idempotent && m.done[pk.id]:
		w.tell("%s: the voicemail system knows the request again", pk.person.alias)
		return accepted
	case slices.ContainsFunc(m.held[max(0, len(m.held)-w.boxes.history):], func(h held) bool { return h.pin == pk.pin }):
		w.tell("%s: %s is in the mailbox's history", pk.person.alias, pk.pin)
		return voicemail.Answer{Class: voicemail.Answered, Result: voicemail.Rejected, Reason: voicemail.InHistory}
	}
	w.tell("the mailbox of %s now has %s, by %v", pk.person.alias, pk.pin, pk.legs)
	m.held = append(m.held, held{pin: pk.pin, by: pk.request, at: time.Now(), lineage: w.lineage, lost: pk.lineage != w.lineage && !w.restored.IsZero()})
	m.done[pk.id] = true
	w.changed(pk)
	return accepted
}

// looker is the way to a system that keeps notes, as Unity Connection does: it
// tells when a mailbox was changed last, and whether its owner has done so.
type looker struct{ *wire }

// changes is how often the mailbox was changed, which stands for the time, and
// whether by a request.
func (c *looker) changes(a voicemail.Attempt) (*mailbox, string, bool) {
	w := c.p.w
	w.mu.Lock()
	defer w.mu.Unlock()
	p := w.aliased(a.UserID)
	if p == nil || !p.at(c.system).exists {
		return nil, "", false
	}
	m := p.at(c.system)
	return m, strconv.Itoa(len(m.held)), m.held[len(m.held)-1].by != nil
}

// answered brings the canary back, by an answer to something that was only asked.
func (c *looker) answered() {
	c.p.w.mu.Lock()
	defer c.p.w.mu.Unlock()
	c.p.last[c.system] = time.Now()
}

// learn keeps the value of a request that may be committed without being sent.
func (c *looker) learn(a voicemail.Attempt) {
	var body struct {
		PIN string `json:"pin"`
	}
	w := c.p.w
	w.must(json.Unmarshal([]byte(a.Body.Reveal()), &body))
	w.mu.Lock()
	defer w.mu.Unlock()
	w.values[body.PIN] = true
}

func (c *looker) Look(_ context.Context, a voicemail.Attempt) (voicemail.Note, *voicemail.Answer) {
	m, changed, _ := c.changes(a)
	switch {
	case c.p.isDead():
		return voicemail.Note{}, &voicemail.Answer{Class: voicemail.NotSent}
	case m == nil:
		c.answered()
		c.learn(a)
		return voicemail.Note{}, &voicemail.Answer{Class: voicemail.Answered, Result: voicemail.NoMailbox}
	}
	return voicemail.Note{Mailbox: fmt.Sprintf("%s in the %s", a.UserID, c.system), Changed: changed}, nil
}

func (c *looker) Settled(_ context.Context, a voicemail.Attempt) voicemail.Answer {
	m, changed, byRequest := c.changes(a)
	switch {
	case c.p.isDead():
		return voicemail.Answer{Class: voicemail.NotSent}
	case m == nil:
		return voicemail.Answer{Class: voicemail.NotSent, Result: voicemail.Retry, Gone: true}
	case changed != a.Note.Changed && byRequest:
		c.p.w.say("%s: what was lost has arrived, %s changes instead of %s", a.UserID, changed, a.Note.Changed)
		return voicemail.Answer{Class: voicemail.Answered, Result: voicemail.Accepted, Proof: "it was changed"}
	}
	return voicemail.Answer{Class: voicemail.Answered, Result: voicemail.Rejected, Message: "not changed by us"}
}

func (c *looker) Send(ctx context.Context, a voicemail.Attempt) voicemail.Answer {
	if a.Lost > 0 {
		if answer := c.Settled(ctx, a); answer.Result != voicemail.Rejected {
			c.answered()
			return answer
		}
	}
	answer := c.wire.Send(ctx, a)
	if a.Lost > 0 && answer.Reason == voicemail.InHistory && !c.p.isDead() {
		if answer.Reason = ""; c.Settled(ctx, a).Result == voicemail.Accepted {
			answer.Result, answer.Proof = voicemail.Accepted, "it was changed"
		}
	}
	return answer
}
