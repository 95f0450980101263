package resetjob

import (
	"context"
	"crypto/rand"
	"fmt"
	"iter"

	"github.com/dirpin/dirpin/internal/credential"
	"github.com/dirpin/dirpin/internal/outcome"
	"github.com/dirpin/dirpin/internal/secret"
	"github.com/dirpin/dirpin/internal/store"
	"github.com/dirpin/dirpin/internal/user"
	"github.com/dirpin/dirpin/internal/voicemail"
)

// NotRetriableError says why a job cannot be tried again.
type NotRetriableError struct {
	Job    int64
	Reason string
}

func (e *NotRetriableError) Error() string {
	return fmt.Sprintf("job %d cannot be retried: %s", e.Job, e.Reason)
}

// Retry makes a job that tries again the items of another that failed or were
// not run and that no job has tried again yet. They are handed on with the
// job's row in one transaction, so that nobody is reset by two retries.
//
// Where an answer was lost the same value is sent again under the same request
// id. Where surely nothing happened a value that was drawn is drawn anew, and
// one that was given is taken from the sealed copy of the job. Guards and
// policy are asked afresh.
func (e *Env) Retry(ctx context.Context, of int64, submitter string) (*store.Job, error) {
	l, err := e.stored(ctx, of)
	if err != nil {
		return nil, err
	}
	refuse := func(why string, args ...any) error { return &NotRetriableError{of, fmt.Sprintf(why, args...)} }
	switch {
	case !l.job.State.Ended() || l.job.Stage != store.StageClosed:
		return nil, refuse("it is %s; it must have ended, and its report be written", l.job.State)
	case l.key == nil:
		return nil, refuse("its values were erased: everyone was changed, or it ended longer ago than retry_within (%s). Its report has failed.txt, a custom file for a new job", e.Config.RetryWithin)
	}
	key, err := credential.NewJobKey()
	if err != nil {
		return nil, err
	}
	fingerprint := make([]byte, 32)
	rand.Read(fingerprint)
	j := &store.Job{Name: l.job.Name, Folder: l.job.Folder, File: l.job.File, Fingerprint: e.Ring.Fingerprint(fingerprint), Definition: l.job.Definition,
		Submitter: submitter, State: store.Queued, Stage: store.StageOpening, Owner: e.Owner.ID, RetryOf: of, Origin: l.job.Since()}
	err = e.addJob(ctx, j, func(tx *store.Tx) error {
		j.Key = e.Ring.SealJobKey(j.ID, key)
		for kind, to := range map[string]*[]byte{store.PIN: &j.PIN, store.Password: &j.Password} {
			if v := l.given[kind]; !v.IsZero() {
				*to = key.SealValue(nil, legContext("given "+kind, j.ID, 0), v)
			}
		}
		if err := tx.SealJob(j); err != nil {
			return err
		}
		if l.list != nil {
			if err := tx.AddList(j.ID, listName, key.Seal(nil, legContext("list", j.ID, 0), l.list)); err != nil {
				return err
			}
		}
		n, err := tx.MarkRetried(of, j.ID)
		if err != nil {
			return err
		}
		if n > 0 {
			return tx.LogJob(of, fmt.Sprintf("%d users are tried again by job %d", n, j.ID))
		}
		_, last, err := tx.Retries(of)
		if err == nil && last != 0 {
			err = refuse("whoever failed is tried again by job %d", last)
		} else if err == nil {
			err = refuse("nobody failed and nobody was left out")
		}
		return err
	})
	if err != nil {
		return nil, err
	}
	return j, nil
}

// stored reads a job and all that is kept with it.
func (e *Env) stored(ctx context.Context, id int64) (*loaded, error) {
	var j *store.Job
	err := e.Store.Read(ctx, func(tx *store.Tx) (err error) {
		j, err = tx.Job(id)
		return err
	})
	if err != nil {
		return nil, err
	}
	return e.load(ctx, j)
}

// retried is whom a retry is about: the items that another job handed on.
type retried struct {
	of, by int64
	from   *loaded // the other job
}

// each calls fn for every item. An item that named nobody is looked up again.
func (p *retried) each(tx *store.Tx, fn func(*selected) error) error {
	rows := csvRows{}
	if p.from.people.csv != nil {
		rows.next, rows.stop = iter.Pull(p.from.people.csv.Rows())
		defer rows.stop()
	}
	return tx.RetriedItems(p.of, p.by, func(it *store.Retried) error {
		s := selected{user: it.User, written: it.UserID, line: it.Line, again: make(map[string]*carried, len(it.Legs))}
		if row, ok := rows.at(it.Line); ok {
			s.pin, s.password = row.PIN, row.Password
		}
		for i := range it.Legs {
			c, err := p.carry(it, &it.Legs[i])
			if err != nil {
				return err
			}
			s.again[it.Legs[i].Kind] = c
		}
		if it.UserRef != 0 {
			if it.User == nil {
				s.removed, s.unknown = it.UserRef, "the user was removed since the job was run"
			}
			return fn(&s)
		}
		return p.lookUp(tx, s, fn)
	})
}

// carried is what a retry takes along of a leg.
type carried struct {
	store.Leg              // its request, where an answer was lost
	value     secret.Value // that was sent, or may have been
	body      secret.Value
	doubt     bool   // an answer was lost, and the request is forgotten: another is sent
	userID    string // whom the request named
	parts     []carriedPart
}

// carriedPart is what one of several systems has accepted, or may have: its
// request is sent again there, or none.
type carriedPart struct {
	store.Part
	body secret.Value
}

