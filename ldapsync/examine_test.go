package ldapsync_test

import (
	"crypto/tls"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/dirpin/dirpin/config"
	"github.com/dirpin/dirpin/internal/lab"
	"github.com/dirpin/dirpin/internal/secret"
	"github.com/dirpin/dirpin/ldapsync"
)

// examine returns the findings, one a line, each with its level.
func (s *scene) examine() string {
	s.Helper()
	var b strings.Builder
	if err := ldapsync.Examine(s.Context(), s.o, func(f ldapsync.Finding) { b.WriteString(string(f.Level) + " " + f.Text + "\n") }); err != nil {
		s.Fatal(err)
	}
	return b.String()
}

func (s *scene) finds(report string, want ...string) {
	s.Helper()
	for _, w := range want {
		if !strings.Contains(report, w) {
			s.Errorf("%q is missing in\n%s", w, report)
		}
	}
}

var examineScenarios = []scenario{
	{name: "examined", run: examined},
	{name: "examined with nobody", run: examinedEmpty},
	{name: "examined with faults", own: true, run: examinedFaults},
}

func examined(s *scene) {
	boss := s.person("boss", map[string][]string{"telephoneNumber": nil})
	s.person("a", map[string][]string{"manager": {boss}})
	s.finds(s.examine(), "warning never synchronized: dirpin sync corp", "the filter", "finds 2 entries", "2 can be users", "ok for example: "+s.d.ID("boss")+" = Anna  Test, department \"12\", mail \"boss@example.org\"",
		"ok nobody has a telephone: no entry shows telephoneNumber", map[string]string{"full": "method full: everything is read each time"}[s.o.Agreement.Method], "days)", "signed by dirpin private directory",
		map[lab.Kind]string{lab.OpenLDAP: "an OpenLDAP", lab.DS389: "a 389 Directory Server", lab.AD: "an Active Directory"}[s.d.Kind])
	s.sync("added 2")
	if p := s.get("a"); p == nil {
		s.Fatal("not there")
	}
	report := s.examine()
	method := s.o.Agreement.Method
	s.o.Agreement.Method = "auto"
	s.finds(s.examine(), "ok method auto: ")
	s.o.Agreement.Method = method
	s.finds(report, "ok last complete answer")
	if strings.Contains(report, "fault") {
		s.Errorf("a fault where there is none:\n%s", report)
	}
	s.o.Agreement.WriteBack = &config.WriteBack{Bind: config.Bind{DN: s.d.WriterDN()}}
	s.o.WriteBackPassword = secret.New(s.d.WriterPassword())
	s.finds(s.examine(), "ok write_back: "+s.d.WriterDN()+" binds")
	s.o.WriteBackPassword = secret.New("wrong")
	s.finds(s.examine(), "fault corp: write_back: ", "wrong name or password")
}

func examinedEmpty(s *scene) {
	s.o.Agreement.Filter = "(objectClass=device)"
	s.finds(s.examine(), "fault the filter (objectClass=device) finds 0 entries")
}

func examinedFaults(s *scene) {
	dns := s.people(five...)
	s.person("noid", nil)
	s.o.Agreement.Attributes.UserID = []string{"mail"}
	s.d.Set(s.rdn("noid")+","+s.d.Base, "mail")
	s.sync("added 5, refused 1")
	for _, dn := range dns {
		s.d.Delete(dn)
	}
	s.person("last", nil)
	if _, err := s.run(); err != nil {
		s.Fatal(err)
	}
	s.o.Agreement.Attributes.Telephone = []string{"fax-of-the-boss"}
	s.o.Agreement.Servers = append([]string{"ldaps://127.0.0.1:1"}, s.o.Agreement.Servers...)
	s.finds(s.examine(), "fault 127.0.0.1:1: connecting", "fault attributes: the directory knows no attribute fax-of-the-boss", "warning nobody has a telephone", "warning held: 5 of 6 users would leave",
		"--accept-removals corp", "warning 1 entries are refused (user-id-missing)", "warning 1 entries cannot be users: user-id-missing")
	s.o.Agreement.Servers = s.o.Agreement.Servers[:1]
	s.finds(s.examine(), "fault no server can be used")
	s.o.Agreement.Servers = []string{s.d.TLSURL()}
	s.o.Password = s.wrong()
	s.finds(s.examine(), "wrong name or password")
}

// A certificate's end is seen before it comes.
func TestExamineWarnsOfCertificates(t *testing.T) {
	s := newScene(t, lab.OpenLDAP, "full", false)
	conn, err := tls.Dial("tcp", s.d.TLSAddr(), &tls.Config{InsecureSkipVerify: true})
	if err != nil {
		t.Fatal(err)
	}
	end := conn.ConnectionState().PeerCertificates[0].NotAfter
	conn.Close()
	s.now = end.Add(-13 * 24 * time.Hour)
	s.finds(s.examine(), "warning localhost:", "(13 days)")
	s.o.Agreement.CAFile = lab.NewSlapd(t, lab.Config{}).CAFile()
	s.finds(s.examine(), "fault localhost:", "is not signed by an authority in")
}

// Whoever has changed the directory beneath the same name hears of it.
func TestExamineFindsAnotherDirectory(t *testing.T) {
	s := newScene(t, lab.OpenLDAP, "full", true)
	s.people("a")
	s.sync("added 1")
	other := lab.NewSlapd(t, lab.Config{})
	s.o.Agreement.Servers, s.o.Agreement.CAFile = []string{other.TLSURL()}, other.CAFile()
	s.finds(s.examine(), "is another directory")
	if _, err := s.run(); !errors.Is(err, ldapsync.ErrConfig) {
		t.Errorf("synchronized all the same: %v", err)
	}
}
