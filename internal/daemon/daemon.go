package daemon

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"runtime/debug"
	"sync"
	"sync/atomic"
	"time"

	"github.com/dirpin/dirpin/config"
	"github.com/dirpin/dirpin/internal/clock"
	"github.com/dirpin/dirpin/internal/secret"
	"github.com/dirpin/dirpin/internal/store"
	"github.com/dirpin/dirpin/internal/voicemail"
	"github.com/dirpin/dirpin/internal/web"
	"github.com/dirpin/dirpin/resetjob"
)

// Options are what a daemon is made of. The functions are the command line's,
// so that a job runs in the daemon with what it runs with there.
type Options struct {
	Version  string
	Stderr   io.Writer
	LogLevel string                          // overrides the configuration's; "": it does not
	Log      func(slog.Leveler) slog.Handler // where the log goes that names no file; nil: to Stderr
	Ready    func()                          // is called once, when it works; nil: nobody is told

	Load func() (*config.Config, error)                              // reads the configuration
	Open func(context.Context, *config.Config) (*store.Store, error) // opens its database
	Make func(context.Context, *Making) (*Parts, error)              // makes what jobs need
	Step func(name string)                                           // resetjob.Env.Step, in tests
	Wall func() time.Time                                            // the wall clock, in tests; nil: that of the machine
	Hup  <-chan struct{}                                             // asks for a reload
}

// Making is what Parts are made of.
type Making struct {
	Config  *config.Config
	Store   *store.Store
	Log     *slog.Logger
	Observe func(system string) func(voicemail.Answer, time.Duration) // told of every attempt
}

// Parts are what a configuration comes to: a reload makes new ones.
type Parts struct {
	Env          *resetjob.Env                                 // without Owner
	BindPassword func(*config.Agreement) (secret.Value, error) // reads it anew
	MetricsToken func() (secret.Value, error)
	Close        func() error
}

// Times of the daemon's loop.
const (
	lookEvery      = 200 * time.Millisecond // whether another process has written something
	reconcileEvery = 30 * time.Second
	loopSilence    = time.Minute // after which the loop hangs
	stopGrace      = 10 * time.Second
	awaySays       = 10 * time.Second // how often it is said that the database is waited for
)

// errStopping is why work ends when the daemon does.
var errStopping = errors.New("the service is stopping")

// daemon is a running one.
type daemon struct {
	o       Options
	cfg     *config.Config // of the last start or reload
	out     *output
	log     *slog.Logger
	notify  notifier
	pulses  *pulses
	store   *store.Store
	owner   *resetjob.Owner
	metrics *web.Metrics
	engine  *engine
	agrees  *agreements
	web     *web.Server
	poked   chan struct{}
	began   time.Time

	// Of the loop alone.
	read      func() clock.Reading
	schedules *resetjob.Schedules
	awaySaid  time.Time // when it was said last that the database is waited for
	tickAt    time.Time // when the schedules are to be looked at, at the latest
	folders   *folders  // nil: none is watched

	delivering atomic.Bool // somebody sends what jobs have to deliver

	mu       sync.Mutex
	gen      *generation
	restored bool   // nothing is pushed until somebody has looked
	doubt    string // why the clock is not believed; "": it is
	ready    bool
}

// Run runs the daemon until ctx ends: then it starts nothing more, settles what
// it has on the wire, and returns nil. Its error is a *RunningError where another
// one runs.
func Run(ctx context.Context, o Options) error {
	out, err := newOutput(o.Stderr, o.Log, o.LogLevel)
	if err != nil {
		return err
	}
	defer out.close()
	d := &daemon{o: o, out: out, log: out.logger(), pulses: newPulses(), poked: make(chan struct{}, 1), began: time.Now(), read: clock.Reader(o.Wall)}
	cfg, err := o.Load()
	if err != nil {
		return err
	}
	lock, err := TakeLock(cfg)
	if err != nil {
		return err
	}
	defer lock.Release()
	if err := out.set(cfg.Log); err != nil {
		return err
	}
	if d.store, err = o.Open(ctx, cfg); err != nil {
		return stoppedOr(ctx, err)
	}
	defer d.store.Close()
	return stoppedOr(ctx, d.run(ctx, cfg))
}

