package ldapsync

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"unicode/utf16"

	"github.com/go-ldap/ldap/v3"

	"github.com/dirpin/dirpin/config"
	"github.com/dirpin/dirpin/internal/secret"
)

// PasswordOptions say in whose directory passwords are written, and where.
type PasswordOptions struct {
	Agreement config.Agreement // with its WriteBack
	Password  secret.Value     // of the account of WriteBack
	First     string           // server (Passwords.Server) that is asked before the others; "" for none
	Not       []string         // servers that are not asked: they cannot write
	Log       *slog.Logger     // slog.Default when nil
}

// Passwords writes passwords to one server of an agreement, over TLS, as the
// account of its write_back. It serves one goroutine.
//
// Whoever must survive a crash keeps the key of the entry, the server and the
// password before Set is called. When the answer is lost, or the process dies,
// Prove on the same server (PasswordOptions.First) tells whether the password
// is there; where it does not, Set again, the same password on the same
// server, does no harm.
type Passwords struct {
	o      PasswordOptions
	server server
	tls    *tls.Config
	client *Client // without a probe: what it asks for is little
	wire   *wire
	kind   string
	rfc    bool // the server knows the operation of RFC 3062
}

// Class says how much is known of a change that was asked for.
type Class string

// The classes of a change.
const (
	NotSent  Class = "not-sent" // surely nothing was changed, and another server, or a later time, may do
	Answered Class = "answered"
	Lost     Class = "lost" // it may have been changed
)

// Verdict is what the directory said of a change.
type Verdict string

// The verdicts; "" where there was no answer.
const (
	Accepted Verdict = "accepted"
	Rejected Verdict = "rejected"  // this password, for this entry
	Denied   Verdict = "denied"    // us: the account may not do it
	Gone     Verdict = "gone"      // no entry below the base has that key
	ReadOnly Verdict = "read-only" // this server; another one may write (NotSent)
	Busy     Verdict = "busy"      // nothing was done; try again later (NotSent)
)

// Written is what a change came to.
type Written struct {
	Class   Class
	Verdict Verdict
	Message string // the directory's own words, one line, bounded, without the password
}

// Extra is what goes with a new password, in the same change. Only Active
// Directory takes it; elsewhere the server's own password policy decides.
type Extra struct {
	MustChange bool // at the next logon
	Unlock     bool // forget wrong attempts
}

const oidPasswordModify = "1.3.6.1.4.1.4203.1.11.1"

// OpenPasswords connects to the first server that is in reach. Its error is of
// class ErrConfig or ErrDirectory; nothing was changed.
func OpenPasswords(ctx context.Context, o PasswordOptions) (*Passwords, error) {
	if o.Log == nil {
		o.Log = slog.Default()
	}
	a, name := o.Agreement, o.Agreement.Name
	if a.WriteBack == nil {
		return nil, configError(fmt.Errorf("%s: write_back is not configured", name))
	}
	a.Bind = a.WriteBack.Bind
	o.Agreement = a
	servers, err := passwordServers(ctx, o)
	if err != nil {
		return nil, configError(fmt.Errorf("%s: write_back: %w", name, err))
	}
	conf, err := tlsConfig(a)
	if err != nil {
		return nil, configError(fmt.Errorf("%s: write_back: %w", name, err))
	}
	err = errors.New("no server is left that can write")
	for i, s := range servers {
		p := &Passwords{o: o, server: s, tls: conf}
		if err = p.open(ctx); err == nil {
			return p, nil
		}
		err = fmt.Errorf("%s: %w", s.addr, err)
		if ctx.Err() != nil || !unavailable(err) {
			break
		}
		if i+1 < len(servers) {
			o.Log.Warn(fmt.Sprintf("%s: %v, trying %s", name, err, servers[i+1].addr))
		}
	}
	if ctx.Err() != nil {
		return nil, ctx.Err()
	}
	return nil, directoryError(fmt.Errorf("%s: write_back: %w", name, err))
}

