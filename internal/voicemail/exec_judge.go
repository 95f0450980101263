package voicemail

import (
	"fmt"
	"strings"
)

// ended is a hook that has ended, and what it printed.
type ended struct {
	exit
	stdout, stderr *tail
}

// judge says what the end of a hook means. Whatever is in doubt is Lost.
func (e ended) judge(command, requestID string, m mask) Answer {
	switch {
	case e.stuck:
		return Answer{Class: Lost, Message: command + ": it was killed at the timeout and cannot end; a disk or network share that it waits for may hang"}
	case e.killed:
		return Answer{Class: Lost, Message: e.sentence(command, "it was killed at the timeout", e.words(m))}
	case e.signaled:
		return Answer{Class: Lost, Message: e.sentence(command, "it was killed by a signal", e.words(m))}
	}
	how := fmt.Sprintf("exit %d", e.code)
	line, whole := e.stdout.lastLine()
	said, err := readReply(line, requestID)
	if !whole && strings.HasPrefix(string(line), "{") {
		said, err = reply{}, errGarbled
	}
	a, named := byExit(e.code)
	switch {
	case err == errForeign, err != nil && (e.code == 0 || !named):
		return a.lost(e.sentence(command, how, err.Error()))
	case e.code != 0 && named && said.result == Accepted:
		return a.lost(e.sentence(command, how, "and yet its answer says accepted"))
	case said.result != "" && (e.code == 0 || !named):
		a = said.answer()
	case !named:
		return Answer{Class: Lost, Message: e.sentence(command, how+" without an answer", e.words(m))}
	case a.Result == Rejected:
		a.Reason = said.reason
	}
	words := m.words(said.message)
	if words == "" && a.Result != Accepted {
		words = e.words(m)
	}
	a.Message = e.sentence(command, how, words)
	return a
}

// byExit is the contract's table of exit codes.
func byExit(code int) (a Answer, named bool) {
	switch code {
	case 0:
		return Answer{Class: Answered, Result: Accepted}, true
	case 65:
		return Answer{Class: Answered, Result: Rejected}, true
	case 67:
		return Answer{Class: Answered, Result: NoMailbox}, true
	case 69:
		return Answer{Class: NotSent}, true
	case 75:
		return Answer{Class: NotSent, Result: Retry}, true
	case 77, 126, 127:
		return Answer{Class: Answered, Result: Denied}, true
	}
	return Answer{Class: Lost}, false
}

// words is the last thing that the hook printed for people: its errors, else
// its output, unless that is JSON.
func (e ended) words(m mask) string {
	line, _ := e.stderr.lastLine()
	if len(line) == 0 {
		line, _ = e.stdout.lastLine()
		if strings.HasPrefix(string(line), "{") {
			return ""
		}
	}
	return m.words(string(line))
}

func (e ended) sentence(command, how, words string) string {
	return strings.TrimSuffix(command+": "+how+": "+words, ": ")
}
