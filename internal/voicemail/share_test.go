package voicemail

import (
	"testing"
	"time"

	"github.com/dirpin/dirpin/config"
)

// The nodes share the rate and the slots.
func TestShare(t *testing.T) {
	t.Parallel()
	s, err := New(&config.Voicemail{Type: "exec", Command: []string{"/bin/true"}, Rate: 50, Concurrency: 8, Timeout: time.Second}, Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	for _, x := range []struct {
		part  Part
		slots int
		rate  float64
	}{{Whole, 8, 50}, {Part{2, 3}, 2, 50.0 / 3}, {Part{7, 20}, 1, 2.5}, {Part{8, 20}, 0, 2.5}, {Part{}, 0, 50}, {Whole, 8, 50}} {
		s.Share(x.part)
		if got := float64(s.rate.Limit()); got < x.rate-0.01 || got > x.rate+0.01 || s.slots.size != x.slots {
			t.Errorf("%+v: rate %g, %d slots", x.part, got, s.slots.size)
		}
	}
}
