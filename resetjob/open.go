package resetjob

import (
	"context"
	"fmt"
	"maps"
	"time"

	"github.com/dirpin/dirpin/internal/credential"
	"github.com/dirpin/dirpin/internal/outcome"
	"github.com/dirpin/dirpin/internal/store"
	"github.com/dirpin/dirpin/internal/user"
)

const (
	openChunk = 10_000 // items a transaction: a tenth of a second, in which nobody else writes
	askChunk  = 500    // users whose history is read by one query
)

// BatchSize is how many items a batch has: a job of no more fits one.
const BatchSize = 500

// BatchItems is how many items a batch has.
func (e *Env) BatchItems() int64 {
	if e.Batch > 0 {
		return e.Batch
	}
	return BatchSize
}

// selection streams whom a job selects with what is to become of each, in
// chunks: memory does not grow with their number.
type selection struct {
	env    *Env
	people people
	judge  *judge
	given  values
	drawn  map[string]*credential.Generator
	dry    bool              // nothing is drawn: every value that is drawn conforms
	mails  map[string]string // addresses of managers, by folded user id
}

// judged is one selected user, or name of nobody, with the verdicts.
type judged struct {
	user     user.User // ID 0: names nobody
	written  string
	line     int
	removed  int64 // see selected, as the next one
	unknown  string
	verdicts []verdict
	values   values // of its own: drawn, or out of a csv
	again    map[string]*carried
}

func (e *Env) selection(l *loaded, dry bool) (*selection, error) {
	s := &selection{env: e, people: l.people, given: l.given, dry: dry, drawn: make(map[string]*credential.Generator), mails: make(map[string]string),
		judge: e.newJudge(l)}
	for kind, v := range map[string]*Value{store.PIN: l.def.Reset.PIN, store.Password: l.def.Reset.Password} {
		if v == nil || v.Generate == 0 {
			continue
		}
		g, err := credential.NewGenerator(credential.Kind(kind), v.Generate, s.judge.policy[kind], nil)
		if err != nil {
			return nil, fmt.Errorf("reset.%s.generate: %w", kind, err)
		}
		s.drawn[kind] = g
	}
	return s, nil
}

// chunks calls fn with the selected users, at most size of them at a time, as
// one state of the store has them. What fn is given is used again.
func (s *selection) chunks(ctx context.Context, size int, fn func([]judged) error) error {
	var err error
	if s.people, err = s.env.ask(ctx, s.judge.def, s.people); err != nil {
		return err
	}
	var chunk []judged // most jobs are about few
	err = s.env.Store.Read(ctx, func(tx *store.Tx) error {
		return s.people.each(tx, func(sel *selected) error {
			chunk = append(chunk, s.take(sel))
			if len(chunk) < size {
				return nil
			}
			if err := ctx.Err(); err != nil {
				return err
			}
			err := fn(chunk)
			chunk = chunk[:0]
			return err
		})
	})
	if err == nil && len(chunk) > 0 {
		err = fn(chunk)
	}
	return err
}

func (s *selection) take(sel *selected) judged {
	j := judged{written: sel.written, line: sel.line, again: sel.again, removed: sel.removed, unknown: sel.unknown}
	if sel.user != nil {
		j.user = *sel.user
		j.user.Departments = append([]string(nil), sel.user.Departments...)
	}
	if s.people.csv != nil {
		j.values = values{store.PIN: sel.pin, store.Password: sel.password}
	}
	return j
}

// decide judges a chunk and draws its values; tx reads the history.
func (s *selection) decide(tx *store.Tx, chunk []judged) error {
	for len(chunk) > 0 {
		part := chunk[:min(askChunk, len(chunk))]
		chunk = chunk[len(part):]
		history, err := s.history(tx, part)
		if err != nil {
			return err
		}
		for i := range part {
			if err := s.one(tx, &part[i], history); err != nil {
				return err
			}
		}
	}
	return nil
}

func (s *selection) history(tx *store.Tx, part []judged) (map[string]map[int64][][]byte, error) {
	refs := make([]int64, 0, len(part))
	for i := range part {
		if part[i].user.ID != 0 {
			refs = append(refs, part[i].user.ID)
		}
	}
	history := make(map[string]map[int64][][]byte)
	for _, kind := range kinds {
		if !s.judge.wants[kind] || s.judge.policy[kind].History == 0 {
			continue
		}
		var err error
		if history[kind], err = tx.HistoryOf(kind, refs, s.judge.policy[kind].History+1); err != nil {
			return nil, err
		}
	}
	return history, nil
}

