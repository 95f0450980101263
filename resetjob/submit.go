package resetjob

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"

	"github.com/dirpin/dirpin/config"
	"github.com/dirpin/dirpin/internal/credential"
	"github.com/dirpin/dirpin/internal/outcome"
	"github.com/dirpin/dirpin/internal/secret"
	"github.com/dirpin/dirpin/internal/store"
	"github.com/dirpin/dirpin/internal/strictyaml"
	"github.com/dirpin/dirpin/internal/voicemail"
)

// Submission is a job file without fault, with the list that it names, read
// once: what is checked is what runs.
type Submission struct {
	Job         *Job
	File        string // where the job file was
	Folder      string // the watch folder that it was dropped into; "": none
	Fingerprint []byte // SHA-256 of the job file and its list; a job's row has it under the key ring
	Warnings    strictyaml.Faults

	people people
	list   []byte
}

// Load decodes a job file and reads its list from the folder of lists. Its
// error is strictyaml.Faults where the files are at fault.
func Load(file string, data []byte, lists string, opts ParseOptions) (*Submission, error) {
	job, faults := ParseJob(file, data, opts)
	if job == nil {
		return nil, faults
	}
	s := &Submission{Job: job, File: file, Warnings: faults, people: people{query: job.Select.Query}}
	named := job.Select.File
	if named == nil {
		named = job.Select.CSV
	}
	if named != nil {
		if err := s.readList(named, lists, opts); err != nil {
			return nil, err
		}
	}
	if s.people.csv != nil {
		if faults := allowedCSV(opts.Allow, filepath.Join(lists, named.Name), s.people.csv); faults.Failed() {
			return nil, faults
		}
	}
	s.Fingerprint = fingerprint(data, s.list)
	return s, nil
}

func (s *Submission) readList(named *List, folder string, opts ParseOptions) error {
	lists, err := OpenLists(folder)
	if err != nil {
		return fmt.Errorf("the job names a list: %w", err)
	}
	defer lists.Close()
	content, err := lists.Read(named)
	if err != nil {
		return err
	}
	s.list = content.Bytes()
	s.people, err = decodeList(s.Job, content.Path, s.list, opts.CheckGiven)
	return err
}

// decodeList makes people of the content of the job's list.
func decodeList(job *Job, path string, content []byte, check CheckGiven) (people, error) {
	var p people
	var faults strictyaml.Faults
	if l := job.Select.File; l != nil {
		p.file, faults = ParseCustomFile(path, content, l.Field)
	} else {
		p.csv, faults = ParseCSV(path, content, CSVOptions{PINLength: job.Select.CSV.PINLength, Check: check})
	}
	if faults.Failed() {
		return people{}, faults
	}
	return p, nil
}

// fingerprint tells job files apart, with their lists.
func fingerprint(parts ...[]byte) []byte {
	h := sha256.New()
	for _, p := range parts {
		var n [8]byte
		binary.BigEndian.PutUint64(n[:], uint64(len(p)))
		h.Write(n[:])
		h.Write(p)
	}
	return h.Sum(nil)
}

// CheckGivenBy judges values that stand in files by the policy of the
// configuration.
func CheckGivenBy(c *config.Credentials) CheckGiven {
	return func(kind string, v secret.Value) outcome.Code {
		k := credential.Kind(kind)
		return credential.CheckGiven(k, v, k.Policy(c))
	}
}

// ErrIDUsed says that a job file with that id was accepted before.
var ErrIDUsed = errors.New("a job file with this id was accepted before, and is never accepted again")

// Submit makes a job of a submission that runs now whatever it says, its values
// sealed, owned by env's owner. Its error is ErrBusy where a job of the same
// content goes on already.
func (e *Env) Submit(ctx context.Context, s *Submission, submitter string) (*store.Job, error) {
	j, err := e.newJob(s, submitter)
	if err != nil {
		return nil, err
	}
	j.State, j.Owner = store.Queued, e.Owner.ID
	err = e.addJob(ctx, j, func(tx *store.Tx) error {
		// Two may have asked at once whether it is there.
		if other, err := tx.Unfinished(j.Fingerprint); err != nil || other.ID != j.ID {
			return errors.Join(err, ErrBusy)
		}
		return e.sealInto(tx, j, s)
	})
	if err != nil {
		return nil, err
	}
	return j, nil
}

