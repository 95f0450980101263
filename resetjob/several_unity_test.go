package resetjob

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/dirpin/dirpin/config"
	"github.com/dirpin/dirpin/internal/fakeunity"
	"github.com/dirpin/dirpin/internal/outcome"
	"github.com/dirpin/dirpin/internal/secret"
	"github.com/dirpin/dirpin/internal/store"
	"github.com/dirpin/dirpin/internal/voicemail"
)

// cucs is an installation whose users are on two Unity Connections.
type cucs struct {
	*site
	hq, branch *fakeunity.Server
}

func newCUCs(t *testing.T, mode voicemail.Mode, users int, change func(*config.Config)) *cucs {
	t.Helper()
	c := &cucs{hq: fakeunity.New("api", "hush-hush"), branch: fakeunity.New("api", "hush-hush")}
	var urls, authorities []string
	for _, srv := range []*fakeunity.Server{c.hq, c.branch} {
		url, ca, err := srv.Start(t.TempDir())
		if err != nil {
			t.Fatal(err)
		}
		urls, authorities = append(urls, url), append(authorities, ca)
		t.Cleanup(func() {
			srv.Close()
			if v := srv.Violations(); len(v) > 0 {
				t.Errorf("sent what Cisco's guide does not allow: %q", v)
			}
		})
		for i := range users {
			srv.Add(fmt.Sprintf("user%d", i))
		}
	}
	c.site = newSite(t, mode, func(cfg *config.Config) {
		cfg.Credentials.PIN.MinLength = 6
		for i := range cfg.Voicemail {
			v := &cfg.Voicemail[i]
			v.Type, v.URL, v.CAFile, v.User, v.Timeout = "unity", urls[i], authorities[i], "api", 2*time.Second
		}
		if change != nil {
			change(cfg)
		}
	}, "hq", "branch")
	c.connect()
	c.addUsers(users, nil)
	return c
}

// connect connects anew, as another process does.
func (c *cucs) connect() {
	c.Helper()
	var systems []*voicemail.System
	for i := range c.env.Config.Voicemail {
		v := &c.env.Config.Voicemail[i]
		s, err := voicemail.New(v, voicemail.Options{Secret: secret.New("hush-hush"), Fingerprint: []byte(v.Name), Jitter: func(time.Duration) time.Duration { return 0 }})
		c.must(err)
		c.Cleanup(func() { s.Close() })
		systems = append(systems, s)
	}
	c.env.Router = voicemail.NewRouter(systems...)
	c.env.Router.Mode = voicemail.Mode(c.env.Config.VoicemailMode)
}

// puts lets a server have faults at its first PUTs, one after the other.
func puts(srv *fakeunity.Server, faults ...fakeunity.Fault) {
	srv.Fault = func(r fakeunity.Request) fakeunity.Fault {
		if r.Kind == "put" && r.N <= len(faults) {
			return faults[r.N-1]
		}
		return fakeunity.Fault{}
	}
}

