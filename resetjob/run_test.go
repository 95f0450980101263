package resetjob

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/dirpin/dirpin/config"
	"github.com/dirpin/dirpin/internal/credential"
	"github.com/dirpin/dirpin/internal/labstore"
	"github.com/dirpin/dirpin/internal/outcome"
	"github.com/dirpin/dirpin/internal/secret"
	"github.com/dirpin/dirpin/internal/store"
	"github.com/dirpin/dirpin/internal/user"
	"github.com/dirpin/dirpin/internal/voicemail"
)

// mailboxes is a voicemail system in memory: it remembers what it was asked,
// and answers as a test wants.
type mailboxes struct {
	mu     sync.Mutex
	pins   map[string]string   // by user
	asked  map[string][]string // request ids, by user
	answer func(userID string, attempt int) voicemail.Answer
	took   func() // told when a PIN was set, before the answer
}

func (m *mailboxes) Send(ctx context.Context, a voicemail.Attempt) voicemail.Answer {
	var body struct {
		User struct {
			UserID string `json:"user_id"`
		} `json:"user"`
		PIN string `json:"pin"`
	}
	if err := json.Unmarshal([]byte(a.Body.Reveal()), &body); err != nil {
		return voicemail.Answer{Class: voicemail.Answered, Result: voicemail.Rejected}
	}
	m.mu.Lock()
	id := body.User.UserID
	m.asked[id] = append(m.asked[id], a.RequestID)
	answer := voicemail.Answer{Class: voicemail.Answered, Result: voicemail.Accepted}
	if m.answer != nil {
		answer = m.answer(id, len(m.asked[id]))
	}
	if answer.Result == voicemail.Accepted || answer.Class == voicemail.Lost {
		m.pins[id] = body.PIN
	}
	took := m.took
	m.mu.Unlock()
	if took != nil {
		took()
	}
	return answer
}

func (m *mailboxes) Close() error { return nil }

// kit is an installation in a temporary folder, with cheap hashing.
type kit struct {
	testing.TB
	env   *Env
	boxes *mailboxes
	dir   string
	place store.Options
	ahead time.Duration // of the store's clock before the real one
}

func newKit(t testing.TB, change func(*config.Config)) *kit {
	t.Helper()
	dir := t.TempDir()
	return newKitAt(t, dir, labstore.Place(t, dir), change)
}

// newLocalKit is newKit on SQLite, for bubbles: nobody on the network may be
// waited for in one.
func newLocalKit(t testing.TB, change func(*config.Config)) *kit {
	t.Helper()
	dir := t.TempDir()
	return newKitAt(t, dir, store.Options{Path: filepath.Join(dir, "dirpin.db")}, change)
}

func newKitAt(t testing.TB, dir string, place store.Options, change func(*config.Config)) *kit {
	t.Helper()
	k := &kit{TB: t, dir: dir, place: place, boxes: &mailboxes{pins: map[string]string{}, asked: map[string][]string{}}}
	cfg := &config.Config{StateDir: k.dir, RecoverWithin: time.Hour,
		Watch:     []config.Watch{{Reports: filepath.Join(k.dir, "reports"), Lists: filepath.Join(k.dir, "lists")}},
		Voicemail: []config.Voicemail{{Name: "unity", Type: "http", Timeout: time.Minute, Retries: 2, Concurrency: 4, NoMailbox: "fail"}},
		Credentials: config.Credentials{
			PIN:      config.Policy{MinLength: 4, MaxLength: 8, ForbidTrivial: true, History: 3},
			Password: config.Policy{MinLength: 8, History: 5},
			Lockout:  config.Lockout{Attempts: 5, Within: 30 * time.Minute, For: 15 * time.Minute}}}
	if change != nil {
		change(cfg)
	}
	os.MkdirAll(cfg.Watch[0].Lists, 0o700)
	ring, err := credential.NewRing(rand.Reader, time.Now())
	k.must(err)
	k.place.Now, k.place.Dir = k.now, k.dir
	s, err := store.Open(context.Background(), k.place)
	k.must(err)
	t.Cleanup(func() { s.Close() })
	owner, err := NewOwner(context.Background(), s, ring)
	k.must(err)
	var systems []*voicemail.System
	for i := range cfg.Voicemail {
		systems = append(systems, voicemail.NewWith(&cfg.Voicemail[i], k.boxes, voicemail.Options{Jitter: func(time.Duration) time.Duration { return 0 }}))
	}
	k.env = &Env{Config: cfg, Ring: ring, Store: s, Owner: owner, Router: voicemail.NewRouter(systems...), Log: slog.New(slog.DiscardHandler),
		Hasher: credential.NewHasher(ring, credential.Params{Memory: 64, Time: 1, Threads: 1})}
	return k
}

