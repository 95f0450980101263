package resetjob

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"mime"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/dirpin/dirpin/config"
	"github.com/dirpin/dirpin/internal/delivery"
	"github.com/dirpin/dirpin/internal/lab"
	"github.com/dirpin/dirpin/internal/outcome"
	"github.com/dirpin/dirpin/internal/secret"
	"github.com/dirpin/dirpin/internal/store"
	"github.com/dirpin/dirpin/internal/user"
	"github.com/dirpin/dirpin/internal/voicemail"
)

// mailKit is a kit with a real mail server.
type mailKit struct {
	*kit
	server *lab.Mail
}

func newMailKit(t *testing.T) *mailKit {
	t.Helper()
	server := lab.NewMail(t, lab.MailConfig{TLS: "starttls"})
	k := newKit(t, func(c *config.Config) {
		c.RetryWithin, c.Voicemail[0].Timeout = time.Hour, 50*time.Millisecond // a lost request keeps its user for twice that
		c.Mail = &config.Mail{Server: server.URL(), TLS: "required", CAFile: server.CAFile(), From: "dirpin@example.com", Allow: []string{"@example.com"}, Language: "en"}
	})
	var err error
	k.env.Mail, err = delivery.NewMailer(k.env.Config.Mail, secret.Value{})
	k.must(err)
	return &mailKit{k, server}
}

// mailed returns the PINs in the mails to each address.
func (k *mailKit) mailed() map[string][]string {
	k.Helper()
	pins := make(map[string][]string)
	for _, m := range k.server.Mails() {
		_, rest, _ := strings.Cut(m.Message, "PIN: ")
		pins[m.To] = append(pins[m.To], rest[:min(6, len(rest))])
	}
	return pins
}

func (k *mailKit) deliveries(job int64) store.Deliveries {
	k.Helper()
	d, err := k.env.deliveries(job)
	k.must(err)
	return d
}

// erased tells whether the values of a job are forgotten.
func (k *mailKit) erased(job int64) bool {
	k.Helper()
	var j *store.Job
	k.must(k.env.Store.Read(context.Background(), func(tx *store.Tx) (err error) { j, err = tx.Job(job); return err }))
	return j.Key == nil
}

func (k *mailKit) report(j *store.Job) string {
	k.Helper()
	text, err := os.ReadFile(filepath.Join(j.Report, "report.log"))
	k.must(err)
	return string(text)
}

const mailedJob = `
name: mailed
select: {query: all}
reset: {pin: {generate: {length: 6}}}
deliver: {mail: {to: user}}
`

// Everyone gets the PIN that their mailbox has, in their language, and nothing
// of it is kept.
func TestValuesAreMailed(t *testing.T) {
	k := newMailKit(t)
	addresses := []string{"jane@example.com", "hans@example.com", "refused@example.com", "", "eve@elsewhere.org", "not an address"}
	k.addUsers(len(addresses), func(i int, u *user.User) {
		u.Mail, u.Language = addresses[i], []string{"en", "de-DE", "", "", "", ""}[i]
	})
	j := k.run(mailedJob)
	codes := k.codes(j.ID)
	for i, want := range []outcome.Code{outcome.OK, outcome.OK, outcome.OK, outcome.NoAddress, outcome.NoAddress, outcome.NoAddress} {
		if id := "user" + string(rune('0'+i)); codes[id] != want || want == outcome.NoAddress && k.boxes.pins[id] != "" {
			t.Errorf("%s is %s", id, codes[id])
		}
	}
	pins := k.mailed()
	if got := pins["jane@example.com"]; len(got) != 1 || got[0] != k.boxes.pins["user0"] {
		t.Errorf("jane got %q", got)
	}
	if got := pins["hans@example.com"]; len(got) != 1 || got[0] != k.boxes.pins["user1"] {
		t.Errorf("hans got %q", got)
	}
	for _, m := range k.server.Mails() {
		head, _, _ := strings.Cut(m.Message, "\r\n\r\n")
		subject, _, _ := strings.Cut(head[strings.Index(head, "Subject: ")+9:], "\r\n")
		decoded, err := new(mime.WordDecoder).DecodeHeader(subject)
		if want := map[string]string{"jane@example.com": "New voicemail PIN", "hans@example.com": "Neu: Voicemail-PIN"}[m.To]; err != nil || decoded != want {
			t.Errorf("subject %q, %v", decoded, err)
		}
	}
	if d := k.deliveries(j.ID); d.Sent != 2 || d.Refused != 1 || d.Waiting != 0 {
		t.Errorf("%+v", d)
	}
	log := k.report(j)
	for _, want := range []string{"\n  user2: refused: ", "no such user", "\nUndelivered: the values of 1 users, 1 of them refused, were not mailed. Send them again with: dirpin jobs deliver 1\nUpdated 3, "} {
		if !strings.Contains(log, want) {
			t.Errorf("the log has no %q:\n%s", want, log)
		}
	}
	if k.erased(j.ID) {
		t.Error("values are forgotten that are not delivered")
	}

	// The address is mended, and only this one is sent again.
	k.changeMail("user2", "mended@example.com")
	d, err := k.env.Deliver(context.Background(), j.ID, true)
	if err != nil || d.Sent != 3 || d.Open() != 0 {
		t.Errorf("%+v, %v", d, err)
	}
	pins = k.mailed()
	if got := pins["mended@example.com"]; len(pins) != 3 || len(got) != 1 || got[0] != k.boxes.pins["user2"] {
		t.Errorf("mails to %v", pins)
	}
	if log := k.report(j); strings.Contains(log, "ndelivered") || strings.Contains(log, "Not delivered") {
		t.Errorf("the log says still:\n%s", log)
	}
	if k.erased(j.ID) {
		t.Error("the values are forgotten, and those who failed can be tried again")
	}
}

