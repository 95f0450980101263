package voicemail

import (
	"fmt"
	"net/http"
	"strings"
)

// judgeRead says what came of a read.
func (r response) judgeRead(from string, m masks) (object, *Answer) {
	o, err := parseObject(r.body)
	fault := o.fault()
	answer := func(class Class, result Result, more string) *Answer {
		return &Answer{Class: class, Result: result, Message: r.sentence(from, more), RetryAfter: r.retryAfter()}
	}
	words := r.faultWords(fault, err, m)
	switch s := r.status; {
	case s/100 == 2 && r.isHTML(), s/100 == 3:
		return o, answer(Answered, Denied, r.elsewhere(m))
	case s/100 == 2 && r.cut != "":
		return o, answer(NotSent, "", "its answer is not complete: "+r.cut)
	case s/100 == 2 && (err != nil || fault != nil):
		return o, answer(NotSent, "", "an answer that is neither JSON nor XML as Unity Connection writes it")
	case s/100 == 2:
		return o, nil
	case s == http.StatusUnauthorized, s == http.StatusForbidden:
		return o, answer(Answered, Denied, words)
	case s == http.StatusNotFound, s == http.StatusBadRequest && fault.notFound():
		a := answer(Answered, Rejected, words)
		a.Gone = true
		return o, a
	case s == http.StatusTooManyRequests:
		return o, r.tooMany(from, words)
	case s/100 == 4 && s != http.StatusRequestTimeout:
		return o, answer(Answered, Rejected, words)
	}
	return o, answer(NotSent, "", words) // it changed nothing, whatever it was
}

// judgePut says what the answer to a change means. Whatever is in doubt is
// Lost.
//
// The guide documents 204 with an empty body, and for a mailbox that is not
// there 400 with DATA_EXCEPTION. Of a refused PIN it says nothing; 400 with
// words is what was seen. It knows no 429 and no Retry-After: what stands in
// front of the server may send them. 503 is Lost like every other 5xx: some
// proxies send it for a connection that broke after the request was passed on.
// Reading TimeChanged settles it at the next attempt.
func (r response) judgePut(from string, m masks) Answer {
	o, err := parseObject(r.body)
	fault := o.fault()
	answer := func(class Class, result Result, more string) Answer {
		return Answer{Class: class, Result: result, Message: r.sentence(from, more), RetryAfter: r.retryAfter()}
	}
	words := r.faultWords(fault, err, m)
	isXML := len(r.body) > 0 && err == nil && o.xml
	switch s := r.status; {
	case s/100 == 2 && r.isHTML():
		return answer(Lost, Denied, r.elsewhere(m))
	case s/100 == 2 && r.cut != "":
		return answer(Lost, "", "its answer is not complete: "+r.cut)
	case s/100 == 2 && len(strings.TrimSpace(string(r.body))) > 0 && (err != nil || fault != nil || isXML):
		return answer(Lost, "", "and yet its answer is neither empty nor plain JSON: "+words)
	case s/100 == 2:
		return Answer{Class: Answered, Result: Accepted}
	case s/100 == 3:
		return answer(Answered, Denied, r.elsewhere(m))
	case s == http.StatusUnauthorized, s == http.StatusForbidden:
		return answer(Answered, Denied, words)
	case s == http.StatusTooManyRequests:
		return *r.tooMany(from, words)
	case (s == http.StatusBadRequest || s == http.StatusNotFound) && fault.notFound():
		a := answer(NotSent, Retry, words)
		a.Gone = true
		return a
	case s/100 == 4 && s != http.StatusRequestTimeout:
		a := answer(Answered, Rejected, words)
		if fault.inHistory() {
			a.Reason = InHistory
		}
		return a
	}
	return answer(Lost, "", words)
}

func (r response) tooMany(from, words string) *Answer {
	a := &Answer{Class: NotSent, Result: Retry, RetryAfter: r.retryAfter(), Message: r.sentence(from, words)}
	if a.RetryAfter == 0 {
		a.RetryAfter = retryAfterUnsaid
	}
	return a
}

func (r response) sentence(from, more string) string {
	status := strings.TrimSpace(fmt.Sprintf("%d %s", r.status, http.StatusText(r.status)))
	return strings.TrimSuffix(from+" answered "+status+": "+more, ": ")
}

// elsewhere explains a redirect or a page: single sign-on does that to the API.
func (r response) elsewhere(m masks) string {
	why := "an HTML page"
	if r.status/100 == 3 {
		why = m.words(r.words(reply{}, mask{}))
	}
	return why + "; where single sign-on is on, the API asks for it as well, and an account that signs in by password alone may not work"
}

// faultWords returns what the server said for people.
func (r response) faultWords(f *fault, err error, m masks) string {
	switch {
	case f != nil:
		return m.words(strings.Trim(f.code+": "+f.message, ": "))
	case err == nil, r.isHTML():
		return ""
	}
	return m.words(string(r.body))
}

// fault is an error in the server's words.
type fault struct{ code, message string }

// fault returns what the object reports as an error, nil where it is none.
// Documented is XML, <ErrorDetails><errors><code/><message/></errors>; in JSON
// clients have seen {"errors":{"code","message"}} and "error" with a list.
func (o object) fault() *fault {
	for _, name := range []string{"errors", "error"} {
		for _, e := range o.all(name) {
			f := fault{code: e.text("code"), message: e.text("message")}
			if f.message == "" {
				f.message = e.text("error")
			}
			return &f
		}
		if text := o.text(name); text != "" {
			return &fault{message: text}
		}
	}
	return nil
}

// notFound tells whether it says that there is no such mailbox.
func (f *fault) notFound() bool {
	if f == nil {
		return false
	}
	said := strings.ToLower(f.message)
	switch {
	case f.code == "NOT_FOUND":
		return true
	case f.code == "DATA_EXCEPTION":
		return strings.Contains(said, "not found")
	}
	return false
}

// inHistory tells whether it says that the PIN was used before, in one of the
// ways that were seen.
func (f *fault) inHistory() bool {
	if f == nil {
		return false
	}
	said := strings.ToLower(f.message)
	return strings.Contains(said, "repeat credential") || strings.Contains(said, "duplicate credential") || strings.Contains(said, "found in history")
}

// masks cut out several secrets.
type masks []mask

// words returns text for a log or a report.
func (ms masks) words(text string) string {
	for _, m := range ms {
		text = m.clean(text)
	}
	return shorten(text, maxWords)
}
