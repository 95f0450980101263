package store

import (
	"fmt"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/stdlib"
)

// queued are statements that are sent together.
type queued struct {
	batch pgx.Batch
	all   []putting
}

// putting is a statement of which nothing is asked but how many rows it changed.
type putting struct {
	what string              // is being done by it, for messages: to …
	to   int64               // … whom or what
	got  func(n int64) error // nil: it does not matter
}

func (p putting) done(n int64, err error) error {
	if err == nil && p.got != nil {
		err = p.got(n)
	}
	if err != nil {
		err = fmt.Errorf("%s %d: %w", p.what, p.to, err)
	}
	return err
}

// put runs a statement of which nothing is needed before the next one, and tells
// got how many rows it changed. SQLite runs it at once. To a server it goes with
// those that follow, at the latest before something is asked or the transaction
// ends: each by itself would be a way there and back on which everybody waits who
// wants to write.
func (t *Tx) put(p putting, query string, args ...any) error {
	if t.dialect == postgres {
		t.queued.batch.Queue(t.dialect.sql(query), args...)
		t.queued.all = append(t.queued.all, p)
		return nil
	}
	return p.done(t.exec(query, args...))
}

// exactly has put fail with ErrStale unless so many rows were changed.
func exactly(want int) func(int64) error {
	return func(n int64) error {
		if n != int64(want) {
			return ErrStale
		}
		return nil
	}
}

// send sends what was put.
func (t *Tx) send() error {
	if len(t.queued.all) == 0 {
		return nil
	}
	q := t.queued
	t.queued = queued{}
	return t.conn.Raw(func(conn any) error {
		answers := conn.(*stdlib.Conn).Conn().SendBatch(t.ctx, &q.batch)
		for _, p := range q.all {
			tag, err := answers.Exec()
			if err = p.done(tag.RowsAffected(), err); err != nil {
				answers.Close() // which fails of the same
				return err
			}
		}
		return answers.Close()
	})
}
