package store

import (
	"database/sql"
	"errors"
	"fmt"
)

// Batch is a range of items that one owner works on at a time. The epoch is
// raised by each claim: whoever was thought dead and was not finds its own
// epoch gone, and writes nothing.
type Batch struct {
	Job, N      int64
	First, Last int64 // seq
	Owner       string
	Epoch       int64
}

// AddBatch writes a batch when the job opens.
func (t *Tx) AddBatch(b Batch) error {
	_, err := t.exec("INSERT INTO batches (job, n, first_seq, last_seq, state) VALUES (?,?,?,?,'open')", b.Job, b.N, b.First, b.Last)
	return err
}

// ClaimBatch gives the first open batch of the job that has no owner to owner;
// false when there is none.
func (t *Tx) ClaimBatch(job int64, owner string) (Batch, bool, error) {
	b := Batch{Job: job, Owner: owner}
	err := t.row(`UPDATE batches SET owner = ?, epoch = epoch + 1 WHERE job = ? AND n =
			(SELECT min(n) FROM batches WHERE job = ? AND state = 'open' AND owner = '')
		RETURNING n, first_seq, last_seq, epoch`, owner, job, job).Scan(&b.N, &b.First, &b.Last, &b.Epoch)
	if errors.Is(err, sql.ErrNoRows) {
		return b, false, nil
	}
	if err != nil {
		return b, false, fmt.Errorf("claiming a batch of job %d: %w", job, err)
	}
	return b, true, nil
}

// Fence returns ErrFenced unless the batch is still the owner's in its epoch.
// Every transaction that writes for the batch begins with it.
func (t *Tx) Fence(b Batch) error {
	var ok int
	err := t.row("SELECT count(*) FROM batches WHERE job = ? AND n = ? AND owner = ? AND epoch = ?", b.Job, b.N, b.Owner, b.Epoch).Scan(&ok)
	if err == nil && ok == 0 {
		err = ErrFenced
	}
	return err
}

// EndBatch closes a batch if none of its items is left, else gives it back.
func (t *Tx) EndBatch(b Batch) error {
	return t.put(putting{what: "ending batch", to: b.N}, `UPDATE batches SET owner = '', state = CASE WHEN EXISTS
			(SELECT 1 FROM items WHERE items.job = batches.job AND seq BETWEEN first_seq AND last_seq AND items.state <> 'final')
			THEN 'open' ELSE 'done' END
		WHERE job = ? AND n = ? AND owner = ? AND epoch = ?`, b.Job, b.N, b.Owner, b.Epoch)
}
