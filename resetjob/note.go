package resetjob

import (
	"time"

	"github.com/dirpin/dirpin/internal/store"
	"github.com/dirpin/dirpin/internal/voicemail"
)

// noting is a leg that waits for its note to be durable: what it sends next may
// change something.
type noting struct {
	w     *work
	note  voicemail.Note
	done  chan error // gets one value
	ready time.Time  // not before
	tries int
}

// keepNote is called on the goroutine of a push.
func (r *runner) keepNote(w *work, note voicemail.Note) error {
	n := &noting{w: w, note: note, done: make(chan error, 1)}
	select {
	case r.notes <- n:
	case <-r.ended:
		return errNotOurs
	}
	select {
	case err := <-n.done:
		return err
	case <-r.ended:
		return errNotOurs
	}
}

// note writes a note, and keeps where the mailbox was found for later jobs.
func (g *group) note(tx *store.Tx, n *noting) error {
	w := n.w
	if err := tx.Noted(w.sent, n.note.String()); err != nil {
		return err
	}
	if n.note.Mailbox == w.mailbox {
		return nil
	}
	return tx.SetMailbox(w.system.Name(), w.item.UserRef, w.user.UserID, n.note.Mailbox)
}

// noted takes over what the transaction has made true.
func (r *runner) noted(g *group) {
	if len(g.notes) == 0 {
		return
	}
	gone := make(map[*noting]bool, len(g.notes))
	for _, n := range g.notes {
		gone[n] = true
		n.w.attempt.Note, n.w.sent.Note, n.w.mailbox = n.note, n.note.String(), n.note.Mailbox
		n.done <- nil
	}
	r.dropNotes(gone)
}

func (r *runner) dropNotes(gone map[*noting]bool) {
	kept := r.noting[:0]
	for _, n := range r.noting {
		if !gone[n] {
			kept = append(kept, n)
		}
	}
	clear(r.noting[len(kept):])
	r.noting = kept
}

// refuse tells a leg that its note cannot be written: it sends nothing, and its
// item fails with that reason.
func (r *runner) refuse(n *noting, err error) {
	n.w.err = err
	n.done <- err
	r.dropNotes(map[*noting]bool{n: true})
}
