package resetjob

import (
	"context"
	"testing"

	"github.com/dirpin/dirpin/internal/store"
	"github.com/dirpin/dirpin/internal/voicemail"
)

// A process that works beside another one takes half of what both may.
func TestProcessesShareASystem(t *testing.T) {
	k := newKit(t, nil)
	k.addUsers(20, nil)
	ahead := func() int { // of the wire, at the first attempt of a run
		system := k.env.Router.Systems()[0]
		first := 0
		k.boxes.answer = func(string, int) voicemail.Answer {
			if first == 0 {
				first = system.Slots().Ahead()
			}
			return voicemail.Answer{Class: voicemail.Answered, Result: voicemail.Accepted}
		}
		k.run(generated)
		return first
	}
	alone := ahead()

	others := k.submit("name: others\n" + generated)
	l, err := k.env.take(context.Background(), others.ID)
	k.must(err)
	k.must(k.env.open(context.Background(), l, nil))
	other, err := NewOwner(context.Background(), k.env.Store, k.env.Ring)
	k.must(err)
	k.must(k.env.Store.Write(context.Background(), func(tx *store.Tx) error {
		_, _, err := tx.ClaimBatch(others.ID, other.ID)
		return err
	}))
	if beside := ahead(); beside != alone/2 || beside == 0 {
		t.Errorf("%d legs ahead beside another process, %d alone", beside, alone)
	}
	k.must(other.Close())
	_, err = Recover(context.Background(), k.env.Store)
	k.must(err)
	if again := ahead(); again != alone {
		t.Errorf("%d legs ahead when the other one has died, %d before", again, alone)
	}
}
