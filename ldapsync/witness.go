package ldapsync

import (
	"context"
	"fmt"
	"strings"

	"github.com/go-ldap/ldap/v3"
)

// Present looks for the entry of a key on the same connection: at its last DN,
// which is cheap everywhere, then by key below the base, where a renamed one
// is. Paged answers can miss entries that are renamed meanwhile.
func (c *Client) Present(ctx context.Context, key, dn string) (found bool, err error) {
	err = c.do(ctx, func() (err error) {
		if dn != "" && c.contains(dn) {
			if found, err = c.seek(dn, ldap.ScopeBaseObject, c.filter, key); err != nil || found {
				return err
			}
		}
		byKey, err := keyFilter(c.facts.Kind, c.facts.KeyAttribute, key)
		if err != nil {
			return err
		}
		found, err = c.seek(c.o.Agreement.Base, ldap.ScopeWholeSubtree, "(&"+c.filter+byKey+")", key)
		return err
	})
	if ctx.Err() != nil {
		return false, ctx.Err()
	}
	if err != nil {
		return false, directoryError(fmt.Errorf("%s: %s: looking whether %s is really gone: %w", c.o.Agreement.Name, c.server.addr, shorten(dn), err))
	}
	return found, nil
}

// contains tells whether a DN is the base or below it: an entry that the
// directory still has elsewhere is not one of the agreement.
func (c *Client) contains(dn string) bool {
	base, n := normalDN(c.o.Agreement.Base), normalDN(dn)
	return base == "!" || n == base || strings.HasSuffix(n, ","+base)
}

// seek tells whether a search finds the entry of that key.
func (c *Client) seek(base string, scope int, filter, key string) (bool, error) {
	r, err := c.conn.Search(ldap.NewSearchRequest(base, scope, ldap.NeverDerefAliases, 0, 0, false, filter, []string{c.facts.KeyAttribute}, nil))
	if scope == ldap.ScopeBaseObject && (ldap.IsErrorWithCode(err, ldap.LDAPResultNoSuchObject) || ldap.IsErrorWithCode(err, ldap.LDAPResultInvalidDNSyntax)) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	for _, e := range r.Entries {
		text, err := keyText(c.facts.Kind, e.GetEqualFoldRawAttributeValue(c.facts.KeyAttribute))
		if err == nil && text == key {
			return true, nil
		}
	}
	return false, nil
}
