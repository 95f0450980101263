package ldapsync

import (
	"context"
	"log/slog"
	"time"

	"github.com/dirpin/dirpin/config"
	"github.com/dirpin/dirpin/internal/secret"
)

// Options say what is synchronized, and how.
type Options struct {
	Agreement         config.Agreement
	Password          secret.Value // of the bind account
	WriteBackPassword secret.Value // of the account of write_back; Examine only
	Store             Store
	Log               *slog.Logger     // slog.Default when nil
	Now               func() time.Time // time.Now when nil

	Full           bool // read everything, and compare fields, not hashes
	DryRun         bool // change nothing, and say what would change
	AcceptRemovals bool // the guard lets everything through, this once
	AdoptKeys      bool // the same user id is the same person, this once

	// Configured names all agreements of the configuration, so that one that was
	// renamed is not taken for a new one. Without it nobody asks.
	Configured []string

	// Holder names who takes leases; "": Sync and Follow make up a name, and Run
	// takes none.
	Holder string

	reconcile string // not "": why everything is to be read

	OnChange   func(Change)      // is told the news, after they are written; logged when nil
	OnProgress func(entries int) // is told now and then how many entries came, on a goroutine of its own
	OnIndex    func(bytes int)   // is told how much of the heap, without a pointer in it, is held of those who are stored

	// Connect opens the directory; Connect of this package when nil.
	Connect func(context.Context, ConnectOptions) (Directory, error)
}

// Result is what a synchronization came to.
type Result struct {
	Agreement   string
	Server      string
	Feed        string // how it was asked: full, syncrepl, dirsync, usn
	Full        bool   // everything was read
	Entries     int    // that the directory showed
	Added       int
	Updated     int
	Unchanged   int
	Deactivated int
	Returned    int
	Removed     int
	Refused     int // entries that cannot be users, now
	Pending     int // losses that wait for the guard, or for a job to let go of the user
	Missed      int // people whom the answer left out and the directory has all the same
	Referrals   int // that were not followed
	Held        []Hold
	Duration    time.Duration
	DryRun      bool
}

// EntriesPerSecond is the rate at which the directory was read and compared.
func (r Result) EntriesPerSecond() float64 {
	if r.Duration <= 0 {
		return 0
	}
	return float64(r.Entries) / r.Duration.Seconds()
}

func (o Options) withDefaults() Options {
	if o.Log == nil {
		o.Log = slog.Default()
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.OnChange == nil {
		log := o.Log
		o.OnChange = func(c Change) { log.Info(c.String(), "dn", c.DN) }
	}
	if o.OnProgress == nil {
		o.OnProgress = func(int) {}
	}
	if o.OnIndex == nil {
		o.OnIndex = func(int) {}
	}
	if o.Connect == nil {
		o.Connect = func(ctx context.Context, c ConnectOptions) (Directory, error) {
			client, err := Connect(ctx, c)
			if err != nil {
				return nil, err // not a nil *Client in a Directory that is not nil
			}
			return client, nil
		}
	}
	return o
}
