package ldapsync

import (
	"fmt"
	"slices"
	"testing"
	"time"
	"unsafe"

	"github.com/dirpin/dirpin/internal/roster"
	"github.com/dirpin/dirpin/internal/user"
)

// heldBy is a Reader of nothing but an index.
type heldBy struct {
	Reader
	people []roster.Held
}

func (h heldBy) SyncCount(string) (int, error) { return len(h.people), nil }

func (h heldBy) SyncIndex(_ string, yield func(roster.Held) error) error {
	for _, p := range h.people {
		if err := yield(p); err != nil {
			return err
		}
	}
	return nil
}

func uuidOf(n int) string { return fmt.Sprintf("%08x-0000-0000-0000-000000000000", n) }

func TestIndex(t *testing.T) {
	var h heldBy
	for n := 199; n >= 0; n-- {
		p := roster.Held{Key: uuidOf(2 * n), Hash: uint64(n)}
		switch n {
		case 10:
			p.Pending = true
		case 20:
			p.Inactive = user.Disabled
		case 30:
			p.Inactive, p.Absent = user.Absent, 30*time.Minute
		case 40:
			p.Inactive, p.Absent = user.Absent, 20*time.Minute
		case 50:
			p.Excluded = true
		}
		h.people = append(h.people, p)
	}
	x, err := loadIndex(h, "corp", 30*time.Minute, time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	if size := unsafe.Sizeof(x.held[0]); size != 24 || cap(x.held) != 200 {
		t.Errorf("%d bytes a person, room for %d", size, cap(x.held))
	}
	for n := range 400 {
		k, _ := parseKey(uuidOf(n))
		i := x.find(k)
		if (i >= 0) != (n%2 == 0) || i >= 0 && x.held[i].key != k {
			t.Fatalf("%d was found at %d", n, i)
		}
		if i < 0 {
			continue
		}
		n := n / 2
		want := [flagCount]bool{flagPending: n == 10, flagInactive: n == 20 || n == 30 || n == 40, flagAbsent: n == 30 || n == 40, flagDue: n == 30, flagExcluded: n == 50}
		for f, w := range want {
			if x.is(i, flag(f)) != w {
				t.Errorf("%d: flag %d is %v", n, f, !w)
			}
		}
		if settled := n != 0 && n != 10 && n != 30 && n != 40; x.settled(i, uint64(n)) != settled || x.settled(i, uint64(n+1)) {
			t.Errorf("%d: settled is not %v", n, settled)
		}
	}
	unseen := func() (all []int) { x.unseen(func(i int) { all = append(all, i) }); return all }
	if all := unseen(); len(all) != 199 || slices.Contains(all, 50) || !slices.IsSorted(all) {
		t.Errorf("unseen: %v", all)
	}
	for i := range 200 {
		if i != 64 && i != 199 {
			x.set(i, flagSeen)
		}
	}
	if all := unseen(); !slices.Equal(all, []int{64, 199}) {
		t.Errorf("unseen: %v", all)
	}
	x.forgetSeen()
	if len(unseen()) != 199 {
		t.Error("seen was not forgotten")
	}
	empty, err := loadIndex(heldBy{}, "corp", 0, 0)
	if err != nil || empty.find(rawKey{}) >= 0 {
		t.Error("an empty index finds somebody", err)
	}
	empty.unseen(func(int) { t.Error("an empty index has somebody") })
}
