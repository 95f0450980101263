package ldapsync

import (
	"context"
	"slices"
	"strings"

	"github.com/go-ldap/ldap/v3"

	"github.com/dirpin/dirpin/ldapsync/tap"
)

// lookAtOnce is how many entries one search names.
const lookAtOnce = 100

// Look reads entries by their keys, as people and as containers.
func (c *Client) Look(ctx context.Context, keys []string, yield func(Mention) error) error {
	for part := range slices.Chunk(keys, lookAtOnce) {
		if err := c.lookAt(ctx, part, yield); err != nil {
			return c.classed("looking at what has changed", err)
		}
	}
	return nil
}

func (c *Client) lookAt(ctx context.Context, keys []string, yield func(Mention) error) error {
	var which strings.Builder
	left := make(map[rawKey]bool)
	for _, text := range keys {
		key, err := parseKey(text)
		if err != nil {
			return err
		}
		f, err := keyFilter(c.facts.Kind, c.facts.KeyAttribute, text)
		if err != nil {
			return err
		}
		left[key] = true
		which.WriteString(f)
	}
	m := c.mapper.clone()
	var partial []string // keys of entries that came in parts
	err := c.look(ctx, c.filter, which.String(), m.attributes(c.facts.KeyAttribute), func(e *tap.Entry) error {
		l, err := m.look(e)
		if err != nil {
			return err
		}
		delete(left, l.key)
		if l.parts {
			partial = append(partial, string(e.DN))
			return nil
		}
		entry, err := m.entry(e)
		if err != nil {
			return err
		}
		return wrapYield(yield(Mention{What: EntryChanged, Key: entry.Person.Key, Entry: entry}))
	})
	if err != nil {
		return err
	}
	for _, dn := range partial {
		entry, err := c.readWhole(ctx, m, dn)
		if err != nil {
			return err
		}
		if err := yield(Mention{What: EntryChanged, Key: entry.Person.Key, Entry: entry}); err != nil {
			return wrapYield(err)
		}
	}
	err = c.look(ctx, "(|"+containerFilter+")", which.String(), []string{c.facts.KeyAttribute}, func(e *tap.Entry) error {
		key, err := keyFrom(c.facts.Kind, e.Value(c.facts.KeyAttribute))
		if err != nil {
			return err
		}
		if !left[key] {
			return nil
		}
		delete(left, key)
		return wrapYield(yield(Mention{What: Container, Key: key.text(c.facts.Kind), DN: normalDN(string(e.DN))}))
	})
	if err != nil {
		return err
	}
	for key := range left {
		if err := yield(Mention{What: EntryMissing, Key: key.text(c.facts.Kind)}); err != nil {
			return wrapYield(err)
		}
	}
	return nil
}

func wrapYield(err error) error {
	if err == nil {
		return nil
	}
	return yieldError{err}
}

// look searches for those of some entries that a filter finds.
func (c *Client) look(ctx context.Context, filter, which string, attributes []string, each func(*tap.Entry) error) error {
	return c.do(ctx, func() error {
		_, err := c.conn.Stream(ctx, ldap.NewSearchRequest(c.o.Agreement.Base, ldap.ScopeWholeSubtree, ldap.NeverDerefAliases, 0, 0, false,
			"(&"+filter+"(|"+which+"))", attributes, nil), tap.Handler{Entry: each})
		return err
	})
}

// readWhole reads an entry of which some attribute comes in parts.
func (c *Client) readWhole(ctx context.Context, m *mapper, dn string) (*Entry, error) {
	var entry *Entry
	var message []byte
	err := c.do(ctx, func() error {
		_, err := c.conn.Stream(ctx, ldap.NewSearchRequest(dn, ldap.ScopeBaseObject, ldap.NeverDerefAliases, 0, 0, false, c.filter,
			m.attributes(c.facts.KeyAttribute), nil), tap.Handler{Entry: func(e *tap.Entry) error { message = slices.Clone(e.Message); return nil }})
		if err != nil {
			return err
		}
		e := new(tap.Entry)
		if err := e.Decode(message); err != nil {
			return err
		}
		if err := c.completeValues(m, e); err != nil {
			return err
		}
		entry, err = m.entry(e)
		return err
	})
	return entry, err
}
