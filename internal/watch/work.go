package watch

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"github.com/dirpin/dirpin/internal/store"
	"github.com/dirpin/dirpin/internal/strictyaml"
	"github.com/dirpin/dirpin/resetjob"
)

// refusal is why a file does not become a job, a line for each reason.
type refusal struct{ reasons []string }

func (r *refusal) Error() string { return fmt.Sprint(r.reasons) }

func refuse(format string, args ...any) error {
	return &refusal{[]string{fmt.Sprintf(format, args...)}}
}

var (
	// errGrowing says that a file was written to when it had been claimed.
	errGrowing = errors.New("it is still being written")
	// errGone says that a claimed file is not there any more: it is finished, or
	// somebody removed it.
	errGone = errors.New("the claimed file is gone")
)

// awaited is a refusal that may be none in a moment.
type awaited struct{ refusal error }

func (a *awaited) Error() string { return a.refusal.Error() }

const (
	awaitEvery = time.Second
	retryEvery = 5 * time.Second
)

// work goes on with every claim that is due, and returns when the next one is.
func (f *Folder) work(ctx context.Context, d *dir) (next time.Time) {
	due := make([]*claim, 0, len(f.claims))
	for _, c := range f.claims {
		due = append(due, c)
	}
	slices.SortFunc(due, func(a, b *claim) int {
		if n := a.at.Compare(b.at); n != 0 {
			return n
		}
		return a.order - b.order
	})
	told := f.o.Now()
	var made []*made
	begun := time.Now()
	for i, c := range due {
		if ctx.Err() != nil {
			break
		}
		if !c.due.After(f.o.Now()) {
			if m := f.one(ctx, d, c); m != nil {
				made = append(made, m)
			}
		}
		if i < len(due)-1 && len(made) < together && time.Since(begun) < togetherFor {
			continue
		}
		f.finish(ctx, d, made)
		made, begun = nil, time.Now()
		if f.o.Now().Sub(told) > time.Second { // a thousand files may take a while
			told = f.o.Now()
			_, err := f.tell(ctx, d)
			f.report("status", errors.Join(err, f.live(d)))
		}
	}
	f.finish(context.WithoutCancel(ctx), d, made)
	for _, c := range f.claims {
		if next.IsZero() || c.due.Before(next) {
			next = c.due
		}
	}
	return next
}

// together is how many files are finished at once, or after what time: what is
// written for them is made durable together.
const (
	together    = 64
	togetherFor = 300 * time.Millisecond
)

// made is a claimed file that became a job, and is not in accepted yet.
type made struct {
	c    *claim
	job  *store.Job
	file *dropped
	base string // its path in accepted
	err  error
}

// one goes on with a claim as far as it can be gone on with now; where it is a
// job, finish is next.
func (f *Folder) one(ctx context.Context, d *dir, c *claim) *made {
	m, err := f.settle(ctx, d, c)
	wait := new(awaited)
	switch {
	case errors.Is(err, errGone):
		err = f.drop(d, c)
	case errors.Is(err, errGrowing):
		err = f.putBack(d, c)
	case errors.As(err, &wait):
		c.due = f.o.Now().Add(awaitEvery)
		return nil
	}
	f.ended(d, c, err)
	return m
}

// ended lets a claim that could not be ended be tried again.
func (f *Folder) ended(d *dir, c *claim, err error) {
	if err == nil {
		f.well("file " + c.name)
		return
	}
	c.due = f.o.Now().Add(retryEvery)
	f.complain("file "+c.name, fmt.Errorf("%s waits in %s: %w", printable(c.name), filepath.Join(d.path, claimsDir), err))
}

// settle makes a job of a claimed file, or refuses it. It may be done over from
// any point.
func (f *Folder) settle(ctx context.Context, d *dir, c *claim) (*made, error) {
	job, err := f.jobs.Claimed(ctx, f.w.Name, c.id())
	if err != nil {
		return nil, err
	}
	file, err := f.read(d, c)
	refused := new(refusal)
	if job != nil && (err == nil || errors.As(err, &refused)) { // it was made before: the rest is left to do
		return &made{c: c, job: job, file: file}, nil
	}
	if err == nil {
		job, err = f.submit(ctx, d, c, file)
	}
	if errors.As(err, &refused) {
		return nil, f.reject(d, c, file, refused.reasons)
	}
	if err != nil {
		return nil, err
	}
	f.o.Step("submitted")
	return &made{c: c, job: job, file: file}, nil
}

