package store

import (
	"fmt"
	"slices"

	"github.com/dirpin/dirpin/internal/outcome"
)

// Results gathers how the legs and items of a job end, so that those that end
// alike are written together: most of a job does.
type Results struct {
	job     int64
	legs    map[legEnd][]int64 // seqs
	items   map[itemEnd][]int64
	settled []int64   // users to be taken out of the journal
	kept    []keptLeg // uncertain legs, with what was sent
}

type legEnd struct {
	kind, system string
	result       outcome.Result
	code         outcome.Code
}

type itemEnd struct {
	result         outcome.Result
	code           outcome.Code
	detail, status string
}

type keptLeg struct {
	seq int64
	leg Leg
}

// NewResults returns an empty Results of a job.
func NewResults(job int64) *Results {
	return &Results{job: job, legs: make(map[legEnd][]int64), items: make(map[itemEnd][]int64)}
}

// Leg gives a leg its result. Where that is uncertain, what was sent is kept
// with it.
func (r *Results) Leg(seq int64, l *Leg) {
	end := legEnd{l.Kind, l.System, l.Result, l.Code}
	r.legs[end] = append(r.legs[end], seq)
	if l.Code.Uncertain() && len(l.Parts) == 0 { // else each has its own
		r.kept = append(r.kept, keptLeg{seq, *l})
	}
}

// Item gives an item its result.
func (r *Results) Item(it *Item) {
	end := itemEnd{it.Result, it.Code, it.Detail, it.Status}
	r.items[end] = append(r.items[end], it.Seq)
}

// Settled takes the user's leg out of the journal.
func (r *Results) Settled(userRef int64) { r.settled = append(r.settled, userRef) }

// WriteResults writes and empties r. ErrStale: a row was moved by somebody
// else.
func (t *Tx) WriteResults(r *Results) error {
	for end, seqs := range r.legs {
		err := t.together("ending items of job", r.job, `UPDATE legs SET state = 'final', result = ?, code = ?, system = ?
			WHERE job = ? AND kind = ? AND state <> 'final' AND `, "seq", seqs, string(end.result), string(end.code), end.system, r.job, end.kind)
		if err != nil {
			return err
		}
	}
	for end, seqs := range r.items {
		err := t.together("ending items of job", r.job, `UPDATE items SET state = 'final', result = ?, code = ?, detail = ?, status = ?, at = ?
			WHERE job = ? AND state <> 'final' AND `, "seq", seqs, string(end.result), string(end.code), end.detail, end.status, t.now, r.job)
		if err != nil {
			return err
		}
	}
	if err := t.together("settling items of job", r.job, "DELETE FROM journal WHERE job = ? AND until = 0 AND ", "user_ref", r.settled, r.job); err != nil {
		return err
	}
	for i := range r.kept {
		if err := t.keepRequest(r.job, r.kept[i].seq, &r.kept[i].leg); err != nil {
			return fmt.Errorf("ending item %d: %w", r.kept[i].seq, err)
		}
	}
	*r = *NewResults(r.job)
	return nil
}

// together puts a statement about a job, which ends before its last condition, for the rows
// with these numbers, each of which it must change.
func (t *Tx) together(what string, job int64, query, column string, numbers []int64, args ...any) error {
	for part := range slices.Chunk(numbers, amongMost) {
		among, list := t.dialect.among(column, part)
		if err := t.put(putting{what, job, exactly(len(part))}, query+among, slices.Concat(args, list)...); err != nil {
			return err
		}
	}
	return nil
}
