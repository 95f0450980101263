package resetjob

import (
	"fmt"
	"time"

	"github.com/dirpin/dirpin/internal/credential"
	"github.com/dirpin/dirpin/internal/secret"
	"github.com/dirpin/dirpin/internal/store"
	"github.com/dirpin/dirpin/internal/user"
	"github.com/dirpin/dirpin/internal/voicemail"
)

// work is one item on its way through the runner.
type work struct {
	job   int64
	item  store.ToDo
	batch store.Batch
	legs  []leg
	err   error     // the values could not be read or hashed, or the item not be written
	ready time.Time // not before
	tries int       // of its transaction that failed
	cut   bool      // a process that died has left it in the journal
	waits int       // for something else that keeps the user

	user  user.User // as claimed
	vs    []verdict // as claimed, and with results as they come
	since map[string]store.Changed

	overtaken bool                // another request was sent to the user after the one that is to be sent again
	held      bool                // the user is kept in flight from one of several systems to the next
	ways      []*voicemail.System // any of which would do next
	every     bool                // all of several must accept: it does not begin before there is room at each

	// Of the transaction that is under way.
	ended []verdict // legs that got their result
	done  bool      // the item got its
	early *leg      // is committed, and has systems that are not asked yet

	// Of the leg that is in the journal.
	sent    *store.Journalled // nil: none is
	leg     *leg
	part    *part // of several; nil: the user has one system
	system  *voicemail.System
	attempt voicemail.Attempt
	mailbox string // where earlier jobs have found the user's mailbox there
	ahead   bool   // it counts as ahead of the wire
	asking  string // why the request is not sent again, but it is asked whether it took effect; "": it is sent
	prior   voicemail.History
	outcome *voicemail.Outcome // of the push
	kept    error              // why the push has no outcome yet
}

// leg is one credential of a work.
type leg struct {
	store.Leg
	value secret.Value
	drawn bool
	hash  string
	tag   []byte // of the value, for the history
	parts []part // by system, where there are several
}

func newWork(it store.ToDo, b store.Batch) *work {
	w := &work{job: b.Job, item: it, batch: b, cut: it.Sent != nil, legs: make([]leg, len(it.Legs))}
	for i := range it.Legs {
		w.legs[i].Leg = it.Legs[i]
		w.legs[i].Parts = nil
		for _, p := range it.Legs[i].Parts {
			w.legs[i].parts = append(w.legs[i].parts, part{Part: p})
			w.held = w.held || w.cut && it.Sent.Kind == it.Legs[i].Kind
		}
	}
	if w.cut && it.Sent.Held() {
		w.cut, w.held = false, true
	}
	return w
}

// unsent tells whether what was cut is known never to have left: the note that
// every change waits for was not written yet.
func (w *work) unsent() bool {
	note, err := voicemail.ParseNote(w.item.Sent.Note)
	return err == nil && note.Unsent && w.item.Sent.Lost == 0
}

func (l *leg) todo() bool { return l.State != store.Final }

// lost tells whether an attempt of an earlier job was lost: the same request is
// sent again, or none.
func (l *leg) lost() bool { return l.Lost > 0 && l.Body != nil }

// sent tells whether the value may be anywhere already.
func (l *leg) sent() bool { return l.lost() || l.begun() }

// doubtful tells whether the other side may have been changed by an earlier job.
// Its request may have been forgotten, by a restore: another one is sent then,
// and nothing but its acceptance ends the doubt.
func (l *leg) doubtful() bool { return l.Lost > 0 }

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
		// A value of which a request was forgotten may be in the history by that
		// one: it proves nothing of another.
		l.drawn = l.Leg.Value != nil && r.def.generates(l.Kind) && (l.lost() || !l.doubtful())
		l.tag = r.env.Ring.HistoryTag(w.item.UserRef, credential.Kind(l.Kind), l.value)
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
		return secret.Value{}, fmt.Errorf("item %d has no %s: its value was erased", seq, l.Kind)
	}
	v, err := r.key.OpenValue(legContext(l.Kind, r.job.ID, seq), l.Value)
	if err != nil {
		return v, fmt.Errorf("opening the %s of item %d: %w", l.Kind, seq, err)
	}
	return v, nil
}
