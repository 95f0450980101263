package ldapsync

import (
	"context"
	"crypto/tls"

	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/dirpin/dirpin/config"
	"github.com/dirpin/dirpin/internal/roster"
	"github.com/dirpin/dirpin/internal/user"
)

// Level says how bad a finding is.
type Level string

// The levels.
const (
	Fine    Level = "ok"
	Warning Level = "warning" // works now; see to it
	Bad     Level = "fault"   // does not work
)

// Finding is one thing that an examination found out.
type Finding struct {
	Level Level
	Text  string // for people, with what to do where it is no fine one
}

// Examine looks at an agreement as a whole and tells what it finds, as it goes:
// each server, its certificate, bind and base; whom the filter finds, what of
// them cannot be read, a sample; what the store holds back. Nothing is changed,
// neither here nor there. Its error is the store's or the context's.
func Examine(ctx context.Context, o Options, tell func(Finding)) error {
	x := &examination{o: o.withDefaults(), tell: tell}
	if err := x.o.Store.Read(ctx, func(tx Reader) (err error) {
		x.state, err = tx.SyncAgreement(o.Agreement.Name)
		return err
	}); err != nil {
		return err
	}
	x.state.Name = o.Agreement.Name
	c := x.servers(ctx)
	if ctx.Err() != nil {
		return ctx.Err()
	}
	if c != nil {
		defer c.Close()
		if err := x.feed(ctx, c); err != nil {
			return err
		}
		x.entries(ctx, c)
		if ctx.Err() != nil {
			return ctx.Err()
		}
	}
	x.writeBack(ctx)
	return x.o.Store.Read(ctx, x.heldBack)
}

type examination struct {
	o     Options
	tell  func(Finding)
	state roster.Agreement
}

func (x *examination) say(l Level, format string, args ...any) {
	x.tell(Finding{l, fmt.Sprintf(format, args...)})
}

// servers tries every server and returns a connection to the first that works.
func (x *examination) servers(ctx context.Context) (works *Client) {
	a := x.o.Agreement
	conf, err := tlsConfig(a)
	if err != nil {
		x.say(Bad, "%v", err)
		return nil
	}
	servers, err := findServers(ctx, a.Servers, a.StartTLS, a.InsecurePlaintext, nil)
	if err != nil {
		x.say(Bad, "%v", err)
		return nil
	}
	for _, s := range servers {
		if err := checkSafety(a, x.o.Password, []server{s}); err != nil {
			x.say(Bad, "%v", err)
			continue
		}
		began := time.Now()
		c, err := connect(ctx, ConnectOptions{Agreement: a, Password: x.o.Password, Now: x.o.Now, Log: x.o.Log}, s, conf)
		if err != nil {
			x.say(Bad, "%s: %v", s.addr, err)
			if ctx.Err() != nil || !unavailable(err) {
				return works // a wrong password on every server would lock the account
			}
			continue
		}
		x.say(Fine, "%s: bound as %s in %v; %s, %s is readable", s.addr, c.bindName(), time.Since(began).Round(time.Millisecond), kindWords(c.facts.Kind), a.Base)
		x.certificate(c)
		x.identity(c)
		if works == nil {
			works = c
		} else {
			c.Close()
		}
	}
	if works == nil && len(a.Servers) > 0 {
		x.say(Bad, "no server can be used: nobody is synchronized until one can")
	}
	return works
}

func kindWords(kind string) string {
	switch kind {
	case KindAD:
		return "an Active Directory"
	case Kind389:
		return "a 389 Directory Server"
	case KindOpenLDAP:
		return "an OpenLDAP"
	}
	return "an LDAP directory of another kind"
}

// soonExpired is when an administrator hears of a certificate's end.
const soonExpired = 14 * 24 * time.Hour

