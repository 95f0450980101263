package resetjob

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/dirpin/dirpin/config"
	"github.com/dirpin/dirpin/internal/incarnation"
	"github.com/dirpin/dirpin/internal/outcome"
	"github.com/dirpin/dirpin/internal/store"
	"github.com/dirpin/dirpin/internal/user"
	"github.com/dirpin/dirpin/internal/voicemail"
)

// What TestModel has found once, told directly.

// inBubble runs fn with a kit whose hours pass at once.
func inBubble(t *testing.T, change func(*config.Config), fn func(*kit)) {
	synctest.Test(t, func(t *testing.T) {
		k := newLocalKit(t, change)
		fn(k)
		k.must(k.env.Owner.Close())
	})
}

// A transaction that failed has journalled nothing: the next one does, before
// anything is sent.
func TestNothingIsSentThatAFailedTransactionJournalled(t *testing.T) {
	inBubble(t, nil, func(k *kit) {
		k.addUsers(3, nil)
		writes := 0
		k.env.Step = func(name string) {
			if name == "write" {
				if writes++; writes == 1 {
					k.sql("CREATE TRIGGER full BEFORE INSERT ON journal WHEN NEW.user_ref = 3 BEGIN SELECT RAISE(ABORT, 'x'); END")
				} else {
					k.sql("DROP TRIGGER IF EXISTS full")
				}
			}
		}
		k.boxes.answer = func(id string, _ int) voicemail.Answer {
			k.must(k.env.Store.Read(context.Background(), func(tx *store.Tx) error {
				u, err := tx.User(id)
				if err != nil {
					return err
				}
				if job, err := tx.InFlight(u.ID); err != nil || job == 0 {
					k.Errorf("%s is sent and not journalled (%v)", id, err)
				}
				return nil
			}))
			return accepts
		}
		if j := k.run(generated); j.Counts.Updated != 3 {
			k.Errorf("%+v", j.Counts)
		}
	})
}

// cut runs a job of which two items are left in the journal.
func (k *kit) cut(text string) *store.Job {
	k.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	n := 0
	k.boxes.answer = func(string, int) voicemail.Answer {
		if n++; n == 2 {
			cancel()
		}
		return loses
	}
	j := k.submit(text)
	_, err := k.env.Run(ctx, j.ID, nil)
	var interrupted *InterruptedError
	if !errors.As(err, &interrupted) {
		k.Fatalf("got %v", err)
	}
	return j
}

func TestAStopSettlesWhatWasCut(t *testing.T) {
	inBubble(t, func(c *config.Config) { c.Voicemail[0].Retries = 1; c.Voicemail[0].Concurrency = 2 }, func(k *kit) {
		k.addUsers(6, nil)
		k.boxes.answer = nil
		j := k.cut("select: {query: all}\nreset: {pin: \"471108\"}\nlimits: {max_failures: 1}\n")
		k.boxes.answer = func(string, int) voicemail.Answer { return rejects }
		j, err := k.env.Run(context.Background(), j.ID, nil)
		k.must(err)
		if j.State != store.Stopped || j.Counts.Final() != 6 {
			k.Errorf("job is %s with %+v", j.State, j.Counts)
		}
		for id, code := range k.codes(j.ID) {
			if code == store.Pending {
				k.Errorf("%s is left", id)
			}
		}
	})
}

func TestWhoWasGivenBackUnsentByACancelledJobIsNotRun(t *testing.T) {
	inBubble(t, nil, func(k *kit) {
		k.addUsers(5, nil)
		j := k.cut("select: {query: all}\nreset: {pin: \"471108\"}\n")
		k.must(k.env.Store.Write(context.Background(), func(tx *store.Tx) error {
			_, err := tx.MoveJob(j.ID, []store.State{store.Queued}, store.Cancelled, "")
			return err
		}))
		k.boxes.answer = nil
		j, err := k.env.Run(context.Background(), j.ID, nil)
		k.must(err)
		if j.Counts.Final() != 5 || j.Counts.NotRun == 0 {
			k.Errorf("%+v", j.Counts)
		}
	})
}

// An uncertain request is sent again for the one whom it names, however often
// it is retried, and whoever bears that user id by then.
func TestARetriedRetryGoesToNobodyElse(t *testing.T) {
	for name, change := range map[string]string{
		"renamed": "UPDATE users SET user_id = 'other', user_id_f = 'other' WHERE user_id = 'user0'",
		"removed": "DELETE FROM users WHERE user_id = 'user0'",
	} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, func(c *config.Config) { c.RetryWithin = 24 * time.Hour }, func(k *kit) {
				k.addUsers(1, nil)
				k.boxes.answer = func(string, int) voicemail.Answer { return loses }
				j := k.run(generated)
				k.sql(change)
				k.addUsers(1, nil) // somebody new is called user0
				k.boxes.answer, k.boxes.asked = nil, map[string][]string{}
				for range 3 {
					next, err := k.env.Retry(context.Background(), j.ID, "tester")
					k.must(err)
					j, err = k.env.Run(context.Background(), next.ID, nil)
					k.must(err)
				}
				if len(k.boxes.asked) > 0 {
					k.Errorf("somebody else was sent the request: %v", k.boxes.asked)
				}
				for _, code := range k.codes(j.ID) {
					if code != outcome.VoicemailTimeout {
						k.Errorf("ended %s", code)
					}
				}
			})
		})
	}
}

