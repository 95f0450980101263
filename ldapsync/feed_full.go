package ldapsync

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/go-ldap/ldap/v3"

	"github.com/dirpin/dirpin/ldapsync/tap"
)

// maxEmptyPages is how many pages without an entry a server may send in a row;
// Active Directory sends some.
const maxEmptyPages = 1000

// Entries yields every entry below the base that the filter finds and that is
// not known.
//
// Three goroutines work at it. The one that reads the connection looks at each
// entry where it lies in the buffer, asks whether it is known, and copies those
// that are not into a spool; the second makes people of them; the third, the
// caller's, yields them. Writing them never delays the next page.
func (c *Client) Entries(ctx context.Context, a Answer) error {
	f := newFullFeed(c, a)
	defer f.close()
	return f.explain(ctx, f.run(ctx))
}

func newFullFeed(c *Client, a Answer) *fullFeed {
	c.facts.Referrals, c.facts.Unpaged, c.facts.Cut = 0, false, false
	return &fullFeed{c: c, a: a, spool: newSpool(true), parts: newSpool(false), doubtful: newSpool(false)}
}

func (f *fullFeed) close() {
	f.spool.close()
	f.parts.close()
	f.doubtful.close()
}

// explain says what an error of the answer means.
func (f *fullFeed) explain(ctx context.Context, err error) error {
	c := f.c
	var e *ldap.Error
	switch {
	case err == nil:
		return nil
	case ctx.Err() != nil:
		return ctx.Err()
	case errors.As(err, new(yieldError)):
		return errors.Unwrap(err)
	case errors.Is(err, ErrDirectory), errors.Is(err, ErrUnfit):
		return err
	case errors.As(err, &e):
		err = c.explainSearch(e, err)
	}
	return directoryError(fmt.Errorf("%s: %s: reading the people below %q (%d entries came): %w", c.o.Agreement.Name, c.server.addr, c.o.Agreement.Base, f.read, err))
}

// yieldError is the receiver's error, not the directory's.
type yieldError struct{ error }

func (e yieldError) Unwrap() error { return e.error }

// fullFeed is one reading of everything.
type fullFeed struct {
	c     *Client
	a     Answer
	spool *spool // messages of entries that are not known
	parts *spool // messages of entries that came in parts

	sync           *refresh // not nil: by content synchronization
	refreshDeletes bool     // as the server ended it
	unfit          error    // the feed knows entries by other ids
	doubtful       *spool   // messages of containers that may be people

	// Of the goroutine that reads.
	read    int
	repeats repeats

	strange int // of the goroutine that looks at entries first
}

func (f *fullFeed) run(ctx context.Context) error {
	m := f.c.mapper.clone()
	reading, cancel := context.WithCancel(ctx)
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		answer := f.answer
		if f.sync != nil {
			answer = f.refreshAll
		}
		err := f.c.do(reading, func() error { return answer(reading) })
		f.parts.finish(nil)
		f.doubtful.finish(nil)
		f.spool.finish(err)
	}()
	people := make(chan []*Entry, ahead)
	var mapErr error
	go func() {
		defer close(people)
		mapErr = f.receive(reading, m, people)
	}()
	err := f.yieldAll(reading, people)
	if err != nil { // the others end, whatever they are at
		f.spool.finish(err)
		cancel()
	}
	for range people {
	}
	if err == nil {
		err = mapErr
	}
	f.spool.finish(err)
	if err != nil {
		cancel()
	}
	<-ended
	cancel()
	if err != nil {
		return err
	}
	if err := f.complete(ctx, m); err != nil {
		return err
	}
	return f.judgeDoubtful(ctx, m)
}

// How many people may have been made before they are yielded: ahead times
// together.
const (
	ahead    = 4
	together = 256
)

