// Package watch is the watch folder: whatever job file is dropped into it becomes
// one job, or is refused with every reason, through any crash and however many
// processes look at the folder.
//
// A file that is complete is claimed by a rename into .claims, then read, then
// made a job, then written anew without its secrets into accepted or rejected, and
// only then removed. What lies in .claims at the start goes on where it was: the
// job's row has the name of the claim.
package watch

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/fsnotify/fsnotify"

	"github.com/dirpin/dirpin/config"
	"github.com/dirpin/dirpin/internal/store"
	"github.com/dirpin/dirpin/resetjob"
)

// Jobs is where dropped files become jobs; *resetjob.Env is one.
type Jobs interface {
	// DropOptions returns by which rules files of a folder are judged.
	DropOptions(folder string) resetjob.ParseOptions
	// Accept makes a job of a file. A *resetjob.SameError, one that wraps
	// resetjob.ErrIDUsed and a *resetjob.ClaimedError stand for themselves; after
	// any other error the same file is tried again.
	Accept(ctx context.Context, s *resetjob.Submission, from resetjob.Origin) (*resetjob.Accepted, error)
	// Note is called when jobs were accepted, before anybody is told of them.
	Note(ctx context.Context) error
	// Claimed returns the job that was made of a claim; nil where none was.
	Claimed(ctx context.Context, folder, claim string) (*store.Job, error)
	// ClearList takes the secrets out of the list that the job named.
	ClearList(ctx context.Context, j *store.Job) error
	// Drops returns the jobs of a folder until they are Told.
	Drops(ctx context.Context, folder string) ([]resetjob.Drop, error)
	Told(ctx context.Context, jobs ...int64) error
	// Why says why a job stands where it does.
	Why(j *store.Job) string
}

// Options say how a folder is watched. The zero value of each field but Node and
// Log means the default.
type Options struct {
	Node   string        // names this process' claims, the same after a restart; no other process that looks at the folder has it
	Rescan time.Duration // how often to look without being told of a change; 5 s
	Await  time.Duration // how long to wait for a signature or a list; 30 s
	Lease  time.Duration // after how long without a sign of life another node's claims are taken over; 2 min
	Log    *slog.Logger

	Now  func() time.Time  // time.Now
	Step func(name string) // told before and after each step that a kill could part; tests die in it
}

// Folder is a watch folder. One goroutine runs it.
type Folder struct {
	w    config.Watch
	jobs Jobs
	o    Options

	seen    map[string]*seen // what lies in the folder and is not complete yet
	claims  map[string]*claim
	status  map[string]*status // by job file
	owners  owners
	beat    time.Time // when our claims last showed a sign of life
	trouble map[string]time.Time
}

