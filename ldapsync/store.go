package ldapsync

import (
	"context"
	"time"

	"github.com/dirpin/dirpin/internal/roster"
)

// Store is the database as a synchronization needs it. Every decision is made
// here; the store only keeps records.
type Store interface {
	// Read runs f in a transaction that sees one state of everything and
	// changes nothing.
	Read(ctx context.Context, f func(Reader) error) error
	// Write runs f in a transaction that sees and changes everything alone.
	// When f returns an error nothing has changed, and that error is returned.
	Write(ctx context.Context, f func(Writer) error) error
}

// Reader reads within a transaction. A yield function must not use the
// transaction, and what it is given is its own to keep; an error of it ends
// the reading and is returned.
type Reader interface {
	feedReader
	// SyncAgreement returns what is known of the agreement: for one that is
	// not known, its name alone.
	SyncAgreement(name string) (roster.Agreement, error)
	// SyncAgreements returns every agreement that the store knows, also those of
	// which only users are there, by name.
	SyncAgreements() ([]roster.Agreement, error)
	// SyncCount returns how many SyncIndex will yield, or a little more.
	SyncCount(agreement string) (int, error)
	// SyncIndex yields everyone of the agreement, and its exclusions, in any
	// order, each key once.
	SyncIndex(agreement string, yield func(roster.Held) error) error
	// SyncPeople returns the users that have one of these keys, in whatever
	// agreement, in any order.
	SyncPeople(keys []string) ([]roster.Person, error)
	// SyncClaimants returns the users, local ones too, whose folded user id is
	// one of these.
	SyncClaimants(folded []string) ([]roster.Person, error)
	// SyncManagers returns the user ids of the users with these normalized DNs,
	// by DN; of several users with one DN, that of the same agreement.
	SyncManagers(agreement string, dns []string) (map[string]string, error)
	// SyncExpired returns the keys of the agreement's active users whose
	// Expires has come, in ascending order.
	SyncExpired(agreement string, now time.Time) ([]string, error)
	// SyncPending yields the pending losses of the agreement, all of a key
	// together, the keys in ascending order after the given one: a reader can
	// stop and go on in the next transaction.
	SyncPending(agreement, after string, yield func(roster.Loss) error) error
	// SyncRejects yields the rejects of the agreement, in the order of their
	// keys; "" means those of every agreement.
	SyncRejects(agreement string, yield func(roster.Reject) error) error
	// SyncTally counts for the guard: the pending losses, and those applied at
	// or after since that were not accepted. Where enough is not 0, counting
	// the active users may end at so many, and 200 more for each loss, and
	// Total is the same: a limit of a percent or more lets that many through.
	SyncTally(agreement string, since time.Time, enough int) (roster.Tally, error)
}

// Writer reads and writes within a transaction.
type Writer interface {
	Reader
	feedWriter
	// SyncAdvance raises the agreement's sequence number, making its row when
	// seq is 0 and there is none. Where the number is not seq it returns
	// roster.ErrMoved. Every writing transaction begins with it; whoever else
	// writes to users of the agreement raises the number too.
	SyncAdvance(agreement string, seq int64) error
	// SyncRename moves everything of an agreement to another name, which nothing
	// has yet, and raises its sequence number.
	SyncRename(from, to string) error
	// SyncSave keeps all fields of the agreement but Seq.
	SyncSave(a roster.Agreement) error
	// SyncTry runs f; when it returns an error all that it wrote is undone,
	// the transaction goes on, and that error is returned.
	SyncTry(f func() error) error
	// SyncApply writes the changes, in the order of the fields of
	// roster.Changes. User ids may move among those that are put (a swap, a
	// chain), so they are all given up before any is taken. A single row that
	// cannot be stored is a *roster.RowError.
	//
	// It marks everyone whose manager has to be found again: whose ManagerDN
	// was set, and whose ManagerDN is the old or the new DN of a user that was
	// put or removed.
	SyncApply(agreement string, c roster.Changes) error
	// SyncAdd is SyncApply of new people alone. Where one of their keys or user
	// ids is taken, by whomever, or a row cannot be stored, it stores nobody and
	// returns false.
	SyncAdd(agreement string, people []roster.Person) (done bool, err error)
	// LinkManagers sets the manager of everyone who is marked, also by a
	// transaction of a run that died, to the user id of the user with that DN
	// (of the same agreement first), or to nothing, and takes the marks away.
	// In an agreement of kind ad a link that was found holds to the key of the
	// user until ManagerDN changes: the manager may get another DN meanwhile.
	// It returns how many marked ones have a ManagerDN that names nobody.
	LinkManagers() (dangling int, err error)
}
