package voicemail

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"sync"
)

// Rule is one policy of a voicemail system for PINs: Unity Connection calls it
// an authentication rule. Each mailbox has one.
type Rule struct {
	ID, Name   string
	MinLength  int  // digits at least
	NoTrivial  bool // 1234 and the like are refused
	History    int  // earlier PINs that cannot be used again
	MinMinutes int  // between two changes
	ExpireDays int  // 0: never
	MinChanged int  // digits that must differ from the last PIN
}

// Policy is what a voicemail system says of itself.
type Policy struct {
	Rules   []Rule
	PINSync []string // the servers to which it passes each changed PIN on by itself
}

// Policy asks the system for its rules; nil where its kind tells none. The
// answer is set where it could not be asked.
func (s *System) Policy(ctx context.Context) (*Policy, *Answer) {
	asked, ok := s.conn.(interface {
		policy(context.Context) (*Policy, *Answer)
	})
	if !ok {
		return nil, nil
	}
	ctx, cancel := context.WithTimeout(ctx, s.timeout)
	defer cancel()
	p, answer := asked.policy(ctx)
	if answer != nil && answer.Result == Denied {
		s.Deny(answer.Message)
	}
	return p, answer
}

// ruleBook keeps the rules as they were read last.
type ruleBook struct {
	mu   sync.Mutex
	byID map[string]Rule
}

func (b *ruleBook) learn(rules []Rule) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.byID = make(map[string]Rule, len(rules))
	for _, r := range rules {
		b.byID[r.ID] = r
	}
}

// refuses says why the rule of a mailbox surely refuses the PIN; "" where it
// does not, or is not known.
func (b *ruleBook) refuses(id, pin string) string {
	b.mu.Lock()
	defer b.mu.Unlock()
	if r, ok := b.byID[id]; ok && id != "" && len(pin) < r.MinLength {
		return fmt.Sprintf("the authentication rule %q of this mailbox wants at least %d digits, and the PIN has %d", r.Name, r.MinLength, len(pin))
	}
	return ""
}

func (u *unity) policy(ctx context.Context) (*Policy, *Answer) {
	m := u.mask(Attempt{})
	o, answer := u.get(ctx, "/vmrest/authenticationrules", "", m)
	if answer != nil {
		return nil, answer
	}
	p := &Policy{}
	for _, r := range o.all("authenticationrule") {
		n := func(name string) int { v, _ := strconv.Atoi(r.text(name)); return max(v, 0) }
		p.Rules = append(p.Rules, Rule{ID: r.text("objectid"), Name: m.words(r.text("displayname")), MinLength: n("minlength"),
			NoTrivial: strings.EqualFold(r.text("trivialcredchecking"), "true"), History: n("prevcredcount"),
			MinMinutes: n("minduration"), ExpireDays: n("maxdays"), MinChanged: n("mincharstochange")})
	}
	u.rules.learn(p.Rules)
	p.PINSync = u.pinSync(ctx, m)
	return p, nil
}

// pinSync returns the servers to which Unity Connection passes PINs on (11.5
// and later). That it cannot be read, for lack of rights or on older servers,
// is no fault.
func (u *unity) pinSync(ctx context.Context, m masks) []string {
	systems, answer := u.get(ctx, "/vmrest/phonesystems", "", m)
	if answer != nil {
		return nil
	}
	var names []string
	for _, s := range systems.all("phonesystem") {
		servers, answer := u.get(ctx, "/vmrest/phonesystems/"+s.text("objectid")+"/axlservers", "", m)
		if answer != nil {
			continue
		}
		for _, a := range servers.all("axlserver") {
			if strings.EqualFold(a.text("ispinsyncenabled"), "true") {
				names = append(names, m.words(a.text("hostoripaddress")))
			}
		}
	}
	return names
}
