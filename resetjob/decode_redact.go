package resetjob

import (
	"slices"
	"strings"

	"github.com/dirpin/dirpin/internal/strictyaml"
)

const removed = "(removed)"

// RedactJob returns the text of a job file, in UTF-8, with "(removed)" in the
// place of every plain secret, and of whatever a typing error may have made of
// one: values of unknown keys, and unknown keys that resemble none. Comments
// that repeat what was removed lose it too. It returns nil where the file
// cannot be understood so far: then nothing of it can be kept.
func RedactJob(data []byte) []byte {
	root, faults := strictyaml.Parse("", data)
	if root == nil || len(faults) > 0 {
		return nil // of a key that stands there twice, only one is in root
	}
	text, _ := strictyaml.DecodeText("", data)
	lf := strings.NewReplacer("\r\n", "\n", "\r", "\n").Replace(text)
	r := &redactor{text: lf, starts: lineStarts(lf), sound: true}
	r.mapping(root, jobKept())
	out := r.apply()
	if !r.sound || !isRedacted(out) {
		return nil
	}
	if strings.Contains(text, "\r\n") {
		out = strings.ReplaceAll(out, "\n", "\r\n")
	}
	return []byte(out)
}

// kept says which keys of a mapping are known, and what is kept of each one's
// value: everything for nil, else the keys that it names.
type kept map[string]kept

func keptKeys(keys []string) kept {
	k := kept{}
	for _, key := range keys {
		k[key] = nil
	}
	return k
}

func jobKept() kept {
	value := keptKeys(valueKeys())
	value["generate"] = keptKeys(generateKeys())
	reset := keptKeys(resetKeys())
	for _, key := range []string{"password", "confirm_password", "pin", "confirm_pin"} {
		reset[key] = value
	}
	sel := keptKeys(selectKeys())
	sel["file"], sel["csv"] = keptKeys(customFileKeys()), keptKeys(csvKeys())
	job := keptKeys(jobKeys())
	job["select"], job["reset"] = sel, reset
	job["ldap_synced"], job["ldap_inactive"] = keptKeys(treatmentKeys()), keptKeys(treatmentKeys())
	job["limits"] = keptKeys(limitsKeys())
	return job
}

// redactor gathers what is to be removed from a text.
type redactor struct {
	text    string
	starts  []int // offsets of the lines
	spans   []redactedSpan
	secrets []string
	unknown int  // keys so far
	sound   bool // every place was found

	line, column, at int // the place last asked for, to count on from
}

type redactedSpan struct {
	from, to int
	with     string
}

func lineStarts(text string) []int {
	starts := []int{0}
	for i := range len(text) {
		if text[i] == '\n' {
			starts = append(starts, i+1)
		}
	}
	return starts
}

// mapping keeps what is known of a node and removes the rest.
func (r *redactor) mapping(n *strictyaml.Node, keep kept) {
	if n.Kind != strictyaml.Mapping {
		r.all(n)
		return
	}
	names := make([]string, 0, len(keep))
	for name := range keep {
		names = append(names, name)
	}
	for _, pair := range n.Pairs {
		sub, known := keep[pair.Key.Text]
		switch {
		case known && pair.Key.Text == "sealed" && !isSealed(strings.TrimSpace(pair.Value.Text)):
			r.all(pair.Value)
		case known && sub == nil:
			continue
		case known:
			r.mapping(pair.Value, sub)
		default:
			// Nobody mistypes so many; and resemblance takes its time.
			if r.unknown++; r.unknown > 100 || strictyaml.Nearest(pair.Key.Text, names) == "" {
				r.all(pair.Key)
			}
			r.all(pair.Value)
		}
		if pair.Value.Kind == strictyaml.Null {
			r.commentOf(pair.Key)
		}
	}
}

// all removes every scalar and every key below a node.
func (r *redactor) all(n *strictyaml.Node) {
	switch n.Kind {
	case strictyaml.Scalar:
		r.scalar(n)
	case strictyaml.Sequence:
		for _, item := range n.Items {
			r.all(item)
		}
	case strictyaml.Mapping:
		for _, pair := range n.Pairs {
			r.all(pair.Key)
			r.all(pair.Value)
		}
	}
}

func (r *redactor) scalar(n *strictyaml.Node) {
	from, ok := r.offset(n)
	if !ok {
		r.sound = false
		return
	}
	to := r.end(n, from)
	if to < 0 {
		r.sound = false
		return
	}
	if !n.Quoted && n.CommentFollows() {
		// The # may have been meant as a part of the secret.
		to = r.lineEnd(to)
	}
	r.spans = append(r.spans, redactedSpan{from, to, `"` + removed + `"`})
	if len(n.Text) >= 3 {
		r.secrets = append(r.secrets, n.Text)
	}
}

// commentOf removes the comment behind a key without a value: in "pin: #4711"
// the # was meant as its beginning.
func (r *redactor) commentOf(key *strictyaml.Node) {
	from, ok := r.offset(key)
	if !ok {
		r.sound = false
		return
	}
	to := r.lineEnd(from)
	if i := strings.Index(r.text[from:to], " #"); i >= 0 {
		r.spans = append(r.spans, redactedSpan{from + i, to, ""})
	}
}

// apply returns the text without what was gathered.
func (r *redactor) apply() string {
	slices.SortFunc(r.spans, func(a, b redactedSpan) int { return a.from - b.from })
	var b strings.Builder
	at := 0
	for _, s := range r.spans {
		if s.from < at {
			continue // a comment that went with the value before it
		}
		b.WriteString(r.text[at:s.from])
		b.WriteString(s.with)
		at = s.to
	}
	b.WriteString(r.text[at:])
	return r.cleanComments(b.String())
}

// cleanComments removes what was removed as a value from comments too. A # in
// a text is taken for one, which does no harm.
func (r *redactor) cleanComments(text string) string {
	if len(r.secrets) == 0 || !strings.Contains(text, "#") {
		return text
	}
	slices.SortFunc(r.secrets, func(a, b string) int { return len(b) - len(a) })
	pairs := make([]string, 0, 2*len(r.secrets))
	for _, s := range r.secrets {
		pairs = append(pairs, s, removed)
	}
	clean := strings.NewReplacer(pairs...)
	lines := strings.Split(text, "\n")
	for i, line := range lines {
		if before, comment, ok := strings.Cut(line, "#"); ok {
			lines[i] = before + "#" + clean.Replace(comment)
		}
	}
	return strings.Join(lines, "\n")
}

// isRedacted reads the result again: whatever would be removed from it must
// say that it was.
func isRedacted(text string) bool {
	root, _ := strictyaml.Parse("", []byte(text))
	if root == nil {
		return false
	}
	r := &redactor{text: text, starts: lineStarts(text), sound: true}
	r.mapping(root, jobKept())
	for _, s := range r.secrets {
		if s != removed {
			return false
		}
	}
	for _, s := range r.spans {
		if s.with != "" && text[s.from:s.to] != s.with {
			return false
		}
	}
	return r.sound
}