// lost tells whether an answer was lost and the request is there to be sent
// again.
func (c *carried) lost() bool { return c != nil && (c.Lost > 0 && c.Body != nil || len(c.parts) > 0) }

// code is that of a leg whose request is not sent again.
func (c *carried) code() outcome.Code {
	for _, p := range c.parts {
		if p.State == store.Final {
			return outcome.VoicemailPartial
		}
	}
	return uncertainCode(c.Kind)
}

func (p *retried) carry(it *store.Retried, l *store.Leg) (*carried, error) {
	c := &carried{Leg: *l}
	if len(l.Parts) > 0 {
		return p.carryParts(it, l)
	}
	if !l.Code.Uncertain() || l.Lost == 0 || l.Body == nil {
		return &carried{doubt: l.Code.Uncertain()}, nil // nothing of it is sent again
	}
	var err error
	if l.Value == nil {
		c.value = p.from.given[l.Kind]
	} else if c.value, err = p.from.key.OpenValue(legContext(l.Kind, p.of, it.Seq), l.Value); err != nil {
		return nil, fmt.Errorf("opening the %s of item %d of job %d: %w", l.Kind, it.Seq, p.of, err)
	}
	if c.body, err = p.from.key.OpenValue(legContext("body", p.of, it.Seq), l.Body); err != nil {
		return nil, fmt.Errorf("opening the request of item %d of job %d: %w", it.Seq, p.of, err)
	}
	a, err := voicemail.NewAttempt(c.body)
	if err != nil {
		return nil, fmt.Errorf("item %d of job %d: %w", it.Seq, p.of, err)
	}
	c.userID = a.UserID
	return c, nil
}

// carryParts takes along what several systems have accepted, or may have: the
// same value goes to the others.
func (p *retried) carryParts(it *store.Retried, l *store.Leg) (*carried, error) {
	c := &carried{userID: it.UserID}
	c.Kind = l.Kind
	if !l.Code.Uncertain() {
		return c, nil
	}
	c.doubt = l.Lost > 0 // of a request of before, which was forgotten
	for _, q := range l.Parts {
		one := carriedPart{Part: q}
		switch {
		case q.RequestID == "" && (q.Code.Uncertain() || q.Result == outcome.Updated): // forgotten by a restore
			c.doubt = true
			continue
		case q.Result == outcome.Updated && q.Code == outcome.OK:
		case q.Code.Uncertain() && q.Body != nil:
			var err error
			if one.body, err = p.from.key.OpenValue(legContext("body", p.of, it.Seq), q.Body); err != nil {
				return nil, fmt.Errorf("opening the request of item %d of job %d: %w", it.Seq, p.of, err)
			}
			a, err := voicemail.NewAttempt(one.body)
			if err != nil {
				return nil, fmt.Errorf("item %d of job %d: %w", it.Seq, p.of, err)
			}
			c.userID = a.UserID
			one.State, one.Result, one.Code, one.Detail = store.Pending, "", "", ""
		case q.Code.Uncertain():
			c.doubt = true
			continue
		default:
			continue // surely nothing happened there
		}
		c.parts = append(c.parts, one)
	}
	if len(c.parts) == 0 {
		return c, nil
	}
	var err error
	if l.Value == nil {
		c.value = p.from.given[l.Kind]
	} else if c.value, err = p.from.key.OpenValue(legContext(l.Kind, p.of, it.Seq), l.Value); err != nil {
		return nil, fmt.Errorf("opening the %s of item %d of job %d: %w", l.Kind, it.Seq, p.of, err)
	}
	return c, nil
}

func (p *retried) lookUp(tx *store.Tx, s selected, fn func(*selected) error) error {
	field := user.FieldUserID
	// What a directory named is written as its user id.
	if f := p.from.people.file; f != nil && p.from.def.Select.Source == SourceStore {
		field = f.Field
	}
	found := false
	err := tx.FindExact(field, user.Fold(s.written), func(u *user.User) error {
		found = true
		s.user = u
		return fn(&s)
	})
	if err == nil && !found {
		err = fn(&s)
	}
	return err
}

// csvRows gives the rows of a csv by their lines, which are asked for in order.
type csvRows struct {
	next func() (CSVRow, bool)
	stop func()
	row  CSVRow
}

func (r *csvRows) at(line int) (CSVRow, bool) {
	for r.next != nil && r.row.Line < line {
		var ok bool
		if r.row, ok = r.next(); !ok {
			return CSVRow{}, false
		}
	}
	return r.row, r.next != nil && r.row.Line == line
}

// onlyAgain keeps of a user's verdicts those on the legs that are tried again.
// A leg of which an answer was lost is sent again, or stays uncertain.
func onlyAgain(vs []verdict, j *judged) []verdict {
	kept := vs[:0]
	for _, v := range vs {
		c := j.again[v.kind]
		switch {
		case c == nil:
			continue
		case c.lost() && len(c.parts) == 0 && v.todo() && v.system != nil && !v.goesTo(c.System):
			v.result, v.code, v.detail = outcome.Failed, uncertainCode(v.kind), "still uncertain, and not sent again: the user now belongs to another voicemail system"
		case c.lost() && v.todo() && j.user.UserID != c.userID:
			v.result, v.code, v.detail = outcome.Failed, c.code(), "still uncertain, and not sent again: the user id was "+c.userID
		case (c.lost() || c.doubt) && !v.todo():
			v.result, v.detail = outcome.Failed, "still uncertain, and not sent again: "+string(v.code)
			v.code = c.code()
		}
		kept = append(kept, v)
	}
	return kept
}
