package strictyaml

import (
	"slices"
	"strconv"
	"strings"
	"time"
)

// Text reads a text exactly as it was written, as a PIN needs it: what YAML
// reads as anything but a string must be quoted, except digits without a
// leading zero; a comment right behind unquoted text may have been meant as
// part of it; empty is a fault.
func (d *Decoder) Text(n *Node) (string, bool) {
	s, ok := d.String(n)
	if ok && n.comment {
		d.Fault(n, "%sa # after unquoted text: quote the text if the # belongs to it, else put the comment on a line of its own", n.prefix())
		return "", false
	}
	return s, ok
}

// String is Text that allows a comment behind it, for values such as paths
// and names.
func (d *Decoder) String(n *Node) (string, bool) {
	if n == nil {
		return "", false
	}
	switch {
	case n.Kind == Mapping || n.Kind == Sequence:
		d.Fault(n, "%sa text is needed here, not a mapping or a list", n.prefix())
		return "", false
	case n.IsNull() || n.Text == "":
		d.Fault(n, "%sthe value is empty", n.prefix())
		return "", false
	case n.Quoted:
		return n.Text, true
	}
	switch kindOfPlain(n.Text) {
	case plainBool:
		d.Fault(n, `%sYAML reads this as true or false: quote it, "…"`, n.prefix())
		return "", false
	case plainNumber:
		d.Fault(n, `%sYAML reads this as a number and may change its digits: quote it, "…"`, n.prefix())
		return "", false
	}
	return n.Text, true
}

// word returns the text of a scalar that is no text of its own, such as a
// number or a keyword.
func (d *Decoder) word(n *Node, want string) (string, bool) {
	if n == nil {
		return "", false
	}
	if n.Kind == Mapping || n.Kind == Sequence {
		d.Fault(n, "%s%s is needed here, not a mapping or a list", n.prefix(), want)
		return "", false
	}
	if n.IsNull() || n.Text == "" {
		d.Fault(n, "%sthe value is empty: %s is needed", n.prefix(), want)
		return "", false
	}
	return n.Text, true
}

// Int reads a whole number from low to high.
func (d *Decoder) Int(n *Node, low, high int) (int, bool) {
	want := "a whole number from " + itoa(low) + " to " + itoa(high)
	s, ok := d.word(n, want)
	if !ok {
		return 0, false
	}
	v, ok := wholeNumber(s)
	if !ok || v < low || v > high {
		d.Fault(n, "%s%s is needed", n.prefix(), want)
		return 0, false
	}
	return v, true
}

// wholeNumber reads digits; one with a leading zero may mean octal.
func wholeNumber(s string) (int, bool) {
	digits := strings.TrimPrefix(s, "-")
	if !isDigits(digits) || len(digits) > 1 && digits[0] == '0' {
		return 0, false
	}
	v, err := strconv.Atoi(s)
	return v, err == nil
}

// Number reads a number that is not negative and may have a fraction.
func (d *Decoder) Number(n *Node, high float64) (float64, bool) {
	s, ok := d.word(n, "a number")
	if !ok {
		return 0, false
	}
	v, err := strconv.ParseFloat(s, 64)
	if err != nil || strings.Trim(s, "0123456789.") != "" || v > high {
		d.Fault(n, "%sa number from 0 to %g is needed", n.prefix(), high)
		return 0, false
	}
	return v, true
}

// IntOrPercent reads a whole number that is not negative, or a percentage to
// 100 such as 10%.
func (d *Decoder) IntOrPercent(n *Node) (v int, percent, ok bool) {
	const want = "a whole number, or a percentage such as 10%"
	s, ok := d.word(n, want)
	if !ok {
		return 0, false, false
	}
	digits, percent := strings.CutSuffix(s, "%")
	v, ok = wholeNumber(digits)
	if !ok || v < 0 || percent && v > 100 {
		d.Fault(n, "%s%s is needed", n.prefix(), want)
		return 0, false, false
	}
	return v, percent, true
}

// Bool reads true or false.
func (d *Decoder) Bool(n *Node) (value, ok bool) {
	s, ok := d.word(n, "true or false")
	if !ok {
		return false, false
	}
	if n.Quoted || s != "true" && s != "false" {
		d.Fault(n, "%strue or false is needed, without quotes", n.prefix())
		return false, false
	}
	return s == "true", true
}