// stoppedOr returns nil for the error of a start that was told to stop: that is
// no fault.
func stoppedOr(ctx context.Context, err error) error {
	if ctx.Err() != nil && errors.Is(err, context.Canceled) {
		return nil
	}
	return err
}

// run is Run with a database that nobody else serves.
func (d *daemon) run(ctx context.Context, cfg *config.Config) (err error) {
	d.metrics = web.NewMetrics(d.o.Version, d.store, d.systems)
	parts, err := d.make(ctx, cfg)
	if err != nil {
		return err
	}
	d.cfg, d.gen = cfg, newGeneration(parts)
	defer func() { err = errors.Join(err, d.gen.Close()) }()
	living, err := resetjob.Recover(ctx, d.store)
	if err != nil {
		return err
	}
	if d.owner, err = resetjob.NewOwner(ctx, d.store, parts.Env.Ring); err != nil {
		return err
	}
	defer func() {
		if cerr := d.owner.Close(); cerr != nil {
			d.log.Warn("leaving", "error", cerr)
		}
	}()
	parts.Env.Owner = d.owner
	if err := d.enter(ctx); err != nil {
		return err
	}
	for _, w := range cfg.Warnings {
		d.log.Warn(w.String())
	}
	if d.schedules, err = parts.Env.NewSchedules(ctx); err != nil {
		return err
	}
	d.engine = &engine{node: d.owner.ID, batch: parts.Env.BatchItems(), store: d.store, log: d.log, work: d.work, ended: d.ended, poke: d.poke}
	if err := d.engine.open(context.WithoutCancel(ctx), living); err != nil {
		return err
	}
	d.agrees = newAgreements(d.store, d.log, d.metrics)
	if err := d.agrees.takeBack(ctx); err != nil {
		return errors.Join(err, d.shutdown())
	}
	if cfg.HTTP != nil {
		if d.web, err = d.listen(cfg, parts); err != nil {
			return errors.Join(err, d.shutdown())
		}
	}
	if err := d.agrees.set(context.WithoutCancel(ctx), parts); err != nil {
		return errors.Join(err, d.shutdown())
	}
	d.metrics.Reloaded(true)
	d.becameReady(cfg)
	var cares sync.WaitGroup
	caring, stop := context.WithCancel(context.WithoutCancel(ctx))
	cares.Go(func() { d.care(caring) })
	err = d.loop(ctx)
	stop()
	err = errors.Join(err, d.shutdown())
	cares.Wait()
	return err
}

func (d *daemon) becameReady(cfg *config.Config) {
	d.mu.Lock()
	d.ready = true
	d.mu.Unlock()
	d.log.Info("ready", "version", d.o.Version, "configuration", cfg.Path, "database", d.store.Name(), "agreements", len(cfg.Agreements),
		"voicemail", len(cfg.Voicemail), "took", time.Since(d.began).Round(time.Millisecond).String())
	d.notify.ready()
	if d.o.Ready != nil {
		d.o.Ready()
	}
	debug.FreeOSMemory() // of reading the configuration and opening everything, once
}

func (d *daemon) make(ctx context.Context, cfg *config.Config) (*Parts, error) {
	p, err := d.o.Make(ctx, &Making{Config: cfg, Store: d.store, Log: d.log, Observe: func(system string) func(voicemail.Answer, time.Duration) {
		return func(a voicemail.Answer, took time.Duration) { d.metrics.Attempt(system, a, took) }
	}})
	if err != nil {
		return nil, err
	}
	p.Env.Owner, p.Env.Log, p.Env.Step = d.owner, d.log, d.o.Step
	p.Env.Ended, p.Env.TakeTurns = d.metrics.Items, true
	return p, nil
}

