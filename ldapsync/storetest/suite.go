package storetest

import (
	"errors"
	"maps"
	"slices"
	"testing"
	"time"

	"github.com/dirpin/dirpin/internal/roster"
	"github.com/dirpin/dirpin/internal/user"
	"github.com/dirpin/dirpin/ldapsync"
)

// suite is a store under test, and what else a test has to do to it.
type suite struct {
	*testing.T
	store ldapsync.Store
	seq   map[string]int64
	now   time.Time
}

// Run has a store pass everything that ldapsync.Store promises. Open returns
// an empty store.
func Run(t *testing.T, open func(t *testing.T) ldapsync.Store) {
	for name, test := range map[string]func(*suite){
		"agreement": (*suite).agreement, "people": (*suite).people, "swap": (*suite).swap, "pending": (*suite).pending,
		"tally": (*suite).tally, "rejects": (*suite).rejects, "managers": (*suite).managers, "managers by key": (*suite).managersByKey, "expiry": (*suite).expiry, "rename": (*suite).rename, "managers of DNs": (*suite).managersOfDNs, "rollback": (*suite).rollback, "try": (*suite).try, "adding": (*suite).adding, "managers of added": (*suite).managersOfAdded, "managers of newcomers": (*suite).managersOfNewcomers,
		"marks": (*suite).marks, "containers": (*suite).containers, "sample": (*suite).sample, "at least": (*suite).atLeast, "observed absence": (*suite).observe, "leases": (*suite).leases, "orders": (*suite).orders, "excluded": (*suite).excluded,
	} {
		t.Run(name, func(t *testing.T) {
			test(&suite{T: t, store: open(t), seq: map[string]int64{}, now: time.Date(2026, 11, 24, 2, 0, 0, 0, time.UTC)})
		})
	}
}

// write runs f after advancing the agreement.
func (s *suite) write(agreement string, f func(ldapsync.Writer) error) {
	s.Helper()
	err := s.store.Write(s.Context(), func(tx ldapsync.Writer) error {
		if err := tx.SyncAdvance(agreement, s.seq[agreement]); err != nil {
			return err
		}
		return f(tx)
	})
	if err != nil {
		s.Fatalf("writing: %v", err)
	}
	s.seq[agreement]++
}

func (s *suite) apply(agreement string, c roster.Changes) {
	s.Helper()
	s.write(agreement, func(tx ldapsync.Writer) error { return tx.SyncApply(agreement, c) })
}

func (s *suite) read(f func(ldapsync.Reader) error) {
	s.Helper()
	if err := s.store.Read(s.Context(), f); err != nil {
		s.Fatalf("reading: %v", err)
	}
}

func key(n byte) string {
	return "00000000-0000-0000-0000-0000000000" + string([]byte{'0' + n/10, '0' + n%10})
}

func person(agreement string, n byte, id string) roster.Person {
	return roster.Person{User: user.User{UserID: id, FirstName: "First " + id, LastName: "Läst %_\\ " + id, MiddleName: "M", Departments: []string{"12", "Sales, EMEA"}, Mail: id + "@x",
		Telephone: "+1", Language: "nl", Status: user.Active, Agreement: agreement, Key: key(n), DN: "UID=" + id + ",dc=x"},
		DNNorm: "uid=" + user.Fold(id) + ",dc=x", Hash: 1<<63 + uint64(n)}
}

// all returns the people of the numbers by user id, and checks that those of
// their ids are the same.
func (s *suite) all(numbers ...byte) map[string]roster.Person {
	s.Helper()
	found := make(map[string]roster.Person)
	s.read(func(tx ldapsync.Reader) error {
		var keys, ids []string
		for _, n := range numbers {
			keys = append(keys, key(n))
		}
		people, err := tx.SyncPeople(keys)
		for _, p := range people {
			found[p.UserID] = p
			ids = append(ids, user.Fold(p.UserID))
		}
		if err != nil {
			return err
		}
		claimants, err := tx.SyncClaimants(ids)
		if len(claimants) != len(people) {
			s.Errorf("%d people by key, %d by user id", len(people), len(claimants))
		}
		return err
	})
	return found
}