// Enum reads one of the given words.
func (d *Decoder) Enum(n *Node, words ...string) (string, bool) {
	want := "one of " + strings.Join(words, ", ")
	s, ok := d.word(n, want)
	if !ok {
		return "", false
	}
	if slices.Contains(words, s) {
		return s, true
	}
	if near := Nearest(s, words); near != "" {
		want += " (did you mean " + near + "?)"
	}
	d.Fault(n, "%s%s is needed", n.prefix(), want)
	return "", false
}

// StringList reads one text or a list of texts, as String does.
func (d *Decoder) StringList(n *Node) ([]string, bool) { return d.list(n, d.String) }

// TextList reads one text or a list of texts, as Text does.
func (d *Decoder) TextList(n *Node) ([]string, bool) { return d.list(n, d.Text) }

func (d *Decoder) list(n *Node, read func(*Node) (string, bool)) ([]string, bool) {
	if n == nil {
		return nil, false
	}
	items := []*Node{n}
	if n.Kind == Sequence {
		items = n.Items
	}
	texts := make([]string, 0, len(items))
	all := true
	for _, item := range items {
		s, ok := read(item)
		all = all && ok
		texts = append(texts, s)
	}
	return texts, all
}

const day = 24 * time.Hour

// Duration reads a number with a unit of s, m, h or d, such as 90s or 1h30m;
// 0 is never, or none.
func (d *Decoder) Duration(n *Node) (time.Duration, bool) {
	const want = "a duration such as 30s, 15m, 24h or 7d"
	s, ok := d.word(n, want)
	if !ok {
		return 0, false
	}
	v, ok := parseDuration(s)
	if !ok {
		d.Fault(n, "%s%s is needed; 0 is never", n.prefix(), want)
		return 0, false
	}
	return v, true
}

// parseDuration takes whole numbers with units in falling order, to at most a
// hundred years.
func parseDuration(s string) (time.Duration, bool) {
	if s == "0" {
		return 0, true
	}
	var total time.Duration
	units := "dhms"
	sizes := map[byte]time.Duration{'d': day, 'h': time.Hour, 'm': time.Minute, 's': time.Second}
	for s != "" {
		i := strings.IndexAny(s, "dhms")
		if i < 1 || i > 10 || !isDigits(s[:i]) {
			return 0, false
		}
		at := strings.IndexByte(units, s[i])
		if at < 0 {
			return 0, false
		}
		v, err := strconv.ParseInt(s[:i], 10, 64)
		size := sizes[s[i]]
		if err != nil || v > int64(36525*day/size) {
			return 0, false
		}
		total += time.Duration(v) * size
		units = units[at+1:]
		s = s[i+1:]
	}
	return total, total <= 36525*day
}

// Time reads a time of RFC 3339, which has an offset.
func (d *Decoder) Time(n *Node) (time.Time, bool) {
	const want = "a time with an offset, such as 2026-12-01T02:00:00+01:00"
	s, ok := d.word(n, want)
	if !ok {
		return time.Time{}, false
	}
	t, err := time.Parse(time.RFC3339, s)
	if err != nil {
		d.Fault(n, "%s%s is needed", n.prefix(), want)
		return time.Time{}, false
	}
	return t, true
}

// TimeOrDate is Time that also takes a plain date, which lasts to the end of
// that day in loc: the first instant after it is returned.
func (d *Decoder) TimeOrDate(n *Node, loc *time.Location) (time.Time, bool) {
	const want = "a date such as 2026-12-31, or a time with an offset such as 2026-12-01T02:00:00+01:00"
	s, ok := d.word(n, want)
	if !ok {
		return time.Time{}, false
	}
	if t, err := time.ParseInLocation(time.DateOnly, s, loc); err == nil {
		return t.AddDate(0, 0, 1), true
	}
	t, err := time.Parse(time.RFC3339, s)
	if err != nil {
		d.Fault(n, "%s%s is needed", n.prefix(), want)
		return time.Time{}, false
	}
	return t, true
}
