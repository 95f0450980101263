package store

import (
	"database/sql"
	"errors"
	"fmt"
	"time"

	"github.com/dirpin/dirpin/internal/outcome"
	"github.com/dirpin/dirpin/internal/user"
)

// MessageState is what became of a message.
type MessageState string

// The states of a message.
const (
	MessageWaiting  MessageState = "waiting"
	MessageSent     MessageState = "sent"
	MessageRefused  MessageState = "refused"  // not sent again unless somebody says so
	MessageObsolete MessageState = "obsolete" // not sent: what it has is not true any more
)

// The kinds of messages.
const (
	MessageValue   = "value"   // a mail with the values of one user
	MessageNotice  = "notice"  // a mail about the end of a job
	MessageWebhook = "webhook" // the same, for a program
)

// Message is a message as it stands in the database.
type Message struct {
	Job, Seq  int64
	Kind      string
	ID        string // the same at every attempt
	Recipient string
	State     MessageState
	Error     string
	Attempts  int
	NextAt    time.Time
	UserID    string // of a value's user
}

// Deliveries counts the messages of a job that have values, and all that are
// not settled.
type Deliveries struct {
	Sent     int64
	Waiting  int64
	Refused  int64
	Obsolete int64
	Notices  int64 // about its end, that wait or were refused
}

// Open returns how many values have not reached anybody.
func (d Deliveries) Open() int64 { return d.Waiting + d.Refused }

// AddNotices has addresses told of a job's end, and a program where hook is not
// "". Prefix and suffix make the ids of messages.
func (t *Tx) AddNotices(job int64, addresses []string, hook, prefix, suffix string) error {
	seq := int64(0)
	add := func(kind, recipient string) error {
		seq--
		_, err := t.exec("INSERT INTO messages (job, seq, kind, message_id, recipient, state, next_at) VALUES (?,?,?,?,?,?,?) ON CONFLICT (job, seq) DO NOTHING",
			job, seq, kind, fmt.Sprintf("%s.n%d%s", prefix, -seq, suffix), recipient, string(MessageWaiting), t.now)
		return err
	}
	if hook != "" {
		if err := add(MessageWebhook, hook); err != nil {
			return err
		}
	}
	for _, a := range addresses {
		if err := add(MessageNotice, a); err != nil {
			return err
		}
	}
	return nil
}

// AddValues makes a message of every item of a job that was changed, or may have
// been.
func (t *Tx) AddValues(job int64, prefix, suffix string) error {
	_, err := t.exec(`INSERT INTO messages (job, seq, kind, message_id, recipient, state, next_at)
		SELECT i.job, i.seq, CAST(? AS TEXT), CAST(? AS TEXT) || '.' || i.seq || CAST(? AS TEXT), '', CAST(? AS TEXT), CAST(? AS BIGINT) FROM items i WHERE i.job = ? AND EXISTS (SELECT 1 FROM legs l
			WHERE l.job = i.job AND l.seq = i.seq AND (l.result = 'updated' OR l.code IN (?, ?, ?)))
		ON CONFLICT (job, seq) DO NOTHING`,
		MessageValue, prefix, suffix, string(MessageWaiting), t.now, job, string(outcome.VoicemailTimeout), string(outcome.DirectoryTimeout), string(outcome.VoicemailPartial))
	if err != nil {
		return fmt.Errorf("noting what job %d has to deliver: %w", job, err)
	}
	return nil
}

// Deliveries counts the messages of a job.
func (t *Tx) Deliveries(job int64) (Deliveries, error) {
	var d Deliveries
	rows, err := t.rows("SELECT kind, state, count(*) FROM messages WHERE job = ? GROUP BY kind, state", job)
	if err != nil {
		return d, fmt.Errorf("counting the messages of job %d: %w", job, err)
	}
	defer rows.Close()
	for rows.Next() {
		var kind string
		var state MessageState
		var n int64
		if err := rows.Scan(&kind, &state, &n); err != nil {
			return d, err
		}
		switch {
		case kind != MessageValue && (state == MessageWaiting || state == MessageRefused):
			d.Notices += n
		case kind != MessageValue:
		case state == MessageSent:
			d.Sent += n
		case state == MessageWaiting:
			d.Waiting += n
		case state == MessageRefused:
			d.Refused += n
		default:
			d.Obsolete += n
		}
	}
	return d, rows.Err()
}