func (s *suite) agreement() {
	s.read(func(tx ldapsync.Reader) error {
		a, err := tx.SyncAgreement("corp")
		if a != (roster.Agreement{Name: "corp"}) {
			s.Errorf("unknown, but %+v", a)
		}
		return err
	})
	want := roster.Agreement{Name: "corp", Kind: "ad", KeyAttribute: "objectGUID", Directory: "dc=x y", Seed: 1<<63 + 5, ScopeFP: "s", MapFP: "m", Paging: "unpaged", Server: "dc1:636", CompletedAt: s.now,
		Feed: "usn", FullAt: s.now.Add(-time.Hour), FullTook: time.Minute, Context: "a b", ServerAt: s.now.Add(time.Minute), BehindSince: s.now.Add(time.Second), RefusedAt: s.now.Add(2 * time.Second), FullUntil: s.now.Add(time.Hour)}
	s.write("corp", func(tx ldapsync.Writer) error { return tx.SyncSave(want) })
	want.Seq = 1
	s.read(func(tx ldapsync.Reader) error {
		a, err := tx.SyncAgreement("corp")
		if !a.CompletedAt.Equal(want.CompletedAt) {
			s.Errorf("completed at %v", a.CompletedAt)
		}
		if a.CompletedAt = want.CompletedAt; a != want {
			s.Errorf("got  %+v\nwant %+v", a, want)
		}
		return err
	})
	for _, seq := range []int64{0, 2} {
		err := s.store.Write(s.Context(), func(tx ldapsync.Writer) error { return tx.SyncAdvance("corp", seq) })
		if !errors.Is(err, roster.ErrMoved) {
			s.Errorf("advancing from %d: %v", seq, err)
		}
	}
}

func (s *suite) people() {
	a := person("corp", 1, "Anna")
	s.apply("corp", roster.Changes{Put: []roster.Person{a, person("corp", 2, "berta"), person("other", 3, "carla")}})
	all := s.all(1, 2, 3, 4)
	got := all["Anna"]
	if len(all) != 3 || got.ID == 0 {
		s.Fatalf("people: %+v", all)
	}
	a.ID = got.ID
	if got.FirstName != a.FirstName || got.LastName != a.LastName || got.MiddleName != a.MiddleName || got.Mail != a.Mail || got.Telephone != a.Telephone || got.Language != a.Language ||
		got.DN != a.DN || got.DNNorm != a.DNNorm || got.Hash != a.Hash || got.Key != a.Key || got.Status != a.Status || got.Agreement != "corp" || !slices.Equal(got.Departments, a.Departments) {
		s.Errorf("got  %+v\nwant %+v", got, a)
	}
	a.Status, a.InactiveReason, a.Departments, a.Mail, a.Hash, a.Agreement, a.Key = user.Inactive, user.Disabled, nil, "", 0, "other", key(9)
	s.apply("corp", roster.Changes{Put: []roster.Person{a}, Remove: []roster.Person{all["berta"]}})
	all = s.all(1, 2, 3, 9)
	got = all["Anna"]
	if len(all) != 2 || got.ID != a.ID || got.InactiveReason != user.Disabled || got.Mail != "" || len(got.Departments) != 0 || got.Hash != 0 || got.Agreement != "other" {
		s.Errorf("changed: %+v", all)
	}
	held := map[string]roster.Held{}
	s.read(func(tx ldapsync.Reader) error {
		return tx.SyncIndex("other", func(h roster.Held) error { held[h.Key] = h; return nil })
	})
	if len(held) != 2 || held[key(9)].Inactive != user.Disabled || held[key(3)].Hash != 1<<63+3 {
		s.Errorf("held: %+v", held)
	}
}

func (s *suite) swap() {
	s.apply("corp", roster.Changes{Put: []roster.Person{person("corp", 1, "a"), person("corp", 2, "b"), person("corp", 3, "c"), person("corp", 4, "d")}})
	all := s.all(1, 2, 3, 4)
	a, b, c, d := all["a"], all["b"], all["c"], all["d"]
	a.UserID, b.UserID, c.UserID = "B", "c", "A"
	n := person("corp", 5, "d")
	s.apply("corp", roster.Changes{Remove: []roster.Person{d}, Put: []roster.Person{n, a, b, c}})
	all = s.all(1, 2, 3, 4, 5)
	if len(all) != 4 || all["B"].ID != a.ID || all["c"].ID != b.ID || all["A"].ID != c.ID || all["d"].Key != key(5) {
		s.Errorf("after the swap: %+v", all)
	}
}