// dropped is a claimed file, as it was read once.
type dropped struct {
	info    fs.FileInfo
	content []byte // nil: it was not read
	owner   string
}

// read reads a claimed file. With a *refusal there may be a file all the same.
func (f *Folder) read(d *dir, c *claim) (*dropped, error) {
	before, err := d.Lstat(c.path())
	if errors.Is(err, fs.ErrNotExist) {
		return nil, errGone
	}
	if err != nil {
		return nil, err
	}
	file := &dropped{info: before}
	switch mode := before.Mode(); {
	case mode&fs.ModeSymlink != 0:
		return file, refuse("it is a link, and links are not followed: drop the file itself")
	case !mode.IsRegular():
		return file, refuse("it is no regular file")
	case before.Size() > strictyaml.MaxSize:
		return file, refuse("the file is larger than %d MiB", strictyaml.MaxSize>>20)
	}
	opened, err := d.OpenFile(c.path(), os.O_RDONLY|openSafely, 0)
	if errors.Is(err, fs.ErrPermission) {
		return file, refuse("it cannot be read by the service: give its account the right to read it")
	}
	if err != nil {
		return nil, err
	}
	defer opened.Close()
	// What was opened is judged, not what has the name.
	if file.info, err = opened.Stat(); err != nil {
		return nil, err
	}
	if !os.SameFile(before, file.info) || !file.info.Mode().IsRegular() {
		return nil, errGrowing
	}
	f.o.Step("opened")
	if file.content, err = io.ReadAll(io.LimitReader(opened, strictyaml.MaxSize+1)); err != nil {
		return nil, err
	}
	after, err := opened.Stat()
	if err != nil {
		return nil, err
	}
	if after.Size() != int64(len(file.content)) || !same(after, file.info) {
		return nil, errGrowing
	}
	if !isJobFile(c.name) {
		return file, refuse("a job file's name ends in .yaml, .yml or .json")
	}
	file.owner, err = f.owners.dropper(opened, file.info, d.free)
	return file, err
}

// submit makes a job of a file.
func (f *Folder) submit(ctx context.Context, d *dir, c *claim, file *dropped) (*store.Job, error) {
	by := file.owner
	if f.w.Signers != "" {
		signer, err := f.signer(d, c, file.content)
		if err != nil {
			return nil, err
		}
		by = signer
	}
	s, err := resetjob.Load(filepath.Join(f.w.Dir, printable(c.name)), file.content, f.w.Lists, f.jobs.DropOptions(f.w.Name))
	var faults strictyaml.Faults
	switch {
	case errors.As(err, &faults):
		r := &refusal{}
		for _, fault := range faults {
			r.reasons = append(r.reasons, fault.String())
		}
		return nil, r
	case err != nil:
		return nil, f.await(c, refuse("%v", err))
	}
	s.Folder = f.w.Name
	accepted, err := f.jobs.Accept(ctx, s, resetjob.Origin{Submitter: by, Claim: c.id()})
	sameJob, claimed := new(resetjob.SameError), new(resetjob.ClaimedError)
	switch {
	case errors.As(err, &sameJob):
		return nil, refuse("the same as job %d", sameJob.Job)
	case errors.Is(err, resetjob.ErrIDUsed):
		return nil, refuse("id: %v", err)
	case errors.As(err, &claimed):
		return f.jobs.Claimed(ctx, f.w.Name, c.id())
	case err != nil:
		return nil, err
	}
	f.o.Log.Info("accepted", "folder", f.w.Name, "file", c.name, "job", accepted.Job.ID, "by", by)
	return accepted.Job, nil
}

// await turns a refusal into one that may be none in a moment, for as long as a
// file is given for that.
func (f *Folder) await(c *claim, refusal error) error {
	if c.until.IsZero() {
		c.until = f.o.Now().Add(f.o.Await)
	}
	if f.o.Now().Before(c.until) {
		return &awaited{refusal}
	}
	return refusal
}

