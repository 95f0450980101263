package config

import (
	"path/filepath"
	"strings"
	"time"

	"github.com/dirpin/dirpin/internal/strictyaml"
)

// decoder reads the nodes of a configuration into a Config that holds the
// defaults. Its setters leave a default alone where the key is absent.
type decoder struct {
	*strictyaml.Decoder
	dir string // of the configuration file
}

func (d *decoder) config(root *strictyaml.Node) *Config {
	if root.IsNull() {
		cfg := Default(DefaultStateDir())
		d.check(cfg, nil)
		return cfg
	}
	m := d.Mapping(root, "version", "state_dir", "store", "key_file", "log", "watch", "agreements", "voicemail",
		"voicemail_mode", "recover_within", "retry_within", "late", "credentials", "protect", "limits", "approve",
		"mail", "webhook", "http", "keep")
	stateDir := DefaultStateDir()
	d.path(m.Get("state_dir"), &stateDir)
	cfg := Default(stateDir)
	d.version(m.Get("version"))
	d.store(m.Get("store"), &cfg.Store)
	d.keyFile(m.Get("key_file"), &cfg.KeyFile)
	d.log(m.Get("log"), &cfg.Log)
	d.watches(m.Get("watch"), cfg)
	d.agreements(m.Get("agreements"), cfg)
	d.voicemails(m.Get("voicemail"), cfg)
	d.enum(m.Get("voicemail_mode"), &cfg.VoicemailMode, "first", "all", "any")
	d.unreachable(m.Get("voicemail"), cfg)
	d.several(m.Get("voicemail_mode"), m.Get("voicemail"), cfg)
	d.duration(m.Get("recover_within"), &cfg.RecoverWithin)
	d.duration(m.Get("retry_within"), &cfg.RetryWithin)
	d.duration(m.Get("late"), &cfg.Late)
	d.credentials(m.Get("credentials"), &cfg.Credentials)
	cfg.Protect = DecodeQuery(d.Decoder, m.Get("protect"))
	d.limits(m.Get("limits"), &cfg.Limits)
	d.approve(m.Get("approve"), &cfg.Approve)
	d.mail(m.Get("mail"), cfg)
	d.webhook(m.Get("webhook"), cfg)
	d.http(m.Get("http"), cfg)
	d.keep(m.Get("keep"), &cfg.Keep)
	d.check(cfg, m)
	return cfg
}

// check judges what several keys say together.
func (d *decoder) check(cfg *Config, m *strictyaml.Keyed) {
	if len(cfg.Voicemail) == 0 && !d.Faults().Failed() {
		d.Warn(nil, "no voicemail is configured: a PIN is committed at once, and no voicemail system hears of it")
	}
	if cfg.Protect != nil && cfg.Protect.Everyone {
		d.Warn(m.Get("protect"), "protect: everyone is protected: no job will change anybody")
	}
	if cfg.RetryWithin < cfg.RecoverWithin {
		n := m.Get("retry_within")
		if n == nil {
			n = m.Get("recover_within")
		}
		d.Fault(n, "retry_within must be at least recover_within: a value is needed for as long as its push may be repeated")
	}
}

func (d *decoder) version(n *strictyaml.Node) {
	if v, ok := d.Int(n, 0, 1<<30); ok && v != 1 {
		d.Fault(n, "version: this program knows version 1 only; a later dirpin may be needed")
	}
}

// maxEntries bounds what is compared each with each.
const maxEntries = 256

// each calls read for every mapping of a list, or for the one that stands for
// a list of one, and returns them.
func (d *decoder) each(n *strictyaml.Node, read func(*strictyaml.Node)) []*strictyaml.Node {
	if n == nil {
		return nil
	}
	if n.Kind == strictyaml.Sequence && len(n.Items) > maxEntries {
		d.Fault(n, "more than %d entries", maxEntries)
		return nil
	}
	var nodes []*strictyaml.Node
	for _, item := range items(n) {
		if item.Kind != strictyaml.Mapping {
			d.Mapping(item, "name")
			continue
		}
		nodes = append(nodes, item)
		read(item)
	}
	return nodes
}

func (d *decoder) text(n *strictyaml.Node, to *string) bool {
	s, ok := d.String(n)
	if ok {
		*to = s
	}
	return ok
}

// path reads a path; a relative one is meant from the configuration's folder.
func (d *decoder) path(n *strictyaml.Node, to *string) {
	if s, ok := d.String(n); ok {
		*to = d.resolve(s)
	}
}

func (d *decoder) resolve(path string) string {
	if filepath.IsAbs(path) {
		return filepath.Clean(path)
	}
	return filepath.Join(d.dir, path)
}

func (d *decoder) bool(n *strictyaml.Node, to *bool) {
	if v, ok := d.Bool(n); ok {
		*to = v
	}
}

func (d *decoder) int(n *strictyaml.Node, to *int, low, high int) {
	if v, ok := d.Int(n, low, high); ok {
		*to = v
	}
}

func (d *decoder) enum(n *strictyaml.Node, to *string, words ...string) bool {
	s, ok := d.Enum(n, words...)
	if ok {
		*to = s
	}
	return ok
}

func (d *decoder) duration(n *strictyaml.Node, to *time.Duration) {
	if v, ok := d.Duration(n); ok {
		*to = v
	}
}

// positive is duration where 0 would mean to wait for ever, or never to.
func (d *decoder) positive(n *strictyaml.Node, to *time.Duration) {
	v, ok := d.Duration(n)
	if ok && v == 0 {
		d.Fault(n, "a duration longer than 0 is needed here")
		return
	}
	if ok {
		*to = v
	}
}

func (d *decoder) limit(n *strictyaml.Node, to *Limit) {
	if v, percent, ok := d.IntOrPercent(n); ok {
		*to = Limit{N: v, Percent: percent}
	}
}

// list reads texts, of which there must be one at least.
func (d *decoder) list(n *strictyaml.Node, to *[]string) bool {
	texts, ok := d.StringList(n)
	if ok && len(texts) == 0 {
		d.Fault(n, "the list is empty: leave the key out, or say what is meant")
		return false
	}
	if ok {
		*to = texts
	}
	return ok
}

// items returns the nodes of a list, or the one that stands for it.
func items(n *strictyaml.Node) []*strictyaml.Node {
	if n != nil && n.Kind == strictyaml.Sequence {
		return n.Items
	}
	return []*strictyaml.Node{n}
}

const nameRule = "a name is made of A–Z a–z 0–9 . _ -, begins with a letter or digit, and has at most 64 characters"

// name reads the name of a thing, which stands in commands and file names.
func (d *decoder) name(n *strictyaml.Node, to *string) bool {
	s, ok := d.String(n)
	if !ok {
		return false
	}
	if !isName(s) {
		d.Fault(n, "%s", nameRule)
		return false
	}
	*to = s
	return true
}

func isName(s string) bool {
	for i, c := range s {
		letter := 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9'
		if !letter && (i == 0 || !strings.ContainsRune("._-", c)) {
			return false
		}
	}
	return len(s) <= 64
}

// unique reports names that two entries share; names[i] is that of nodes[i].
func (d *decoder) unique(nodes []*strictyaml.Node, names []string, what string) {
	seen := map[string]bool{}
	for i, name := range names {
		folded := strings.ToLower(name)
		if name != "" && seen[folded] {
			d.Fault(nodes[i], "name: an earlier %s has this name (case does not count)", what)
		}
		seen[folded] = true
	}
}