func (s *suite) pendingOf(agreement, after string) []roster.Loss {
	var ls []roster.Loss
	s.read(func(tx ldapsync.Reader) error {
		return tx.SyncPending(agreement, after, func(l roster.Loss) error { ls = append(ls, l); return nil })
	})
	return ls
}

func (s *suite) pending() {
	s.apply("corp", roster.Changes{Put: []roster.Person{person("corp", 1, "a"), person("corp", 2, "b"), person("corp", 3, "c")}})
	loss := func(n byte, k roster.Kind, f user.Field, since time.Time) roster.Loss {
		return roster.Loss{Agreement: "corp", Key: key(n), Kind: k, Field: f, UserID: "a", DN: "uid=a", Value: "v", Evidence: "inferred", Server: "dc1", Since: since, Hash: 1<<63 + 9}
	}
	s.apply("corp", roster.Changes{Park: []roster.Loss{loss(3, roster.LossAbsent, "", s.now), loss(1, roster.LossBlank, user.FieldMail, s.now), loss(1, roster.LossUserID, "", s.now), loss(2, roster.LossRemoved, "", s.now)}})
	if got := s.pendingOf("corp", key(1)); len(got) != 2 || got[0].Key != key(2) || got[1].Key != key(3) {
		s.Errorf("after the first: %+v", got)
	}
	if got := s.pendingOf("other", ""); len(got) != 0 {
		s.Errorf("of another agreement: %+v", got)
	}
	later := s.now.Add(time.Hour)
	s.apply("corp", roster.Changes{Mentioned: []string{key(1), key(2)}, Park: []roster.Loss{loss(1, roster.LossBlank, user.FieldMail, later), loss(1, roster.LossDisabled, "", later)}})
	got := s.pendingOf("corp", "")
	if len(got) != 3 || got[2].Key != key(3) {
		s.Fatalf("mentioned again: %+v", got)
	}
	for _, l := range got[:2] {
		want := later
		if l.Kind == roster.LossBlank {
			want = s.now
		}
		if !l.Since.Equal(want) || l.Value != "v" || l.Hash != 1<<63+9 || l.Evidence != "inferred" || l.Server != "dc1" || l.DN != "uid=a" || l.UserID != "a" {
			s.Errorf("kept %+v, want since %v", l, want)
		}
	}
	flags := map[string]bool{}
	s.read(func(tx ldapsync.Reader) error {
		return tx.SyncIndex("corp", func(h roster.Held) error { flags[h.Key] = h.Pending; return nil })
	})
	if !maps.Equal(flags, map[string]bool{key(1): true, key(2): false, key(3): true}) {
		s.Errorf("pending in the index: %v", flags)
	}
	again := loss(3, roster.LossAbsent, "", later)
	again.Value = "once more"
	s.apply("corp", roster.Changes{Park: []roster.Loss{again}})
	if got := s.pendingOf("corp", key(2)); len(got) != 1 || !got[0].Since.Equal(s.now) || got[0].Value != "once more" {
		s.Errorf("parked again: %+v", got)
	}
	s.apply("corp", roster.Changes{Remove: []roster.Person{s.all(3)["c"]}})
	if got := s.pendingOf("corp", key(2)); len(got) != 0 {
		s.Errorf("pending of one who is removed: %+v", got)
	}
}

func (s *suite) tally() {
	inactive := person("corp", 3, "c")
	inactive.Status, inactive.InactiveReason = user.Inactive, user.Absent
	loss := func(n byte, k roster.Kind, f user.Field, at time.Time, accepted bool) roster.Loss {
		return roster.Loss{Agreement: "corp", Key: key(n), Kind: k, Field: f, Since: at, Accepted: accepted}
	}
	s.apply("corp", roster.Changes{Put: []roster.Person{person("corp", 1, "a"), person("corp", 2, "b"), inactive, person("other", 4, "d")},
		Park: []roster.Loss{loss(1, roster.LossBlank, user.FieldMail, s.now, false), loss(1, roster.LossBlank, user.FieldManager, s.now, false), loss(2, roster.LossBlank, user.FieldMail, s.now, false)},
		Applied: []roster.Loss{loss(1, roster.LossAbsent, "", s.now, false), loss(1, roster.LossAbsent, "", s.now.Add(time.Minute), false), loss(2, roster.LossAbsent, "", s.now, true),
			loss(2, roster.LossDisabled, "", s.now, false), loss(3, roster.LossAbsent, "", s.now.Add(-time.Hour), false)}})
	var got roster.Tally
	s.read(func(tx ldapsync.Reader) (err error) { got, err = tx.SyncTally("corp", s.now, 0); return err })
	m := func(k roster.Kind, f user.Field) roster.Measure { return roster.Measure{Kind: k, Field: f} }
	if got.Active != 2 || got.Total != 3 || !maps.Equal(got.Pending, map[roster.Measure]int{m(roster.LossBlank, user.FieldMail): 2, m(roster.LossBlank, user.FieldManager): 1}) ||
		!maps.Equal(got.Applied, map[roster.Measure]int{m(roster.LossAbsent, ""): 1, m(roster.LossDisabled, ""): 1}) {
		s.Errorf("tally: %+v", got)
	}
}

