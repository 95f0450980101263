package resetjob

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"github.com/dirpin/dirpin/internal/delivery"
	"github.com/dirpin/dirpin/internal/outcome"
	"github.com/dirpin/dirpin/internal/secret"
	"github.com/dirpin/dirpin/internal/store"
)

const (
	mailers     = 4 // connections to the mail server
	messagePart = 64

	// A message that was not taken is tried again after 2 s, 8 s, 32 s … an hour.
	// A run waits for the first two of these.
	againFirst = 2 * time.Second
	againMost  = time.Hour
	runWaits   = 10 * time.Second
)

// queue notes what there is to deliver and who is told, in the transaction that
// closes the job: from then on each message is sent, or said to be not.
func (e *Env) queue(tx *store.Tx, l *loaded) error {
	var random [12]byte
	rand.Read(random[:])
	prefix, suffix := fmt.Sprintf("job%d.%s", l.job.ID, hex.EncodeToString(random[:])), "@localhost"
	if e.Mail != nil {
		suffix = "@" + e.Mail.Domain()
	}
	if l.def.Deliver.MailTo != "" && l.job.Stage == store.StageOpen {
		if err := tx.AddValues(l.job.ID, prefix, suffix); err != nil {
			return err
		}
	}
	hook, addresses := "", l.def.Notify
	if e.Hook != nil {
		hook = e.Hook.URL()
	}
	if e.Mail == nil {
		addresses = nil // `check` has warned of it
	}
	return tx.AddNotices(l.job.ID, addresses, hook, prefix, suffix)
}

// Deliver sends what a job has to deliver and was not sent yet; again: also what
// was refused. The error of a job that another process works on is ErrBusy.
func (e *Env) Deliver(ctx context.Context, id int64, again bool) (store.Deliveries, error) {
	l, err := e.take(ctx, id)
	if err != nil {
		return store.Deliveries{}, err
	}
	defer e.Store.Write(context.WithoutCancel(ctx), func(tx *store.Tx) error { return tx.DisownJob(id, e.Owner.ID) })
	if l.job.Stage != store.StageClosed {
		return store.Deliveries{}, fmt.Errorf("job %d is %s: what it has to deliver is sent when it has ended", id, l.job.State)
	}
	if again {
		if err := e.Store.Write(ctx, func(tx *store.Tx) error { return tx.SendAgain(id) }); err != nil {
			return store.Deliveries{}, err
		}
	}
	return e.deliver(ctx, l, runWaits)
}

// DeliverDue sends what waits to be sent by now, of all jobs, and returns when
// the next is due; zero: nothing waits. Jobs that another process works on are
// left to it.
func (e *Env) DeliverDue(ctx context.Context) (time.Time, error) {
	var due []int64
	err := e.Store.Read(ctx, func(tx *store.Tx) (err error) {
		due, _, err = tx.DueDeliveries()
		return err
	})
	if err != nil {
		return time.Time{}, err
	}
	var failed error // of one job: the others are sent all the same
	for _, id := range due {
		l, err := e.take(ctx, id)
		if errors.Is(err, ErrBusy) {
			continue
		}
		if err == nil {
			_, err = e.deliver(ctx, l, 0)
			err = errors.Join(err, e.Store.Write(context.WithoutCancel(ctx), func(tx *store.Tx) error { return tx.DisownJob(id, e.Owner.ID) }))
		}
		failed = errors.Join(failed, err)
	}
	var next time.Time
	err = e.Store.Read(ctx, func(tx *store.Tx) (err error) {
		_, next, err = tx.DueDeliveries()
		return err
	})
	return next, errors.Join(failed, err)
}

