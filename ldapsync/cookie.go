package ldapsync

import (
	"errors"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/zeebo/xxh3"

	"github.com/dirpin/dirpin/internal/roster"
)

// checksum is what a mark must have, whatever the agreement is called: a mark
// that was damaged, or is another feed's, is worse than none.
func checksum(m roster.Mark) uint64 {
	var b []byte
	for _, s := range []string{"1", m.Feed, m.Provider, string(m.Cookie), m.ScopeFP, m.MapFP} {
		b = appendField(b, s)
	}
	return max(1, xxh3.Hash(b))
}

// csns are change sequence numbers of OpenLDAP, one for each server that
// changes are made on, by that server's number (its sid).
type csns map[string]string

var errNoCSN = errors.New("no change sequence number")

// sidOf returns the server number of a change sequence number:
// 20261124120000.000000Z#000000#001#000000.
func sidOf(csn string) (string, error) {
	parts := strings.Split(csn, "#")
	if len(parts) != 4 || len(parts[2]) != 3 || len(parts[0]) < len("20060102150405Z") || !strings.HasSuffix(parts[0], "Z") {
		return "", errNoCSN
	}
	if _, err := time.Parse("20060102150405", parts[0][:14]); err != nil {
		return "", errNoCSN
	}
	for _, p := range parts[1:] {
		if _, err := strconv.ParseUint(p, 16, 32); err != nil {
			return "", errNoCSN
		}
	}
	return parts[2], nil
}

// readCSNs reads a list of change sequence numbers; of several with one sid it
// keeps the newest. They compare as texts.
func readCSNs(list []string) (csns, error) {
	c := make(csns)
	for _, s := range list {
		sid, err := sidOf(s)
		if err != nil {
			return nil, err
		}
		c[sid] = max(c[sid], s)
	}
	return c, nil
}

// covers tells whether whoever has seen c has seen a change with that number.
func (c csns) covers(csn string) bool {
	sid, err := sidOf(csn)
	return err == nil && c[sid] >= csn
}

// older tells whether c lacks something that then had: of some sid, nothing
// or an older number.
func (c csns) older(then csns) bool {
	for sid, csn := range then {
		if c[sid] < csn {
			return true
		}
	}
	return false
}

func (c csns) list() []string { return slices.Sorted(maps.Values(c)) }

// openldapCookie is a cookie of OpenLDAP's syncprov:
// rid=001,sid=002,csn=<number>;<number>,delcsn=….
type openldapCookie struct {
	rid  string
	csns csns
}

// readOpenLDAPCookie reads a cookie. What it does not know it leaves out: only
// rid and csn mean something to a provider.
func readOpenLDAPCookie(b []byte) (openldapCookie, error) {
	c := openldapCookie{rid: "000"}
	for _, part := range strings.Split(string(b), ",") {
		name, value, _ := strings.Cut(part, "=")
		switch name {
		case "rid":
			c.rid = value
		case "csn":
			var err error
			if c.csns, err = readCSNs(strings.Split(value, ";")); err != nil {
				return c, err
			}
		}
	}
	if len(c.csns) == 0 {
		return c, errNoCSN
	}
	return c, nil
}

// mergeOpenLDAP returns the cookie of whoever has seen what both stand for. A
// message of a search that persists may name one server only; a cookie without
// the others would lose them.
func mergeOpenLDAP(old, next []byte) ([]byte, error) {
	n, err := readOpenLDAPCookie(next)
	if err != nil {
		return nil, err
	}
	if o, err := readOpenLDAPCookie(old); err == nil {
		for sid, csn := range o.csns {
			n.csns[sid] = max(n.csns[sid], csn)
		}
	}
	return n.bytes(), nil
}

func (c openldapCookie) bytes() []byte {
	return []byte("rid=" + c.rid + ",csn=" + strings.Join(c.csns.list(), ";"))
}