// listen serves what the configuration asks for.
func (d *daemon) listen(cfg *config.Config, p *Parts) (*web.Server, error) {
	token, err := p.MetricsToken()
	if err != nil {
		return nil, err
	}
	return web.Listen(web.Options{Listen: cfg.HTTP.Listen, Metrics: d.metrics, Log: d.log, Alive: d.alive, Ready: d.isReady}, token)
}

// systems are those that anything is pushed to, now.
func (d *daemon) systems() []*voicemail.System {
	g := d.current()
	if g == nil {
		return nil
	}
	return g.Env.Systems()
}

// enter asks whether the database is the one that it was.
func (d *daemon) enter(ctx context.Context) error {
	err := d.current().Env.Enter(ctx)
	d.mu.Lock()
	defer d.mu.Unlock()
	var restored *resetjob.RestoredError
	if errors.As(err, &restored) {
		if !d.restored {
			d.log.Error(err.Error())
		}
		d.restored = true
		return nil
	}
	if err == nil && d.restored {
		d.log.Info("the restored database was released: jobs go on")
		d.restored = false
	}
	return err
}

// work is a shift on a job with what is configured at this moment; a reload
// waits for it.
func (d *daemon) work(ctx context.Context, id int64, s resetjob.Shift) (*store.Job, error) {
	d.mu.Lock()
	g := d.gen
	if d.restored || g.working.Err() != nil {
		d.mu.Unlock()
		return nil, errStopping
	}
	g.shifts.Add(1)
	d.mu.Unlock()
	defer g.shifts.Done()
	pulse := d.pulses.start(fmt.Sprintf("job %d", id), g.silence)
	defer pulse.stop()
	s.Alive = pulse.beat
	return g.Env.Work(g.working, id, s)
}

// isRestored tells whether nothing is pushed because the database was restored.
func (d *daemon) isRestored() bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.restored
}

// ended takes note of a job that has ended.
func (d *daemon) ended(_ context.Context, j *store.Job) {
	d.metrics.JobEnded(j.State)
	d.deliver()
}

func (d *daemon) poke() {
	select {
	case d.poked <- struct{}{}:
	default:
	}
}

// loop does what there is to do until ctx ends.
func (d *daemon) loop(ctx context.Context) error {
	watch, err := d.store.Watch(ctx)
	if err != nil {
		return err
	}
	defer watch.Close()
	look, reconcile := time.NewTicker(lookEvery), time.NewTicker(reconcileEvery)
	defer look.Stop()
	defer reconcile.Stop()
	again := time.NewTimer(0)
	defer again.Stop()
	pulse := d.pulses.start("the daemon's loop", loopSilence)
	defer pulse.stop()
	stopWatchdog := d.feedWatchdog()
	defer stopWatchdog()
	for {
		pulse.beat()
		ring := true
		select {
		case <-ctx.Done():
			return nil
		case <-d.o.Hup:
			d.reload(context.WithoutCancel(ctx))
		case <-d.poked:
		case <-again.C:
		case <-look.C:
			if ring, err = watch.Changed(ctx); err != nil && ctx.Err() == nil {
				d.failed("looking for what others have written", err)
			}
		case <-reconcile.C:
			d.reconcile(ctx)
		}
		if err := d.owner.Lost(); err != nil {
			return fmt.Errorf("this process was taken for dead: %w", err)
		}
		if !ring || ctx.Err() != nil {
			continue
		}
		next, err := d.turn(ctx)
		if err != nil && ctx.Err() == nil {
			d.failed("looking for jobs", err)
			next = time.Second
		}
		if next > 0 {
			again.Reset(next)
		}
	}
}