// newJob makes the row of a submission.
func (e *Env) newJob(s *Submission, submitter string) (*store.Job, error) {
	definition, err := EncodeJob(s.Job)
	if err != nil {
		return nil, err
	}
	return &store.Job{Name: s.Job.Name, Folder: s.Folder, File: s.File, FileID: s.Job.ID, Fingerprint: e.Ring.Fingerprint(s.Fingerprint),
		Definition: definition, Submitter: submitter, Stage: store.StageOpening}, nil
}

// addJob stores a new job, with what more belongs into its transaction, and
// notes its number with this installation: no number is given twice, whatever
// database is restored.
func (e *Env) addJob(ctx context.Context, j *store.Job, more func(*store.Tx) error) error {
	lowest, err := e.reported.lowest(e.Config.Watch)
	if err != nil {
		return err
	}
	if e.Marker != nil {
		last, err := e.Marker.Last()
		if err != nil {
			return err
		}
		lowest = max(lowest, last.LastJob+1)
	}
	err = e.Store.Write(ctx, func(tx *store.Tx) error {
		if j.Claim != "" { // another process may have been faster
			if other, err := tx.ClaimedJob(j.Folder, j.Claim); err != nil || other != nil {
				if err == nil {
					err = &ClaimedError{other.ID}
				}
				return err
			}
		}
		if j.FileID != "" {
			if n, err := tx.FileIDUsed(j.FileID); err != nil || n != 0 {
				return errors.Join(err, fmt.Errorf("id %s: %w (job %d)", j.FileID, ErrIDUsed, n))
			}
		}
		if err := tx.AddJob(j, lowest); err != nil {
			return err
		}
		return more(tx)
	})
	if err != nil {
		return fmt.Errorf("accepting the job: %w", err)
	}
	if j.Claim != "" { // of many files Note does so at once
		return nil
	}
	return e.advance(ctx)
}

// Note notes the numbers of jobs that were accepted with a claim. It is called
// before anybody is told of them.
func (e *Env) Note(ctx context.Context) error { return e.advance(ctx) }

// sealInto keeps the job's values and list with it, sealed under its own key.
func (e *Env) sealInto(tx *store.Tx, j *store.Job, s *Submission) error {
	key, err := credential.NewJobKey()
	if err != nil {
		return err
	}
	j.Key = e.Ring.SealJobKey(j.ID, key)
	for _, v := range []struct {
		kind string
		from *Value
		to   *[]byte
	}{{store.PIN, s.Job.Reset.PIN, &j.PIN}, {store.Password, s.Job.Reset.Password, &j.Password}} {
		if v.from == nil || v.from.Generate > 0 {
			continue
		}
		value, err := e.given(v.from)
		if err != nil {
			return fmt.Errorf("reading the %s of the job: %w", v.kind, err)
		}
		*v.to = key.SealValue(nil, legContext("given "+v.kind, j.ID, 0), value)
	}
	if err := tx.SealJob(j); err != nil {
		return err
	}
	if s.list == nil {
		return nil
	}
	return tx.AddList(j.ID, listName, key.Seal(nil, legContext("list", j.ID, 0), s.list))
}

// listName is the one list of a job.
const listName = "list"

func (e *Env) given(v *Value) (secret.Value, error) {
	switch {
	case v.Sealed != "":
		return e.Ring.OpenSealed(v.Sealed)
	case v.Reference != nil:
		return v.Reference.Resolve(e.Ring.OpenSealed)
	}
	return v.Given, nil
}

// reported is the lowest number that no report of the installation bears. It is
// found out once: whoever writes reports from then on has their numbers from the
// database and the marker.
type reported struct {
	mu sync.Mutex
	n  int64 // 0: not known yet
}

