package voicemail

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/dirpin/dirpin/internal/secret"
	"github.com/dirpin/dirpin/internal/user"
)

func testRequest(pin string) *Request {
	yes := true
	return &Request{
		ID: "0b5f8e0e-3f4e-4c83-9d52-0ad3f5f2c7aa", Job: 57, Item: 12, Voicemail: "unity",
		User: user.User{UserID: "jdoe", FirstName: "Jörg <b>", LastName: `O"Neil & Co`, Mail: "j@example.com", Telephone: "+49 30 1",
			Departments: []string{"12", "Sales, EMEA"}, Manager: "boss"},
		PIN:      secret.New(pin),
		Settings: Settings{MustChange: &yes, ClearFailedAttempts: &yes},
	}
}

func TestBodyIsTheContracts(t *testing.T) {
	const want = `{"version":1,"operation":"set_pin","request_id":"0b5f8e0e-3f4e-4c83-9d52-0ad3f5f2c7aa","job":57,"item":12,"voicemail":"unity",` +
		`"user":{"user_id":"jdoe","first_name":"Jörg <b>","last_name":"O\"Neil & Co","mail":"j@example.com","telephone":"+49 30 1","department":"12; Sales, EMEA"},` +
		`"pin":"0042","settings":{"must_change":true,"cannot_change":null,"does_not_expire":null,"locked":null,"clear_failed_attempts":true}}`
	if got := testRequest("0042").Body().Reveal(); got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
}

func TestCheckBodyHasNoUserAndNoPIN(t *testing.T) {
	var got map[string]any
	if err := json.Unmarshal([]byte(checkBody("unity").Reveal()), &got); err != nil {
		t.Fatal(err)
	}
	if got["operation"] != "check" || got["voicemail"] != "unity" || got["request_id"] == "" {
		t.Errorf("got %v", got)
	}
	for _, key := range []string{"user", "pin"} {
		if _, ok := got[key]; ok {
			t.Errorf("%s is there", key)
		}
	}
}

func TestRequestIDsDiffer(t *testing.T) {
	seen := make(map[string]bool)
	for range 1000 {
		id := NewRequestID()
		if seen[id] || len(id) != 36 || id[14] != '4' || !strings.ContainsRune("89ab", rune(id[19])) {
			t.Fatalf("id %q", id)
		}
		seen[id] = true
	}
}

func TestAttemptReadsBackWhatWasJournalled(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		r := testRequest(rapid.StringMatching(`[0-9]{1,64}`).Draw(t, "pin"))
		r.ID = NewRequestID()
		r.User.FirstName = rapid.String().Draw(t, "name")
		a, err := NewAttempt(r.Body())
		if err != nil || a.RequestID != r.ID || a.pin.Reveal() != r.PIN.Reveal() || a.Body.Reveal() != r.Body().Reveal() {
			t.Fatalf("got %v, %v", a, err)
		}
	})
}

func TestDamagedJournalIsNeverSent(t *testing.T) {
	whole := testRequest("4711").Body().Reveal()
	for name, damaged := range map[string]string{
		"empty":       "",
		"cut":         whole[:len(whole)-1],
		"other bytes": "\x00\x01\x02",
		"no id":       strings.Replace(whole, "0b5f8e0e-3f4e-4c83-9d52-0ad3f5f2c7aa", "", 1),
		"no PIN":      strings.Replace(whole, `"pin":"4711"`, `"pin":""`, 1),
		"no user":     strings.Replace(whole, `"user":`, `"loser":`, 1),
		"newer":       strings.Replace(whole, `"version":1`, `"version":2`, 1),
		"operation":   strings.Replace(whole, "set_pin", "set_all", 1),
	} {
		_, err := NewAttempt(secret.New(damaged))
		if err == nil {
			t.Errorf("%s: no error", name)
		} else if strings.Contains(err.Error(), "4711") || strings.Contains(err.Error(), "jdoe") {
			t.Errorf("%s: the error quotes the body: %v", name, err)
		}
	}
}

func TestAttemptPrintsNoPIN(t *testing.T) {
	a, err := NewAttempt(testRequest("471193").Body())
	if err != nil {
		t.Fatal(err)
	}
	encoded, _ := json.Marshal(a)
	for _, text := range []string{fmt.Sprint(a), fmt.Sprintf("%+v %#v", a, a), fmt.Sprintf("%+v", *testRequest("471193")), string(encoded)} {
		if strings.Contains(text, "471193") {
			t.Errorf("printed as %s", text)
		}
	}
}
