package main

import (
	"fmt"
	"io"
	"sync"
	"time"

	"github.com/schollz/progressbar/v3"

	"github.com/dirpin/dirpin/resetjob"
)

const saidEvery = 10 * time.Second

// progress shows how far a job is: a bar on a terminal, a plain line every ten
// seconds elsewhere.
type progress struct {
	mu      sync.Mutex
	w       io.Writer
	quiet   bool
	bar     *progressbar.ProgressBar
	begun   time.Time
	from    int64 // users that had ended when we began
	said    time.Time
	started bool
}

func (a *app) newProgress() *progress {
	p := &progress{w: a.err, quiet: a.quiet, begun: time.Now(), said: time.Now()}
	if !a.quiet && isTerminal(a.err) {
		p.bar = progressbar.NewOptions64(-1, progressbar.OptionSetWriter(a.err), progressbar.OptionShowCount(), progressbar.OptionShowIts(),
			progressbar.OptionSetItsString("users"), progressbar.OptionSetPredictTime(true), progressbar.OptionThrottle(100*time.Millisecond),
			progressbar.OptionClearOnFinish(), progressbar.OptionSetWidth(30))
	}
	return p
}

func (p *progress) update(now resetjob.Progress) {
	if p.quiet {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	final, all := now.Counts.Final(), now.Counts.Selected
	if final == 0 && !p.started {
		p.begun = time.Now()
	}
	if !p.started && final > 0 {
		p.started, p.from = true, final
	}
	if p.bar != nil {
		if p.bar.GetMax64() != all && all > 0 {
			p.bar.ChangeMax64(all)
		}
		p.bar.Describe(now.Paused)
		p.bar.Set64(final)
		return
	}
	if time.Since(p.said) < saidEvery {
		return
	}
	p.said = time.Now()
	if now.Paused != "" {
		fmt.Fprintf(p.w, "%d of %d; %s\n", final, all, now.Paused)
		return
	}
	line := fmt.Sprintf("%d of %d, %d failed", final, all, now.Counts.Failed)
	if rate := float64(final-p.from) / time.Since(p.begun).Seconds(); rate > 0 {
		line += fmt.Sprintf(", %.0f/s, about %s left", rate, (time.Duration(float64(all-final)/rate) * time.Second).Round(time.Second))
	}
	fmt.Fprintln(p.w, line)
}

func (p *progress) close() {
	if p.bar != nil {
		p.bar.Finish()
	}
}
