package resetjob

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/dirpin/dirpin/config"
	"github.com/dirpin/dirpin/internal/fakeunity"
	"github.com/dirpin/dirpin/internal/labstore"
	"github.com/dirpin/dirpin/internal/outcome"
	"github.com/dirpin/dirpin/internal/secret"
	"github.com/dirpin/dirpin/internal/store"
	"github.com/dirpin/dirpin/internal/user"
	"github.com/dirpin/dirpin/internal/voicemail"
)

// unityKit is a kit whose voicemail is a fake Unity Connection over TLS.
func unityKit(t testing.TB, users int, change func(*config.Config)) (*kit, *fakeunity.Server) {
	t.Helper()
	srv := fakeunity.New("api", "hush-hush")
	url, ca, err := srv.Start(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		srv.Close()
		if v := srv.Violations(); len(v) > 0 {
			t.Errorf("sent what Cisco's guide does not allow: %q", v)
		}
	})
	k := newKit(t, func(c *config.Config) {
		c.Voicemail[0] = config.Voicemail{Name: "cuc", Type: "unity", URL: url, CAFile: ca, User: "api", Timeout: 2 * time.Second, Retries: 2, Concurrency: 4, NoMailbox: "fail"}
		c.Credentials.PIN.MinLength = 6
		if change != nil {
			change(c)
		}
	})
	k.connectUnity()
	k.addUsers(users, nil)
	for i := range users {
		srv.Add(fmt.Sprintf("user%d", i))
	}
	return k, srv
}

// connectUnity connects anew, as another process does.
func (k *kit) connectUnity() {
	k.Helper()
	s, err := voicemail.New(&k.env.Config.Voicemail[0], voicemail.Options{Secret: secret.New("hush-hush"), Jitter: func(time.Duration) time.Duration { return 0 }})
	k.must(err)
	k.Cleanup(func() { s.Close() })
	k.env.Router = voicemail.NewRouter(s)
}

const given = "select: {query: all}\nreset: {pin: \"593817\"}\n"

// The second job knows where the mailboxes are.
func TestUnityJob(t *testing.T) {
	k, srv := unityKit(t, 60, nil)
	k.addUsers(1, func(_ int, u *user.User) { u.UserID = "nobody" })
	j := k.run(generated)
	if j.Counts.Updated != 60 || j.Counts.Failed != 1 || k.codes(j.ID)["nobody"] != outcome.NoMailbox {
		t.Fatalf("%+v", j.Counts)
	}
	for i := range 60 {
		id := fmt.Sprintf("user%d", i)
		if m, _ := srv.Mailbox(id); m.Changes != 1 || !m.MustChange || !k.holds(id, store.PIN, m.PIN) {
			t.Errorf("%s: %+v", id, m)
		}
	}
	searched := srv.Requests("search")
	if j := k.run(given); j.Counts.Updated != 60 || srv.Requests("search") != searched+1 {
		t.Errorf("%+v with %d searches more", j.Counts, srv.Requests("search")-searched)
	}
}

// What was cut is settled by what the mailbox says of itself, and by nothing
// else.
func TestUnityWhatWasCut(t *testing.T) {
	for _, tt := range []struct {
		name   string
		lost   fakeunity.Fault // of the first PUT
		change func(*kit, *fakeunity.Server)
		want   outcome.Code
		puts   int
	}{
		{"it had arrived", fakeunity.Fault{LoseAnswer: true}, nil, outcome.OK, 1},
		{"it had not", fakeunity.Fault{LoseRequest: true}, nil, outcome.OK, 2},
		{"long ago, and it had arrived", fakeunity.Fault{LoseAnswer: true}, longAgo, outcome.OK, 1},
		{"long ago, and it had not", fakeunity.Fault{LoseRequest: true}, longAgo, outcome.VoicemailTimeout, 1},
		{"long ago, and the owner changed it since", fakeunity.Fault{LoseRequest: true}, func(k *kit, s *fakeunity.Server) {
			longAgo(k, s)
			s.Dial("user0", "264081")
		}, outcome.VoicemailTimeout, 1},
		{"cut before its note", fakeunity.Fault{LoseRequest: true}, neverLeft, outcome.OK, 2},
		{"cut before its note, long ago", fakeunity.Fault{LoseRequest: true}, func(k *kit, s *fakeunity.Server) { neverLeft(k, s); longAgo(k, s) }, outcome.OK, 2},
		{"renamed since", fakeunity.Fault{LoseAnswer: true}, func(k *kit, _ *fakeunity.Server) {
			k.sql("UPDATE users SET user_id = 'other', user_id_f = 'other' WHERE id = 1")
		}, outcome.VoicemailTimeout, 1},
		{"its note is damaged", fakeunity.Fault{LoseAnswer: true}, func(k *kit, _ *fakeunity.Server) { k.sql("UPDATE journal SET note = '{'") }, outcome.VoicemailTimeout, 1},
	} {
		t.Run(tt.name, func(t *testing.T) {
			k, srv := unityKit(t, 1, nil)
			id, cancel := k.submit(given).ID, func() {}
			var ctx context.Context
			ctx, cancel = context.WithCancel(context.Background())
			var puts atomic.Int64
			srv.Fault = func(r fakeunity.Request) fakeunity.Fault {
				if r.Kind != "put" || puts.Add(1) > 1 {
					return fakeunity.Fault{}
				}
				cancel()
				return tt.lost
			}
			var cut *InterruptedError
			if _, err := k.env.Run(ctx, id, nil); !errors.As(err, &cut) {
				t.Fatal(err)
			}
			if tt.change != nil {
				tt.change(k, srv)
			}
			k.connectUnity()
			j, err := k.env.Run(context.Background(), id, nil)
			k.must(err)
			for _, code := range k.codes(id) {
				if code != tt.want {
					t.Errorf("ended %s, want %s", code, tt.want)
				}
			}
			m, _ := srv.Mailbox("user0")
			if j.Counts.Final() != 1 || int(puts.Load()) != tt.puts {
				t.Errorf("%+v after %d PUTs", j.Counts, puts.Load())
			}
			if tt.want == outcome.OK && (m.PIN != "593817" || !k.holds("user0", store.PIN, "593817")) {
				t.Errorf("the mailbox has %s", m.PIN)
			}
		})
	}
}