// Each of two Unity Connections is settled by its own note: by the TimeChanged
// that it had before. A retry asks only who has not accepted, and sends nothing
// again that has arrived.
func TestSeveralUnities(t *testing.T) {
	var (
		arrives = fakeunity.Fault{LoseAnswer: true}
		never   = fakeunity.Fault{LoseRequest: true}
		broken  = fakeunity.Fault{Status: 500, Done: true}
		locked  = fakeunity.Fault{Status: 400, Body: `{"errors":{"code":"VALIDATION","message":"locked"}}`}
		busy    = fakeunity.Fault{Status: 429, RetryAfter: "1"}
	)
	type faults []fakeunity.Fault
	for _, tt := range []struct {
		name          string
		mode          voicemail.Mode
		hq, branch    faults
		retries       int
		first         outcome.Code
		between       func(*cucs)
		retry         outcome.Code // "": none is made
		hqN, branchN  int          // PUTs
		hqSet, brnSet int          // of these, that changed the mailbox
	}{
		{"all accept", voicemail.All, nil, nil, 0, outcome.OK, nil, "", 1, 1, 1, 1},
		{"the second arrives unseen", voicemail.All, nil, faults{arrives}, 0, outcome.VoicemailPartial, nil, outcome.OK, 1, 1, 1, 1},
		{"the second never arrives", voicemail.All, nil, faults{never}, 0, outcome.VoicemailPartial, nil, outcome.OK, 1, 2, 1, 1},
		{"the first arrives unseen", voicemail.All, faults{arrives}, nil, 0, outcome.VoicemailTimeout, nil, outcome.OK, 1, 1, 1, 1},
		{"settled at once", voicemail.All, faults{broken}, faults{arrives}, 2, outcome.OK, nil, "", 1, 1, 1, 1},
		{"busy", voicemail.All, faults{busy}, faults{busy}, 2, outcome.OK, nil, "", 2, 2, 1, 1},
		{"busy for too long", voicemail.All, nil, faults{busy}, 0, outcome.VoicemailPartial, nil, outcome.OK, 1, 2, 1, 1},
		{"the second refuses", voicemail.All, nil, faults{locked}, 0, outcome.VoicemailPartial, nil, outcome.OK, 1, 2, 1, 1},
		{"lost twice", voicemail.All, nil, faults{never, arrives}, 1, outcome.VoicemailPartial, nil, outcome.OK, 1, 2, 1, 1},
		{"any, both arrive unseen", voicemail.Any, faults{arrives}, faults{arrives}, 0, outcome.VoicemailTimeout, nil, outcome.OK, 1, 1, 1, 1},
		{"any, neither arrives", voicemail.Any, faults{never}, faults{never}, 0, outcome.VoicemailTimeout, nil, outcome.OK, 2, 2, 1, 1},
		{"any, the first is lost", voicemail.Any, faults{never}, nil, 0, outcome.OK, nil, "", 1, 1, 0, 1},
		{"its owner changes it meanwhile", voicemail.All, nil, faults{never}, 0, outcome.VoicemailPartial, func(c *cucs) { c.branch.Dial("user0", "264081") }, outcome.OK, 1, 2, 1, 2},
		{"made anew meanwhile", voicemail.All, nil, faults{arrives}, 0, outcome.VoicemailPartial, func(c *cucs) {
			c.branch.Remove("user0")
			c.branch.Add("user0")
		}, outcome.OK, 1, 2, 1, 1},
		{"removed meanwhile", voicemail.All, nil, faults{never}, 0, outcome.VoicemailPartial, func(c *cucs) { c.branch.Remove("user0") }, outcome.VoicemailPartial, 1, 1, 1, 0},
		{"somebody else's meanwhile", voicemail.All, nil, faults{locked}, 0, outcome.VoicemailPartial, func(c *cucs) {
			c.branch.Rename("user0", "user0.old")
			c.branch.Add("user0")
		}, outcome.OK, 1, 2, 1, 1},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			c := newCUCs(t, tt.mode, 1, func(cfg *config.Config) { cfg.Voicemail[0].Retries, cfg.Voicemail[1].Retries = tt.retries, tt.retries })
			puts(c.hq, tt.hq...)
			puts(c.branch, tt.branch...)
			j := c.run(given)
			if row := c.row(j.ID, "user0"); row.Code != tt.first || c.holds("user0", store.PIN, "593817") != (tt.first == outcome.OK) {
				t.Errorf("ended %s %q", row.Code, row.Detail)
			}
			if tt.between != nil {
				tt.between(c)
			}
			if tt.retry != "" {
				c.ahead += 5 * time.Minute
				c.connect()
				j = c.retry(j.ID)
				if row := c.row(j.ID, "user0"); row.Code != tt.retry || c.holds("user0", store.PIN, "593817") != (tt.retry == outcome.OK) {
					t.Errorf("the retry ended %s %q", row.Code, row.Detail)
				}
			}
			hq, _ := c.hq.Mailbox("user0")
			branch, _ := c.branch.Mailbox("user0")
			if n, m := c.hq.Requests("put"), c.branch.Requests("put"); n != tt.hqN || m != tt.branchN || hq.Changes != tt.hqSet || branch.Changes != tt.brnSet {
				t.Errorf("%d and %d PUTs, %d and %d changes", n, m, hq.Changes, branch.Changes)
			}
			c.nothingLeft()
		})
	}
}

