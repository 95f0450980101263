package main

import (
	"fmt"
	"strings"
	"testing"

	"github.com/dirpin/dirpin/internal/lab"
)

// The program is killed while it mails, once before and once after the server
// has taken a mail over. Everyone gets their PIN all the same, and whoever gets
// it twice gets the same mail.
func TestMailsThroughKills(t *testing.T) {
	server := lab.NewMail(t, lab.MailConfig{TLS: "starttls", Login: "dirpin:hunter2"})
	h := newHome(t, "")
	h.write("mail.pw", "hunter2\n", 0o600)
	h.replace("dirpin.yaml", "state_dir:", fmt.Sprintf("mail: {server: %q, ca_file: %q, user: dirpin, password: {file: mail.pw}, from: dirpin@example.com}\nstate_dir:", server.URL(), server.CAFile()))
	text := "user_id,last_name,mail\n"
	for i := range 40 {
		text += fmt.Sprintf("user%d,Smith,user%d@example.com\n", i, i)
	}
	h.write("users.csv", text+"gone,Smith,refused@example.com\n", 0o644)
	h.expect("0", "", "users", "import", "users.csv")
	h.write("job.yaml", "select: {query: all}\nreset: {pin: {generate: {length: 6}}}\ndeliver: {mail: {to: user}}\n", 0o644)
	h.expect("0", "takes mails", "doctor")
	for i, args := range [][]string{{"run", "job.yaml", "--yes"}, {"jobs", "deliver", "1"}} {
		cmd := h.command(args...)
		cmd.Env = append(cmd.Env, dieAtEnv+"="+[]string{"mailed:5", "mail:7"}[i])
		if out, err := cmd.CombinedOutput(); err == nil {
			t.Fatalf("%v was not killed: %s", args, out)
		}
	}
	h.expect("0", "warning", "doctor")
	h.expect("0", "of 41 mailed", "jobs", "show", "1")
	h.expect("1", "40 in all", "jobs", "deliver", "1")
	h.expect("0", "gone: refused: sending SMTP RCPT TO command: 550 \"5.1.1 no such user\"", "jobs", "show", "1")
	ids := make(map[string]map[string]bool)
	for _, m := range server.Mails() {
		if !m.Login {
			t.Error("nobody had logged in")
		}
		if ids[m.To] == nil {
			ids[m.To] = make(map[string]bool)
		}
		ids[m.To][m.ID()] = true
	}
	if len(ids) != 40 {
		t.Errorf("%d people got a mail", len(ids))
	}
	for to, one := range ids {
		if len(one) != 1 {
			t.Errorf("%s got %d different mails", to, len(one))
		}
	}
	h.expect("0", "", "users", "remove", "gone")
	h.expect("1", "gone: refused: the user was removed", "jobs", "deliver", "1")
	h.expect("2", "there is no job 999", "jobs", "deliver", "999")
	if out, _ := h.dirpin("", "jobs", "log", "1"); !strings.Contains(out, "Undelivered: the values of 1 users, 1 of them refused") {
		t.Error(out)
	}
}

func jobShows(h *home, text string) bool {
	out, err := h.dirpin("", "jobs", "show", "1")
	return err == nil && strings.Contains(out, text)
}
