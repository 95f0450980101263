package ldapsync

import (
	"context"
	"fmt"
	"strings"

	"github.com/go-ldap/ldap/v3"

	"github.com/dirpin/dirpin/internal/roster"
	"github.com/dirpin/dirpin/ldapsync/tap"
)

// Changes reads what has changed.
func (c *Client) Changes(ctx context.Context, q Query, yield func(Mention) error) (o Outcome, err error) {
	if q.Feed.Name == FeedSyncrepl {
		o, err = c.refreshChanges(ctx, q, yield)
	} else {
		o, err = c.adChanges(ctx, q, yield)
	}
	return o, c.classed("reading what has changed", err)
}

// Sees finds out whether the account still sees what it did: the base, and
// some of those who are known, with key and user id.
func (c *Client) Sees(ctx context.Context, people []roster.Person) (less string, err error) {
	seen, hidden := 0, 0
	err = c.do(ctx, func() error {
		if _, err := c.readOne(c.o.Agreement.Base, []string{"1.1"}); err != nil {
			return fmt.Errorf("reading the base: %w", err)
		}
		for _, p := range people {
			there, whole, err := c.sees(p)
			if err != nil {
				return err
			}
			if whole {
				seen++
			} else if there {
				hidden++
			}
		}
		return nil
	})
	if err != nil {
		return "", c.classed("looking whether the account sees what it did", err)
	}
	if len(people) == 0 || seen > 0 {
		return "", nil
	}
	what := "none of them"
	if hidden > 0 {
		what = "none of them with a user id"
	}
	return fmt.Sprintf("%s sees less than before: of %d users that were there, looked for at random, it sees %s", c.bindName(), len(people), what), nil
}

// sees looks for one person.
func (c *Client) sees(p roster.Person) (there, whole bool, err error) {
	search := func(base string, scope int, filter string) error {
		r, err := c.conn.Search(ldap.NewSearchRequest(base, scope, ldap.NeverDerefAliases, 0, 0, false, filter, c.mapper.attributes(c.facts.KeyAttribute), nil))
		if isCode(err, ldap.LDAPResultNoSuchObject, ldap.LDAPResultInvalidDNSyntax) {
			return nil
		}
		if err != nil {
			return err
		}
		for _, e := range r.Entries {
			key, err := keyText(c.facts.Kind, e.GetEqualFoldRawAttributeValue(c.facts.KeyAttribute))
			if err != nil || key != p.Key {
				continue
			}
			there = true
			for _, s := range c.mapper.rules[0].sources {
				for _, n := range s.names {
					whole = whole || e.GetEqualFoldAttributeValue(n) != ""
				}
			}
		}
		return nil
	}
	if c.contains(p.DN) {
		if err := search(p.DN, ldap.ScopeBaseObject, c.filter); err != nil || there {
			return there, whole, err
		}
	}
	byKey, err := keyFilter(c.facts.Kind, c.facts.KeyAttribute, p.Key)
	if err != nil {
		return false, false, err
	}
	err = search(c.o.Agreement.Base, ldap.ScopeWholeSubtree, "(&"+c.filter+byKey+")")
	return there, whole, err
}

// Containers yields the entries below which people are.
func (c *Client) Containers(ctx context.Context, yield func(roster.Container) error) error {
	read := func(controls []ldap.Control) (*tap.Result, error) {
		var r *tap.Result
		err := c.do(ctx, func() (err error) {
			r, err = c.conn.Stream(ctx, ldap.NewSearchRequest(c.o.Agreement.Base, ldap.ScopeWholeSubtree, ldap.NeverDerefAliases, 0, 0, false,
				"(|"+containerFilter+")", []string{c.facts.KeyAttribute}, controls), tap.Handler{Entry: func(e *tap.Entry) error {
				key, err := keyFrom(c.facts.Kind, e.Value(c.facts.KeyAttribute))
				if err != nil {
					return fmt.Errorf("the container %s: %w", shorten(strings.ToValidUTF8(string(e.DN), "?")), err)
				}
				return wrapYield(yield(roster.Container{Key: key.text(c.facts.Kind), DNNorm: normalDN(string(e.DN))}))
			}})
			return err
		})
		return r, err
	}
	if !c.paged {
		_, err := read(nil)
		return c.classed("reading the containers", err)
	}
	paging := ldap.NewControlPaging(uint32(max(1, c.o.Agreement.PageSize)))
	for {
		r, err := read([]ldap.Control{paging})
		if err != nil {
			return c.classed("reading the containers", err)
		}
		answer, ok := ldap.FindControl(r.Controls, ldap.ControlTypePaging).(*ldap.ControlPaging)
		if !ok || len(answer.Cookie) == 0 {
			return nil
		}
		paging.SetCookie(answer.Cookie)
	}
}
