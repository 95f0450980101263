// Package fakeunity is a Cisco Unity Connection of which only the voicemail
// PINs are there: the demonstration and the tests push to it over TLS. It is
// strict: what Cisco's CUPI guide (June 2022) does not allow it refuses. Where
// the guide is silent the code says "silent" and what was assumed.
//
// No real server was at hand when it was written. It shows how dirpin deals
// with what the guide describes, and with faults that a real server cannot be
// made to have on demand; that the guide is right it cannot show.
package fakeunity

import (
	"context"
	"crypto/rand"
	"crypto/tls"
	"encoding/hex"
	"errors"
	"fmt"
	"log"
	"net"
	"net/http"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/dirpin/dirpin/internal/localca"
)

// Rule is an authentication rule.
type Rule struct {
	ObjectID   string
	Name       string
	MinLength  int
	NoTrivial  bool
	PrevCount  int
	MinMinutes int
	MaxDays    int
}

// VoiceRule and WebRule are the two rules that a server has from the start,
// with the guide's values.
var (
	VoiceRule = Rule{ObjectID: "df3611a3-d372-4a38-a7a4-7d4aba4febd2", Name: "Recommended Voice Mail Authentication Rule", MinLength: 6, NoTrivial: true, PrevCount: 5, MinMinutes: 1440, MaxDays: 180}
	WebRule   = Rule{ObjectID: "db3999dc-7afc-4a1e-be64-c5647c7f2226", Name: "Recommended Web Application Authentication Rule", MinLength: 8, NoTrivial: true, PrevCount: 5, MinMinutes: 1440, MaxDays: 120}
)

// Mailbox is a user with a mailbox.
type Mailbox struct {
	Alias, ObjectID, Extension string
	Rule                       string // ObjectId of its authentication rule

	PIN         string
	History     []string // former PINs, newest first
	TimeChanged time.Time
	Changes     int // of the PIN

	MustChange, CantChange, DoesntExpire, Locked bool
	HackCount                                    int
}

// Server is the fake. Its fields may be set before it serves.
type Server struct {
	User, Password string
	Rules          []Rule
	XMLOnly        bool          // it answers in XML whatever is asked for
	PINSync        bool          // it passes PINs on to Unified CM
	Delay          time.Duration // each request takes that long, to some tenth of a millisecond
	OpenDuration   bool          // MinMinutes holds for administrators too (silent: it is assumed not to)

	// Fault is asked for each request what is to go wrong. May be nil. It is
	// called by several goroutines at once.
	Fault func(Request) Fault

	mu       sync.Mutex
	byID     map[string]*Mailbox
	byAlias  map[string]*Mailbox
	clock    time.Time
	failures int // wrong passwords in a row
	requests map[string]int
	broken   []string // what no client may send

	http *http.Server
}

// New returns a server with the two rules of a fresh installation and nobody.
func New(user, password string) *Server {
	return &Server{User: user, Password: password, Rules: []Rule{WebRule, VoiceRule},
		byID: map[string]*Mailbox{}, byAlias: map[string]*Mailbox{}, requests: map[string]int{}}
}

// Add makes a mailbox that has a PIN nobody knows, and returns its ObjectId.
func (s *Server) Add(alias string) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	m := &Mailbox{Alias: alias, ObjectID: newID(), Extension: fmt.Sprint(40000 + len(s.byID)), Rule: VoiceRule.ObjectID, PIN: "unknown", TimeChanged: s.tick()}
	s.byID[m.ObjectID], s.byAlias[strings.ToLower(alias)] = m, m
	return m.ObjectID
}

// Remove removes a mailbox.
func (s *Server) Remove(alias string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if m := s.byAlias[strings.ToLower(alias)]; m != nil {
		delete(s.byAlias, strings.ToLower(alias))
		delete(s.byID, m.ObjectID)
	}
}

// Rename gives a mailbox another alias.
func (s *Server) Rename(from, to string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	m := s.byAlias[strings.ToLower(from)]
	delete(s.byAlias, strings.ToLower(from))
	m.Alias = to
	s.byAlias[strings.ToLower(to)] = m
}

// Change lets the mailbox be as it is wanted, as its owner on the phone or an
// administrator would make it.
func (s *Server) Change(alias string, fn func(*Mailbox)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	fn(s.byAlias[strings.ToLower(alias)])
}

// Dial sets a PIN as its owner does on the phone.
func (s *Server) Dial(alias, pin string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	m := s.byAlias[strings.ToLower(alias)]
	m.set(pin, s.tick())
	m.MustChange = false
}

// Mailbox returns a copy of a mailbox.
func (s *Server) Mailbox(alias string) (Mailbox, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	m := s.byAlias[strings.ToLower(alias)]
	if m == nil {
		return Mailbox{}, false
	}
	c := *m
	c.History = slices.Clone(m.History)
	return c, true
}

// Requests returns how many requests of a kind there were: search, read, put,
// rules, check.
func (s *Server) Requests(kind string) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.requests[kind]
}

// Violations returns what clients sent that the guide does not allow.
func (s *Server) Violations() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.broken)
}

func (m *Mailbox) set(pin string, at time.Time) {
	m.History = append([]string{m.PIN}, m.History...)
	m.PIN, m.TimeChanged = pin, at
	m.Changes++
}

// tick is a clock that never shows the same time twice.
func (s *Server) tick() time.Time {
	now := time.Now().Truncate(time.Millisecond)
	if !now.After(s.clock) {
		now = s.clock.Add(time.Millisecond)
	}
	s.clock = now
	return now
}

func newID() string {
	var b [16]byte
	rand.Read(b[:])
	h := hex.EncodeToString(b[:])
	return h[:8] + "-" + h[8:12] + "-" + h[12:16] + "-" + h[16:20] + "-" + h[20:]
}

// Start serves over TLS on a port of its own, with a certificate of an
// authority that it makes in dir. It returns where, and the authority's file.
func (s *Server) Start(dir string) (url, caFile string, err error) {
	if err := localca.Write(dir, "unused"); err != nil {
		return "", "", err
	}
	cert, err := tls.LoadX509KeyPair(filepath.Join(dir, "server.pem"), filepath.Join(dir, "server.key"))
	if err != nil {
		return "", "", err
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", "", err
	}
	s.http = &http.Server{Handler: s, ReadHeaderTimeout: 10 * time.Second, ErrorLog: log.New(discard{}, "", 0),
		TLSConfig: &tls.Config{MinVersion: tls.VersionTLS12, Certificates: []tls.Certificate{cert}, NextProtos: []string{"http/1.1"}}}
	go s.http.ServeTLS(l, "", "")
	return "https://" + l.Addr().String(), filepath.Join(dir, "ca.pem"), nil
}

// Close ends what Start began.
func (s *Server) Close() error {
	if s.http == nil {
		return nil
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	if err := s.http.Shutdown(ctx); errors.Is(err, context.DeadlineExceeded) {
		return s.http.Close()
	}
	return nil
}

type discard struct{}

func (discard) Write(p []byte) (int, error) { return len(p), nil }
