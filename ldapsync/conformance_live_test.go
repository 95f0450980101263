package ldapsync_test

import (
	"errors"
	"slices"
	"strings"

	"github.com/dirpin/dirpin/internal/lab"
	"github.com/dirpin/dirpin/internal/user"
	"github.com/dirpin/dirpin/ldapsync"
)

// Whom the directory itself names.
var liveScenarios = []scenario{
	{name: "asked live", run: askedLive},
	{name: "asked live and not as LDAP compares", run: askedLiveFolded},
	{name: "asked live for what is hidden", own: true, run: askedLiveHidden},
	{name: "asked live for managers", run: askedLiveManagers},
	{name: "asked live for statuses", kinds: []lab.Kind{lab.DS389, lab.AD}, run: askedLiveStatus},
	{name: "asked live and cut", kinds: []lab.Kind{lab.OpenLDAP, lab.DS389}, run: askedLiveCut},
}

func (s *scene) ask(query string) ([]string, error) {
	s.Helper()
	q := user.All()
	if query != "" {
		t, err := user.ParseCriterion(query)
		if err != nil {
			s.Fatal(err)
		}
		q = &user.Query{Match: user.MatchAll, Where: []user.Term{t}}
	}
	var ids []string
	err := ldapsync.Select(s.Context(), s.o, q, func(u *user.User) error {
		ids = append(ids, s.bare(u.UserID))
		return nil
	})
	slices.Sort(ids)
	return ids, err
}

// names checks whom a query selects; criteria are written with the bare ids.
func (s *scene) names(query string, want ...string) {
	s.Helper()
	got, err := s.ask(query)
	if err != nil || !slices.Equal(got, want) {
		s.Errorf("%q: %q, %v; want %q", query, got, err, want)
	}
}

func askedLive(s *scene) {
	a := s.people("a", "b")[0]
	s.names("", "a", "b") // before the first synchronization
	s.sync("added 2")
	s.person("c", map[string][]string{"departmentNumber": {"14"}})
	s.d.Set(a, "departmentNumber", "14")
	s.names("department is exactly 14", "a", "c")
	s.names("department is exactly 12, 14", "a", "b", "c")
	s.setID(a, "z")
	s.names("department is exactly 14", "c", "z")
	s.d.Delete(s.rdn("c") + "," + s.d.Base)
	s.names("department is exactly 14", "z")
	if p := s.get("a"); p.Department() != "12" {
		s.Errorf("asking has changed %+v", p.User)
	}
}

func askedLiveFolded(s *scene) {
	s.person("a", map[string][]string{"sn": {"Straße"}, "departmentNumber": {"Sales, EMEA"}})
	s.person("b", map[string][]string{"sn": {"STRASSE"}})
	s.person("c", map[string][]string{"sn": {"ſtraſſe"}})
	s.person("d", map[string][]string{"sn": {"Van  den   Berg"}})
	s.person("e", map[string][]string{"sn": {"ＭＡＥＳ"}})
	s.sync("added 5")
	s.names("last_name is exactly strasse", "a", "b", "c")
	s.names("last_name begins with STRAß", "a", "b", "c")
	s.names("last_name is exactly van den berg", "d")
	s.names("last_name contains maes", "e")
	s.names(`department is exactly "sales, emea"`, "a")
	s.names("department is exactly Sales, EMEA")
	s.names("last_name contains *")
}

func askedLiveHidden(s *scene) {
	s.person("a", map[string][]string{"telephoneNumber": nil})
	s.person("b", map[string][]string{"mail": nil})
	s.sync("added 2")
	s.names("mail is empty", "b")
	s.names("telephone is empty", "a", "b") // nobody has one, here neither
	s.d.Hide("mail")
	if got, err := s.ask("mail is empty"); !errors.Is(err, ldapsync.ErrDirectory) || !strings.Contains(err.Error(), "may not read") {
		s.Errorf("hidden: %q, %v", got, err)
	}
	s.names("mail is not empty")
	s.names("telephone is empty", "a", "b")
	s.d.Unhide()
	s.names("mail is empty", "b")
	s.d.Hide("uid")
	if got, err := s.ask("mail is empty"); !errors.Is(err, ldapsync.ErrDirectory) {
		s.Errorf("user ids hidden: %q, %v", got, err)
	}
	s.d.Unhide()
}

func askedLiveManagers(s *scene) {
	boss := s.person("boss", nil)
	b := s.person("b", nil)
	s.person("a", map[string][]string{"manager": {boss}})
	s.sync("added 3")
	s.names("manager is exactly "+s.d.ID("boss"), "a")
	s.d.Set(b, "manager", boss)
	s.names("manager is exactly "+s.d.ID("boss"), "a", "b")
	s.names("manager is empty", "boss")
}

func askedLiveStatus(s *scene) {
	a := s.people("a", "b")[0]
	s.sync("added 2")
	s.d.Disable(a, true)
	s.names("status is exactly ldap-active", "a", "b") // as the store has it
	s.sync("deactivated 1")
	s.names("status is exactly ldap-active", "b")
	s.names("status is exactly ldap-inactive", "a")
	s.names("agreement is exactly corp", "a", "b")
}

func askedLiveCut(s *scene) {
	s.people("a", "b", "c", "d", "e", "f", "g", "h")
	s.sync("added 8")
	proxy := lab.NewProxy(s, s.d.Addr())
	s.o.Agreement.Servers, s.o.Agreement.InsecurePlaintext = []string{"ldap://" + proxy.Addr()}, true
	proxy.CutAfter(1 << 40)
	s.names("", "a", "b", "c", "d", "e", "f", "g", "h")
	whole := 1<<40 - proxy.Left()
	for n := whole - 1; n > whole-1500; n -= 211 {
		proxy.CutAfter(n)
		if got, err := s.ask(""); !errors.Is(err, ldapsync.ErrDirectory) {
			s.Errorf("cut after %d of %d bytes: %q, %v", n, whole, got, err)
		}
	}
}