func (k *kit) now() time.Time { return time.Now().Add(k.ahead) }

func (k *kit) must(err error) {
	k.Helper()
	if err != nil {
		k.Fatal(err)
	}
}

func (k *kit) addUsers(n int, change func(i int, u *user.User)) {
	k.Helper()
	k.must(k.env.Store.Write(context.Background(), func(tx *store.Tx) error {
		for i := range n {
			u := user.User{UserID: fmt.Sprintf("user%d", i), LastName: "Smith", Departments: []string{"12"}, Status: user.Local}
			if change != nil {
				change(i, &u)
			}
			if err := tx.AddUser(&u); err != nil {
				return err
			}
		}
		return nil
	}))
}

// submit accepts a job file.
func (k *kit) submit(text string) *store.Job {
	k.Helper()
	s, err := Load(filepath.Join(k.dir, "job.yaml"), []byte(text), k.env.Config.Watch[0].Lists, ParseOptions{
		Now: time.Now(), Foreground: true, PlainAllowed: true, Ceilings: k.env.Config.Limits, Credentials: k.env.Config.Credentials,
		Agreements: k.env.Config.Agreements, Mail: k.env.Config.Mail, CheckGiven: CheckGivenBy(&k.env.Config.Credentials), OpenSealed: k.env.Ring.OpenSealed})
	k.must(err)
	j, err := k.env.Submit(context.Background(), s, "tester")
	k.must(err)
	return j
}

func (k *kit) run(text string) *store.Job {
	k.Helper()
	j, err := k.env.Run(context.Background(), k.submit(text).ID, nil)
	k.must(err)
	return j
}

// list writes a file into the folder of lists.
func (k *kit) list(name, text string) {
	k.Helper()
	k.must(os.WriteFile(filepath.Join(k.env.Config.Watch[0].Lists, name), []byte(text), 0o600))
}

// codes returns the code of every item, by user id.
func (k *kit) codes(job int64) map[string]outcome.Code {
	k.Helper()
	codes := make(map[string]outcome.Code)
	k.must(k.env.Store.Read(context.Background(), func(tx *store.Tx) error {
		return tx.Report(job, func(r *store.ReportRow) error {
			if r.State != store.Final {
				codes[r.UserID] = outcome.Code(r.State)
			} else {
				codes[r.UserID] = r.Code
			}
			return nil
		})
	}))
	return codes
}

// holds tells whether the user's local secret is the value.
func (k *kit) holds(userID, kind, value string) bool {
	k.Helper()
	var c store.Credential
	k.must(k.env.Store.Read(context.Background(), func(tx *store.Tx) error {
		u, err := tx.User(userID)
		if err != nil {
			return err
		}
		c, err = tx.Credential(u.ID, kind)
		return err
	}))
	if c.Hash == "" {
		return false
	}
	ok, _, err := k.env.Hasher.Verify(credential.Kind(kind), c.Hash, secret.New(value))
	k.must(err)
	return ok
}

const generated = `
select: {query: all}
reset: {pin: {generate: {length: 6}}}
deliver: none
`

func TestEveryPINIsTheMailboxes(t *testing.T) {
	k := newKit(t, nil)
	k.addUsers(1200, nil)
	j := k.run(generated)
	if j.State != store.Done || j.Counts.Updated != 1200 || j.Counts.Selected != 1200 {
		t.Fatalf("job is %s with %+v", j.State, j.Counts)
	}
	seen := make(map[string]bool)
	for id, pin := range k.boxes.pins {
		if seen[pin] {
			t.Errorf("two users were given %s", pin)
		}
		seen[pin] = true
		if !k.holds(id, store.PIN, pin) {
			t.Errorf("%s: the local PIN is not the mailbox's", id)
		}
	}
	if len(seen) != 1200 {
		t.Errorf("%d mailboxes were set", len(seen))
	}
	log, err := os.ReadFile(filepath.Join(j.Report, "report.log"))
	k.must(err)
	if !strings.HasSuffix(string(log), "Updated 1200, skipped 0, flagged 0, failed 0, not run 0 of 1200 selected.\n") {
		t.Errorf("the log ends with %q", log[max(0, len(log)-200):])
	}
}

