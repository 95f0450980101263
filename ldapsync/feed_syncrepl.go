package ldapsync

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/go-ldap/ldap/v3"

	"github.com/dirpin/dirpin/internal/roster"
	"github.com/dirpin/dirpin/ldapsync/tap"
)

const oidSyncRequest = "1.3.6.1.4.1.4203.1.9.1.1"

// containerClasses are the classes of entries below which people are. Nobody
// below one that moves is reported as moved, so feeds ask for them as well.
var containerClasses = []string{"organizationalUnit", "container", "organization", "domain"}

const containerFilter = "(objectClass=organizationalUnit)(objectClass=container)(objectClass=organization)(objectClass=domain)"

// isContainer tells whether an entry is a container.
func isContainer(e *tap.Entry) bool {
	for _, v := range e.Values("objectClass") {
		for _, c := range containerClasses {
			if strings.EqualFold(string(v), c) {
				return true
			}
		}
	}
	return false
}

// syncRequest is a search by content synchronization.
func (c *Client) syncRequest(mode ldap.ControlSyncRequestMode, cookie []byte) *ldap.SearchRequest {
	attributes := append(c.mapper.attributes(c.facts.KeyAttribute), "objectClass")
	if c.facts.Kind == KindOpenLDAP {
		attributes = append(attributes, "entryCSN")
	}
	return ldap.NewSearchRequest(c.o.Agreement.Base, ldap.ScopeWholeSubtree, ldap.NeverDerefAliases, 0, 0, false,
		"(|"+c.filter+containerFilter+")", attributes, []ldap.Control{ldap.NewControlSyncRequest(mode, cookie, false)})
}

// syncEntry is what an entry says by its sync state.
type syncEntry struct {
	tap.SyncState
	key    rawKey
	holder bool // it is a container
}

func (c *Client) readSyncState(e *tap.Entry) (s syncEntry, err error) {
	state, ok, err := e.SyncState()
	if err == nil && !ok {
		err = fmt.Errorf("%w: an entry without sync state", tap.ErrProtocol)
	}
	if err != nil {
		return s, err
	}
	return syncEntry{SyncState: state, key: rawKey(state.UUID), holder: isContainer(e)}, nil
}

// checkSyncKey finds out whether content synchronization knows an entry by the
// same id as we do.
func (c *Client) checkSyncKey(e *tap.Entry, id rawKey) error {
	value := e.Value(c.facts.KeyAttribute)
	if value == nil {
		return fmt.Errorf("the entry %s shows no %s: the bind account must be allowed to read it", shorten(strings.ToValidUTF8(string(e.DN), "?")), c.facts.KeyAttribute)
	}
	if key, err := keyFrom(c.facts.Kind, value); err != nil || key != id {
		return fmt.Errorf("%w: the entry %s goes by another id than its %s in content synchronization", ErrUnfit, shorten(strings.ToValidUTF8(string(e.DN), "?")), c.facts.KeyAttribute)
	}
	return nil
}

// Refresh reads everything by content synchronization, without a cookie.
func (c *Client) Refresh(ctx context.Context, _ Feed, a Answer) (Outcome, error) {
	s, err := newRefresh(c.facts.Kind, nil, nil)
	if err != nil {
		return Outcome{}, err
	}
	f := newFullFeed(c, a)
	defer f.close()
	f.sync = s
	if err := f.explain(ctx, f.run(ctx)); err != nil {
		return Outcome{}, err
	}
	return s.end(f.refreshDeletes)
}

// refreshAll is the answer of a fullFeed that goes by content synchronization.
func (f *fullFeed) refreshAll(ctx context.Context) error {
	ended := false
	r, err := f.c.conn.Stream(ctx, f.c.syncRequest(ldap.SyncRequestModeRefreshOnly, nil), tap.Handler{
		Entry: f.syncEntry,
		Intermediate: func(m *tap.Intermediate) error {
			info, ok, err := m.SyncInfo()
			if err == nil && ok {
				f.sync.info(info)
			}
			return err
		},
		Done: func(d *tap.Done) error {
			done, ok, err := d.SyncDone()
			if ok {
				ended = true
				f.sync.carried(done.Cookie)
				f.refreshDeletes = done.Deletes
			}
			return err
		}})
	f.c.facts.Referrals += r.Referrals
	switch {
	case err == nil && !ended:
		return fmt.Errorf("%w: the server answered without content synchronization", ErrUnfit)
	case unfit(err):
		return fmt.Errorf("%w: %w", ErrUnfit, err)
	case err != nil:
		return err
	}
	return f.unfit
}

