package ldapsync

import (
	"errors"
	"fmt"

	"github.com/dirpin/dirpin/ldapsync/tap"
)

// refresh follows the refresh stage of a content synchronization (RFC 4533,
// section 3.3) and says what follows from it. It knows no network.
//
// Servers differ in what they leave unsaid:
//   - OpenLDAP whose session log covers the time since the cookie lists what was
//     deleted and ends with refreshDeletes. Without it, it lists what is still
//     there, in a present phase, and ends without. Where the filter finds nobody
//     that is an empty answer without refreshDeletes, which is no proof that all
//     have left.
//   - OpenLDAP that does not find the cookie's number any more sends everything,
//     as if there had been no cookie, ends with refreshDeletes, and never says
//     so. What tells it from changes are entries older than the cookie.
//   - 389 Directory Server lists what was deleted, and ends without
//     refreshDeletes. It has no present phase.
type refresh struct {
	kind   string // of directory
	cookie []byte // that was sent; nil: none
	// atLeast tells whether we have so many people.
	atLeast func(n int) (bool, error)

	seen    csns // of an OpenLDAP's cookie
	changed int  // entries
	old     int  // of them, those that the cookie covers
	bare    int  // of them, those of which it cannot be told
	present int  // named as there, unchanged
	deleted int  // named as gone
	ended   bool // the present phase has
	last    []byte
	empty   bool // a cookie came that is empty
}

func newRefresh(kind string, cookie []byte, atLeast func(n int) (bool, error)) (*refresh, error) {
	s := &refresh{kind: kind, cookie: cookie, atLeast: atLeast}
	if len(cookie) > 0 && kind == KindOpenLDAP {
		c, err := readOpenLDAPCookie(cookie)
		if err != nil {
			return nil, fmt.Errorf("%w: %w", ErrCookie, err)
		}
		s.seen = c.csns
	}
	return s, nil
}

// carried takes note of a cookie that came with a message.
func (s *refresh) carried(cookie []byte) {
	switch {
	case cookie == nil:
	case len(cookie) == 0:
		s.empty = true
	default:
		s.last, s.empty = append([]byte(nil), cookie...), false
	}
}

// entry follows an entry; csn is its entryCSN.
func (s *refresh) entry(state tap.State, csn string) {
	switch state {
	case tap.Delete:
		s.deleted++
	case tap.Present:
		s.present++
	default:
		s.changed++
		switch {
		case s.seen == nil:
		case csn == "":
			s.bare++
		case s.seen.covers(csn):
			s.old++
		}
	}
}

// info follows a message between entries. It returns whether the refresh stage
// has ended with it.
func (s *refresh) info(m tap.SyncInfo) (done bool) {
	switch m.Kind {
	case tap.IDSet:
		if m.Deletes {
			s.deleted += len(m.UUIDs)
		} else {
			s.present += len(m.UUIDs)
		}
	case tap.RefreshPresent:
		s.ended = true
		s.carried(m.Cookie)
		return m.Done
	case tap.RefreshDelete:
		s.carried(m.Cookie)
		return m.Done
	}
	return false // a cookie in the middle of a refresh stage covers nothing
}

var errEmptyCookie = errors.New("the server took the cookie for none")

// end returns what follows from the stage. refreshDeletes is what the server
// said at its end, or that it ended with a refreshDelete message.
func (s *refresh) end(refreshDeletes bool) (Outcome, error) {
	o := Outcome{Cookie: s.last}
	if len(s.cookie) == 0 {
		// Complete whatever refreshDeletes says: OpenLDAP says true here.
		o.Complete = true
		return o, nil
	}
	if s.empty && s.changed+s.present+s.deleted > 0 {
		return o, fmt.Errorf("%w: %w", ErrCookie, errEmptyCookie)
	}
	if o.Cookie == nil {
		o.Cookie = s.cookie // nothing has changed
	}
	presents := s.present > 0 || s.ended || s.kind == KindOpenLDAP && !refreshDeletes
	switch {
	case s.kind != KindOpenLDAP && presents:
		o.Distrust = "the server lists who is still there, of which nothing is inferred"
	case s.kind != KindOpenLDAP:
	case presents && s.present == 0:
		o.Distrust = "the server's session log does not reach back and it lists nobody who is still there"
	case presents:
		o.Complete = true
	case s.old > 0:
		o.Complete = true // it sent everything
	case s.bare > 0:
		o.Distrust = "the server shows no entryCSN to the bind account, so that changes cannot be told from everything"
	case s.deleted == 0 && s.changed > 0:
		few, err := s.atLeast(5 * s.changed)
		if err == nil && !few {
			o.Distrust = "so much has changed that it may be everything"
		}
		return o, err
	}
	return o, nil
}
