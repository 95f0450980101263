package ldapsync_test

import (
	"errors"
	"strings"

	"github.com/dirpin/dirpin/config"
	"github.com/dirpin/dirpin/internal/lab"
	"github.com/dirpin/dirpin/ldapsync"
)

// What the account that synchronizes may see, between one time and the next.
var rightScenarios = []scenario{
	{name: "attributes are hidden", own: true, run: attributesHidden},
	{name: "the user ids are hidden", own: true, run: idsHidden},
	{name: "the keys are hidden", own: true, kinds: []lab.Kind{lab.OpenLDAP}, run: keysHidden},
	{name: "everyone is hidden", own: true, run: everyoneHidden},
	{name: "the base is gone", run: baseGone},
	{name: "the filter finds nobody", run: filterFindsNobody},
	{name: "a wrong password", run: wrongPassword},
}

var five = []string{"a", "b", "c", "d", "e"}

func attributesHidden(s *scene) {
	s.people(five...)
	s.sync("added 5")
	before := s.snapshot(five...)
	s.d.Hide("mail", "departmentNumber")
	for range 2 {
		s.full("pending 10, held 2")
		if after := s.snapshot(five...); after != before {
			s.Errorf("before %s\nafter  %s", before, after)
		}
	}
	s.d.Unhide()
	s.full("")
	if after := s.snapshot(five...); after != before {
		s.Errorf("before %s\nat the end %s", before, after)
	}
}

func idsHidden(s *scene) {
	s.people(five...)
	s.sync("added 5")
	before := s.snapshot(five...)
	s.d.Hide("uid")
	if _, err := s.run(); !errors.Is(err, ldapsync.ErrDirectory) || !strings.Contains(err.Error(), "user id") {
		s.Errorf("got %v", err)
	}
	s.d.Unhide()
	s.sync("")
	if after := s.snapshot(five...); after != before {
		s.Errorf("before %s\nat the end %s", before, after)
	}
}

func keysHidden(s *scene) {
	s.people(five...)
	s.sync("added 5")
	s.d.Hide("entryUUID")
	if _, err := s.run(); !errors.Is(err, ldapsync.ErrDirectory) || !strings.Contains(strings.ToLower(err.Error()), "entryuuid") {
		s.Errorf("got %v", err)
	}
	s.d.Unhide()
	s.sync("")
}

func everyoneHidden(s *scene) {
	s.people(five...)
	s.sync("added 5")
	before := s.snapshot(five...)
	s.d.Hide()
	for range 2 {
		s.sync("pending 5, held 1")
	}
	s.d.Unhide()
	s.sync("")
	if after := s.snapshot(five...); after != before {
		s.Errorf("before %s\nat the end %s", before, after)
	}
}

func baseGone(s *scene) {
	in, _ := s.within()
	s.below(in, "a", "b")
	s.sync("added 2")
	s.d.Rename(in, "ou=renamed", "")
	if _, err := s.run(); !errors.Is(err, ldapsync.ErrDirectory) || !strings.Contains(err.Error(), "base") {
		s.Errorf("got %v", err)
	}
	s.is("a", "ldap-active")
	s.o.Agreement.Base = "ou=renamed," + s.d.Base
	s.sync("updated 2")
}

func filterFindsNobody(s *scene) {
	s.people(five...)
	s.sync("added 5")
	s.o.Agreement.Filter = "(&(objectClass=person)(mail=nobody@nowhere))"
	s.sync("pending 5, held 1")
	s.o.Agreement.Guard.MaxDeactivate = config.Limit{N: 100}
	s.sync("pending 5, held 1") // nobody would be left
	s.is("a", "ldap-active")
	s.o.AcceptRemovals = true
	s.sync("deactivated 5")
}

func wrongPassword(s *scene) {
	s.people("a")
	s.sync("added 1")
	s.o.Password = s.wrong()
	if _, err := s.run(); !errors.Is(err, ldapsync.ErrDirectory) || !strings.Contains(err.Error(), "wrong name or password") {
		s.Errorf("got %v", err)
	}
	s.is("a", "ldap-active")
}
