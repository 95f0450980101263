package resetjob

import (
	"errors"
	"testing"
)

// Who asks while a round is under way has the next one, which begins after all of
// them have asked, and its error.
func TestRounds(t *testing.T) {
	var r rounds
	first, leads := r.ask()
	if !leads {
		t.Fatal("nobody leads the first round")
	}
	began, release := make(chan bool), make(chan bool)
	go r.lead(first, func() error {
		close(began)
		<-release
		return nil
	})
	<-began
	second, leads := r.ask()
	if !leads || second == first {
		t.Fatal("who asks while the first is under way does not lead the second")
	}
	for range 5 {
		if joined, leads := r.ask(); leads || joined != second {
			t.Error("who asks before the second has begun does not join it")
		}
	}
	full := errors.New("full")
	go r.lead(second, func() error {
		select {
		case <-first.done:
		default:
			t.Error("the second began before the first had ended")
		}
		return full
	})
	close(release)
	<-second.done
	if first.err != nil || second.err != full {
		t.Errorf("the rounds ended with %v, %v", first.err, second.err)
	}
	if err := r.join(func() error { return nil }); err != nil {
		t.Errorf("one on its own: %v", err)
	}
}
