package ldapsync

import (
	"errors"
	"sync"
)

const (
	// inboxKeys is how many changed entries are kept while the database is
	// busy. Beyond that the search is ended and resumed by its cookie: the
	// server must not keep for us what we do not take.
	inboxKeys = 100_000
	// inboxPresent bounds those that a present phase names.
	inboxPresent = 4_000_000
)

var errInboxFull = errors.New("more changes came than can be kept in memory; they will come again")

// inbox takes what a search that persists says, and never waits. Mentions are
// kept by key, the last one of each.
type inbox struct {
	most  int           // mentions that are kept
	ready chan struct{} // has an element while there is something to take

	mu       sync.Mutex
	at       map[string]int // by key and whether it is a container, in list
	list     []Mention
	present  []rawKey
	cookie   []byte
	refresh  *Outcome // the refresh stage ended and was not taken yet
	finished bool     // it ended
}

// parcel is what was in an inbox.
type parcel struct {
	list    []Mention
	present []rawKey
	cookie  []byte   // stands for all of it; nil: none
	refresh *Outcome // not nil: the refresh stage has ended with it
}

func newInbox(most int) *inbox {
	return &inbox{most: most, ready: make(chan struct{}, 1), at: make(map[string]int)}
}

// mention keeps a mention.
func (b *inbox) mention(m Mention) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	switch m.What {
	case OnlyCookie:
		b.cookie = m.Cookie
	case EntryPresent:
		key, err := parseKey(m.Key)
		if err != nil {
			return err
		}
		if len(b.present) == inboxPresent {
			return errInboxFull
		}
		b.present = append(b.present, key)
	default:
		id := m.Key
		if m.What == Container {
			id = "container " + id
		}
		i, again := b.at[id]
		switch {
		case again:
			b.list[i] = m
		case len(b.list) == b.most:
			return errInboxFull
		default:
			b.at[id] = len(b.list)
			b.list = append(b.list, m)
		}
	}
	b.signal()
	return nil
}

// refreshed says that everything since the cookie has been mentioned.
func (b *inbox) refreshed(o Outcome) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.refresh, b.finished = &o, true
	b.signal()
	return nil
}

// signal says that there is something to take. What comes during the refresh
// stage is only taken at its end. b.mu is held.
func (b *inbox) signal() {
	if !b.finished {
		return
	}
	select {
	case b.ready <- struct{}{}:
	default:
	}
}

// take empties the inbox.
func (b *inbox) take() parcel {
	b.mu.Lock()
	defer b.mu.Unlock()
	p := parcel{b.list, b.present, b.cookie, b.refresh}
	b.list, b.present, b.cookie, b.refresh = nil, nil, nil, nil
	clear(b.at)
	return p
}