// deliver sends what is due of a job that is ours, and goes on for as long as
// wait says with what is to be tried again. Then the log of the report says what
// became of it, and values that nobody needs any more are forgotten.
func (e *Env) deliver(ctx context.Context, l *loaded, wait time.Duration) (store.Deliveries, error) {
	before, err := e.deliveries(l.job.ID)
	if err != nil || before.Waiting+before.Notices == 0 {
		return before, err
	}
	d := &deliverer{env: e, loaded: l}
	for until := time.Now().Add(wait); ; {
		if err := d.pass(ctx); err != nil {
			return before, err
		}
		next, err := d.next()
		if err != nil {
			return before, err
		}
		if next.IsZero() || next.After(until) || ctx.Err() != nil {
			break
		}
		select {
		case <-time.After(time.Until(next)):
		case <-ctx.Done():
		}
	}
	after, err := e.deliveries(l.job.ID)
	if err != nil {
		return after, err
	}
	return after, e.delivered(l, before, after)
}

func (e *Env) deliveries(job int64) (store.Deliveries, error) {
	var d store.Deliveries
	err := e.Store.Read(context.Background(), func(tx *store.Tx) (err error) {
		d, err = tx.Deliveries(job)
		return err
	})
	return d, err
}

// delivered draws the conclusions from a round.
func (e *Env) delivered(l *loaded, before, after store.Deliveries) error {
	err := e.Store.Write(context.Background(), func(tx *store.Tx) error {
		if after != before && after.Sent+after.Open()+after.Obsolete > 0 {
			if err := tx.LogJob(l.job.ID, fmt.Sprintf("mailed the values of %d users, %d in all; %d are not delivered", after.Sent-before.Sent, after.Sent, after.Open())); err != nil {
				return err
			}
		}
		return eraseSettled(tx, l.job)
	})
	if err != nil {
		return err
	}
	if err := e.rewriteLog(l); err != nil {
		// The report is there and true but for what was delivered since.
		e.Log.Warn("writing what was delivered into the report", "job", l.job.ID, "error", err)
	}
	return nil
}

// deliverer sends the messages of one job.
type deliverer struct {
	env *Env
	*loaded
}

// pass tries every message that is due once, those with values first.
func (d *deliverer) pass(ctx context.Context) error {
	for _, values := range []bool{true, false} {
		if err := d.some(ctx, values); err != nil {
			return err
		}
	}
	return nil
}

// next returns when a message of the job is due again; zero: none waits.
func (d *deliverer) next() (time.Time, error) {
	var next time.Time
	err := d.env.Store.Read(context.Background(), func(tx *store.Tx) (err error) {
		next, err = tx.NextMessage(d.job.ID)
		return err
	})
	return next, err
}

// some tries the messages with values that are due, or the others.
func (d *deliverer) some(ctx context.Context, values bool) error {
	var work sync.WaitGroup
	var broken atomic.Bool
	todo := make(chan store.Deliverable)
	failed := make(chan error, mailers)
	for range mailers {
		work.Go(func() {
			if err := d.worker(ctx, todo, &broken); err != nil {
				failed <- err
			}
		})
	}
	err := d.feed(ctx, todo, failed, values, &broken)
	close(todo)
	work.Wait()
	close(failed)
	for e := range failed {
		err = errors.Join(err, e)
	}
	return err
}

func (d *deliverer) feed(ctx context.Context, todo chan<- store.Deliverable, failed <-chan error, values bool, broken *atomic.Bool) error {
	for after := int64(0); ; {
		var part []store.Deliverable
		err := d.env.Store.Read(context.Background(), func(tx *store.Tx) (err error) {
			part, err = tx.DueMessages(d.job.ID, after, values, messagePart)
			return err
		})
		if err != nil || len(part) == 0 {
			return err
		}
		for _, m := range part {
			after = m.Seq
			if broken.Load() && m.Kind != store.MessageWebhook {
				continue
			}
			select {
			case todo <- m:
			case err := <-failed:
				return err
			case <-ctx.Done():
				return nil
			}
		}
	}
}

