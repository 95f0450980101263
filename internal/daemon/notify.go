package daemon

import (
	"sync"
	"time"

	sd "github.com/coreos/go-systemd/v22/daemon"
)

// notifier tells the service manager how it goes (sd_notify(3)); without one it
// says nothing to nobody.
type notifier struct {
	mu     sync.Mutex
	status string
}

func (n *notifier) ready()    { sd.SdNotify(false, sd.SdNotifyReady) }
func (n *notifier) stopping() { sd.SdNotify(false, sd.SdNotifyStopping) }

// reloading is followed by ready, whatever the reload came to: Type=notify-reload
// waits for that.
func (n *notifier) reloading() {
	sd.SdNotify(false, sd.SdNotifyReloading+"\nMONOTONIC_USEC="+sd.SdNotifyMonotonicUsec())
}

// say shows what goes on, as `systemctl status` has it.
func (n *notifier) say(status string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if status != n.status {
		n.status = status
		sd.SdNotify(false, "STATUS="+status)
	}
}

func (n *notifier) alive() { sd.SdNotify(false, sd.SdNotifyWatchdog) }

// watchdog returns within what time the service manager wants to be told that
// we live; 0: it does not ask.
func watchdog() time.Duration {
	d, err := sd.SdWatchdogEnabled(false)
	if err != nil {
		return 0
	}
	return d
}

// pulses are the loops that must turn. Each says how long it may be silent; one
// that is silent for longer hangs, and the service manager is told no more that
// we live.
type pulses struct {
	mu sync.Mutex
	m  map[string]*pulse
}

type pulse struct {
	all  *pulses
	name string
	most time.Duration
	last time.Time
}

func newPulses() *pulses { return &pulses{m: make(map[string]*pulse)} }

// start adds a loop. Its name is its own.
func (p *pulses) start(name string, most time.Duration) *pulse {
	p.mu.Lock()
	defer p.mu.Unlock()
	q := &pulse{all: p, name: name, most: most, last: time.Now()}
	p.m[name] = q
	return q
}

func (q *pulse) beat() {
	q.all.mu.Lock()
	defer q.all.mu.Unlock()
	q.last = time.Now()
}

func (q *pulse) stop() {
	q.all.mu.Lock()
	defer q.all.mu.Unlock()
	delete(q.all.m, q.name)
}

// silent returns a loop that hangs, and for how long it was silent; "" where
// none does.
func (p *pulses) silent() (name string, since time.Duration) {
	p.mu.Lock()
	defer p.mu.Unlock()
	now := time.Now()
	for _, q := range p.m {
		if d := now.Sub(q.last); d > q.most && d > since {
			name, since = q.name, d
		}
	}
	return name, since
}
