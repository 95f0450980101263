package tap_test

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"os"
	"runtime"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/go-ldap/ldap/v3"

	"github.com/dirpin/dirpin/internal/lab"
	"github.com/dirpin/dirpin/ldapsync/tap"
)

func TestMain(m *testing.M) { lab.Main(m) }

// ways are the ways to reach a server.
func ways(t *testing.T, d *lab.Directory) map[string]func() *tap.Client {
	pem, err := os.ReadFile(d.CAFile())
	if err != nil {
		t.Fatal(err)
	}
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(pem)
	dial := func(addr string, o tap.Options) *tap.Client {
		t.Helper()
		o.Idle = 10 * time.Second
		c, err := tap.Dial(t.Context(), "tcp", addr, o)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { c.Close() })
		if err := c.Bind(d.BindDN(), d.BindPassword()); err != nil {
			t.Fatal(err)
		}
		return c
	}
	conf := func() *tls.Config { return &tls.Config{RootCAs: pool, ServerName: "localhost"} }
	return map[string]func() *tap.Client{
		"plain":           func() *tap.Client { return dial(d.Addr(), tap.Options{}) },
		"LDAPS":           func() *tap.Client { return dial(d.TLSAddr(), tap.Options{TLS: conf()}) },
		"StartTLS":        func() *tap.Client { return dial(d.Addr(), tap.Options{TLS: conf(), StartTLS: true}) },
		"LDAPS, eager":    func() *tap.Client { return dial(d.TLSAddr(), tap.Options{TLS: conf(), NoGather: true}) },
		"plain, no rests": func() *tap.Client { return dial(d.Addr(), tap.Options{NoGather: true}) },
	}
}

func request(base string, attributes ...string) *ldap.SearchRequest {
	return ldap.NewSearchRequest(base, ldap.ScopeWholeSubtree, ldap.NeverDerefAliases, 0, 0, false, "(objectClass=inetOrgPerson)", attributes, nil)
}

// text is an entry in one line.
func text(dn string, attributes []string) string {
	return dn + "|" + strings.Join(attributes, "|")
}

func ofTap(e *tap.Entry) string {
	var a []string
	for _, x := range e.Attributes {
		s := string(x.Name)
		for _, v := range x.Values {
			s += fmt.Sprintf("=%x", v)
		}
		a = append(a, s)
	}
	return text(string(e.DN), a)
}

func ofLibrary(e *ldap.Entry) string {
	var a []string
	for _, x := range e.Attributes {
		s := x.Name
		for _, v := range x.ByteValues {
			s += fmt.Sprintf("=%x", v)
		}
		a = append(a, s)
	}
	return text(e.DN, a)
}

// TestAgreesWithTheLibrary: the same entries in the same order, in every way,
// paged and not, and the connection is the library's again afterwards.
func TestAgreesWithTheLibrary(t *testing.T) {
	d := lab.NewSlapd(t, lab.Config{Users: 2500})
	for _, size := range []int{1, 127, 128, 255, 256, 70_000, 400 << 10} {
		d.AddPerson(fmt.Sprint("photo", size), map[string][]string{"jpegPhoto": {strings.Repeat("\xff", size)}, "givenName;lang-de": {"Ö"}, "description": {"a", "b", "c"}})
	}
	all, err := d.Admin().Search(request(d.Base))
	if err != nil {
		t.Fatal(err)
	}
	var want []string
	for _, e := range all.Entries {
		want = append(want, ofLibrary(e))
	}
	for name, dial := range ways(t, d) {
		t.Run(name, func(t *testing.T) {
			c := dial()
			var got []string
			h := tap.Handler{Entry: func(e *tap.Entry) error { got = append(got, ofTap(e)); return nil }}
			r, err := c.Stream(t.Context(), request(d.Base), h)
			if err != nil || r.Entries != int64(len(want)) || !slices.Equal(got, want) {
				t.Fatalf("%d entries of %d, %v", len(got), len(want), err)
			}
			got = nil
			paging := ldap.NewControlPaging(100)
			q := request(d.Base)
			q.Controls = []ldap.Control{paging}
			for more := true; more; {
				r, err := c.Stream(t.Context(), q, h)
				if err != nil {
					t.Fatal(err)
				}
				answer, ok := ldap.FindControl(r.Controls, ldap.ControlTypePaging).(*ldap.ControlPaging)
				if !ok {
					t.Fatalf("no paging control in %v", r.Controls)
				}
				paging.SetCookie(answer.Cookie)
				more = len(answer.Cookie) > 0
			}
			if !slices.Equal(got, want) {
				t.Fatalf("paged: %d entries of %d", len(got), len(want))
			}
			one, err := c.Search(request("uid=u000007," + d.Base))
			if err != nil || len(one.Entries) != 1 {
				t.Errorf("the library's own search: %v, %v", one, err)
			}
		})
	}
}

