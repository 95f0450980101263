package resetjob

import (
	"slices"

	"github.com/dirpin/dirpin/internal/strictyaml"
)

func resetKeys() []string {
	return []string{"password", "confirm_password", "pin", "confirm_pin", "must_change", "cannot_change", "does_not_expire", "locked", "clear_failed_attempts"}
}

func (jd *jobDecoder) reset(root *strictyaml.Keyed) {
	r := &jd.job.Reset
	yes, also := true, true
	r.Settings = Settings{MustChange: &yes, ClearFailedAttempts: &also}
	csv := jd.job.Select.CSV != nil
	n := root.Get("reset")
	if n == nil {
		if !csv {
			jd.d.Require(root, "reset")
		}
		return
	}
	m := jd.d.Mapping(n, resetKeys()...)
	if m == nil {
		return
	}
	jd.settings(m)
	if csv {
		for _, key := range []string{"pin", "confirm_pin", "password", "confirm_password"} {
			if m.Has(key) {
				jd.d.Fault(m.Key(key), "%s: not beside a csv, whose rows have the values", key)
			}
		}
		return
	}
	if !m.Has("pin") && !m.Has("password") {
		jd.d.Fault(n, "reset: a pin or a password is needed")
	}
	r.PIN = jd.secret(m, givenPIN)
	r.Password = jd.secret(m, givenPassword)
}

func (jd *jobDecoder) settings(m *strictyaml.Keyed) {
	s := &jd.job.Reset.Settings
	for _, x := range []struct {
		key string
		to  **bool
	}{
		{"must_change", &s.MustChange},
		{"cannot_change", &s.CannotChange},
		{"does_not_expire", &s.DoesNotExpire},
		{"locked", &s.Locked},
		{"clear_failed_attempts", &s.ClearFailedAttempts},
	} {
		if v, ok := jd.d.Bool(m.Get(x.key)); ok {
			*x.to = &v
		}
	}
	if *s.MustChange && s.CannotChange != nil && *s.CannotChange {
		jd.d.Warn(m.Key("cannot_change"), "cannot_change with must_change, which is true unless it is said to be false: the users must change what they cannot change")
	}
}

func treatmentKeys() []string { return []string{"password", "pin"} }

func (jd *jobDecoder) treatments(root *strictyaml.Keyed) {
	jd.job.LDAPSynced = Treatment{Password: ActionSkip, PIN: ActionReset}
	jd.job.LDAPInactive = Treatment{Password: ActionSkip, PIN: ActionSkip}
	jd.synced = jd.treatment(root.Get("ldap_synced"), &jd.job.LDAPSynced)
	jd.inactive = jd.treatment(root.Get("ldap_inactive"), &jd.job.LDAPInactive)
}

// treatment returns the node that says what becomes of passwords.
func (jd *jobDecoder) treatment(n *strictyaml.Node, t *Treatment) *strictyaml.Node {
	m := jd.d.Mapping(n, treatmentKeys()...)
	if m == nil {
		return nil
	}
	actions := []string{string(ActionSkip), string(ActionFlag), string(ActionReset)}
	if s, ok := jd.d.Enum(m.Get("pin"), actions...); ok {
		t.PIN = Action(s)
	}
	if s, ok := jd.d.Enum(m.Get("password"), append(actions, string(ActionWriteBack))...); ok {
		t.Password = Action(s)
	}
	return m.Get("password")
}

// passwordsOfDirectories warns where the job wants to set passwords that an
// agreement keeps to the directory: those legs will be skipped.
func (jd *jobDecoder) passwordsOfDirectories() {
	if jd.job.Select.CSV == nil && jd.job.Reset.Password == nil {
		return
	}
	for _, x := range []struct {
		n      *strictyaml.Node
		action Action
	}{{jd.synced, jd.job.LDAPSynced.Password}, {jd.inactive, jd.job.LDAPInactive.Password}} {
		wanted := map[Action]string{ActionReset: "local", ActionWriteBack: "write_back"}[x.action]
		if x.n == nil || wanted == "" {
			continue
		}
		for _, a := range jd.opts.Agreements {
			source := jd.job.Select.Source
			if a.Passwords != wanted && slices.Contains([]string{SourceStore, a.Name}, source) {
				jd.d.Warn(x.n, "password: %s does nothing for users of %s, whose agreement has passwords: %s and not %s: they end skipped ldap-synced", x.action, a.Name, a.Passwords, wanted)
			}
		}
	}
}