// Undelivered calls each for up to limit messages of a job that are not sent,
// those with values first.
func (t *Tx) Undelivered(job int64, limit int, each func(Message) error) error {
	rows, err := t.rows(`SELECT m.seq, m.kind, m.recipient, m.state, m.error, m.attempts, m.next_at, coalesce(i.user_id, '')
		FROM messages m LEFT JOIN items i ON i.job = m.job AND i.seq = m.seq
		WHERE m.job = ? AND m.state IN (?, ?) ORDER BY m.seq < 0, m.seq LIMIT ?`, job, string(MessageWaiting), string(MessageRefused), limit)
	if err != nil {
		return fmt.Errorf("reading the messages of job %d: %w", job, err)
	}
	defer rows.Close()
	for rows.Next() {
		m := Message{Job: job}
		var next int64
		if err := rows.Scan(&m.Seq, &m.Kind, &m.Recipient, &m.State, &m.Error, &m.Attempts, &next, &m.UserID); err != nil {
			return err
		}
		m.NextAt = fromMilli(next)
		if err := each(m); err != nil {
			return err
		}
	}
	return rows.Err()
}

// DueDeliveries returns the jobs with a message that waits to be sent by now, and when
// the next of all is due; zero: none waits.
func (t *Tx) DueDeliveries() (due []int64, next time.Time, err error) {
	rows, err := t.rows("SELECT job, min(next_at) FROM messages WHERE state = ? GROUP BY job ORDER BY job", string(MessageWaiting))
	if err != nil {
		return nil, next, fmt.Errorf("asking what is to be delivered: %w", err)
	}
	defer rows.Close()
	for rows.Next() {
		var job, at int64
		if err := rows.Scan(&job, &at); err != nil {
			return nil, next, err
		}
		if at <= t.now {
			due = append(due, job)
		}
		if next.IsZero() || fromMilli(at).Before(next) {
			next = fromMilli(at)
		}
	}
	return due, next, rows.Err()
}

// UndeliveredJobs calls each for every job with messages that are not sent.
func (t *Tx) UndeliveredJobs(each func(job, n int64) error) error {
	rows, err := t.rows("SELECT job, count(*) FROM messages WHERE state IN (?, ?) GROUP BY job ORDER BY job", string(MessageWaiting), string(MessageRefused))
	if err != nil {
		return fmt.Errorf("asking what is to be delivered: %w", err)
	}
	defer rows.Close()
	for rows.Next() {
		var job, n int64
		if err := rows.Scan(&job, &n); err != nil {
			return err
		}
		if err := each(job, n); err != nil {
			return err
		}
	}
	return rows.Err()
}

// NextMessage returns when a message of a job is due; zero: none waits.
func (t *Tx) NextMessage(job int64) (time.Time, error) {
	var at int64
	err := t.row("SELECT coalesce(min(next_at), 0) FROM messages WHERE job = ? AND state = ?", job, string(MessageWaiting)).Scan(&at)
	return fromMilli(at), err
}

// Deliverable is a message with all that it takes to write it.
type Deliverable struct {
	Message
	User          *user.User // nil: the user was removed
	ManagerMail   string
	ManagerLang   string
	PIN, Password Leg
	PINBy         int64 // the last job that changed it
	PasswordBy    int64
}

