package voicemail

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"mime"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"
)

const (
	maxRetryAfter    = 5 * time.Minute
	retryAfterUnsaid = time.Second // of a 429 that does not say
)

// response is what came back from an http hook.
type response struct {
	status int
	header http.Header
	body   []byte
	cut    string // why the body is not complete; "": it is
	at     time.Time
}

// judge says what the response means: what its status means, unless its body
// says otherwise. Whatever is in doubt is Lost.
func (r response) judge(from, requestID string, m mask) Answer {
	a := r.byStatus()
	said, err := readReply(r.body, requestID)
	sentence := func(more string) string {
		status := strings.TrimSpace(fmt.Sprintf("%d %s", r.status, http.StatusText(r.status)))
		return strings.TrimSuffix(from+" answered "+status+": "+more, ": ")
	}
	if doubt := r.doubt(a, said, err); doubt != "" {
		if r.isHTML() && a.Result == Accepted {
			a.Result = Denied // no user fares better with whatever stands in front of the hook
		}
		return a.lost(sentence(doubt))
	}
	switch {
	case said.result != "" && (a.Result == Accepted || a.Result == Rejected):
		a = said.answer()
		a.RetryAfter = r.retryAfter()
	case a.Result == Rejected:
		a.Reason = said.reason
	}
	a.Message = sentence(r.words(said, m))
	return a
}

// doubt says why the answer cannot be relied upon; "" where it can.
func (r response) doubt(a Answer, said reply, err error) string {
	accepts := a.Result == Accepted
	switch {
	case errors.Is(err, errForeign):
		return err.Error()
	case a.Class == Lost:
		return "" // and known to be
	case said.result == Accepted && !accepts:
		return "and yet its answer says accepted"
	case !accepts:
		return ""
	case r.cut != "":
		return "its answer is not complete: " + r.cut
	case r.isHTML() && (said.result == "" || said.result == Accepted):
		return "an HTML page, as a login or a proxy sends it; a hook must not answer as text/html"
	case err != nil:
		return err.Error()
	case r.isGarbled():
		return errGarbled.Error()
	}
	return ""
}

func (r response) byStatus() Answer {
	switch s := r.status; {
	case s/100 == 2:
		return Answer{Class: Answered, Result: Accepted}
	case s/100 == 3, s == http.StatusUnauthorized, s == http.StatusForbidden:
		return Answer{Class: Answered, Result: Denied}
	case s == http.StatusTooEarly, s == http.StatusTooManyRequests:
		a := Answer{Class: NotSent, Result: Retry, RetryAfter: r.retryAfter()}
		if a.RetryAfter == 0 {
			a.RetryAfter = retryAfterUnsaid
		}
		return a
	case s/100 == 4 && s != http.StatusRequestTimeout:
		return Answer{Class: Answered, Result: Rejected}
	}
	return Answer{Class: Lost, RetryAfter: r.retryAfter()}
}

// words returns what the hook said for people.
func (r response) words(said reply, m mask) string {
	switch {
	case said.message != "":
		return m.words(said.message)
	case r.status/100 == 3:
		to, err := url.Parse(r.header.Get("Location"))
		if err != nil || to.Host == "" {
			return "a redirect, which is never followed"
		}
		return m.words("a redirect to " + to.Host + ", which is never followed")
	case said.result != "" || r.isHTML():
		return ""
	}
	return m.words(string(r.body))
}

// isHTML tells whether the body is a page, by its header or by its looks.
func (r response) isHTML() bool {
	switch r.mediaType() {
	case "text/html", "application/xhtml+xml":
		return true
	}
	if strings.HasPrefix(http.DetectContentType(r.body), "text/html") {
		return true
	}
	start := bytes.ToLower(r.body[:min(len(r.body), 1024)])
	return bytes.HasPrefix(bytes.TrimSpace(start), []byte("<")) && bytes.Contains(start, []byte("<html"))
}

// isGarbled tells whether the body is declared to be JSON and is not.
func (r response) isGarbled() bool {
	t := r.mediaType()
	if t != "application/json" && !strings.HasSuffix(t, "+json") {
		return false
	}
	text := bytes.TrimSpace(bytes.TrimPrefix(r.body, []byte(byteOrderMark)))
	return len(text) > 0 && !json.Valid(text)
}

func (r response) mediaType() string {
	t, _, _ := mime.ParseMediaType(r.header.Get("Content-Type"))
	return t
}

// retryAfter reads the header's seconds or date; 0 where it says nothing.
func (r response) retryAfter() time.Duration {
	v := strings.TrimSpace(r.header.Get("Retry-After"))
	if v == "" {
		return 0
	}
	var wait time.Duration
	if s, err := strconv.ParseUint(v, 10, 64); err == nil {
		wait = time.Duration(min(s, uint64(maxRetryAfter/time.Second))) * time.Second
	} else if at, err := http.ParseTime(v); err == nil {
		wait = at.Sub(r.at)
	}
	return min(max(wait, 0), maxRetryAfter)
}
