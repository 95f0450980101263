package resetjob

import (
	"regexp"
	"strings"

	"github.com/dirpin/dirpin/internal/strictyaml"
)

// Redact returns what may be kept of a job file for people to read: RedactJob
// without its comments, where a former secret may stand as well; and of a file
// that cannot be understood the lines that surely hold no secret, whatever it was
// meant to say.
func Redact(data []byte) []byte {
	if text := RedactJob(data); text != nil {
		return withoutComments(text)
	}
	const nothing = "(removed: this is no job file that can be read, so its secrets, if it has any, cannot be told from the rest)\n"
	if len(data) > strictyaml.MaxSize {
		return []byte(nothing)
	}
	text, faults := strictyaml.DecodeText("", data)
	if faults.Failed() {
		return []byte(nothing)
	}
	lf := strings.NewReplacer("\r\n", "\n", "\r", "\n").Replace(text)
	return []byte("# Only the lines that surely hold no secret are kept: the file could not be understood.\n" + redactLines(lf))
}

// comment is one, or what looks like one in a text: there it is no loss.
var comment = regexp.MustCompile(`(?m)(^|[ \t])#[^\r\n]*`)

func withoutComments(text []byte) []byte { return comment.ReplaceAll(text, []byte("$1# "+removed)) }

// plainLine is a line that cannot hold a secret: one of the keys that never do,
// with a value of its kind, or a condition of a query written out. What somebody
// types for a secret looks like none of them.
var plainLine = regexp.MustCompile(`^[ \t]*(?:- )?(?:` +
	`(?:select|query|where|run|limits|reset|deliver|ldap_synced|ldap_inactive|notify):` +
	`|version: 1|query: all|run: (?:now|held)|deliver: none|match: (?:all|any)` +
	`|(?:must_change|cannot_change|does_not_expire|locked|clear_failed_attempts|all_valid): (?:true|false)` +
	`|(?:max_users|max_failures): \d+` +
	`|(?:at|until): \d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:Z|[+-]\d\d:\d\d)|expires: \d{4}-\d\d-\d\d` +
	`|op: (?:begins with|contains|is exactly|ends with|is empty|is not empty)` +
	`|field: (?:user_id|first_name|middle_name|last_name|manager|department|agreement|status|mail|telephone)` +
	`|\{field: [a-z_]+, op: [a-z ]+(?:, text: (?:"[^"\\]*"|[\pL \-]+))?\}` +
	`)[ \t]*$`)

// redactLines replaces what stands in every line but those that are plain. What
// is indented more than a line that was removed may belong to it.
func redactLines(text string) string {
	lines := strings.Split(text, "\n")
	below := -1 // the indentation of the line that was removed last; -1: none
	for i, line := range lines {
		bare := strings.TrimLeft(line, " \t")
		indent := len(line) - len(bare)
		if bare == "" {
			lines[i] = ""
			continue
		}
		if below >= 0 && indent <= below {
			below = -1
		}
		if below < 0 && plainLine.MatchString(line) {
			continue
		}
		lines[i] = line[:indent] + removed
		if below < 0 {
			below = indent
		}
	}
	return strings.Join(lines, "\n")
}

// redacted returns the text of a csv without its secrets.
func (c *CSV) redacted() string {
	var b strings.Builder
	r := newCSVReader(c.text, c.sep)
	for n := 0; ; n++ {
		if _, ok := r.next(); !ok {
			return b.String()
		}
		for i, cell := range r.cells {
			if i > 0 {
				b.WriteByte(c.sep)
			}
			text := cell.text
			if n > 0 && (i == c.columns.pin || i == c.columns.password) && text != "" {
				text = removed
			}
			if strings.ContainsAny(text, "\"\r\n"+string(c.sep)) || cell.quoted {
				text = `"` + strings.ReplaceAll(text, `"`, `""`) + `"`
			}
			b.WriteString(text)
		}
		b.WriteByte('\n')
	}
}
