package ldapsync

import (
	"context"
	"errors"
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
	held bool         // only because losses wait for the guard
}

// choose says how the directory is asked: by the best feed that has somewhere
// to go on, else by the best.
func (r *run) choose(tx Reader) (choice, error) {
	full := choice{feed: Feed{Name: FeedFull}}
	feeds, err := r.feeds()
	if err != nil || len(feeds) == 0 || r.o.DryRun { // a dry run is to say all
		return full, err
	}
	if r.start.Before(r.state.FullUntil) {
		r.o.Log.Warn(fmt.Sprintf("%s: %s refused cookies again and again: until %s everything is read", r.state.Name, r.facts.Server, r.state.FullUntil.Format(time.RFC3339)))
		return full, nil
	}
	var best choice
	for i, f := range feeds {
		c, err := r.goOn(tx, f)
		if err != nil || c.mark != nil {
			return c, err
		}
		if i == 0 {
			best = c
		}
	}
	return best, nil
}

// goOn says whether a feed has somewhere to go on.
func (r *run) goOn(tx Reader, f Feed) (choice, error) {
	c := choice{feed: f}
	m, err := tx.SyncMark(r.state.Name, f.Name, f.Provider)
	if err != nil {
		return c, err
	}
	switch age := r.start.Sub(m.Taken); {
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
	case r.restored:
		c.why = "no server has what the cookie stands for"
	default:
		c.mark = &m
		if c.why = r.whyFull(); c.why == "" {
			c.why, err = r.whyHeld(tx)
			c.held = c.why != ""
		}
	}
	return c, err
}

// whyFull says why everything is to be read though changes could be; "" for no
// reason.
func (r *run) whyFull() string {
	switch {
	case r.o.Full:
		return "it was asked for"
	case r.o.AcceptRemovals:
		return "what is accepted is to be what the directory says now"
	case r.o.AdoptKeys:
		return "keys are to be adopted"
	case r.o.reconcile != "":
		return r.o.reconcile
	case r.reconcileDue():
		return "full_every has passed"
	}
	return ""
}

// whyHeld has everything read while losses wait for the guard. A feed does not
// tell that they were none: that a right was given back, that an ACL was
// mended.
func (r *run) whyHeld(tx Reader) (why string, err error) {
	err = tx.SyncPending(r.state.Name, "", func(l roster.Loss) error {
		if l.InFlight {
			return nil // it waits for a job, which ends
		}
		why = "losses wait for the guard"
		return errEnough
	})
	if errors.Is(err, errEnough) {
		err = nil
	}
	return why, err
}

// feeds returns what the configuration and the server agree on, the best first;
// nothing for a full answer each time.
func (r *run) feeds() ([]Feed, error) {
	var wanted []string
	switch r.o.Agreement.Method {
	case FeedFull:
		return nil, nil
	case FeedSyncrepl:
		wanted = []string{FeedSyncrepl}
	case FeedDirSync:
		wanted = []string{FeedDirSync, FeedUSN}
	default:
		wanted = []string{FeedSyncrepl, FeedDirSync, FeedUSN}
	}
	var feeds []Feed
	offered := false
	for _, f := range r.facts.Feeds {
		if slices.Contains(wanted, f.Name) {
			if offered = true; !r.unfit[f.Name] {
				feeds = append(feeds, f)
			}
		}
	}
	if offered || len(wanted) == 3 {
		return feeds, nil
	}
	need := "content synchronization (OpenLDAP: overlay syncprov; 389 Directory Server: the Content Synchronization plugin)"
	if wanted[0] == FeedDirSync {
		need = "DirSync, which is Active Directory's"
	}
	return nil, configError(fmt.Errorf("%s: method %s: %s offers no %s; use method: auto", r.state.Name, r.o.Agreement.Method, r.facts.Server, need))
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

// behind decides what is done where no server in reach has what was seen
// already: they are asked again later. Only when that has been so for
// replica_lag the directory is taken as it is; the guard judges.
func (r *run) behind(ctx context.Context, why error) error {
	if r.state.BehindSince.IsZero() && !r.o.DryRun {
		s := r.state
		s.BehindSince = r.start
		if err := r.remember(ctx, s); err != nil {
			return err
		}
	}
	if since := r.state.BehindSince; since.IsZero() || r.start.Sub(since) < r.o.Agreement.ReplicaLag {
		return fmt.Errorf("%w; nothing was changed. A replica that lags catches up; after %v (replica_lag) the directory is taken as it is", why, r.o.Agreement.ReplicaLag)
	}
	r.o.Log.Error(fmt.Sprintf("%s: since %s no server has what was seen before: a server restored from a backup? The directory is taken as it is, the guard judges", r.state.Name, r.state.BehindSince.Format(time.RFC3339)))
	r.restored = true
	return nil
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