func longAgo(k *kit, _ *fakeunity.Server) {
	k.sql("UPDATE journal SET first_at = first_at - 7200000")
}

// neverLeft is what a kill leaves between the journal and the note.
func neverLeft(k *kit, _ *fakeunity.Server) {
	k.sql(`UPDATE journal SET note = '{"unsent":true}', attempts = 0, lost = 0`)
}

// A job that was cancelled while a leg waited for its note has changed nobody.
func TestUnityCutBeforeItsNoteAndCancelled(t *testing.T) {
	k, srv := unityKit(t, 1, nil)
	id := k.submit(given).ID
	ctx, cancel := context.WithCancel(context.Background())
	srv.Fault = func(r fakeunity.Request) fakeunity.Fault {
		if r.Kind == "put" {
			cancel()
			return fakeunity.Fault{LoseRequest: true}
		}
		return fakeunity.Fault{}
	}
	k.env.Run(ctx, id, nil)
	neverLeft(k, srv)
	k.must(k.env.Store.Write(context.Background(), func(tx *store.Tx) error {
		_, err := tx.MoveJob(id, []store.State{store.Queued}, store.Cancelled, "")
		return err
	}))
	j, err := k.env.Run(context.Background(), id, nil)
	k.must(err)
	if m, _ := srv.Mailbox("user0"); k.codes(id)["user0"] != outcome.Cancelled || j.Counts.NotRun != 1 || m.Changes != 0 || srv.Requests("put") != 1 {
		t.Errorf("%+v, %v, %d PUTs", j.Counts, k.codes(id), srv.Requests("put"))
	}
}

// jobs retry takes the note along: what had arrived is not sent again.
func TestUnityRetry(t *testing.T) {
	k, srv := unityKit(t, 2, func(c *config.Config) { c.Voicemail[0].Retries, c.Voicemail[0].Timeout = 0, 300*time.Millisecond })
	srv.Fault = func(r fakeunity.Request) fakeunity.Fault {
		switch {
		case r.Kind == "put" && r.Alias == "user0":
			return fakeunity.Fault{LoseAnswer: true}
		case r.Kind == "put":
			return fakeunity.Fault{LoseRequest: true}
		}
		return fakeunity.Fault{}
	}
	first := k.run(given)
	if first.Counts.Uncertain != 2 || k.holds("user0", store.PIN, "593817") {
		t.Fatalf("%+v", first.Counts)
	}
	srv.Fault = nil
	again := k.retry(first.ID)
	if again.Counts.Updated != 2 || srv.Requests("put") != 3 {
		t.Errorf("%+v after %d PUTs", again.Counts, srv.Requests("put"))
	}
	for _, id := range []string{"user0", "user1"} {
		if m, _ := srv.Mailbox(id); m.Changes != 1 || m.PIN != "593817" || !k.holds(id, store.PIN, "593817") {
			t.Errorf("%s: %+v", id, m)
		}
	}
}

