package resetjob

import (
	"errors"
	"net/mail"
	"strings"

	"github.com/dirpin/dirpin/internal/credential"
	"github.com/dirpin/dirpin/internal/strictyaml"
)

func limitsKeys() []string { return []string{"max_users", "max_failures", "all_valid"} }

// maxLimit is a number of users that nobody has.
const maxLimit = 1_000_000_000

func (jd *jobDecoder) limits(n *strictyaml.Node) {
	m := jd.d.Mapping(n, limitsKeys()...)
	if m == nil {
		return
	}
	l := &jd.job.Limits
	l.MaxUsers = jd.limit(m.Get("max_users"), "max_users", jd.opts.Ceilings.MaxUsers)
	l.MaxFailures = jd.limit(m.Get("max_failures"), "max_failures", jd.opts.Ceilings.MaxFailures)
	l.AllValid, _ = jd.d.Bool(m.Get("all_valid"))
}

// limit reads a limit that may only lower the configuration's; 0 is none.
func (jd *jobDecoder) limit(n *strictyaml.Node, key string, ceiling int) int {
	v, ok := jd.d.Int(n, 0, maxLimit)
	if ok && ceiling > 0 && (v == 0 || v > ceiling) {
		jd.d.Fault(n, "%s: the configuration's limit is %d, and a job file may only lower it (0 is no limit)", key, ceiling)
	}
	return v
}

func deliverKeys() []string { return []string{"sealed_csv", "mail"} }

func mailKeys() []string { return []string{"to"} }

func (jd *jobDecoder) deliver(n *strictyaml.Node) {
	const want = "deliver: none, {sealed_csv: [age1…]} or {mail: {to: user}} is needed"
	to := &jd.job.Deliver
	switch {
	case n == nil:
		return
	case n.Kind != strictyaml.Mapping:
		if n.Kind != strictyaml.Scalar || n.Text != "none" {
			jd.d.Fault(n, want)
		}
		to.None = true
		return
	}
	m := jd.d.Mapping(n, deliverKeys()...)
	if !m.Has("sealed_csv") && !m.Has("mail") {
		jd.d.Fault(n, want)
	}
	to.SealedCSV = jd.recipients(m.Get("sealed_csv"))
	if m := jd.d.Mapping(m.Get("mail"), mailKeys()...); m != nil {
		if jd.opts.Mail == nil {
			jd.d.Fault(m.Node(), "mail: the configuration names no mail server (mail: {server: …})")
		}
		to.MailTo = jd.mailTo(jd.d.Require(m, "to"))
	}
}

// recipients finds bad keys now and not when the values are there and cannot
// be handed out.
func (jd *jobDecoder) recipients(n *strictyaml.Node) []string {
	if n == nil {
		return nil
	}
	nodes := []*strictyaml.Node{n}
	if n.Kind == strictyaml.Sequence {
		nodes = n.Items
	}
	if len(nodes) == 0 {
		jd.d.Fault(n, "sealed_csv: the list is empty: at least one public key is needed, such as age1…")
		return nil
	}
	var texts []string
	sound := true
	for _, n := range nodes {
		s, ok := jd.d.String(n)
		if ok {
			if _, err := credential.ParseRecipients([]string{s}); err != nil {
				jd.d.Fault(n, "sealed_csv: %v", unwrapOnce(err))
				ok = false
			}
		}
		sound = sound && ok
		texts = append(texts, strings.TrimSpace(s))
	}
	if !sound {
		return nil
	}
	if _, err := credential.ParseRecipients(texts); err != nil {
		jd.d.Fault(n, "sealed_csv: %v", err)
		return nil
	}
	return texts
}

// unwrapOnce takes off "recipient 1 of 1": the place says which it is.
func unwrapOnce(err error) error {
	if inner := errors.Unwrap(err); inner != nil {
		return inner
	}
	return err
}

func (jd *jobDecoder) mailTo(n *strictyaml.Node) string {
	s, ok := jd.d.String(n)
	if !ok || s == toUser || s == toManager {
		return s
	}
	switch {
	case !isMailAddress(s):
		jd.d.Fault(n, "to: user, manager or one mail address is needed")
	case jd.opts.Mail != nil && !jd.opts.Mail.Allows(s):
		jd.d.Fault(n, "to: the configuration's mail.allow does not have this address")
	}
	return s
}

func (jd *jobDecoder) notify(n *strictyaml.Node) {
	addresses, ok := jd.d.StringList(n)
	if n == nil {
		return
	}
	if n.Kind == strictyaml.Sequence && len(n.Items) == 0 {
		jd.d.Fault(n, "notify: the list is empty: name a mail address, or leave notify out")
	}
	if !ok {
		return
	}
	for i, s := range addresses {
		at := n
		if n.Kind == strictyaml.Sequence {
			at = n.Items[i]
		}
		switch {
		case !isMailAddress(s):
			jd.d.Fault(at, "notify: a mail address is needed, such as admin@example.com")
		case jd.opts.Mail != nil && !jd.opts.Mail.Allows(s):
			jd.d.Fault(at, "notify: the configuration's mail.allow does not have this address")
		}
	}
	if jd.opts.Mail == nil {
		jd.d.Warn(n, "notify: nobody will be told: the configuration names no mail server (mail: {server: …})")
	}
	jd.job.Notify = addresses
}

// isMailAddress takes the bare form only: a@b.
func isMailAddress(s string) bool {
	a, err := mail.ParseAddress(s)
	return err == nil && a.Name == "" && a.Address == s && !strings.ContainsFunc(s, notOneLine)
}

// together judges what each key by itself cannot show.
func (jd *jobDecoder) together(root *strictyaml.Keyed) {
	job := jd.job
	if job.Generates() && !root.Has("deliver") {
		jd.d.Fault(root.Node(), "the key deliver is missing: generated values must reach somebody: {sealed_csv: [age1…]}, {mail: {to: user}}, or none if nobody is to know them")
	}
	jd.passwordsOfDirectories()
	if job.Run.Cron == "" {
		return
	}
	if job.Select.CSV != nil {
		jd.d.Fault(jd.csvNode, "csv: not under cron: the same values would be set again and again, and the file's secrets would have to stay; use generate")
	}
	for _, x := range []struct {
		kind    string
		value   *Value
		history int
	}{{givenPIN, job.Reset.PIN, jd.opts.Credentials.PIN.History}, {givenPassword, job.Reset.Password, jd.opts.Credentials.Password.History}} {
		if x.value != nil && x.value.Generate == 0 && (x.kind == givenPIN || x.history > 0) {
			n := root.Get("reset")
			jd.d.Warn(n, "reset: a fixed %s under cron: from the second run on it is in the users' history and refused (in-history); use generate", x.kind)
		}
	}
}
