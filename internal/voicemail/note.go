package voicemail

import (
	"context"
	"encoding/json"
	"errors"
)

// Note is what a connector has found out about a mailbox before it changes
// anything there. It is journalled before the first change leaves, so that
// what was lost can be settled by comparing, after a crash as well.
type Note struct {
	Mailbox string `json:"mailbox,omitempty"` // the system's own id of it; of a directory the server that is asked
	Changed string `json:"changed,omitempty"` // when its PIN was changed last, in the system's words: compared with itself and with nothing else

	// Unsent is set while nothing that could change anything has left. Mailbox,
	// if there is one, is then what earlier jobs have found.
	Unsent bool `json:"unsent,omitempty"`
}

// needsLook tells whether the connector has to look before it sends.
func (n Note) needsLook() bool { return n.Unsent || n.Mailbox == "" }

// String returns the note as it is journalled; "" for none.
func (n Note) String() string {
	if n == (Note{}) {
		return ""
	}
	text, err := json.Marshal(n)
	if err != nil {
		panic(err) // strings and a flag alone always encode
	}
	return string(text)
}

// ParseNote reads a note back from the journal.
func ParseNote(text string) (Note, error) {
	var n Note
	if text == "" {
		return n, nil
	}
	if err := json.Unmarshal([]byte(text), &n); err != nil {
		return Note{}, errors.New("read the journalled note of a mailbox: its row is damaged")
	}
	return n, nil
}

// Looker is a Connector that keeps notes.
type Looker interface {
	Connector

	// Look finds the mailbox, of which the attempt may name an earlier id, and
	// returns its note. It changes nothing: the answer, which is set where there
	// is no note, is never Lost.
	Look(ctx context.Context, a Attempt) (Note, *Answer)

	// Settled asks whether an attempt that was lost has taken effect. The answer
	// is Accepted where that is proven; nothing is changed.
	Settled(ctx context.Context, a Attempt) Answer
}
