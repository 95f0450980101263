package resetjob

import (
	"errors"
	"fmt"

	"github.com/dirpin/dirpin/config"
	"github.com/dirpin/dirpin/internal/credential"
	"github.com/dirpin/dirpin/internal/outcome"
	"github.com/dirpin/dirpin/internal/secret"
	"github.com/dirpin/dirpin/internal/store"
	"github.com/dirpin/dirpin/internal/user"
	"github.com/dirpin/dirpin/internal/voicemail"
)

// kinds are the credentials in the order in which they are reset.
var kinds = [...]string{store.PIN, store.Password}

// judge decides what a job does with a user, from the user as it is at that
// moment: once for everyone before anything is pushed, and again in the
// transaction in which each is claimed.
type judge struct {
	def     *Job
	wants   map[string]bool // by kind
	policy  map[string]config.Policy
	local   map[string]bool              // agreements whose passwords are held here
	back    map[string]*voicemail.System // those to which they are written back
	protect *user.Matcher
	scope   *user.Matcher // of the watch folder; nil: everyone
	router  *voicemail.Router
	ring    *credential.Ring
	mail    *config.Mail                 // nil: none is configured
	rules   map[string]*voicemail.Policy // of systems, by name, while the job opens
}

func (e *Env) newJudge(l *loaded) *judge {
	cfg, def, csv := e.Config, l.def, l.people.csv
	j := &judge{def: def, router: e.Router, ring: e.Ring, mail: cfg.Mail, rules: l.rules, back: e.Directories, local: make(map[string]bool),
		policy: map[string]config.Policy{store.PIN: cfg.Credentials.PIN, store.Password: cfg.Credentials.Password},
		wants:  map[string]bool{store.PIN: def.Reset.PIN != nil, store.Password: def.Reset.Password != nil}}
	if csv != nil {
		j.wants[store.PIN], j.wants[store.Password] = csv.HasPIN(), csv.HasPassword()
	}
	if cfg.Protect != nil {
		m := cfg.Protect.Matcher()
		j.protect = &m
	}
	j.scope = e.scope(l.folder)
	for _, a := range cfg.Agreements {
		j.local[a.Name] = a.Passwords == "local"
	}
	return j
}

// verdict is what becomes of one leg. Without a code it is to be done.
type verdict struct {
	kind   string
	result outcome.Result
	code   outcome.Code
	detail string
	system *voicemail.System // that a PIN is for; nil: none is configured

	// Of a PIN whose user has several systems.
	mode    voicemail.Mode
	several []*voicemail.System // all of them; nil: there is one
	open    []*voicemail.System // that are still to be asked
	shares  []store.Part        // those that ended without being asked
}

func (v *verdict) todo() bool { return v.code == "" }

// fault is a verdict that keeps the user's other leg from being done too:
// where one value is bad, neither secret changes.
func (v *verdict) fault() bool {
	switch v.code {
	case outcome.TooShort, outcome.TooLong, outcome.NotDigits, outcome.Trivial, outcome.InHistory, outcome.ContainsUserID,
		outcome.NoValue, outcome.NoAddress:
		return true
	}
	return false
}

// values are what an item's legs are to be set to; a kind that is generated
// and not drawn yet has none and is not asked about.
type values map[string]secret.Value

// evidence is what is known of a user besides the user.
type evidence struct {
	given   values
	missing map[string]bool     // kinds for which a csv row has no value
	history map[string][][]byte // tags of former values, by kind
	address string              // that values are mailed to (judge.address)
	sent    map[string]bool     // kinds that may have been sent: an address is not asked for
}

// user decides about every leg that the job asks for.
func (j *judge) user(u *user.User, e evidence) []verdict {
	var vs []verdict
	for _, kind := range kinds {
		if j.wants[kind] {
			vs = append(vs, verdict{kind: kind})
		}
	}
	if j.scope != nil && !j.scope.Match(u) {
		return setAll(vs, outcome.Failed, outcome.OutsideScope, "")
	}
	if j.protect != nil && j.protect.Match(u) {
		return setAll(vs, outcome.Skipped, outcome.Protected, "")
	}
	for i := range vs {
		j.leg(&vs[i], u, e)
		if why := j.unreachable(e.address); why != "" && vs[i].todo() && !e.sent[vs[i].kind] {
			vs[i].result, vs[i].code, vs[i].detail = outcome.Failed, outcome.NoAddress, why
		}
	}
	for i := range vs {
		if vs[i].fault() {
			leaveOthers(vs, vs[i])
			break
		}
	}
	return vs
}

// nobody is the verdict on a name that names nobody here.
func (j *judge) nobody() []verdict {
	var vs []verdict
	for _, kind := range kinds {
		if j.wants[kind] {
			vs = append(vs, verdict{kind: kind})
		}
	}
	return setAll(vs, outcome.Failed, outcome.NotFound, "")
}

func setAll(vs []verdict, r outcome.Result, c outcome.Code, detail string) []verdict {
	for i := range vs {
		vs[i].result, vs[i].code, vs[i].detail = r, c, detail
	}
	return vs
}