// What was cut at the second of two is settled there, and the first is left
// alone.
func TestSeveralUnitiesCut(t *testing.T) {
	for _, mode := range []voicemail.Mode{voicemail.All, voicemail.Any} {
		for name, lost := range map[string]fakeunity.Fault{"it had arrived": {LoseAnswer: true}, "it had not": {LoseRequest: true}} {
			for _, then := range []string{"", "long ago", "before its note", "before its note, and cancelled"} {
				if name == "it had arrived" && strings.HasPrefix(then, "before") {
					continue
				}
				t.Run(strings.Join([]string{string(mode), name, then}, " "), func(t *testing.T) {
					t.Parallel()
					c := newCUCs(t, mode, 1, func(cfg *config.Config) { cfg.Voicemail[1].Retries = 1 })
					id := c.submit(given).ID
					ctx, cancel := context.WithCancel(context.Background())
					c.branch.Fault = func(r fakeunity.Request) fakeunity.Fault {
						if r.Kind != "put" || r.N > 1 {
							return fakeunity.Fault{}
						}
						cancel()
						return lost
					}
					if _, err := c.env.Run(ctx, id, nil); !errors.As(err, new(*InterruptedError)) {
						t.Fatal(err)
					}
					want, n := outcome.OK, 2
					if name == "it had arrived" {
						n = 1
					}
					switch then {
					case "long ago":
						longAgo(c.kit, nil)
						if lost.LoseRequest {
							if n = 1; mode == voicemail.All {
								want = outcome.VoicemailPartial
							}
						}
					case "before its note", "before its note, and cancelled":
						neverLeft(c.kit, nil)
					}
					if strings.HasSuffix(then, "cancelled") { // what has begun is brought to its end
						c.must(c.env.Store.Write(context.Background(), func(tx *store.Tx) error {
							_, err := tx.MoveJob(id, []store.State{store.Queued}, store.Cancelled, "")
							return err
						}))
					}
					c.connect()
					_, err := c.env.Run(context.Background(), id, nil)
					c.must(err)
					row := c.row(id, "user0")
					if row.Code != want || c.hq.Requests("put") != 1 || c.branch.Requests("put") != n {
						t.Errorf("ended %s %q after %d and %d PUTs", row.Code, row.Detail, c.hq.Requests("put"), c.branch.Requests("put"))
					}
					if c.holds("user0", store.PIN, "593817") != (want == outcome.OK) {
						t.Error("the PIN that is committed is not what the report says")
					}
					c.nothingLeft()
				})
			}
		}
	}
}

// Where mailboxes are is kept by system.
func TestSeveralUnitiesKeepTheirMailboxes(t *testing.T) {
	c := newCUCs(t, voicemail.All, 20, nil)
	if j := c.run(generated); j.Counts.Updated != 20 {
		t.Fatalf("%+v", j.Counts)
	}
	c.branch.Remove("user3")
	c.branch.Add("user3")
	c.connect()
	if j := c.run(given); j.Counts.Updated != 20 || c.hq.Requests("search") != 20 || c.branch.Requests("search") != 21 {
		t.Errorf("%+v after %d and %d searches", j.Counts, c.hq.Requests("search"), c.branch.Requests("search"))
	}
	for i := range 20 {
		id := fmt.Sprintf("user%d", i)
		hq, _ := c.hq.Mailbox(id)
		branch, _ := c.branch.Mailbox(id)
		if hq.PIN != "593817" || branch.PIN != "593817" {
			t.Errorf("%s has %s and %s", id, hq.PIN, branch.PIN)
		}
	}
}

// A wrong password at one: with all nobody is changed beyond those who were on
// their way, with any the other serves everybody.
func TestSeveralUnitiesAndAWrongPassword(t *testing.T) {
	for _, mode := range []voicemail.Mode{voicemail.All, voicemail.Any} {
		c := newCUCs(t, mode, 30, nil)
		c.branch.Password = "another"
		j := c.run(given)
		n := c.hq.Requests("put")
		tried := c.branch.Requests("rules") + c.branch.Requests("search")
		switch {
		case tried != 1:
			t.Errorf("%s: %d requests with a wrong password", mode, tried)
		case mode == voicemail.All && (j.State != store.Stopped || n != 0 || j.Counts.NotRun != 30):
			t.Errorf("all: %s %+v after %d PUTs", j.State, j.Counts, n)
		case mode == voicemail.Any && (j.Counts.Updated != 30 || n != 30):
			t.Errorf("any: %s %+v after %d PUTs", j.State, j.Counts, n)
		}
	}
}

// With all nobody is given a PIN by one that the other's rules refuse of
// everybody.
func TestSeveralUnitiesOfWhichOneRefusesThePIN(t *testing.T) {
	for _, mode := range []voicemail.Mode{voicemail.All, voicemail.Any} {
		for _, pin := range []string{"pin: {generate: {length: 6}}", "pin: \"593817\""} {
			c := newCUCs(t, mode, 5, nil)
			for i := range c.branch.Rules {
				c.branch.Rules[i].MinLength = 8
			}
			j := c.run("select: {query: all}\nreset: {" + pin + "}\ndeliver: none\n")
			n := c.hq.Requests("put")
			row := c.row(j.ID, "user0")
			if mode == voicemail.All && (n != 0 || j.Counts.Uncertain != 0 || row.Code != outcome.VoicemailRejected || !strings.Contains(row.Detail, "8")) {
				t.Errorf("all, %s: %s %q, %+v after %d PUTs", pin, row.Code, row.Detail, j.Counts, n)
			}
			if mode == voicemail.Any && (n != 5 || j.Counts.Updated != 5) {
				t.Errorf("any, %s: %+v after %d PUTs", pin, j.Counts, n)
			}
		}
	}
}
