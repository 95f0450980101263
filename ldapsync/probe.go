package ldapsync

import (
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/go-ldap/ldap/v3"
	"github.com/zeebo/xxh3"
)

// Object identifiers that servers announce.
const (
	oidActiveDirectory = "1.2.840.113556.1.4.800"
	oidPagedResults    = ldap.ControlTypePaging
)

// probe learns what the server is, and whether its base can be read.
func (c *Client) probe() error {
	root, err := c.readOne("", []string{"objectClass", "namingContexts", "defaultNamingContext", "supportedControl",
		"supportedCapabilities", "vendorName", "vendorVersion", "subschemaSubentry", "dsServiceName"})
	if err != nil {
		return fmt.Errorf("reading what the server is (its root DSE): %w", err)
	}
	a := c.o.Agreement
	kind := kindOf(root)
	c.facts = Facts{Kind: kind, Server: c.server.addr, KeyAttribute: keyAttribute(kind)}
	if state, ok := c.conn.Tap.TLS(); ok && len(state.PeerCertificates) > 0 {
		c.facts.NotAfter = state.PeerCertificates[0].NotAfter
	}
	c.filter = or(a.Filter, defaultFilter(kind))
	if _, err := ldap.CompileFilter(c.filter); err != nil {
		return configError(fmt.Errorf("the filter %s is no LDAP filter: %w", c.filter, err))
	}
	c.paged = slices.Contains(root.GetEqualFoldAttributeValues("supportedControl"), oidPagedResults)
	if c.facts.Identity, err = c.identity(root); err != nil {
		return err
	}
	schema := c.readSchema(root.GetEqualFoldAttributeValue("subschemaSubentry"))
	attributes := withDefaults(a.Attributes, kind)
	c.unknown = schema.unknown(a.Attributes)
	for _, unknown := range c.unknown {
		c.o.Log.Warn(fmt.Sprintf("%s: attributes: the directory knows no attribute %s", a.Name, unknown))
	}
	c.mapper = newMapper(kind, c.facts.KeyAttribute, attributes, schema, c.o.Seed, a.Name)
	if c.o.Now != nil {
		c.mapper.now = c.o.Now
	}
	c.facts.MapFP = c.mapper.fingerprint()
	bindAs := a.Bind.DN
	if a.Bind.External {
		bindAs = "external " + a.CertFile
	}
	if err := c.probeFeeds(root); err != nil {
		return err
	}
	c.facts.ScopeFP = fingerprint(kind, normalDN(a.Base), "sub", c.filter, bindAs, c.facts.KeyAttribute)
	return nil
}

// probeFeeds finds the ways to learn what has changed that the server offers.
func (c *Client) probeFeeds(root *ldap.Entry) error {
	controls := root.GetEqualFoldAttributeValues("supportedControl")
	offers := func(oid string) bool { return slices.Contains(controls, oid) }
	f := &c.facts
	switch {
	case f.Kind == KindAD:
		if offers(ldap.ControlTypeDirSync) && c.context != "" {
			f.Feeds = append(f.Feeds, Feed{Name: FeedDirSync})
		}
		// The numbers are those of this domain controller's database: another
		// one, or the same one restored, counts otherwise.
		service := root.GetEqualFoldAttributeValue("dsServiceName")
		if service == "" || c.context == "" {
			return nil
		}
		settings, err := c.readOne(service, []string{"invocationId"})
		if isNetwork(err) {
			return err
		}
		if err == nil && len(settings.GetEqualFoldRawAttributeValue("invocationId")) == 16 {
			f.Feeds = append(f.Feeds, Feed{Name: FeedUSN, Provider: normalDN(service) + " " + hex.EncodeToString(settings.GetEqualFoldRawAttributeValue("invocationId"))})
		}
	case !offers(oidSyncRequest):
	case f.Kind == Kind389:
		f.Feeds = append(f.Feeds, Feed{Name: FeedSyncrepl, Provider: f.Server})
	case f.Kind == KindOpenLDAP && c.context != "":
		return c.probeSyncprov()
	case c.o.Agreement.Method == FeedSyncrepl:
		f.Feeds = append(f.Feeds, Feed{Name: FeedSyncrepl, Provider: f.Server})
	}
	return nil
}