// certificate says how long the server's certificate is good, and for whom.
// That it is trusted, and for the name, the connection has proven.
func (x *examination) certificate(c *Client) {
	state, ok := c.conn.Tap.TLS()
	if !ok {
		if c.server.network != "unix" {
			x.say(Warning, "%s: the connection is not encrypted: people's data, and a password if there is one, can be read on the way", c.server.addr)
		}
		return
	}
	leaf := state.PeerCertificates[0]
	var names []string
	names = append(names, leaf.DNSNames...)
	for _, ip := range leaf.IPAddresses {
		names = append(names, ip.String())
	}
	left := leaf.NotAfter.Sub(x.o.Now())
	level, chain := Fine, ""
	if left < soonExpired {
		level = Warning
	}
	if len(state.VerifiedChains) > 0 {
		var cns []string
		for _, parent := range state.VerifiedChains[0][1:] {
			cns = append(cns, parent.Subject.CommonName)
		}
		chain = ", signed by " + strings.Join(cns, " < ")
	}
	x.say(level, "%s: %s; its certificate is for %s%s, and good until %s (%d days)", c.server.addr, tls.VersionName(state.Version),
		strings.Join(names, ", "), chain, leaf.NotAfter.UTC().Format(time.DateOnly), int(left/(24*time.Hour)))
}

// identity says whether it is the directory that it was.
func (x *examination) identity(c *Client) {
	r := &run{o: x.o, facts: c.facts, state: x.state}
	if err := r.checkIdentity(); err != nil {
		x.say(Bad, "%v", err)
	}
}

// survey is what an answer shows.
type survey struct {
	entries, usable, inactive, computers int
	shown                                map[user.Field]int
	sample                               []*Entry
	refused                              map[string]int
}

// entries reads everyone whom the filter finds.
func (x *examination) entries(ctx context.Context, c *Client) {
	for _, a := range c.unknown {
		x.say(Bad, "attributes: the directory knows no attribute %s: mend the name, or leave it out", a)
	}
	v := &survey{shown: make(map[user.Field]int), refused: make(map[string]int)}
	began := time.Now()
	err := c.Entries(ctx, Everything(func(e *Entry) error { v.add(e, c.facts.Kind); return nil }))
	if err != nil {
		x.say(Bad, "%v", err)
		return
	}
	took := time.Since(began)
	level := Fine
	if v.usable == 0 {
		level = Bad
	}
	x.say(level, "the filter %s finds %d entries below %s in %v; %d can be users, %d of them are disabled or expired", c.filter, v.entries, x.o.Agreement.Base, took.Round(time.Millisecond), v.usable, v.inactive)
	for _, reason := range slices.Sorted(maps.Keys(v.refused)) {
		x.say(Warning, "%d entries cannot be users: %s", v.refused[reason], reason)
	}
	if v.computers > 0 {
		x.say(Warning, "%d user ids end in $: computers? the filter should not find them", v.computers)
	}
	if n := c.Facts().Referrals; n > 0 {
		x.say(Fine, "%d referrals to other servers were not followed", n)
	}
	x.fields(c, v)
	for _, e := range v.sample {
		p := e.Person
		x.say(Fine, "for example: %s = %s %s %s, department %q, mail %q, telephone %q, manager %q, %s: %s", p.UserID, p.FirstName, p.MiddleName, p.LastName,
			p.Department(), p.Mail, p.Telephone, p.ManagerDN, p.Status, p.DN)
	}
}

// feed says how the directory would be asked for changes, and why.
func (x *examination) feed(ctx context.Context, c *Client) error {
	r := &run{o: x.o, facts: c.facts, state: x.state, start: x.o.Now()}
	var by choice
	var fault error
	err := x.o.Store.Read(ctx, func(tx Reader) error {
		by, fault = r.choose(tx)
		return nil
	})
	method := or(x.o.Agreement.Method, "auto")
	var offers []string
	for _, f := range c.facts.Feeds {
		offers = append(offers, f.Name)
	}
	switch {
	case err != nil:
		return err
	case fault != nil:
		x.say(Bad, "%v", fault)
	case by.feed.Name != FeedFull && by.why != "":
		x.say(Fine, "method %s: %s; the next time everything is read: %s", method, by.feed.Name, by.why)
	case by.feed.Name != FeedFull:
		x.say(Fine, "method %s: %s, which tells only what has changed", method, by.feed.Name)
	case len(offers) > 0:
		x.say(Fine, "method %s: everything is read each time, though the server offers %s", method, strings.Join(offers, ", "))
	default:
		x.say(Fine, "method %s: everything is read each time: the server offers this account no feed of changes", method)
	}
	return nil
}

