package ldapsync

import (
	"errors"

	"github.com/dirpin/dirpin/internal/roster"
)

// The feeds.
const (
	FeedFull     = "full"     // everybody, each time
	FeedSyncrepl = "syncrepl" // content synchronization, RFC 4533
	FeedDirSync  = "dirsync"  // [MS-ADTS], section 3.1.1.3.4.1.3
	FeedUSN      = "usn"      // uSNChanged, of one domain controller
)

// Feed is a way to learn what has changed that a server offers.
type Feed struct {
	Name     string
	Provider string // the server that its cookies are good for; "": every server of the directory
}

// What a server may say to a cookie, by errors.Is.
var (
	// ErrCookie: the server does not take the cookie. A full answer is needed.
	ErrCookie = errors.New("the server does not take the cookie")
	// ErrBehind: the server has less than was seen already: a replica that
	// lags, or a server restored from a backup. Another one may do better.
	ErrBehind = errors.New("the server has less than was seen already")
	// ErrUnfit: the server announces a feed and does not do it, or not for this
	// account.
	ErrUnfit = errors.New("the feed is not to be had")
)

// Query asks for changes.
type Query struct {
	Feed   Feed
	Cookie []byte // where to begin; nil: everything there is
	// AtLeast tells whether we have so many people.
	AtLeast func(n int) (bool, error)
}

// Mention is what a feed says of one entry.
type Mention struct {
	What  What
	Key   string
	Entry *Entry // EntryChanged: as it is now
	DN    string // Container: normalized

	Doubtful bool   // EntryChanged: it was found as a container, or may have been; the filter has to say
	Cookie   []byte // of a search that persists: stands for this mention and all before; nil: none
}

// Watcher receives what a search that persists says, on the goroutine that
// reads the connection: it must not wait. An error ends the search.
type Watcher struct {
	Mention   func(Mention) error
	Refreshed func(Outcome) error // everything since the cookie has been mentioned; from now on what changes
}

// What is a kind of mention.
type What int

// The kinds of mentions.
const (
	EntryChanged What = iota // the entry, as it is now
	EntryPresent             // it is there, as it was
	EntryGone                // it is not one of the agreement any more, the server says
	EntryTouched             // something about it may have changed: it has to be looked at
	EntryMissing             // it was looked for by its key, and is not one of the agreement
	Container                // a container, as it is now
	OnlyCookie               // nothing is mentioned: there is a cookie
)

// Outcome is what follows from an answer.
type Outcome struct {
	Cookie   []byte // where to go on; nil: the server gave none
	Complete bool   // who was not mentioned is not there
	Distrust string // not "": why nothing follows from it but what it mentions, and everything has to be read
}

// mark makes the mark of an outcome.
func (r *run) mark(f Feed, cookie []byte) *roster.Mark {
	if len(cookie) == 0 {
		return nil
	}
	m := &roster.Mark{Agreement: r.state.Name, Feed: f.Name, Provider: f.Provider, Cookie: cookie, ScopeFP: r.facts.ScopeFP, MapFP: r.facts.MapFP, Taken: r.o.Now()}
	m.Checksum = checksum(*m)
	return m
}
