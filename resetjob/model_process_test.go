package resetjob

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/dirpin/dirpin/config"
	"github.com/dirpin/dirpin/internal/credential"
	"github.com/dirpin/dirpin/internal/incarnation"
	"github.com/dirpin/dirpin/internal/store"
	"github.com/dirpin/dirpin/internal/voicemail"
)

// process is one run of the program, from its start to its end or death.
type process struct {
	w      *world
	name   string
	cfg    *config.Config
	ring   *credential.Ring
	env    *Env
	cancel context.CancelFunc // Ctrl-C
	done   chan struct{}      // it is gone, with every goroutine that could do something
	dead   chan struct{}      // closed by a kill
	err    error              // after done

	mu     sync.Mutex
	killed bool
	over   bool // it leaves in order
	shifts bool // it works as the daemon does: in shifts, and on whatever job

	unlocked bool // somebody has removed its lock

	store  *store.Store
	owner  *Owner
	steps  map[string]int
	dieAt  string // the step at which it is killed; "": none
	dieNth int

	started time.Time
	last    map[string]time.Time // when an attempt was answered last, by system
	out     map[string]int       // attempts that it waits for, by system
}

// errKilled is what ends the dead: it is only ever seen by the model.
var errKilled = errors.New("killed")

// start runs do as a process of its own, which does what the program does
// around it. enter is false for commands that do not work on jobs.
func (w *world) start(what, dieAt string, nth int, enter bool, do func(context.Context, *process) error) *process {
	ctx, cancel := context.WithCancel(context.Background())
	w.mu.Lock()
	p := &process{w: w, name: fmt.Sprintf("P%d", len(w.processes)+1), cfg: w.config(), ring: w.ring, cancel: cancel, done: make(chan struct{}), dead: make(chan struct{}),
		steps: make(map[string]int), dieAt: dieAt, dieNth: nth, started: time.Now(), last: make(map[string]time.Time), out: make(map[string]int), shifts: len(w.processes)%2 == 1}
	w.processes = append(w.processes, p)
	doom := ""
	if dieAt != "" {
		doom = fmt.Sprintf(" (is to die at %s %d)", dieAt, nth)
	}
	w.tell("%s starts: %s%s", p.name, what, doom)
	w.mu.Unlock()
	go func() {
		defer close(p.done)
		defer cancel()
		p.err = p.live(ctx, enter, do)
		if !p.isDead() {
			w.say("%s ends: %v", p.name, p.err)
		}
	}()
	return p
}

func (p *process) live(ctx context.Context, enter bool, do func(context.Context, *process) error) (err error) {
	defer func() {
		if r := recover(); r == errKilled {
			err = errKilled
		} else if r != nil {
			panic(r)
		}
	}()
	s, err := store.Open(ctx, store.Options{Path: p.w.db, Now: p.w.now})
	if err != nil {
		return err
	}
	p.mu.Lock()
	p.store = s
	p.mu.Unlock()
	defer s.Close()
	if _, err := Recover(ctx, s); err != nil {
		return err
	}
	owner, err := NewOwner(ctx, s, p.ring)
	if err != nil {
		return err
	}
	p.mu.Lock()
	p.owner = owner
	p.mu.Unlock()
	defer p.leave()
	var systems []*voicemail.System
	for i := range p.cfg.Voicemail {
		v := &p.cfg.Voicemail[i]
		var conn voicemail.Connector = &wire{p, v.Name}
		if p.w.boxes.notes {
			conn = &looker{&wire{p, v.Name}}
		}
		systems = append(systems, voicemail.NewWith(v, conn, voicemail.Options{Log: p.w.logger(), Fingerprint: []byte("f"),
			Jitter: func(most time.Duration) time.Duration { return most / 2 }}))
	}
	router := voicemail.NewRouter(systems...)
	router.Mode = voicemail.Mode(p.cfg.VoicemailMode)
	p.env = &Env{Batch: p.w.batch, Config: p.cfg, Ring: p.ring, Store: s, Owner: owner, Router: router, Log: p.w.logger(), Step: p.step,
		Marker: incarnation.NewMarker(p.w.dir, s.Path()), Hasher: credential.NewHasher(p.ring, credential.Params{Memory: 8, Time: 1, Threads: 1})}
	if enter {
		if err := p.env.Enter(ctx); err != nil {
			return err
		}
		if err := p.env.Tidy(ctx); err != nil {
			return err
		}
	}
	return do(ctx, p)
}

// leave ends the ownership of a process that was not killed meanwhile.
func (p *process) leave() {
	p.mu.Lock()
	p.over = !p.killed
	over := p.over
	p.mu.Unlock()
	if over {
		p.owner.Close()
	}
}

func (p *process) isDead() bool {
	select {
	case <-p.dead:
		return true
	default:
		return false
	}
}

// step is told where the process stands, and is where it dies.
func (p *process) step(name string) {
	p.mu.Lock()
	p.steps[name]++
	first := name == "write" && p.steps[name] == 1
	now := name == p.dieAt && p.steps[name] == p.dieNth
	p.mu.Unlock()
	if first {
		p.w.opens()
	}
	if now {
		p.kill("at " + name)
	}
	switch {
	case !p.isDead():
	case name == "closing", name == "opening":
		panic(errKilled) // nothing else is under way in the process then
	case name == "mark": // what the dead write goes nowhere
		p.env.Marker = incarnation.NewMarker(p.w.nowhere, p.w.db)
	}
}

// kill ends the process as kill -9 does: it writes nothing more, hears nothing
// more, and its lock is free. What it had sent goes on its way.
func (p *process) kill(where string) {
	p.mu.Lock()
	if p.killed || p.over {
		p.mu.Unlock()
		return
	}
	p.killed = true
	s, o := p.store, p.owner
	p.mu.Unlock()
	p.w.say("%s is killed %s", p.name, where)
	close(p.dead)
	p.cancel()
	if o != nil {
		close(o.stop)
		o.lock.Close()
	}
	if s != nil {
		s.Close()
	}
}

// within waits for the process, and kills it when that takes too long.
func (p *process) within(d time.Duration) {
	select {
	case <-p.done:
	case <-time.After(d):
		p.kill("because it takes so long")
	}
}

// living returns the processes that are neither dead nor done.
func (w *world) living() []*process {
	var ps []*process
	for _, p := range w.processes {
		select {
		case <-p.done:
		default:
			if !p.isDead() {
				ps = append(ps, p)
			}
		}
	}
	return ps
}