// probeSyncprov tries content synchronization: the control is announced for the
// whole server, the overlay belongs to a database.
func (c *Client) probeSyncprov() error {
	top, err := c.readOne(c.context, []string{"contextCSN"})
	if isNetwork(err) {
		return err
	}
	var context []string
	if err == nil {
		context = top.GetEqualFoldAttributeValues("contextCSN")
	}
	_, err = c.conn.Search(ldap.NewSearchRequest(c.o.Agreement.Base, ldap.ScopeBaseObject, ldap.NeverDerefAliases, 0, 0, false, "(!(objectClass=*))", []string{"1.1"},
		[]ldap.Control{ldap.NewControlSyncRequest(ldap.SyncRequestModeRefreshOnly, nil, false)}))
	if isNetwork(err) {
		return err
	}
	if err == nil { // without the overlay nobody keeps contextCSN up to date
		c.facts.Feeds, c.facts.Context = append(c.facts.Feeds, Feed{Name: FeedSyncrepl}), context
	}
	return nil
}

// isNetwork tells whether an error is not the server's answer.
func isNetwork(err error) bool {
	var e *ldap.Error
	return err != nil && (!errors.As(err, &e) || e.ResultCode == ldap.ErrorNetwork)
}

func kindOf(root *ldap.Entry) string {
	vendor := root.GetEqualFoldAttributeValue("vendorName") + " " + root.GetEqualFoldAttributeValue("vendorVersion")
	switch {
	case slices.Contains(root.GetEqualFoldAttributeValues("supportedCapabilities"), oidActiveDirectory):
		return KindAD
	case strings.Contains(vendor, "389"):
		return Kind389
	case slices.Contains(root.GetEqualFoldAttributeValues("objectClass"), "OpenLDAProotDSE"):
		return KindOpenLDAP
	}
	return KindOther
}

// holds names what a server says it has: whoever mistyped a base sees it then.
func holds(root *ldap.Entry) string {
	contexts := root.GetEqualFoldAttributeValues("defaultNamingContext")
	if len(contexts) == 0 {
		contexts = root.GetEqualFoldAttributeValues("namingContexts")
	}
	if len(contexts) == 0 {
		return ""
	}
	return "; the server holds " + strings.Join(contexts, " and ")
}

// identity names the directory by the naming context that holds the base, and
// by the key of its entry where that can be read. It also proves that the base
// is there: a base that is missing or hidden is an error, never an empty
// answer.
func (c *Client) identity(root *ldap.Entry) (string, error) {
	base := c.o.Agreement.Base
	if _, err := c.readOne(base, []string{"1.1"}); err != nil {
		if ldap.IsErrorWithCode(err, ldap.LDAPResultNoSuchObject) {
			return "", refused{fmt.Errorf("the base %q does not exist, or %s may not read it%s (%w)", base, c.bindName(), holds(root), err)}
		}
		return "", refusal(fmt.Errorf("reading the base %q: %w", base, err))
	}
	context, normalBase := "", normalDN(base)
	for _, nc := range root.GetEqualFoldAttributeValues("namingContexts") {
		n := normalDN(nc)
		if (normalBase == n || strings.HasSuffix(normalBase, ","+n)) && len(nc) > len(context) {
			context = nc
		}
	}
	if context == "" {
		return "", nil
	}
	c.context = context
	entry, err := c.readOne(context, []string{c.facts.KeyAttribute})
	if err != nil {
		var e *ldap.Error
		if errors.As(err, &e) && e.ResultCode != ldap.ErrorNetwork {
			return normalDN(context), nil // it may be hidden from this account
		}
		return "", fmt.Errorf("reading %q: %w", context, err)
	}
	key, err := keyText(c.facts.Kind, entry.GetEqualFoldRawAttributeValue(c.facts.KeyAttribute))
	if err != nil {
		return normalDN(context), nil
	}
	return normalDN(context) + " " + key, nil
}

func (c *Client) bindName() string {
	switch {
	case c.o.Agreement.Bind.External:
		return "the client certificate's account"
	case c.o.Agreement.Bind.DN == "":
		return "an anonymous client"
	}
	return c.o.Agreement.Bind.DN
}

// readOne reads the entry of a DN.
func (c *Client) readOne(dn string, attributes []string) (*ldap.Entry, error) {
	r, err := c.conn.Search(ldap.NewSearchRequest(dn, ldap.ScopeBaseObject, ldap.NeverDerefAliases, 0, 0, false, "(objectClass=*)", attributes, nil))
	if err != nil {
		return nil, err
	}
	if len(r.Entries) != 1 {
		return nil, ldap.NewError(ldap.LDAPResultNoSuchObject, errors.New("the server shows no such entry"))
	}
	return r.Entries[0], nil
}

// fingerprint tells texts apart, wherever one ends and the next begins.
func fingerprint(texts ...string) string {
	var b []byte
	for _, t := range texts {
		b = appendField(b, t)
	}
	sum := xxh3.Hash128(b).Bytes()
	return hex.EncodeToString(sum[:])
}