// failed says what went wrong; of a server that is out of reach once in a while.
func (d *daemon) failed(doing string, err error) {
	if !store.IsAway(err) {
		d.log.Error(doing, "error", err)
		return
	}
	if now := time.Now(); now.Sub(d.awaySaid) >= awaySays {
		d.awaySaid = now
		d.log.Warn("waiting for the database: nothing begins meanwhile", "error", err)
	}
}

// turn has jobs begun that want to be, and tells when to look again.
func (d *daemon) turn(ctx context.Context) (time.Duration, error) {
	if d.isRestored() {
		return time.Second, d.askReleased(ctx)
	}
	d.watchFolders(ctx)
	wake, err := d.tick(ctx)
	if store.IsAway(err) {
		return 0, err
	}
	again, err2 := d.engine.ring(ctx)
	d.notify.say(d.status())
	if again > 0 && (wake == 0 || again < wake) {
		wake = again
	}
	return wake, errors.Join(err, err2)
}

// tick starts what is due, and tells in what time to look again.
func (d *daemon) tick(ctx context.Context) (time.Duration, error) {
	now := d.read()
	var due time.Time
	err := d.store.Read(ctx, func(tx *store.Tx) (err error) { due, err = tx.NextDue(); return err })
	if err != nil {
		return 0, err
	}
	if now.Wall.Before(d.tickAt) && (due.IsZero() || due.After(now.Wall)) {
		if !due.IsZero() && due.Before(d.tickAt) {
			return due.Sub(now.Wall), nil
		}
		return d.tickAt.Sub(now.Wall), nil
	}
	t, err := d.schedules.Tick(ctx, now)
	if err != nil {
		return 0, err
	}
	for _, id := range t.Started {
		d.log.Info("the time of a job has come", "job", id)
	}
	for _, id := range t.Held {
		d.log.Warn("the time of a job has come, and it is held: dirpin jobs show says why", "job", id)
	}
	d.mu.Lock()
	d.doubt = t.Doubt
	d.mu.Unlock()
	d.tickAt = t.Next
	return max(t.Next.Sub(now.Wall), 100*time.Millisecond), nil
}

// askReleased asks whether somebody has released the restored database.
func (d *daemon) askReleased(ctx context.Context) error {
	d.notify.say("the database was restored: nothing is pushed until dirpin jobs release --restored")
	var in store.Incarnation
	err := d.store.Read(ctx, func(tx *store.Tx) (err error) { in, err = tx.Incarnation(); return err })
	if err != nil || in.Restored != "" {
		return err
	}
	return d.enter(ctx)
}

func (d *daemon) status() string {
	text := "no job runs"
	if n := d.engine.busy(); n > 0 {
		text = fmt.Sprintf("jobs at work: %d", n)
	}
	return text
}

// reconcile looks after what nobody has told of.
func (d *daemon) reconcile(ctx context.Context) {
	if _, err := resetjob.Recover(ctx, d.store); err != nil && ctx.Err() == nil {
		d.log.Error("taking over from processes that died", "error", err)
	}
	d.engine.doubt()
	d.deliver()
}

// shutdown starts nothing more, and waits for what is on the wire.
func (d *daemon) shutdown() error {
	d.notify.stopping()
	d.notify.say("settling what is on the wire")
	d.gen.stop(errStopping)
	ctx, cancel := context.WithTimeout(context.Background(), d.gen.longest()+stopGrace)
	defer cancel()
	var wait sync.WaitGroup
	wait.Go(d.agrees.stop)
	wait.Go(d.leaveFolders)
	err := d.engine.close(ctx)
	if err != nil {
		d.log.Error("stopping", "error", err)
	}
	wait.Wait()
	d.gen.await(ctx) // a mail in hand; what is not known to be sent is sent again
	d.mu.Lock()
	d.ready = false
	d.mu.Unlock()
	if d.web != nil {
		d.web.Close()
	}
	d.log.Info("stopped")
	return nil
}
