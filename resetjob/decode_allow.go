package resetjob

import (
	"slices"

	"github.com/dirpin/dirpin/config"
	"github.com/dirpin/dirpin/internal/store"
	"github.com/dirpin/dirpin/internal/strictyaml"
)

// allowed reports what the watch folder of the file does not allow. Whom it
// allows to change is decided user by user (outside-scope).
func (jd *jobDecoder) allowed(root *strictyaml.Keyed) {
	a := jd.opts.Allow
	reset := jd.d.Mapping(root.Get("reset"), resetKeys()...)
	for _, kind := range []string{store.PIN, store.Password} {
		if reset.Has(kind) && !allows(a.Reset, kind) {
			jd.d.Fault(reset.Key(kind), "%s: jobs of this folder may not reset it (allow.reset)", kind)
		}
	}
	when, at := "", root.Get("run")
	switch run := jd.job.Run; {
	case run.Now:
		when = "now"
	case run.Held:
		when = "held"
	case !run.At.IsZero():
		when = "at"
	case run.Cron != "":
		when = "cron"
	}
	if when != "" && !allows(a.Run, when) {
		if at == nil {
			at = root.Node()
		}
		jd.d.Fault(at, "run: jobs of this folder may not run %s (allow.run)", when)
	}
	for _, x := range []struct {
		n *strictyaml.Node
		t Treatment
	}{{jd.synced, jd.job.LDAPSynced}, {jd.inactive, jd.job.LDAPInactive}} {
		if x.t.Password == ActionWriteBack && a.WriteBack != nil && !*a.WriteBack {
			jd.d.Fault(x.n, "password: jobs of this folder may not write back (allow.write_back)")
		}
	}
	if n := root.Get("deliver"); n != nil && len(a.Deliver) > 0 {
		jd.allowedDelivery(n, a.Deliver)
	}
}

func (jd *jobDecoder) allowedDelivery(n *strictyaml.Node, ways []string) {
	const no = "deliver: jobs of this folder may not deliver so (allow.deliver)"
	to := &jd.job.Deliver
	mail := to.MailTo == "" || slices.Contains(ways, to.MailTo) || to.MailTo != "user" && to.MailTo != "manager" && (&config.Mail{Allow: ways}).Allows(to.MailTo)
	if to.None && !slices.Contains(ways, "none") || len(to.SealedCSV) > 0 && !slices.Contains(ways, "sealed_csv") || !mail {
		jd.d.Fault(n, no)
	}
}

// allows tells whether a word is in a list; an empty one has all.
func allows(words []string, word string) bool { return len(words) == 0 || slices.Contains(words, word) }

// allowedCSV reports what a csv resets and its folder does not allow.
func allowedCSV(a config.Allow, path string, csv *CSV) strictyaml.Faults {
	var faults strictyaml.Faults
	for kind, has := range map[string]bool{store.PIN: csv.HasPIN(), store.Password: csv.HasPassword()} {
		if has && !allows(a.Reset, kind) {
			faults = append(faults, strictyaml.Fault{File: path, Line: 1, Column: 1, Message: "the column " + kind + ": jobs of this folder may not reset it (allow.reset)"})
		}
	}
	return faults
}
