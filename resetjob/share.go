package resetjob

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/dirpin/dirpin/config"
	"github.com/dirpin/dirpin/internal/store"
	"github.com/dirpin/dirpin/internal/voicemail"
)

const (
	shareEvery  = time.Second            // it is asked who else pushes
	shareBeside = 250 * time.Millisecond // while somebody does, whose part is unused once it has no more to do
	shareSoon   = 100 * time.Millisecond // while others have not made room yet
	askAlive    = 2 * time.Second        // without an answer of the others, it is asked whether they live
	// followFor is for how long a node leaves a paused system alone beyond the
	// pause of the node that has found out, which sends the probe.
	followFor = 5 * time.Second
)

// shares agrees with the other processes on what part of each system's rate and
// slots is whose. Whoever has a batch in hand pushes, and has a part. All parts
// are equal, and what a process has said of itself in the database holds: it
// takes no more than its part beside those whom it names. So a process that
// comes takes nothing until all others have named it; and one that sees another
// go names those who are left before it takes more. Never is more in use than
// all may, whoever comes, goes or dies at which moment. Where a system has fewer
// slots than there are processes they take turns.
type shares struct {
	mu     sync.Mutex
	beside string // as the database has it
	part   voicemail.Part
	looked time.Time
	agreed bool
	since  time.Time            // when it was agreed last, or asked whether the others live
	paused map[string]time.Time // by system: until when others are told that it is
	follow map[string]bool      // systems that are left alone because others have paused them
}

// sharers are all that push at a moment.
type sharers struct {
	all  []store.Sharer
	turn int64 // whose it is where there are fewer slots than processes
}

// turnOf is for how long that is.
const turnOf = 5 * time.Second

func readSharers(tx *store.Tx) (s sharers, err error) {
	s.all, err = tx.Sharers()
	s.turn = tx.Now().UnixMilli() / turnOf.Milliseconds()
	return s, err
}

// String names them as their rows do.
func (s sharers) String() string {
	if len(s.all) < 2 {
		return ""
	}
	var b strings.Builder
	fmt.Fprintf(&b, "%d", s.turn)
	for _, one := range s.all {
		b.WriteString("," + one.ID)
	}
	return b.String()
}

// partOf returns the part of one of them; false where it is none.
func (s sharers) partOf(id string) (voicemail.Part, bool) {
	i := slices.IndexFunc(s.all, func(one store.Sharer) bool { return one.ID == id })
	if i < 0 {
		return voicemail.Part{}, false
	}
	n := len(s.all)
	return voicemail.Part{I: (i + int(s.turn%int64(n))) % n, Of: n}, true
}

// named tells whether each has named all.
func (s sharers) named() bool {
	set := s.String()
	return !slices.ContainsFunc(s.all, func(one store.Sharer) bool { return one.Beside != set })
}

// claim takes a batch in hand. A process that had none before takes part from
// then on.
func (o *Owner) claim(e *Env, claim func(*store.Tx) (ok bool, err error)) error {
	s := &o.shares
	s.mu.Lock() // nobody looks who pushes while that changes here
	defer s.mu.Unlock()
	var now sharers // where it took part by that
	err := e.Store.Write(context.Background(), func(tx *store.Tx) error {
		now = sharers{}
		before, err := readSharers(tx)
		if err != nil {
			return err
		}
		ok, err := claim(tx)
		if _, already := before.partOf(o.ID); already || !ok || err != nil {
			return err
		}
		if now, err = readSharers(tx); err != nil || len(now.all) < 2 && s.beside == "" {
			return err
		}
		return tx.SetBeside(o.ID, now.String())
	})
	if err != nil || now.all == nil {
		return err
	}
	s.beside, s.part, s.agreed, s.looked, s.since = now.String(), voicemail.Whole, true, time.Now(), time.Now()
	if len(now.all) > 1 { // they have to make room
		s.part, s.agreed = voicemail.Part{}, false
	}
	s.apply(e.Systems())
	return nil
}

func (s *shares) apply(systems []*voicemail.System) {
	for _, sys := range systems {
		sys.Share(s.part)
	}
}

// wait is how long after the last look the next one is.
func (s *shares) wait() time.Duration {
	switch {
	case !s.agreed:
		return shareSoon
	case s.part.Of > 1:
		return shareBeside
	}
	return shareEvery
}

// next returns when to look again.
func (s *shares) next() time.Time {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.looked.Add(s.wait())
}

