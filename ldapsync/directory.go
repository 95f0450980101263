package ldapsync

import (
	"context"
	"time"

	"github.com/dirpin/dirpin/internal/roster"
	"github.com/dirpin/dirpin/internal/user"
)

// FieldLanguage is the field of a user that no query asks about, but that a
// directory can empty.
const FieldLanguage user.Field = "language"

// Entry is an entry of the directory, mapped to a person. It is the receiver's
// to keep.
type Entry struct {
	Person roster.Person  // Status, InactiveReason, ManagerDN and Hash set; ID, Manager and Absent not
	Refuse *roster.Reject // not nil: the entry cannot be a user as it stands, and why
	Faults []Fault        // fields whose value cannot be taken; a user that is there keeps its own

	// Choices holds, sorted, the values of each single field that has several.
	// The order in which a server sends them means nothing: one that is stored
	// already is kept. Those of the manager are normalized DNs.
	Choices map[user.Field][]string
}

// Fault is a value that cannot be taken. It names the attribute and never
// quotes the value.
type Fault struct {
	Field  user.Field // user.FieldStatus: whether the account is disabled
	Detail string     // for people: "givenName: 3,000 bytes; at most 1,024 are taken"
}

// Directory is an open, authenticated connection to one server of an
// agreement.
type Directory interface {
	// Facts say what the server is.
	Facts() Facts
	// Entries reads every entry that the filter finds below the base. Without
	// an error the answer was complete: the base exists and can be read, no
	// limit cut it, no page is missing.
	Entries(ctx context.Context, a Answer) error
	// Present is the second witness of an absence: it looks for the entry at
	// its last DN with the filter, then by key below the base. An error means
	// that nothing is known.
	Present(ctx context.Context, key, dn string) (bool, error)
	// Sees looks for people who were there. Where it sees none of them with key
	// and user id it says so: then the account sees less than before, and what
	// a feed leaves out means nothing. A base that cannot be read is an error.
	Sees(ctx context.Context, people []roster.Person) (less string, err error)
	// Look mentions what these entries are now: EntryChanged, Container or
	// EntryMissing, each key once.
	Look(ctx context.Context, keys []string, yield func(Mention) error) error
	// Changes reads what has changed since the query's cookie. Without an error
	// the answer was complete.
	Changes(ctx context.Context, q Query, yield func(Mention) error) (Outcome, error)
	// Watch is Changes that does not end; FeedSyncrepl only. It returns when the
	// search has ended, which is always an error.
	Watch(ctx context.Context, q Query, w Watcher) error
	// Ping finds out whether the server still answers, also while Watch runs.
	Ping(ctx context.Context) error
	// Refresh is Entries by way of content synchronization, and says where it
	// goes on. ErrUnfit: the server does not do it for everybody.
	Refresh(ctx context.Context, f Feed, a Answer) (Outcome, error)
	// Mark returns where a feed goes on after a full answer that is asked for
	// thereafter; nil where that cannot be told. ErrUnfit: the account may not
	// use the feed.
	Mark(ctx context.Context, f Feed) ([]byte, error)
	// Containers yields the entries below the base below which people may be.
	Containers(ctx context.Context, yield func(roster.Container) error) error
	// Close ends the connection.
	Close() error
}

// Answer is who receives the entries of a directory.
type Answer struct {
	// Known is told of every entry, and says whether there is nothing to be
	// done about it: then it is not yielded. The hash is 0 for an entry that
	// has to be looked at in any case. It may run on another goroutine than
	// Yield, at the same time.
	Known func(key [16]byte, hash uint64) bool
	// Again says that the answer begins anew: what Known was told is void,
	// what was yielded stays true and comes again. It runs where Known does.
	// Where it is nil such an answer is an error.
	Again func()
	// Yield receives an entry that is not known.
	Yield func(*Entry) error
	// Fresh says that nobody is known: entries have the hash 0, which would be
	// found a second time when they are yielded.
	Fresh bool
	// Unpaged permits to ask for everything at once, which is faster; where
	// such an answer is cut it begins anew, in pages.
	Unpaged bool
	// Holder, where it is not nil, receives the containers of an answer by
	// content synchronization. It runs where Known does.
	Holder func(roster.Container)
}

// Everything is an Answer that yields every entry.
func Everything(yield func(*Entry) error) Answer {
	return Answer{Known: func([16]byte, uint64) bool { return false }, Yield: yield}
}

// Facts are what a sync must know of the directory that answers it.
type Facts struct {
	Kind         string    // openldap, 389ds, ad, other
	Server       string    // host:port, for messages
	KeyAttribute string    // entryUUID, nsUniqueId, objectGUID
	Identity     string    // of the directory: its naming context and that entry's key
	ScopeFP      string    // fingerprint of whom the agreement is about
	MapFP        string    // fingerprint of how entries become persons
	Referrals    int       // that were not followed, in the last answer
	Feeds        []Feed    // that it offers to this account for what has changed, the best first
	NotAfter     time.Time // when the server's certificate ends; zero: it has none
	Context      []string  // contextCSN of OpenLDAP; none: not known
	Unpaged      bool      // the last answer came whole, without pages
	Cut          bool      // it was asked for without pages, and cut
}
