package store

import (
	"database/sql"
	"errors"
	"fmt"
	"time"

	"github.com/dirpin/dirpin/internal/outcome"
)

// Journalled is a leg that may have been sent, as it stands in the journal
// from before its first attempt until it is settled.
type Journalled struct {
	UserRef   int64
	Job, Seq  int64
	Kind      string
	RequestID string
	System    string
	EntryKey  string // of the user, then
	Body      []byte // the exact request, sealed under the job's key
	Note      string // what is known of the mailbox (voicemail.Note)
	Attempts  int
	Lost      int   // of these, how many may have taken effect unseen
	FirstAt   int64 // milliseconds
	Before    bool  // requests to the user are remembered beside the journal (Subject)
}

// Held tells whether nothing of it is on the way: its user is kept, since one of
// its systems has answered and another is to be asked.
func (j *Journalled) Held() bool { return j.RequestID == "" }

// ClaimedError says that the user is not to be touched now: another item of it
// is in flight, or an attempt of one was lost so recently that it may still
// arrive.
type ClaimedError struct {
	Job   int64     // of that item
	Until time.Time // zero while it is in flight
}

func (e *ClaimedError) Error() string {
	if e.Until.IsZero() {
		return fmt.Sprintf("job %d is changing the user at this moment", e.Job)
	}
	return fmt.Sprintf("a request of job %d was lost and may still arrive: no other is sent for this user before %s", e.Job, e.Until.UTC().Format(time.RFC3339))
}

// Errors of what follows a claim.
var (
	ErrStale  = errors.New("somebody else has moved the item")
	ErrFenced = errors.New("somebody else has taken over the batch")
)

// FreeFor is Free for an item that needs no request.
func (t *Tx) FreeFor(j *Journalled) error {
	if j.Before {
		if err := t.freeBefore(j); err != nil {
			return err
		}
	}
	return t.Free(j.UserRef, "")
}

// Free returns a *ClaimedError unless nothing is in the way of changing the
// user with the request of that id; "" for a change that needs none.
func (t *Tx) Free(userRef int64, requestID string) error {
	var job, until int64
	var id string
	err := t.row("SELECT job, request_id, until FROM journal WHERE user_ref = ?", userRef).Scan(&job, &id, &until)
	switch {
	case errors.Is(err, sql.ErrNoRows):
		return nil
	case err != nil:
		return fmt.Errorf("asking who changes user %d: %w", userRef, err)
	case until == 0:
		return &ClaimedError{Job: job}
	case until > t.now && (requestID == "" || id != requestID):
		return &ClaimedError{Job: job, Until: fromMilli(until)}
	}
	return nil
}

// Resting returns how many users of a job must wait because the answer to another
// request of theirs was lost, which may still arrive, and until when the last of
// them does.
func (t *Tx) Resting(job int64) (n int64, until time.Time, err error) {
	var last int64
	err = t.row(`SELECT count(*), coalesce(max(j.until), 0) FROM items i JOIN journal j ON j.user_ref = i.user_ref WHERE i.job = ? AND i.state = 'pending' AND j.until > ?
		AND NOT (j.job = i.job AND j.seq = i.seq) AND NOT EXISTS (SELECT 1 FROM legs l WHERE l.job = i.job AND l.seq = i.seq AND l.request_id = j.request_id)`, job, t.now).Scan(&n, &last)
	if err != nil || n == 0 {
		return 0, time.Time{}, err
	}
	return n, fromMilli(last), nil
}

// Journal claims the user and records what is about to be sent, from now on as
// if it had been. Its error is a *ClaimedError where something is in the way.
func (t *Tx) Journal(j *Journalled) error {
	if j.Before {
		if err := t.freeBefore(j); err != nil {
			return err
		}
	}
	n, err := t.insertJournal(j)
	if err == nil && n == 0 {
		if n, err = t.stepAside(j); err == nil && n > 0 {
			n, err = t.insertJournal(j)
		}
	}
	if err != nil {
		return fmt.Errorf("journalling item %d: %w", j.Seq, err)
	}
	if n == 0 {
		if err := t.Free(j.UserRef, j.RequestID); err != nil {
			return err
		}
		return ErrStale
	}
	if j.Before {
		_, err = t.exec("DELETE FROM sent_before WHERE user_ref = ? AND system = ?", j.UserRef, j.System)
	}
	return err
}

// JournalAll is Journal for several at once; claimed has the *ClaimedError of
// each that has one.
func (t *Tx) JournalAll(js []*Journalled) (claimed []error, err error) {
	claimed = make([]error, len(js))
	var alone []int // those in whose way there is, or may be, something
	for i, j := range js {
		if j.Before {
			alone = append(alone, i)
			continue
		}
		query, args := t.journalling(j)
		journalled := func(n int64) error {
			if n == 0 {
				alone = append(alone, i)
			}
			return nil
		}
		if err := t.put(putting{"journalling item", j.Seq, journalled}, query, args...); err != nil {
			return nil, err
		}
	}
	if err := t.send(); err != nil {
		return nil, err
	}
	for _, i := range alone {
		claimed[i] = t.Journal(js[i])
		if err := claimed[i]; err != nil && !errors.As(err, new(*ClaimedError)) {
			return nil, err
		}
	}
	return claimed, nil
}