func TestWhatIsRefusedThereDoesNotChangeHere(t *testing.T) {
	// Fewer failures in a row than open the breaker.
	k := newKit(t, func(c *config.Config) { c.Voicemail[0].Concurrency, c.Voicemail[0].Retries = 1, 1 })
	k.addUsers(6, nil)
	k.boxes.answer = func(id string, attempt int) voicemail.Answer {
		switch id {
		case "user1":
			return voicemail.Answer{Class: voicemail.Answered, Result: voicemail.Rejected, Message: "too simple"}
		case "user2":
			return voicemail.Answer{Class: voicemail.Lost}
		case "user3":
			return voicemail.Answer{Class: voicemail.NotSent}
		case "user4":
			return voicemail.Answer{Class: voicemail.Answered, Result: voicemail.NoMailbox}
		case "user5":
			if attempt == 1 {
				return voicemail.Answer{Class: voicemail.Lost}
			}
		}
		return voicemail.Answer{Class: voicemail.Answered, Result: voicemail.Accepted}
	}
	j := k.run("select: {query: all}\nreset: {pin: \"471108\"}\n")
	want := map[string]outcome.Code{"user0": outcome.OK, "user1": outcome.VoicemailRejected, "user2": outcome.VoicemailTimeout,
		"user3": outcome.VoicemailUnreachable, "user4": outcome.NoMailbox, "user5": outcome.OK}
	got := k.codes(j.ID)
	for id, code := range want {
		if got[id] != code {
			t.Errorf("%s: %s, want %s", id, got[id], code)
		}
		if k.holds(id, store.PIN, "471108") != (code == outcome.OK) {
			t.Errorf("%s: %s, and the local PIN disagrees", id, code)
		}
	}
	if j.State != store.Incomplete || j.Counts.Uncertain != 1 || j.Counts.Failed != 4 {
		t.Errorf("job is %s with %+v", j.State, j.Counts)
	}
	if ids := k.boxes.asked["user5"]; len(ids) != 2 || ids[0] != ids[1] {
		t.Errorf("a retry has another request id: %v", ids)
	}
}

func TestWhoIsLeftAlone(t *testing.T) {
	k := newKit(t, func(c *config.Config) {
		c.Protect = &user.Query{Where: []user.Term{{Cond: &user.Condition{Field: user.FieldDepartment, Op: user.IsExactly, Text: []string{"Administrators"}}}}}
		c.Agreements = []config.Agreement{{Name: "corp", Passwords: "directory"}}
	})
	k.addUsers(5, func(i int, u *user.User) {
		switch i {
		case 1:
			u.Departments = []string{"12", "administrators"}
		case 2:
			u.Status, u.Agreement, u.Key = user.Active, "corp", "k2"
		case 3:
			u.Status, u.Agreement, u.Key, u.InactiveReason = user.Inactive, "corp", "k3", user.Absent
		case 4:
			u.UserID = "u471108"
		}
	})
	j := k.run("select: {query: all}\nreset: {pin: \"471108\", password: correct-horse}\nldap_inactive: {pin: flag, password: skip}\n")
	got := k.codes(j.ID)
	for id, want := range map[string]outcome.Code{"user0": outcome.OK, "user1": outcome.Protected, "user2": outcome.OK, "user3": outcome.LDAPInactive, "u471108": outcome.ContainsUserID} {
		if got[id] != want {
			t.Errorf("%s: %s, want %s", id, got[id], want)
		}
	}
	if !k.holds("user2", store.PIN, "471108") || k.holds("user2", store.Password, "correct-horse") {
		t.Error("a synchronized user's PIN is ours, the password the directory's")
	}
	if k.holds("u471108", store.Password, "correct-horse") {
		t.Error("a fault in the PIN leaves the password too")
	}
	if c := j.Counts; c.Updated != 2 || c.Skipped != 1 || c.Flagged != 1 || c.Failed != 1 {
		t.Errorf("counts: %+v", c)
	}
}

func TestGuardHoldsAndReleases(t *testing.T) {
	k := newKit(t, nil)
	k.addUsers(5, nil)
	j := k.submit("select: {query: all}\nreset: {pin: \"471108\"}\nlimits: {max_users: 3}\n")
	for range 2 { // running it again does not let it through
		_, err := k.env.Run(context.Background(), j.ID, nil)
		var held *HeldError
		if !errors.As(err, &held) || !strings.Contains(err.Error(), "5 users") {
			t.Fatalf("got %v, want it held", err)
		}
	}
	if len(k.boxes.pins) != 0 {
		t.Fatal("a held job pushed")
	}
	k.must(k.env.Store.Write(context.Background(), func(tx *store.Tx) error {
		j, err := tx.Job(j.ID)
		if err != nil {
			return err
		}
		return tx.ReleaseJob(j)
	}))
	j, err := k.env.Run(context.Background(), j.ID, nil)
	k.must(err)
	if j.Counts.Updated != 5 {
		t.Errorf("counts: %+v", j.Counts)
	}
}