func (k *mailKit) changeMail(userID, address string) {
	k.Helper()
	k.sql("UPDATE users SET mail = ?, mail_f = ? WHERE user_id = ?", address, address, userID) // as a synchronization would
}

// A message that was cut after it had been taken over comes again, the same one;
// a server that asks to come again later is asked again.
func TestMailsArriveAtLeastOnce(t *testing.T) {
	k := newMailKit(t)
	addresses := []string{"cut@example.com", "grey@example.com", "jane@example.com"}
	k.addUsers(len(addresses), func(i int, u *user.User) { u.Mail = addresses[i] })
	j := k.run(mailedJob)
	if d := k.deliveries(j.ID); d.Sent != 3 || d.Open() != 0 {
		t.Errorf("%+v", d)
	}
	ids := make(map[string][]string)
	for _, m := range k.server.Mails() {
		ids[m.To] = append(ids[m.To], m.ID())
	}
	if c := ids["cut@example.com"]; len(c) != 2 || c[0] != c[1] || len(ids["grey@example.com"]) != 1 || len(ids["jane@example.com"]) != 1 {
		t.Errorf("ids %v", ids)
	}
	if !k.erased(j.ID) {
		t.Error("everyone has their value, and it is kept")
	}
}

// A server that is away, or not to be trusted, holds up nobody but the mails,
// and whoever looks is told.
func TestMailServerAway(t *testing.T) {
	k := newMailKit(t)
	k.addUsers(50, func(_ int, u *user.User) { u.Mail = "jane@example.com" })
	k.env.Config.Mail.CAFile = ""
	broken, err := delivery.NewMailer(&config.Mail{Server: k.server.URL(), TLS: "required", From: "dirpin@example.com", Language: "en"}, secret.Value{})
	k.must(err)
	good := k.env.Mail
	k.env.Mail = broken
	j := k.run(mailedJob)
	if d := k.deliveries(j.ID); j.State != store.Done || d.Waiting != 50 || d.Sent != 0 {
		t.Fatalf("%s, %+v", j.State, d)
	}
	if log := k.report(j); !strings.Contains(log, "waiting: mail server") || !strings.Contains(log, "certificate") {
		t.Errorf("the log:\n%s", log)
	}
	if next, err := k.env.DeliverDue(context.Background()); err != nil || next.IsZero() || len(k.server.Mails()) != 0 {
		t.Errorf("next %v, %v", next, err)
	}
	k.env.Mail = nil
	if d, err := k.env.Deliver(context.Background(), j.ID, true); err != nil || d.Waiting != 50 {
		t.Errorf("%+v, %v", d, err)
	}
	k.env.Mail = good
	if d, err := k.env.Deliver(context.Background(), j.ID, true); err != nil || d.Sent != 50 || !k.erased(j.ID) {
		t.Errorf("%+v, %v", d, err)
	}
	seen := make(map[string]bool)
	for _, m := range k.server.Mails() {
		seen[m.ID()] = true
	}
	if len(seen) != 50 || len(k.server.Mails()) != 50 {
		t.Errorf("%d mails with %d ids", len(k.server.Mails()), len(seen))
	}
}

