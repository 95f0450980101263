package ldapsync

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	ber "github.com/go-asn1-ber/asn1-ber"
	"github.com/go-ldap/ldap/v3"

	"github.com/dirpin/dirpin/ldapsync/tap"
)

// Active Directory's feeds say only which entries have changed; a plain search
// on the same connection says what they are now. What DirSync sends of an entry
// are the attributes that changed, of which alone nothing can be decided, and
// who leaves the filter would never be seen by a search with it.

const (
	// dirSyncBytes is how much an answer of DirSync may hold, roughly.
	dirSyncBytes = 1 << 20
	// maxDirSyncAnswers bounds a server that always promises more.
	maxDirSyncAnswers = 100_000
)

// everyoneFilter finds all accounts, deleted ones too, and containers.
const everyoneFilter = "(|(objectClass=user)" + containerFilter + ")"

// dirSyncControl is ldap.ControlDirSync with its criticality.
func dirSyncControl(flags int64, cookie []byte) ldap.Control {
	return ldap.NewRequestControlDirSync(flags, dirSyncBytes, cookie)
}

// dirSync asks DirSync until it promises no more, and returns where it goes on.
// Each is told of the objectGUID of everything that changed.
func (c *Client) dirSync(ctx context.Context, cookie []byte, attributes []string, each func(guid []byte) error) ([]byte, error) {
	begun := cookie
	for n := 0; n < maxDirSyncAnswers; n++ {
		var answer *ldap.ControlDirSync
		var r *tap.Result
		err := c.do(ctx, func() (err error) {
			r, err = c.conn.Stream(ctx, ldap.NewSearchRequest(c.context, ldap.ScopeWholeSubtree, ldap.NeverDerefAliases, 0, 0, false,
				everyoneFilter, attributes, []ldap.Control{dirSyncControl(c.dirSyncFlags, cookie)}), guidHandler(each))
			return err
		})
		switch {
		case err == nil:
		case n == 0 && c.dirSyncFlags == 0 && isCode(err, ldap.LDAPResultInsufficientAccessRights, ldap.LDAPResultUnwillingToPerform):
			// Without the right to replicate what the account may read has to do.
			c.dirSyncFlags = ldap.DirSyncObjectSecurity
			continue
		case len(begun) > 0 && isCode(err, ldap.LDAPResultUnavailableCriticalExtension, ldap.LDAPResultProtocolError):
			return nil, fmt.Errorf("%w: %w", ErrCookie, err)
		case n <= 1 && len(begun) == 0 && unfit(err):
			return nil, fmt.Errorf("%w: %w", ErrUnfit, err)
		default:
			return nil, err
		}
		for _, control := range r.Controls {
			if d, ok := control.(*ldap.ControlDirSync); ok {
				answer = d
			}
		}
		if answer == nil || len(answer.Cookie) == 0 {
			return nil, errors.New("the server ended an answer of DirSync without saying where to go on")
		}
		if answer.Flags == 0 {
			return answer.Cookie, nil
		}
		if string(answer.Cookie) == string(cookie) && r.Entries == 0 {
			return nil, errors.New("the server promises more by DirSync and sends none")
		}
		cookie = answer.Cookie
	}
	return nil, errors.New("the server always promises more by DirSync")
}

// guidHandler calls each with the key of each entry.
func guidHandler(each func(guid []byte) error) tap.Handler {
	return tap.Handler{Entry: func(e *tap.Entry) error {
		guid := e.Value("objectGUID")
		if len(guid) != 16 {
			return fmt.Errorf("%w: an entry with an objectGUID of %d bytes", tap.ErrProtocol, len(guid))
		}
		return each(guid)
	}}
}

// Mark returns where a feed goes on.
func (c *Client) Mark(ctx context.Context, f Feed) (cookie []byte, err error) {
	switch f.Name {
	case FeedDirSync:
		cookie, err = c.dirSync(ctx, nil, []string{"objectGUID"}, func([]byte) error { return nil })
	case FeedUSN:
		err = c.do(ctx, func() (err error) { cookie, err = c.highestUSN(); return err })
	case FeedSyncrepl:
		if len(c.facts.Context) > 0 {
			if seen, err := readCSNs(c.facts.Context); err == nil {
				return openldapCookie{rid: "000", csns: seen}.bytes(), nil
			}
		}
		return nil, nil
	}
	return cookie, c.classed("asking where "+f.Name+" goes on", err)
}

// classed makes an error of the directory's.
func (c *Client) classed(doing string, err error) error {
	var y yieldError
	switch {
	case err == nil:
		return nil
	case errors.As(err, &y):
		return y.error
	case errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded), errors.Is(err, ErrDirectory), errors.Is(err, ErrCookie), errors.Is(err, ErrUnfit):
		return err
	}
	return directoryError(fmt.Errorf("%s: %s: %s: %w", c.o.Agreement.Name, c.server.addr, doing, err))
}