// passwordServers returns the servers in the order in which they are asked.
func passwordServers(ctx context.Context, o PasswordOptions) ([]server, error) {
	all, err := findServers(ctx, o.Agreement.Servers, o.Agreement.StartTLS, false, nil)
	if err != nil {
		return nil, err
	}
	var servers []server
	for _, s := range all {
		if !s.secure(o.Agreement.StartTLS) {
			return nil, fmt.Errorf("%s: a new password would cross the network in clear: use ldaps:// or start_tls: true", s.url)
		}
		if !slices.Contains(o.Not, s.addr) {
			servers = append(servers, s)
		}
	}
	if i := slices.IndexFunc(servers, func(s server) bool { return s.addr == o.First }); i > 0 {
		servers[0], servers[i] = servers[i], servers[0]
	}
	return servers, checkSafety(o.Agreement, o.Password, servers)
}

func (p *Passwords) open(ctx context.Context) error {
	conn, w, err := dialWire(ctx, p.server, p.o.Agreement, p.tls)
	if err != nil {
		return err
	}
	p.wire = w
	p.client = &Client{o: ConnectOptions{Agreement: p.o.Agreement, Password: p.o.Password, Log: p.o.Log}, server: p.server, conn: conn}
	err = p.client.do(ctx, func() error {
		if err := p.client.bind(); err != nil {
			return err
		}
		root, err := p.client.readOne("", []string{"objectClass", "supportedCapabilities", "supportedExtension", "vendorName", "vendorVersion"})
		if err != nil {
			return fmt.Errorf("reading what the server is (its root DSE): %w", err)
		}
		p.kind, p.rfc = kindOf(root), slices.Contains(root.GetEqualFoldAttributeValues("supportedExtension"), oidPasswordModify)
		return nil
	})
	if err != nil {
		p.Close()
	}
	return err
}

// Server returns which server this is, for PasswordOptions.
func (p *Passwords) Server() string { return p.server.addr }

// Close ends the connection.
func (p *Passwords) Close() error { return p.client.Close() }

// Set gives the entry of that key a new password. The entry is looked up at
// that moment, wherever it has moved to. After a result of class Lost the
// connection is of no more use.
func (p *Passwords) Set(ctx context.Context, key string, password secret.Value, extra Extra) Written {
	if password.IsZero() {
		return Written{Answered, Rejected, "an empty password is never written"}
	}
	dn, w := p.locate(ctx, key)
	if dn == "" {
		return w
	}
	p.wire.mark()
	err := p.client.do(ctx, func() error { return p.change(dn, password, extra) })
	return p.judge(err, password)
}

// locate finds the entry of a key.
func (p *Passwords) locate(ctx context.Context, key string) (dn string, w Written) {
	attribute := keyAttribute(p.kind)
	filter, err := keyFilter(p.kind, attribute, key)
	if err != nil {
		return "", Written{Answered, Gone, err.Error()}
	}
	var entries []*ldap.Entry
	err = p.client.do(ctx, func() error {
		r, err := p.client.conn.Search(ldap.NewSearchRequest(p.o.Agreement.Base, ldap.ScopeWholeSubtree, ldap.NeverDerefAliases, 0, 0, false, filter, []string{attribute}, nil))
		if err == nil {
			entries = r.Entries
		}
		return err
	})
	if err != nil {
		return "", Written{NotSent, "", p.words(fmt.Errorf("looking for the entry: %w", err), secret.Value{})}
	}
	for _, e := range entries {
		if text, err := keyText(p.kind, e.GetEqualFoldRawAttributeValue(attribute)); err == nil && text == key {
			return e.DN, Written{}
		}
	}
	return "", Written{Answered, Gone, fmt.Sprintf("no entry below %s has the key %s, or %s may not see it", p.o.Agreement.Base, shorten(key), p.o.Agreement.Bind.DN)}
}

