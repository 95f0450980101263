package store

import (
	"context"
	"testing"
	"time"
)

// A reload may make pushes shorter while longer ones are on the wire: nobody
// takes their work over before those have ended.
func TestLeaseIsThatOfTheLongestPush(t *testing.T) {
	each(t, func(t *testing.T, open opener) {
		c := &clock{now: time.Date(2026, 11, 24, 2, 0, 0, 0, time.UTC)}
		s := open(t, c)
		write := func(fn func(tx *Tx) error) {
			t.Helper()
			if err := s.Write(context.Background(), fn); err != nil {
				t.Fatal(err)
			}
		}
		write(func(tx *Tx) error { return tx.AddOwner(Owner{ID: "o"}) })
		for _, longest := range []time.Duration{time.Minute, time.Hour, time.Second} {
			write(func(tx *Tx) error { return tx.OwnerPushes("o", longest) })
		}
		for after, want := range map[time.Duration]bool{Lease + time.Hour - time.Second: false, Lease + time.Hour: true} {
			c.now = time.Date(2026, 11, 24, 2, 0, 0, 0, time.UTC).Add(after)
			write(func(tx *Tx) error {
				over, err := tx.LeaseOver("o")
				if err == nil && over != want {
					t.Errorf("after %s of silence its lease is over: %v", after, over)
				}
				return err
			})
		}
	})
}
