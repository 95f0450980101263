package watch

import (
	"bytes"
	"path/filepath"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"
)

// longest is how many bytes a name may have, and tail the longest that stands
// behind the name of a file that is kept.
const (
	longest = 255
	tail    = len(".status.txt")
)

// keptName returns the path of a file that is kept: "<time>-<job>-<name>", with
// the name cut in the middle where the whole would be too long.
func keptName(folder string, at time.Time, job, name string) string {
	prefix := at.UTC().Format(stamp) + "-"
	if job != "" {
		prefix += job + "-"
	}
	return filepath.Join(folder, prefix+cutMiddle(printable(name), longest-tail-len(prefix)))
}

// cutMiddle shortens a text to at most n bytes; its end, with the suffix, stays.
func cutMiddle(s string, n int) string {
	if len(s) <= n {
		return s
	}
	const gap = "…"
	half := (n - len(gap)) / 2
	head, end := s[:half], s[len(s)-half:]
	for !utf8.ValidString(head) {
		head = head[:len(head)-1]
	}
	for !utf8.RuneStart(end[0]) {
		end = end[1:]
	}
	return head + gap + end
}

// printable returns a name, or a line, with which no terminal is steered and no
// line forged.
func printable(s string) string {
	return strings.Map(func(r rune) rune {
		if r == utf8.RuneError || !unicode.IsPrint(r) {
			return '_'
		}
		return r
	}, s)
}

// forPeople returns a text as the programs of the system want it.
func forPeople(text string) []byte {
	if !crlf {
		return []byte(text)
	}
	return []byte("\ufeff" + strings.ReplaceAll(text, "\n", "\r\n"))
}

// lineEnds gives a text that was taken from another the line ends of that.
func lineEnds(text, from []byte) []byte {
	if !bytes.Contains(from, []byte("\r\n")) || bytes.Contains(text, []byte("\r\n")) {
		return text
	}
	return bytes.ReplaceAll(text, []byte("\n"), []byte("\r\n"))
}