func TestErrorsOfTheServerAndOfTheHandler(t *testing.T) {
	d := lab.NewSlapd(t, lab.Config{Users: 300, SizeLimit: 100})
	c := ways(t, d)["plain"]()
	n := 0
	count := tap.Handler{Entry: func(*tap.Entry) error { n++; return nil }}
	r, err := c.Stream(t.Context(), request(d.Base), count)
	if !ldap.IsErrorWithCode(err, ldap.LDAPResultSizeLimitExceeded) || n != 100 || r.Entries != 100 {
		t.Errorf("size limit: %d entries, %+v, %v", n, r, err)
	}
	if _, err := c.Stream(t.Context(), request("dc=nowhere"), count); !ldap.IsErrorWithCode(err, ldap.LDAPResultNoSuchObject) {
		t.Errorf("no such base: %v", err)
	}
	bad := request(d.Base)
	bad.Filter = "(uid="
	if _, err := c.Stream(t.Context(), bad, count); !ldap.IsErrorWithCode(err, ldap.ErrorFilterCompile) {
		t.Errorf("a filter that is none: %v", err)
	}
	full := errors.New("the disk is full")
	if _, err := c.Stream(t.Context(), request(d.Base), tap.Handler{Entry: func(*tap.Entry) error { return full }}); !errors.Is(err, full) {
		t.Errorf("the handler's error became %v", err)
	}
	if _, err := c.Stream(t.Context(), request(d.Base), count); !errors.Is(err, full) {
		t.Errorf("afterwards: %v", err)
	}
	c = ways(t, d)["LDAPS"]()
	var p *tap.PanicError
	if _, err := c.Stream(t.Context(), request(d.Base), tap.Handler{Entry: func(*tap.Entry) error { panic("nil map") }}); !errors.As(err, &p) || !strings.Contains(err.Error(), "nil map") {
		t.Errorf("the handler's panic became %v", err)
	}
}

func TestContextEndsAStream(t *testing.T) {
	d := lab.NewSlapd(t, lab.Config{Users: 3000})
	for name, dial := range ways(t, d) {
		c := dial()
		ctx, cancel := context.WithCancel(t.Context())
		var n atomic.Int64
		_, err := c.Stream(ctx, request(d.Base), tap.Handler{Entry: func(*tap.Entry) error {
			if n.Add(1) == 50 {
				cancel()
			}
			return nil
		}})
		at := n.Load()
		if !errors.Is(err, context.Canceled) {
			t.Fatalf("%s: %v", name, err)
		}
		// The rest is dropped, and the connection lives.
		r, err := c.Search(request("uid=u000007," + d.Base))
		if err != nil || len(r.Entries) != 1 || n.Load() != at {
			t.Errorf("%s: %v, %v; %d entries after the end", name, r, err, n.Load()-at)
		}
	}
}

