package voicemail

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"strings"
	"time"

	"github.com/dirpin/dirpin/config"
	"github.com/dirpin/dirpin/internal/secret"
	"github.com/dirpin/dirpin/internal/user"
)

// unity speaks Cisco Unity Connection's provisioning interface (CUPI), as the
// CUPI guide of June 2022 describes it. Where the guide is silent this says so.
//
// A PIN is set in three requests: a search for the alias, a read of the
// credential, and the PUT. The first is left out where the mailbox's id is
// known. The second is what makes a lost answer no guess: its TimeChanged is
// journalled before the PUT leaves, and compared with itself after.
type unity struct {
	base      *url.URL
	shown     string // the server, as messages name it
	user      string
	password  secret.Value
	now       func() time.Time
	transport *http.Transport
	jar       http.CookieJar // the session; the guide asks to keep it
	rules     ruleBook
}

func newUnity(cfg *config.Voicemail, opt Options) (*unity, error) {
	u, err := url.Parse(cfg.URL)
	switch {
	case err != nil || u.Host == "" || u.Scheme != "https" && u.Scheme != "http":
		return nil, errors.New("read its url: it must be https://HOST")
	case u.User != nil || u.RawQuery != "" || strings.Trim(u.Path, "/") != "":
		return nil, errors.New("read its url: only the server's address is needed, such as https://cuc.example.com")
	case cfg.User == "" || opt.Secret.IsZero():
		return nil, errors.New("read its user and password: both are needed, those of an account of the API")
	case strings.Contains(cfg.User, ":"):
		return nil, errors.New("read its user: it must not contain a colon (HTTP Basic authentication)")
	}
	roots, err := trusted(cfg.CAFile)
	if err != nil {
		return nil, err
	}
	jar, err := cookiejar.New(nil)
	if err != nil {
		return nil, err
	}
	c := &unity{base: &url.URL{Scheme: u.Scheme, Host: u.Host}, shown: u.Scheme + "://" + u.Host, user: cfg.User, password: opt.Secret,
		now: opt.Now, transport: newTransport(roots, cfg.Concurrency), jar: jar}
	// Over HTTP/2 it could not be told whether a request has left.
	c.transport.ForceAttemptHTTP2 = false
	c.transport.Protocols = new(http.Protocols)
	c.transport.Protocols.SetHTTP1(true)
	return c, nil
}

// Close lets the idle connections go.
func (u *unity) Close() error {
	u.transport.CloseIdleConnections()
	return nil
}

// mask cuts the PIN and our own password out of what is shown.
func (u *unity) mask(a Attempt) masks {
	return masks{newMask(a.pin), newMask(u.password), newMask(secret.New(u.user + ":" + u.password.Reveal()))}
}

// Look finds the user's mailbox and reads when its PIN was changed last.
func (u *unity) Look(ctx context.Context, a Attempt) (Note, *Answer) {
	b, err := a.read()
	if err != nil {
		return Note{}, &Answer{Class: Answered, Result: Rejected, Message: err.Error()}
	}
	m := u.mask(a)
	if id := a.Note.Mailbox; id != "" {
		c, answer := u.credential(ctx, id, m)
		switch {
		case answer != nil && !answer.Gone:
			return Note{}, answer
		case answer == nil && sameAlias(c.alias, b.User.UserID):
			return u.noted(id, c, b)
		}
		// It is not there any more, or is somebody else's now.
	}
	id, answer := u.find(ctx, b.User.UserID, m)
	if answer != nil {
		return Note{}, answer
	}
	c, answer := u.credential(ctx, id, m)
	switch {
	case answer != nil && answer.Gone: // removed in between
		answer.Result, answer.Gone = Retry, false
		return Note{}, answer
	case answer != nil:
		return Note{}, answer
	case c.alias != "" && !sameAlias(c.alias, b.User.UserID):
		return Note{}, &Answer{Class: Answered, Result: Rejected, Message: m.words(fmt.Sprintf("%s: the search for %s found a mailbox whose PIN belongs to %s", u.shown, b.User.UserID, c.alias))}
	}
	return u.noted(id, c, b)
}

