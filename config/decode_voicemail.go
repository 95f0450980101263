package config

import (
	"slices"
	"strings"

	"github.com/dirpin/dirpin/internal/strictyaml"
)

func (d *decoder) voicemails(n *strictyaml.Node, cfg *Config) {
	var names []string
	nodes := d.each(n, func(item *strictyaml.Node) {
		v := defaultVoicemail()
		d.voicemail(item, &v)
		cfg.Voicemail = append(cfg.Voicemail, v)
		names = append(names, v.Name)
	})
	d.unique(nodes, names, "voicemail system")
}

// unreachable warns of systems behind one that takes everyone.
func (d *decoder) unreachable(n *strictyaml.Node, cfg *Config) {
	if cfg.VoicemailMode != "first" || n == nil || n.Kind != strictyaml.Sequence || len(n.Items) != len(cfg.Voicemail) {
		return
	}
	for i, v := range cfg.Voicemail {
		everyone := v.For == nil && !hasKey(n.Items[i], "for") || v.For != nil && v.For.Everyone
		if everyone && i+1 < len(n.Items) {
			d.Warn(n.Items[i+1], "the entry before takes everyone: nobody comes to this one")
			return
		}
	}
}

// several warns of what makes little sense where a user may go to more than one
// system.
func (d *decoder) several(mode, n *strictyaml.Node, cfg *Config) {
	if cfg.VoicemailMode == "first" || n == nil || n.Kind != strictyaml.Sequence || len(n.Items) != len(cfg.Voicemail) {
		return
	}
	if len(cfg.Voicemail) < 2 {
		d.Warn(mode, "voicemail_mode: %s: there is one entry: nobody has several systems", cfg.VoicemailMode)
	}
	urls, hours := make(map[string]string), (*Voicemail)(nil)
	for i := range cfg.Voicemail {
		v := &cfg.Voicemail[i]
		if former, ok := urls[v.URL]; ok && v.URL != "" {
			d.Warn(n.Items[i], "url: the same as that of %s: users whom both match are sent there twice, and the second time the PIN may be refused as used before", former)
		}
		urls[v.URL] = v.Name
		if cfg.VoicemailMode != "all" || v.Hours == nil {
			continue
		}
		if hours != nil && *hours.Hours != *v.Hours {
			d.Warn(n.Items[i], "hours: not those of %s: users whom both match are pushed only while both are open", hours.Name)
		}
		hours = v
	}
}

func hasKey(n *strictyaml.Node, key string) bool {
	return slices.ContainsFunc(n.Pairs, func(p strictyaml.Pair) bool { return p.Key.Text == key })
}

// everyVoicemail returns the keys that all types have, hookKeys those of all
// that push somewhere, typeKeys those of one type beside.
func everyVoicemail() []string { return []string{"name", "type", "for"} }

func hookKeys() []string {
	return []string{"no_mailbox", "timeout", "retries", "concurrency", "rate", "pause_max", "hours"}
}

func typeKeys(kind string) []string {
	switch kind {
	case "unity":
		return []string{"url", "ca_file", "user", "password"}
	case "http":
		return []string{"url", "ca_file", "secret"}
	case "exec", "stream":
		return []string{"command"}
	}
	return nil
}

// voicemailKeys returns the keys of all types, each once.
func voicemailKeys() []string {
	return slices.Concat(everyVoicemail(), typeKeys("unity"), []string{"secret"}, typeKeys("exec"), hookKeys())
}

func (d *decoder) voicemail(n *strictyaml.Node, v *Voicemail) {
	m := d.Mapping(n, voicemailKeys()...)
	d.name(d.Require(m, "name"), &v.Name)
	v.For = DecodeQuery(d.Decoder, m.Get("for"))
	d.enum(d.Require(m, "type"), &v.Type, "unity", "http", "exec", "stream", "none")
	d.voicemailType(m, v)
	d.path(m.Get("ca_file"), &v.CAFile)
	d.text(m.Get("user"), &v.User)
	d.secret(m.Get("password"), &v.Password)
	d.secret(m.Get("secret"), &v.Secret)
	d.enum(m.Get("no_mailbox"), &v.NoMailbox, "fail", "commit")
	d.positive(m.Get("timeout"), &v.Timeout)
	d.int(m.Get("retries"), &v.Retries, 0, 100)
	d.int(m.Get("concurrency"), &v.Concurrency, 1, 1000)
	if v.Type == "unity" {
		v.Rate = unityRate
	}
	d.rate(m.Get("rate"), &v.Rate)
	d.duration(m.Get("pause_max"), &v.PauseMax)
	d.hours(m.Get("hours"), v)
}

// voicemailType reports keys that the type lacks or does not know.
func (d *decoder) voicemailType(m *strictyaml.Keyed, v *Voicemail) {
	if v.Type == "" {
		return
	}
	own := typeKeys(v.Type)
	taken := slices.Concat(everyVoicemail(), own)
	if v.Type != "none" {
		taken = append(taken, hookKeys()...)
	}
	for _, key := range voicemailKeys() {
		if m.Has(key) && !slices.Contains(taken, key) {
			d.Fault(m.Key(key), "%s: type %s takes no such key", key, v.Type)
		}
	}
	for _, key := range own {
		if key != "ca_file" && key != "secret" {
			d.Require(m, key)
		}
	}
	if slices.Contains(own, "url") {
		d.hookURL(m.Get("url"), v)
	}
	if slices.Contains(own, "command") {
		d.command(m.Get("command"), &v.Command)
	}
}

func (d *decoder) hookURL(n *strictyaml.Node, v *Voicemail) {
	u, ok := d.url(n, "https", "http")
	if !ok {
		return
	}
	switch {
	case u.Scheme == "http" && !isLoopback(u.Hostname()):
		d.Fault(n, "url: PINs would cross the network in clear: use https://")
	case v.Type == "unity" && (u.RawQuery != "" || strings.Trim(u.Path, "/") != ""):
		d.Fault(n, "url: only the server's address is needed, such as https://cuc.example.com")
	default:
		v.URL = u.String()
	}
}

// command reads a command and its arguments. Only a path says surely which
// program it is.
func (d *decoder) command(n *strictyaml.Node, to *[]string) {
	if !d.list(n, to) {
		return
	}
	program := (*to)[0]
	if !strings.ContainsAny(program, `/\`) {
		d.Fault(items(n)[0], "command: the program's path is needed, such as /usr/libexec/push-pin; arguments are entries of their own")
		return
	}
	(*to)[0] = d.resolve(program)
}

// rate reads users a second, written as 50/s; 0 is no limit.
func (d *decoder) rate(n *strictyaml.Node, to *float64) {
	if n == nil {
		return
	}
	perSecond := *n
	perSecond.Text = strings.TrimSuffix(n.Text, "/s")
	if v, ok := d.Number(&perSecond, 100_000); ok {
		*to = v
	}
}

func (d *decoder) hours(n *strictyaml.Node, v *Voicemail) {
	m := d.Mapping(n, "cron", "for", "timezone")
	if m == nil {
		return
	}
	v.Hours = &Hours{}
	if cron := d.Require(m, "cron"); d.text(cron, &v.Hours.Cron) {
		if _, err := Cron(v.Hours.Cron); err != nil {
			d.Fault(cron, "cron: %s", err)
		}
	}
	d.positive(d.Require(m, "for"), &v.Hours.For)
	if zone := m.Get("timezone"); d.text(zone, &v.Hours.Timezone) {
		if _, err := Zone(v.Hours.Timezone); err != nil {
			d.Fault(zone, "timezone: %s", err)
		}
	}
}