// A leg that was lost and then had to wait for the system goes on with its
// note: it asks before it sends again.
func TestUnityLostAndPaused(t *testing.T) {
	k, srv := unityKit(t, 1, nil)
	var puts atomic.Int64
	srv.Fault = func(r fakeunity.Request) fakeunity.Fault {
		if r.Kind == "put" && puts.Add(1) == 1 {
			return fakeunity.Fault{Status: 503, Done: true, RetryAfter: "6"} // longer than a push waits by itself
		}
		return fakeunity.Fault{}
	}
	if j := k.run(given); j.Counts.Updated != 1 || puts.Load() != 1 || srv.Requests("search") != 1 {
		t.Errorf("%+v after %d PUTs and %d searches", j.Counts, puts.Load(), srv.Requests("search"))
	}
}

// No PUT leaves before its note can be read in the database.
func TestUnityNoteIsDurableBeforeThePUT(t *testing.T) {
	k, srv := unityKit(t, 40, nil)
	var wrong atomic.Int64
	srv.Fault = func(r fakeunity.Request) fakeunity.Fault {
		if r.Kind != "put" {
			return fakeunity.Fault{}
		}
		m, _ := srv.Mailbox(r.Alias)
		k.must(k.env.Store.Read(context.Background(), func(tx *store.Tx) error {
			todo, err := tx.ToDo(1, 0, 1000, 1000)
			for _, it := range todo {
				if it.UserID != r.Alias {
					continue
				}
				note, err := voicemail.ParseNote(it.Sent.Note)
				if err != nil || note.Unsent || note.Mailbox != m.ObjectID || note.Changed == "" {
					wrong.Add(1)
				}
			}
			return err
		}))
		return fakeunity.Fault{}
	}
	if j := k.run(generated); j.Counts.Updated != 40 || wrong.Load() != 0 {
		t.Errorf("%+v, %d PUTs left without a note", j.Counts, wrong.Load())
	}
}

// A note that cannot be written keeps its PUT back, and holds up nobody else.
func TestUnityNoteThatCannotBeWritten(t *testing.T) {
	k, srv := unityKit(t, 20, nil)
	labstore.Refuse(k, k.place, "BEFORE UPDATE OF note", "journal", "NEW.user_ref = 7")
	j := k.run(given)
	if m, _ := srv.Mailbox("user6"); j.Counts.Updated != 19 || k.codes(j.ID)["user6"] != outcome.Store || m.Changes != 0 {
		t.Errorf("%+v, %v", j.Counts, m)
	}
}

// A mailbox that was made anew, or belongs to somebody else by now.
func TestUnityMailboxesAreFoundAgain(t *testing.T) {
	k, srv := unityKit(t, 3, nil)
	k.run(generated)
	srv.Remove("user0")
	srv.Add("user0")
	srv.Rename("user1", "user1.old")
	srv.Add("user1")
	j := k.run(given)
	if j.Counts.Updated != 3 {
		t.Fatalf("%+v", j.Counts)
	}
	for _, id := range []string{"user0", "user1", "user2"} {
		if m, _ := srv.Mailbox(id); m.PIN != "593817" {
			t.Errorf("%s: %+v", id, m)
		}
	}
	if m, _ := srv.Mailbox("user1.old"); m.PIN == "593817" {
		t.Error("somebody else's mailbox was changed")
	}
}

// What the server would refuse of everybody is refused before anybody is
// pushed; what it may refuse is said.
func TestUnityPolicyBeforeTheJob(t *testing.T) {
	k, srv := unityKit(t, 3, func(c *config.Config) { c.Credentials.PIN.MinLength = 4 })
	j := k.run("select: {query: all}\nreset: {pin: {generate: {length: 5}}}\ndeliver: none\n")
	if j.State != store.Failed || !strings.Contains(j.Reason, "5 digits") || srv.Requests("search")+srv.Requests("put") != 0 {
		t.Errorf("%s: %s", j.State, j.Reason)
	}
	srv.Rules[0].MinLength = 4 // one of the two rules takes it, and it is nobody's
	j = k.run("select: {query: all}\nreset: {pin: {generate: {length: 5}}}\ndeliver: none\n")
	if j.Counts.Failed != 3 || k.codes(j.ID)["user0"] != outcome.VoicemailRejected || srv.Requests("put") != 0 {
		t.Errorf("%s %+v", j.State, j.Counts)
	}
}

// A wrong password is tried once, whatever the job's size, and never again
// until it was changed or looked after.
func TestUnityWrongPasswordIsTriedOnce(t *testing.T) {
	k, srv := unityKit(t, 30, nil)
	srv.Password = "another"
	for range 3 {
		j := k.run(given)
		if j.State != store.Stopped || j.Counts.NotRun != 30 {
			t.Fatalf("%s %+v", j.State, j.Counts)
		}
		k.connectUnity()
	}
	if n := srv.Requests("rules") + srv.Requests("search") + srv.Requests("put") + srv.Requests("read"); n != 1 {
		t.Errorf("%d requests with a wrong password", n)
	}
}