func TestStopsAtMaxFailuresAndWhenDenied(t *testing.T) {
	for _, tt := range []struct {
		name   string
		answer voicemail.Answer
		rest   outcome.Code
	}{
		{"max_failures", voicemail.Answer{Class: voicemail.Answered, Result: voicemail.Rejected}, outcome.MaxFailures},
		{"denied", voicemail.Answer{Class: voicemail.Answered, Result: voicemail.Denied, Message: "401"}, outcome.VoicemailDenied},
	} {
		t.Run(tt.name, func(t *testing.T) {
			k := newKit(t, nil)
			k.addUsers(300, nil)
			k.boxes.answer = func(string, int) voicemail.Answer { return tt.answer }
			j := k.run("select: {query: all}\nreset: {pin: \"471108\"}\nlimits: {max_failures: 10}\n")
			if j.State != store.Stopped || j.Counts.Final() != 300 {
				t.Fatalf("job is %s with %+v", j.State, j.Counts)
			}
			n := 0
			for _, c := range k.codes(j.ID) {
				if c == tt.rest {
					n++
				}
			}
			if n < 250 {
				t.Errorf("only %d users ended %s", n, tt.rest)
			}
			if len(k.boxes.asked) > 30 {
				t.Errorf("%d users were pushed all the same", len(k.boxes.asked))
			}
		})
	}
}

func TestInterruptedRunGoesOn(t *testing.T) {
	k := newKit(t, nil)
	k.addUsers(400, nil)
	ctx, cancel := context.WithCancel(context.Background())
	n := 0
	k.boxes.took = func() {
		k.boxes.mu.Lock()
		defer k.boxes.mu.Unlock()
		if n++; n == 100 {
			cancel()
		}
	}
	j := k.submit(generated)
	_, err := k.env.Run(ctx, j.ID, nil)
	var cut *InterruptedError
	if !errors.As(err, &cut) || cut.Left == 0 || cut.Left > 300 {
		t.Fatalf("got %v", err)
	}
	for id, pin := range k.boxes.pins { // what was on the wire was settled
		if !k.holds(id, store.PIN, pin) {
			t.Errorf("%s: the mailbox has a PIN that is not here", id)
		}
	}
	again, err := k.env.Run(context.Background(), j.ID, nil)
	k.must(err)
	if again.ID != j.ID || again.Counts.Updated != 400 {
		t.Errorf("job %d: %+v", again.ID, again.Counts)
	}
	for id, ids := range k.boxes.asked {
		if len(ids) != 1 {
			t.Errorf("%s was asked %d times", id, len(ids))
		}
	}
}

func TestValuesAreForgotten(t *testing.T) {
	k := newKit(t, nil)
	k.addUsers(2, nil)
	k.boxes.answer = func(id string, _ int) voicemail.Answer {
		if id == "user1" {
			return voicemail.Answer{Class: voicemail.Answered, Result: voicemail.Rejected}
		}
		return voicemail.Answer{Class: voicemail.Answered, Result: voicemail.Accepted}
	}
	key := func(id int64) []byte {
		var j *store.Job
		k.must(k.env.Store.Read(context.Background(), func(tx *store.Tx) (err error) { j, err = tx.Job(id); return err }))
		return j.Key
	}
	failed := k.run("select: {query: all}\nreset: {pin: \"471108\"}\n")
	k.boxes.answer = nil
	done := k.run("select: {query: all}\nreset: {pin: \"264081\"}\n")
	if key(done.ID) != nil || key(failed.ID) == nil {
		t.Error("a job that is done keeps its key, or one with failures has none to retry with")
	}
	k.env.Config.RetryWithin = time.Hour
	k.must(k.env.Tidy(context.Background()))
	if key(failed.ID) == nil {
		t.Error("the values were erased too early")
	}
	k.env.Config.RetryWithin = -time.Hour
	k.must(k.env.Tidy(context.Background()))
	if key(failed.ID) != nil {
		t.Error("the values were not erased")
	}
}