// The end of a job does not hide that the database was restored, and what it
// has forgotten may arrive for a while.
func TestARestoreStaysVisibleUntilItIsReleased(t *testing.T) {
	inBubble(t, nil, func(k *kit) {
		ctx := context.Background()
		k.addUsers(1, nil)
		k.env.Marker = incarnation.NewMarker(k.dir, k.env.Store.Path())
		k.must(k.env.Enter(ctx))
		last, err := k.env.Marker.Last()
		k.must(err)
		last.Generation += 2
		k.must(k.env.Marker.Write(last)) // as if the database were older
		k.must(k.env.advance(ctx))
		var restored *RestoredError
		if err := k.env.Enter(ctx); !errors.As(err, &restored) {
			k.Fatalf("got %v, want the restore noticed", err)
		}
		var resting *RestingError
		if _, _, err := k.env.ReleaseRestored(ctx, "tester"); !errors.As(err, &resting) {
			k.Fatalf("got %v, want it to rest", err)
		}
		time.Sleep(time.Until(resting.Until))
		if _, was, err := k.env.ReleaseRestored(ctx, "tester"); err != nil || !was {
			k.Errorf("%v, %v", was, err)
		}
		k.must(k.env.Enter(ctx))
	})
}

// While a job runs, a copy of the database from a moment ago is known as one.
func TestARunningJobMarksTheDatabase(t *testing.T) {
	inBubble(t, func(c *config.Config) { c.Voicemail[0].Concurrency = 1 }, func(k *kit) {
		k.addUsers(20, nil)
		k.env.Marker = incarnation.NewMarker(k.dir, k.env.Store.Path())
		k.must(k.env.Enter(context.Background()))
		var seen []int64
		k.boxes.answer = func(string, int) voicemail.Answer {
			last, err := k.env.Marker.Last()
			k.must(err)
			seen = append(seen, last.Generation)
			time.Sleep(time.Second)
			return accepts
		}
		k.run(generated)
		if first, last := seen[0], seen[len(seen)-1]; last-first < 3 {
			k.Errorf("in 20 s the generation went from %d to %d", first, last)
		}
	})
}

// A clock that was set back keeps nobody from jobs for longer than a request
// may be under way.
func TestAClockSetBackDoesNotKeepUsersAway(t *testing.T) {
	inBubble(t, func(c *config.Config) { c.Voicemail[0].Timeout = 10 * time.Second; c.Voicemail[0].Retries = 0 }, func(k *kit) {
		k.addUsers(1, nil)
		k.boxes.answer = func(string, int) voicemail.Answer { return loses }
		k.run(generated)
		k.sql("UPDATE journal SET until = until + 86400000")
		k.env.Marker = incarnation.NewMarker(k.dir, k.env.Store.Path())
		k.must(k.env.Enter(context.Background()))
		k.boxes.answer = nil
		begun := time.Now()
		if j := k.run(generated); j.Counts.Updated != 1 || time.Since(begun) > 10*time.Minute {
			k.Errorf("%+v after %s", j.Counts, time.Since(begun))
		}
	})
}

// A user whom a lost request may still reach is not removed: whoever came back
// by the same user id could be reset meanwhile.
func TestNobodyIsRemovedWhomALostRequestMayReach(t *testing.T) {
	inBubble(t, nil, func(k *kit) {
		k.addUsers(1, nil)
		k.boxes.answer = func(string, int) voicemail.Answer { return loses }
		k.run(generated)
		remove := func() error {
			return k.env.Store.Write(context.Background(), func(tx *store.Tx) error {
				u, err := tx.User("user0")
				if err != nil {
					return err
				}
				return tx.RemoveUser(u.ID)
			})
		}
		if err := remove(); !errors.Is(err, store.ErrInFlight) {
			k.Errorf("got %v", err)
		}
		time.Sleep(2 * time.Minute)
		k.must(remove())
	})
}

// Whoever is protected now is not sent what an earlier run was cut at.
func TestWhoIsProtectedMeanwhileIsNotSentAgain(t *testing.T) {
	inBubble(t, nil, func(k *kit) {
		k.addUsers(2, nil)
		j := k.cut("select: {query: all}\nreset: {pin: \"471108\"}\n")
		k.env.Config.Protect = user.All()
		k.boxes.answer, k.boxes.asked = nil, map[string][]string{}
		j, err := k.env.Run(context.Background(), j.ID, nil)
		k.must(err)
		if len(k.boxes.asked) > 0 || j.Counts.Uncertain == 0 || j.Counts.Final() != 2 {
			k.Errorf("asked %v, %+v", k.boxes.asked, j.Counts)
		}
	})
}