// New returns a watch folder, which does nothing until it is run.
func New(w config.Watch, jobs Jobs, o Options) *Folder {
	o.Node = strings.Map(func(r rune) rune {
		if r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || r == '.' {
			return r
		}
		return '_'
	}, o.Node)
	for d, to := range map[*time.Duration]time.Duration{&o.Rescan: 5 * time.Second, &o.Await: 30 * time.Second, &o.Lease: 2 * time.Minute} {
		if *d == 0 {
			*d = to
		}
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Step == nil {
		o.Step = func(string) {}
	}
	return &Folder{w: w, jobs: jobs, o: o, seen: make(map[string]*seen), claims: make(map[string]*claim),
		status: make(map[string]*status), owners: owners{names: w.Owners}, trouble: make(map[string]time.Time)}
}

// gather is how long a change is let rest before it is looked at: a thousand
// files that come at once are a few looks, not a thousand.
const gather = 20 * time.Millisecond

// Run watches until ctx ends. What is wrong with the folder is logged, and
// looked at again: a folder may come back.
func (f *Folder) Run(ctx context.Context) error {
	changes := newChanges(f.w.Dir)
	defer changes.close()
	for {
		changes.follow() // before the look: what comes during it is told of
		next := f.Look(ctx)
		if ctx.Err() != nil {
			return ctx.Err()
		}
		timer := time.NewTimer(max(next.Sub(f.o.Now()), time.Millisecond))
		select {
		case <-ctx.Done():
		case <-timer.C:
		case <-changes.events:
			gathered(ctx)
		case <-changes.errors: // some were lost: the look sees everything
			gathered(ctx)
		}
		timer.Stop()
		changes.drain()
	}
}

func gathered(ctx context.Context) {
	select {
	case <-ctx.Done():
	case <-time.After(gather):
	}
}

// Look does everything that is to be done at this moment, and returns when to
// look next where nothing changes.
func (f *Folder) Look(ctx context.Context) time.Time {
	next := f.o.Now().Add(f.o.Rescan)
	sooner := func(t time.Time) {
		if !t.IsZero() && t.Before(next) {
			next = t
		}
	}
	d, err := f.open()
	if err != nil {
		f.complain("folder", err)
		return next
	}
	defer d.Close()
	f.well("folder")
	for what, step := range map[string]func(context.Context, *dir) (time.Time, error){"claims": f.adopt, "files": f.look} {
		at, err := step(ctx, d)
		f.report(what, err)
		sooner(at)
	}
	sooner(f.work(ctx, d))
	at, err := f.tell(ctx, d)
	f.report("status", err)
	sooner(at)
	return next
}

// report logs what is wrong, or that it is no longer.
func (f *Folder) report(what string, err error) {
	if err != nil {
		f.complain(what, err)
	} else {
		f.well(what)
	}
}

// complainEvery is how often the same trouble is logged.
const complainEvery = time.Minute

func (f *Folder) complain(what string, err error) {
	if errors.Is(err, context.Canceled) {
		return
	}
	if last, ok := f.trouble[what]; ok && f.o.Now().Sub(last) < complainEvery {
		return
	}
	f.trouble[what] = f.o.Now()
	f.o.Log.Error("watch folder: "+err.Error(), "folder", f.w.Name)
}

func (f *Folder) well(what string) {
	if _, ok := f.trouble[what]; ok {
		delete(f.trouble, what)
		f.o.Log.Info("watch folder: well again", "folder", f.w.Name, "what", what)
	}
}

// Trouble tells whether something keeps the folder from being watched, or files in
// it from being taken. It is for the goroutine that runs Look.
func (f *Folder) Trouble() bool { return len(f.trouble) > 0 }

// The folders within.
const (
	claimsDir   = ".claims"
	acceptedDir = "accepted"
	rejectedDir = "rejected"
)

// Check says why nothing would be taken out of a folder as it stands.
func Check(w config.Watch) error {
	d, err := New(w, nil, Options{}).open()
	if err != nil {
		return err
	}
	if w.Signers != "" {
		_, err = readSigners(w.Signers)
	}
	return errors.Join(err, d.Close())
}

// dir is the folder, opened: what is done in it is done in this very folder,
// whatever takes its name meanwhile.
type dir struct {
	*os.Root
	path string
	free bool // whose the files are says nothing: signatures do, or nobody asks
}

// open opens the folder and sees that it can be trusted.
func (f *Folder) open() (*dir, error) {
	root, err := os.OpenRoot(f.w.Dir)
	if err != nil {
		return nil, err
	}
	d := &dir{Root: root, path: f.w.Dir}
	if err := f.trust(d); err != nil {
		root.Close()
		return nil, err
	}
	for name, mode := range map[string]fs.FileMode{claimsDir: 0o700, acceptedDir: 0o750, rejectedDir: 0o750} {
		if err := d.inner(name, mode); err != nil {
			root.Close()
			return nil, err
		}
	}
	return d, nil
}

// inner makes a folder within, which must be ours.
func (d *dir) inner(name string, mode fs.FileMode) error {
	fi, err := d.Lstat(name)
	if errors.Is(err, fs.ErrNotExist) {
		if err = d.Mkdir(name, mode); err == nil {
			err = d.own(name)
		}
		if err == nil || errors.Is(err, fs.ErrExist) {
			fi, err = d.Lstat(name)
		}
	}
	if err != nil {
		return err
	}
	path := filepath.Join(d.path, name)
	if !fi.IsDir() {
		return fmt.Errorf("%s is no folder: remove it", path)
	}
	return ours(path, fi)
}

// sync makes what was done in a folder durable.
func (d *dir) sync(name string) error {
	f, err := d.Open(name)
	if err != nil {
		return err
	}
	return errors.Join(syncFolder(f), f.Close())
}

// write writes a file anew, whole or not at all. To be durable its folder must be
// synced too.
func (d *dir) write(name string, content []byte, durable bool) error {
	aside := filepath.Join(filepath.Dir(name), ".new-"+random())
	f, err := d.OpenFile(aside, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o640)
	if err != nil {
		return err
	}
	_, err = f.Write(content)
	if durable {
		err = errors.Join(err, f.Sync())
	}
	if err = errors.Join(err, f.Close()); err == nil {
		err = d.Rename(aside, name)
	}
	if err != nil {
		return errors.Join(err, d.Remove(aside))
	}
	return nil
}

func random() string {
	var b [8]byte
	rand.Read(b[:])
	return hex.EncodeToString(b[:])
}

// changes tells of changes in a folder, where the system does. What it does not
// tell of is found by the rescan, later.
type changes struct {
	path   string
	w      *fsnotify.Watcher
	events chan fsnotify.Event
	errors chan error
}

func newChanges(path string) *changes {
	c := &changes{path: path}
	if w, err := fsnotify.NewWatcher(); err == nil {
		c.w, c.events, c.errors = w, w.Events, w.Errors
	}
	return c
}

// follow watches the folder, which may have come back.
func (c *changes) follow() {
	if c.w != nil && len(c.w.WatchList()) == 0 {
		_ = c.w.Add(c.path) // it is not there: Look says so
	}
}

// drain forgets changes: the look that follows sees everything.
func (c *changes) drain() {
	for {
		select {
		case <-c.events:
		case <-c.errors:
		default:
			return
		}
	}
}

func (c *changes) close() {
	if c.w != nil {
		c.w.Close()
	}
}
