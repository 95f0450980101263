package config

import (
	"path/filepath"
	"slices"
	"strings"

	"github.com/dirpin/dirpin/internal/strictyaml"
)

func (d *decoder) watches(n *strictyaml.Node, cfg *Config) {
	if n == nil {
		return
	}
	cfg.Watch = nil
	var names []string
	nodes := d.each(n, func(item *strictyaml.Node) {
		w := defaultWatch(cfg.StateDir)
		d.watch(item, &w)
		cfg.Watch = append(cfg.Watch, w)
		names = append(names, w.Name)
	})
	if n.Kind == strictyaml.Sequence && len(n.Items) == 0 {
		d.Fault(n, "watch: one folder at least is needed: jobs take their lists and leave their reports there")
	}
	d.unique(nodes, names, "watch folder")
	d.watchFolders(nodes, cfg.Watch)
}

func (d *decoder) watch(n *strictyaml.Node, w *Watch) {
	m := d.Mapping(n, "name", "dir", "lists", "reports", "settle", "owners", "signers", "plain", "trust", "allow")
	d.name(m.Get("name"), &w.Name)
	d.path(m.Get("dir"), &w.Dir)
	d.path(m.Get("lists"), &w.Lists)
	d.path(m.Get("reports"), &w.Reports)
	d.duration(m.Get("settle"), &w.Settle)
	d.list(m.Get("owners"), &w.Owners)
	d.path(m.Get("signers"), &w.Signers)
	d.bool(m.Get("plain"), &w.Plain)
	d.enum(m.Get("trust"), &w.Trust, "owner", "share")
	d.allow(m.Get("allow"), &w.Allow)
}

// watchFolders reports folders that would be taken for each other.
func (d *decoder) watchFolders(nodes []*strictyaml.Node, watches []Watch) {
	for i, w := range watches {
		if w.Dir == w.Lists || w.Dir == w.Reports || w.Lists == w.Reports {
			d.Fault(nodes[i], "dir, lists and reports must be three folders: whatever lies in dir is taken for a job file")
		}
		for _, earlier := range watches[:i] {
			switch {
			case within(earlier.Dir, w.Dir) || within(w.Dir, earlier.Dir):
				d.Fault(nodes[i], "dir: an earlier watch folder is the same, or one lies in the other")
			case w.Dir == earlier.Lists || w.Dir == earlier.Reports || earlier.Dir == w.Lists || earlier.Dir == w.Reports:
				d.Fault(nodes[i], "dir, lists and reports: one of them is another watch folder's dir or its lists or reports this one's")
			}
		}
	}
}

func within(folder, path string) bool {
	rel, err := filepath.Rel(folder, path)
	return err == nil && rel != ".." && !strings.HasPrefix(rel, ".."+string(filepath.Separator))
}

func (d *decoder) allow(n *strictyaml.Node, a *Allow) {
	m := d.Mapping(n, "users", "reset", "max_users", "run", "write_back", "deliver")
	a.Users = DecodeQuery(d.Decoder, m.Get("users"))
	d.words(m.Get("reset"), &a.Reset, "pin", "password")
	d.int(m.Get("max_users"), &a.MaxUsers, 0, maxCount)
	d.words(m.Get("run"), &a.Run, "now", "held", "at", "cron")
	if v, ok := d.Bool(m.Get("write_back")); ok {
		a.WriteBack = &v
	}
	if deliver := m.Get("deliver"); d.list(deliver, &a.Deliver) {
		for _, item := range items(deliver) {
			s := item.Text
			if !slices.Contains([]string{"none", "sealed_csv", "user", "manager"}, s) && !isAddress(s) && !isMailDomain(s) {
				d.Fault(item, `deliver: one of none, sealed_csv, user, manager, a mail address or a domain such as "@example.com" is needed`)
			}
		}
	}
}

// words reads a list of keywords, of which there must be one at least.
func (d *decoder) words(n *strictyaml.Node, to *[]string, words ...string) {
	if !d.list(n, to) {
		return
	}
	for _, item := range items(n) {
		d.Enum(item, words...)
	}
}