func (s *selection) one(tx *store.Tx, j *judged, history map[string]map[int64][][]byte) error {
	if j.user.ID == 0 || j.unknown != "" {
		j.verdicts = s.judge.nobody()
		if j.unknown != "" {
			setAll(j.verdicts, outcome.Failed, outcome.UnknownUser, j.unknown)
		}
		if j.again != nil {
			j.verdicts = onlyAgain(j.verdicts, j)
		}
		return nil
	}
	e := evidence{given: s.given, history: make(map[string][][]byte, len(kinds))}
	if s.people.csv != nil {
		e.given, e.missing = j.values, make(map[string]bool)
	}
	for _, kind := range kinds {
		e.history[kind] = history[kind][j.user.ID]
		if s.people.csv != nil && s.judge.wants[kind] && j.values[kind].IsZero() {
			e.missing[kind] = true
		}
	}
	var err error
	if e.address, err = s.judge.address(&j.user, func(manager string) (string, error) { return s.managerMail(tx, manager) }); err != nil {
		return err
	}
	if j.again != nil { // what was sent was judged before; what is not tried again is nobody's fault
		e.given, e.sent = maps.Clone(e.given), make(map[string]bool)
		for _, kind := range kinds {
			if c := j.again[kind]; c == nil || c.lost() {
				delete(e.given, kind)
				delete(e.missing, kind)
				e.sent[kind] = true
			}
		}
	}
	j.verdicts = s.judge.user(&j.user, e)
	if j.again != nil {
		j.verdicts = onlyAgain(j.verdicts, j)
	}
	if s.dry {
		return nil
	}
	return s.draw(j, e.history)
}

func (s *selection) managerMail(tx *store.Tx, manager string) (string, error) {
	folded := user.Fold(manager)
	if mail, ok := s.mails[folded]; ok {
		return mail, nil
	}
	mail, err := mailOf(tx, manager)
	if err == nil {
		s.mails[folded] = mail
	}
	return mail, err
}

// draw gives the legs that are to be done the values that are drawn.
func (s *selection) draw(j *judged, history map[string][][]byte) error {
	person := credential.PersonOf(&j.user)
	for _, v := range j.verdicts {
		g := s.drawn[v.kind]
		if g == nil || !v.todo() || j.again[v.kind].lost() {
			continue
		}
		kind := credential.Kind(v.kind)
		if j.values == nil {
			j.values = make(values, 1)
		}
		for {
			value, err := g.Next(person)
			if err != nil {
				return fmt.Errorf("drawing a %s for %s: %w", v.kind, j.user.UserID, err)
			}
			// A former value is drawn once in a thousand times at the worst.
			if !s.env.Ring.InHistory(j.user.ID, kind, value, history[v.kind]) {
				j.values[v.kind] = value
				break
			}
		}
	}
	return nil
}

// open writes the items of a job: everyone is judged and every value drawn
// before anything is pushed. A job that was cut while it opened starts over.
func (e *Env) open(ctx context.Context, l *loaded, progress func(int64)) error {
	if err := e.dropItems(ctx, l.job.ID); err != nil {
		return err
	}
	s, err := e.selection(l, false)
	if err != nil {
		return err
	}
	w := itemWriter{job: l.job.ID, key: l.key}
	opened := false
	err = s.chunks(ctx, openChunk, func(chunk []judged) error {
		e.step("opening")
		err := e.Store.Write(ctx, func(tx *store.Tx) error {
			if err := s.decide(tx, chunk); err != nil {
				return err
			}
			if err := w.write(tx, chunk); err != nil || len(chunk) == openChunk {
				return err
			}
			return e.opened(tx, l, &w) // it was the last
		})
		opened = err == nil && len(chunk) < openChunk
		if progress != nil {
			progress(w.seq)
		}
		return err
	})
	if err != nil {
		return fmt.Errorf("opening job %d: %w", l.job.ID, err)
	}
	if opened {
		return nil
	}
	return e.Store.Write(ctx, func(tx *store.Tx) error { return e.opened(tx, l, &w) })
}