// noted makes the note, unless the server's own rules would refuse the PIN:
// then it is refused here, and nothing is sent.
func (u *unity) noted(id string, c credential, b body) (Note, *Answer) {
	if why := u.rules.refuses(c.policy, b.PIN); why != "" {
		return Note{}, &Answer{Class: Answered, Result: Rejected, Message: u.shown + ": not sent: " + why}
	}
	return Note{Mailbox: id, Changed: c.changed}, nil
}

// sameAlias compares as user ids are compared here. Whether the server's search
// tells A from a is documented nowhere.
func sameAlias(alias, userID string) bool {
	return alias != "" && user.Fold(alias) == user.Fold(userID)
}

// find searches for the one mailbox with that alias.
func (u *unity) find(ctx context.Context, alias string, m masks) (id string, answer *Answer) {
	o, answer := u.get(ctx, "/vmrest/users", aliasQuery(alias), m)
	if answer != nil {
		if answer.Gone {
			*answer = Answer{Class: Answered, Result: Denied, Message: answer.Message + ": a search is answered by every Unity Connection; is this one, and its url right?"}
		}
		return "", answer
	}
	total, users := o.text("total"), o.all("user")
	rejected := func(format string, args ...any) *Answer {
		return &Answer{Class: Answered, Result: Rejected, Message: m.words(u.shown + ": " + fmt.Sprintf(format, args...))}
	}
	switch {
	case total == "0" && len(users) == 0:
		return "", &Answer{Class: Answered, Result: NoMailbox, Message: m.words(fmt.Sprintf("%s: a search for the alias %s finds nobody", u.shown, alias))}
	case total == "" || len(users) == 0:
		return "", &Answer{Class: NotSent, Message: u.shown + ": it answered a search without saying how many it found"}
	case total != "1" || len(users) != 1:
		return "", rejected("a search for the alias %s finds %s mailboxes, such as %s", alias, total, users[0].text("alias"))
	case !sameAlias(users[0].text("alias"), alias):
		return "", rejected("a search for the alias %s finds %q", alias, users[0].text("alias"))
	case users[0].text("objectid") == "":
		return "", rejected("the mailbox of %s has no ObjectId", alias)
	}
	return users[0].text("objectid"), nil
}

// aliasQuery writes the one criterion that a search may have. Spaces are %20:
// a + would be a plus sign.
func aliasQuery(alias string) string {
	criterion := strings.NewReplacer("+", "%20", "%28", "(", "%29", ")").Replace(url.QueryEscape("(alias is " + alias + ")"))
	return "query=" + criterion
}

// credential is what is read of a mailbox's PIN.
type credential struct {
	alias, changed, policy string
	mustChange             bool
}

// credential reads it. The answer is Gone where there is no such mailbox.
func (u *unity) credential(ctx context.Context, id string, m masks) (credential, *Answer) {
	o, answer := u.get(ctx, pinPath(id), "", m)
	if answer != nil {
		return credential{}, answer
	}
	return credential{alias: o.text("alias"), changed: o.text("timechanged"), policy: o.text("credentialpolicyobjectid"),
		mustChange: strings.EqualFold(o.text("credmustchange"), "true")}, nil
}

func pinPath(id string) string { return "/vmrest/users/" + url.PathEscape(id) + "/credential/pin" }

// Send sets the PIN of the mailbox that the note names. Where an earlier
// attempt was lost it asks first whether that one has taken effect.
func (u *unity) Send(ctx context.Context, a Attempt) Answer {
	b, err := a.read()
	if err != nil {
		return Answer{Class: NotSent, Message: err.Error()}
	}
	if b.Operation == operationCheck {
		return u.check(ctx, u.mask(a))
	}
	m := u.mask(a)
	changed := false
	if a.Lost > 0 {
		answer := u.settled(ctx, a, b, m, &changed)
		if answer.Result != Rejected {
			return answer
		}
	}
	answer := u.put(ctx, a.Note.Mailbox, b, m)
	if a.Lost == 0 || answer.Result != Rejected || answer.Reason != InHistory {
		return answer
	}
	if !changed { // what was lost may have arrived since that was read
		c, _ := u.credential(ctx, a.Note.Mailbox, m)
		if changed = c.changed != "" && c.changed != a.Note.Changed; !changed && c.changed != "" {
			answer.Reason = "" // it was used before, even if it was drawn: the mailbox has another one
		}
	}
	if changed {
		// S1: in history alone says "now or once"; together with a change since
		// the attempt was journalled it is this one.
		answer.Result, answer.Reason = Accepted, ""
		answer.Proof = "the PIN is in the mailbox's history and was changed since: " + answer.Message
	}
	return answer
}