// receive makes people of what is in the spool.
func (f *fullFeed) receive(ctx context.Context, m *mapper, people chan<- []*Entry) error {
	e := new(tap.Entry)
	some := make([]*Entry, 0, together)
	send := func() error {
		select {
		case people <- some:
			some = make([]*Entry, 0, together)
			return nil
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	for {
		message, err := f.spool.next()
		if err == errSpent {
			return send()
		}
		if err == nil {
			err = e.Decode(message)
		}
		if err != nil {
			return err
		}
		entry, err := m.entry(e)
		if err != nil {
			return f.fault(err)
		}
		if f.a.Fresh {
			f.warnOfIDs(m, e)
		}
		if some = append(some, entry); len(some) == together {
			if err := send(); err != nil {
				return err
			}
		}
	}
}

func (f *fullFeed) yieldAll(ctx context.Context, people <-chan []*Entry) error {
	for some := range people {
		for i, entry := range some {
			if err := ctx.Err(); err != nil {
				return err
			}
			some[i] = nil // it is the receiver's now, and its memory too
			if err := f.a.Yield(entry); err != nil {
				return yieldError{err}
			}
		}
	}
	return nil
}

// yield makes a person of one entry, behind all others.
func (f *fullFeed) yield(m *mapper, e *tap.Entry) error {
	entry, err := m.entry(e)
	if err != nil {
		return f.fault(err)
	}
	if err := f.a.Yield(entry); err != nil {
		return yieldError{err}
	}
	return nil
}

// fault is an entry that makes the whole answer worthless.
func (f *fullFeed) fault(err error) error {
	return directoryError(fmt.Errorf("%s: %s: %w", f.c.o.Agreement.Name, f.c.server.addr, err))
}

// answer reads the answer, at once or in pages. An answer that is cut is
// dropped as a whole: parts of two are never joined.
func (f *fullFeed) answer(ctx context.Context) error {
	c := f.c
	if f.a.Unpaged && c.facts.Kind != KindAD || !c.paged {
		_, err := f.search(ctx, nil)
		if err == nil {
			c.facts.Unpaged = true
			return nil
		}
		if !c.paged || f.a.Again == nil || !isCode(err, ldap.LDAPResultSizeLimitExceeded, ldap.LDAPResultAdminLimitExceeded, ldap.LDAPResultTimeLimitExceeded) {
			return err
		}
		c.facts.Cut = true
		c.o.Log.Info(fmt.Sprintf("%s: %s cuts an answer that is not paged; reading it in pages", c.o.Agreement.Name, c.server.addr), "error", err)
		f.again()
	}
	page, err := f.pages(ctx)
	if page > 1 && f.a.Again != nil && isCode(err, ldap.LDAPResultUnavailableCriticalExtension, ldap.LDAPResultUnwillingToPerform) {
		c.o.Log.Warn(fmt.Sprintf("%s: %s has lost the answer at page %d; reading it anew", c.o.Agreement.Name, c.server.addr, page), "error", err)
		f.again()
		_, err = f.pages(ctx)
	}
	return err
}

func isCode(err error, codes ...uint16) bool { return ldap.IsErrorAnyOf(err, codes...) }

// again begins the answer anew.
func (f *fullFeed) again() {
	f.spool.drop()
	f.parts.drop()
	f.read, f.c.facts.Referrals, f.repeats = 0, 0, repeats{}
	f.a.Again()
}

// pages reads page by page, and returns the number of the one at which it
// ended.
func (f *fullFeed) pages(ctx context.Context) (page int, err error) {
	paging := ldap.NewControlPaging(uint32(max(1, f.c.o.Agreement.PageSize)))
	for empty := 0; ; {
		page++
		r, err := f.search(ctx, []ldap.Control{paging})
		if err != nil {
			return page, err
		}
		answer, ok := ldap.FindControl(r.Controls, ldap.ControlTypePaging).(*ldap.ControlPaging)
		if !ok {
			return page, errors.New("the server ended a page without saying whether more follow")
		}
		if len(answer.Cookie) == 0 {
			return page, nil
		}
		if empty++; r.Entries > 0 {
			empty = 0
		}
		if empty > maxEmptyPages {
			return page, fmt.Errorf("the server sent %d pages without an entry and always promises more", empty)
		}
		paging.SetCookie(answer.Cookie)
	}
}

// search reads one page, or all. Without an error the server has said that it
// is complete.
func (f *fullFeed) search(ctx context.Context, controls []ldap.Control) (*tap.Result, error) {
	c := f.c
	r, err := c.conn.Stream(ctx, ldap.NewSearchRequest(c.o.Agreement.Base, ldap.ScopeWholeSubtree, ldap.NeverDerefAliases, 0, 0, false,
		c.filter, c.mapper.attributes(c.facts.KeyAttribute), controls), tap.Handler{Entry: f.entry})
	c.facts.Referrals += r.Referrals
	return r, err
}

// entry looks at an entry where it lies.
func (f *fullFeed) entry(e *tap.Entry) error {
	f.read++
	m := f.c.mapper
	l, account, err := m.identify(e)
	if err == nil {
		err = f.repeats.see(l.key)
	}
	if err != nil {
		return f.fault(err)
	}
	if l.parts {
		return f.parts.add(e.Message)
	}
	if !f.a.Fresh {
		m.judge(e, &l, account)
		f.warnOfIDs(m, e)
	}
	if f.a.Known(l.key, l.hash) {
		return nil
	}
	return f.spool.add(e.Message)
}

// warnOfIDs says of the first few people that they have several user ids. The
// mapper has just looked at the entry.
func (f *fullFeed) warnOfIDs(m *mapper, e *tap.Entry) {
	if ids := m.chosen[0]; len(ids) > 1 && f.strange < 10 {
		f.strange++
		f.c.o.Log.Warn(fmt.Sprintf("%s: %s has %d user ids", f.c.o.Agreement.Name, e.DN, len(ids)))
	}
}

// complete reads the rest of the values of those entries that came in parts.
func (f *fullFeed) complete(ctx context.Context, m *mapper) error {
	e := new(tap.Entry)
	for {
		message, err := f.parts.next()
		if err == errSpent {
			return nil
		}
		if err == nil {
			err = e.Decode(message)
		}
		if err == nil {
			err = f.c.do(ctx, func() error { return f.c.completeValues(m, e) })
		}
		if err != nil {
			return err
		}
		l, err := m.look(e)
		if err != nil {
			return f.fault(err)
		}
		if f.a.Known(l.key, l.hash) {
			continue
		}
		if err := f.yield(m, e); err != nil {
			return err
		}
	}
}

// completeValues reads the rest of each attribute of which only a part came,
// as long as that makes sense.
func (c *Client) completeValues(m *mapper, e *tap.Entry) error {
	for i := range e.Attributes {
		a := &e.Attributes[i]
		name, r, ok := a.Range()
		if !ok || m.slots[strings.ToLower(name)] == nil {
			continue
		}
		values := a.Values[:len(a.Values):len(a.Values)]
		for next := 0; r.Last >= 0 && len(values) <= maxValues; {
			if r.First != next {
				return fmt.Errorf("the entry %s: the values of %s from %d on came where those from %d on were asked for", shorten(string(e.DN)), name, r.First, next)
			}
			next = r.Last + 1
			more, err := c.readOne(string(e.DN), []string{r.Next(name)})
			if err != nil {
				return fmt.Errorf("reading the rest of %s of %s: %w", name, shorten(string(e.DN)), err)
			}
			found := false
			for _, b := range more.Attributes {
				n, part, ok := tap.Attribute{Name: []byte(b.Name)}.Range()
				if ok && strings.EqualFold(n, name) {
					values, r, found = append(values, b.ByteValues...), part, true
				}
			}
			if !found {
				return fmt.Errorf("the entry %s: the server does not give the values of %s from %d on", shorten(string(e.DN)), name, next)
			}
		}
		a.Name, a.Values = []byte(name), values
	}
	return nil
}

// explainSearch says what an administrator can do about a refused search.
func (c *Client) explainSearch(e *ldap.Error, err error) error {
	switch e.ResultCode {
	case ldap.LDAPResultSizeLimitExceeded, ldap.LDAPResultAdminLimitExceeded, ldap.LDAPResultTimeLimitExceeded:
		return fmt.Errorf("%w: the server cut its answer: raise the limits of %s there (OpenLDAP: olcLimits, size=unlimited and size.prtotal=unlimited)", err, c.bindName())
	case ldap.LDAPResultNoSuchObject:
		return fmt.Errorf("%w: the base does not exist, or %s may not read it", err, c.bindName())
	case ldap.LDAPResultInsufficientAccessRights:
		return fmt.Errorf("%w: %s may not search there", err, c.bindName())
	case ldap.LDAPResultReferral:
		return fmt.Errorf("%w: the server does not hold that base and names another; name that one in `servers`", err)
	case ldap.LDAPResultBusy, ldap.LDAPResultUnavailable:
		return fmt.Errorf("%w: the server is busy or going down: the next sync will tell", err)
	}
	return err
}