func TestServerDies(t *testing.T) {
	d := lab.NewSlapd(t, lab.Config{Users: 3000})
	c, idle := ways(t, d)["plain"](), ways(t, d)["plain"]()
	n := 0
	_, err := c.Stream(t.Context(), request(d.Base), tap.Handler{Entry: func(*tap.Entry) error {
		if n++; n == 50 {
			d.Kill()
		}
		return nil
	}})
	if !errors.Is(err, tap.ErrCut) || !errors.Is(c.Tap.Err(), tap.ErrCut) {
		t.Errorf("after %d entries: %v", n, err)
	}
	if _, err := c.Stream(t.Context(), request(d.Base), tap.Handler{}); !errors.Is(err, tap.ErrCut) {
		t.Errorf("afterwards: %v", err)
	}
	for !idle.IsClosing() {
		runtime.Gosched()
	}
	// A connection that ended while nothing was owed gives no empty answer.
	if _, err := idle.Stream(t.Context(), request(d.Base), tap.Handler{}); !errors.Is(err, tap.ErrCut) || err == io.EOF {
		t.Errorf("of an idle connection: %v", err)
	}
	c.Close()
	if _, err := c.Stream(t.Context(), request(d.Base), tap.Handler{}); err == nil {
		t.Error("a search on a closed connection succeeded")
	}
}

// TestContentSynchronization runs RFC 4533 over the tap: cookies come in order
// with the entries.
func TestContentSynchronization(t *testing.T) {
	d := lab.NewSlapd(t, lab.Config{Users: 200, Overlays: []string{"overlay syncprov", "syncprov-sessionlog 1000"}})
	for name, dial := range ways(t, d) {
		t.Run(name, func(t *testing.T) { synchronize(t, d, dial) })
	}
}

func synchronize(t *testing.T, d *lab.Directory, dial func() *tap.Client) {
	c := dial()
	var cookie []byte
	var states [4]int
	h := tap.Handler{
		Entry: func(e *tap.Entry) error {
			s, ok, err := e.SyncState()
			if err != nil || !ok {
				return fmt.Errorf("%s: no state, %v", e.DN, err)
			}
			states[s.State]++
			return nil
		},
		Done: func(x *tap.Done) error {
			s, _, err := x.SyncDone()
			cookie = slices.Clone(s.Cookie)
			return err
		},
	}
	q := request(d.Base, "uid")
	q.Controls = []ldap.Control{ldap.NewControlSyncRequest(ldap.SyncRequestModeRefreshOnly, nil, false)}
	if _, err := c.Stream(t.Context(), q, h); err != nil || states != [4]int{tap.Add: 200} || len(cookie) == 0 {
		t.Fatalf("refresh: %v, cookie %q, %v", states, cookie, err)
	}

	events := make(chan string, 100)
	refreshed := make(chan bool, 1)
	h = tap.Handler{
		Entry: func(e *tap.Entry) error {
			s, _, err := e.SyncState()
			events <- fmt.Sprintf("%d %s %d", s.State, e.DN, len(e.Attributes))
			return err
		},
		Intermediate: func(m *tap.Intermediate) error {
			s, ok, err := m.SyncInfo()
			if ok && s.Done {
				refreshed <- true
			}
			return err
		},
	}
	q.Controls = []ldap.Control{ldap.NewControlSyncRequest(ldap.SyncRequestModeRefreshAndPersist, cookie, false)}
	ctx, cancel := context.WithCancel(t.Context())
	s := c.Start(ctx, q, h)
	<-refreshed
	s.Quiet(true)
	dn := d.AddPerson("anna", nil)
	d.Set(dn, "sn", "Maes")
	d.Rename(dn, "uid=berta", "")
	d.Delete("uid=berta," + d.Base)
	for _, want := range []string{"1 " + dn + " 1", "2 " + dn + " 1", "2 uid=berta," + d.Base + " 1", "3 uid=berta," + d.Base + " 0"} {
		if got := <-events; got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
	// The library's own searches go on beside it, and see their own entries.
	if r, err := c.Search(request("uid=u000007," + d.Base)); err != nil || len(r.Entries) != 1 {
		t.Errorf("a probe: %v, %v", r, err)
	}
	cancel()
	if _, err := s.Wait(); !errors.Is(err, context.Canceled) {
		t.Errorf("the end: %v", err)
	}
}
