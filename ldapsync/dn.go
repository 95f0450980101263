package ldapsync

import (
	"sort"
	"strings"

	"github.com/go-ldap/ldap/v3"

	"github.com/dirpin/dirpin/internal/user"
)

// normalDN returns the form in which DNs compare: types and values folded,
// escapes decoded, spaces where they mean nothing gone, the parts of a
// multi-valued RDN in one order. A text that is no DN has a form of its own,
// which equals no DN's.
func normalDN(dn string) string {
	if plainDN(dn) {
		return strings.ToLower(dn)
	}
	return parsedDN(dn)
}

// plainDN tells whether a DN is one of those that are nearly all there are: to
// them normalizing is writing in lower case. ASCII, nothing escaped or quoted,
// one value an RDN, and spaces only where they mean something.
func plainDN(dn string) bool {
	inType, start := true, 0 // of the type or value at hand
	for i := 0; i < len(dn); i++ {
		c := dn[i]
		switch {
		case inType && c == '=':
			if i == start {
				return false
			}
			inType, start = false, i+1
		case inType:
			if c|0x20 < 'a' || c|0x20 > 'z' {
				return false
			}
		case c == ',':
			if i == start || dn[i-1] == ' ' {
				return false
			}
			inType, start = true, i+1
		case c == ' ':
			if i == start || dn[i-1] == ' ' {
				return false
			}
		case c <= ' ' || c >= 0x7f || strings.IndexByte(`\"+;#<>=`, c) >= 0:
			return false
		}
	}
	return !inType && start < len(dn) && dn[len(dn)-1] != ' '
}

func parsedDN(dn string) string {
	parsed, err := ldap.ParseDN(dn)
	if err != nil || len(parsed.RDNs) == 0 {
		return "!" + user.Fold(dn)
	}
	var b strings.Builder
	for i, rdn := range parsed.RDNs {
		if i > 0 {
			b.WriteByte(',')
		}
		parts := make([]string, len(rdn.Attributes))
		for j, a := range rdn.Attributes {
			parts[j] = strings.ToLower(a.Type) + "=" + escapeValue(user.Fold(a.Value))
		}
		sort.Strings(parts)
		b.WriteString(strings.Join(parts, "+"))
	}
	return b.String()
}

// escapeValue keeps what separates the parts of a DN apart from the same
// characters within a value.
func escapeValue(s string) string {
	if !strings.ContainsAny(s, `,+\`) {
		return s
	}
	return strings.NewReplacer(`\`, `\\`, `,`, `\,`, `+`, `\+`).Replace(s)
}

// rdnValue returns the value that an attribute has in the entry's own RDN.
func rdnValue(dn string, names []string) (string, bool) {
	parsed, err := ldap.ParseDN(dn)
	if err != nil || len(parsed.RDNs) == 0 {
		return "", false
	}
	for _, a := range parsed.RDNs[0].Attributes {
		for _, n := range names {
			if strings.EqualFold(a.Type, n) {
				return a.Value, true
			}
		}
	}
	return "", false
}