// look sees who else pushes, and takes part accordingly. It tells beside how
// many.
func (e *Env) look(ctx context.Context) (others int, err error) {
	s, systems := &e.Owner.shares, e.Systems()
	s.mu.Lock()
	defer s.mu.Unlock()
	if time.Since(s.looked) < s.wait() {
		return max(0, s.part.Of-1), nil
	}
	s.looked = time.Now()
	switch {
	case s.agreed:
		s.since = s.looked
	case s.looked.Sub(s.since) > askAlive: // one of the others may have died
		s.since = s.looked
		if _, err := Recover(ctx, e.Store); err != nil {
			return 0, err
		}
	}
	var now sharers
	var pauses []store.Pause
	err = e.Store.Read(ctx, func(tx *store.Tx) error {
		if now, err = readSharers(tx); err == nil {
			pauses, err = tx.Pauses(e.Owner.ID)
		}
		return err
	})
	if err != nil {
		return 0, err
	}
	s.followOthers(systems, pauses)
	if err := s.tellPauses(ctx, e, systems); err != nil {
		return 0, err
	}
	part, ok := now.partOf(e.Owner.ID)
	if !ok { // nothing is in hand
		return 0, nil
	}
	if now.String() != s.beside {
		if !shrink(systems, part) { // soon
			s.agreed = false
			return len(now.all) - 1, nil
		}
		if now, err = s.name(ctx, e, now); err != nil {
			return 0, err
		}
		part, _ = now.partOf(e.Owner.ID)
	}
	s.agreed = now.named() && now.String() == s.beside
	if s.agreed {
		s.part = part
		s.apply(systems)
	} else if s.part.Of > 0 {
		shrink(systems, part)
	}
	return len(now.all) - 1, nil
}

// shrink makes room for others, and tells whether there is.
func shrink(systems []*voicemail.System, p voicemail.Part) bool {
	ok := true
	for _, sys := range systems {
		ok = sys.Shrink(p) && ok
	}
	return ok
}

// name says beside whom this process pushes, if these still are all.
func (s *shares) name(ctx context.Context, e *Env, seen sharers) (now sharers, err error) {
	set := seen.String()
	err = e.Store.Write(ctx, func(tx *store.Tx) error {
		if now, err = readSharers(tx); err != nil || now.String() != set {
			return err
		}
		if err := tx.SetBeside(e.Owner.ID, set); err != nil {
			return err
		}
		now, err = readSharers(tx)
		return err
	})
	if err == nil && now.String() == set {
		s.beside = set
	}
	return now, err
}

// followOthers leaves alone what others have paused.
func (s *shares) followOthers(systems []*voicemail.System, pauses []store.Pause) {
	follow := make(map[string]bool)
	for _, p := range pauses {
		for _, sys := range systems {
			if sys.Name() == p.System && bytes.Equal(sys.Fingerprint(), p.Fingerprint) {
				sys.Follow(time.Now().Add(p.For+followFor), p.Reason)
				follow[p.System] = true
			}
		}
	}
	for _, sys := range systems {
		if s.follow[sys.Name()] && !follow[sys.Name()] {
			sys.Follow(time.Time{}, "")
		}
	}
	s.follow = follow
}

// tellPauses lets others know of the breakers that are open here.
func (s *shares) tellPauses(ctx context.Context, e *Env, systems []*voicemail.System) error {
	for _, sys := range systems {
		until, reason := sys.Tripped()
		left := time.Until(until)
		told := s.paused[sys.Name()]
		if left <= 0 && told.IsZero() || left > 0 && told.Equal(until) {
			continue
		}
		err := e.Store.Write(ctx, func(tx *store.Tx) error {
			if left <= 0 {
				return tx.EndPause(e.Owner.ID, sys.Name())
			}
			return tx.SetPause(e.Owner.ID, store.Pause{System: sys.Name(), Fingerprint: sys.Fingerprint(), For: left, Reason: reason})
		})
		if err != nil {
			return err
		}
		if s.paused == nil {
			s.paused = make(map[string]time.Time)
		}
		if s.paused[sys.Name()] = until; left <= 0 {
			delete(s.paused, sys.Name())
		}
	}
	return nil
}

// works is a keyed hash of what jobs run with here.
func (e *Env) works() (string, error) {
	type folder struct {
		Name  string
		Allow config.Allow
	}
	var folders []folder
	for _, w := range e.Config.Watch {
		folders = append(folders, folder{w.Name, w.Allow})
	}
	voicemails := slices.Clone(e.Config.Voicemail)
	for i := range voicemails { // the systems have a fingerprint of them
		voicemails[i].Password, voicemails[i].Secret = config.Secret{}, config.Secret{}
	}
	passwords := make(map[string]string)
	for _, a := range e.Config.Agreements {
		passwords[a.Name] = a.Passwords
	}
	systems := make(map[string][]byte)
	for _, s := range e.Systems() {
		systems[s.Name()] = s.Fingerprint()
	}
	h := sha256.New()
	err := json.NewEncoder(h).Encode(map[string]any{"folders": folders, "voicemail": voicemails, "mode": e.Config.VoicemailMode, "systems": systems,
		"credentials": e.Config.Credentials, "protect": e.Config.Protect, "limits": e.Config.Limits, "recover_within": e.Config.RecoverWithin,
		"passwords": passwords, "keys": keyIDs(e.Ring)})
	if err != nil {
		return "", fmt.Errorf("telling what jobs run with: %w", err)
	}
	return hex.EncodeToString(e.Ring.Fingerprint(h.Sum(nil))), nil
}
