package main

import (
	"context"
	"fmt"
	"strings"

	"github.com/go-ldap/ldap/v3"
	"github.com/zeebo/xxh3"

	"github.com/dirpin/dirpin/ldapsync/tap"
)

// decode reads everyone in pages through the tap, and hashes each entry.
func decode(ctx context.Context, url, bind, password, base string) error {
	c, err := tap.Dial(ctx, "tcp", strings.TrimPrefix(url, "ldap://"), tap.Options{})
	if err != nil {
		return err
	}
	defer c.Close()
	if err := c.Bind(bind, password); err != nil {
		return err
	}
	paging := ldap.NewControlPaging(1000)
	request := ldap.NewSearchRequest(base, ldap.ScopeWholeSubtree, 0, 0, 0, false, filter, attributes, []ldap.Control{paging})
	var entries int
	var sum uint64
	var buf []byte
	for {
		r, err := c.Stream(ctx, request, tap.Handler{Entry: func(e *tap.Entry) error {
			entries++
			buf = append(buf[:0], e.DN...)
			for _, a := range e.Attributes {
				for _, v := range a.Values {
					buf = append(buf, v...)
				}
			}
			sum += xxh3.Hash(buf)
			return nil
		}})
		if err != nil {
			return err
		}
		answer, ok := ldap.FindControl(r.Controls, ldap.ControlTypePaging).(*ldap.ControlPaging)
		if !ok || len(answer.Cookie) == 0 {
			break
		}
		paging.SetCookie(answer.Cookie)
	}
	if entries == 0 || sum == 0 {
		return fmt.Errorf("%d entries", entries)
	}
	return nil
}