// worker sends over a connection of its own. What became of each message is
// written before the next is sent: a kill repeats one, under the same id.
func (d *deliverer) worker(ctx context.Context, todo <-chan store.Deliverable, broken *atomic.Bool) error {
	var session *delivery.Session
	if d.env.Mail != nil {
		session = d.env.Mail.Session()
		defer session.Close()
	}
	for m := range todo {
		d.env.step("mail")
		err := d.send(ctx, session, &m)
		d.env.step("mailed")
		var e *delivery.Error
		if errors.As(err, &e) && e.Kind == delivery.Broken && m.Kind != store.MessageWebhook {
			broken.Store(true)
			err = d.env.Store.Write(context.Background(), func(tx *store.Tx) error {
				return tx.Delay(d.job.ID, m.Seq > 0, tx.Now().Add(time.Minute), e.Text)
			})
			if err != nil {
				return err
			}
			continue
		}
		if err := d.record(&m, err); err != nil {
			return err
		}
	}
	return nil
}

// errObsolete says that a message is not true any more.
var errObsolete = errors.New("a later job has changed it since")

// record writes what became of a message.
func (d *deliverer) record(m *store.Deliverable, err error) error {
	var e *delivery.Error
	m.Attempts++
	m.State, m.Error = store.MessageSent, ""
	now := d.env.Store.Now()
	switch {
	case errors.Is(err, errObsolete):
		m.State, m.Error = store.MessageObsolete, err.Error()
	case errors.As(err, &e) && e.Kind == delivery.Later:
		m.State, m.Error = store.MessageWaiting, e.Text
		m.NextAt = now.Add(min(againMost, againFirst<<min(2*(m.Attempts-1), 20)))
	case err != nil:
		m.State, m.Error = store.MessageRefused, err.Error()
	}
	if m.NextAt.IsZero() {
		m.NextAt = now
	}
	return d.env.Store.Write(context.Background(), func(tx *store.Tx) error { return tx.Delivered(&m.Message) })
}

// send sends one message.
func (d *deliverer) send(ctx context.Context, session *delivery.Session, m *store.Deliverable) error {
	if m.Kind == store.MessageWebhook {
		return d.call(ctx, m)
	}
	if session == nil {
		return &delivery.Error{Kind: delivery.Broken, Text: "the configuration names no mail server (mail: {server: …})"}
	}
	var msg delivery.Message
	var err error
	if m.Kind == store.MessageValue {
		msg, err = d.letter(m)
	} else {
		msg, err = d.notice(m)
	}
	if err != nil {
		return err
	}
	msg.ID, msg.To = m.ID, m.Recipient
	return session.Send(ctx, msg)
}

// letter writes the mail with a user's values. Its errors are for good, until
// somebody mends what they say.
func (d *deliverer) letter(m *store.Deliverable) (delivery.Message, error) {
	l := delivery.Letter{To: toUser, Job: d.job.ID, JobName: d.job.Name}
	if m.User == nil {
		return delivery.Message{}, errors.New("the user was removed")
	}
	l.UserID, l.FirstName, l.LastName = m.User.UserID, m.User.FirstName, m.User.LastName
	must := d.def.Reset.Settings.MustChange
	l.MustChange = must != nil && *must
	pin, pinUncertain, err := d.current(store.PIN, m.Seq, &m.PIN, m.PINBy)
	if err != nil {
		return delivery.Message{}, err
	}
	password, passwordUncertain, err := d.current(store.Password, m.Seq, &m.Password, m.PasswordBy)
	if err != nil {
		return delivery.Message{}, err
	}
	l.PIN, l.PINUncertain, l.Password, l.PasswordUncertain = pin.Reveal(), pinUncertain, password.Reveal(), passwordUncertain
	if pin.IsZero() && password.IsZero() {
		return delivery.Message{}, errObsolete
	}
	lang, address := m.User.Language, m.User.Mail
	switch to := d.def.Deliver.MailTo; to {
	case toUser:
	case toManager:
		l.To, lang, address = to, m.ManagerLang, m.ManagerMail
	default:
		l.To, lang, address = "address", "", to
	}
	m.Recipient = address
	switch {
	case address == "":
		return delivery.Message{}, fmt.Errorf("the %s has no mail address", l.To)
	case !d.env.Mail.Allows(address):
		return delivery.Message{}, fmt.Errorf("mail.allow does not have %s", address)
	}
	return d.env.Mail.Letter(l, lang)
}

