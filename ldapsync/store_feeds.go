package ldapsync

import (
	"time"

	"github.com/dirpin/dirpin/internal/roster"
)

// feedReader is what incremental feeds read besides.
type feedReader interface {
	// SyncMark returns where a feed goes on; one without Checksum where it
	// does nowhere.
	SyncMark(agreement, feed, provider string) (roster.Mark, error)
	// SyncContainers returns the containers of the agreement that have one of
	// these keys, in any order.
	SyncContainers(agreement string, keys []string) ([]roster.Container, error)
	// SyncExcluded returns which of the keys are exclusions of the agreement.
	SyncExcluded(agreement string, keys []string) ([]string, error)
	// SyncSample returns some active users of the agreement, at most n, drawn
	// at random; at least one where there is one.
	SyncSample(agreement string, n int) ([]roster.Person, error)
	// SyncAtLeast tells whether the agreement has n users or more.
	SyncAtLeast(agreement string, n int) (bool, error)
	// SyncOrders yields the orders to the agreement's holder that wait, the
	// oldest first.
	SyncOrders(agreement string, yield func(roster.Order) error) error
	// SyncOrder returns an order; one without ID where there is none.
	SyncOrder(id int64) (roster.Order, error)
}

// feedWriter is what incremental feeds write besides. Leases and orders are
// written without SyncAdvance: they are no state of the agreement.
type feedWriter interface {
	// SyncSaveMark keeps a mark in the place of the one with the same
	// agreement, feed and provider.
	SyncSaveMark(m roster.Mark) error
	// SyncSetContainers has the agreement have these containers and no others.
	SyncSetContainers(agreement string, all []roster.Container) error
	// SyncObserve lets the observed absence grow of everyone in the agreement
	// who is inactive because absent.
	SyncObserve(agreement string, by time.Duration) error
	// SyncLease gives a lease to the holder until then. Where another one has
	// it, and it has not run out by now, nothing changes, and other names that
	// one. A holder prolongs its own lease.
	SyncLease(name, holder string, now, until time.Time) (other string, err error)
	// SyncRelease gives a lease back, if the holder has it.
	SyncRelease(name, holder string) error
	// SyncAsk leaves an order for the agreement's holder and returns its ID.
	SyncAsk(agreement, request string, now time.Time) (int64, error)
	// SyncSaveOrder keeps Holder and Answer of an order.
	SyncSaveOrder(o roster.Order) error
	// SyncForgetOrder takes an order away.
	SyncForgetOrder(id int64) error
}