// Uncertain users are told so; when it is settled they are told again. A value
// that a later job has replaced is not mailed any more.
func TestUncertainAndOldValues(t *testing.T) {
	k := newMailKit(t)
	k.addUsers(2, func(i int, u *user.User) { u.Mail = []string{"jane@example.com", "refused@example.com"}[i] })
	k.boxes.answer = func(userID string, attempt int) voicemail.Answer {
		if userID == "user0" && attempt <= 3 {
			return voicemail.Answer{Class: voicemail.Lost, Message: "timeout"}
		}
		return voicemail.Answer{Class: voicemail.Answered, Result: voicemail.Accepted}
	}
	j := k.run(mailedJob)
	if codes := k.codes(j.ID); codes["user0"] != outcome.VoicemailTimeout || codes["user1"] != outcome.OK {
		t.Fatalf("codes %v", codes)
	}
	mails := k.server.Mails()
	if len(mails) != 1 || !strings.Contains(mails[0].Message, "Perhaps changed") {
		t.Fatalf("mails %+v", mails)
	}
	again, err := k.env.Retry(context.Background(), j.ID, "tester")
	k.must(err)
	if _, err = k.env.Run(context.Background(), again.ID, nil); err != nil {
		t.Fatal(err)
	}
	mails = k.server.Mails()
	if len(mails) != 2 || !strings.Contains(mails[1].Message, "Subject: New") || mails[0].ID() == mails[1].ID() {
		t.Fatalf("mails %+v", mails)
	}
	if pins := k.mailed()["jane@example.com"]; pins[0] != pins[1] || pins[0] != k.boxes.pins["user0"] {
		t.Errorf("jane was told %q", pins)
	}

	later := k.run(strings.Replace(mailedJob, "mailed", "later", 1))
	k.changeMail("user1", "mended@example.com")
	d, err := k.env.Deliver(context.Background(), j.ID, true)
	if err != nil || d.Obsolete != 1 || d.Open() != 0 {
		t.Errorf("%+v, %v", d, err)
	}
	if _, err := k.env.Deliver(context.Background(), later.ID, true); err != nil {
		t.Error(err)
	}
	if got := k.mailed()["mended@example.com"]; len(got) != 1 || got[0] != k.boxes.pins["user1"] {
		t.Errorf("user1 was told %q", got)
	}
}

// A manager gets the values of those who report to them, in their own language;
// one address gets everyone's.
func TestMailToOthers(t *testing.T) {
	k := newMailKit(t)
	k.addUsers(3, func(i int, u *user.User) {
		switch i {
		case 0:
			u.Mail, u.Language = "boss@example.com", "fr"
		case 1:
			u.Manager, u.FirstName = "USER0", "Jane"
		}
	})
	j := k.run(strings.Replace(mailedJob, "to: user", "to: manager", 1))
	if codes := k.codes(j.ID); codes["user0"] != outcome.NoAddress || codes["user1"] != outcome.OK || codes["user2"] != outcome.NoAddress {
		t.Errorf("codes %v", codes)
	}
	if m := k.server.Mails(); len(m) != 1 || m[0].To != "boss@example.com" || !strings.Contains(m[0].Message, "Jane Smith (user1)") || !strings.Contains(m[0].Message, "Bonjour") {
		t.Errorf("mails %+v", m)
	}
	k.run(strings.Replace(mailedJob, "to: user", "to: pins@example.com", 1))
	if got := k.mailed()["pins@example.com"]; len(got) != 3 {
		t.Errorf("pins@ got %q", got)
	}
}

// Whoever lost their address between the opening of a job and their turn is not
// changed.
func TestAddressIsAskedAgainAtTheClaim(t *testing.T) {
	k := newMailKit(t)
	k.addUsers(1, func(_ int, u *user.User) { u.Mail = "jane@example.com" })
	k.env.Config.Approve.Over = 0
	k.env.Config.Limits.MaxUsers = 0
	j := k.submit(mailedJob + "limits: {max_users: 0}\n")
	l, err := k.env.take(context.Background(), j.ID)
	k.must(err)
	k.must(k.env.open(context.Background(), l, nil))
	k.changeMail("user0", "")
	if _, err := k.env.Run(context.Background(), j.ID, nil); err != nil {
		t.Fatal(err)
	}
	if codes := k.codes(j.ID); codes["user0"] != outcome.NoAddress || len(k.boxes.pins) != 0 {
		t.Errorf("codes %v, pins %v", codes, k.boxes.pins)
	}
}