// current returns the value that a leg has set, or may have; the zero value
// where it has none, or a later job has changed it.
func (d *deliverer) current(kind string, seq int64, l *store.Leg, by int64) (value secret.Value, uncertain bool, err error) {
	uncertain = l.Code.Uncertain()
	if l.Result != outcome.Updated && !uncertain || by > d.job.ID {
		return value, false, nil
	}
	if d.key == nil {
		return value, false, errors.New("its value was erased: retry_within has passed")
	}
	value, err = d.valueOf(kind, seq, l)
	return value, uncertain, err
}

func (d *deliverer) notice(m *store.Deliverable) (delivery.Message, error) {
	n := delivery.Notice{Job: d.job.ID, JobName: d.job.Name, State: string(d.job.State), Counts: CountLine(d.job.Counts), Report: d.job.Report}
	err := d.env.Store.Read(context.Background(), func(tx *store.Tx) error {
		w := &reportWriter{job: d.job, def: d.def}
		var err error
		if w.codes, err = tx.CodeCounts(d.job.ID); err != nil {
			return err
		}
		if w.delivery, err = tx.Deliveries(d.job.ID); err != nil {
			return err
		}
		n.Summary = w.text()
		return nil
	})
	if err != nil {
		return delivery.Message{}, err
	}
	return d.env.Mail.Notice(n)
}

// Event is what the webhook is told.
type Event struct {
	Type      string    `json:"type"` // job.ended
	Timestamp time.Time `json:"timestamp"`
	Data      EventData `json:"data"`
}

// EventData is report.json, and what became of the values.
type EventData struct {
	Summary
	Delivery struct {
		Sent    int64 `json:"sent"`
		Waiting int64 `json:"waiting"`
		Refused int64 `json:"refused"`
	} `json:"delivery"`
}

func (d *deliverer) call(ctx context.Context, m *store.Deliverable) error {
	if d.env.Hook == nil {
		return errors.New("the configuration names no webhook any more")
	}
	e := Event{Type: "job.ended", Timestamp: d.job.Ended.UTC()}
	err := d.env.Store.Read(context.Background(), func(tx *store.Tx) error {
		var err error
		if e.Data.Summary, err = readSummary(tx, d.job); err != nil {
			return err
		}
		s, err := tx.Deliveries(d.job.ID)
		e.Data.Delivery.Sent, e.Data.Delivery.Waiting, e.Data.Delivery.Refused = s.Sent, s.Waiting, s.Refused
		return err
	})
	if err != nil {
		return err
	}
	body, err := json.Marshal(e)
	if err != nil {
		return err
	}
	return d.env.Hook.Send(ctx, m.ID, body)
}

// UndeliveredLine says how many values have not reached anybody; "" where all
// have.
func UndeliveredLine(job int64, d store.Deliveries) string {
	if d.Open() == 0 {
		return ""
	}
	return fmt.Sprintf("Undelivered: the values of %d users, %d of them refused, were not mailed. Send them again with: dirpin jobs deliver %d", d.Open(), d.Refused, job)
}

// rewriteLog writes report.log anew, with what was delivered since.
func (e *Env) rewriteLog(l *loaded) error {
	var text string
	err := e.Store.Read(context.Background(), func(tx *store.Tx) error {
		j, err := tx.Job(l.job.ID)
		if err != nil {
			return err
		}
		w := &reportWriter{dir: j.Report, job: j, def: l.def, crlf: textCRLF}
		if err := tx.Report(j.ID, func(r *store.ReportRow) error {
			if r.Result == outcome.Failed {
				w.describe(r)
			}
			return nil
		}); err != nil {
			return err
		}
		if err := w.read(tx); err != nil {
			return err
		}
		text = w.logText()
		return nil
	})
	if err != nil {
		return err
	}
	err = replaceFile(reportLog(l.job.Report), []byte(text))
	if errors.Is(err, os.ErrNotExist) {
		return nil // somebody has put the report elsewhere
	}
	return err
}