// finish leaves files that were made jobs without their secrets in accepted, and
// ends their claims.
func (f *Folder) finish(ctx context.Context, d *dir, all []*made) {
	if len(all) == 0 {
		return
	}
	if err := f.jobs.Note(ctx); err != nil {
		for _, m := range all {
			f.ended(d, m.c, err)
		}
		return
	}
	var writing sync.WaitGroup
	for _, m := range all {
		if err := f.jobs.ClearList(ctx, m.job); err != nil {
			// The job is there: its list is what a person must see to.
			f.complain("list", fmt.Errorf("job %d: %w: remove the secrets from the list by hand", m.job.ID, err))
		}
		m.base = keptOf(m.job)
		if m.file.content == nil {
			continue // somebody made it unreadable since
		}
		// The disk is waited for once, not once for each.
		writing.Go(func() {
			m.err = d.write(m.base, lineEnds(resetjob.Redact(m.file.content), m.file.content), true)
		})
	}
	writing.Wait()
	err := d.sync(acceptedDir)
	f.o.Step("kept")
	for _, m := range all {
		m.err = errors.Join(m.err, err)
		if m.err == nil {
			t := &telling{s: f.statusOf(m.base), base: m.base}
			f.say(t, resetjob.Drop{Job: m.job})
			d.writeStatus([]*telling{t})
			m.err = t.err
		}
		if m.err == nil {
			m.err = f.drop(d, m.c)
		}
		f.ended(d, m.c, m.err)
	}
}

// reject leaves a file that was refused without its secrets in rejected, with
// the reasons beside it, and ends the claim.
func (f *Folder) reject(d *dir, c *claim, file *dropped, reasons []string) error {
	base, err := f.freeName(d, c)
	if err != nil {
		return err
	}
	f.o.Step("rejecting")
	switch {
	case file.content != nil || file.info.Mode().IsRegular() && file.info.Size() > strictyaml.MaxSize:
		content := file.content
		if content == nil {
			content = []byte{0} // too large to be looked at: as if it were binary
		}
		if err := d.write(base, lineEnds(resetjob.Redact(content), content), true); err != nil {
			return err
		}
	default: // a link, a socket, or what we may not read: it goes there as it is
		if err := d.Rename(c.path(), base); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	text := ""
	for _, r := range reasons {
		text += printable(r) + "\n"
	}
	if err := errors.Join(d.write(base+".reason.txt", forPeople(text), true), d.sync(rejectedDir)); err != nil {
		return err
	}
	f.o.Step("rejected")
	f.o.Log.Warn("refused", "folder", f.w.Name, "file", c.name, "reason", reasons[0], "reasons", len(reasons))
	return f.drop(d, c)
}

// freeName returns a name in rejected that no earlier file has.
func (f *Folder) freeName(d *dir, c *claim) (string, error) {
	for at := c.at; ; at = at.Add(time.Second) {
		base := keptName(rejectedDir, at, "", c.name)
		_, err := d.Lstat(base)
		_, err2 := d.Lstat(base + ".reason.txt")
		switch {
		case errors.Is(err, fs.ErrNotExist) && errors.Is(err2, fs.ErrNotExist):
			return base, nil
		case err != nil && !errors.Is(err, fs.ErrNotExist):
			return "", err
		}
	}
}

// drop ends a claim: what is to be kept of its file is elsewhere by now. A
// signature goes with the box.
func (f *Folder) drop(d *dir, c *claim) error {
	if err := d.Remove(c.path()); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("removing the claimed file: %w", err)
	}
	f.o.Step("unclaimed")
	delete(f.claims, c.id())
	return f.removeBox(d, c.box)
}

// putBack gives a file back that is not complete, unless another has its name.
func (f *Folder) putBack(d *dir, c *claim) error {
	if _, err := d.Lstat(c.name); !errors.Is(err, fs.ErrNotExist) {
		c.due = f.o.Now().Add(max(f.w.Settle, time.Second)) // it is read again where it is
		return err
	}
	if err := d.Rename(c.path(), c.name); err != nil {
		return err
	}
	if f.w.Signers != "" {
		_ = d.Rename(c.path()+".sig", c.name+".sig") // there is none
	}
	delete(f.claims, c.id())
	return f.removeBox(d, c.box)
}