func (r *reported) lowest(folders []config.Watch) (int64, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.n > 0 {
		return r.n, nil
	}
	lowest := int64(1)
	for _, w := range folders {
		n, err := lowestJob(w.Reports)
		if err != nil {
			return 0, err
		}
		lowest = max(lowest, n)
	}
	r.n = lowest
	return lowest, nil
}

// lowestJob returns the lowest number that a new job may get, so that no
// report of an older database is overwritten.
func lowestJob(reports string) (int64, error) {
	entries, err := os.ReadDir(reports)
	if errors.Is(err, os.ErrNotExist) {
		return 1, nil
	}
	if err != nil {
		return 0, fmt.Errorf("reading the folder of reports: %w", err)
	}
	lowest := int64(1)
	for _, d := range entries {
		number, _, _ := strings.Cut(d.Name(), "-")
		if n, err := strconv.ParseInt(number, 10, 64); err == nil && n >= lowest {
			lowest = n + 1
		}
	}
	return lowest, nil
}

// load reads a stored job back: its definition, key, given values and people.
func (e *Env) load(ctx context.Context, j *store.Job) (*loaded, error) {
	l, err := e.unseal(j)
	if err != nil || l.key == nil {
		return l, err
	}
	if err := e.loadList(ctx, l); err != nil || j.RetryOf == 0 || j.Stage != store.StageOpening {
		return l, err
	}
	from, err := e.stored(ctx, j.RetryOf)
	if err != nil {
		return nil, err
	}
	l.people.retried = &retried{of: j.RetryOf, by: j.ID, from: from}
	return l, nil
}

// unseal reads what stands in a job's row.
func (e *Env) unseal(j *store.Job) (*loaded, error) {
	def, err := DecodeJob(j.Definition)
	if err != nil {
		return nil, fmt.Errorf("reading job %d: %w", j.ID, err)
	}
	l := &loaded{job: j, def: def, folder: j.Folder, given: values{}, people: people{query: def.Select.Query}}
	if j.Key == nil {
		return l, nil
	}
	if l.key, err = e.Ring.OpenJobKey(j.ID, j.Key); err != nil {
		return nil, err
	}
	for kind, sealed := range map[string][]byte{store.PIN: j.PIN, store.Password: j.Password} {
		if sealed == nil {
			continue
		}
		if l.given[kind], err = l.key.OpenValue(legContext("given "+kind, j.ID, 0), sealed); err != nil {
			return nil, fmt.Errorf("opening the %s of job %d: %w", kind, j.ID, err)
		}
	}
	return l, nil
}

func (e *Env) loadList(ctx context.Context, l *loaded) error {
	j, def := l.job, l.def
	if def.Select.File == nil && def.Select.CSV == nil {
		return nil
	}
	var sealed []byte
	err := e.Store.Read(ctx, func(tx *store.Tx) (err error) { sealed, err = tx.List(j.ID, listName); return err })
	if errors.Is(err, store.ErrNotFound) && j.Series != 0 && j.Stage == store.StageOpening {
		return nil // it is read when the run begins
	}
	if err != nil {
		return err
	}
	if l.list, err = l.key.Open(nil, legContext("list", j.ID, 0), sealed); err != nil {
		return fmt.Errorf("opening the list of job %d: %w", j.ID, err)
	}
	l.people, err = decodeList(def, fmt.Sprintf("the list of job %d", j.ID), l.list, nil)
	return err
}

// loaded is a stored job, ready to work on.
type loaded struct {
	job    *store.Job
	def    *Job
	folder string             // the watch folder that it came from; "": none
	key    *credential.JobKey // nil: the values are erased
	given  values
	people people
	list   []byte                       // that it names; nil: none
	rules  map[string]*voicemail.Policy // of the systems, where they were asked: before the job opens
}

// NewSubmission makes a submission of a job that selects by a query and does
// not come from a file.
func NewSubmission(job *Job, fingerprint []byte) *Submission {
	return &Submission{Job: job, Fingerprint: fingerprint, people: people{query: job.Select.Query}}
}
