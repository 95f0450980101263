package ldapsync

import (
	"errors"
	"fmt"
	"testing"
	"time"
)

func inboxKey(n int) string { return rawKey(numberedKey(n)).text(KindOpenLDAP) }

func TestInboxKeepsTheLastWord(t *testing.T) {
	b := newInbox(inboxKeys)
	put := func(ms ...Mention) {
		t.Helper()
		for _, m := range ms {
			if err := b.mention(m); err != nil {
				t.Fatal(err)
			}
		}
	}
	put(Mention{What: EntryChanged, Key: inboxKey(1)}, Mention{What: EntryPresent, Key: inboxKey(2)}, Mention{What: OnlyCookie, Cookie: []byte("a")})
	select {
	case <-b.ready:
		t.Error("something can be taken before the refresh stage has ended")
	default:
	}
	if err := b.refreshed(Outcome{Cookie: []byte("r")}); err != nil {
		t.Fatal(err)
	}
	<-b.ready
	p := b.take()
	if len(p.list) != 1 || len(p.present) != 1 || string(p.cookie) != "a" || p.refresh == nil || string(p.refresh.Cookie) != "r" {
		t.Errorf("took %+v", p)
	}
	put(Mention{What: EntryGone, Key: inboxKey(1)}, Mention{What: Container, Key: inboxKey(1), DN: "ou=a"}, Mention{What: EntryChanged, Key: inboxKey(1)},
		Mention{What: EntryGone, Key: inboxKey(3)}, Mention{What: OnlyCookie, Cookie: []byte("b")}, Mention{What: OnlyCookie, Cookie: []byte("c")})
	<-b.ready
	p = b.take()
	if len(p.list) != 3 || p.list[0].What != EntryChanged || p.list[1].What != Container || p.list[2].Key != inboxKey(3) || string(p.cookie) != "c" || p.refresh != nil {
		t.Errorf("took %+v", p)
	}
	if p = b.take(); len(p.list) != 0 || p.cookie != nil {
		t.Errorf("took twice: %+v", p)
	}
}

func TestInboxIsBounded(t *testing.T) {
	b := newInbox(inboxKeys)
	var err error
	n := 0
	for ; err == nil && n <= inboxKeys; n++ {
		err = b.mention(Mention{What: EntryGone, Key: fmt.Sprintf("%032x", n)})
	}
	if !errors.Is(err, errInboxFull) || n != inboxKeys+1 {
		t.Errorf("after %d: %v", n, err)
	}
	if err := b.mention(Mention{What: EntryChanged, Key: fmt.Sprintf("%032x", 7)}); err != nil {
		t.Errorf("a key that is there already: %v", err)
	}
}

func TestPausesGrowByChance(t *testing.T) {
	f := &follower{}
	for i := range 30 {
		most := min(retryMost, retryFirst<<min(i, 20))
		for range 50 {
			f.failed = i
			if d := f.backoff(); d > most || d <= 0 {
				t.Fatalf("pause %d is %v, at most %v", i, d, most)
			}
		}
	}
}

func TestJitter(t *testing.T) {
	differ := false
	for i := range 100 {
		d := jittered(24*time.Hour, fmt.Sprint(i))
		if d < 21*time.Hour+36*time.Minute || d > 26*time.Hour+24*time.Minute {
			t.Errorf("%v", d)
		}
		if d != jittered(24*time.Hour, fmt.Sprint(i)) {
			t.Error("not the same for the same text")
		}
		differ = differ || d != jittered(24*time.Hour, "0")
	}
	if !differ {
		t.Error("always the same")
	}
}
