// Package roster holds the records that the synchronization with a directory
// and the store share: the people of an agreement, the losses that wait for
// the guard, the entries that were refused, and what is known of the
// directory. What is done with them is decided by ldapsync; the store keeps
// them. It imports only user.
package roster

import (
	"errors"
	"fmt"
	"time"

	"github.com/dirpin/dirpin/internal/user"
)

// ErrMoved says that somebody else has written to the agreement since its
// sequence number was read.
var ErrMoved = errors.New("another synchronization of the agreement has written meanwhile")

// RowError says that the store cannot take one person, whatever the rest of
// the transaction: a constraint, a text that the database does not hold. Any
// other error is the whole transaction's.
type RowError struct {
	Key string
	Err error
}

func (e *RowError) Error() string { return fmt.Sprintf("storing the entry %s: %v", e.Key, e.Err) }

// Unwrap returns the database's error.
func (e *RowError) Unwrap() error { return e.Err }

// Agreement is what the store knows of an agreement. The zero value but for
// its Name is one that was never synchronized.
type Agreement struct {
	Name         string
	Seq          int64     // raised by every writing transaction
	Kind         string    // of the directory: openldap, 389ds, ad
	KeyAttribute string    // chosen once
	Directory    string    // identity of the directory: its naming context and that entry's key
	Seed         uint64    // of the content hashes; random
	ScopeFP      string    // fingerprint of whom the agreement is about
	MapFP        string    // fingerprint of the mapping
	Server       string    // that gave the last complete answer
	Paging       string    // what became of the last answer that was not to come in pages: unpaged, or paged because it was cut
	CompletedAt  time.Time // when the last complete answer ended; zero: never

	Feed        string        // that gave the last complete answer: full, syncrepl, dirsync, usn
	ServerAt    time.Time     // since when complete answers are Server's
	FullAt      time.Time     // when the last full answer ended
	FullTook    time.Duration // to read and write
	Context     string        // OpenLDAP's contextCSN as last seen, with spaces between the values
	BehindSince time.Time     // since then no server has what we have seen already; zero: one has
	RefusedAt   time.Time     // when a cookie was last refused
	FullUntil   time.Time     // until then cookies are not even tried
}

// Held is what a synchronization keeps in memory of everyone in an agreement.
type Held struct {
	Key      string
	Hash     uint64        // of the content; 0: to be looked at again
	Inactive string        // absent, disabled, expired; "" for an active user
	Absent   time.Duration // observed absence so far, where Inactive is absent
	Pending  bool          // some loss of this person is pending
	Excluded bool          // no user: the key was detached by `users convert`, and is to be left alone
}

// Person is a user as the synchronization sees it. Manager is the store's: it
// follows ManagerDN, by LinkManagers.
type Person struct {
	user.User
	DNNorm       string        // DN in the form in which DNs compare
	ManagerDN    string        // DN of the manager, in that form; "" for none
	Hash         uint64        // of the content; 0: to be looked at again
	Absent       time.Duration // observed absence so far, where InactiveReason is absent
	Expires      time.Time     // when the account ends; zero: never
	ChangedAt    time.Time     // when the row was last written; read only
	InFlight     bool          // some item of a job is being pushed for this user; read only
	DropPassword bool          // write only: a local user becomes the directory's; its PIN stays, its password goes
}

// Kind is a kind of loss.
type Kind string

// The kinds of loss.
const (
	LossAbsent   Kind = "absent"   // the entry is gone: the user becomes inactive
	LossDisabled Kind = "disabled" // the account is disabled
	LossExpired  Kind = "expired"  // the account's end date has passed
	LossBlank    Kind = "blank"    // a field was emptied
	LossUserID   Kind = "user-id"  // the user id changed
	LossReplaced Kind = "replaced" // the entry is gone and another key claims its user id
	LossRemoved  Kind = "removed"  // absent for longer than the grace: the user is removed
)

// Loss is something that a person loses by a synchronization. It is pending
// until the guard has let it through.
type Loss struct {
	Agreement string
	Key       string
	Kind      Kind
	Field     user.Field // of a blank, else ""; language is "language"
	UserID    string     // of the person who loses, as it was
	DN        string
	Value     string    // LossUserID: the new user id; LossReplaced: the new key
	Evidence  string    // explicit or inferred
	Server    string    // that said so
	Since     time.Time // pending since; of an applied one, when it was applied
	Hash      uint64    // of the content once all pending losses of the key are applied
	Accepted  bool      // applied by an administrator's word: not counted by the guard
	InFlight  bool      // some item of a job is being pushed for this user; read only
}

// Reject is an entry that could not become or remain a user as it stands.
type Reject struct {
	Agreement string
	Key       string
	DN        string
	UserID    string // "" where there is none
	Reason    string // user-id-missing, user-id-taken, user-id-local, owned-by, fault …
	Detail    string // for people
	Partial   bool   // the entry was taken, but for the field that the detail names
	Person    Person // as mapped, where it was; what is admitted when the reason goes
	Since     time.Time
}

// Measure is what the guard counts by itself: a kind of loss, and the field of
// a blank.
type Measure struct {
	Kind  Kind
	Field user.Field
}

// Tally is what the guard judges. A key counts once in a measure.
type Tally struct {
	Active  int             // users of the agreement that are active now
	Total   int             // all users of the agreement
	Pending map[Measure]int // losses that are pending
	Applied map[Measure]int // losses applied since the window began, less the accepted ones
}

// Changes are written together, in the order of the fields.
type Changes struct {
	Remove    []Person // by ID and Key: the user goes, with credentials, flags and everything pending
	Put       []Person // ID 0: a new user; else the user of that ID gets all fields but Manager
	Mentioned []string // keys about which everything pending is forgotten …
	Park      []Loss   // … and these are pending; one that was (key, kind and field) keeps its Since
	Applied   []Loss   // losses that were applied, recorded for the guard's window and for reports
	Reject    []Reject // by key; one that was keeps its Since
	Admit     []string // keys that are rejected no more
}