func (v *survey) add(e *Entry, kind string) {
	v.entries++
	if e.Refuse != nil {
		v.refused[e.Refuse.Reason]++
		return
	}
	v.usable++
	p := &e.Person
	if p.Status == user.Inactive {
		v.inactive++
	}
	if kind == KindAD && strings.HasSuffix(p.UserID, "$") {
		v.computers++
	}
	for _, f := range singleFields() {
		if *fieldOf(p, f) != "" {
			v.shown[f]++
		}
	}
	if len(p.Departments) > 0 {
		v.shown[user.FieldDepartment]++
	}
	if len(v.sample) < 3 {
		v.sample = append(v.sample, e)
	}
}

// fields says which fields nobody has: a right that is missing, or a name that
// is wrong.
func (x *examination) fields(c *Client, v *survey) {
	if v.usable == 0 {
		return
	}
	for _, r := range c.mapper.rules {
		if v.shown[r.field] > 0 || len(r.sources) == 0 {
			continue
		}
		var names []string
		for _, s := range r.sources {
			names = append(names, s.asked)
		}
		level := Fine // not every directory keeps everything that dirpin asks for
		if named(x.o.Agreement.Attributes, r.field) || r.field == user.FieldFirstName || r.field == user.FieldLastName {
			level = Warning
		}
		x.say(level, "nobody has a %s: no entry shows %s to %s; if some should, give it the right to read it, or name another attribute",
			strings.ReplaceAll(string(r.field), "_", " "), strings.Join(names, " or "), c.bindName())
	}
}

// named tells whether the agreement itself says from where a field comes.
func named(a config.Attributes, f user.Field) bool {
	return map[user.Field][]string{user.FieldUserID: a.UserID, user.FieldFirstName: a.FirstName, user.FieldMiddleName: a.MiddleName,
		user.FieldLastName: a.LastName, user.FieldManager: a.Manager, user.FieldDepartment: a.Department, user.FieldMail: a.Mail,
		user.FieldTelephone: a.Telephone, FieldLanguage: a.Language}[f] != nil
}

// writeBack binds as the account that changes passwords, and changes none.
func (x *examination) writeBack(ctx context.Context) {
	if x.o.Agreement.WriteBack == nil || x.o.WriteBackPassword.IsZero() {
		return
	}
	p, err := OpenPasswords(ctx, PasswordOptions{Agreement: x.o.Agreement, Password: x.o.WriteBackPassword, Log: x.o.Log})
	if err != nil {
		x.say(Bad, "%v", err)
		return
	}
	defer p.Close()
	x.say(Fine, "write_back: %s binds; whether it may change passwords shows when it does", x.o.Agreement.WriteBack.Bind.DN)
}

// heldBack says what the store holds back: it may be why somebody is missing.
func (x *examination) heldBack(tx Reader) error {
	name, a := x.state.Name, x.o.Agreement
	if x.state.CompletedAt.IsZero() {
		x.say(Warning, "never synchronized: dirpin sync %s", name)
	} else {
		x.say(Fine, "last complete answer %s, from %s", x.state.CompletedAt.UTC().Format(time.RFC3339), x.state.Server)
	}
	t, err := tx.SyncTally(name, x.o.Now().Add(-a.Guard.Window), 0)
	if err != nil {
		return err
	}
	for _, h := range judge(a.Guard, t) {
		x.say(Warning, "held: %s: if it is meant, dirpin sync --accept-removals %s", h, name)
	}
	reasons := make(map[string][]string)
	err = tx.SyncRejects(name, func(r roster.Reject) error {
		reason := r.Reason
		if r.Partial {
			reason += " of one field"
		}
		reasons[reason] = append(reasons[reason], or(r.UserID, r.DN))
		return nil
	})
	if err != nil {
		return err
	}
	for _, reason := range slices.Sorted(maps.Keys(reasons)) {
		who := reasons[reason]
		more := ""
		if len(who) > 5 {
			who, more = who[:5], " …"
		}
		x.say(Warning, "%d entries are refused (%s): %s%s", len(reasons[reason]), reason, strings.Join(who, ", "), more)
	}
	return nil
}
