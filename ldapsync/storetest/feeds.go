package storetest

import (
	"slices"
	"time"

	"github.com/dirpin/dirpin/internal/roster"
	"github.com/dirpin/dirpin/internal/user"
	"github.com/dirpin/dirpin/ldapsync"
)

func (s *suite) marks() {
	mark := func(feed, provider string) (m roster.Mark) {
		s.Helper()
		s.read(func(tx ldapsync.Reader) (err error) { m, err = tx.SyncMark("corp", feed, provider); return err })
		return m
	}
	if m := mark("syncrepl", ""); m.Checksum != 0 || len(m.Cookie) != 0 {
		s.Errorf("none, but %+v", m)
	}
	one := roster.Mark{Agreement: "corp", Feed: "syncrepl", Cookie: []byte("rid=1\x00\xff"), ScopeFP: "s", MapFP: "m", Taken: s.now, Checksum: 1<<63 + 1}
	other := roster.Mark{Agreement: "corp", Feed: "usn", Provider: "dc2", Cookie: []byte("2"), Taken: s.now, Checksum: 2}
	foreign := roster.Mark{Agreement: "other", Feed: "syncrepl", Cookie: []byte("3"), Taken: s.now, Checksum: 3}
	s.write("corp", func(tx ldapsync.Writer) error {
		for _, m := range []roster.Mark{{Agreement: "corp", Feed: "syncrepl", Cookie: []byte("old"), Checksum: 9}, one, other} {
			if err := tx.SyncSaveMark(m); err != nil {
				return err
			}
		}
		return nil
	})
	s.write("other", func(tx ldapsync.Writer) error { return tx.SyncSaveMark(foreign) })
	if m := mark("syncrepl", ""); string(m.Cookie) != string(one.Cookie) || m.ScopeFP != "s" || m.MapFP != "m" || !m.Taken.Equal(s.now) || m.Checksum != one.Checksum || m.Agreement != "corp" {
		s.Errorf("kept %+v", m)
	}
	if m := mark("usn", "dc2"); string(m.Cookie) != "2" {
		s.Errorf("of another provider: %+v", m)
	}
	if m := mark("usn", "dc1"); m.Checksum != 0 {
		s.Errorf("of a provider without one: %+v", m)
	}
}

func (s *suite) containers() {
	of := func(agreement string, numbers ...byte) map[string]string {
		s.Helper()
		found := map[string]string{}
		var keys []string
		for _, n := range numbers {
			keys = append(keys, key(n))
		}
		s.read(func(tx ldapsync.Reader) error {
			cs, err := tx.SyncContainers(agreement, keys)
			for _, c := range cs {
				found[c.Key] = c.DNNorm
			}
			return err
		})
		return found
	}
	set := func(agreement string, cs ...roster.Container) {
		s.Helper()
		s.write(agreement, func(tx ldapsync.Writer) error { return tx.SyncSetContainers(agreement, cs) })
	}
	set("corp", roster.Container{Key: key(1), DNNorm: "ou=a"}, roster.Container{Key: key(2), DNNorm: "ou=b"})
	set("other", roster.Container{Key: key(1), DNNorm: "ou=z"})
	if got := of("corp", 1, 2, 3); len(got) != 2 || got[key(1)] != "ou=a" || got[key(2)] != "ou=b" {
		s.Errorf("containers: %v", got)
	}
	set("corp", roster.Container{Key: key(2), DNNorm: "ou=c"})
	if got := of("corp", 1, 2, 3); len(got) != 1 || got[key(2)] != "ou=c" {
		s.Errorf("set anew: %v", got)
	}
	if got := of("other", 1); got[key(1)] != "ou=z" {
		s.Errorf("of another agreement: %v", got)
	}
}

func (s *suite) sample() {
	s.read(func(tx ldapsync.Reader) error {
		people, err := tx.SyncSample("corp", 3)
		if len(people) != 0 {
			s.Errorf("of nobody: %+v", people)
		}
		return err
	})
	inactive := person("corp", 3, "c")
	inactive.Status, inactive.InactiveReason = user.Inactive, user.Disabled
	s.apply("corp", roster.Changes{Put: []roster.Person{person("corp", 1, "a"), inactive, person("other", 4, "d"), person("corp", 2, "b")}})
	seen := map[string]bool{}
	for range 100 {
		s.read(func(tx ldapsync.Reader) error {
			people, err := tx.SyncSample("corp", 2)
			if len(people) < 1 || len(people) > 2 {
				s.Errorf("drew %+v", people)
			}
			for _, p := range people {
				seen[p.UserID] = true
			}
			return err
		})
	}
	if len(seen) != 2 || !seen["a"] || !seen["b"] {
		s.Errorf("drew %v", seen)
	}
}

func (s *suite) atLeast() {
	var c roster.Changes
	for n := byte(1); n <= 9; n++ {
		c.Put = append(c.Put, person("corp", n, string(rune('a'+n))))
	}
	s.apply("corp", c)
	has := func(agreement string, n int) (yes bool) {
		s.Helper()
		s.read(func(tx ldapsync.Reader) (err error) { yes, err = tx.SyncAtLeast(agreement, n); return err })
		return yes
	}
	if !has("corp", 0) || !has("corp", 9) || has("corp", 10) || has("other", 1) {
		s.Error("miscounted")
	}
	s.read(func(tx ldapsync.Reader) error {
		t, err := tx.SyncTally("corp", s.now, 4)
		if t.Active < 4 || t.Active > 9 || t.Total != t.Active {
			s.Errorf("enough: %+v", t)
		}
		return err
	})
}