func leaveOthers(vs []verdict, because verdict) {
	for i := range vs {
		if vs[i].todo() {
			vs[i].result, vs[i].code, vs[i].detail = because.result, because.code, because.detail
		}
	}
}

func (j *judge) leg(v *verdict, u *user.User, e evidence) {
	if j.leave(v, u) {
		return
	}
	if e.missing[v.kind] {
		v.result, v.code, v.detail = outcome.Failed, outcome.NoValue, "the row has no "+v.kind
		return
	}
	if value := e.given[v.kind]; !value.IsZero() {
		if code := j.check(v.kind, value, u, e.history[v.kind]); code != outcome.OK {
			v.result, v.code, v.detail = outcome.Failed, code, ""
			return
		}
	}
	if j.route(v, u); v.kind == store.PIN && v.mode == voicemail.All && !e.sent[v.kind] {
		j.refuse(v, e.given[v.kind])
	}
}

// refuse lets nobody begin of whom all systems must accept the PIN and one
// surely will not: its users would have two.
func (j *judge) refuse(v *verdict, value secret.Value) {
	length := len(value.Reveal())
	if value.IsZero() && j.def.Reset.PIN != nil {
		length = j.def.Reset.PIN.Generate
	}
	for _, s := range v.several {
		if why := refusedBy(j.rules[s.Name()], length, value); why != "" {
			v.result, v.code, v.detail = outcome.Failed, outcome.VoicemailRejected, fmt.Sprintf("%s would refuse the PIN, so no system was asked: %s", s.Name(), why)
			return
		}
	}
}

// leave decides by whom the secret belongs to, and tells whether it is left
// alone.
func (j *judge) leave(v *verdict, u *user.User) bool {
	treatment, code, why := j.def.LDAPSynced, outcome.LDAPSynced, ""
	_, configured := j.local[u.Agreement]
	switch {
	case u.Status == user.Local:
		return false
	case u.Status == user.Inactive:
		treatment, code, why = j.def.LDAPInactive, outcome.LDAPInactive, u.InactiveReason
	case !configured:
		// Nobody synchronizes it: whether the user is still there is not known.
		treatment, code, why = j.def.LDAPInactive, outcome.LDAPInactive, "agreement "+u.Agreement+" is configured no more"
	}
	action := treatment.PIN
	if v.kind == store.Password {
		action = treatment.Password
		if action == ActionReset && !j.local[u.Agreement] || action == ActionWriteBack && j.back[u.Agreement] == nil {
			// The directory owns it: here it would change nothing but this copy.
			v.result, v.code = outcome.Skipped, outcome.LDAPSynced
			v.detail = fmt.Sprintf("the password belongs to the directory of %s", u.Agreement)
			return true
		}
	}
	switch action {
	case ActionReset:
		return false
	case ActionWriteBack:
		v.system = j.back[u.Agreement]
		return false
	case ActionFlag:
		v.result, v.code = outcome.Flagged, code
	default:
		v.result, v.code = outcome.Skipped, code
	}
	v.detail = why
	return true
}

// check asks the policy, and the history, about a value.
func (j *judge) check(kind string, value secret.Value, u *user.User, tags [][]byte) outcome.Code {
	if code := credential.Check(credential.Kind(kind), value, j.policy[kind], credential.PersonOf(u)); code != outcome.OK {
		return code
	}
	if j.ring.InHistory(u.ID, credential.Kind(kind), value, tags) {
		return outcome.InHistory
	}
	return outcome.OK
}

// route says where a secret is pushed: a password to the directory that it is
// written back to, if to any.
func (j *judge) route(v *verdict, u *user.User) {
	if v.kind == store.Password {
		return // leave has said so
	}
	systems, err := j.router.Route(u)
	switch {
	case errors.Is(err, voicemail.ErrNoSystems): // a PIN is then committed at once
	case err != nil:
		v.result, v.code = outcome.Failed, outcome.NoVoicemail
	default:
		if v.system = systems[0]; len(systems) > 1 {
			v.mode, v.several = j.router.Mode, systems
		}
	}
}

// goesTo tells whether the user of a leg belongs to the system of that name.
func (v *verdict) goesTo(system string) bool {
	return v.system != nil && v.system.Name() == system || has(v.several, system)
}

// combine makes an item's result of those of its legs: failed before not run
// before updated before flagged before skipped, the PIN's where two are alike.
func combine(vs []verdict) (outcome.Result, outcome.Code, string) {
	order := map[outcome.Result]int{outcome.Failed: 5, outcome.NotRun: 4, outcome.Updated: 3, outcome.Flagged: 2, outcome.Skipped: 1}
	var best *verdict
	for i := range vs {
		if best == nil || order[vs[i].result] > order[best.result] {
			best = &vs[i]
		}
	}
	if best == nil {
		return outcome.Skipped, outcome.OK, ""
	}
	return best.result, best.code, best.detail
}
