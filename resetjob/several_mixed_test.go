package resetjob

import (
	"testing"
	"time"

	"github.com/dirpin/dirpin/config"
	"github.com/dirpin/dirpin/internal/fakeunity"
	"github.com/dirpin/dirpin/internal/outcome"
	"github.com/dirpin/dirpin/internal/secret"
	"github.com/dirpin/dirpin/internal/store"
	"github.com/dirpin/dirpin/internal/voicemail"
)

// A Unity Connection beside a system that keeps no notes: each is settled in its
// own way, by a note or by its request id.
func TestUnityBesideAnother(t *testing.T) {
	for _, unityFirst := range []bool{true, false} {
		for _, mode := range []voicemail.Mode{voicemail.All, voicemail.Any} {
			srv := fakeunity.New("api", "hush-hush")
			url, ca, err := srv.Start(t.TempDir())
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { srv.Close() })
			names := []string{"cuc", "hook"}
			if !unityFirst {
				names = []string{"hook", "cuc"}
			}
			s := newSite(t, mode, func(c *config.Config) {
				c.Credentials.PIN.MinLength = 6
				for i := range c.Voicemail {
					if v := &c.Voicemail[i]; v.Name == "cuc" {
						v.Type, v.URL, v.CAFile, v.User, v.Timeout = "unity", url, ca, "api", 2*time.Second
					}
				}
			}, names...)
			connect := func() {
				var systems []*voicemail.System
				for i := range s.env.Config.Voicemail {
					v, opt := &s.env.Config.Voicemail[i], voicemail.Options{Secret: secret.New("hush-hush"), Jitter: func(time.Duration) time.Duration { return 0 }}
					system := voicemail.NewWith(v, s.at[v.Name], opt)
					if v.Type == "unity" {
						system, err = voicemail.New(v, opt)
						s.must(err)
						t.Cleanup(func() { system.Close() })
					}
					systems = append(systems, system)
				}
				s.env.Router = voicemail.NewRouter(systems...)
				s.env.Router.Mode = mode
			}
			connect()
			s.addUsers(1, nil)
			srv.Add("user0")
			s.answers("hook", &loses)
			puts(srv, fakeunity.Fault{LoseAnswer: true})
			j := s.run(given)
			if j.Counts.Uncertain != 1 || s.holds("user0", store.PIN, "593817") {
				t.Fatalf("%s: %+v", mode, j.Counts)
			}
			s.answers("hook", nil)
			for range 2 { // with all the first ends it, and the second is asked by the retry alone
				s.ahead += 5 * time.Minute
				connect()
				if j = s.retry(j.ID); j.Counts.Updated == 1 {
					break
				}
			}
			hook := s.at["hook"].asked["user0"]
			if s.row(j.ID, "user0").Code != outcome.OK || srv.Requests("put") != 1 || !s.holds("user0", store.PIN, "593817") {
				t.Errorf("%s, %v: %+v after %d PUTs", mode, names, s.row(j.ID, "user0"), srv.Requests("put"))
			}
			if len(hook) > 2 || len(hook) == 2 && hook[0] != hook[1] {
				t.Errorf("%s, %v: the hook was sent %v", mode, names, hook)
			}
			s.nothingLeft()
		}
	}
}