// DueMessages returns up to limit messages of a job that are to be sent by now,
// behind seq after, 0 for the first: those with values where values is true,
// else the others.
func (t *Tx) DueMessages(job, after int64, values bool, limit int) ([]Deliverable, error) {
	beyond, order := "m.seq > ?", "m.seq"
	if !values {
		beyond, order = "m.seq < ?", "m.seq DESC"
	}
	rows, err := t.rows(`SELECT m.seq, m.kind, m.message_id, m.recipient, m.attempts,
			coalesce(u.id, 0), coalesce(u.user_id, ''), coalesce(u.first_name, ''), coalesce(u.last_name, ''), coalesce(u.mail, ''), coalesce(u.language, ''),
			coalesce(g.mail, ''), coalesce(g.language, ''),
			coalesce(p.result, ''), coalesce(p.code, ''), p.value, coalesce(w.result, ''), coalesce(w.code, ''), w.value,
			coalesce(cp.job, 0), coalesce(cw.job, 0)
		FROM messages m
		LEFT JOIN items i ON i.job = m.job AND i.seq = m.seq
		LEFT JOIN users u ON u.id = i.user_ref
		LEFT JOIN users g ON g.user_id_f = u.manager_f AND u.manager_f <> ''
		LEFT JOIN legs p ON p.job = m.job AND p.seq = m.seq AND p.kind = 'pin'
		LEFT JOIN legs w ON w.job = m.job AND w.seq = m.seq AND w.kind = 'password'
		LEFT JOIN credentials cp ON cp.user_ref = u.id AND cp.kind = 'pin'
		LEFT JOIN credentials cw ON cw.user_ref = u.id AND cw.kind = 'password'
		WHERE m.job = ? AND `+beyond+" AND m.state = ? AND m.next_at <= ? ORDER BY "+order+" LIMIT ?",
		job, after, string(MessageWaiting), t.now, limit)
	if err != nil {
		return nil, fmt.Errorf("reading the messages of job %d: %w", job, err)
	}
	defer rows.Close()
	var all []Deliverable
	for rows.Next() {
		d := Deliverable{Message: Message{Job: job, State: MessageWaiting}}
		var u user.User
		if err := rows.Scan(&d.Seq, &d.Kind, &d.ID, &d.Recipient, &d.Attempts,
			&u.ID, &u.UserID, &u.FirstName, &u.LastName, &u.Mail, &u.Language, &d.ManagerMail, &d.ManagerLang,
			&d.PIN.Result, &d.PIN.Code, &d.PIN.Value, &d.Password.Result, &d.Password.Code, &d.Password.Value, &d.PINBy, &d.PasswordBy); err != nil {
			return nil, fmt.Errorf("reading the messages of job %d: %w", job, err)
		}
		if u.ID != 0 {
			d.User = &u
		}
		all = append(all, d)
	}
	return all, rows.Err()
}

// Delivered records what became of an attempt.
func (t *Tx) Delivered(m *Message) error {
	_, err := t.exec("UPDATE messages SET state = ?, recipient = ?, error = ?, attempts = ?, next_at = ?, at = ? WHERE job = ? AND seq = ?",
		string(m.State), m.Recipient, m.Error, m.Attempts, milli(m.NextAt), t.now, m.Job, m.Seq)
	if err != nil {
		return fmt.Errorf("noting what became of a message of job %d: %w", m.Job, err)
	}
	return nil
}

// SendAgain has every message of a job that was not sent sent now.
func (t *Tx) SendAgain(job int64) error {
	_, err := t.exec("UPDATE messages SET state = ?, next_at = ? WHERE job = ? AND state IN (?, ?)",
		string(MessageWaiting), t.now, job, string(MessageWaiting), string(MessageRefused))
	return err
}

// Delay has all that waits of a job, with values or without, wait until a time.
func (t *Tx) Delay(job int64, values bool, until time.Time, why string) error {
	kind := "seq < 0 AND kind <> 'webhook'"
	if values {
		kind = "seq > 0"
	}
	_, err := t.exec("UPDATE messages SET next_at = ?, error = ? WHERE job = ? AND state = ? AND "+kind, milli(until), why, job, string(MessageWaiting))
	return err
}

// refuse gives up what waits, of the jobs that a condition names.
func (t *Tx) refuse(why, where string, args ...any) error {
	_, err := t.exec("UPDATE messages SET state = ?, error = ? WHERE state = ? AND "+where,
		append([]any{string(MessageRefused), why, string(MessageWaiting)}, args...)...)
	return err
}

// sealedPart is how much of a file stands in one row.
const sealedPart = 1 << 20

// AddSealed keeps a file that was sealed for others with its job, read by fill
// into a buffer of which it returns how much it has filled; 0 at the end.
func (t *Tx) AddSealed(job int64, fill func([]byte) (int, error)) error {
	buf := make([]byte, sealedPart)
	for n := 1; ; n++ {
		size, err := fill(buf)
		if err != nil || size == 0 {
			return err
		}
		if _, err := t.exec("INSERT INTO sealed_parts (job, n, content) VALUES (?,?,?)", job, n, buf[:size]); err != nil {
			return fmt.Errorf("keeping the sealed values of job %d: %w", job, err)
		}
	}
}

// Sealed returns a part of that file, from 1 on; nil behind the last.
func (t *Tx) Sealed(job int64, n int) ([]byte, error) {
	var part []byte
	err := t.row("SELECT content FROM sealed_parts WHERE job = ? AND n = ?", job, n).Scan(&part)
	if errors.Is(err, sql.ErrNoRows) {
		return nil, nil
	}
	return part, err
}
