package daemon

// deliver sends what jobs have to deliver and is due, on a goroutine of its own:
// a mail server may take its time. A reload waits for the message in hand. What
// is due while one sends is found by the next call, from reconcile.
func (d *daemon) deliver() {
	d.mu.Lock()
	g := d.gen
	if d.restored || g.working.Err() != nil || !d.delivering.CompareAndSwap(false, true) {
		d.mu.Unlock()
		return
	}
	g.shifts.Add(1)
	d.mu.Unlock()
	go func() {
		defer g.shifts.Done()
		defer d.delivering.Store(false)
		if _, err := g.Env.DeliverDue(g.working); err != nil && g.working.Err() == nil {
			d.log.Error("delivering", "error", err)
		}
	}()
}