// opened makes batches of the items of a job, all of which are there.
func (e *Env) opened(tx *store.Tx, l *loaded, w *itemWriter) error {
	for n, first := int64(1), int64(1); first <= w.seq; n, first = n+1, first+e.BatchItems() {
		if err := tx.AddBatch(store.Batch{Job: l.job.ID, N: n, First: first, Last: min(first+e.BatchItems()-1, w.seq)}); err != nil {
			return err
		}
	}
	text := fmt.Sprintf("%d selected, %d to be changed", w.seq, w.todo)
	if w.seq == 0 {
		text = nobodySelected
	}
	if err := tx.LogJob(l.job.ID, text); err != nil {
		return err
	}
	return tx.SetStage(l.job.ID, store.StageOpen)
}

func (e *Env) dropItems(ctx context.Context, job int64) error {
	more := false
	err := e.Store.Read(ctx, func(tx *store.Tx) (err error) {
		more, err = tx.HasItems(job)
		return err
	})
	if err != nil {
		return err
	}
	for more {
		err := e.Store.Write(ctx, func(tx *store.Tx) (err error) {
			more, err = tx.DropItems(job, openChunk)
			return err
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// itemWriter writes judged users as items.
type itemWriter struct {
	job  int64
	key  *credential.JobKey
	seq  int64
	todo int64
}

func (w *itemWriter) write(tx *store.Tx, chunk []judged) error {
	var counts store.Counts
	seq, todo := w.seq, w.todo
	for i := range chunk {
		seq++
		it := w.item(seq, &chunk[i], tx.Now())
		if err := tx.AddItem(w.job, it); err != nil {
			return err
		}
		counts.Selected++
		if it.State != store.Final {
			todo++
			continue
		}
		counts.Add(it.Result, it.Code)
		if it.Result == outcome.Flagged {
			if err := tx.Flag(it.UserRef, w.job, string(it.Code)); err != nil {
				return err
			}
		}
	}
	if err := tx.AddCounts(w.job, counts, 0); err != nil {
		return err
	}
	w.seq, w.todo = seq, todo
	return nil
}

func (w *itemWriter) item(seq int64, j *judged, now time.Time) *store.Item {
	it := &store.Item{Seq: seq, UserRef: j.user.ID, UserID: j.user.UserID, Line: j.line, State: store.Final}
	if it.UserRef == 0 {
		// Whoever comes with the user id of one who was removed is another one.
		it.UserID, it.UserRef = j.written, j.removed
	}
	for i := range j.verdicts {
		v := &j.verdicts[i]
		leg := store.Leg{Kind: v.kind, State: store.Final, Result: v.result, Code: v.code}
		if v.todo() {
			leg.State, it.State = store.Pending, store.Pending
			if value := j.values[v.kind]; !value.IsZero() {
				leg.Value = w.key.SealValue(nil, legContext(v.kind, w.job, seq), value)
			}
		}
		c := j.again[v.kind]
		if c != nil && c.doubt {
			leg.Attempts, leg.Lost = 1, 1
		}
		if c != nil && len(c.parts) > 0 {
			leg.Value = w.key.SealValue(nil, legContext(v.kind, w.job, seq), c.value)
			for _, p := range c.parts {
				leg.Parts = append(leg.Parts, w.part(seq, p, leg.State))
			}
		} else if c.lost() {
			leg.RequestID, leg.System, leg.Attempts, leg.Lost, leg.Note = c.RequestID, c.System, c.Attempts, c.Lost, c.Note
			leg.Body = w.key.SealValue(nil, legContext("body", w.job, seq), c.body)
			leg.Value = w.key.SealValue(nil, legContext(v.kind, w.job, seq), c.value)
		}
		it.Legs = append(it.Legs, leg)
	}
	if it.State == store.Final {
		it.Result, it.Code, it.Detail = combine(j.verdicts)
		it.Status, it.At = string(j.user.Status), now.UnixMilli()
		if c := j.again[store.PIN]; c != nil && len(c.parts) > 0 {
			it.UserID = c.userID // it stays about whom the requests have named: the next retry must know
		}
	}
	return it
}

// part is what an item takes along of another job's at one of several systems.
func (w *itemWriter) part(seq int64, c carriedPart, state string) store.Part {
	p := c.Part
	if p.State == store.Final { // accepted
		return p
	}
	p.Body = w.key.SealValue(nil, legContext("body", w.job, seq), c.body)
	if state == store.Final { // and never sent again
		p.State, p.Result, p.Code = store.Final, outcome.Failed, outcome.VoicemailTimeout
	}
	return p
}