// change sends the one request that changes something.
func (p *Passwords) change(dn string, password secret.Value, extra Extra) error {
	if p.kind == KindAD {
		r := ldap.NewModifyRequest(dn, nil)
		r.Replace("unicodePwd", []string{quotedUTF16(password.Reveal())})
		if extra.MustChange {
			r.Replace("pwdLastSet", []string{"0"})
		}
		if extra.Unlock {
			r.Replace("lockoutTime", []string{"0"})
		}
		return p.client.conn.Modify(r)
	}
	if !p.rfc {
		return ldap.NewError(ldap.LDAPResultUnwillingToPerform, errors.New("the server does not know the operation that changes passwords (RFC 3062)"))
	}
	_, err := p.client.conn.PasswordModify(ldap.NewPasswordModifyRequest(dn, "", password.Reveal()))
	return err
}

// quotedUTF16 returns a password as Active Directory takes it: in quotes, in
// UTF-16 with the low byte first (MS-ADTS 3.1.1.3.1.5.1).
func quotedUTF16(password string) string {
	var b strings.Builder
	for _, c := range utf16.Encode([]rune(`"` + password + `"`)) {
		b.WriteByte(byte(c))
		b.WriteByte(byte(c >> 8))
	}
	return b.String()
}

// judge says what the end of the exchange means.
func (p *Passwords) judge(err error, password secret.Value) Written {
	if err == nil {
		return Written{Class: Answered, Verdict: Accepted}
	}
	w := Written{Class: Answered, Message: p.words(err, password)}
	var e *ldap.Error
	if !errors.As(err, &e) || e.ResultCode >= ldap.ErrorNetwork {
		// Closed first: what was not written by now never will be.
		p.wire.Close()
		if w.Class = Lost; !p.wire.wrote() {
			w.Class = NotSent
		}
		return w
	}
	switch e.ResultCode {
	case ldap.LDAPResultReferral:
		w.Class, w.Verdict = NotSent, ReadOnly
	case ldap.LDAPResultBusy, ldap.LDAPResultUnavailable, ldap.LDAPResultTimeLimitExceeded, ldap.LDAPResultAdminLimitExceeded:
		w.Class, w.Verdict = NotSent, Busy
	case ldap.LDAPResultNoSuchObject:
		w.Verdict = Gone // moved between the search and the change
	case ldap.LDAPResultInsufficientAccessRights, ldap.LDAPResultInvalidCredentials, ldap.LDAPResultStrongAuthRequired,
		ldap.LDAPResultConfidentialityRequired, ldap.LDAPResultInappropriateAuthentication:
		w.Verdict = Denied
	default:
		w.Verdict = Rejected
		if p.kind != KindAD && readOnlyWords(e) {
			w.Class, w.Verdict = NotSent, ReadOnly
		}
	}
	return w
}

// readOnlyWords tells whether a server is unwilling because it writes nothing:
// OpenLDAP says so of a shadow or a database with readonly on.
func readOnlyWords(e *ldap.Error) bool {
	return e.ResultCode == ldap.LDAPResultUnwillingToPerform && e.Err != nil &&
		(strings.Contains(e.Err.Error(), "restricted") || strings.Contains(e.Err.Error(), "shadow"))
}

// words makes one bounded line of what the directory said.
func (p *Passwords) words(err error, password secret.Value) string {
	text := err.Error()
	if s := password.Reveal(); s != "" {
		text = strings.ReplaceAll(text, s, "…")
	}
	if hint := hintOf(err); hint != "" {
		text = hint + ": " + text
	}
	return shorten(strings.Join(strings.Fields(strings.ToValidUTF8(strings.ReplaceAll(text, "\x00", " "), "?")), " "))
}

// hintOf says what a refusal means that is only a number, or less.
func hintOf(err error) string {
	switch {
	case strings.Contains(err.Error(), "00002077"):
		return "the domain takes a password only over an encrypted connection"
	case ldap.IsErrorWithCode(err, ldap.LDAPResultConstraintViolation):
		return "the directory's password policy refuses it"
	}
	return ""
}