// A job that cannot be read keeps nobody else's mails.
func TestOneJobKeepsNoOthersMails(t *testing.T) {
	k := newMailKit(t)
	k.addUsers(1, func(_ int, u *user.User) { u.Mail = "jane@example.com" })
	good := k.env.Mail
	k.env.Mail = nil
	first, second := k.run(mailedJob), k.run(mailedJob+"description: another\n")
	k.env.Mail = good
	k.must(k.env.Store.Write(context.Background(), func(tx *store.Tx) error {
		broken := *k.job(first.ID)
		broken.Key = []byte("no key")
		return errors.Join(tx.SealJob(&broken), tx.SendAgain(first.ID), tx.SendAgain(second.ID))
	}))
	if _, err := k.env.DeliverDue(context.Background()); err == nil {
		t.Error("nothing is said of the job that cannot be read")
	}
	if d := k.deliveries(second.ID); d.Sent != 1 {
		t.Errorf("%+v", d)
	}
	if owner := k.job(first.ID).Owner; owner != "" {
		t.Errorf("the job that cannot be read is kept by %q", owner)
	}
}

// Of a restored database nothing is mailed by itself: it may have been, and
// others since.
func TestRestoredDatabaseMailsNothing(t *testing.T) {
	k := newMailKit(t)
	k.addUsers(1, func(_ int, u *user.User) { u.Mail = "jane@example.com" })
	k.server.Stop()
	j := k.run(mailedJob)
	if d := k.deliveries(j.ID); d.Waiting != 1 {
		t.Fatalf("%+v", d)
	}
	k.server.Start()
	k.must(k.env.Store.Write(context.Background(), func(tx *store.Tx) error { return tx.HoldRestored("test", tx.Now()) }))
	if next, err := k.env.DeliverDue(context.Background()); err != nil || !next.IsZero() || len(k.server.Mails()) != 0 {
		t.Errorf("next %v, %v", next, err)
	}
	if d, err := k.env.Deliver(context.Background(), j.ID, true); err != nil || d.Sent != 1 {
		t.Errorf("%+v, %v", d, err)
	}
}

// The values live no longer than retry_within, and then it is said.
func TestUndeliveredValuesExpire(t *testing.T) {
	k := newMailKit(t)
	k.addUsers(1, func(_ int, u *user.User) { u.Mail = "refused@example.com" })
	j := k.run(mailedJob)
	k.must(k.env.Store.Write(context.Background(), func(tx *store.Tx) error { return tx.EraseOld(tx.Now().Add(time.Second)) }))
	d, err := k.env.Deliver(context.Background(), j.ID, true)
	if err != nil || d.Refused != 1 || !strings.Contains(k.report(j), "erased: retry_within has passed") {
		t.Errorf("%+v, %v\n%s", d, err, k.report(j))
	}
}

// The end of a job is told by mail and to a webhook, each signed and named alike
// at every attempt, and no value is in it.
func TestEndOfAJobIsTold(t *testing.T) {
	k := newMailKit(t)
	var ids []string
	var last string
	hook := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		ids, last = append(ids, r.Header.Get("webhook-id")), string(body)
		if !strings.HasPrefix(r.Header.Get("webhook-signature"), "v1,") {
			t.Error("not signed")
		}
		if len(ids) == 1 {
			w.WriteHeader(http.StatusServiceUnavailable)
		}
	}))
	defer hook.Close()
	var err error
	k.env.Hook, err = delivery.NewHook(&config.Webhook{URL: hook.URL}, secret.New("whsec_c2VjcmV0"))
	k.must(err)
	defer k.env.Hook.Close()
	k.addUsers(2, func(i int, u *user.User) { u.Mail = []string{"jane@example.com", "refused@example.com"}[i] })
	j := k.run(mailedJob + "notify: [admin@example.com]\n")
	if len(ids) != 2 || ids[0] != ids[1] || ids[0] == "" {
		t.Errorf("ids %q", ids)
	}
	var e Event
	if err := json.Unmarshal([]byte(last), &e); err != nil || e.Type != "job.ended" || e.Data.Job.ID != j.ID || e.Data.Counts.Updated != 2 || e.Data.Codes[outcome.OK] != 2 ||
		e.Data.Delivery.Sent != 1 || e.Data.Delivery.Refused != 1 {
		t.Errorf("%v: %s", err, last)
	}
	told := ""
	for _, m := range k.server.Mails() {
		if m.To == "admin@example.com" {
			told = m.Message
		}
	}
	for _, pin := range k.boxes.pins {
		if strings.Contains(told, pin) || strings.Contains(last, pin) {
			t.Error("a value is in what is told")
		}
	}
	if !strings.Contains(told, "Subject: dirpin: job 1, mailed: done") || !strings.Contains(told, "Updated 2, ") {
		t.Errorf("told:\n%s", told)
	}
}
