package resetjob

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/dirpin/dirpin/internal/outcome"
	"github.com/dirpin/dirpin/internal/voicemail"
)

// What failed comes back as it was written, the reason first and no secret in
// it; mended it is dropped again, and what fails then has one reason, not two.
func TestFailedCSVIsMendedAndDroppedAgain(t *testing.T) {
	k := newKit(t, nil)
	k.addUsers(4, nil)
	k.boxes.answer = func(userID string, attempt int) voicemail.Answer {
		if userID == "user1" && attempt == 1 || userID == "user2" {
			return voicemail.Answer{Class: voicemail.Answered, Result: voicemail.Rejected, Message: `too "simple"`}
		}
		return voicemail.Answer{Class: voicemail.Answered, Result: voicemail.Accepted}
	}
	const file = "select: {csv: {name: pins.csv, pin_length: 6}}\n"
	k.list("pins.csv", "Last Name;PIN;User ID;mail\n=Smith;583920;user0;\nO'Neil;740182;user1;a@example.com\nSmith;936471;user2;\nSmith;602815;nobody;\nSmith;;user3;\n")
	failed := func(report string) string {
		text, err := os.ReadFile(filepath.Join(report, "failed.csv"))
		k.must(err)
		return string(text)
	}
	got := failed(k.run(file).Report)
	want := `"reason","Last Name","PIN","User ID","mail"` + "\r\n" +
		`"voicemail-rejected: too ""simple""","O'Neil","","user1","a@example.com"` + "\r\n" +
		`"voicemail-rejected: too ""simple""","Smith","","user2",""` + "\r\n" +
		`"not-found","Smith","","nobody",""` + "\r\n" +
		`"no-value: the row has no pin","Smith","","user3",""` + "\r\n"
	if got != want {
		t.Fatalf("got\n%s\nwant\n%s", got, want)
	}

	// Dropped as it is it changes nobody.
	k.list("pins.csv", got)
	j := k.run(file)
	if codes := k.codes(j.ID); j.Counts.Updated != 0 || codes["user1"] != outcome.NoValue || codes["nobody"] != outcome.NotFound {
		t.Errorf("codes %v", codes)
	}

	k.list("pins.csv", strings.NewReplacer(`"","user1"`, `"740182","user1"`, `"","user2"`, `"936471","user2"`).Replace(got))
	j = k.run(file)
	if codes := k.codes(j.ID); codes["user1"] != outcome.OK || codes["user2"] != outcome.VoicemailRejected {
		t.Errorf("codes %v", codes)
	}
	if k.boxes.pins["user1"] != "740182" {
		t.Errorf("user1 has %q", k.boxes.pins["user1"])
	}
	if got := failed(j.Report); strings.Count(got, "reason") != 1 || !strings.HasPrefix(got, `"reason","Last Name","PIN","User ID","mail"`) {
		t.Errorf("got\n%s", got)
	}
}

func TestErasedRowsOfFailedCSV(t *testing.T) {
	t.Parallel()
	got, err := eraseRows([]byte("\"reason\",\"User ID\",\"PIN\",\"mail\"\r\n\"voicemail-rejected: ann is locked\",\"Ann\",\"\",\"ann@example.com\"\r\n\"no-value\",\"bob\",\"\",\"\"\r\n"), "ann")
	want := "\"reason\",\"User ID\",\"PIN\",\"mail\"\r\n\"voicemail-rejected\",\"(erased)\",\"\",\"\"\r\n\"no-value\",\"bob\",\"\",\"\"\r\n"
	if err != nil || string(got) != want {
		t.Errorf("%v\n%s", err, got)
	}
}