// unfit tells whether an error says that a feed is not to be had: the server
// cuts it, or does not do it there.
func unfit(err error) bool {
	return isCode(err, ldap.LDAPResultSizeLimitExceeded, ldap.LDAPResultAdminLimitExceeded, ldap.LDAPResultTimeLimitExceeded,
		ldap.LDAPResultUnavailableCriticalExtension, ldap.LDAPResultInsufficientAccessRights)
}

func (f *fullFeed) syncEntry(e *tap.Entry) error {
	s, err := f.c.readSyncState(e)
	if err != nil {
		return err
	}
	if s.State != tap.Add && s.State != tap.Modify {
		return fmt.Errorf("%w: an entry of sync state %d where everything was asked for", tap.ErrProtocol, s.State)
	}
	if f.unfit = cmp.Or(f.unfit, f.c.checkSyncKey(e, s.key)); f.unfit != nil {
		return nil // an error here would end the connection
	}
	f.sync.entry(s.State, "")
	if !s.holder {
		return f.entry(e)
	}
	if f.a.Holder != nil {
		f.a.Holder(roster.Container{Key: s.key.text(f.c.facts.Kind), DNNorm: normalDN(string(e.DN))})
	}
	if l, err := f.c.mapper.look(e); err == nil && len(f.c.mapper.chosen[0]) > 0 && l.dnFault == "" {
		return f.doubtful.add(e.Message) // a person too, if the filter says so
	}
	return nil
}

// judgeDoubtful takes those containers that the filter finds.
func (f *fullFeed) judgeDoubtful(ctx context.Context, m *mapper) error {
	e := new(tap.Entry)
	for {
		message, err := f.doubtful.next()
		if err == errSpent {
			return nil
		}
		if err == nil {
			err = e.Decode(message)
		}
		if err != nil {
			return err
		}
		l, err := m.look(e)
		if err != nil {
			return f.fault(err)
		}
		found, err := f.c.Present(ctx, l.key.text(f.c.facts.Kind), string(e.DN))
		if err != nil {
			return err
		}
		if !found || f.a.Known(l.key, l.hash) {
			continue
		}
		if err := f.yield(m, e); err != nil {
			return err
		}
	}
}

// syncReader makes mentions of the messages of content synchronization.
type syncReader struct {
	c     *Client
	m     *mapper
	s     *refresh
	yield func(Mention) error
	unfit error // the feed knows entries by other ids
}

// entry takes an entry.
func (r *syncReader) entry(e *tap.Entry) (syncEntry, error) {
	s, err := r.c.readSyncState(e)
	if err != nil {
		return s, err
	}
	r.s.entry(s.State, string(e.Value("entryCSN")))
	key := s.key.text(r.c.facts.Kind)
	switch {
	case s.State == tap.Delete:
		return s, r.yield(Mention{What: EntryGone, Key: key})
	case s.State == tap.Present:
		return s, r.yield(Mention{What: EntryPresent, Key: key})
	case r.c.facts.Kind != KindOpenLDAP:
		// 389 Directory Server ignores which attributes are asked for: those
		// that are operational, the key and the lock among them, are missing.
		return s, r.yield(Mention{What: EntryTouched, Key: key})
	}
	if r.unfit = cmp.Or(r.unfit, r.c.checkSyncKey(e, s.key)); r.unfit != nil {
		return s, nil
	}
	if s.holder {
		if err := r.yield(Mention{What: Container, Key: key, DN: normalDN(string(e.DN))}); err != nil {
			return s, err
		}
	}
	entry, err := r.m.entry(e)
	switch {
	case err != nil:
		return s, err
	case s.holder && entry.Refuse != nil:
		return s, nil
	}
	// Classes derived from those of containers are found without being named.
	doubtful := s.holder || entry.Refuse != nil && entry.Refuse.Reason == reasonNoID
	return s, r.yield(Mention{What: EntryChanged, Key: key, Entry: entry, Doubtful: doubtful})
}

// info takes a message between entries.
func (r *syncReader) info(m *tap.Intermediate) (info tap.SyncInfo, done bool, err error) {
	info, ok, err := m.SyncInfo()
	if err != nil || !ok {
		return info, false, err
	}
	done = r.s.info(info)
	what := EntryPresent
	if info.Deletes {
		what = EntryGone
	}
	for _, id := range info.UUIDs {
		if err := r.yield(Mention{What: what, Key: rawKey(id).text(r.c.facts.Kind)}); err != nil {
			return info, false, err
		}
	}
	return info, done, nil
}

