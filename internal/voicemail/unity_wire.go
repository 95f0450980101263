package voicemail

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net/http"
	"net/http/httptrace"
	"net/url"
)

// maxRead bounds what is read of a list; of an answer to a PUT it is maxReply.
const maxRead = 1 << 20

// get reads an object. The answer is set where there is none: never Lost,
// since a read changes nothing, and Gone where the server says that there is no
// such thing.
func (u *unity) get(ctx context.Context, path, query string, m masks) (object, *Answer) {
	r, _, err := u.exchange(ctx, http.MethodGet, path, query, nil, maxRead)
	if err == nil && (r.status == http.StatusUnauthorized || r.status == http.StatusForbidden) && u.forget() {
		// The session may have ended; our own account is asked once more before
		// that is believed.
		r, _, err = u.exchange(ctx, http.MethodGet, path, query, nil, maxRead)
	}
	if err != nil {
		a := u.broken(err, false, m)
		return object{}, &a
	}
	return r.judgeRead(u.shown, m)
}

// put sets the PIN. It is sent once, whatever happens.
func (u *unity) put(ctx context.Context, id string, b body, m masks) Answer {
	if ctx.Err() != nil {
		return Answer{Class: NotSent, Message: u.shown + ": not sent: the timeout had passed"}
	}
	r, left, err := u.exchange(ctx, http.MethodPut, pinPath(id), "", changeOf(b), maxReply)
	if err != nil {
		return u.broken(err, left, m)
	}
	return r.judgePut(u.shown, m)
}

// exchange makes one request. A request with a body has no GetBody, so that
// net/http cannot send it a second time by itself.
func (u *unity) exchange(ctx context.Context, method, path, query string, payload []byte, most int64) (r response, left bool, err error) {
	w := &wire{}
	target := *u.base
	if target.Path, err = url.PathUnescape(path); err != nil {
		return r, false, err
	}
	target.RawPath, target.RawQuery = path, query
	req := &http.Request{
		Method: method, URL: &target, Host: target.Host, Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1,
		Header: http.Header{"Accept": {"application/json"}, "User-Agent": {"dirpin"}},
	}
	if payload != nil {
		req.Header.Set("Content-Type", "application/json")
		req.Body, req.ContentLength = io.NopCloser(bytes.NewReader(payload)), int64(len(payload))
	}
	req.SetBasicAuth(u.user, u.password.Reveal())
	for _, c := range u.jar.Cookies(&target) {
		req.AddCookie(c)
	}
	resp, err := u.transport.RoundTrip(req.WithContext(httptrace.WithClientTrace(ctx, w.trace())))
	if err != nil {
		return r, w.left(), err
	}
	defer resp.Body.Close()
	if cookies := resp.Cookies(); len(cookies) > 0 {
		u.jar.SetCookies(&target, cookies)
	}
	said, err := io.ReadAll(io.LimitReader(resp.Body, most+1))
	r = response{status: resp.StatusCode, header: resp.Header, body: said, at: u.now()}
	switch {
	case errors.Is(err, context.DeadlineExceeded):
		r.cut = "it was not complete within the timeout"
	case err != nil:
		r.cut = "the connection broke off within it"
	case int64(len(said)) > most:
		r.body, r.cut = said[:most], "it is too long"
	}
	return r, true, nil
}

// forget ends the session, and tells whether there was one.
func (u *unity) forget() bool {
	at := *u.base
	at.Path = "/vmrest/users"
	cookies := u.jar.Cookies(&at)
	for _, c := range cookies {
		for _, path := range []string{"/", "/vmrest", "/vmrest/"} {
			u.jar.SetCookies(&at, []*http.Cookie{{Name: c.Name, Path: path, MaxAge: -1}})
		}
	}
	return len(cookies) > 0
}

// broken is the answer where there was none.
func (u *unity) broken(err error, left bool, m masks) Answer {
	why := m.words(err.Error())
	if errors.Is(err, context.DeadlineExceeded) {
		why = "nothing within the timeout"
	}
	var unverified *tls.CertificateVerificationError
	switch {
	case left:
		return Answer{Class: Lost, Message: u.shown + ": the PIN left and the answer was lost: " + why}
	case errors.As(err, &unverified):
		return Answer{Class: NotSent, Result: Denied, Message: u.shown + ": its certificate is not trusted: " + why + "; renew it, or name its CA in ca_file"}
	}
	return Answer{Class: NotSent, Message: u.shown + ": no answer: " + why}
}
