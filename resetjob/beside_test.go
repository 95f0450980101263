package resetjob

import (
	"testing"
	"time"

	"github.com/dirpin/dirpin/config"
	"github.com/dirpin/dirpin/internal/labstore"
	"github.com/dirpin/dirpin/internal/outcome"
	"github.com/dirpin/dirpin/internal/user"
	"github.com/dirpin/dirpin/internal/voicemail"
)

// A password that is written back goes to a directory, where the lost request
// of a PIN cannot overtake it: it is not kept waiting, and the PIN's request is
// remembered for a retry.
func TestPasswordDoesNotWaitForALostPIN(t *testing.T) {
	k := newKit(t, func(c *config.Config) {
		noRetries(c)
		c.Voicemail[0].Timeout = 30 * time.Minute // the PIN rests for an hour
		c.RetryWithin = 24 * time.Hour
		c.Agreements = []config.Agreement{{Name: "corp", Passwords: "write_back"}}
	})
	directory := &mailboxes{pins: map[string]string{}, asked: map[string][]string{}}
	k.env.Directories = map[string]*voicemail.System{"corp": voicemail.NewWith(&config.Voicemail{Name: "directory corp", Type: "directory", Timeout: time.Minute, Concurrency: 2},
		directory, voicemail.Options{Directory: true})}
	k.addUsers(1, func(_ int, u *user.User) {
		u.Status, u.Agreement, u.Key, u.DN = user.Active, "corp", "key0", "uid=user0"
	})
	labstore.SQL(k, k.place, "UPDATE users SET status = 'ldap-active', agreement = 'corp', entry_key = 'key0'")
	k.boxes.answer = func(string, int) voicemail.Answer { return loses }
	j := k.run("select: {query: all}\nreset: {pin: \"471108\", password: correct-horse-1}\nldap_synced: {pin: reset, password: write_back}\n")
	if code := k.codes(j.ID)["user0"]; code != outcome.VoicemailTimeout || len(directory.asked["user0"]) != 1 {
		t.Fatalf("ended %s, the directory was asked %d times", code, len(directory.asked["user0"]))
	}
	k.boxes.answer = nil
	again := k.retry(j.ID)
	if code := k.codes(again.ID)["user0"]; code != outcome.OK || k.boxes.asked["user0"][0] != k.boxes.asked["user0"][1] || len(directory.asked["user0"]) != 1 {
		t.Errorf("the retry ended %s, asked %v", code, k.boxes.asked["user0"])
	}
}