func (s *suite) observe() {
	absent := func(agreement string, n byte, id string) roster.Person {
		p := person(agreement, n, id)
		p.Status, p.InactiveReason = user.Inactive, user.Absent
		return p
	}
	disabled := person("corp", 4, "d")
	disabled.Status, disabled.InactiveReason = user.Inactive, user.Disabled
	s.apply("corp", roster.Changes{Put: []roster.Person{absent("corp", 1, "a"), person("corp", 2, "b"), absent("other", 3, "c"), disabled}})
	for range 2 {
		s.write("corp", func(tx ldapsync.Writer) error { return tx.SyncObserve("corp", 15*time.Minute) })
	}
	for id, p := range s.all(1, 2, 3, 4) {
		want := time.Duration(0)
		if id == "a" {
			want = 30 * time.Minute
		}
		if p.Absent != want {
			s.Errorf("%s is absent for %v", id, p.Absent)
		}
	}
	p := s.all(1)["a"]
	p.Absent = 0
	s.apply("corp", roster.Changes{Put: []roster.Person{p}})
	held := map[string]time.Duration{}
	s.read(func(tx ldapsync.Reader) error {
		return tx.SyncIndex("corp", func(h roster.Held) error { held[h.Key] = h.Absent; return nil })
	})
	if held[key(1)] != 0 {
		s.Errorf("absent for %v after a return", held[key(1)])
	}
}

// free runs f in a transaction that does not advance an agreement.
func (s *suite) free(f func(ldapsync.Writer) error) {
	s.Helper()
	if err := s.store.Write(s.Context(), f); err != nil {
		s.Fatalf("writing: %v", err)
	}
}

func (s *suite) leases() {
	take := func(holder string, now time.Time) (other string) {
		s.Helper()
		s.free(func(tx ldapsync.Writer) (err error) {
			other, err = tx.SyncLease("corp", holder, now, now.Add(30*time.Second))
			return err
		})
		return other
	}
	if other := take("a", s.now); other != "" {
		s.Errorf("a free one is %s's", other)
	}
	if other := take("b", s.now.Add(29*time.Second)); other != "a" {
		s.Errorf("a taken one is %q's", other)
	}
	if other := take("a", s.now.Add(20*time.Second)); other != "" {
		s.Errorf("prolonging: %s", other)
	}
	if other := take("b", s.now.Add(49*time.Second)); other != "a" {
		s.Errorf("a prolonged one is %q's", other)
	}
	if other := take("b", s.now.Add(50*time.Second)); other != "" {
		s.Errorf("one that ran out is %q's", other)
	}
	s.free(func(tx ldapsync.Writer) error { return tx.SyncRelease("corp", "a") })
	if other := take("a", s.now.Add(51*time.Second)); other != "b" {
		s.Errorf("released by another one: %q", other)
	}
	s.free(func(tx ldapsync.Writer) error { return tx.SyncRelease("corp", "b") })
	if other := take("a", s.now.Add(51*time.Second)); other != "" {
		s.Errorf("a released one is %q's", other)
	}
}

func (s *suite) orders() {
	var first, second int64
	s.free(func(tx ldapsync.Writer) (err error) {
		if first, err = tx.SyncAsk("corp", `{"full":true}`, s.now); err != nil {
			return err
		}
		if _, err = tx.SyncAsk("other", "x", s.now); err != nil {
			return err
		}
		second, err = tx.SyncAsk("corp", "y", s.now.Add(time.Second))
		return err
	})
	waiting := func() (ids []int64) {
		s.Helper()
		s.read(func(tx ldapsync.Reader) error {
			return tx.SyncOrders("corp", func(o roster.Order) error { ids = append(ids, o.ID); return nil })
		})
		return ids
	}
	if got := waiting(); !slices.Equal(got, []int64{first, second}) || first == 0 {
		s.Errorf("waiting: %v, want %d, %d", got, first, second)
	}
	order := func(id int64) (o roster.Order) {
		s.Helper()
		s.read(func(tx ldapsync.Reader) (err error) { o, err = tx.SyncOrder(id); return err })
		return o
	}
	o := order(first)
	if o.ID != first || o.Agreement != "corp" || !o.At.Equal(s.now) || o.Request != `{"full":true}` || o.Holder != "" || o.Answer != "" {
		s.Errorf("order: %+v", o)
	}
	o.Holder, o.Answer = "a", "done"
	s.free(func(tx ldapsync.Writer) error { return tx.SyncSaveOrder(o) })
	if got := waiting(); !slices.Equal(got, []int64{second}) {
		s.Errorf("waiting: %v", got)
	}
	if got := order(first); got != o {
		s.Errorf("answered: %+v", got)
	}
	s.free(func(tx ldapsync.Writer) error { return tx.SyncForgetOrder(first) })
	if got := order(first); got.ID != 0 {
		s.Errorf("forgotten: %+v", got)
	}
}

func (s *suite) excluded() {
	s.read(func(tx ldapsync.Reader) error {
		got, err := tx.SyncExcluded("corp", []string{key(1)})
		if len(got) != 0 {
			s.Errorf("excluded: %v", got)
		}
		return err
	})
}
