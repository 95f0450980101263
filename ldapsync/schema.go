package ldapsync

import (
	"slices"
	"strings"

	"github.com/dirpin/dirpin/config"
)

// schema knows by what other names an attribute goes: a server asked for gn
// answers givenName. The zero schema knows nothing, and every name is itself.
type schema struct{ types map[string][]string } // lower-case name or OID → all names of the type

// readSchema reads the server's attribute types. Where they cannot be read,
// configured names are taken literally.
func (c *Client) readSchema(dn string) schema {
	if dn == "" {
		return schema{}
	}
	e, err := c.readOne(dn, []string{"attributeTypes"})
	if err != nil {
		return schema{}
	}
	s := schema{types: make(map[string][]string)}
	for _, definition := range e.GetEqualFoldAttributeValues("attributeTypes") {
		names := typeNames(definition)
		for _, n := range names {
			s.types[n] = names
		}
	}
	return s
}

// typeNames returns the OID and the names of an attribute type definition
// (RFC 4512), in lower case: ( 2.5.4.42 NAME ( 'givenName' 'gn' ) SUP name ).
func typeNames(definition string) []string {
	fields := strings.Fields(strings.NewReplacer("(", " ( ", ")", " ) ").Replace(definition))
	if len(fields) < 2 || fields[0] != "(" {
		return nil
	}
	names := []string{strings.ToLower(fields[1])}
	for i, f := range fields {
		if f != "NAME" {
			continue
		}
		for _, quoted := range fields[i+1:] {
			if quoted == "(" {
				continue
			}
			if len(quoted) < 3 || quoted[0] != '\'' || quoted[len(quoted)-1] != '\'' {
				break
			}
			names = append(names, strings.ToLower(strings.Trim(quoted, "'")))
			if fields[i+1] != "(" {
				break
			}
		}
		break
	}
	return names
}

// names returns all names of an attribute, in lower case, with the options
// that the configured one has.
func (s schema) names(configured string) []string {
	configured = strings.ToLower(configured)
	name, options, tagged := strings.Cut(configured, ";")
	all := []string{configured}
	for _, n := range s.types[name] {
		if tagged {
			n += ";" + options
		}
		if !slices.Contains(all, n) {
			all = append(all, n)
		}
	}
	return all
}

// unknown returns the configured attributes that the directory does not have.
func (s schema) unknown(a config.Attributes) []string {
	if len(s.types) == 0 {
		return nil
	}
	var unknown []string
	for _, list := range [][]string{a.UserID, a.FirstName, a.MiddleName, a.LastName, a.Manager, a.Department, a.Mail, a.Telephone, a.Language} {
		for _, n := range list {
			name, _, _ := strings.Cut(strings.ToLower(n), ";")
			if s.types[name] == nil && !slices.Contains(unknown, n) {
				unknown = append(unknown, n)
			}
		}
	}
	return unknown
}
