package ldapsync

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/zeebo/xxh3"

	"github.com/dirpin/dirpin/internal/roster"
)

const (
	// cookieLife is how old a cookie may be: Active Directory forgets whom it
	// deleted, and others trim their change logs.
	cookieLife = 14 * 24 * time.Hour
	// A server that refuses cookies so soon again is read in full for a day.
	refusedAgain = time.Hour
	fullFor      = 24 * time.Hour
)

// choice is how the directory is asked in a run.
type choice struct {
	feed Feed         // FeedFull: no other
	mark *roster.Mark // where the feed goes on; nil: nowhere
	why  string       // not "": why everything is read
}

// choose says how the directory is asked.
func (r *run) choose(tx Reader) (choice, error) {
	f, err := r.feed()
	if err != nil || f.Name == FeedFull {
		return choice{feed: f}, err
	}
	c := choice{feed: f}
	if r.start.Before(r.state.FullUntil) {
		r.o.Log.Warn(fmt.Sprintf("%s: %s refused cookies again and again: everything is read until %s", r.state.Name, r.facts.Server, r.state.FullUntil.Format(time.RFC3339)))
		return choice{feed: Feed{Name: FeedFull}}, nil
	}
	m, err := tx.SyncMark(r.state.Name, f.Name, f.Provider)
	if err != nil {
		return c, err
	}
	switch age := r.start.Sub(m.Taken); {
	case r.o.DryRun:
		return choice{feed: Feed{Name: FeedFull}}, nil // a dry run is to say all
	case r.state.CompletedAt.IsZero():
		c.why = "it is the first time"
	case m.Checksum == 0:
		c.why = "there is no cookie for this server"
	case m.Checksum != checksum(m) || len(m.Cookie) == 0:
		c.why = "the cookie that was kept is damaged"
	case m.ScopeFP != r.facts.ScopeFP:
		c.why = "base, filter or bind account were changed"
	case m.MapFP != r.facts.MapFP:
		c.why = "attributes were changed"
	case age > cookieLife:
		c.why = fmt.Sprintf("the cookie is %d days old", age/(24*time.Hour))
	default:
		c.mark = &m
		switch {
		case r.o.Full:
			c.why = "it was asked for"
		case r.o.AdoptKeys:
			c.why = "keys are to be adopted"
		case r.reconcileDue():
			c.why = "full_every has passed"
		}
	}
	return c, nil
}

// feed returns what the configuration and the server agree on.
func (r *run) feed() (Feed, error) {
	method, offered := r.o.Agreement.Method, r.facts.Feeds
	var wanted []string
	switch method {
	case FeedFull:
		return Feed{Name: FeedFull}, nil
	case FeedSyncrepl:
		wanted = []string{FeedSyncrepl}
	case FeedDirSync:
		wanted = []string{FeedDirSync, FeedUSN}
	default:
		if len(offered) > 0 {
			return offered[0], nil
		}
		return Feed{Name: FeedFull}, nil
	}
	for _, f := range offered {
		if slices.Contains(wanted, f.Name) {
			return f, nil
		}
	}
	need := "content synchronization (OpenLDAP: overlay syncprov; 389 Directory Server: the Content Synchronization plugin)"
	if method == FeedDirSync {
		need = "DirSync, which is Active Directory's"
	}
	return Feed{}, configError(fmt.Errorf("%s: method %s: %s offers no %s, or not to this account; use method: auto", r.state.Name, method, r.facts.Server, need))
}

// reconcileDue tells whether an incremental feed has gone without a full answer
// for as long as it may.
func (r *run) reconcileDue() bool {
	every := r.o.Agreement.FullEvery
	if every <= 0 {
		return r.state.FullAt.IsZero()
	}
	return !r.start.Before(r.state.FullAt.Add(jittered(every, r.state.Name+r.state.FullAt.String())))
}

// jittered returns a duration that is up to a tenth longer or shorter, always
// the same for the same text: agreements must not all come at once.
func jittered(d time.Duration, text string) time.Duration {
	return d + time.Duration(float64(d)*(float64(xxh3.HashString(text)>>11)/(1<<53)*0.2-0.1))
}

// checkBehind refuses a server that has less than was seen already: everybody
// who came since would be taken for gone.
func (r *run) checkBehind() error {
	if len(r.facts.Context) == 0 || r.state.Context == "" || r.restored {
		return nil
	}
	now, err := readCSNs(r.facts.Context)
	if err != nil {
		return nil
	}
	then, err := readCSNs(strings.Fields(r.state.Context))
	if err != nil || !now.older(then) {
		return nil
	}
	return directoryError(fmt.Errorf("%s: %s: %w: its contextCSN is older than the one seen before", r.state.Name, r.facts.Server, ErrBehind))
}