// highestUSN returns the number of the last change on this domain controller.
func (c *Client) highestUSN() ([]byte, error) {
	root, err := c.readOne("", []string{"highestCommittedUSN"})
	if err != nil {
		return nil, err
	}
	value := root.GetEqualFoldAttributeValue("highestCommittedUSN")
	if _, err := strconv.ParseUint(value, 10, 64); err != nil {
		return nil, fmt.Errorf("highestCommittedUSN is %q", shorten(value))
	}
	return []byte(value), nil
}

// usnChanges finds what changed on this domain controller since a number.
func (c *Client) usnChanges(ctx context.Context, since []byte, each func(guid []byte) error) (next []byte, err error) {
	n, err := strconv.ParseUint(string(since), 10, 64)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrCookie, err)
	}
	// Read before the search: what changes meanwhile comes twice.
	if err := c.do(ctx, func() (err error) { next, err = c.highestUSN(); return err }); err != nil {
		return nil, err
	}
	if last, _ := strconv.ParseUint(string(next), 10, 64); last < n {
		return nil, fmt.Errorf("%w: its highestCommittedUSN is %d, and was %d", ErrCookie, last, n)
	}
	paging := ldap.NewControlPaging(uint32(min(max(1, c.o.Agreement.PageSize), 1000)))
	deleted := ldap.NewControlMicrosoftShowDeleted()
	var again repeats
	seen := func(guid []byte) error {
		if err := again.see(rawKey(guid)); err != nil {
			return err
		}
		return each(guid)
	}
	for empty := 0; ; {
		var r *tap.Result
		err := c.do(ctx, func() (err error) {
			r, err = c.conn.Stream(ctx, ldap.NewSearchRequest(c.context, ldap.ScopeWholeSubtree, ldap.NeverDerefAliases, 0, 0, false,
				fmt.Sprintf("(&(uSNChanged>=%d)%s)", n, everyoneFilter), []string{"objectGUID"}, []ldap.Control{paging, deleted}), guidHandler(seen))
			return err
		})
		if err != nil {
			return nil, err
		}
		answer, ok := ldap.FindControl(r.Controls, ldap.ControlTypePaging).(*ldap.ControlPaging)
		if !ok {
			return nil, errors.New("the server ended a page without saying whether more follow")
		}
		if len(answer.Cookie) == 0 {
			return next, nil
		}
		if empty++; r.Entries > 0 {
			empty = 0
		}
		if empty > maxEmptyPages {
			return nil, fmt.Errorf("the server sent %d pages without an entry and always promises more", empty)
		}
		paging.SetCookie(answer.Cookie)
	}
}

// adChanges asks which entries changed.
func (c *Client) adChanges(ctx context.Context, q Query, yield func(Mention) error) (o Outcome, err error) {
	guids := make(map[[16]byte]bool)
	each := func(guid []byte) error { guids[[16]byte(guid)] = true; return nil }
	if q.Feed.Name == FeedUSN {
		o.Cookie, err = c.usnChanges(ctx, q.Cookie, each)
	} else {
		o.Cookie, err = c.dirSync(ctx, q.Cookie, c.watched(), each)
	}
	if err != nil {
		return o, err
	}
	if len(guids) > 100 {
		few, err := q.AtLeast(5 * len(guids))
		if err != nil {
			return o, wrapYield(err)
		}
		if !few {
			o.Distrust = fmt.Sprintf("%d entries have changed, which is more than a fifth", len(guids))
			return o, nil
		}
	}
	for g := range guids {
		if err := yield(Mention{What: EntryTouched, Key: swapped(rawKey(g)).text(KindAD)}); err != nil {
			return o, wrapYield(err)
		}
	}
	return o, nil
}

// watched are the attributes whose change DirSync is to report: those that are
// mapped, those that the filter asks for, and what a rename or a deletion
// changes.
func (c *Client) watched() []string {
	names := c.mapper.attributes(c.facts.KeyAttribute)
	for _, n := range append(filterAttributes(c.filter), "objectClass", "name", "isDeleted") {
		if !slices.ContainsFunc(names, func(have string) bool { return strings.EqualFold(have, n) }) {
			names = append(names, n)
		}
	}
	return names
}

// filterAttributes returns the attributes that a filter asks for.
func filterAttributes(filter string) []string {
	p, err := ldap.CompileFilter(filter)
	if err != nil {
		return nil
	}
	var names []string
	var walk func(*ber.Packet)
	walk = func(p *ber.Packet) {
		switch p.Tag {
		case ldap.FilterAnd, ldap.FilterOr, ldap.FilterNot:
			for _, child := range p.Children {
				walk(child)
			}
		case ldap.FilterPresent:
			names = append(names, p.Data.String())
		case ldap.FilterExtensibleMatch:
			for _, child := range p.Children {
				if child.Tag == ldap.MatchingRuleAssertionType {
					names = append(names, child.Data.String())
				}
			}
		default:
			if len(p.Children) > 0 {
				names = append(names, p.Children[0].Data.String())
			}
		}
	}
	walk(p)
	return names
}
