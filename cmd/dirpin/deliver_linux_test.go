package main

import (
	"fmt"
	"syscall"
	"testing"

	"github.com/dirpin/dirpin/internal/lab"
)

// The service mails what its jobs have set, when they end.
func TestServiceMails(t *testing.T) {
	server := lab.NewMail(t, lab.MailConfig{TLS: "starttls"})
	h := newHome(t, "")
	h.replace("dirpin.yaml", "state_dir:", fmt.Sprintf("mail: {server: %q, ca_file: %q, from: dirpin@example.com}\nstate_dir:", server.URL(), server.CAFile()))
	h.write("users.csv", "user_id,last_name,mail\na,A,a@example.com\nb,B,b@example.com\n", 0o644)
	h.expect("0", "", "users", "import", "users.csv")
	s := h.serve()
	h.write("job.yaml", "select: {query: all}\nreset: {pin: {generate: {length: 6}}}\ndeliver: {mail: {to: user}}\n", 0o600)
	h.must("jobs", "add", "job.yaml")
	s.until("both have their mail", func() bool { return len(server.Mails()) == 2 })
	s.until("it is noted", func() bool { return jobShows(h, "Delivery      2 of 2 mailed") })
	if code := s.end(syscall.SIGTERM); code != "0" {
		t.Errorf("SIGTERM: exit %s", code)
	}
}
