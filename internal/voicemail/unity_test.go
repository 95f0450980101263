package voicemail_test

import (
	"context"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/dirpin/dirpin/config"
	"github.com/dirpin/dirpin/internal/fakeunity"
	"github.com/dirpin/dirpin/internal/outcome"
	"github.com/dirpin/dirpin/internal/secret"
	"github.com/dirpin/dirpin/internal/user"
	"github.com/dirpin/dirpin/internal/voicemail"
)

// cuc is a fake with one mailbox, and a system that pushes to it.
type cuc struct {
	*fakeunity.Server
	system *voicemail.System
	notes  []voicemail.Note
}

func newCUC(t *testing.T, aliases ...string) *cuc {
	t.Helper()
	c := &cuc{Server: fakeunity.New("api", "hush-hush-4711")}
	for _, a := range aliases {
		c.Add(a)
	}
	conn := connectUnity(t, c.Server)
	t.Cleanup(func() { conn.Close() })
	cfg := config.Voicemail{Name: "cuc", Type: "unity", Timeout: 2 * time.Second, Retries: 3, Concurrency: 8, NoMailbox: "fail"}
	c.system = voicemail.NewWith(&cfg, conn, voicemail.Options{Jitter: func(time.Duration) time.Duration { return 0 }})
	return c
}

func flag(v bool) *bool { return &v }

// leg is a request for jdoe that nothing is known of yet.
func (c *cuc) leg(t *testing.T, userID, pin string, s voicemail.Settings) voicemail.Leg {
	t.Helper()
	r := voicemail.Request{ID: voicemail.NewRequestID(), Job: 1, Item: 1, Voicemail: "cuc", User: user.User{UserID: userID}, PIN: secret.New(pin), Settings: s}
	leg := voicemail.Leg{Attempt: r.Attempt(), Keep: func(n voicemail.Note) error { c.notes = append(c.notes, n); return nil }}
	leg.Note = voicemail.Note{Unsent: true}
	return leg
}

func (c *cuc) push(t *testing.T, leg voicemail.Leg) voicemail.Outcome {
	t.Helper()
	out, err := c.system.Push(t.Context(), leg)
	if err != nil {
		t.Fatal(err)
	}
	if strings.Contains(out.Detail, "hush-hush") {
		t.Errorf("detail %q", out.Detail)
	}
	return out
}

func must() voicemail.Settings { return voicemail.Settings{MustChange: flag(true)} }

func (c *cuc) fault(kind string, fn func(n int) fakeunity.Fault) {
	var n atomic.Int64
	c.Fault = func(r fakeunity.Request) fakeunity.Fault {
		if r.Kind != kind {
			return fakeunity.Fault{}
		}
		return fn(int(n.Add(1)))
	}
}

// once lets a fault happen the first time.
func once(f fakeunity.Fault) func(int) fakeunity.Fault {
	return func(n int) fakeunity.Fault {
		if n > 1 {
			return fakeunity.Fault{}
		}
		return f
	}
}

func TestUnitySetsThePINAndItsFlags(t *testing.T) {
	for _, xml := range []bool{false, true} {
		c := newCUC(t, "jdoe", "jdoe2")
		c.XMLOnly = xml
		c.Change("jdoe", func(m *fakeunity.Mailbox) { m.Locked, m.HackCount = true, 5 })
		out := c.push(t, c.leg(t, "jdoe", "593817", voicemail.Settings{MustChange: flag(false), CannotChange: flag(true), DoesNotExpire: flag(true), Locked: flag(false), ClearFailedAttempts: flag(true)}))
		m, _ := c.Mailbox("jdoe")
		if out.Code != outcome.OK || m.PIN != "593817" || m.MustChange || !m.CantChange || !m.DoesntExpire || m.Locked || m.HackCount != 0 {
			t.Errorf("xml=%v: %+v, the mailbox is %+v", xml, out, m)
		}
		if len(c.notes) != 1 || c.notes[0].Mailbox != m.ObjectID || c.notes[0].Changed == "" {
			t.Errorf("notes %+v", c.notes)
		}
	}
}

