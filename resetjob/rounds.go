package resetjob

import "sync"

// rounds lets those who want the same thing done from now on have it done once
// for all.
type rounds struct {
	turn sync.Mutex // of the one that is under way
	mu   sync.Mutex
	next *round // who asks now joins it; nil: nobody waits
}

type round struct {
	done chan struct{}
	err  error
}

func (r *rounds) join(do func() error) error {
	mine, leads := r.ask()
	if leads {
		r.lead(mine, do)
	}
	<-mine.done
	return mine.err
}

// ask gives the next round, and whether who asks is to lead it.
func (r *rounds) ask() (mine *round, leads bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.next == nil {
		r.next, leads = &round{done: make(chan struct{})}, true
	}
	return r.next, leads
}

func (r *rounds) lead(mine *round, do func() error) {
	r.turn.Lock()
	defer r.turn.Unlock()
	r.mu.Lock()
	r.next = nil
	r.mu.Unlock()
	defer close(mine.done)
	mine.err = do()
}
