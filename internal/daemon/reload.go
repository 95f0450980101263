package daemon

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"reflect"
	"strings"

	"github.com/dirpin/dirpin/config"
	"github.com/dirpin/dirpin/internal/secret"
	"github.com/dirpin/dirpin/internal/web"
	"github.com/dirpin/dirpin/resetjob"
)

// reload takes the configuration up anew, all of it or nothing.
func (d *daemon) reload(ctx context.Context) {
	d.notify.reloading()
	defer d.notify.ready()
	d.log.Info("reading the configuration")
	err := d.takeUp(ctx)
	d.metrics.Reloaded(err == nil)
	if err == nil {
		d.log.Info("the configuration is taken up")
		return
	}
	// Each fault is a line of its own, as dirpin check prints them.
	for line := range strings.Lines(err.Error()) {
		d.log.Error(strings.TrimSpace(line))
	}
	d.log.Error("the configuration is refused: the old one stays")
}

// takeUp does what can fail first, and changes nothing until that is done.
func (d *daemon) takeUp(ctx context.Context) error {
	cfg, err := d.o.Load()
	if err != nil {
		return err
	}
	if err := restartNeeded(d.cfg, cfg); err != nil {
		return err
	}
	parts, err := d.make(ctx, cfg)
	if err != nil {
		return err
	}
	if err := parts.Env.Announce(ctx); err != nil {
		return errors.Join(err, parts.Close())
	}
	server, token, err := d.serveAnew(cfg, parts)
	if err != nil {
		return errors.Join(err, parts.Close())
	}
	if err := d.out.set(cfg.Log); err != nil {
		if server != nil && server != d.web {
			server.Close()
		}
		return errors.Join(err, parts.Close())
	}
	if d.web != nil && d.web != server {
		d.web.Close()
	}
	if d.web = server; server != nil {
		server.SetToken(token)
	}
	for _, w := range cfg.Warnings {
		d.log.Warn(w.String())
	}
	d.mu.Lock()
	d.cfg = cfg
	d.mu.Unlock()
	d.renew(parts)
	d.schedules.Use(d.gen.Env)
	err = errors.Join(d.owner.SetKeys(ctx, d.gen.Env.Ring), d.agrees.set(ctx, d.gen.Parts))
	d.poke()
	if err != nil { // of the database: what is configured is taken up
		d.log.Error("after the configuration was taken up", "error", err)
	}
	return nil
}

// restartNeeded refuses what a running process cannot change.
func restartNeeded(old, cfg *config.Config) error {
	var errs []error
	for _, what := range []struct {
		key      string
		old, now any
	}{{"state_dir", old.StateDir, cfg.StateDir}, {"store", old.Store, cfg.Store}, {"key_file", old.KeyFile, cfg.KeyFile}} {
		if !reflect.DeepEqual(what.old, what.now) {
			errs = append(errs, fmt.Errorf("%s has changed: that needs a restart of the service", what.key))
		}
	}
	return errors.Join(errs...)
}

// serveAnew returns the server that the configuration asks for: the one that
// there is, where it may stay.
func (d *daemon) serveAnew(cfg *config.Config, p *Parts) (s *web.Server, token secret.Value, err error) {
	if cfg.HTTP == nil {
		return nil, token, nil
	}
	if token, err = p.MetricsToken(); err != nil {
		return nil, token, err
	}
	if d.web != nil && d.cfg.HTTP != nil && d.cfg.HTTP.Listen == cfg.HTTP.Listen {
		return d.web, token, nil
	}
	s, err = d.listen(cfg, p)
	return s, token, err
}

// renew has jobs go on with the new parts. Where nothing that they need has
// changed, nobody is disturbed; else the pushes in hand are settled first, since
// two connectors of one system would be more than it is to bear.
func (d *daemon) renew(p *Parts) {
	gone := p
	if old := d.gen; !sameForJobs(old.Env, p.Env) {
		old.end(&resetjob.ShiftError{Why: "the configuration was read anew"})
		d.mu.Lock()
		d.gen = newGeneration(p)
		d.mu.Unlock()
		gone = old.Parts
	}
	if err := gone.Close(); err != nil {
		d.log.Warn("closing what is not configured any more", "error", err)
	}
}

// sameForJobs tells whether jobs would run no differently.
func sameForJobs(old, now *resetjob.Env) bool {
	a, b := *old.Config, *now.Config
	for _, c := range []*config.Config{&a, &b} {
		c.Path, c.Log, c.HTTP, c.Keep, c.Warnings = "", config.Log{}, nil, config.Keep{}, nil
	}
	if !reflect.DeepEqual(a, b) || !reflect.DeepEqual(keyIDs(old), keyIDs(now)) {
		return false
	}
	x, y := old.Systems(), now.Systems()
	prints := make(map[string][]byte, len(x))
	for _, s := range x {
		prints[s.Name()] = s.Fingerprint()
	}
	for _, s := range y {
		if f, ok := prints[s.Name()]; !ok || !bytes.Equal(f, s.Fingerprint()) {
			return false
		}
	}
	return len(x) == len(y)
}

func keyIDs(e *resetjob.Env) (ids []string) {
	for _, k := range e.Ring.Keys() {
		ids = append(ids, fmt.Sprint(k.ID, k.Primary, k.Next))
	}
	return ids
}
