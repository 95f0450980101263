package ldapsync

import (
	"context"
	"errors"
	"fmt"

	"github.com/go-ldap/ldap/v3"
)

// maxEmptyPages is how many pages without an entry a server may send in a row;
// Active Directory sends some.
const maxEmptyPages = 1000

// Entries yields every entry below the base that the filter finds, page by
// page.
func (c *Client) Entries(ctx context.Context, yield func(*Entry) error) error {
	c.facts.Referrals = 0
	read, strange := 0, 0
	raw := new(rawEntry)
	each := func(e *ldap.Entry) error {
		read++
		entry, err := c.mapper.entry(raw.of(e))
		if err != nil {
			return directoryError(fmt.Errorf("%s: %s: %w", c.o.Agreement.Name, c.server.addr, err))
		}
		if ids := entry.Choices["user_id"]; len(ids) > 1 && strange < 10 {
			strange++
			c.o.Log.Warn(fmt.Sprintf("%s: %s has %d user ids; %s is taken", c.o.Agreement.Name, entry.Person.DN, len(ids), entry.Person.UserID))
		}
		return yield(entry)
	}
	err := c.pages(ctx, each)
	var e *ldap.Error
	switch {
	case err == nil:
		return nil
	case ctx.Err() != nil:
		return ctx.Err()
	case errors.As(err, &e) && !errors.Is(err, ErrDirectory):
		return directoryError(fmt.Errorf("%s: %s: reading the people below %q (%d entries came): %w", c.o.Agreement.Name, c.server.addr, c.o.Agreement.Base, read, c.explainSearch(e, err)))
	case errors.As(err, new(yieldError)):
		return errors.Unwrap(err)
	}
	return directoryError(fmt.Errorf("%s: %s: reading the people below %q (%d entries came): %w", c.o.Agreement.Name, c.server.addr, c.o.Agreement.Base, read, err))
}

// yieldError is the receiver's error, not the directory's.
type yieldError struct{ error }

func (e yieldError) Unwrap() error { return e.error }

func (c *Client) pages(ctx context.Context, each func(*ldap.Entry) error) error {
	var paging *ldap.ControlPaging
	var controls []ldap.Control
	if c.paged {
		paging = ldap.NewControlPaging(uint32(max(1, c.o.Agreement.PageSize)))
		controls = []ldap.Control{paging}
	}
	request := ldap.NewSearchRequest(c.o.Agreement.Base, ldap.ScopeWholeSubtree, ldap.NeverDerefAliases, 0, 0, false,
		c.filter, c.mapper.attributes(c.facts.KeyAttribute), controls)
	for empty := 0; ; {
		var n int
		var answer *ldap.ControlPaging
		err := c.do(ctx, func() (err error) {
			n, answer, err = c.page(ctx, request, each)
			return err
		})
		if err != nil || !c.paged {
			return err
		}
		if answer == nil {
			return errors.New("the server ended a page without saying whether more follow")
		}
		if len(answer.Cookie) == 0 {
			return nil
		}
		if empty++; n > 0 {
			empty = 0
		}
		if empty > maxEmptyPages {
			return fmt.Errorf("the server sent %d pages without an entry and always promises more", empty)
		}
		paging.SetCookie(answer.Cookie)
	}
}

// page reads one page as it comes. Without an error the server has said that
// the page is complete.
func (c *Client) page(ctx context.Context, request *ldap.SearchRequest, each func(*ldap.Entry) error) (n int, answer *ldap.ControlPaging, err error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel() // or an answer of which we want no more would block the connection
	r := c.conn.SearchAsync(ctx, request, 64)
	for r.Next() {
		if e := r.Entry(); e != nil {
			n++
			c.idle.owe(false) // while we keep the server waiting, not it us
			err := each(e)
			c.idle.owe(true)
			if err != nil {
				return n, nil, yieldError{err}
			}
		}
		if r.Referral() != "" {
			c.facts.Referrals++
		}
		if p, ok := ldap.FindControl(r.Controls(), ldap.ControlTypePaging).(*ldap.ControlPaging); ok {
			answer = p
		}
	}
	if err := r.Err(); err != nil {
		return n, nil, err
	}
	// The library ends a search quietly too when the connection is gone, or
	// when it stumbled over the answer.
	if c.conn.IsClosing() || ctx.Err() != nil {
		return n, nil, errors.New("the connection ended in the middle of the answer")
	}
	if err := c.conn.GetLastError(); err != nil {
		return n, nil, err
	}
	return n, answer, nil
}

// of takes over an entry that go-ldap has decoded.
func (r *rawEntry) of(e *ldap.Entry) *rawEntry {
	r.dn = append(r.dn[:0], e.DN...)
	r.attrs = r.attrs[:0]
	for _, a := range e.Attributes {
		r.attrs = append(r.attrs, rawAttr{name: []byte(a.Name), values: a.ByteValues})
	}
	return r
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
	}
	return err
}
