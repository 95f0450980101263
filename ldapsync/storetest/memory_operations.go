package storetest

import (
	"maps"
	"slices"
	"strings"

	"github.com/dirpin/dirpin/internal/roster"
)

func (t *tx) SyncAgreements() ([]roster.Agreement, error) {
	names := map[string]bool{}
	for n := range t.s.Agreements {
		names[n] = true
	}
	for _, p := range t.s.People {
		if p.Agreement != "" {
			names[p.Agreement] = true
		}
	}
	var all []roster.Agreement
	for _, n := range slices.Sorted(maps.Keys(names)) {
		a, _ := t.SyncAgreement(n)
		all = append(all, a)
	}
	return all, nil
}

func (t *tx) SyncRename(from, to string) error {
	for id, p := range t.s.People {
		if p.Agreement == from {
			p.Agreement = to
			t.s.People[id] = p
		}
	}
	for k, ls := range t.s.Pending {
		if name, key, _ := strings.Cut(k, "\x00"); name == from {
			for i := range ls {
				ls[i].Agreement = to
			}
			delete(t.s.Pending, k)
			t.s.Pending[to+"\x00"+key] = ls
		}
	}
	for k, x := range t.s.Rejects {
		if name, key, _ := strings.Cut(k, "\x00"); name == from {
			x.Agreement = to
			delete(t.s.Rejects, k)
			t.s.Rejects[to+"\x00"+key] = x
		}
	}
	for i := range t.s.Applied {
		if t.s.Applied[i].Agreement == from {
			t.s.Applied[i].Agreement = to
		}
	}
	for k, m := range t.s.Marks {
		if k[0] == from {
			delete(t.s.Marks, k)
			m.Agreement, k[0] = to, to
			t.s.Marks[k] = m
		}
	}
	for k, dn := range t.s.Containers {
		if k[0] == from {
			delete(t.s.Containers, k)
			t.s.Containers[[2]string{to, k[1]}] = dn
		}
	}
	for key, name := range t.s.Excluded {
		if name == from {
			t.s.Excluded[key] = to
		}
	}
	a := t.s.Agreements[from]
	a.Name, a.Seq = to, a.Seq+1
	delete(t.s.Agreements, from)
	t.s.Agreements[to] = a
	return t.step("rename")
}