// refreshChanges reads what has changed since the cookie.
func (c *Client) refreshChanges(ctx context.Context, q Query, yield func(Mention) error) (Outcome, error) {
	s, err := newRefresh(c.facts.Kind, q.Cookie, q.AtLeast)
	if err != nil {
		return Outcome{}, err
	}
	r := &syncReader{c: c, m: c.mapper.clone(), s: s, yield: func(m Mention) error {
		if err := yield(m); err != nil {
			return yieldError{err}
		}
		return nil
	}}
	ended, refreshDeletes := false, false
	err = c.do(ctx, func() error {
		_, err := c.conn.Stream(ctx, c.syncRequest(ldap.SyncRequestModeRefreshOnly, q.Cookie), tap.Handler{
			Entry:        func(e *tap.Entry) error { _, err := r.entry(e); return err },
			Intermediate: func(m *tap.Intermediate) error { _, _, err := r.info(m); return err },
			Done: func(d *tap.Done) error {
				done, ok, err := d.SyncDone()
				if ok {
					ended, refreshDeletes = true, done.Deletes
					s.carried(done.Cookie)
				}
				return err
			}})
		return err
	})
	switch {
	case err != nil:
		return Outcome{}, c.explainSync(err)
	case r.unfit != nil:
		return Outcome{}, r.unfit
	case !ended:
		return Outcome{}, fmt.Errorf("%w: the server answered without content synchronization", ErrUnfit)
	}
	return s.end(refreshDeletes)
}

// explainSync classes what a server says to a cookie.
func (c *Client) explainSync(err error) error {
	var e *ldap.Error
	if !errors.As(err, &e) {
		return err
	}
	switch {
	case e.ResultCode == ldap.LDAPResultSyncRefreshRequired, e.ResultCode == ldap.LDAPResultProtocolError:
		return fmt.Errorf("%w: %w", ErrCookie, err)
	case e.ResultCode == ldap.LDAPResultUnwillingToPerform && strings.Contains(err.Error(), "newer than provider"):
		return directoryError(fmt.Errorf("%s: %s: %w: %w", c.o.Agreement.Name, c.server.addr, ErrBehind, err))
	case unfit(err):
		return fmt.Errorf("%w: %w", ErrUnfit, err)
	}
	return err
}

// Watch is Changes that does not end: once everything since the cookie is
// mentioned, it mentions what changes. It returns when the search has ended,
// which is always an error.
func (c *Client) Watch(ctx context.Context, q Query, w Watcher) error {
	s, err := newRefresh(c.facts.Kind, q.Cookie, q.AtLeast)
	if err != nil {
		return err
	}
	persist := &persisting{syncReader: syncReader{c: c, m: c.mapper.clone(), s: s}, w: w, quiet: make(chan struct{}, 1)}
	persist.yield = persist.mention
	err = c.do(ctx, func() error {
		stream := c.conn.Start(ctx, c.syncRequest(ldap.SyncRequestModeRefreshAndPersist, q.Cookie), tap.Handler{Entry: persist.entry, Intermediate: persist.info})
		ended := make(chan error, 1)
		go func() { _, err := stream.Wait(); ended <- err }()
		for {
			select {
			case <-persist.quiet:
				stream.Quiet(true) // what changes, changes when it does
			case err := <-ended:
				return err
			}
		}
	})
	if err == nil {
		err = errors.New("the server ended the search that was to persist")
	}
	return c.classed("following what changes", c.explainSync(err))
}

// Ping finds out whether the server still answers on this connection.
func (c *Client) Ping(ctx context.Context) error {
	err := c.do(ctx, func() error { _, err := c.readOne("", []string{"1.1"}); return err })
	return c.classed("asking whether the server still answers", err)
}

// persisting is a search that persists.
type persisting struct {
	syncReader
	w         Watcher
	refreshed bool
	quiet     chan struct{}
}

func (p *persisting) mention(m Mention) error { return wrapYield(p.w.Mention(m)) }

func (p *persisting) entry(e *tap.Entry) error {
	s, err := p.syncReader.entry(e)
	if err != nil {
		return err
	}
	if p.unfit != nil {
		return p.unfit
	}
	return p.cookie(s.Cookie)
}

// cookie passes a cookie on, once it stands for something.
func (p *persisting) cookie(cookie []byte) error {
	if !p.refreshed || len(cookie) == 0 {
		return nil
	}
	return p.mention(Mention{What: OnlyCookie, Cookie: append([]byte(nil), cookie...)})
}

func (p *persisting) info(m *tap.Intermediate) error {
	info, done, err := p.syncReader.info(m)
	if err != nil {
		return err
	}
	if p.unfit != nil {
		return p.unfit
	}
	if !done || p.refreshed {
		return p.cookie(info.Cookie)
	}
	o, err := p.s.end(info.Kind == tap.RefreshDelete)
	if err != nil {
		return err
	}
	p.refreshed = true
	p.quiet <- struct{}{}
	return wrapYield(p.w.Refreshed(o))
}