func (s *suite) rejects() {
	p := person("corp", 1, "a")
	x := roster.Reject{Agreement: "corp", Key: key(1), DN: "uid=a", UserID: "a", Reason: "user-id-taken", Detail: "of b", Person: p, Since: s.now}
	y := roster.Reject{Agreement: "other", Key: key(1), DN: "uid=a", Reason: "owned-by", Partial: true, Since: s.now}
	s.apply("corp", roster.Changes{Reject: []roster.Reject{x}})
	s.apply("other", roster.Changes{Reject: []roster.Reject{y}})
	x.Since, x.Detail = s.now.Add(time.Hour), "of c"
	s.apply("corp", roster.Changes{Reject: []roster.Reject{x}})
	list := func(agreement string) (xs []roster.Reject) {
		s.read(func(tx ldapsync.Reader) error {
			return tx.SyncRejects(agreement, func(r roster.Reject) error { xs = append(xs, r); return nil })
		})
		return xs
	}
	if got := list(""); len(got) != 2 {
		s.Errorf("of every agreement: %+v", got)
	}
	got := list("corp")
	if len(got) != 1 || !got[0].Since.Equal(s.now) || got[0].Detail != "of c" || got[0].Reason != x.Reason || got[0].UserID != "a" || got[0].DN != "uid=a" || got[0].Partial {
		s.Fatalf("rejects: %+v", got)
	}
	if q := got[0].Person; q.Key != p.Key || q.UserID != p.UserID || q.LastName != p.LastName || q.Hash != p.Hash || q.DNNorm != p.DNNorm || q.Status != p.Status || !slices.Equal(q.Departments, p.Departments) {
		s.Errorf("the person of a reject: %+v", q)
	}
	if got := list("other"); len(got) != 1 || !got[0].Partial {
		s.Errorf("of the other: %+v", got)
	}
	s.apply("corp", roster.Changes{Admit: []string{key(1), key(2)}})
	if got := list(""); len(got) != 1 || got[0].Agreement != "other" {
		s.Errorf("after admitting: %+v", got)
	}
}

func (s *suite) managers() {
	under := func(p roster.Person, dn string) roster.Person { p.ManagerDN = dn; return p }
	link := func(dangling int) {
		s.Helper()
		s.write("corp", func(tx ldapsync.Writer) error {
			n, err := tx.LinkManagers()
			if n != dangling {
				s.Errorf("%d dangling, want %d", n, dangling)
			}
			return err
		})
	}
	s.apply("corp", roster.Changes{Put: []roster.Person{under(person("corp", 1, "a"), "uid=b,dc=x"), under(person("corp", 2, "b"), "uid=a,dc=x"), under(person("corp", 3, "c"), "uid=nobody,dc=x"), under(person("corp", 4, "D"), "uid=d,dc=x")}})
	link(1)
	all := s.all(1, 2, 3, 4)
	if all["a"].Manager != "b" || all["b"].Manager != "a" || all["c"].Manager != "" || all["D"].Manager != "D" {
		s.Errorf("managers: %+v", all)
	}
	// The manager gets another id, then another DN, then goes, then comes.
	b := all["b"]
	b.UserID = "Boss"
	s.apply("corp", roster.Changes{Put: []roster.Person{b}})
	link(0)
	if got := s.all(1)["a"].Manager; got != "Boss" {
		s.Errorf("of a renamed one: %q", got)
	}
	b.DN, b.DNNorm = "uid=moved,dc=x", "uid=moved,dc=x"
	s.apply("corp", roster.Changes{Put: []roster.Person{b}})
	link(1)
	if got := s.all(1)["a"].Manager; got != "" {
		s.Errorf("of one that moved away: %q", got)
	}
	s.apply("corp", roster.Changes{Put: []roster.Person{person("corp", 9, "b")}})
	link(0)
	if got := s.all(1)["a"].Manager; got != "b" {
		s.Errorf("of one that came: %q", got)
	}
	s.apply("corp", roster.Changes{Remove: []roster.Person{s.all(9)["b"]}})
	link(1)
	if got := s.all(1)["a"].Manager; got != "" {
		s.Errorf("of one that went: %q", got)
	}
}