// What no flag is said of is left as it is, but for what the server does by
// itself.
func TestUnityLeavesOtherFlagsAlone(t *testing.T) {
	c := newCUC(t, "jdoe")
	c.Change("jdoe", func(m *fakeunity.Mailbox) { m.Locked, m.CantChange, m.HackCount = true, true, 5 })
	c.push(t, c.leg(t, "jdoe", "593817", voicemail.Settings{ClearFailedAttempts: flag(false)}))
	if m, _ := c.Mailbox("jdoe"); !m.Locked || !m.CantChange || m.HackCount != 5 || m.PIN != "593817" {
		t.Errorf("%+v", m)
	}
}

func TestUnityFindsEveryAlias(t *testing.T) {
	aliases := []string{"jdoe", "Jörg é", "a b  c", "a&b=c#d", "a+b", "100%", "%41", "o'neil", "(x)y)", "a;b/c?d", "日本", `q"\`}
	c := newCUC(t, aliases...)
	for i, a := range aliases {
		out := c.push(t, c.leg(t, a, []string{"593817", "264081"}[i%2], must()))
		if m, _ := c.Mailbox(a); out.Code != outcome.OK || m.Changes != 1 {
			t.Errorf("%q: %+v, %d changes", a, out, m.Changes)
		}
	}
}

func TestUnityOneOrNone(t *testing.T) {
	answers := map[string]struct {
		body string
		code outcome.Code
		says string
	}{
		"nobody":              {`{"@total":"0"}`, outcome.NoMailbox, "finds nobody"},
		"nobody, in XML":      {`<?xml version="1.0"?><Users total="0"/>`, outcome.NoMailbox, "finds nobody"},
		"another":             {`{"@total":"1","User":{"Alias":"jdoe2","ObjectId":"x"}}`, outcome.VoicemailRejected, `finds "jdoe2"`},
		"two":                 {`{"@total":"2","User":[{"Alias":"jdoe","ObjectId":"x"},{"Alias":"JDOE","ObjectId":"y"}]}`, outcome.VoicemailRejected, "finds 2 mailboxes"},
		"one without id":      {`{"@total":"1","User":{"Alias":"jdoe"}}`, outcome.VoicemailRejected, "no ObjectId"},
		"no total":            {`{}`, outcome.VoicemailUnreachable, "without saying how many"},
		"total 0 and a user":  {`{"@total":"0","User":{"Alias":"jdoe","ObjectId":"x"}}`, outcome.VoicemailRejected, ""},
		"total 1 and nobody":  {`{"@total":"1"}`, outcome.VoicemailUnreachable, "without saying how many"},
		"text":                {`OK`, outcome.VoicemailUnreachable, "neither JSON nor XML"},
		"a page":              {`<html><body>login</body></html>`, outcome.VoicemailDenied, "HTML page"},
		"half":                {`{"@total":"0"`, outcome.VoicemailUnreachable, "neither JSON nor XML"},
		"an error with a 200": {`{"errors":{"code":"X","message":"y"}}`, outcome.VoicemailUnreachable, ""},
	}
	for name, tt := range answers {
		t.Run(name, func(t *testing.T) {
			c := newCUC(t, "jdoe")
			c.fault("search", func(int) fakeunity.Fault { return fakeunity.Fault{Status: 200, Body: tt.body} })
			leg := c.leg(t, "jdoe", "593817", must())
			ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
			defer cancel()
			out, err := c.system.Push(ctx, leg)
			if err != nil || out.Code != tt.code || !strings.Contains(out.Detail, tt.says) || out.Lost != 0 {
				t.Errorf("%+v, %v", out, err)
			}
			if c.Requests("put") != 0 {
				t.Error("a PUT left")
			}
		})
	}
}

// Reading changes nothing: whatever becomes of a read, nothing is uncertain.
func TestUnityReadsAreNeverLost(t *testing.T) {
	faults := map[string]struct {
		fault fakeunity.Fault
		code  outcome.Code
	}{
		"401": {fakeunity.Fault{Status: 401}, outcome.VoicemailDenied}, "403": {fakeunity.Fault{Status: 403}, outcome.VoicemailDenied},
		"sso": {fakeunity.Fault{Redirect: true}, outcome.VoicemailDenied}, "login": {fakeunity.Fault{Login: true}, outcome.VoicemailDenied},
		"500": {fakeunity.Fault{Status: 500}, outcome.VoicemailUnreachable}, "503": {fakeunity.Fault{Status: 503}, outcome.VoicemailUnreachable},
		"408": {fakeunity.Fault{Status: 408}, outcome.VoicemailUnreachable}, "reset": {fakeunity.Fault{LoseRequest: true}, outcome.VoicemailUnreachable},
		"cut": {fakeunity.Fault{Cut: true}, outcome.VoicemailUnreachable}, "418": {fakeunity.Fault{Status: 418}, outcome.VoicemailRejected},
	}
	for _, kind := range []string{"search", "read"} {
		for name, tt := range faults {
			t.Run(kind+" "+name, func(t *testing.T) {
				c := newCUC(t, "jdoe")
				c.fault(kind, func(int) fakeunity.Fault { return tt.fault })
				if out := c.push(t, c.leg(t, "jdoe", "593817", must())); out.Code != tt.code || out.Lost != 0 {
					t.Errorf("%+v", out)
				}
				if c.Requests("put") != 0 {
					t.Error("a PUT left")
				}
			})
		}
	}
}

// A server without CUPI must not make a whole organisation look as if nobody
// had a mailbox.
func TestUnity404ToASearchDenies(t *testing.T) {
	c := newCUC(t, "jdoe")
	c.fault("search", func(int) fakeunity.Fault { return fakeunity.Fault{Status: 404} })
	if out := c.push(t, c.leg(t, "jdoe", "593817", must())); out.Code != outcome.VoicemailDenied || !out.Denied {
		t.Errorf("%+v", out)
	}
}

func TestUnityKnownMailboxSavesTheSearch(t *testing.T) {
	c := newCUC(t, "jdoe", "other")
	leg := c.leg(t, "jdoe", "593817", must())
	m, _ := c.Mailbox("jdoe")
	leg.Note.Mailbox = m.ObjectID
	if out := c.push(t, leg); out.Code != outcome.OK || c.Requests("search") != 0 {
		t.Errorf("%+v with %d searches", out, c.Requests("search"))
	}
	// The mailbox was made anew: the old id is not there.
	c.Remove("jdoe")
	c.Add("jdoe")
	leg = c.leg(t, "jdoe", "264081", must())
	leg.Note.Mailbox = m.ObjectID
	if out := c.push(t, leg); out.Code != outcome.OK || c.Requests("search") != 1 {
		t.Errorf("%+v with %d searches", out, c.Requests("search"))
	}
	// It belongs to somebody else now (S14): alice was renamed, and a new hire
	// is called alice.
	c.Rename("jdoe", "jdoe.old")
	c.Add("jdoe")
	old, _ := c.Mailbox("jdoe.old")
	leg = c.leg(t, "jdoe", "482913", must())
	leg.Note.Mailbox = old.ObjectID
	out := c.push(t, leg)
	after, _ := c.Mailbox("jdoe.old")
	if mine, _ := c.Mailbox("jdoe"); out.Code != outcome.OK || mine.PIN != "482913" || after.Changes != old.Changes {
		t.Errorf("%+v: jdoe %+v, jdoe.old %+v", out, mine, after)
	}
}

// The mailbox vanishes between the read and the PUT: it is looked for again,
// and only a search that finds nobody says that there is none.
func TestUnityMailboxThatVanishes(t *testing.T) {
	for name, back := range map[string]bool{"for good": false, "and comes back": true} {
		t.Run(name, func(t *testing.T) {
			c := newCUC(t, "jdoe")
			leg := c.leg(t, "jdoe", "593817", must())
			keep, gone := leg.Keep, false
			leg.Keep = func(n voicemail.Note) error {
				if !gone {
					gone = true
					c.Remove("jdoe")
					if back {
						c.Add("jdoe")
					}
				}
				return keep(n)
			}
			out := c.push(t, leg)
			want := outcome.NoMailbox
			if back {
				want = outcome.OK
			}
			if out.Code != want || out.Lost != 0 {
				t.Errorf("%+v", out)
			}
		})
	}
}

// What became of a PUT whose answer was lost.
func TestUnitySettlesWhatWasLost(t *testing.T) {
	lostAfter, lostBefore := fakeunity.Fault{LoseAnswer: true}, fakeunity.Fault{LoseRequest: true}
	tests := map[string]struct {
		fault    fakeunity.Fault
		settings voicemail.Settings
		between  func(*cuc) // after the first PUT
		before   func(*cuc)
		late     bool // the first PUT arrives after the mailbox was asked whether it had
		drawn    bool
		code     outcome.Code
		proof    bool
		puts     int
	}{
		"it had arrived":          {fault: lostAfter, settings: must(), code: outcome.OK, proof: true, puts: 1},
		"it had not":              {fault: lostBefore, settings: must(), code: outcome.OK, puts: 2},
		"a 500 after it was done": {fault: fakeunity.Fault{Status: 500, Done: true}, settings: must(), code: outcome.OK, proof: true, puts: 1},
		"a 503 after it was done": {fault: fakeunity.Fault{Status: 503, Done: true}, settings: must(), code: outcome.OK, proof: true, puts: 1},
		// Without must-change reading cannot tell it from a change on the phone; the
		// same PIN again is in history, and the PIN has changed.
		"it had arrived, no flag": {fault: lostAfter, code: outcome.OK, proof: true, puts: 2},
		"it had not, no flag":     {fault: lostBefore, code: outcome.OK, puts: 2},
		// S1: the PIN was used before, and the request never arrived.
		"in history from before": {fault: lostBefore, settings: must(), code: outcome.VoicemailTimeout, puts: 4,
			before: func(c *cuc) { c.Dial("jdoe", "593817"); c.Dial("jdoe", "264081") }},
		// Drawn by chance: nothing was changed since, so the mailbox has another one.
		"in history from before, and drawn": {fault: lostBefore, settings: must(), drawn: true, code: outcome.VoicemailTimeout, puts: 4,
			before: func(c *cuc) { c.Dial("jdoe", "593817"); c.Dial("jdoe", "264081") }},
		"it arrives late":            {fault: lostBefore, settings: must(), late: true, code: outcome.OK, proof: true, puts: 2},
		"it arrives late, and drawn": {fault: lostBefore, settings: must(), late: true, drawn: true, code: outcome.OK, proof: true, puts: 2},
		// The owner changed the PIN on the phone after it was lost on its way.
		"changed on the phone": {fault: lostBefore, settings: must(), code: outcome.OK, puts: 2,
			between: func(c *cuc) { c.Dial("jdoe", "264081") }},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			c := newCUC(t, "jdoe")
			if tt.before != nil {
				tt.before(c)
			}
			var reads atomic.Int64
			put := once(tt.fault)
			var puts atomic.Int64
			c.Fault = func(r fakeunity.Request) fakeunity.Fault {
				if r.Kind == "put" {
					if puts.Add(1) == 2 && tt.late {
						c.Dial("jdoe", "593817")
					}
					return put(int(puts.Load()))
				}
				if r.Kind == "read" && reads.Add(1) == 2 && tt.between != nil {
					tt.between(c)
				}
				return fakeunity.Fault{}
			}
			leg := c.leg(t, "jdoe", "593817", tt.settings)
			leg.Drawn = tt.drawn
			out := c.push(t, leg)
			m, _ := c.Mailbox("jdoe")
			if out.Code != tt.code || out.Lost != 1 || strings.Contains(out.Detail, "proof") != tt.proof || c.Requests("put") != tt.puts {
				t.Errorf("%+v after %d PUTs", out, c.Requests("put"))
			}
			if (m.PIN == "593817") != (tt.code == outcome.OK) {
				t.Errorf("%s, and the mailbox has %s", out.Code, m.PIN)
			}
		})
	}
}

// After a crash: the note is what was journalled; an older push is asked about
// and not repeated.
func TestUnitySettleOnly(t *testing.T) {
	c := newCUC(t, "jdoe")
	c.fault("put", once(fakeunity.Fault{LoseAnswer: true}))
	leg := c.leg(t, "jdoe", "593817", must())
	c.system = voicemail.NewWith(&config.Voicemail{Name: "cuc", Type: "unity", Timeout: time.Second}, c.conn(t), voicemail.Options{})
	if out := c.push(t, leg); out.Code != outcome.VoicemailTimeout {
		t.Fatalf("%+v", out)
	}
	leg.Note, leg.Prior = c.notes[0], voicemail.History{Attempts: 1, Lost: 1}
	if out := c.system.Settle(t.Context(), leg, "too old"); out.Code != outcome.OK || !strings.Contains(out.Detail, "TimeChanged") || c.Requests("put") != 1 {
		t.Errorf("%+v", out)
	}
	leg.Note.Changed = "2026-11-24 10:00:00.000"
	c.Dial("jdoe", "264081") // not ours any more, as far as reading tells
	if out := c.system.Settle(t.Context(), leg, "too old"); out.Code != outcome.VoicemailTimeout || !strings.HasPrefix(out.Detail, "too old") {
		t.Errorf("%+v", out)
	}
}

func (c *cuc) conn(t *testing.T) voicemail.Connector { return connectUnity(t, c.Server) }

// Without a durable note nothing leaves.
func TestUnitySendsNothingWithoutItsNote(t *testing.T) {
	c := newCUC(t, "jdoe")
	leg := c.leg(t, "jdoe", "593817", must())
	leg.Keep = func(voicemail.Note) error { return context.Canceled }
	if out, err := c.system.Push(t.Context(), leg); err != context.Canceled || out.Attempts != 0 || c.Requests("put") != 0 {
		t.Errorf("%+v, %v, %d PUTs", out, err, c.Requests("put"))
	}
}

func TestUnityRefusesWhatItsRuleRefuses(t *testing.T) {
	c := newCUC(t, "jdoe")
	p, answer := c.system.Policy(t.Context())
	if answer != nil || len(p.Rules) != 2 || p.Rules[1].MinLength != 6 || !p.Rules[1].NoTrivial || p.Rules[1].History != 5 || len(p.PINSync) != 0 {
		t.Fatalf("%+v, %+v", p, answer)
	}
	if out := c.push(t, c.leg(t, "jdoe", "5938", must())); out.Code != outcome.VoicemailRejected || !strings.Contains(out.Detail, "at least 6 digits") || c.Requests("put") != 0 {
		t.Errorf("%+v after %d PUTs", out, c.Requests("put"))
	}
	c.PINSync = true
	if p, _ := c.system.Policy(t.Context()); len(p.PINSync) != 1 || p.PINSync[0] != "cucm.example.com" {
		t.Errorf("%+v", p)
	}
}

func TestUnityRetryAfter(t *testing.T) {
	c := newCUC(t, "jdoe")
	c.fault("put", once(fakeunity.Fault{Status: 429, RetryAfter: "1"}))
	began := time.Now()
	if out := c.push(t, c.leg(t, "jdoe", "593817", must())); out.Code != outcome.OK || out.Lost != 0 || time.Since(began) < time.Second {
		t.Errorf("%+v after %v", out, time.Since(began))
	}
}

// A session that has ended is not a denial.
func TestUnitySessionThatEnded(t *testing.T) {
	var asked atomic.Int64
	srv := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asked.Add(1)
		if _, err := r.Cookie("JSESSIONID"); err == nil {
			w.WriteHeader(http.StatusUnauthorized)
			return
		}
		http.SetCookie(w, &http.Cookie{Name: "JSESSIONID", Value: "x", Path: "/vmrest/"})
		w.Write([]byte(`{"@total":"40000"}`))
	}))
	defer srv.Close()
	ca := writePEM(t, srv.Certificate().Raw)
	conn := connect(t, config.Voicemail{Type: "unity", URL: srv.URL, CAFile: ca, User: "api"})
	defer conn.Close()
	s := voicemail.NewWith(&config.Voicemail{Name: "cuc", Type: "unity", Timeout: 5 * time.Second}, conn, voicemail.Options{})
	for range 2 {
		if a, err := s.Check(t.Context()); err != nil || a.Message == "" {
			t.Errorf("%+v, %v", a, err)
		}
	}
	if asked.Load() != 3 {
		t.Errorf("%d requests", asked.Load())
	}
}

func TestUnityCheckWithTheWrongPassword(t *testing.T) {
	c := newCUC(t, "jdoe")
	c.Password = "another"
	if _, err := c.system.Check(t.Context()); err == nil || c.system.Denied() == nil {
		t.Errorf("%v", err)
	}
	if n := c.Requests("check"); n != 1 {
		t.Errorf("asked %d times with a wrong password", n)
	}
}
