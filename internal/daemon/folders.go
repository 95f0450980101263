package daemon

import (
	"context"
	"crypto/sha256"
	"fmt"
	"os"
	"sync"

	"github.com/dirpin/dirpin/internal/watch"
	"github.com/dirpin/dirpin/resetjob"
)

// folders are the watch folders of one generation. They are the loop's alone.
type folders struct {
	of   *generation
	stop context.CancelFunc
	wait sync.WaitGroup
}

// watchFolders has the folders watched that are configured now.
func (d *daemon) watchFolders(ctx context.Context) {
	g := d.current()
	if d.folders != nil && d.folders.of == g {
		return
	}
	d.leaveFolders()
	f := &folders{of: g}
	ctx, f.stop = context.WithCancel(context.WithoutCancel(ctx))
	for _, w := range g.Env.Config.Watch {
		folder := watch.New(w, &poking{g.Env, d.poke}, watch.Options{Node: nodeName(g.Env.Config.StateDir), Log: d.log, Step: d.o.Step})
		f.wait.Go(func() { folder.Run(ctx) }) // until it is told to stop
	}
	d.folders = f
}

// leaveFolders ends what is being done in the folders. The files in hand are
// finished.
func (d *daemon) leaveFolders() {
	if d.folders != nil {
		d.folders.stop()
		d.folders.wait.Wait()
		d.folders = nil
	}
}

// poking has a job begun as soon as its file was taken.
type poking struct {
	*resetjob.Env
	poke func()
}

// Accept is Env's.
func (p *poking) Accept(ctx context.Context, s *resetjob.Submission, from resetjob.Origin) (*resetjob.Accepted, error) {
	a, err := p.Env.Accept(ctx, s, from)
	p.poke()
	return a, err
}

// nodeName names this installation among those that watch a folder on a share,
// the same after each start.
func nodeName(stateDir string) string {
	host, _ := os.Hostname() // "" is a name too
	sum := sha256.Sum256([]byte(stateDir))
	return fmt.Sprintf("%s.%x", host, sum[:4])
}
