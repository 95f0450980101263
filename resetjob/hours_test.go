package resetjob

import (
	"context"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/dirpin/dirpin/config"
	"github.com/dirpin/dirpin/internal/store"
	"github.com/dirpin/dirpin/internal/user"
	"github.com/dirpin/dirpin/internal/voicemail"
)

// A job waits for the hours of a system, says so, pushes then alone, and is not
// given up for it; users of another system don't wait.
func TestJobWaitsForHours(t *testing.T) {
	synctest.Test(t, func(t *testing.T) { // it is midnight, UTC, of a Saturday
		k := newKit(t, func(c *config.Config) {
			v := c.Voicemail[0]
			v.Name, v.For, v.Hours = "night", inDepartment("12"), &config.Hours{Cron: "0 2/2 * * *", For: 30 * time.Minute, Timezone: "UTC"}
			v.PauseMax, v.Concurrency, v.Timeout = 10*time.Minute, 1, 10*time.Second
			c.Voicemail = append([]config.Voicemail{v}, c.Voicemail...)
		})
		var mu sync.Mutex
		at := make(map[string]time.Time)
		k.boxes.answer = func(userID string, attempt int) voicemail.Answer {
			mu.Lock()
			at[userID] = time.Now()
			mu.Unlock()
			return voicemail.Answer{Class: voicemail.Answered, Result: voicemail.Accepted}
		}
		k.boxes.took = func() { time.Sleep(9 * time.Second) }
		k.addUsers(310, func(i int, u *user.User) {
			if i < 10 {
				u.Departments = []string{"7"}
			}
		})
		j := k.submit(generated)
		var said string
		var state store.State
		go func() {
			time.Sleep(time.Hour)
			k.must(k.env.Store.Read(context.Background(), func(tx *store.Tx) error {
				j, err := tx.Job(j.ID)
				state, said = j.State, j.Reason
				return err
			}))
		}()
		var shown string
		done, err := k.env.Run(context.Background(), j.ID, func(p Progress) {
			if p.Paused != "" {
				shown = p.Paused
			}
		})
		k.must(err)
		if done.State != store.Done || done.Counts.Updated != 310 {
			t.Fatalf("%s, %+v", done.State, done.Counts)
		}
		const want = "night is pushed to in its hours only, which begin 2000-01-01T02:00:00Z"
		if state != store.Paused || said != want || !strings.HasPrefix(shown, "night is pushed to in its hours only, which begin 2000-01-01T0") {
			t.Errorf("an hour later it is %s: %q; shown %q", state, said, shown)
		}
		windows := make(map[int]int)
		for id, when := range at {
			switch late := when.Sub(epoch); {
			case len(id) == len("user0"):
				if late > time.Minute {
					t.Errorf("%s of the other system waited until %s", id, when)
				}
			case when.UTC().Hour()%2 == 1 || when.UTC().Hour() == 0 || when.UTC().Minute() >= 30:
				t.Errorf("%s was pushed at %s", id, when.UTC())
			default:
				windows[when.UTC().Hour()]++
			}
		}
		if windows[2] < 150 || windows[4] != 300-windows[2] { // one at a time, 9 s each
			t.Errorf("pushed by the hour: %v", windows)
		}
		k.must(k.env.Owner.Close())
	})
}