// In Active Directory a link follows the manager though nothing says so of the
// subordinate's entry.
func (s *suite) managersByKey() {
	for _, kind := range []string{"ad", "openldap"} {
		s.write(kind, func(tx ldapsync.Writer) error { return tx.SyncSave(roster.Agreement{Name: kind, Kind: kind}) })
	}
	link := func(agreement string, c roster.Changes) {
		s.Helper()
		s.write(agreement, func(tx ldapsync.Writer) error {
			if err := tx.SyncApply(agreement, c); err != nil {
				return err
			}
			_, err := tx.LinkManagers()
			return err
		})
	}
	manager := func(n byte) string { s.Helper(); return s.all(n)[string('a'+n)].Manager }
	for i, agreement := range []string{"ad", "openldap"} {
		n := byte(10 * i)
		under := person(agreement, n+1, string('a'+n+1))
		under.ManagerDN = person(agreement, n+2, string('a'+n+2)).DNNorm
		link(agreement, roster.Changes{Put: []roster.Person{under, person(agreement, n+2, string('a'+n+2)), person(agreement, n+3, string('a'+n+3))}})
		boss, heir := s.all(n + 2)[string('a'+n+2)], s.all(n + 3)[string('a'+n+3)]
		boss.DNNorm, boss.DN = "uid=moved"+agreement, "uid=moved"+agreement
		heir.DNNorm, heir.DN = under.ManagerDN, under.ManagerDN // somebody else takes the place
		link(agreement, roster.Changes{Put: []roster.Person{boss, heir}})
		want := heir.UserID
		if agreement == "ad" {
			want = boss.UserID
		}
		if got := manager(n + 1); got != want {
			s.Errorf("%s: the manager is %q, want %q", agreement, got, want)
		}
		if agreement == "openldap" {
			continue
		}
		boss.UserID = "chief"
		link(agreement, roster.Changes{Put: []roster.Person{boss}})
		if got := manager(n + 1); got != "chief" {
			s.Errorf("the manager is %q after another user id", got)
		}
		below := s.all(n + 1)[string('a'+n+1)]
		below.ManagerDN = boss.DNNorm // the entry was read again
		link(agreement, roster.Changes{Put: []roster.Person{below}})
		below = s.all(n + 1)[string('a'+n+1)]
		below.ManagerDN = heir.DNNorm // and now it is another
		link(agreement, roster.Changes{Put: []roster.Person{below}})
		if got := manager(n + 1); got != heir.UserID {
			s.Errorf("the manager is %q, want %q", got, heir.UserID)
		}
		link(agreement, roster.Changes{Remove: []roster.Person{heir}})
		if got := manager(n + 1); got != "" {
			s.Errorf("the manager is %q, who is gone", got)
		}
	}
}

func (s *suite) managersOfDNs() {
	at := func(p roster.Person, dn string) roster.Person { p.DN, p.DNNorm = dn, dn; return p }
	s.apply("other", roster.Changes{Put: []roster.Person{at(person("other", 1, "a"), "uid=x"), at(person("other", 2, "b"), "uid=y")}})
	s.apply("corp", roster.Changes{Put: []roster.Person{at(person("corp", 3, "c"), "uid=x"), at(person("corp", 4, "d"), "uid=z")}})
	s.apply("third", roster.Changes{Put: []roster.Person{at(person("third", 5, "e"), "uid=x")}})
	s.read(func(tx ldapsync.Reader) error {
		got, err := tx.SyncManagers("corp", []string{"uid=x", "uid=y", "uid=nobody", "uid=x"})
		if want := (map[string]string{"uid=x": "c", "uid=y": "b"}); !maps.Equal(got, want) {
			s.Errorf("of corp: %v, want %v", got, want)
		}
		return err
	})
	s.read(func(tx ldapsync.Reader) error {
		got, err := tx.SyncManagers("none", []string{"uid=x"})
		if want := (map[string]string{"uid=x": "a"}); !maps.Equal(got, want) {
			s.Errorf("of none: %v, want %v", got, want)
		}
		return err
	})
}