// Settled reads whether the lost attempt has taken effect.
func (u *unity) Settled(ctx context.Context, a Attempt) Answer {
	b, err := a.read()
	if err != nil {
		return Answer{Class: NotSent, Message: err.Error()}
	}
	var changed bool
	return u.settled(ctx, a, b, u.mask(a), &changed)
}

// settled is Accepted where the mailbox shows that the lost attempt has taken
// effect, and Rejected where it does not.
//
// TimeChanged is compared with what it was, never with a clock of ours. That it
// differs says only that the PIN was changed since, perhaps by its owner on the
// phone; but then it would not be marked as to be changed at the next login, as
// this request marks it. Where the request does not, reading proves nothing
// alone, and the same PIN is sent again.
func (u *unity) settled(ctx context.Context, a Attempt, b body, m masks, changed *bool) Answer {
	c, answer := u.credential(ctx, a.Note.Mailbox, m)
	if answer != nil {
		if answer.Gone {
			answer.Result = Retry
		}
		if answer.Result == Rejected { // of the reading: it says nothing of the PIN
			answer.Class, answer.Result = NotSent, ""
		}
		return *answer
	}
	*changed = c.changed != "" && c.changed != a.Note.Changed
	switch {
	case !*changed:
		return Answer{Class: Answered, Result: Rejected, Message: u.shown + ": the PIN was not changed since (TimeChanged is what it was)"}
	case !(b.Settings.MustChange != nil && *b.Settings.MustChange):
		return Answer{Class: Answered, Result: Rejected, Message: u.shown + ": the PIN was changed since (TimeChanged differs), which its owner may have done"}
	case !c.mustChange:
		return Answer{Class: Answered, Result: Rejected, Message: u.shown + ": the PIN was changed since by its owner (it is not marked as to be changed)"}
	}
	return Answer{Class: Answered, Result: Accepted, Proof: "the mailbox's TimeChanged differs from what it was before, and its PIN must be changed, as asked for"}
}

// check reads what every account of the API may read.
func (u *unity) check(ctx context.Context, m masks) Answer {
	o, answer := u.get(ctx, "/vmrest/users", "rowsPerPage=0", m)
	switch {
	case answer != nil && answer.Gone:
		return Answer{Class: Answered, Result: Denied, Message: answer.Message + ": this is no Unity Connection, or its url is wrong"}
	case answer != nil && answer.Result == Rejected:
		return answer.lost(answer.Message)
	case answer != nil:
		return *answer
	case o.text("total") == "":
		return Answer{Class: Lost, Message: u.shown + ": it does not say how many users it has: this is no Unity Connection"}
	}
	return Answer{Class: Answered, Result: Accepted, Message: fmt.Sprintf("%s has %s users", u.shown, shorten(oneLine(o.text("total")), 20))}
}

// change is the body of the PUT. The guide's samples write flags as strings.
// EncryptionType is left out: a wrong one makes the PIN unusable.
type change struct {
	Credentials    string
	CredMustChange string  `json:",omitempty"`
	CantChange     string  `json:",omitempty"`
	DoesntExpire   string  `json:",omitempty"`
	Locked         string  `json:",omitempty"`
	HackCount      string  `json:",omitempty"`
	TimeHacked     *string `json:",omitempty"`
}

func changeOf(b body) []byte {
	flag := func(f *bool) string {
		if f == nil {
			return ""
		}
		return fmt.Sprint(*f)
	}
	s := b.Settings
	c := change{Credentials: b.PIN, CredMustChange: flag(s.MustChange), CantChange: flag(s.CannotChange), DoesntExpire: flag(s.DoesNotExpire), Locked: flag(s.Locked)}
	if s.ClearFailedAttempts != nil && *s.ClearFailedAttempts {
		c.HackCount, c.TimeHacked = "0", new(string)
	}
	text, err := json.Marshal(c)
	if err != nil {
		panic(err) // strings alone always encode
	}
	return text
}
