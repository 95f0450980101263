package resetjob

import (
	"database/sql"
	"fmt"

	"github.com/dirpin/dirpin/internal/credential"
	"github.com/dirpin/dirpin/internal/outcome"
	"github.com/dirpin/dirpin/internal/secret"
	"github.com/dirpin/dirpin/internal/store"
)

// view is what the database holds, read past the store.
type view struct {
	jobs    map[int64]*seenJob
	items   map[legID]*seenItem
	legs    map[legKey]*seenLeg
	parts   map[partKey]*seenLeg
	journal []seenJournal
	creds   map[credKey]seenCred
}

type seenJob struct {
	id, origin, retryOf, failures int64
	state                         store.State
	stage                         store.Stage
	reason                        string
	counts                        store.Counts
	started, ended                int64
	hasKey                        bool
}

func (j *seenJob) since() int64 {
	if j.origin != 0 {
		return j.origin
	}
	return j.id
}

// since is that of a job, or its number where it is not known any more.
func (s *view) since(job int64) int64 {
	if j := s.jobs[job]; j != nil {
		return j.since()
	}
	return job
}

type seenItem struct {
	ref       int64
	state     string
	result    outcome.Result
	code      outcome.Code
	retriedBy int64
}

type legKey struct {
	legID
	kind string
}

// partKey names a leg's part at one of several systems.
type partKey struct {
	legID
	system string
}

type seenLeg struct {
	state     string
	result    outcome.Result
	code      outcome.Code
	requestID string
	lost      int
	body      bool
}

// unchanged tells whether the leg says that surely nothing happened.
func (l *seenLeg) unchanged() bool {
	return l.state == store.Final && l.result != outcome.Updated && !l.code.Uncertain()
}

type seenJournal struct {
	ref, firstAt, until int64
	legID
	requestID, system, owner string
}

type credKey struct {
	ref  int64
	kind string
}

type seenCred struct {
	hash         string
	job, version int64
}

// look reads the database.
func (w *world) look() *view {
	s := &view{jobs: map[int64]*seenJob{}, items: map[legID]*seenItem{}, legs: map[legKey]*seenLeg{}, parts: map[partKey]*seenLeg{}, creds: map[credKey]seenCred{}}
	tx, err := w.raw.Begin()
	w.must(err)
	defer tx.Rollback()
	each := func(query string, scan func(*sql.Rows) error) {
		rows, err := tx.Query(query)
		w.must(err)
		defer rows.Close()
		for rows.Next() {
			w.must(scan(rows))
		}
		w.must(rows.Err())
	}
	each(`SELECT id, state, stage, reason, selected, updated, skipped, flagged, failed, not_run, uncertain, failures, started, ended, job_key IS NOT NULL, retry_of, origin FROM jobs`, func(r *sql.Rows) error {
		j := new(seenJob)
		c := &j.counts
		err := r.Scan(&j.id, &j.state, &j.stage, &j.reason, &c.Selected, &c.Updated, &c.Skipped, &c.Flagged, &c.Failed, &c.NotRun, &c.Uncertain, &j.failures,
			&j.started, &j.ended, &j.hasKey, &j.retryOf, &j.origin)
		s.jobs[j.id] = j
		return err
	})
	each("SELECT job, seq, coalesce(user_ref, 0), state, result, code, retried_by FROM items", func(r *sql.Rows) error {
		var id legID
		it := new(seenItem)
		err := r.Scan(&id.job, &id.seq, &it.ref, &it.state, &it.result, &it.code, &it.retriedBy)
		s.items[id] = it
		return err
	})
	each("SELECT job, seq, kind, state, result, code, request_id, lost, body IS NOT NULL FROM legs", func(r *sql.Rows) error {
		var id legKey
		l := new(seenLeg)
		err := r.Scan(&id.job, &id.seq, &id.kind, &l.state, &l.result, &l.code, &l.requestID, &l.lost, &l.body)
		s.legs[id] = l
		return err
	})
	each("SELECT job, seq, system, state, result, code, request_id, lost, body IS NOT NULL FROM parts", func(r *sql.Rows) error {
		var id partKey
		l := new(seenLeg)
		err := r.Scan(&id.job, &id.seq, &id.system, &l.state, &l.result, &l.code, &l.requestID, &l.lost, &l.body)
		s.parts[id] = l
		return err
	})
	owner := "(SELECT owner FROM batches b WHERE b.job = j.job AND j.seq BETWEEN first_seq AND last_seq)"
	if !w.broken.IsZero() {
		owner = "NULL"
	}
	each("SELECT user_ref, job, seq, request_id, system, first_at, until, coalesce("+owner+", '') FROM journal j", func(r *sql.Rows) error {
		var j seenJournal
		err := r.Scan(&j.ref, &j.job, &j.seq, &j.requestID, &j.system, &j.firstAt, &j.until, &j.owner)
		s.journal = append(s.journal, j)
		return err
	})
	each("SELECT user_ref, kind, hash, job, version FROM credentials", func(r *sql.Rows) error {
		var k credKey
		var c seenCred
		err := r.Scan(&k.ref, &k.kind, &c.hash, &c.job, &c.version)
		s.creds[k] = c
		return err
	})
	return s
}

// valueOf finds out which of the values that there were a hash is of; "" where
// it is of none.
func (w *world) valueOf(kind, hash string) string {
	h := credential.NewHasher(w.ring, credential.Params{Memory: 8, Time: 1, Threads: 1})
	for v := range w.values {
		if ok, _, err := h.Verify(credential.Kind(kind), hash, secret.New(v)); err == nil && ok {
			return v
		}
	}
	return ""
}

func (id legID) String() string { return fmt.Sprintf("job %d item %d", id.job, id.seq) }