func (s *suite) rename() {
	loss := roster.Loss{Agreement: "corp", Key: key(1), Kind: roster.LossAbsent, Since: s.now}
	s.apply("corp", roster.Changes{Put: []roster.Person{person("corp", 1, "a"), person("corp", 2, "b")}, Park: []roster.Loss{loss}, Applied: []roster.Loss{loss},
		Reject: []roster.Reject{{Agreement: "corp", Key: key(3), Reason: "user-id-taken", Since: s.now}}})
	s.write("corp", func(tx ldapsync.Writer) error {
		return tx.SyncSave(roster.Agreement{Name: "corp", Kind: "ad", Seed: 7, ScopeFP: "s"})
	})
	mark := roster.Mark{Agreement: "corp", Feed: "syncrepl", Cookie: []byte("c"), ScopeFP: "s", Taken: s.now, Checksum: 5}
	s.write("corp", func(tx ldapsync.Writer) error {
		if err := tx.SyncSetContainers("corp", []roster.Container{{Key: key(8), DNNorm: "ou=x"}}); err != nil {
			return err
		}
		return tx.SyncSaveMark(mark)
	})
	s.apply("other", roster.Changes{Put: []roster.Person{person("other", 4, "d")}})
	if err := s.store.Write(s.Context(), func(tx ldapsync.Writer) error { return tx.SyncRename("corp", "new") }); err != nil {
		s.Fatal(err)
	}
	s.read(func(tx ldapsync.Reader) error {
		all, err := tx.SyncAgreements()
		if len(all) != 2 || all[0].Name != "new" || all[0].Kind != "ad" || all[0].Seed != 7 || all[0].ScopeFP != "s" || all[0].Seq != 4 || all[1].Name != "other" {
			s.Errorf("agreements: %+v", all)
		}
		return err
	})
	s.read(func(tx ldapsync.Reader) error {
		m, err := tx.SyncMark("new", "syncrepl", "")
		c, err2 := tx.SyncContainers("new", []string{key(8)})
		if string(m.Cookie) != "c" || len(c) != 1 {
			s.Errorf("mark %+v, containers %v", m, c)
		}
		return errors.Join(err, err2)
	})
	rejects := 0
	s.read(func(tx ldapsync.Reader) error {
		return tx.SyncRejects("new", func(roster.Reject) error { rejects++; return nil })
	})
	var t roster.Tally
	s.read(func(tx ldapsync.Reader) (err error) { t, err = tx.SyncTally("new", s.now, 0); return err })
	if p := s.all(1)["a"]; p.Agreement != "new" || len(s.pendingOf("new", "")) != 1 || len(s.pendingOf("corp", "")) != 0 || rejects != 1 || t.Total != 2 || len(t.Applied) != 1 {
		s.Errorf("renamed: %+v, %d rejects, %+v", p, rejects, t)
	}
	if p := s.all(4)["d"]; p.Agreement != "other" {
		s.Errorf("another: %+v", p)
	}
}

func (s *suite) expiry() {
	ends := func(p roster.Person, at time.Time) roster.Person { p.Expires = at; return p }
	gone := ends(person("corp", 4, "d"), s.now)
	gone.Status, gone.InactiveReason = user.Inactive, user.Expired
	s.apply("corp", roster.Changes{Put: []roster.Person{ends(person("corp", 2, "b"), s.now), ends(person("corp", 1, "a"), s.now.Add(-time.Hour)), person("corp", 3, "c"), gone,
		ends(person("corp", 5, "e"), s.now.Add(time.Second))}})
	s.apply("other", roster.Changes{Put: []roster.Person{ends(person("other", 6, "f"), s.now)}})
	s.read(func(tx ldapsync.Reader) error {
		keys, err := tx.SyncExpired("corp", s.now)
		if !slices.Equal(keys, []string{key(1), key(2)}) {
			s.Errorf("expired: %v", keys)
		}
		return err
	})
	if got := s.all(5)["e"].Expires; !got.Equal(s.now.Add(time.Second)) {
		s.Errorf("ends at %v", got)
	}
}