func (t *Tx) insertJournal(j *Journalled) (int64, error) {
	query, args := t.journalling(j)
	return t.exec(query, args...)
}

func (t *Tx) journalling(j *Journalled) (query string, args []any) {
	j.FirstAt = t.now
	return `INSERT INTO journal (user_ref, job, seq, kind, request_id, system, entry_key, body, attempts, lost, first_at, until, note)
		VALUES (?1,?2,?3,?4,?5,?6,?7,?8,?9,?10,?11,0,?12)
		ON CONFLICT (user_ref) DO UPDATE SET job = ?2, seq = ?3, kind = ?4, request_id = ?5, system = ?6, entry_key = ?7,
			body = ?8, attempts = ?9, lost = ?10, first_at = ?11, until = 0, note = ?12
		WHERE journal.until <> 0 AND (journal.until <= ?11 OR journal.request_id = ?5) AND journal.system = ?6
			OR journal.until = 0 AND journal.request_id = '' AND journal.job = ?2 AND journal.seq = ?3`,
		[]any{j.UserRef, j.Job, j.Seq, j.Kind, j.RequestID, j.System, j.EntryKey, j.Body, j.Attempts, j.Lost, j.FirstAt, j.Note}
}

// Attempted records what is known of the attempts of a journalled leg.
func (t *Tx) Attempted(j *Journalled) error {
	_, err := t.exec("UPDATE journal SET attempts = ?, lost = ? WHERE user_ref = ? AND request_id = ?", j.Attempts, j.Lost, j.UserRef, j.RequestID)
	return err
}

// Unjournal gives a leg back that surely was never sent. The request id stays
// with the leg: it was drawn for it and for nothing else.
func (t *Tx) Unjournal(j *Journalled) error {
	n, err := t.exec("DELETE FROM journal WHERE user_ref = ? AND request_id = ? AND until = 0", j.UserRef, j.RequestID)
	if err == nil && n == 0 {
		err = ErrStale
	}
	if err == nil {
		_, err = t.exec("UPDATE legs SET request_id = ? WHERE job = ? AND seq = ? AND kind = ?", j.RequestID, j.Job, j.Seq, j.Kind)
	}
	if err != nil {
		return fmt.Errorf("giving item %d back: %w", j.Seq, err)
	}
	return nil
}

// Quarantine settles a leg of which an attempt was lost: the user is kept from
// every other request until the given time. ErrStale: it was not in flight.
func (t *Tx) Quarantine(j *Journalled, until time.Time) error {
	n, err := t.exec("UPDATE journal SET until = ?, body = NULL WHERE user_ref = ? AND request_id = ? AND until = 0", milli(until), j.UserRef, j.RequestID)
	if err == nil && n == 0 {
		err = ErrStale
	}
	if err != nil {
		return fmt.Errorf("settling item %d: %w", j.Seq, err)
	}
	return nil
}

// LastSent returns the id of the request that was the last on its way to the
// user at a system, if an answer to it was lost and may still be asked for, or
// it is one of several and not all have accepted; "" where there is none.
func (t *Tx) LastSent(userRef int64, system string) (string, error) {
	var id string
	err := t.row(`SELECT request_id FROM journal WHERE user_ref = ?1 AND system = ?2
		UNION ALL SELECT request_id FROM sent_before WHERE user_ref = ?1 AND system = ?2 LIMIT 1`, userRef, system).Scan(&id)
	if errors.Is(err, sql.ErrNoRows) {
		return "", nil
	}
	return id, err
}

// ForgetSettled removes what keeps nobody from anything any more, nor tells
// that a request was the last to its user and can be sent again. Nothing rests
// for longer than longest from now: a clock that was set back would keep its
// user from every job until it has caught up.
func (t *Tx) ForgetSettled(longest time.Duration) error {
	for _, table := range []string{"journal", "sent_before"} {
		// An item that is open may still be asked for what it has sent.
		_, err := t.exec("DELETE FROM "+table+" WHERE until <> 0 AND until <= ? AND NOT EXISTS (SELECT 1 FROM legs l JOIN jobs ON jobs.id = l.job "+
			"WHERE l.job = "+table+".job AND l.seq = "+table+".seq AND l.kind = "+table+".kind AND (l.code IN (?, ?, ?) OR l.state <> 'final') AND jobs.job_key IS NOT NULL)",
			t.now, string(outcome.VoicemailTimeout), string(outcome.DirectoryTimeout), string(outcome.VoicemailPartial))
		if err == nil {
			_, err = t.exec("UPDATE "+table+" SET until = ?1 WHERE until > ?1", t.now+longest.Milliseconds())
		}
		if err != nil {
			return fmt.Errorf("forgetting what is settled: %w", err)
		}
	}
	return nil
}

// InFlight returns the job that has the user in flight, or a request of which
// may still arrive: whoever is removed then comes back as another one, whom
// nothing keeps from being sent the next. 0 for none.
func (t *Tx) InFlight(userRef int64) (int64, error) {
	var job int64
	err := t.row(`SELECT coalesce(max(job), 0) FROM (SELECT job FROM journal WHERE user_ref = ?1 AND (until = 0 OR until > ?2)
		UNION ALL SELECT job FROM sent_before WHERE user_ref = ?1 AND until > ?2) sent`, userRef, t.now).Scan(&job)
	return job, err
}