func (s *suite) rollback() {
	stop := errors.New("stop")
	err := s.store.Write(s.Context(), func(tx ldapsync.Writer) error {
		if err := tx.SyncAdvance("corp", 0); err != nil {
			return err
		}
		if err := tx.SyncApply("corp", roster.Changes{Put: []roster.Person{person("corp", 1, "a")}}); err != nil {
			return err
		}
		return stop
	})
	if !errors.Is(err, stop) {
		s.Errorf("got %v", err)
	}
	if got := s.all(1); len(got) != 0 {
		s.Errorf("written all the same: %+v", got)
	}
	s.apply("corp", roster.Changes{Put: []roster.Person{person("corp", 1, "a")}}) // and the number was not raised
}

func (s *suite) try() {
	stop := errors.New("stop")
	one := func(n byte, id string) roster.Changes {
		return roster.Changes{Put: []roster.Person{person("corp", n, id)}}
	}
	s.write("corp", func(tx ldapsync.Writer) error {
		if err := tx.SyncApply("corp", one(1, "a")); err != nil {
			return err
		}
		if err := tx.SyncTry(func() error { return tx.SyncApply("corp", one(2, "b")) }); err != nil {
			return err
		}
		err := tx.SyncTry(func() error { return errors.Join(tx.SyncApply("corp", one(3, "c")), stop) })
		if !errors.Is(err, stop) {
			s.Errorf("got %v", err)
		}
		row := new(roster.RowError)
		both := one(4, "d")
		both.Put = append(both.Put, person("corp", 5, "A")) // a's
		if err := tx.SyncTry(func() error { return tx.SyncApply("corp", both) }); !errors.As(err, &row) || row.Key != key(5) {
			s.Errorf("a user id twice: %v", err)
		}
		return tx.SyncTry(func() error { return tx.SyncApply("corp", one(6, "f")) })
	})
	if all := s.all(1, 2, 3, 4, 5, 6); len(all) != 3 || all["a"].Key == "" || all["b"].Key == "" || all["f"].Key == "" {
		s.Errorf("what was undone, or not: %+v", all)
	}
}

// managersOfNewcomers: whoever comes with a manager that is there, comes with
// it in the same call, before or after, or names one who moves in that call.
func (s *suite) managersOfNewcomers() {
	under := func(p roster.Person, dn string) roster.Person { p.ManagerDN = dn; return p }
	check := func(name string, want map[string]string) {
		s.Helper()
		s.write("corp", func(tx ldapsync.Writer) error { _, err := tx.LinkManagers(); return err })
		for id, p := range s.all(1, 2, 3, 4, 5, 6, 7, 8, 9) {
			if p.Manager != want[id] {
				s.Errorf("%s: the manager of %s is %q, want %q", name, id, p.Manager, want[id])
			}
		}
	}
	s.apply("corp", roster.Changes{Put: []roster.Person{person("corp", 1, "boss"), under(person("corp", 2, "late"), "uid=later,dc=x")}})
	s.apply("other", roster.Changes{Put: []roster.Person{person("other", 3, "foreign")}})
	s.apply("corp", roster.Changes{Put: []roster.Person{under(person("corp", 4, "d"), "uid=boss,dc=x"), under(person("corp", 5, "e"), "uid=later,dc=x"),
		person("corp", 6, "later"), under(person("corp", 7, "g"), "uid=later,dc=x"), under(person("corp", 8, "h"), "uid=foreign,dc=x")}})
	check("newcomers", map[string]string{"late": "later", "d": "boss", "e": "later", "g": "later", "h": "foreign"})

	// The boss moves in the same call in which somebody names the old place.
	moved := s.all(1)["boss"]
	moved.DN, moved.DNNorm = "uid=moved,dc=x", "uid=moved,dc=x"
	s.apply("corp", roster.Changes{Put: []roster.Person{under(person("corp", 9, "i"), "uid=boss,dc=x"), moved}})
	check("a move", map[string]string{"late": "later", "e": "later", "g": "later", "h": "foreign"})

	// One of our own agreement comes to the place of the foreign one.
	own := person("corp", 10, "own")
	own.DN, own.DNNorm = "uid=foreign,dc=x", "uid=foreign,dc=x"
	s.apply("other", roster.Changes{Remove: []roster.Person{s.all(3)["foreign"]}})
	s.apply("corp", roster.Changes{Put: []roster.Person{own}})
	check("one's own", map[string]string{"late": "later", "e": "later", "g": "later", "h": "own"})
}
